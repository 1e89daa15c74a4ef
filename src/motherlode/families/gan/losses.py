"""Adversarial losses: what critic and generator minimise, given the critic's outputs.

D(x) is the critic's output before any sigmoid, x a real sample, G(z) a generated one. `softplus(t) = log(1 + exp t)`,
so `-log sigmoid(t) = softplus(-t)`: no probability is ever formed, and none can round to 0 or 1. Outputs arrive in
fp32 (the critic's head sees to it); all shapes are (B,), or (B, K) for a critic with K heads, which count alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu, softplus


@dataclass(frozen=True)
class Loss:
    """A pair of losses.

    Args:
        critic: (D(x), D(G(z))) → scalar.
        generator: (D(x), D(G(z))) → scalar; ignores D(x) unless `relative`.
        relative: the generator's loss needs D(x) as well.
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    relative: bool = False


def _logistic(real: Tensor, fake: Tensor) -> Tensor:
    """−E log σ(D(x)) − E log(1 − σ(D(G(z))))."""
    return softplus(-real).mean() + softplus(fake).mean()


def _minimax_generator(_: Tensor, fake: Tensor) -> Tensor:
    """E log(1 − σ(D(G(z)))): the game's own value. Its gradient dies where the critic is sure (Goodfellow 2014)."""
    return -softplus(fake).mean()


def _nonsaturating_generator(_: Tensor, fake: Tensor) -> Tensor:
    """−E log σ(D(G(z))): the same fixed point, a gradient where it is needed (Goodfellow 2014, section 3)."""
    return softplus(-fake).mean()


def _least_squares_critic(real: Tensor, fake: Tensor) -> Tensor:
    """½ E (D(x) − 1)² + ½ E D(G(z))² (Mao et al. 2017, "Least Squares GANs", a = 0, b = c = 1)."""
    return 0.5 * ((real - 1).square().mean() + fake.square().mean())


def _least_squares_generator(_: Tensor, fake: Tensor) -> Tensor:
    """½ E (D(G(z)) − 1)²."""
    return 0.5 * (fake - 1).square().mean()


def _hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E max(0, 1 − D(x)) + E max(0, 1 + D(G(z))) (Lim & Ye 2017, "Geometric GAN")."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def _wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """E D(G(z)) − E D(x): minus the Wasserstein-1 distance, for a 1-Lipschitz D (Arjovsky et al. 2017)."""
    return fake.mean() - real.mean()


def _minus_fake(_: Tensor, fake: Tensor) -> Tensor:
    """−E D(G(z)): the generator of the hinge and Wasserstein losses."""
    return -fake.mean()


def _relativistic_critic(real: Tensor, fake: Tensor) -> Tensor:
    """−E log σ(D(x) − D(G(z))) over pairs (Jolicoeur-Martineau 2018; with R1 + R2: Huang et al. 2024, "R3GAN")."""
    return softplus(fake - real).mean()


def _relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """−E log σ(D(G(z)) − D(x)) over pairs."""
    return softplus(real - fake).mean()


LOSSES = {
    "minimax": Loss(_logistic, _minimax_generator),
    "nonsaturating": Loss(_logistic, _nonsaturating_generator),
    "least_squares": Loss(_least_squares_critic, _least_squares_generator),
    "hinge": Loss(_hinge_critic, _minus_fake),
    "wasserstein": Loss(_wasserstein_critic, _minus_fake),
    "relativistic": Loss(_relativistic_critic, _relativistic_generator, relative=True),
}
