"""Turns what a user hands over into a clean matrix, or says what is wrong with it.

Every measure takes NumPy arrays or torch tensors of any float dtype on any device. They are converted once, here, so
that no measure has to care; a float32 array is not copied unless a measure asks for float64.

Shape legend: N samples, D features, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import MeasureError


def as_matrix(features: Any, name: str = "features", *, least: int = 2) -> NDArray[np.floating[Any]]:
    """A finite, C-contiguous float32 or float64 matrix (N, D) from an array or tensor; float64 stays float64.

    Args:
        features: NumPy array, torch tensor or nested sequence, (N, D).
        name: what to call it in an error.
        least: the fewest rows that make sense.

    Raises:
        MeasureError: not two-dimensional, too few rows, no columns, or a value that is not finite.
    """
    if hasattr(features, "detach"):
        features = features.detach().cpu()
        features = (features if features.dtype.itemsize == 8 else features.float()).numpy()
    matrix = np.asarray(features)
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float64)
    if matrix.ndim != 2 or matrix.shape[1] == 0:
        raise MeasureError(
            f"{name} must be a matrix, one row a sample", f"shape {matrix.shape}", "flatten each sample to one row"
        )
    if matrix.shape[0] < least:
        raise MeasureError(f"{name} must hold at least {least} samples", matrix.shape[0], "take more samples")
    bad = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if bad.size:
        raise MeasureError(
            f"{name} must be finite",
            f"{bad.size} of {matrix.shape[0]} rows hold NaN or infinity, the first is row {bad[0]}",
            "drop those samples, or look for an overflow in the extractor (half precision?)",
        )
    return np.ascontiguousarray(matrix)


def as_pair(
    features_a_ND: Any, features_b_ND: Any, *, least: int = 2
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    """Two matrices with the same features.

    Raises:
        MeasureError: see `as_matrix`; or the two have different numbers of columns.
    """
    a_ND = as_matrix(features_a_ND, "features_a", least=least)
    b_ND = as_matrix(features_b_ND, "features_b", least=least)
    if a_ND.shape[1] != b_ND.shape[1]:
        raise MeasureError(
            "both sets must have features of the same extractor",
            f"{a_ND.shape[1]} against {b_ND.shape[1]} features",
            "extract both with one extractor",
        )
    return a_ND, b_ND
