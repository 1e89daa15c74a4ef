"""MAUVE: identities, the closed form of disjoint texts, values of the published estimator, and its seeds' spread."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import beta

from motherlode.errors import MeasureError
from motherlode.measures.language_mauve import agreement, k_means, mauve
from motherlode.randomness import numpy_generator


def draw(num: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = numpy_generator(seed, "test mauve")
    centres = numpy_generator(7, "test centres").standard_normal((6, 24))
    return centres[rng.integers(0, 6, num)] + 0.5 * rng.standard_normal((num, 24)) + shift


def test_equal_histograms_agree_wholly() -> None:
    counts = np.array([3, 0, 7, 11])
    assert agreement(counts, counts) == pytest.approx(1, abs=1e-9)
    assert agreement(counts, 5 * counts) == pytest.approx(1, abs=1e-9)


def test_disjoint_histograms_score_the_beta_integral() -> None:
    # x = (1 − λ)⁵, y = λ⁵: the area is 5 · B(6, 5); a grid of 25 is coarse, hence the tolerance.
    assert agreement(np.array([4, 6, 0]), np.array([0, 0, 9])) == pytest.approx(5 * beta(6, 5), rel=0.1)


def test_histograms_agree_with_the_published_estimator() -> None:
    """Values of the reference implementation (mauve-text 0.4.0) for the same histograms."""
    rng = np.random.default_rng(0)
    expected = [0.41268026907613253, 0.75037654185078, 0.6212405584748754, 0.4682428438954065]
    for value in expected:
        assert agreement(rng.integers(0, 20, 30), rng.integers(0, 20, 30)) == pytest.approx(value, rel=1e-9)
    assert agreement(np.array([5, 0, 3, 0]), np.array([0, 4, 0, 1])) == pytest.approx(0.004072096261961255, rel=1e-9)


def test_it_is_symmetric() -> None:
    first, second = np.array([3, 1, 7, 0]), np.array([1, 5, 2, 2])
    assert agreement(first, second) == pytest.approx(agreement(second, first), rel=1e-9)


def test_like_texts_score_high_and_unlike_ones_low() -> None:
    same = mauve(draw(300, 1), draw(300, 2))
    assert same > 0.9
    assert same.high <= 1
    other = mauve(draw(300, 1), draw(300, 2, shift=3.0))
    assert other < 0.02
    between = mauve(draw(300, 1), np.concatenate([draw(150, 2), draw(150, 3, shift=3.0)]))
    assert other.high < between < same.low
    assert mauve(draw(100, 1), draw(100, 1)) == pytest.approx(1, abs=1e-6)


def test_a_missing_kind_is_seen() -> None:
    whole = draw(400, 1)
    some = draw(1200, 2)
    some = some[np.linalg.norm(some - whole[0], axis=1) > np.median(np.linalg.norm(some - whole[0], axis=1))][:400]
    assert mauve(some, whole).high < mauve(draw(400, 3), whole)


def test_the_seed_decides_and_the_spread_is_told() -> None:
    first, again, other = (mauve(draw(200, 1), draw(200, 2), seed=seed) for seed in (1, 1, 2))
    assert (first, first.low) == (again, again.low)
    assert first != other
    assert abs(first - other) < 0.05
    assert "5 clusterings (spread 0.0" in first.method
    assert first.low < first < first.high


def test_clusters_are_found() -> None:
    points = np.repeat(np.array([[0.0, 0], [10, 0], [0, 10]], np.float32), 20, axis=0)
    points += 0.1 * numpy_generator(0, "test points").standard_normal(points.shape).astype(np.float32)
    labels = k_means(points, 3, numpy_generator(0, "test k-means"))
    assert len({tuple(np.unique(labels[start : start + 20])) for start in (0, 20, 40)}) == 3
    # Fewer unlike points than clusters are no trouble.
    assert len(np.unique(k_means(np.zeros((5, 2), np.float32), 3, numpy_generator(0, "test k-means")))) == 1


def test_bad_input_is_refused() -> None:
    with pytest.raises(MeasureError, match="clusters"):
        mauve(draw(20, 1), draw(20, 2), clusters=41)
    with pytest.raises(MeasureError):
        mauve(draw(3, 1), draw(20, 2))
    with pytest.raises(MeasureError, match="finite"):
        mauve(draw(20, 1) * np.nan, draw(20, 2))
