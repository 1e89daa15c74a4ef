import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from motherlode.families.gan.losses import LOSSES

Array = NDArray[np.float64]
RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(1, 2, 50), RNG.normal(-1, 2, 50)


def sigmoid(t: Array) -> Array:
    return 1 / (1 + np.exp(-t))


def critic_value(name: str, real: Array, fake: Array) -> float:
    """The papers' formulas, with probabilities written out."""
    probability = -np.log(sigmoid(real)).mean() - np.log(1 - sigmoid(fake)).mean()
    return float(
        {
            "minimax": probability,
            "nonsaturating": probability,
            "least_squares": 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean(),
            "hinge": np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean(),
            "wasserstein": fake.mean() - real.mean(),
            "relativistic": -np.log(sigmoid(real - fake)).mean(),
        }[name]
    )


def generator_value(name: str, real: Array, fake: Array) -> float:
    return float(
        {
            "minimax": np.log(1 - sigmoid(fake)).mean(),
            "nonsaturating": -np.log(sigmoid(fake)).mean(),
            "least_squares": 0.5 * ((fake - 1) ** 2).mean(),
            "hinge": -fake.mean(),
            "wasserstein": -fake.mean(),
            "relativistic": -np.log(sigmoid(fake - real)).mean(),
        }[name]
    )


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_is_its_formula(name: str) -> None:
    real, fake = torch.from_numpy(REAL), torch.from_numpy(FAKE)
    assert LOSSES[name].critic(real, fake).item() == pytest.approx(critic_value(name, REAL, FAKE), rel=1e-12)
    assert LOSSES[name].generator(real, fake).item() == pytest.approx(generator_value(name, REAL, FAKE), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_sure_outputs_stay_finite_with_their_gradients(name: str) -> None:
    outputs = torch.tensor([1e4, -1e4], requires_grad=True)
    for loss in (LOSSES[name].critic(outputs, outputs.flip(0)), LOSSES[name].generator(outputs, outputs.flip(0))):
        (gradient,) = torch.autograd.grad(loss, outputs)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("name", LOSSES)
def test_the_critic_is_pushed_up_on_real_and_the_generator_up_on_fake(name: str) -> None:
    real, fake = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    for_real, for_fake = torch.autograd.grad(LOSSES[name].critic(real, fake - 0.5), [real, fake])
    assert (for_real < 0).all()
    assert (for_fake > 0).all() or name == "least_squares"
    (for_fake,) = torch.autograd.grad(LOSSES[name].generator(real, fake - 0.5), [fake])
    assert (for_fake < 0).all()


def test_where_the_critic_is_sure_the_minimax_generator_learns_nothing_and_the_nonsaturating_one_does() -> None:
    fake = torch.full((1,), -10.0, requires_grad=True)
    (saturated,) = torch.autograd.grad(LOSSES["minimax"].generator(fake, fake), fake)
    (alive,) = torch.autograd.grad(LOSSES["nonsaturating"].generator(fake, fake), fake)
    assert abs(saturated.item()) < 1e-4
    assert abs(alive.item()) > 0.99


def test_the_best_critic_values_the_game_at_minus_log_4_where_fake_is_real() -> None:
    even = torch.zeros(8)
    assert LOSSES["minimax"].critic(even, even).item() == pytest.approx(np.log(4))
