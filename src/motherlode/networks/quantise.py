"""Codebooks between encoder and decoder, and the clustering they start from."""

from __future__ import annotations

import torch
from torch import Tensor

from motherlode.networks.shapes import Float

_ROUNDS = 10


def kmeans(
    points_ND: Float[Tensor, "points numbers"], num: int, rng: torch.Generator, rounds: int = _ROUNDS
) -> Float[Tensor, "centres numbers"]:
    """Centres (num, D) of clusters: Lloyd's algorithm from random points; a centre that loses all points stays.

    Args:
        points_ND: float32; where there are fewer than `num`, some centres begin at one point, a little apart.
        num: of centres.
        rng: chooses where they begin.
        rounds: of assigning and averaging.
    """
    order = torch.randperm(len(points_ND), generator=rng, device=rng.device).to(points_ND.device)
    centres_KD = points_ND[order[torch.arange(num, device=order.device) % len(order)]].clone()
    if num > len(points_ND):
        apart = torch.randn(centres_KD.shape, generator=rng, device=rng.device).to(points_ND)
        centres_KD = centres_KD + 1e-2 * points_ND.std() * apart
    for _ in range(rounds):
        nearest_N = nearest(points_ND, centres_KD)
        sums_KD = torch.zeros_like(centres_KD).index_add_(0, nearest_N, points_ND)
        counts_K1 = torch.bincount(nearest_N, minlength=num)[:, None]
        centres_KD = torch.where(counts_K1 > 0, sums_KD / counts_K1.clamp_min(1), centres_KD)
    return centres_KD


def nearest(points_ND: Tensor, centres_KD: Tensor) -> Tensor:
    """Which centre each point is nearest to, int64 (N,): argmin of |c|² − 2 x·c, in float32."""
    with torch.autocast(points_ND.device.type, enabled=False):
        products_NK = points_ND.float() @ centres_KD.float().t()
        return (0.5 * centres_KD.float().square().sum(1) - products_NK).argmin(1)
