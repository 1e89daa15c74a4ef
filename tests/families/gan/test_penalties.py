import pytest
import torch
from torch import Tensor, nn

from motherlode.families.gan.penalties import Form, slope, squared_slope
from motherlode.networks.conv import DcganCritic
from motherlode.networks.resnet import ResnetCritic
from motherlode.randomness import torch_generator


def rng() -> torch.Generator:
    return torch_generator(0, "penalty")


def values(critic: nn.Module, form: Form, samples: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared slope and its gradient over the critic's weights."""
    inputs = samples.clone().requires_grad_()
    squared = squared_slope(critic, inputs, critic(inputs), form, rng()).mean()
    gradients = torch.autograd.grad(squared, list(critic.parameters()), allow_unused=True, materialize_grads=True)
    return squared.detach(), torch.cat([gradient.flatten() for gradient in gradients])


@pytest.mark.parametrize("form", ["exact", "difference"])
def test_a_linear_critic_has_the_slope_of_its_weights(form: Form) -> None:
    critic = nn.Sequential(nn.Flatten(), nn.Linear(12, 1), nn.Flatten(0))
    samples = torch.randn(5, 3, 4)
    inputs = samples.clone().requires_grad_()
    found = slope(critic, inputs, critic(inputs), form)
    weight = critic[1].get_parameter("weight")
    assert torch.allclose(found, weight.norm().expand(5), rtol=1e-4)
    (gradient,) = torch.autograd.grad(found.sum(), weight)
    assert torch.allclose(gradient, 5 * weight / weight.norm(), rtol=1e-2, atol=1e-3)


def test_the_random_form_has_the_squared_slope_as_its_mean() -> None:
    critic = nn.Sequential(nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0))
    inputs = torch.zeros(20_000, 64, requires_grad=True)
    found = squared_slope(critic, inputs, critic(inputs), "random", rng())
    expected = critic[1].get_parameter("weight").square().sum().item()
    # A squared normal has a standard deviation of sqrt(2) times its mean.
    assert found.mean().item() == pytest.approx(expected, rel=5 * (2 / 20_000) ** 0.5)


class Smooth(nn.Module):
    """A critic without kinks: between kinks a difference sees exactly what double backward sees, across them more."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.Softplus(), nn.Conv2d(8, 8, 4, 2, 1), nn.Softplus())
        self.head = nn.Linear(8 * 4 * 4, 1)

    def forward(self, samples: Tensor) -> Tensor:
        outputs: Tensor = self.head(self.layers(samples).flatten(1)).squeeze(1)
        return outputs


def test_difference_agrees_with_double_backward_in_value_and_direction() -> None:
    critic, samples = Smooth().double(), torch.randn(16, 1, 16, 16).clamp(-1, 1).double()
    exact, exact_gradient = values(critic, "exact", samples)
    found, gradient = values(critic, "difference", samples)
    assert found.item() == pytest.approx(exact.item(), rel=1e-3)
    assert torch.allclose(gradient, exact_gradient, rtol=1e-2, atol=1e-3 * exact_gradient.abs().max().item())


@pytest.mark.parametrize("critic", [DcganCritic((1, 16, 16), width=8, norm="none"), ResnetCritic((1, 16, 16), width=8)])
def test_both_forms_hold_under_bf16_autocast(critic: nn.Module) -> None:
    for parameter in critic.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
    samples = torch.randn(16, 1, 16, 16).clamp(-1, 1)
    exact, exact_gradient = values(critic, "exact", samples)
    with torch.autocast("cpu", torch.bfloat16):
        rough, rough_gradient = values(critic, "exact", samples)
        found, gradient = values(critic, "difference", samples)
    assert rough.item() == pytest.approx(exact.item(), rel=0.02)
    assert found.item() == pytest.approx(exact.item(), rel=0.15)
    assert nn.functional.cosine_similarity(rough_gradient, exact_gradient, 0) > 0.99
    assert nn.functional.cosine_similarity(gradient, exact_gradient, 0) > 0.5


def test_heads_count_together() -> None:
    critic = nn.Sequential(nn.Flatten(), nn.Linear(6, 3, bias=False))
    inputs = torch.randn(4, 6, requires_grad=True)
    found = slope(critic, inputs, critic(inputs), "exact")
    assert torch.allclose(found, critic[1].get_parameter("weight").sum(0).norm().expand(4))
