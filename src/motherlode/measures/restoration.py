"""How well an autoencoder gives back samples it has not seen, and how much of its codebook that takes.

Values are compared sample by sample, so their intervals are Student's over samples. The Fréchet distance between
reconstructions and the very samples they were made from (often called rFID) is lower than that of as many fresh
samples would be: compare it with other reconstructions only. How many codes are in use grows with the samples looked
at; its interval is a jackknife over twenty groups of samples.

Shape legend: N samples, C channels, D features, K codes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import MeasureError
from motherlode.measures.interval import Interval, around

_GROUPS = 20
_LEAST_ERROR = 1e-10


def absolute_errors(real: NDArray[np.generic], made: NDArray[np.generic]) -> NDArray[np.float64]:
    """Mean absolute error of each sample, (N,), as a share of the range of values: one grey level is 1/255.

    Raises:
        MeasureError: shapes or types that differ.
    """
    return _mean_over_values(real, made, np.abs)


def psnr_decibels(real: NDArray[np.generic], made: NDArray[np.generic]) -> NDArray[np.float64]:
    """Peak signal-to-noise ratio of each sample, (N,): −10 log₁₀ of its mean squared error over the squared range."""
    squares_N = _mean_over_values(real, made, np.square)
    return -10 * np.log10(np.maximum(squares_N, _LEAST_ERROR))


def _mean_over_values(
    real: NDArray[np.generic], made: NDArray[np.generic], cost: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> NDArray[np.float64]:
    if real.shape != made.shape or real.dtype != made.dtype or not np.issubdtype(real.dtype, np.integer):
        raise MeasureError(
            "reconstructions must be integers of the shape and type of what they were made from",
            f"{made.dtype} {made.shape} of {real.dtype} {real.shape}",
            "decode both alike",
        )
    levels: Any = np.iinfo(real.dtype.name)
    differences = (made.astype(np.float32) - real.astype(np.float32)) / float(int(levels.max) - int(levels.min))
    means: NDArray[np.float64] = cost(differences).reshape(len(real), -1).mean(1, dtype=np.float64)
    return means


def code_use(counts_NK: NDArray[np.int64], level: float) -> dict[str, Interval]:
    """How much of a codebook samples use.

    Args:
        counts_NK: how often each sample has each code.
        level: of the intervals.

    Returns:
        codebook_use: share of the K codes that any sample has; code_perplexity: exp of the entropy of all codes, over K
        (1: all alike).
    """
    num_codes = int(counts_NK.shape[1])
    pieces = np.array_split(np.arange(len(counts_NK)), min(_GROUPS, len(counts_NK)))
    groups_GK = np.stack([counts_NK[rows].sum(0) for rows in pieces])
    total_K = groups_GK.sum(0)

    def use(counts_K: NDArray[np.int64]) -> float:
        return float((counts_K > 0).mean())

    def perplexity(counts_K: NDArray[np.int64]) -> float:
        shares = counts_K[counts_K > 0] / max(int(counts_K.sum()), 1)
        spread = float(np.exp(-(shares * np.log(shares)).sum()))
        return spread / num_codes

    found = {}
    for name, measure in (("codebook_use", use), ("code_perplexity", perplexity)):
        error = _jackknife([measure(total_K - counts_K) for counts_K in groups_GK])
        method = f"jackknife over {len(groups_GK)} groups of samples; for this n"
        found[name] = around(measure(total_K), error, level, method, num_groups=float(max(len(groups_GK), 2)))
    return found


def _jackknife(left_out: Sequence[float]) -> float:
    """Standard error of a statistic from its values with each group left out (Efron 1982, equation 3.5)."""
    num = len(left_out)
    return math.sqrt((num - 1) / num * float(np.square(np.asarray(left_out) - np.mean(left_out)).sum()))
