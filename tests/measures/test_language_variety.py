"""Variety: closed forms, identical texts, an independent BLEU, and intervals that hold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from motherlode.errors import MeasureError
from motherlode.measures.language_units import numbered, units
from motherlode.measures.language_variety import distinct, repetition, self_bleu
from motherlode.randomness import numpy_generator


def texts(num: int, length: int, vocabulary: int, seed: int) -> list[np.ndarray]:
    rng = numpy_generator(seed, "test texts")
    chance = 1 / np.arange(1, vocabulary + 1)
    return [rng.choice(vocabulary, length, p=chance / chance.sum()) for _ in range(num)]


def test_distinct_has_closed_forms() -> None:
    same = [np.arange(10)] * 4
    assert distinct(same, 1) == 10 / 40
    assert distinct(same, 2) == 9 / 36
    assert distinct([np.arange(10)], 1) == 1
    assert math.isnan(distinct([np.arange(10)], 1).low)
    assert distinct([np.zeros(10, np.int64)] * 3, 2) == 1 / 27
    # Disjoint texts share nothing.
    assert distinct([np.arange(5), np.arange(5, 10)], 2) == 1


def test_distinct_counts_characters_in_chinese() -> None:
    assert distinct(numbered([units("床前明月光"), units("疑是地上霜")]), 1) == 1
    assert distinct(numbered([units("人人人人")]), 1) == 1 / 4


def test_the_interval_of_distinct_holds() -> None:
    truth = np.mean([distinct(texts(60, 40, 500, seed), 2) for seed in range(1000, 1200)])
    held = [(found := distinct(texts(60, 40, 500, seed), 2)).low <= truth <= found.high for seed in range(200)]
    assert 0.83 <= np.mean(held) <= 0.97


def test_repetition_has_closed_forms() -> None:
    assert repetition([np.zeros(13, np.int64)] * 2) == 1 - 1 / 10
    assert repetition([np.arange(50)] * 3) == 0
    # A loop of period 5 over 23 units holds 20 sequences, 5 of them unlike.
    assert repetition([np.arange(23) % 5, np.arange(23) % 5]) == 1 - 5 / 20
    # Too short to repeat anything: not counted.
    assert repetition([np.arange(23) % 5, np.arange(3)]) == 1 - 5 / 20
    with pytest.raises(MeasureError, match="at least 4"):
        repetition([np.arange(3)])


def test_identical_texts_resemble_each_other_wholly() -> None:
    found = self_bleu([np.arange(12)] * 6)
    assert found == pytest.approx(1)
    assert found.low == pytest.approx(1)
    with pytest.raises(MeasureError, match="at least 2"):
        self_bleu([np.arange(12)])


def test_disjoint_texts_do_not_resemble_each_other() -> None:
    assert self_bleu([np.arange(0, 9), np.arange(10, 19), np.arange(20, 29)]) == 0


def test_bleu_by_hand() -> None:
    # "a b c d e" against "a b c d f": precisions 4/5, 3/4, 2/3, 1/2; equal lengths.
    expected = (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert self_bleu([np.array([0, 1, 2, 3, 4]), np.array([0, 1, 2, 3, 5])]) == pytest.approx(expected)
    # The shorter "a b c d" has every n-gram right and the penalty exp(1 − 5/4); the longer has 4/5, 3/4, 2/3, 1/2.
    long, short = expected, math.exp(1 - 5 / 4)
    assert self_bleu([np.array([0, 1, 2, 3, 4]), np.array([0, 1, 2, 3])]) == pytest.approx((long + short) / 2)


def test_self_bleu_agrees_with_sacrebleu() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    rng = numpy_generator(0, "test bleu")
    given = [rng.integers(0, 12, rng.integers(4, 25)) for _ in range(30)]
    words = [" ".join(f"w{number}" for number in text) for text in given]
    scores = [
        sacrebleu.sentence_bleu(
            words[row],
            words[:row] + words[row + 1 :],
            smooth_method="floor",
            smooth_value=0.1,
            tokenize="none",
            use_effective_order=False,
        ).score
        for row in range(len(words))
    ]
    assert self_bleu(given) == pytest.approx(np.mean(scores) / 100, rel=1e-6)


def test_the_interval_of_self_bleu_holds() -> None:
    truth = np.mean([self_bleu(texts(40, 30, 60, seed)) for seed in range(1000, 1100)])
    held = [(found := self_bleu(texts(40, 30, 60, seed))).low <= truth <= found.high for seed in range(100)]
    assert 0.8 <= np.mean(held) <= 0.99


def test_loops_and_parrots_are_seen() -> None:
    varied, looping = texts(50, 60, 300, 0), [np.tile(text[:6], 10) for text in texts(50, 60, 300, 0)]
    assert repetition(looping).low > repetition(varied).high
    assert distinct(looping, 2).high < distinct(varied, 2).low
    parrots = [varied[row % 5] for row in range(50)]
    assert self_bleu(parrots).low > self_bleu(varied).high
