"""Pixels to the range models work in, and back without loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def normalise(samples: torch.Tensor) -> torch.Tensor:
    """uint8 to float32 in [-1, 1]."""
    return samples.float().div_(127.5).sub_(1.0)


def denormalise(samples: torch.Tensor) -> torch.Tensor:
    """[-1, 1] to uint8, rounded and clamped."""
    import torch

    return samples.float().add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
