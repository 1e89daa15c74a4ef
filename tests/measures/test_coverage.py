"""Precision, recall, density and coverage against a direct reading of the papers."""

from __future__ import annotations

import numpy as np
import pytest

from motherlode.errors import MeasureError
from motherlode.measures import neighbours as neighbours_module
from motherlode.measures.coverage import precision_recall_density_coverage
from motherlode.measures.neighbours import Index
from motherlode.randomness import numpy_generator


def draw(num: int, num_features: int, seed: int = 0) -> np.ndarray:
    return numpy_generator(seed, "test features").standard_normal((num, num_features))


def naive(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(np.square(a[:, None] - b[None]).sum(-1))

    real_radius = np.sort(distances(real, real), 1)[:, k]
    fake_radius = np.sort(distances(fake, fake), 1)[:, k]
    between = distances(real, fake)
    return {
        "precision": float((between < real_radius[:, None]).any(0).mean()),
        "recall": float((between < fake_radius[None]).any(1).mean()),
        "density": float((between < real_radius[:, None]).sum(0).mean() / k),
        "coverage": float((between.min(1) < real_radius).mean()),
    }


@pytest.mark.parametrize(("num_real", "num_fake", "k", "shift"), [(90, 70, 5, 0.5), (40, 90, 3, 0.0), (30, 20, 1, 2.0)])
def test_agrees_with_the_definition(
    num_real: int, num_fake: int, k: int, shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours_module, "_CHUNK_ROWS", 16)
    real, fake = draw(num_real, 6, 1), draw(num_fake, 6, 2) * 0.8 + shift
    found = precision_recall_density_coverage(real, fake, neighbours=k)
    assert dict(found) == pytest.approx(naive(real, fake, k))
    assert found["recall"] is found.recall
    for value in dict(found).values():
        assert value.low <= value <= value.high


def test_real_against_itself_is_perfect() -> None:
    x = draw(60, 4)
    found = precision_recall_density_coverage(x, x)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density == pytest.approx(1, abs=0.2)


def test_far_away_samples_score_nothing() -> None:
    found = precision_recall_density_coverage(draw(60, 4), draw(60, 4, 1) + 100)
    assert dict(found) == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}
    assert found.precision.low == 0 < found.precision.high < 0.1


def test_a_collapsed_model_is_precise_and_covers_little() -> None:
    real = draw(300, 4)
    fake = real[:1] + 0.01 * draw(300, 4, 1)
    found = precision_recall_density_coverage(real, fake)
    assert found.precision == 1
    assert found.coverage < 0.15
    assert found.recall < 0.05


def test_bad_input_is_refused() -> None:
    with pytest.raises(MeasureError, match="at least 6 samples"):
        precision_recall_density_coverage(draw(5, 3), draw(50, 3))
    with pytest.raises(MeasureError, match="at least 1 neighbour"):
        precision_recall_density_coverage(draw(5, 3), draw(50, 3), neighbours=0)
    with pytest.raises(MeasureError, match="finite"):
        precision_recall_density_coverage(np.full((50, 3), np.nan), draw(50, 3))


def test_nearest_neighbours_are_exact_where_float32_cancels() -> None:
    """Copies far from the origin: the expanded square loses them, the distances handed out do not."""
    base = draw(200, 32) + 3000
    near = base.copy()
    near[:, 0] += 1e-6
    distance, row = Index(base).nearest(near, 2)
    np.testing.assert_array_equal(row[:, 0], np.arange(200))
    np.testing.assert_allclose(distance[:, 0], 1e-6, rtol=1e-3)
    own, own_row = Index(base).nearest(base, 1, same=True)
    assert (own_row[:, 0] != np.arange(200)).all()
    assert (own > 0).all()
    with pytest.raises(MeasureError, match="more samples"):
        Index(base).nearest(base, 200, same=True)
