"""The autoencoder family: encoder, what lies between, decoder.

Shape legend: B batch, Z latent numbers, N samples.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from motherlode import registry
from motherlode.errors import RecipeError
from motherlode.families import Batch, Family, Turn
from motherlode.families.autoencoder.losses import Likelihood, kl_divergence
from motherlode.families.autoencoder.mixture import MOST_NUMBERS, Mixture
from motherlode.families.autoencoder.networks import build_coder, latent_shape, resolve
from motherlode.families.autoencoder.options import Options as AutoencoderOptions
from motherlode.modality import SampleSpec
from motherlode.networks.blocks import evaluating
from motherlode.randomness import torch_generator
from motherlode.recipe import Strict

_PIECE = 256


class Autoencoder(Family):
    """An encoder and a decoder.

    Args:
        options: resolved (see `networks.resolve`).
        spec: shape of the samples.
        seed: of the initial weights.
    """

    Options: ClassVar[type[Strict]] = AutoencoderOptions
    loss_name: ClassVar[str] = "held-out loss: NELBO in nats a sample of a vae, else reconstruction loss a value"
    defaults: ClassVar[Mapping[str, Any]] = {"batch": 64, "optimizer": {"lr": 1e-3, "betas": (0.9, 0.99)}}

    def __init__(self, options: AutoencoderOptions, spec: SampleSpec, seed: int) -> None:
        super().__init__()
        self.options = options
        self.spec = spec
        self.seed = seed
        assert options.reconstruction != "auto"
        levels = np.iinfo(registry.find("modality", spec.modality).dtype)
        num_levels = int(levels.max) - int(levels.min) + 1
        self.encoder, self.decoder = build_coder(options, spec, seed)
        self.likelihood = Likelihood(options.reconstruction, options.deviation, num_levels)
        self.latent_shape = latent_shape(options, spec)
        num_latent = math.prod(self.latent_shape)
        mixed = options.mixture and num_latent <= MOST_NUMBERS
        self.mixture = Mixture(options.mixture, num_latent) if mixed else None
        # A tuple hides the list from the state, in which its members stand already.
        self._learner = (nn.ModuleList([self.encoder, self.decoder, self.likelihood]),)
        self._latents: list[Tensor] = []

    @classmethod
    def build(cls, options: Any, spec: SampleSpec, seed: int) -> Autoencoder:
        """Make the networks; see `Family.build`."""
        return cls(resolve(options, spec), spec, seed)

    @property
    def variational(self) -> bool:
        """Whether an encoding is a distribution."""
        return self.options.kind == "vae"

    @property
    def _device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    # ---------------------------------------------------------------------------------------------------- training

    def turns(self, step: int) -> Sequence[Turn]:
        """One turn, "autoencoder"."""
        self._latents.clear()
        return [Turn("autoencoder", self._learner[0], self._loss, self._follow)]

    def _loss(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        latents, kl_Z = self._encode(batch.samples, rng)
        outputs = self.decoder(latents)
        if self.mixture is not None:
            self._latents.append(latents.detach().flatten(1).float())
        cost = self.likelihood(outputs, batch.samples)
        logs = {"reconstruction": cost.detach()}
        if kl_Z is None:
            return cost, logs
        num_values = math.prod(self.spec.shape)
        paid = kl_Z.clamp_min(self.options.free_nats).sum() if self.options.free_nats else kl_Z.sum()
        kl = kl_Z.detach().sum()
        logs |= {"kl": kl, "nelbo": cost.detach() * num_values + kl}
        # In nats a value, so that a rate and a weight mean the same whatever the size of a sample.
        return cost + self.options.beta * paid / num_values, logs

    def _encode(self, samples: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Latents (B, *latent_shape), drawn from the posterior of a VAE, and its KL divergence by latent number."""
        features = self.encoder(samples)
        if not self.variational:
            return features, None
        mean, log_variance = _posterior(features)
        noise = torch.randn(mean.shape, generator=rng, device=rng.device).to(mean)
        return mean + (0.5 * log_variance).exp() * noise, kl_divergence(mean, log_variance)

    def _follow(self) -> None:
        if self.mixture is not None:
            for latents in self._latents:
                self.mixture.remember(latents)
        self._latents.clear()

    @torch.no_grad()
    def heldout_loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Of a VAE −ELBO in nats a sample, one draw from each posterior, β and free bits left aside; else the cost of
        reconstruction, mean over values."""
        latents, kl_Z = self._encode(batch.samples, rng)
        cost: Tensor = self.likelihood(self.decoder(latents), batch.samples)
        return cost if kl_Z is None else cost * math.prod(self.spec.shape) + kl_Z.sum()

    # ---------------------------------------------------------------------------------------------------- sampling

    @property
    def variants(self) -> tuple[str, ...]:
        """Where latents are drawn from: the mixture fitted to those of training samples, the standard normal."""
        fitted = ("mixture",) if self.mixture is not None else ()
        return (*fitted, "normal") if self.variational else fitted or ("raw",)

    @property
    def num_noise(self) -> int:
        """Size Z of the noise the sampler takes: the latent numbers, and one that chooses a component."""
        return math.prod(self.latent_shape) + (self.mixture is not None)

    @torch.no_grad()
    def sample(self, num: int, *, condition: Tensor | None = None, rng: torch.Generator, variant: str = "") -> Tensor:
        """Normalised samples (num, *shape); see `Family.sample`."""
        if condition is not None:
            raise RecipeError("this model takes no condition", "labels", "train a GAN with `conditional: true`")
        noise_BZ = torch.randn(num, self.num_noise, generator=rng, device=rng.device).to(self._device)
        network = self._sampler(variant)
        with evaluating(network):
            pieces = [network(piece) for piece in torch.split(noise_BZ, _PIECE)] if num else []
        return torch.cat(pieces) if pieces else noise_BZ.new_empty(0, *self.spec.shape)

    def sampler(self, variant: str = "") -> nn.Module:
        """A frozen copy: (noise (B, Z), None) → samples (B, *shape)."""
        return copy.deepcopy(self._sampler(variant)).eval().requires_grad_(False)

    def _sampler(self, variant: str) -> _Sampler:
        variant = variant or self.variants[0]
        if variant not in self.variants:
            raise RecipeError("this model has no such weights", variant, f"choose one of: {', '.join(self.variants)}")
        if variant == "raw":
            raise RecipeError(
                "a plain autoencoder samples from a mixture fitted to its latents",
                f"{math.prod(self.latent_shape)} latent numbers, mixture: {self.options.mixture}",
                f"set `mixture: 10` and at most {MOST_NUMBERS} latent numbers, or use `kind: vae`",
            )
        mixture = self.mixture if variant == "mixture" else None
        return _Sampler(self.decoder, self.likelihood, mixture, self.latent_shape)

    @torch.no_grad()
    def reconstruct(self, samples: Tensor) -> Tensor:
        """Normalised samples (N, *shape) through encoder and decoder: of a VAE from the means of the posteriors."""
        with evaluating(self):
            return torch.cat([self._through(piece) for piece in torch.split(samples, _PIECE)])

    def _through(self, samples: Tensor) -> Tensor:
        features = self.encoder(samples)
        latents = _posterior(features)[0] if self.variational else features
        return self.likelihood.mean(self.decoder(latents)).clamp(-1, 1)

    # -------------------------------------------------------------------------------------------------- diagnostics

    def inspect(self, step: int, train: Batch, heldout: Batch) -> dict[str, float]:
        """Losses on both batches, PSNR, latent numbers in use; fits the mixture anew."""
        if self.mixture is not None:
            self.mixture.fit(torch_generator(self.seed, "mixture", step, device=self._device))
        found = {}
        with evaluating(self), torch.no_grad():
            for name, batch in (("train", train), ("unseen", heldout)):
                rng = torch_generator(self.seed, "inspect", step, device=self._device)
                found[f"loss_{name}"] = float(self.heldout_loss(batch, rng))
            error = (self.reconstruct(heldout.samples) - heldout.samples.float()).square().mean()
            found["psnr"] = float(10 * torch.log10(4 / error.clamp_min(1e-10)))
            if self.variational:
                rng = torch_generator(self.seed, "inspect", step, device=self._device)
                kl_Z = self._encode(heldout.samples, rng)[1]
                assert kl_Z is not None
                found |= {"kl": float(kl_Z.sum()), "active": float((kl_Z > _ACTIVE_NATS).float().mean())}
        return found

    def warnings(self, history: Sequence[Mapping[str, float]]) -> list[str]:
        """What the diagnostics mean and what to do about it."""
        return []


_ACTIVE_NATS = 0.01
"""A latent number that says less about a sample than this is not in use."""


class _Sampler(nn.Module):
    """Standard normal noise to samples."""

    def __init__(
        self, decoder: nn.Module, likelihood: Likelihood, mixture: Mixture | None, latent_shape: Sequence[int]
    ) -> None:
        super().__init__()
        self.decoder, self.likelihood, self.mixture = decoder, likelihood, mixture
        self.latent_shape = tuple(latent_shape)

    def forward(self, noise_BZ: Tensor, labels_B: Tensor | None = None) -> Tensor:
        """Make samples."""
        flat = self.mixture(noise_BZ) if self.mixture is not None else noise_BZ[:, : math.prod(self.latent_shape)]
        return self.likelihood.mean(self.decoder(flat.unflatten(1, self.latent_shape))).clamp(-1, 1)


def _posterior(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log variance, float32, of the encoder's two halves."""
    mean, log_variance = features.float().chunk(2, 1)
    return mean, log_variance.clamp(-20, 10)
