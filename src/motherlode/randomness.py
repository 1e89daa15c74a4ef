"""Randomness as a pure function of (seed, stream, step, rank).

There is no ambient generator anywhere in Motherlode and no generator state in a checkpoint: whoever needs random
numbers at a step derives a fresh generator from four values that are known anyway. A run killed at any instant
therefore draws the same numbers when it resumes. The cost is one hash and one generator a draw: about 4 µs for
NumPy and 6 µs for torch on CPU, against milliseconds a training step.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, stream: str, step: int = 0, rank: int = 0) -> int:
    """Hash the four coordinates into one 63-bit seed (non-negative, so that every library takes it).

    Args:
        seed: the recipe's seed.
        stream: what the numbers are for ("noise", "batch order", "bootstrap"); streams never overlap.
        step: training step, epoch or any other counter.
        rank: the process's rank; leave 0 for what all ranks must agree on.
    """
    digest = blake2b(f"{seed}\x1f{stream}\x1f{step}\x1f{rank}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def numpy_generator(seed: int, stream: str, step: int = 0, rank: int = 0) -> np.random.Generator:
    """A NumPy generator (Philox, counter-based) for the four coordinates."""
    return np.random.Generator(np.random.Philox(key=derive(seed, stream, step, rank)))


def torch_generator(
    seed: int, stream: str, step: int = 0, rank: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator on `device` for the four coordinates."""
    import torch

    return torch.Generator(device=device).manual_seed(derive(seed, stream, step, rank))
