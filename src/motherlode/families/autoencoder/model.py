"""The autoencoder family: encoder, what lies between, decoder; one turn a step, two with a critic.

Loss terms are means over values, so that weights mean the same at every size of a sample. What a turn keeps for after
its optimiser step (lessons for codebooks, latents for the mixture, fakes for the critic) lives within one step: nothing
is remembered over a restart but parameters and buffers. The critic judges fresh samples against what the turn before
made, one pass of the autoencoder a step, at the price that the two batches are not the same samples.
Fashion-MNIST as 7x7 codes: all of 512 in use on 6,869 held-out pictures, PSNR 25.3 dB, after four minutes of one core.

Shape legend: B batch, Z latent numbers, N samples.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from motherlode import registry
from motherlode.errors import RecipeError
from motherlode.families import Batch, CodeSpace, Family, Turn
from motherlode.families.autoencoder.critics import build_critic
from motherlode.families.autoencoder.diagnose import warn
from motherlode.families.autoencoder.judges import Judges, critic_loss
from motherlode.families.autoencoder.losses import Likelihood, kl_divergence
from motherlode.families.autoencoder.mixture import MOST_NUMBERS, Mixture
from motherlode.families.autoencoder.networks import (
    CODED,
    Padded,
    VectorEncoder,
    build_coder,
    build_quantiser,
    latent_shape,
    plan_of,
    resolve,
)
from motherlode.families.autoencoder.options import Options as AutoencoderOptions
from motherlode.modality import SampleSpec
from motherlode.networks.blocks import evaluating
from motherlode.networks.quantise import Quantised, ScalarQuantiser, VectorQuantiser, perplexity
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
        self.likelihood = Likelihood(options.reconstruction, options.deviation, num_levels, options.emphasis)
        self.latent_shape = latent_shape(options, spec)
        num_latent = math.prod(self.latent_shape)
        self.quantiser = build_quantiser(options, seed)
        mixed = options.mixture and num_latent <= MOST_NUMBERS and not self.coded
        self.mixture = Mixture(options.mixture, num_latent) if mixed else None
        self.critic = build_critic(options.critic, spec.shape, seed)
        self._judges = Judges(options, spec, self.critic)
        # A tuple hides the list from the state, in which its members stand already.
        self._learner = (nn.ModuleList([self.encoder, self.decoder, self.likelihood]),)
        self._latents: list[Tensor] = []
        self._lessons: list[Quantised] = []
        self._points: list[Tensor] = []
        self._fakes: deque[Tensor] = deque()

    @classmethod
    def build(cls, options: Any, spec: SampleSpec, seed: int) -> Autoencoder:
        """Make the networks; see `Family.build`."""
        return cls(resolve(options, spec), spec, seed)

    @property
    def variational(self) -> bool:
        """Whether an encoding is a distribution."""
        return self.options.kind == "vae"

    @property
    def coded(self) -> bool:
        """Whether an encoding is made of codes."""
        return self.options.kind in CODED

    @property
    def _device(self) -> torch.device:
        return next(self.encoder.parameters()).device

    # ---------------------------------------------------------------------------------------------------- training

    def turns(self, step: int) -> Sequence[Turn]:
        """A turn "autoencoder"; then, where there is one, a turn "critic" on what that made and on fresh samples."""
        for kept in (self._latents, self._lessons, self._points, self._fakes):
            kept.clear()
        turns = [Turn("autoencoder", self._learner[0], partial(self._loss, step=step), partial(self._follow, step))]
        if self.critic is not None:
            turns.append(Turn("critic", self.critic, self._critic_loss))
        return turns

    def _loss(self, batch: Batch, rng: torch.Generator, *, step: int = 0) -> tuple[Tensor, Mapping[str, Tensor]]:
        features = self.encoder(batch.samples)
        num_values = math.prod(self.spec.shape)
        logs: dict[str, Tensor] = {}
        # Weighed in nats (or errors) a value, so that a rate and a weight mean the same whatever the size of a sample.
        extra: Tensor | float = 0.0
        if self.variational:
            latents, kl_Z = self._draw(features, rng)
            paid = kl_Z.clamp_min(self.options.free_nats).sum() if self.options.free_nats else kl_Z.sum()
            extra = self.options.beta * paid / num_values
            logs["kl"] = kl_Z.detach().sum()
        elif self.quantiser is not None:
            latents, extra = self._quantise(features, rng, step)
            logs["commitment"] = extra.detach()
        else:
            latents = features
        if self.mixture is not None:
            self._latents.append(latents.detach().flatten(1).float())
        outputs = self.decoder(latents)
        cost = self.likelihood(outputs, batch.samples)
        logs["reconstruction"] = cost.detach()
        if self.variational:
            logs["nelbo"] = cost.detach() * num_values + logs["kl"]
        judged, found = self._judge(outputs, batch.samples, cost, rng, step)
        return self.options.reconstruction_weight * cost + judged + extra, logs | found

    def _judge(
        self, outputs: Tensor, real: Tensor, cost: Tensor, rng: torch.Generator, step: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The terms of `Judges`; keeps what the critic's turn judges."""
        made, drawn = self.likelihood.mean(outputs), None
        if self.critic is not None and self.options.critic.samples:
            noise = torch.randn(len(real), *self.latent_shape, generator=rng, device=rng.device).to(outputs)
            drawn = self.likelihood.mean(self.decoder(noise))
        if self.critic is not None:
            self._fakes.append(made.detach() if drawn is None else torch.cat([made.detach(), drawn.detach()]))
        return self._judges(outputs, made, real, cost, step, drawn)

    def _critic_loss(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        fakes = self._fakes.popleft() if self._fakes else self.reconstruct(batch.samples)
        return critic_loss(self._judges, batch.samples, fakes)

    def _draw(self, features: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """A draw from each posterior, and the KL divergence by latent number, mean over the batch."""
        mean, log_variance = _posterior(features)
        noise = torch.randn(mean.shape, generator=rng, device=rng.device).to(mean)
        return mean + (0.5 * log_variance).exp() * noise, kl_divergence(mean, log_variance)

    def _quantise(self, features: Tensor, rng: torch.Generator, step: int) -> tuple[Tensor, Tensor]:
        """What the decoder gets, and the weighted commitment; before the codebook has started, the features."""
        assert self.quantiser is not None
        book = self.options.codebook
        if self._starts_at >= step and isinstance(self.quantiser, VectorQuantiser):
            if step == self._starts_at:
                self._points.append(features.detach().float().movedim(1, -1).flatten(0, -2))
            return features, features.new_zeros((), dtype=torch.float32)
        num_active_B = None
        if self.options.kind == "rvq" and book.dropout:
            num_active_B = _num_active(len(features), book.quantisers, book.dropout, rng)
        made = self.quantiser(features, num_active_B)
        self._lessons.append(made)
        return made.vectors, book.commitment * made.commitment

    @property
    def _starts_at(self) -> int:
        """The step after which the codebook starts: it makes no codes up to then."""
        return self.options.codebook.start_steps

    def _follow(self, step: int) -> None:
        if self.mixture is not None:
            for latents in self._latents:
                self.mixture.remember(latents)
        if isinstance(self.quantiser, VectorQuantiser):
            # The same on every rank: codebooks must not come apart.
            rng = torch_generator(self.seed, "codebook", step, device=self._device)
            if self._points:
                self.quantiser.start(torch.cat(self._points), rng)
            if self._lessons:
                parts = zip(*(made.lessons for made in self._lessons), strict=True)
                joined = [tuple(torch.cat(values) for values in zip(*part, strict=True)) for part in parts]
                self.quantiser.learn(joined, rng)  # type: ignore[arg-type]

    @torch.no_grad()
    def heldout_loss(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Of a VAE −ELBO in nats a sample, one draw from each posterior, β and free bits left aside; else the cost of
        reconstruction, mean over values."""
        features = self.encoder(batch.samples)
        if self.variational:
            latents, kl_Z = self._draw(features, rng)
            cost: Tensor = self.likelihood(self.decoder(latents), batch.samples)
            return cost * math.prod(self.spec.shape) + kl_Z.sum()
        latents = self.quantiser(features).vectors if self.quantiser is not None else features
        return self.likelihood(self.decoder(latents), batch.samples)  # type: ignore[no-any-return]

    # ---------------------------------------------------------------------------------------------------- sampling

    @property
    def variants(self) -> tuple[str, ...]:
        """Where latents are drawn from: the mixture fitted to those of training samples, the standard normal."""
        fitted = ("mixture",) if self.mixture is not None else ()
        return (*fitted, "normal") if self.variational else fitted or ("raw",)

    @property
    def makes_samples(self) -> bool:
        """Whether latents can be drawn: of codes only a model that has learnt them knows."""
        return self.variational or self.mixture is not None

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

    def coders(self) -> Mapping[str, nn.Module]:
        """See `Family.coders`: codes where the kind makes them, else latents (of a vae the means)."""
        parts = {
            "encoder": _EncoderPart(self.encoder, self.quantiser, variational=self.variational),
            "decoder": _DecoderPart(self.decoder, self.quantiser, self.likelihood),
        }
        return {name: copy.deepcopy(part).eval().requires_grad_(False) for name, part in parts.items()}

    def backbone(self) -> nn.Module:
        """The convolutions of the encoder; see `Family.backbone`."""
        coder = self.encoder
        return Padded(coder.encoder, coder.sides) if isinstance(coder, VectorEncoder) else coder

    def _sampler(self, variant: str) -> _Sampler:
        variant = variant or self.variants[0]
        if variant not in self.variants:
            raise RecipeError("this model has no such weights", variant, f"choose one of: {', '.join(self.variants)}")
        if self.coded:
            raise RecipeError(
                "codes are drawn by a model that has learnt them",
                f"kind: {self.options.kind}",
                "train a GPT over the codes: name this run as `codec:` of a field under `data.fields`",
            )
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
        return self._restored(self._centre(samples))

    def _centre(self, samples: Tensor) -> Tensor:
        """Latents without noise, before any codes."""
        features: Tensor = self.encoder(samples)
        return _posterior(features)[0] if self.variational else features

    def _restored(self, latents: Tensor) -> Tensor:
        made = self.quantiser(latents).vectors if self.quantiser is not None else latents
        return self.likelihood.mean(self.decoder(made)).clamp(-1, 1)

    @torch.no_grad()
    def interpolate(self, first: Tensor, last: Tensor, num: int) -> Tensor:
        """Decoded points on the straight lines between latents, (N, num, *shape); see `Family.interpolate`."""
        with evaluating(self):
            ends = self._centre(first).float(), self._centre(last).float()
            shares = torch.linspace(0, 1, num, device=self._device).tolist()
            return torch.stack([self._restored(torch.lerp(*ends, share)) for share in shares], 1)

    def preview(self, num: int, shown: Callable[[], Batch], *, rng: torch.Generator) -> Tensor:
        """Rows of held-out samples above their reconstructions; where it can sample, half of the rows are samples."""
        drawn = num // 2 if self.makes_samples else 0
        real = shown().samples.float()
        columns = max(1, min(math.isqrt(num), len(real)))
        num_pairs = min((num - drawn) // 2, len(real)) // columns * columns
        real = real[:num_pairs]
        made = self.reconstruct(real)
        rows = torch.cat(
            [part for pair in zip(torch.split(real, columns), torch.split(made, columns)) for part in pair]
        )
        return torch.cat([rows, self.sample(drawn, rng=rng)]) if drawn else rows

    # ------------------------------------------------------------------------------------------------------- codes

    @property
    def code_space(self) -> CodeSpace | None:
        """The codes of kinds vq, rvq and fsq; None of the others."""
        if self.quantiser is None:
            return None
        return CodeSpace(self.quantiser.sizes, plan_of(self.options, self.spec).stride, self.latent_shape[1:])

    @torch.no_grad()
    def codes(self, samples: Tensor) -> Tensor:
        """Codes int64 (N, *places, Q) of normalised samples (N, C, *size); see `Family.codes`.

        Raises:
            RecipeError: a side is no multiple of the stride, or this kind makes no codes.
        """
        quantiser, space = self._codec()
        uneven = any(side % step for side, step in zip(samples.shape[2:], space.stride, strict=True))
        if uneven or not samples.numel():
            raise RecipeError(
                f"samples to encode must have sides that are multiples of {space.stride}",
                f"shape {tuple(samples.shape)}",
                "pad or crop them",
            )
        with evaluating(self):
            pieces = torch.split(samples.float(), _PIECE)
            return torch.cat([quantiser.codes_of(self.encoder(piece)) for piece in pieces])

    @torch.no_grad()
    def from_codes(self, codes: Tensor) -> Tensor:
        """Normalised samples (N, C, *size) of codes int64 (N, *places, Q); see `Family.from_codes`.

        Raises:
            RecipeError: codes out of range or of another number of axes, or this kind makes no codes.
        """
        quantiser, space = self._codec()
        sizes = torch.tensor(space.sizes, device=codes.device)
        fits = codes.ndim == len(space.stride) + 2 and codes.shape[-1] == len(sizes) and codes.numel() > 0
        if not fits or bool((codes < 0).any()) or bool((codes >= sizes).any()):
            raise RecipeError(
                f"codes must be of shape (N, {len(space.stride)} axes of places, {len(sizes)}) and below {space.sizes}",
                f"shape {tuple(codes.shape)}",
                "encode samples with `codes`",
            )
        with evaluating(self):
            pieces = torch.split(codes.to(self._device), _PIECE)
            made = [self.likelihood.mean(self.decoder(quantiser.vectors_of(piece))) for piece in pieces]
        return torch.cat(made).clamp(-1, 1)

    def _codec(self) -> tuple[VectorQuantiser | ScalarQuantiser, CodeSpace]:
        space = self.code_space
        if self.quantiser is None or space is None:
            raise RecipeError("only kinds vq, rvq and fsq make codes", f"kind: {self.options.kind}", "set `kind: vq`")
        return self.quantiser, space

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
                kl_Z = self._draw(self.encoder(heldout.samples), rng)[1]
                found |= {"kl": float(kl_Z.sum()), "active": float((kl_Z > _ACTIVE_NATS).float().mean())}
        if self.coded:
            found |= self._code_use(heldout.samples)
        return found

    def _code_use(self, samples: Tensor) -> dict[str, float]:
        """How varied the codes of unseen samples are, as a share of what so many places could show."""
        codes, (quantiser, _) = self.codes(samples), self._codec()
        most = [min(size, codes[..., 0].numel()) for size in quantiser.sizes]
        found = {"perplexity": perplexity(codes[..., 0], quantiser.sizes[0])}
        distinct = [len(torch.unique(codes[..., number])) / most[number] for number in range(len(most))]
        found["codes_seen"] = sum(distinct) / len(distinct)
        if isinstance(quantiser, VectorQuantiser):
            found["codes_alive"] = quantiser.alive
        return found

    def warnings(self, history: Sequence[Mapping[str, float]]) -> list[str]:
        """What the diagnostics mean and what to do about it."""
        return warn(history, self.options)


_ACTIVE_NATS = 0.01
"""A latent number that says less about a sample than this is not in use."""


def _num_active(num: int, num_quantisers: int, share: float, rng: torch.Generator) -> Tensor:
    """How many quantisers count for each sample: all, or, for a share of samples, 1 to all alike (SoundStream)."""
    few = torch.randint(1, num_quantisers + 1, (num,), generator=rng, device=rng.device)
    dropped = torch.rand(num, generator=rng, device=rng.device) < share
    return torch.where(dropped, few, num_quantisers)


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


class _EncoderPart(nn.Module):
    """Samples to latents (B, *latent_shape), or to codes (B, *places, Q)."""

    def __init__(
        self, encoder: nn.Module, quantiser: VectorQuantiser | ScalarQuantiser | None, *, variational: bool
    ) -> None:
        super().__init__()
        self.encoder, self.quantiser, self.variational = encoder, quantiser, variational

    def forward(self, samples: Tensor) -> Tensor:
        """Encode."""
        features: Tensor = self.encoder(samples)
        if self.quantiser is not None:
            return self.quantiser.codes_of(features)
        return _posterior(features)[0] if self.variational else features


class _DecoderPart(nn.Module):
    """The inverse of `_EncoderPart`."""

    def __init__(
        self, decoder: nn.Module, quantiser: VectorQuantiser | ScalarQuantiser | None, likelihood: Likelihood
    ) -> None:
        super().__init__()
        self.decoder, self.quantiser, self.likelihood = decoder, quantiser, likelihood

    def forward(self, encoded: Tensor) -> Tensor:
        """Decode."""
        latents = encoded if self.quantiser is None else self.quantiser.vectors_of(encoded)
        return self.likelihood.mean(self.decoder(latents)).clamp(-1, 1)


def _posterior(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log variance, float32, of the encoder's two halves."""
    mean, log_variance = features.float().chunk(2, 1)
    return mean, log_variance.clamp(-20, 10)
