"""A codec without a network, and runs of it: what recipes over fields need of an autoencoder, and nothing more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from motherlode import registry, storage
from motherlode.families import Batch, CodeSpace, Family, Turn
from motherlode.modality import SampleSpec
from motherlode.recipe import Recipe, Strict, parse
from motherlode.training import checkpoint
from motherlode.training.run import RECIPE, Run

NAME = "means"


class Options(Strict):
    stride: int = 7
    levels: int = 8
    quantisers: int = 1


class Means(Family):
    """The mean of each patch, rounded to one of a few levels; what is left over, by the next quantiser."""

    Options: ClassVar[type[Strict]] = Options

    def __init__(self, options: Options, spec: SampleSpec) -> None:
        super().__init__()
        self.options, self.spec = options, spec
        self.top = nn.Parameter(torch.ones(()))

    @classmethod
    def build(cls, options: Any, spec: SampleSpec, seed: int) -> Means:  # noqa: ARG003
        return cls(options, spec)

    @property
    def code_space(self) -> CodeSpace:
        sizes, stride = (self.options.levels,) * self.options.quantisers, self.options.stride
        axes = self.spec.shape[1:]
        return CodeSpace(sizes, (stride,) * len(axes), tuple(size // stride for size in axes))

    @torch.no_grad()
    def codes(self, samples: Tensor) -> Tensor:
        stride, dims = self.options.stride, samples.dim() - 2
        pool = (nn.functional.avg_pool1d, nn.functional.avg_pool2d)[dims - 1]
        rest = pool(samples.mean(1, keepdim=True), stride)[:, 0] / self.top.detach()
        found, width = [], 2.0
        for _ in range(self.options.quantisers):
            width /= self.options.levels
            code = ((rest + width * self.options.levels / 2) / width).floor().clamp(0, self.options.levels - 1)
            rest = rest - (code + 0.5) * width + width * self.options.levels / 2
            found.append(code.long())
        return torch.stack(found, -1)

    @torch.no_grad()
    def from_codes(self, codes: Tensor) -> Tensor:
        total, width = torch.zeros(codes.shape[:-1]), 2.0
        for quantiser in range(self.options.quantisers):
            width /= self.options.levels
            total += (codes[..., quantiser] + 0.5) * width - width * self.options.levels / 2
        for axis in range(1, total.dim()):
            total = total.repeat_interleave(self.options.stride, axis)
        return total[:, None].expand(-1, self.spec.shape[0], *total.shape[1:]) * self.top.detach()

    def turns(self, step: int) -> Sequence[Turn]:
        return [Turn("model", self, self._loss)]

    def _loss(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor]]:
        return (self.top - 1).square(), {}

    def sample(self, num: int, *, condition: Tensor | None = None, rng: torch.Generator, variant: str = "") -> Tensor:
        return torch.zeros(num, *self.spec.shape)

    def sampler(self, variant: str = "") -> nn.Module:
        return self


def install(monkeypatch: Any = None) -> None:
    """Let the registry find `Means` by its name."""
    find, names = registry.find, registry.names

    def found(kind: Any, name: str) -> Any:
        return Means if (kind, name) == ("family", NAME) else find(kind, name)

    def named(kind: Any) -> Any:
        return [*names(kind), NAME] if kind == "family" else names(kind)

    if monkeypatch is None:
        registry.find, registry.names = found, named
    else:
        monkeypatch.setattr(registry, "find", found)
        monkeypatch.setattr(registry, "names", named)


def codec_run(folder: Path, spec: SampleSpec, *, top: float = 1.0, status: str = "finished", **options: Any) -> Run:
    """A run of `Means` with one checkpoint."""
    content = {"name": folder.name, "data": {"path": "/nowhere"}, "model": {"family": NAME, **options}}
    recipe = parse(Recipe, content)
    family = Means.build(recipe.family_options(), spec, 0)
    with torch.no_grad():
        family.top.fill_(top)
    checkpoint.save(folder / "checkpoints", 1, family.state_dict(), {}, {}, {})
    recipe.save(folder / RECIPE)
    facts = {"name": recipe.name, "status": status, "family": NAME, "spec": asdict(spec), "labels": [], "best": None}
    storage.write_json(folder / "run.json", facts)
    return Run.open(folder)
