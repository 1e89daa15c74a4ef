"""Generative adversarial networks: a generator learns to make what a critic cannot tell from real samples.

Six losses, three networks, penalties, label conditioning, an averaged generator, a frozen feature critic and adaptive
augmentation, each an option of the recipe's section `model`.
"""

from __future__ import annotations

from motherlode.families.gan.model import Gan
from motherlode.families.gan.options import Options

__all__ = ["FAMILY", "Gan", "Options"]

FAMILY = Gan
