"""16-bit values to the range models work in, and back without loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

FULL_SCALE = 32768.0


def normalise(samples: torch.Tensor) -> torch.Tensor:
    """int16 to float32 in [-1, 1)."""
    return samples.float().div_(FULL_SCALE)


def denormalise(samples: torch.Tensor) -> torch.Tensor:
    """[-1, 1] to int16, rounded and clamped."""
    import torch

    scaled = samples.float().mul(FULL_SCALE).round_()
    return scaled.clamp_(-FULL_SCALE, FULL_SCALE - 1).to(torch.int16)
