"""MAUVE: how far two sets of texts agree as distributions (Pillutla et al. 2021, arXiv:2102.01454; 2023, 2212.14578).

Features of both sets are scaled to unit length, reduced to 90 % of their variance and clustered together by k-means
(k = a tenth of the smaller set); the two histograms over clusters, P and Q, are compared by the area under the curve
of (exp(−c·KL(Q‖R)), exp(−c·KL(P‖R))) over mixtures R = λP + (1 − λ)Q, with c = 5 and the 25 values of λ of the
published estimator. 1: no difference was found; near 0: disjoint.

A clustering is a matter of its seed, so the value is the mean over several and its interval holds their spread besides
the bootstrap over texts. The estimate is biased down for few texts: read it beside the floor, real texts in place of
generated ones at the same number.

Shape legend: N, M texts; D features; K clusters; S clusterings.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import MeasureError
from motherlode.measures.interval import DEFAULT_LEVEL, Interval, normal_quantile
from motherlode.measures.matrix import as_pair
from motherlode.randomness import numpy_generator

_SCALING = 5.0
_MIXTURES = np.linspace(1e-6, 1 - 1e-6, 25)
_VARIANCE = 0.9
_CLUSTERINGS, _RESTARTS, _MOST_ROUNDS = 5, 5, 100
_RESAMPLES = 50


def mauve(
    features_a_ND: Any,
    features_b_MD: Any,
    *,
    clusters: int | None = None,
    clusterings: int = _CLUSTERINGS,
    level: float = DEFAULT_LEVEL,
    seed: int = 0,
) -> Interval:
    """The agreement of two sets of features, a float in [0, 1] with an interval.

    Args:
        features_a_ND: array or tensor (N, D), N ≥ 4.
        features_b_MD: array or tensor (M, D), M ≥ 4.
        clusters: K; default: a tenth of the smaller set, at least 2.
        clusterings: S, how many seeds of k-means are averaged.
        level: of the interval.
        seed: of the clusterings and the bootstrap.

    Raises:
        MeasureError: wrong shapes, too few texts, or values that are not finite.
    """
    a_ND, b_MD = as_pair(features_a_ND, features_b_MD, least=4)
    num_a = len(a_ND)
    clusters = clusters or max(2, round(min(num_a, len(b_MD)) / 10))
    if not 2 <= clusters <= num_a + len(b_MD) or clusterings < 1:
        raise MeasureError("MAUVE needs from 2 clusters to as many as there are texts", clusters, "leave it out")
    reduced_ND = _reduced(np.concatenate([a_ND, b_MD]).astype(np.float64))
    values_S, errors_S = np.empty(clusterings), np.empty(clusterings)
    for number in range(clusterings):
        rng = numpy_generator(seed, "mauve", number)
        label_N = k_means(reduced_ND, clusters, rng)
        counts = [np.bincount(part, minlength=clusters) for part in (label_N[:num_a], label_N[num_a:])]
        values_S[number] = agreement(*counts)
        errors_S[number] = np.std([agreement(*(_resampled(c, rng) for c in counts)) for _ in range(_RESAMPLES)])
    value = float(values_S.mean())
    spread = float(values_S.std(ddof=1)) if clusterings > 1 else 0.0
    half = normal_quantile(level) * math.sqrt(spread**2 + float(np.square(errors_S).mean()))
    method = f"{clusterings} clusterings (spread {spread:.3f}), bootstrap over texts; for this n, whose bias it keeps"
    return Interval(value, max(0.0, value - half), min(1.0, value + half), level, method)


def agreement(counts_p_K: NDArray[Any], counts_q_K: NDArray[Any]) -> float:
    """MAUVE of two histograms: area under the divergence curve, 1 where they are proportional.

    Disjoint ones score c·B(c + 1, c) = 0.004 at c = 5, less what the trapezoids of a grid of 25 mistake.
    """
    p_K, q_K = counts_p_K / counts_p_K.sum(), counts_q_K / counts_q_K.sum()
    mixed_LK = np.outer(_MIXTURES, p_K) + np.outer(1 - _MIXTURES, q_K)
    x_L = np.concatenate([[1.0], np.exp(-_SCALING * _divergence(q_K, mixed_LK)), [0.0]])
    y_L = np.concatenate([[0.0], np.exp(-_SCALING * _divergence(p_K, mixed_LK)), [1.0]])
    areas = []
    for first_L, second_L in ((x_L, y_L), (y_L, x_L)):
        order = np.argsort(first_L, kind="stable")
        x, y = first_L[order], second_L[order]
        areas.append(float(((x[1:] - x[:-1]) * (y[1:] + y[:-1])).sum()) / 2)
    return min(1.0, sum(areas) / 2)


def _divergence(p_K: NDArray[np.float64], mixed_LK: NDArray[np.float64]) -> NDArray[np.float64]:
    """KL(p ‖ r) in nats for each mixture r, with 0 · log 0 = 0."""
    held = p_K > 0
    divergence_L: NDArray[np.float64] = (p_K[held] * np.log(p_K[held] / mixed_LK[:, held])).sum(1)
    return divergence_L


def _resampled(counts_K: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    return rng.multinomial(int(counts_K.sum()), counts_K / counts_K.sum())


def _reduced(features_ND: NDArray[np.float64]) -> NDArray[np.float32]:
    """Unit length, then the principal components that hold 90 % of the variance."""
    features_ND = features_ND / np.maximum(np.linalg.norm(features_ND, axis=1, keepdims=True), 1e-12)
    features_ND = features_ND - features_ND.mean(0)
    values_D, vectors_DD = np.linalg.eigh(features_ND.T @ features_ND)
    share_D = np.cumsum(values_D[::-1].clip(min=0)) / max(float(values_D.clip(min=0).sum()), 1e-300)
    kept = int(np.searchsorted(share_D, _VARIANCE)) + 1
    reduced: NDArray[np.float32] = (features_ND @ vectors_DD[:, ::-1][:, :kept]).astype(np.float32)
    return reduced


def k_means(points_ND: NDArray[np.floating[Any]], clusters: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Lloyd's algorithm from k-means++ seeds (Arthur and Vassilvitskii 2007), the best of five starts; labels (N,)."""
    norm_N = np.einsum("nd,nd->n", points_ND, points_ND)
    best, best_cost = np.zeros(len(points_ND), np.int64), math.inf
    for _ in range(_RESTARTS):
        centres_KD = _spread_seeds(points_ND, norm_N, clusters, rng)
        label_N = np.full(len(points_ND), -1)
        for _ in range(_MOST_ROUNDS):
            near_NK = _nearness(points_ND, centres_KD)
            fresh_N = near_NK.argmin(1)
            if (fresh_N == label_N).all():
                break
            label_N = fresh_N
            size_K = np.bincount(label_N, minlength=clusters).astype(points_ND.dtype)[:, None]
            sums_KD = (label_N == np.arange(clusters)[:, None]).astype(points_ND.dtype) @ points_ND
            centres_KD = np.where(size_K > 0, sums_KD / np.maximum(size_K, 1), centres_KD)
        cost = float(np.take_along_axis(near_NK, label_N[:, None], 1).sum(dtype=np.float64))
        if cost < best_cost:
            best, best_cost = label_N, cost
    return best


def _spread_seeds(
    points_ND: NDArray[np.floating[Any]], norm_N: NDArray[np.floating[Any]], clusters: int, rng: np.random.Generator
) -> NDArray[np.floating[Any]]:
    """Points drawn in proportion to their squared distance to those drawn before."""
    rows = [int(rng.integers(len(points_ND)))]
    square_N = np.full(len(points_ND), np.inf)
    while len(rows) < clusters:
        square_N = np.minimum(square_N, np.maximum(norm_N + _nearness(points_ND, points_ND[rows[-1:]])[:, 0], 0))
        total = np.cumsum(square_N)
        drawn = int(np.searchsorted(total, rng.random() * total[-1], "right"))
        rows.append(min(drawn, len(points_ND) - 1))
    return points_ND[rows]


def _nearness(points_ND: NDArray[np.floating[Any]], centres_KD: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Squared distances (N, K) less the points' own squared norms."""
    near_NK: NDArray[np.floating[Any]] = points_ND @ (-2 * centres_KD.T)
    near_NK += np.einsum("kd,kd->k", centres_KD, centres_KD)
    return near_NK
