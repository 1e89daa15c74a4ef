"""What a reconstruction costs, in nats where it is a likelihood, and what a posterior costs.

Outputs are the decoder's, samples lie in [-1, 1]; everything is computed in float32 whatever the decoder's precision.
A density of values that are in truth rounded to so many levels is told as the probability of the level (density times
its width), so that nats of a sample do not depend on the range that values were scaled to.

Shape legend: B batch, Z latent numbers.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from motherlode.families.autoencoder.options import Reconstruction
from motherlode.networks.shapes import Float

_HASTE = 10.0
"""A learned deviation's logarithm moves this many times as fast as a weight."""


class Likelihood(nn.Module):
    """Cost of reconstructions, mean over values: −log p(x | output) in nats, or an error.

    Args:
        kind: bernoulli (grey levels as probabilities), gaussian, laplace; or the errors l1, l2.
        deviation: of gaussian and laplace: σ or b; "learned": one number for all values (Rybkin et al. 2021, "Simple
            and Effective VAE Training with Calibrated Decoders").
        num_levels: that values in [-1, 1] are in truth rounded to.
        emphasis: of sounds, see `emphasised`; a likelihood stays one, for the map's determinant is 1.
    """

    def __init__(
        self,
        kind: Reconstruction,
        deviation: float | Literal["learned"],
        num_levels: int,
        emphasis: float = 0.0,
    ) -> None:
        super().__init__()
        self.kind, self.emphasis = kind, emphasis
        self.log_width = math.log(2 / (num_levels - 1))
        scaled = kind in ("gaussian", "laplace")
        learned = deviation == "learned"
        start = -1.0 if learned else math.log(float(deviation))
        self.log_deviation = nn.Parameter(torch.tensor(start / _HASTE), requires_grad=scaled and learned)

    @property
    def deviation(self) -> Tensor:
        """σ or b, 0-d."""
        return (_HASTE * self.log_deviation).exp()

    def forward(
        self, outputs: Float[Tensor, "batch channels *space"], samples: Float[Tensor, "batch channels *space"]
    ) -> Float[Tensor, ""]:
        """Mean cost of a value."""
        outputs, samples = outputs.float(), samples.float()
        if self.emphasis:
            outputs, samples = (emphasised(values, self.emphasis) for values in (outputs, samples))
        if self.kind == "bernoulli":
            return binary_cross_entropy_with_logits(outputs, (samples + 1) / 2)
        if self.kind == "l2":
            return mse_loss(outputs, samples)
        if self.kind == "l1":
            return (outputs - samples).abs().mean()
        log_deviation = _HASTE * self.log_deviation
        if self.kind == "gaussian":
            error = 0.5 * mse_loss(outputs, samples) * (-2 * log_deviation).exp()
            return error + log_deviation + 0.5 * math.log(2 * math.pi) - self.log_width
        error = (outputs - samples).abs().mean() * (-log_deviation).exp()
        return error + log_deviation + math.log(2) - self.log_width

    def mean(self, outputs: Tensor) -> Tensor:
        """The reconstruction in [-1, 1] or thereabouts, float32: the mean of p(x | output)."""
        return torch.tanh(outputs.float() / 2) if self.kind == "bernoulli" else outputs.float()


def emphasised(samples: Float[Tensor, "batch channels values"], share: float) -> Float[Tensor, "batch channels values"]:
    """x(t) − a · x(t − 1): speech falls by some 12 dB an octave, and what tells its sounds apart is high up, where a
    distance of the values themselves hardly looks. The share a is customarily 0.85 to 0.97."""
    return torch.cat([samples[..., :1], samples[..., 1:] - share * samples[..., :-1]], -1)


def kl_divergence(mean_BZ: Tensor, log_variance_BZ: Tensor) -> Float[Tensor, " numbers"]:
    """KL(N(μ, σ²) ‖ N(0, 1)) of each latent number in nats, mean over the batch (Kingma & Welling 2014, appendix B)."""
    kl_BZ = 0.5 * (mean_BZ.square() + log_variance_BZ.exp() - 1 - log_variance_BZ).flatten(1)
    return kl_BZ.mean(0)
