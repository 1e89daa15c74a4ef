"""Causal language models: each token is predicted from those before it in its document.

The networks are transformers' own, so a checkpoint is a Hugging Face folder; size, architecture and where to start from
are options of the recipe's section `model`.
"""

from __future__ import annotations

from motherlode.families.gpt.model import Gpt
from motherlode.families.gpt.options import Options

__all__ = ["FAMILY", "Gpt", "Options"]

FAMILY = Gpt
