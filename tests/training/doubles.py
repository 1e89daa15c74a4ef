"""Tiny stand-ins for a dataset, its loader and a family, so that the training floor is tested by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from motherlode import registry
from motherlode.families import Batch, Family, Turn
from motherlode.modality import SampleSpec
from motherlode.randomness import numpy_generator
from motherlode.recipe import Recipe, Strict
from motherlode.training import assembly as assembly_module
from motherlode.training.assembly import Assembly
from motherlode.training.distributed import ALONE, Ranks

SHAPE = (1, 8, 8)


class TinyLoader:
    """Random pictures; batch `index` is a function of (seed, index), sliced over ranks."""

    def __init__(self, num: int = 128, *, seed: int = 0, batch: int = 8, rank: int = 0, world: int = 1) -> None:
        self.samples = numpy_generator(7, "tiny").integers(0, 256, (num, *SHAPE), dtype=np.uint8)
        self.labels = np.arange(num, dtype=np.int64) % 3
        self.seed, self.batch, self.rank, self.world = seed, batch, rank, world

    def __len__(self) -> int:
        return len(self.samples)

    def take(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        return self.samples[rows], self.labels[rows]

    def draw(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
        rows = numpy_generator(self.seed, "order", index).integers(0, len(self), self.batch)
        share = self.batch // self.world
        rows = rows[self.rank * share : (self.rank + 1) * share]
        return (*self.take(rows), rows)


class TinyModality:
    """Enough of a modality: ranges, a preview and an augmentation."""

    name = "tiny"
    stored = "media"

    def normalise(self, samples: Tensor) -> Tensor:
        return samples.float() / 127.5 - 1.0

    def denormalise(self, samples: Tensor) -> Tensor:
        return ((samples + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)

    def augment(self, samples: Tensor, policy: Sequence[str], strength: float, rng: torch.Generator) -> Tensor:
        flip = torch.rand(len(samples), generator=rng) < 0.5 * strength
        return torch.where(flip.view(-1, 1, 1, 1), samples.flip(-1), samples)

    def preview(self, samples: Tensor, path: Path, *, columns: int = 0, spec: SampleSpec | None = None) -> Path:
        from PIL import Image

        pixels = self.denormalise(samples[:, 0]).reshape(-1, samples.shape[-1]).numpy()
        Image.fromarray(pixels).save(path)
        return path


class TinyDataset:
    """What the training floor asks of a dataset."""

    modality = "tiny"
    labels: ClassVar[list[str]] = ["a", "b", "c"]

    def __init__(self, identity: str = "tiny-0") -> None:
        self.id = identity


class PairOptions(Strict):
    """Options of the tiny family."""

    width: int = 8
    dropout: float = 0.0
    explode_at: int = -1
    explode: str = "loss"
    every: int = 1


class Pair(Family):
    """A linear generator and critic with two optimisers: a GAN without any frills, free of batch statistics."""

    Options = PairOptions

    def __init__(self, options: PairOptions, spec: SampleSpec) -> None:
        super().__init__()
        size = int(np.prod(spec.shape))
        self.options = options
        self.shape = spec.shape
        self.generator = nn.Sequential(
            nn.Linear(4, options.width), nn.Tanh(), nn.Linear(options.width, size), nn.Tanh()
        )
        self.critic = nn.Sequential(
            nn.Flatten(),
            nn.Linear(size, options.width),
            nn.Tanh(),
            nn.Dropout(options.dropout),
            nn.Linear(options.width, 1),
        )
        self.register_buffer("looks", torch.zeros((), dtype=torch.int64))

    @classmethod
    def build(cls, options: PairOptions, spec: SampleSpec, seed: int) -> Pair:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return cls(options, spec)

    def turns(self, step: int) -> Sequence[Turn]:
        critic = Turn("critic", self.critic, partial(self._critic_loss, step=step))
        generator = Turn("generator", self.generator, self._generator_loss)
        return [critic, generator] if step % self.options.every == 0 else [critic]

    def _noise(self, batch: Batch) -> Tensor:
        """A function of the row, so that it is the same however the batch is split."""
        return torch.sin(batch.rows[:, None].float() * torch.arange(1.0, 5.0))

    def _make(self, noise: Tensor) -> Tensor:
        made: Tensor = self.generator(noise).view(-1, *self.shape)
        return made

    def _critic_loss(self, batch: Batch, rng: torch.Generator, *, step: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        real, fake = self.critic(batch.samples), self.critic(self._make(self._noise(batch)).detach())
        loss = nn.functional.softplus(-real).mean() + nn.functional.softplus(fake).mean()
        if step == self.options.explode_at:
            bad = torch.tensor(float("nan"))
            loss = loss * bad if self.options.explode == "loss" else loss + _NanGradient.apply(real).mean()
        return loss, {"real": real.detach().mean()}

    def _generator_loss(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        return nn.functional.softplus(-self.critic(self._make(self._noise(batch)))).mean(), {}

    @torch.no_grad()
    def sample(self, num: int, *, condition: Tensor | None = None, rng: torch.Generator, variant: str = "") -> Tensor:
        return self._make(torch.randn(num, 4, generator=rng))

    def inspect(self, step: int, train: Batch, heldout: Batch) -> dict[str, float]:
        self.looks += 1
        gap = self.critic(train.samples).mean() - self.critic(heldout.samples).mean()
        return {"gap": float(gap.detach())}

    def warnings(self, history: Sequence[Mapping[str, float]]) -> list[str]:
        return [f"seen {len(history)} looks"] if len(history) >= 2 else []

    def sampler(self, variant: str = "") -> nn.Module:
        return self.generator


class _NanGradient(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(_ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * float("nan")


def tiny_recipe(out: Path, *, steps: int = 12, model: Mapping[str, Any] | None = None, **train: Any) -> Recipe:
    """A recipe of the tiny family (or of a real one) on the tiny dataset; call `install` first."""
    train = {"batch": 8, "budget": {"steps": steps}, "sample_every": 0.25, "checkpoint_every": 0.25, **train}
    return Recipe(
        name="tiny", out=str(out), data={"path": "tiny"}, model=dict(model or {"family": "pair"}), train=train
    )


def tiny_assembly(recipe: Recipe, ranks: Ranks = ALONE, identity: str = "tiny-0") -> Assembly:
    """An assembly on the tiny dataset."""
    assembly = Assembly(recipe, TinyDataset(identity), TinyModality(), SampleSpec("tiny", SHAPE, 3), ranks)  # type: ignore[arg-type]
    train, seed = recipe.train, recipe.seed
    # Cached properties live in the instance's dictionary, frozen or not.
    assembly.__dict__["loader"] = TinyLoader(seed=seed, batch=train.batch, rank=ranks.rank, world=ranks.world)
    assembly.__dict__["heldout"] = TinyLoader(64, seed=seed + 1, batch=train.batch)
    return assembly


_FIND = registry.find


def _find(kind: Any, name: str) -> Any:
    doubles: dict[tuple[str, str], Any] = {("family", "pair"): Pair, ("modality", "tiny"): TinyModality()}
    return doubles[kind, name] if (kind, name) in doubles else _FIND(kind, name)


def install(identity: str = "tiny-0") -> None:
    """Make `train` see the doubles, in this process. Processes of their own call it; tests use the fixture `tiny`."""
    registry.find = _find
    assembly_module.Assembly.of = staticmethod(  # type: ignore[method-assign,assignment]
        lambda recipe, ranks=ALONE: tiny_assembly(recipe, ranks, identity)
    )
