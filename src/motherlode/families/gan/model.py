"""The GAN family: two networks, two turns a step, one averaged generator.

A critic turn judges real and fake, a generator turn learns to be judged better. What costs time is shared where the
maths allows: the generator turn reuses the fakes (and their graph) of the critic turn before it, as the standard
algorithm does; a critic without batch norm sees real and fake in one pass; a penalty reuses the loss's own outputs.

Shape legend: B batch, Z noise.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from motherlode.errors import RecipeError
from motherlode.families import Batch, Family, Turn
from motherlode.families.gan.adapt import Augmenter
from motherlode.families.gan.average import Average
from motherlode.families.gan.diagnose import diagnose, warn
from motherlode.families.gan.losses import LOSSES
from motherlode.families.gan.networks import build_networks, resolve, resolve_penalty
from motherlode.families.gan.options import Options as GanOptions
from motherlode.families.gan.penalties import slope, squared_slope
from motherlode.modality import SampleSpec
from motherlode.networks.blocks import batch_statistics, evaluating, truncated_normal
from motherlode.randomness import torch_generator
from motherlode.recipe import Strict

_SAMPLE_BATCH = 256


class Gan(Family):
    """A generator and a critic.

    Args:
        options: resolved (see `networks.resolve`).
        spec: shape of the samples.
        seed: of the initial weights and of the fakes `inspect` looks at.
    """

    Options: ClassVar[type[Strict]] = GanOptions
    measures: ClassVar[tuple[str, ...]] = ()
    starter_for: ClassVar[tuple[str, ...]] = ("image",)
    seen: Tensor
    """Samples the generator has learnt from, over all ranks."""
    label_counts: Tensor
    """How often the critic has seen each label: labels nobody asks for are drawn in these proportions."""

    def __init__(self, options: GanOptions, spec: SampleSpec, seed: int) -> None:
        super().__init__()
        self.options = options
        self.spec = spec
        self.seed = seed
        self.loss = LOSSES[options.loss]
        self.penalty = resolve_penalty(options)
        self.generator, self.critic = build_networks(options, spec, seed)
        half_life = options.average_samples
        self.average = Average(self.generator, half_life) if half_life else None
        self.augmenter = Augmenter(options.augment, spec.modality)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("label_counts", torch.zeros(self.num_labels, dtype=torch.int64))
        self._fakes: deque[tuple[Tensor, Tensor | None]] = deque()
        self._num_learnt = 0

    @classmethod
    def build(cls, options: Any, spec: SampleSpec, seed: int) -> Gan:
        """Make the networks; see `Family.build`."""
        return cls(resolve(options, spec), spec, seed)

    @property
    def num_noise(self) -> int:
        """Size Z of the noise the sampler takes."""
        return self.options.noise

    @property
    def num_labels(self) -> int:
        """Size of the label set the sampler takes; 0 when it takes none."""
        return self.spec.num_labels if self.options.conditional else 0

    # ---------------------------------------------------------------------------------------------------- training

    def turns(self, step: int) -> Sequence[Turn]:
        """`critic_steps` turns "critic", then one turn "generator"."""
        self._fakes.clear()
        last = self.options.critic_steps - 1
        critic_turns = [
            Turn("critic", self.critic, partial(self._critic_loss, step=step, keep=index == last), self._clip)
            for index in range(self.options.critic_steps)
        ]
        return [*critic_turns, Turn("generator", self.generator, self._generator_loss, self._follow)]

    def _critic_loss(
        self, batch: Batch, rng: torch.Generator, *, step: int, keep: bool
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        labels = self._labels(batch)
        if labels is not None:
            self.label_counts += torch.bincount(labels, minlength=self.num_labels)
        keep = keep and self.options.share_fakes
        with torch.set_grad_enabled(keep):
            fake = self.generator(self._noise(len(batch.samples), rng), labels)
        if keep:
            self._fakes.append((fake, labels))
        real, fake = self.augmenter([batch.samples, fake.detach()], rng)
        penalty = self.penalty
        due = penalty.every if step % penalty.every == 0 else 0
        out_real, out_fake, extra = self._judge(real, fake, labels, (due * penalty.r1, due * penalty.r2), rng)
        if penalty.gradient:
            extra = extra + penalty.gradient * self._off_unit_slope(real, fake, labels, rng)
        logs = {"real": out_real.detach().mean(), "fake": out_fake.detach().mean()}
        loss = self.loss.critic(out_real, out_fake)
        if penalty.active:
            logs["penalty"] = extra.detach()
            loss = loss + extra
        return loss, logs

    def _judge(
        self, real: Tensor, fake: Tensor, labels: Tensor | None, weights: tuple[float, float], rng: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """D(x), D(G(z)) and γ₁/2 E‖∇D(x)‖² + γ₂/2 E‖∇D(G(z))‖² (Mescheder et al. 2018, R1 and R2).

        Real and fake pass through the critic together unless batch norm or unlike weights keep them apart.
        """
        if self.options.critic_norm == "batch" or weights[0] != weights[1]:
            groups = [(real, labels, weights[0]), (fake, labels, weights[1])]
        else:
            groups = [(torch.cat([real, fake]), None if labels is None else labels.repeat(2), weights[0])]
        outputs, extra = [], real.new_zeros((), dtype=torch.float32)
        for samples, labels, weight in groups:
            inputs = samples.detach().requires_grad_(weight > 0)
            outputs.append(self.critic(inputs, labels))
            if weight:
                critic = partial(self.critic, labels_B=labels)
                squared_B = squared_slope(critic, inputs, outputs[-1], self.penalty.form, rng)
                extra = extra + weight / 2 * squared_B.sum() / len(real)
        out_real, out_fake = torch.cat(outputs).chunk(2)
        return out_real, out_fake, extra

    def _off_unit_slope(self, real: Tensor, fake: Tensor, labels: Tensor | None, rng: torch.Generator) -> Tensor:
        """E (‖∇D(x̂)‖ − 1)², x̂ between real and fake (Gulrajani et al. 2017, WGAN-GP)."""
        share = torch.rand(len(real), generator=rng, device=rng.device).to(real).view(-1, *[1] * (real.ndim - 1))
        inputs = torch.lerp(real.detach(), fake.detach().to(real.dtype), share).requires_grad_()
        critic = partial(self.critic, labels_B=labels)
        return (slope(critic, inputs, critic(inputs), self.penalty.form) - 1).square().mean()

    def _generator_loss(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        if self._fakes:
            fake, labels = self._fakes.popleft()
        else:
            labels = self._labels(batch)
            fake = self.generator(self._noise(len(batch.samples), rng), labels)
        self._num_learnt += len(fake)
        if self.loss.relative:
            real, fake = self.augmenter([batch.samples, fake], rng)
            with torch.no_grad():
                out_real = self.critic(real, self._labels(batch))
        else:
            (fake,) = self.augmenter([fake], rng)
        out_fake = self.critic(fake, labels)
        return self.loss.generator(out_real if self.loss.relative else out_fake, out_fake), {}

    @torch.no_grad()
    def _clip(self) -> None:
        if self.options.clip is not None:
            for parameter in self.critic.parameters():
                parameter.clamp_(-self.options.clip, self.options.clip)

    def _follow(self) -> None:
        """The average takes a step after the generator has taken its own."""
        distributed = torch.distributed
        world = distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
        self.seen += self._num_learnt * world
        if self.average is not None:
            self.average.update(self.generator, self._num_learnt * world, int(self.seen))
        self._num_learnt = 0

    def _labels(self, batch: Batch) -> Tensor | None:
        if not self.options.conditional:
            return None
        if batch.labels is None:
            raise RecipeError("a conditional model needs labelled data", "a batch without labels", "label the data")
        return batch.labels

    def _noise(self, num: int, rng: torch.Generator) -> Tensor:
        return torch.randn(num, self.options.noise, generator=rng, device=rng.device).to(self._device)

    @property
    def _device(self) -> torch.device:
        return next(self.generator.parameters()).device

    # ---------------------------------------------------------------------------------------------------- sampling

    @property
    def variants(self) -> tuple[str, ...]:
        """The averaged generator first, the one that learns second."""
        return ("ema", "raw") if self.average is not None else ("raw",)

    @torch.no_grad()
    def sample(
        self,
        num: int,
        *,
        condition: Tensor | None = None,
        rng: torch.Generator,
        variant: str = "",
        truncation: float | None = None,
    ) -> Tensor:
        """Normalised samples (num, *shape); see `Family.sample`.

        Args:
            truncation: draw the noise from a normal cut off at ± this (Brock et al. 2019): fewer failures, less
                variety. None: not cut.
        """
        noise_BZ = truncated_normal((num, self.options.noise), truncation, rng).to(self._device)
        labels_B = self._conditions(num, condition, rng)
        pieces = []
        with evaluating(self._network(variant)) as network:
            for start in range(0, num, _SAMPLE_BATCH):
                piece = slice(start, start + _SAMPLE_BATCH)
                pieces.append(network(noise_BZ[piece], None if labels_B is None else labels_B[piece]).float())
        return torch.cat(pieces) if pieces else noise_BZ.new_empty(0, *self.spec.shape)

    def sampler(self, variant: str = "") -> nn.Module:
        """A frozen copy of the generator: (noise (B, Z), labels (B,) or None) → samples (B, *shape)."""
        return copy.deepcopy(self._network(variant)).eval().requires_grad_(False)

    def _network(self, variant: str) -> nn.Module:
        variant = variant or self.variants[0]
        if variant not in self.variants:
            raise RecipeError("this model has no such weights", variant, f"choose one of: {', '.join(self.variants)}")
        return self.average.network if variant == "ema" and self.average is not None else self.generator

    def _conditions(self, num: int, condition: Tensor | None, rng: torch.Generator) -> Tensor | None:
        if not self.options.conditional:
            if condition is not None:
                raise RecipeError("this model takes no condition", "labels", "train it with `conditional: true`")
            return None
        if condition is None:
            shares = self.label_counts.to(rng.device, torch.float32)
            shares = shares if bool(shares.any()) else torch.ones_like(shares)
            condition = torch.multinomial(shares, max(num, 1), replacement=True, generator=rng)[:num]
        if condition.shape != (num,) or (
            num and not 0 <= int(condition.min()) <= int(condition.max()) < self.num_labels
        ):
            raise RecipeError(
                f"a condition is one label in 0..{self.num_labels - 1} for each sample",
                f"shape {tuple(condition.shape)}",
                "pass as many labels as samples",
            )
        return condition.to(self._device)

    # -------------------------------------------------------------------------------------------------- diagnostics

    def inspect(self, step: int, train: Batch, heldout: Batch) -> dict[str, float]:
        """Diagnostics (see `diagnose`); moves the strength of adaptive augmentation."""
        rng = torch_generator(self.seed, "inspect", step, device=self._device)
        with torch.no_grad(), batch_statistics(self.generator):
            fake = self.generator(self._noise(len(heldout.samples), rng), self._labels(heldout)).float()
        labels = (self._labels(train), self._labels(heldout))
        found = diagnose(self.critic, train.samples, heldout.samples, fake, labels)
        found["augment"] = self.augmenter.adapt(found["gap"], int(self.seen))
        return found

    def warnings(self, history: Sequence[Mapping[str, float]]) -> list[str]:
        """What the diagnostics mean and what to do about it."""
        return warn(history, self.options)
