"""Does the model say many things, or one thing over and over?

    distinct-n    unlike n-grams / n-grams, over all samples (Li et al. 2016, arXiv:1510.03055): variety of the whole
    self-BLEU     BLEU-4 of each sample with all the others as references, on average (Zhu et al. 2018,
                  arXiv:1802.01886): how much samples resemble each other
    repetition    1 − unlike n-grams / n-grams within a sample, on average (seq-rep-4; Welleck et al. 2019,
                  arXiv:1908.04319): loops within a sample

All count units that no tokenizer decides (`language_units`). Distinct-n and self-BLEU move with the number and length
of texts, so their floors are taken with real texts of equal number and length. Self-BLEU here costs one sort of all
n-grams (0.5 s for 500 samples of 200 words), where the definition compares every pair.

Shape legend: N texts, M n-grams in all, P pairs of a text and an n-gram in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import MeasureError
from motherlode.measures.interval import DEFAULT_LEVEL, Interval, around, mean_interval, share_interval
from motherlode.measures.language_units import Grams, grams
from motherlode.randomness import numpy_generator

_BLEU_ORDER = 4
_BLEU_SMOOTHING = 0.1
_GROUPS = 20


def distinct(texts: Sequence[NDArray[np.int64]], order: int, *, level: float = DEFAULT_LEVEL) -> Interval:
    """Share of unlike n-grams among all n-grams, with the jackknife's interval over texts.

    Args:
        texts: numbered units of each text.
        order: n.
        level: of the interval.

    Raises:
        MeasureError: no text has as many units.
    """
    found = _grams(texts, order)
    num_texts_U = _texts_of_each(found)
    total, total_N = len(found.gram_M), np.bincount(found.text_M, minlength=found.num_texts)
    # Without a text, the n-grams go that stand in it alone.
    pairs = np.unique(found.text_M * found.num_unlike + found.gram_M)
    lone = pairs[num_texts_U[pairs % found.num_unlike] == 1] // found.num_unlike
    lone_N = np.bincount(lone, minlength=found.num_texts)
    value = found.num_unlike / total
    left_N = total - total_N
    without_N = np.divide(found.num_unlike - lone_N, left_N, out=np.full(len(texts), value), where=left_N > 0)
    return _jackknife(value, without_N, level, "jackknife over texts")


def repetition(texts: Sequence[NDArray[np.int64]], order: int = 4, *, level: float = DEFAULT_LEVEL) -> Interval:
    """1 − unlike n-grams / n-grams within each text, on average over the texts long enough to have any.

    Raises:
        MeasureError: no text has as many units.
    """
    found = _grams(texts, order)
    total_N = np.bincount(found.text_M, minlength=found.num_texts)
    pairs = np.unique(found.text_M * found.num_unlike + found.gram_M)
    unlike_N = np.bincount(pairs // found.num_unlike, minlength=found.num_texts)
    long_N = total_N > 0
    share_N = 1 - unlike_N[long_N] / total_N[long_N]
    if not share_N.any():
        return share_interval(share_N, level)
    mean = mean_interval(share_N, level, "Student, over texts")
    return Interval(mean, max(0.0, mean.low), min(1.0, mean.high), level, mean.method)


def self_bleu(texts: Sequence[NDArray[np.int64]], *, level: float = DEFAULT_LEVEL, seed: int = 0) -> Interval:
    """Mean BLEU-4 of each text against all others; the interval leaves out a twentieth of the texts at a time.

    Args:
        texts: numbered units of each text, at least 2; 1 where all are equal.
        level: of the interval.
        seed: of the grouping.

    Raises:
        MeasureError: fewer than two texts.
    """
    if len(texts) < 2:
        raise MeasureError("self-BLEU needs at least 2 texts", len(texts), "take more samples")
    sets = [_Counts.of(grams(texts, order)) for order in range(1, _BLEU_ORDER + 1)]
    lengths_N = np.array([len(text) for text in texts])
    everyone = np.ones(len(texts), bool)
    value = float(_bleu(sets, lengths_N, everyone).mean())
    groups = min(_GROUPS, len(texts))
    if len(texts) - math.ceil(len(texts) / groups) < 2:
        return Interval(value, math.nan, math.nan, level, "none: too few texts")
    group_N = numpy_generator(seed, "self-BLEU groups").permutation(len(texts)) % groups
    without_G = np.array([_bleu(sets, lengths_N, group_N != group).mean() for group in range(groups)])
    found = _jackknife(value, without_G, level, f"jackknife over {groups} groups of texts")
    return Interval(value, max(0.0, found.low), min(1.0, found.high), level, found.method)


@dataclass(frozen=True)
class _Counts:
    """How often each n-gram stands in each text, sorted by n-gram and then by falling count."""

    gram_P: NDArray[np.int64]
    text_P: NDArray[np.int64]
    count_P: NDArray[np.int64]

    @classmethod
    def of(cls, found: Grams) -> _Counts:
        size = max(found.num_unlike, 1)
        pairs, count_P = np.unique(found.text_M * size + found.gram_M, return_counts=True)
        text_P, gram_P = pairs // size, pairs % size
        order = np.lexsort((-count_P, gram_P))
        return cls(gram_P[order], text_P[order], count_P[order])


def _bleu(sets: Sequence[_Counts], lengths_N: NDArray[np.int64], kept_N: NDArray[np.bool_]) -> NDArray[np.float64]:
    """BLEU-4 of each kept text against all other kept ones (Papineni et al. 2002), with zero counts taken as 0.1.

    The modified precision clips a count at the largest one in any reference: the largest of all texts, or the second
    largest where the text itself holds the largest.
    """
    log_precision_N = np.zeros(len(lengths_N))
    seen_N = np.zeros(len(lengths_N), bool)
    for order, counts in enumerate(sets, start=1):
        here = kept_N[counts.text_P]
        gram_P, text_P, count_P = counts.gram_P[here], counts.text_P[here], counts.count_P[here]
        first_P = np.concatenate([[True], gram_P[1:] != gram_P[:-1]])[: len(gram_P)]
        start_P = np.flatnonzero(first_P)[np.cumsum(first_P) - 1]
        second_P = np.minimum(start_P + 1, len(gram_P) - 1)
        second_count_P = np.where(gram_P[second_P] == gram_P, count_P[second_P], 0) * (second_P != start_P)
        most_P = np.where(np.arange(len(gram_P)) == start_P, second_count_P, count_P[start_P])
        hits_N = np.bincount(text_P, np.minimum(count_P, most_P), minlength=len(lengths_N))
        total_N = np.maximum(lengths_N - order + 1, 1)
        log_precision_N += np.log(np.where(hits_N > 0, hits_N, _BLEU_SMOOTHING) / total_N) / _BLEU_ORDER
        if order == 1:
            seen_N = hits_N > 0
    scores_N = np.where(seen_N, _brevity(lengths_N, kept_N) * np.exp(log_precision_N), 0.0)
    return scores_N[kept_N]


def _brevity(lengths_N: NDArray[np.int64], kept_N: NDArray[np.bool_]) -> NDArray[np.float64]:
    """BLEU's brevity penalty against the other kept text nearest in length, the shorter of two as near."""
    penalty_N = np.zeros(len(lengths_N))
    known = np.sort(lengths_N[kept_N])
    for row in np.flatnonzero(kept_N):
        length = int(lengths_N[row])
        place = int(np.searchsorted(known, length))  # known[place] is this text, or one as long
        near = [int(known[index]) for index in (place - 1, place + 1) if 0 <= index < len(known)]
        nearest = min(near, key=lambda other: (abs(other - length), other))
        penalty_N[row] = 1.0 if length >= nearest else math.exp(1 - nearest / max(length, 1))
    return penalty_N


def _grams(texts: Sequence[NDArray[np.int64]], order: int) -> Grams:
    found = grams(texts, order)
    if not len(found.gram_M):
        raise MeasureError(
            f"texts must have at least {order} words or characters", f"{len(texts)} texts, all shorter", "leave it out"
        )
    return found


def _texts_of_each(found: Grams) -> NDArray[np.int64]:
    """In how many texts each n-gram stands."""
    pairs = np.unique(found.gram_M * found.num_texts + found.text_M)
    return np.bincount(pairs // found.num_texts, minlength=found.num_unlike)


def _jackknife(value: float, without_G: NDArray[np.float64], level: float, method: str) -> Interval:
    """An interval from values without one group of texts at a time."""
    num = len(without_G)
    if num < 2:
        return Interval(value, math.nan, math.nan, level, "none: one text")
    error = math.sqrt((num - 1) / num * float(np.square(without_G - without_G.mean()).sum()))
    return around(value, error, level, method, num_groups=float(num))
