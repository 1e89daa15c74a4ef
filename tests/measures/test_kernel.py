"""The kernel distance against an independent implementation and its expected value."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from motherlode.errors import MeasureError
from motherlode.measures.kernel import kernel_distance, unbiased_mmd
from motherlode.randomness import numpy_generator


def draw(num: int, num_features: int, seed: int = 0) -> np.ndarray:
    return numpy_generator(seed, "test features").standard_normal((num, num_features))


def test_agrees_with_torchmetrics() -> None:
    kid = pytest.importorskip("torchmetrics.image.kid")
    a, b = draw(200, 48, 1), draw(200, 48, 2) * 1.2 + 0.3
    theirs = float(kid.poly_mmd(torch.tensor(a), torch.tensor(b)))
    assert unbiased_mmd(a, b) == pytest.approx(theirs, rel=1e-9)
    # One block of all samples is the same number, so blocks are what makes the interval.
    blocks = kernel_distance(a, b, block=40)
    assert blocks.low < theirs < blocks.high


def test_agrees_with_the_definition() -> None:
    a, b = draw(7, 5, 1), draw(9, 5, 2)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 5 + 1) ** 3)

    within_a = np.mean([kernel(a[i], a[j]) for i in range(7) for j in range(7) if i != j])
    within_b = np.mean([kernel(b[i], b[j]) for i in range(9) for j in range(9) if i != j])
    between = np.mean([kernel(x, y) for x in a for y in b])
    assert unbiased_mmd(a, b) == pytest.approx(within_a + within_b - 2 * between)


def test_two_halves_of_one_set_are_at_zero_on_average() -> None:
    spans = [kernel_distance(draw(200, 16, seed), draw(200, 16, seed + 1000), block=40) for seed in range(60)]
    values = np.array(spans)
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(60)
    assert (values < 0).any()
    assert 0.8 <= np.mean([span.low <= 0 <= span.high for span in spans]) <= 1


def test_a_shift_is_seen() -> None:
    span = kernel_distance(draw(500, 16, 1), draw(500, 16, 2) + 0.5)
    assert span.low > 0
    assert "5 disjoint blocks" in span.method


def test_order_does_not_matter_and_seed_does() -> None:
    a, b = draw(300, 4, 1), draw(300, 4, 2)
    assert kernel_distance(a, b, seed=3) == kernel_distance(a, b, seed=3)
    assert kernel_distance(a, b, seed=3) != kernel_distance(a, b, seed=4)


def test_two_samples_are_enough_for_a_value_and_too_few_for_an_interval() -> None:
    span = kernel_distance(draw(2, 3, 1), draw(2, 3, 2))
    assert np.isfinite(span)
    assert np.isnan(span.low)
    with pytest.raises(MeasureError, match="at least 2"):
        kernel_distance(draw(10, 3), draw(10, 3), block=1)
