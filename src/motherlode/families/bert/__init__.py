"""BERT: a model learns to guess hidden tokens from those before and behind.

At a fixed mask rate it is an encoder (ModernBERT's recipe): it embeds, and fills gaps. At `mask_rate: uniform` the same
network is a masked diffusion model: it writes text from nothing but masks, and its loss bounds the likelihood, so that
it is measured in bits per byte beside a GPT.
"""

from __future__ import annotations

from motherlode.families.bert.model import Bert
from motherlode.families.bert.options import Options

__all__ = ["FAMILY", "Bert", "Options"]

FAMILY = Bert
