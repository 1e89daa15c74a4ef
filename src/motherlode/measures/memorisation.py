"""Does the model make new samples, or hand back the ones it was trained on?

Four answers, all from exact nearest neighbours in feature space:

    closer to train   share of samples nearer to a training sample than to a held-out one, both sets of equal size;
                      a model that memorises nothing scores one half
    distance ratio    median of (distance to train) / (distance to held-out); 1 where nothing is memorised
    authentic         share of samples farther from their nearest training sample than that one is from its own
                      nearest fellow (AuthPct; Alaa 2022, arXiv:2102.08921)
    copies            share of samples nearer to one training sample than 99 % of real unseen ones are, and how many
                      planted copies that threshold finds

A copy is judged by its distance over the mean distance of its training sample to that one's neighbours, so that a dull
cluster of near-equal images does not count as copying.

Shape legend: N generated samples, M training samples, H held-out samples, D features, P planted copies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.measures.interval import DEFAULT_LEVEL, Interval, normal_quantile, share_interval
from motherlode.measures.matrix import as_matrix, as_pair
from motherlode.measures.neighbours import Index
from motherlode.randomness import numpy_generator

_NEIGHBOURS = 5
_FALSE_RATE = 0.01
_LEAST_EFFECTIVE = 20


@dataclass(frozen=True)
class Memorisation:
    """What `memorised` found.

    Attributes:
        closer_to_train: share of samples nearer to train than to held-out; 0.5 is innocent.
        distance_ratio: median ratio of the two distances; 1 is innocent.
        authentic: share of samples that are no nearer to train than train is to itself.
        copies: share of samples flagged as copies.
        false_rate: share of real held-out samples the same rule flags.
        planted_found: share of planted copies the rule flags; None where none were given.
        pairs: (sample row, training row, score), the most copied first; below `threshold` is a copy.
        threshold: of the score.
    """

    closer_to_train: Interval
    distance_ratio: Interval
    authentic: Interval
    copies: Interval
    false_rate: float
    planted_found: Interval | None
    pairs: list[tuple[int, int, float]]
    threshold: float


def memorised(
    generated_ND: Any,
    train_MD: Any,
    heldout_HD: Any,
    *,
    planted_PD: Any = None,
    num_pairs: int = 12,
    level: float = DEFAULT_LEVEL,
    seed: int = 0,
) -> Memorisation:
    """Compare generated features with training and held-out ones.

    Args:
        generated_ND: array or tensor (N, D).
        train_MD: array or tensor (M, D), M > 5; the whole of what was trained on, or copies go unseen.
        heldout_HD: array or tensor (H, D); never trained on, from the same source.
        planted_PD: features of altered training samples, to find what share of copies the rule would see.
        num_pairs: how many of the most copied pairs to list.
        level: of the intervals.
        seed: of the subset of train that matches held-out in size.

    Raises:
        MeasureError: wrong shapes, too few samples, or values that are not finite.
    """
    generated_ND, train_MD = as_pair(generated_ND, train_MD)
    _, heldout_HD = as_pair(train_MD, heldout_HD)
    index = Index(train_MD)
    own_distance_MK, _ = index.nearest(train_MD, min(_NEIGHBOURS, len(train_MD) - 1), same=True)
    scale_M = np.maximum(own_distance_MK.mean(1), np.finfo(np.float32).tiny)

    def score(features_ND: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
        distance_N1, row_N1 = index.nearest(features_ND, 1)
        return distance_N1[:, 0] / scale_M[row_N1[:, 0]], distance_N1[:, 0], row_N1[:, 0]

    score_N, distance_N, row_N = score(generated_ND)
    heldout_score_H = score(heldout_HD)[0]
    threshold = float(np.quantile(heldout_score_H, _FALSE_RATE, method="lower"))
    found = None
    if planted_PD is not None:
        found = share_interval(score(as_matrix(planted_PD, "planted", least=1))[0] < threshold, level)
    closer, ratio = _against_heldout(generated_ND, train_MD, heldout_HD, level, seed)
    order = np.argsort(score_N, kind="stable")[:num_pairs]
    return Memorisation(
        closer_to_train=closer,
        distance_ratio=ratio,
        authentic=share_interval(distance_N > own_distance_MK[row_N, 0], level),
        copies=share_interval(score_N < threshold, level),
        false_rate=float(np.mean(heldout_score_H < threshold)),
        planted_found=found,
        pairs=[(int(n), int(row_N[n]), float(score_N[n])) for n in order],
        threshold=threshold,
    )


def _against_heldout(
    generated_ND: NDArray[Any], train_MD: NDArray[Any], heldout_HD: NDArray[Any], level: float, seed: int
) -> tuple[Interval, Interval]:
    """Share nearer to train, and median ratio of distances, against equally many of either; ties count half.

    Poor samples share a few nearest images, and whether those are training ones is chance: one coin an image, not one a
    sample. So intervals count n_eff = N² / Σ c² samples, with c the samples that each nearest image serves.
    """
    size = min(len(train_MD), len(heldout_HD))
    train_MD, heldout_HD = (
        x[numpy_generator(seed, f"memorisation {name}").permutation(len(x))[:size]]
        for name, x in (("train", train_MD), ("heldout", heldout_HD))
    )
    train_N1, train_row_N1 = Index(train_MD).nearest(generated_ND, 1)
    heldout_N1, heldout_row_N1 = Index(heldout_HD).nearest(generated_ND, 1)
    train_N, heldout_N = train_N1[:, 0], heldout_N1[:, 0]
    nearest_N = np.where(train_N < heldout_N, train_row_N1[:, 0], size + heldout_row_N1[:, 0])
    counts = np.bincount(nearest_N)
    effective = len(nearest_N) ** 2 / float(np.square(counts).sum())
    closer_N = np.where(train_N == heldout_N, 0.5, train_N < heldout_N)
    closer = share_interval(closer_N, level, num=effective)

    ratio_N = np.log(np.maximum(train_N, 1e-12)) - np.log(np.maximum(heldout_N, 1e-12))
    half = normal_quantile(level) * 0.5 / math.sqrt(effective)
    ends = np.exp(np.quantile(ratio_N, [max(0.0, 0.5 - half), min(1.0, 0.5 + half)]))
    low, high = ends if effective >= _LEAST_EFFECTIVE else (math.nan, math.nan)
    method = f"order statistics, {effective:.0f} samples' worth"
    return closer, Interval(math.exp(float(np.median(ratio_N))), low, high, level, method)
