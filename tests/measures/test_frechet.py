"""The Fréchet distance against closed forms, an independent implementation, and repeated draws of known Gaussians."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from motherlode.errors import MeasureError
from motherlode.measures.frechet import (
    Moments,
    frechet_distance,
    frechet_from_moments,
    frechet_infinity,
    frechet_influence,
    frechet_interval,
    trace_sqrt_product,
)
from motherlode.randomness import numpy_generator


def draw(num: int, num_features: int, seed: int = 0) -> np.ndarray:
    return numpy_generator(seed, "test features").standard_normal((num, num_features))


def whitened(num: int, num_features: int, seed: int = 0) -> np.ndarray:
    """Samples whose mean is 0 and whose covariance is the identity, exactly."""
    x = draw(num, num_features, seed)
    x -= x.mean(0)
    left, _, right = np.linalg.svd(x, full_matrices=False)
    return left @ right * np.sqrt(num - 1)


@pytest.mark.parametrize(("num", "num_features"), [(300, 20), (20, 20), (12, 40), (2, 5)])
def test_identical_sets_are_at_zero(num: int, num_features: int) -> None:
    x = draw(num, num_features)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6 * num_features)


@pytest.mark.parametrize(("num", "num_features"), [(400, 16), (10, 32)])
def test_shifted_sets_are_at_the_squared_shift(num: int, num_features: int) -> None:
    x = draw(num, num_features)
    shift = np.linspace(-2, 3, num_features)
    assert frechet_distance(x, x + shift) == pytest.approx(float(shift @ shift), rel=1e-7)


def test_diagonal_gaussians_have_their_closed_form() -> None:
    base = whitened(500, 12)
    first, second = np.linspace(0.1, 3, 12), np.linspace(2, 0.5, 12)
    expected = float(np.square(first - second).sum()) + 12 * 0.25
    assert frechet_distance(base * first, base * second + 0.5) == pytest.approx(expected, rel=1e-9)


def test_few_and_many_samples_agree() -> None:
    """Both formulas hold at any n: the nuclear norm (min(n, m) ≤ d) and the eigenvalues (moments)."""
    for num, other in ((30, 30), (30, 200), (200, 30)):
        a, b = draw(num, 40, 1), draw(other, 40, 2) * 2 + 1
        streamed = frechet_from_moments(Moments().update(a), Moments().update(b))
        assert frechet_distance(a, b) == pytest.approx(streamed, rel=1e-6)


@pytest.mark.parametrize("num", [600, 40])
def test_agrees_with_torchmetrics(num: int) -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")
    a, b = draw(num, 64, 3) @ draw(64, 64, 4), draw(num, 64, 5) @ draw(64, 64, 6) + 1
    moments = [(torch.tensor(x.mean(0)), torch.tensor(np.cov(x.T))) for x in (a, b)]
    theirs = float(fid._compute_fid(*moments[0], *moments[1]))
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=1e-4)
    assert frechet_interval(a, b).value == pytest.approx(theirs, rel=1e-4)


def test_takes_tensors_and_half_precision() -> None:
    a, b = torch.tensor(draw(100, 8, 1)), torch.tensor(draw(100, 8, 2) + 1)
    exact = frechet_distance(a, b)
    assert frechet_distance(a.float().requires_grad_(), b.numpy()) == pytest.approx(exact, rel=1e-5)
    assert frechet_distance(a.bfloat16(), b.bfloat16()) == pytest.approx(exact, rel=0.05)


def test_moments_stream_and_add_up() -> None:
    x = draw(3000, 7) * 3 + 1000
    streamed = Moments()
    for piece in np.array_split(x, 11):
        streamed.update(piece)
    assert streamed.num == 3000
    np.testing.assert_allclose(streamed.mean_D, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(streamed.covariance_DD, np.cov(x.T), rtol=1e-9)
    shift = x[0]
    both = Moments(shift).update(x[:100]) + Moments(shift).update(x[100:])
    np.testing.assert_allclose(both.covariance_DD, np.cov(x.T), rtol=1e-9)
    with pytest.raises(MeasureError, match="share their shift"):
        _ = Moments().update(x[:100]) + Moments().update(x[100:])


@pytest.mark.parametrize("dead", ["both", "one", "nearly"])
def test_singular_covariances(dead: str) -> None:
    a, b = draw(300, 10, 1), draw(300, 10, 2)
    a[:, 3] = 2.0
    b[:, 3] = {"both": 5.0, "one": b[:, 3], "nearly": 5 + 1e-9 * b[:, 3]}[dead]
    a[:, 4], b[:, 4] = a[:, 5], b[:, 5]  # rank deficient as well
    others = [i for i in range(10) if i != 3]
    offset = (a[:, 3].mean() - b[:, 3].mean()) ** 2 + b[:, 3].var(ddof=1)
    expected = frechet_distance(a[:, others], b[:, others]) + offset
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-5)


def test_constant_features() -> None:
    assert frechet_distance(np.ones((50, 4)), np.full((50, 4), 3.0)) == pytest.approx(16)
    assert trace_sqrt_product(np.zeros((3, 3)), np.eye(3)) == 0


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        (np.ones((1, 3)), np.ones((5, 3)), "at least 2 samples"),
        (np.ones((5, 3)), np.ones((5, 4)), "same extractor"),
        (np.ones(5), np.ones((5, 4)), "must be a matrix"),
        (np.full((5, 3), np.nan), np.ones((5, 3)), "must be finite"),
        (np.ones((5, 3)), np.array([[1, 2, np.inf]] * 5), "the first is row 0"),
    ],
)
def test_bad_input_is_refused(a: np.ndarray, b: np.ndarray, told: str) -> None:
    with pytest.raises(MeasureError, match=told):
        frechet_distance(a, b)


@pytest.mark.parametrize(("num", "num_features"), [(150, 8), (24, 40)])
def test_influence_predicts_what_a_sample_does(num: int, num_features: int) -> None:
    """Leaving one sample out moves the distance by about −influence / (n − 1), from either side."""
    a, b = draw(num, num_features, 1), draw(num + 10, num_features, 2) * 1.5 + 0.5
    value, pull_a, pull_b = frechet_influence(a, b)
    assert value == pytest.approx(frechet_distance(a, b), rel=1e-9)
    moved_a = np.array([frechet_distance(np.delete(a, i, 0), b) - value for i in range(20)])
    moved_b = np.array([frechet_distance(a, np.delete(b, i, 0)) - value for i in range(20)])
    assert np.corrcoef(moved_a, -pull_a[:20])[0, 1] > 0.93
    assert np.corrcoef(moved_b, -pull_b[:20])[0, 1] > 0.93


def replicate(num: int, num_features: int, times: int, seed: int) -> tuple[list[np.ndarray], list[np.ndarray], float]:
    """Pairs of draws of two known diagonal Gaussians, and their true distance."""
    rng = numpy_generator(seed, "test replicates")
    first = (1 + np.arange(num_features)) ** -0.5
    second, shift = first * rng.uniform(0.6, 1.4, num_features), 0.3 * first * rng.standard_normal(num_features)
    draws_a = [rng.standard_normal((num, num_features)) * first for _ in range(times)]
    draws_b = [rng.standard_normal((num, num_features)) * second + shift for _ in range(times)]
    return draws_a, draws_b, float(np.square(first - second).sum() + shift @ shift)


@pytest.mark.parametrize(("num", "num_features"), [(200, 16), (24, 40)])
def test_intervals_cover_the_expected_value_at_this_n(num: int, num_features: int) -> None:
    draws_a, draws_b, _ = replicate(num, num_features, 120, 0)
    spans = [frechet_interval(a, b, level=0.9) for a, b in zip(draws_a, draws_b, strict=True)]
    centre = np.mean([span.value for span in spans])
    covered = np.mean([span.low <= centre <= span.high for span in spans])
    assert 0.82 <= covered <= 1.0
    assert all(span.low >= 0 and span.level == 0.9 for span in spans)
    widths = np.mean([span.high - span.value for span in spans]) / 1.645
    assert widths == pytest.approx(np.std([span.value for span in spans]), rel=0.35)


def test_infinity_covers_the_true_distance() -> None:
    draws_a, draws_b, truth = replicate(160, 16, 100, 1)
    spans = [frechet_infinity(a, b, level=0.9) for a, b in zip(draws_a, draws_b, strict=True)]
    assert 0.81 <= np.mean([span.low <= truth <= span.high for span in spans]) <= 0.98
    plain = np.mean([frechet_distance(a, b) for a, b in zip(draws_a, draws_b, strict=True)])
    assert abs(np.mean([span.value for span in spans]) - truth) < 0.1 * (plain - truth)


def test_infinity_refuses_too_few_samples() -> None:
    with pytest.raises(MeasureError, match="at least 4 samples a feature"):
        frechet_infinity(draw(60, 16), draw(60, 16))
