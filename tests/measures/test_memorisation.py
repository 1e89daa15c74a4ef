"""Memorisation: innocent models score as innocent, copies are found, and intervals survive collapsed models."""

from __future__ import annotations

import numpy as np
import pytest

from motherlode.data.step import wilson
from motherlode.errors import MeasureError
from motherlode.measures.interval import share_interval
from motherlode.measures.memorisation import memorised
from motherlode.randomness import numpy_generator

SCALE = (1 + np.arange(24)) ** -0.5


def draw(num: int, seed: int) -> np.ndarray:
    return numpy_generator(seed, "test features").standard_normal((num, 24)) * SCALE


def test_fresh_samples_are_innocent() -> None:
    found = memorised(draw(400, 1), draw(1500, 2), draw(400, 3), planted_PD=draw(1500, 2)[:50] + 1e-3)
    assert found.closer_to_train.low < 0.5 < found.closer_to_train.high
    assert found.distance_ratio.low < 1 < found.distance_ratio.high
    assert found.copies < 0.04
    assert found.false_rate <= 0.01
    assert found.planted_found == 1


def test_copies_are_found_and_named() -> None:
    train = draw(1500, 2)
    samples = draw(400, 1)
    samples[:40] = train[100:140] + 0.01 * SCALE * numpy_generator(0, "test noise").standard_normal((40, 24))
    found = memorised(samples, train, draw(400, 3))
    assert found.copies.low < 0.1 < found.copies.high + 0.02
    assert {(sample, row) for sample, row, _ in found.pairs} <= {(i, 100 + i) for i in range(40)}
    assert found.planted_found is None
    assert found.authentic < memorised(draw(400, 1), train, draw(400, 3)).authentic


def test_authentic_agrees_with_the_definition() -> None:
    samples, train = draw(60, 1), draw(80, 2)

    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(np.square(a[:, None] - b[None]).sum(-1))

    between, within = distances(samples, train), distances(train, train)
    np.fill_diagonal(within, np.inf)
    expected = np.mean(between.min(1) > within.min(1)[between.argmin(1)])
    assert memorised(samples, train, draw(50, 3)).authentic == pytest.approx(expected)


def test_a_model_that_returns_its_training_set() -> None:
    train = draw(500, 2)
    found = memorised(train, train, draw(500, 3))
    assert (found.copies, found.authentic, found.closer_to_train) == (1, 0, 1)
    assert found.distance_ratio < 1e-6


@pytest.mark.parametrize("kind", ["good", "collapsed"])
def test_intervals_hold_even_where_all_samples_share_a_neighbour(kind: str) -> None:
    held = []
    for seed in range(60):
        samples = draw(150, 3 * seed)
        if kind == "collapsed":
            samples = 5 + 0.1 * samples
        found = memorised(samples, draw(400, 3 * seed + 1), draw(150, 3 * seed + 2))
        held.append(found.closer_to_train.low <= 0.5 <= found.closer_to_train.high)
        if kind == "collapsed":
            assert found.closer_to_train.high - found.closer_to_train.low > 0.25
    assert np.mean(held) >= 0.8


def test_bad_input_is_refused() -> None:
    with pytest.raises(MeasureError, match="same extractor"):
        memorised(draw(20, 1), draw(20, 2)[:, :5], draw(20, 3))
    with pytest.raises(MeasureError, match="finite"):
        memorised(draw(20, 1) * np.nan, draw(20, 2), draw(20, 3))


@pytest.mark.parametrize("num", [33, 50, 64, 100, 333])
def test_the_end_of_a_share_of_none_or_all_is_round(num: int) -> None:
    assert share_interval(np.zeros(num), 0.9).low == 0.0
    assert share_interval(np.ones(num), 0.9).high == 1.0
    assert wilson(0, num)[0] == 0.0
    assert wilson(num, num)[1] == 1.0
