import pytest
import torch
from sklearn.mixture import GaussianMixture

from motherlode.families.autoencoder.mixture import Mixture, fit, log_densities
from motherlode.randomness import torch_generator


def planted(num: int) -> torch.Tensor:
    rng = torch_generator(0, "planted")
    turn = torch.tensor([[1.0, 0.8], [0.0, 0.6]])
    first = torch.randn(num, 2, generator=rng) @ turn
    second = 0.3 * torch.randn(num // 2, 2, generator=rng) + torch.tensor([6.0, -4.0])
    return torch.cat([first, second])


def test_a_fit_is_as_likely_as_scikit_learns() -> None:
    points = planted(2000).double()
    weights, means, covariances = fit(points, 2, torch_generator(0, "fit"))
    ours = float(log_densities(points, weights, means, covariances).logsumexp(1).mean())
    theirs = GaussianMixture(2, random_state=0).fit(points.numpy()).score(points.numpy())
    assert ours == pytest.approx(theirs, abs=2e-3)


def test_what_is_drawn_has_the_moments_of_what_was_remembered() -> None:
    mixture = Mixture(4, 2)
    points = planted(2000)
    for piece in points.split(100):
        mixture.remember(piece)
    mixture.fit(torch_generator(0, "fit"))
    drawn = mixture(torch.randn(20_000, 3, generator=torch_generator(0, "draw")))
    assert torch.allclose(drawn.mean(0), points.mean(0), atol=0.1)
    assert torch.allclose(drawn.t().cov(), points.t().cov(), atol=0.3)


def test_the_ring_keeps_the_newest_and_few_points_are_not_fitted() -> None:
    mixture = Mixture(2, 1)
    mixture.remember(torch.ones(5, 1))
    mixture.fit(torch_generator(0, "fit"))
    assert float(mixture.means.abs().max()) == 0
    for value in range(50):
        mixture.remember(torch.full((100, 1), float(value)))
    assert float(mixture.ring.min()) == 9
    assert float(mixture.ring.max()) == 49
