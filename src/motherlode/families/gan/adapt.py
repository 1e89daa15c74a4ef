"""Augmentation of what the critic sees: of a fixed strength (DiffAugment), or as much as overfitting asks for (ADA).

Real and fake go through the same random policy, and gradients go back through it to the generator. Adaptive strength
starts at 0 and rises only while the critic tells the samples it learns from apart from held-out ones: while training
is short of compute and not of data, augmentation does harm (at 60 core-seconds on 1,000 images a fixed strength cost
more than half of the quality).
Zhao et al. 2020, "Differentiable Augmentation"; Karras et al. 2020, "Training GANs with Limited Data".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from motherlode import registry
from motherlode.families.gan.options import AugmentOptions

_SMOOTHING = 0.5


class Augmenter(nn.Module):
    """Augments batches; its strength and what it knows of the gap survive restarts as buffers.

    Args:
        options: policy and strength.
        modality: registered name of the modality whose augmentations are used.
    """

    strength: Tensor
    gap: Tensor
    adapted_at: Tensor

    def __init__(self, options: AugmentOptions, modality: str) -> None:
        super().__init__()
        self.options = options
        self.modality = modality
        self.adaptive = options.strength == "adaptive"
        start = 0.0 if self.adaptive else float(options.strength)
        self.register_buffer("strength", torch.tensor(start))
        self.register_buffer("gap", torch.zeros(()))
        self.register_buffer("adapted_at", torch.zeros((), dtype=torch.int64))

    def forward(self, batches: Sequence[Tensor], rng: torch.Generator) -> list[Tensor]:
        """Augment batches of samples (B, *shape) together; at strength 0 they are returned as they are."""
        strength = float(self.strength) if self.options.policy else 0.0
        if not strength:
            return list(batches)
        together = torch.cat([batch.float() for batch in batches])
        augment = registry.find("modality", self.modality).augment
        return list(augment(together, self.options.policy, strength, rng).split([len(batch) for batch in batches]))

    def adapt(self, gap: float, seen_samples: int) -> float:
        """Move the strength towards holding the gap at its target; returns the strength.

        The gap (see `diagnose`) is smoothed over calls; the strength moves by at most 1 in `speed_samples`.
        """
        if not self.adaptive or not self.options.policy:
            return float(self.strength)
        self.gap.lerp_(torch.tensor(gap), _SMOOTHING)
        stride = (seen_samples - int(self.adapted_at)) / self.options.speed_samples
        sign = 1 if float(self.gap) > self.options.target else -1
        self.strength.add_(sign * stride).clamp_(0, self.options.most)
        self.adapted_at.fill_(seen_samples)
        return float(self.strength)
