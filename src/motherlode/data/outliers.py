"""Rows that resemble nothing else, and labels that their neighbours contradict.

Both use nearest neighbours in whitened principal components, searched in blocks against at most 20,000 reference rows:
the work grows with N, not N², and the score of a row far from everything hardly depends on which rows it is far from.

Shape legend: N rows, R reference rows, D features, k neighbours, L labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.randomness import numpy_generator

MAX_REFERENCE = 20_000
_BLOCK_ROWS = 2048


def whiten(features_ND: NDArray[np.float32], num_components: int = 48) -> NDArray[np.float32]:
    """Principal components of centred features, each scaled to unit variance with a floor; float32 (N, ≤ num)."""
    sample_RD = features_ND[_reference(len(features_ND))].astype(np.float64)
    mean_D = sample_RD.mean(axis=0)
    values_D, vectors_DD = np.linalg.eigh(np.cov(sample_RD, rowvar=False).reshape(features_ND.shape[1], -1))
    num = min(num_components, features_ND.shape[1])
    values, vectors = values_D[::-1][:num], vectors_DD[:, ::-1][:, :num]
    scale = 1.0 / np.sqrt(np.maximum(values, 1e-2 * max(float(values[0]), 1e-12)))
    basis = (vectors * scale).astype(np.float32)
    whitened: NDArray[np.float32] = (features_ND - mean_D.astype(np.float32)) @ basis
    return whitened


def _reference(num_rows: int, seed: int = 0) -> NDArray[np.int64]:
    """Sorted rows to compare with: all, or a random `MAX_REFERENCE`."""
    if num_rows <= MAX_REFERENCE:
        return np.arange(num_rows)
    chosen = numpy_generator(seed, "outlier reference").choice(num_rows, MAX_REFERENCE, replace=False)
    return np.sort(chosen).astype(np.int64)


def _nearest(
    points_ND: NDArray[np.float32], reference_R: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows and distances of the k nearest reference rows of every row, itself left out, nearest first."""
    others_RD = points_ND[reference_R]
    norms_R = (others_RD**2).sum(axis=1)
    rows_Nk = np.empty((len(points_ND), k), np.int64)
    distance_Nk = np.empty((len(points_ND), k), np.float32)
    for start in range(0, len(points_ND), _BLOCK_ROWS):
        block = points_ND[start : start + _BLOCK_ROWS]
        squares = norms_R - 2.0 * (block @ others_RD.T) + (block**2).sum(axis=1)[:, None]
        here = np.arange(start, start + len(block))
        squares[here[:, None] == reference_R] = np.inf
        chosen = np.argpartition(squares, k - 1, axis=1)[:, :k]
        near = np.take_along_axis(squares, chosen, axis=1)
        order = np.argsort(near, axis=1, kind="stable")
        rows_Nk[here] = reference_R[np.take_along_axis(chosen, order, axis=1)]
        distance_Nk[here] = np.sqrt(np.maximum(np.take_along_axis(near, order, axis=1), 0.0))
    return rows_Nk, distance_Nk


def knn_outliers(features_ND: NDArray[np.float32], *, k: int = 10) -> NDArray[np.float32]:
    """Mean distance to the k nearest rows, divided by its median over all rows: 1 is ordinary; float32 (N,)."""
    num_rows = len(features_ND)
    if num_rows <= k:
        return np.ones(num_rows, np.float32)
    points_ND = whiten(features_ND)
    _, distance_Nk = _nearest(points_ND, _reference(num_rows), k)
    mean_N = distance_Nk.mean(axis=1)
    score_N: NDArray[np.float32] = (mean_N / max(float(np.median(mean_N)), 1e-12)).astype(np.float32)
    return score_N


def is_outlier(score_N: NDArray[np.float32], *, threshold: float = 3.0) -> NDArray[np.bool_]:
    """The flag rule: log-score more than `threshold` robust standard deviations above the median, and score above 2.

    The spread is 1.4826 times the median absolute deviation of the logarithm.
    """
    log_N = np.log(np.maximum(score_N, 1e-12))
    middle = float(np.median(log_N)) if len(log_N) else 0.0
    spread = 1.4826 * float(np.median(np.abs(log_N - middle))) if len(log_N) else 0.0
    flags: NDArray[np.bool_] = (log_N - middle > threshold * max(spread, 1e-6)) & (score_N > 2.0)
    return flags


def label_errors(features_ND: NDArray[np.float32], labels_N: NDArray[np.int64], *, k: int = 20) -> NDArray[np.bool_]:
    """Rows whose neighbours agree on another label, by confident learning (Northcutt, Jiang and Chuang 2021).

    Args:
        features_ND: float32.
        labels_N: int64 in [0, L); negative: unlabelled, never flagged.
        k: neighbours that vote.

    Returns:
        bool (N,).
    """
    num_labels = int(labels_N.max(initial=-1)) + 1
    flags_N = np.zeros(len(labels_N), np.bool_)
    labelled = np.nonzero(labels_N >= 0)[0]
    if num_labels < 2 or len(labelled) <= k:
        return flags_N
    given_N = labels_N[labelled]
    rows_Nk, distance_Nk = _nearest(whiten(features_ND[labelled]), _reference(len(labelled)), k)
    weight_Nk = 1.0 / np.maximum(distance_Nk, 1e-6)
    votes_NL = np.zeros((len(labelled), num_labels))
    np.add.at(votes_NL, (np.arange(len(labelled))[:, None], given_N[rows_Nk]), weight_Nk)
    chance_NL = votes_NL / votes_NL.sum(axis=1, keepdims=True)
    own_N = chance_NL[np.arange(len(labelled)), given_N]
    counts_L = np.bincount(given_N, minlength=num_labels)
    bar_L = np.bincount(given_N, weights=own_N, minlength=num_labels) / np.maximum(counts_L, 1)
    bar_L[counts_L == 0] = np.inf
    confident_NL = np.where(chance_NL >= bar_L, chance_NL, -1.0)
    best_N = confident_NL.argmax(axis=1)
    flags_N[labelled] = (confident_NL.max(axis=1) > 0) & (best_N != given_N) & (own_N < bar_L[given_N])
    return flags_N
