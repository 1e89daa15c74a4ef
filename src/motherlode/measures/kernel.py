"""The kernel distance (KID, Bińkowski 2018, arXiv:1801.01401): squared MMD with the cubic kernel (xᵀy/D + 1)³.

Unbiased at any n, unlike the Fréchet distance, so a value below zero is possible and means "no difference found". It is
the mean over disjoint blocks of samples, whose scatter gives the interval without resampling; memory is three
block x block matrices however many samples there are. Blocks of 1,000 are the paper's; a larger block has less noise
and costs its square.

Shape legend: N, M samples; B samples a block; D features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import MeasureError
from motherlode.measures.interval import DEFAULT_LEVEL, Interval, mean_interval
from motherlode.measures.matrix import as_pair
from motherlode.randomness import numpy_generator

_LEAST_BLOCKS = 5


def kernel_distance(
    features_a_ND: Any,
    features_b_ND: Any,
    *,
    block: int = 1000,
    level: float = DEFAULT_LEVEL,
    seed: int = 0,
) -> Interval:
    """The squared maximum mean discrepancy of two sets of features, a float with an interval.

    Args:
        features_a_ND: array or tensor (N, D), N ≥ 2.
        features_b_ND: array or tensor (M, D), M ≥ 2.
        block: samples a block; fewer where there would be less than five blocks.
        level: of Student's interval over blocks.
        seed: of the shuffle that makes blocks alike.

    Raises:
        MeasureError: wrong shapes, fewer than two samples, or values that are not finite.
    """
    if block < 2:
        raise MeasureError("a block needs at least 2 samples", block, "the paper's is 1000")
    a_ND, b_MD = as_pair(features_a_ND, features_b_ND)
    num = min(len(a_ND), len(b_MD))
    block = max(2, min(block, num // _LEAST_BLOCKS))
    num_blocks = max(1, num // block)
    rows_a = numpy_generator(seed, "kernel blocks a").permutation(len(a_ND))
    rows_b = numpy_generator(seed, "kernel blocks b").permutation(len(b_MD))
    values = [
        unbiased_mmd(a_ND[part_a], b_MD[part_b])
        for part_a, part_b in zip(np.array_split(rows_a, num_blocks), np.array_split(rows_b, num_blocks), strict=True)
    ]
    return mean_interval(np.array(values), level, f"Student, over {num_blocks} disjoint blocks")


def unbiased_mmd(a_BD: NDArray[Any], b_BD: NDArray[Any]) -> float:
    """Unbiased MMD² of two blocks with the cubic kernel: the diagonals of a-a and b-b are left out (ibid., eq. 4)."""
    a_BD, b_BD = a_BD.astype(np.float64), b_BD.astype(np.float64)

    def within(x_BD: NDArray[np.float64]) -> float:
        num = len(x_BD)
        diagonal = _cubic(np.einsum("bd,bd->b", x_BD, x_BD), x_BD.shape[1]).sum()
        return float(_cubic(x_BD @ x_BD.T, x_BD.shape[1]).sum() - diagonal) / (num * (num - 1))

    return within(a_BD) + within(b_BD) - 2 * float(_cubic(a_BD @ b_BD.T, a_BD.shape[1]).mean())


def _cubic(products: NDArray[np.float64], num_features: int) -> NDArray[np.float64]:
    """(xᵀy/D + 1)³, in place."""
    products /= num_features
    products += 1
    squares = products * products
    squares *= products
    return squares
