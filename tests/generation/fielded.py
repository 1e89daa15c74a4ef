"""A run over fields, written as training writes it but without training, with codecs that are their own oracle."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from motherlode import storage
from motherlode import tokenizer as tokenizers
from motherlode.families import CodeSpace, Family, Turn
from motherlode.fields import FILE, Field, Layout, Task
from motherlode.modality import SampleSpec
from motherlode.recipe import Strict
from motherlode.training.run import Run

from .runs import text_run

LABELS = ("Bag", "Boot", "Coat")
FIELDS = (
    Field("label", "label", 0, 0, (3,), labels=LABELS),
    Field("caption", "text", 0, 0, (400,), max_tokens=12),
    Field("image", "codes", 0, 0, (5, 4), grid=(3, 2), modality="image", max_tokens=12),
    Field("speech", "codes", 0, 0, (6, 3), grid=(0,), modality="audio", max_tokens=16),
)
TASKS = (
    Task("draw", ("label",), ("image",)),
    Task("name", ("image",), ("label",)),
    Task("tell", ("image",), ("caption",)),
    Task("both", ("caption",), ("image", "speech")),
    Task("free", (), ("caption", "speech")),
    Task("say", ("label", "caption"), ("speech",)),
)


def layout_of(tokenizer: tokenizers.Tokenizer, folder: Path) -> Layout:
    """A tokenizer's folder with the tokens of all fields."""
    from tokenizers import AddedToken
    from tokenizers import Tokenizer as Backend

    backend = Backend.from_file(str(tokenizer.folder / tokenizers.FILE))
    layout = Layout.build(FIELDS, TASKS, end=backend.token_to_id("<|end|>"), num_text_tokens=len(tokenizer))
    backend.add_special_tokens([AddedToken(name, special=True) for name in layout.names])
    folder.mkdir(parents=True)
    backend.save(str(folder / tokenizers.FILE))
    (folder / FILE).write_text(layout.to_json())
    return layout


class Blocks(Family):
    """A codec whose codes can be told from its samples: every place is a block of one value.

    An image's value is its code of the first quantiser times 40 plus that of the second; sound likewise, mixed with
    half of its neighbours' values, so that a place reaches into the places beside it.
    """

    class Options(Strict):
        """None."""

    def __init__(self, spec: SampleSpec) -> None:
        super().__init__()
        self.spec = spec
        self.scale = nn.Parameter(torch.tensor(40.0))
        self.is_sound = spec.modality == "audio"

    @classmethod
    def build(cls, options: Any, spec: SampleSpec, seed: int) -> Family:  # noqa: ARG003
        return cls(spec)

    def turns(self, step: int) -> Sequence[Turn]:
        raise NotImplementedError

    def sample(self, num: int, *, condition: Tensor | None = None, rng: torch.Generator, variant: str = "") -> Tensor:
        raise NotImplementedError

    def sampler(self, variant: str = "") -> nn.Module:
        raise NotImplementedError

    @property
    def code_space(self) -> CodeSpace:
        return CodeSpace((6, 3), (20,), (4,)) if self.is_sound else CodeSpace((5, 4), (2, 2), (3, 2))

    def from_codes(self, codes: Tensor) -> Tensor:
        value = (codes[..., 0] * self.scale + codes[..., 1]) / 256
        if not self.is_sound:
            return (value.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None] * 256 / 127.5 - 1).clamp(-1, 1)
        kernel = torch.tensor([[[0.25, 0.5, 0.25]]])
        mixed = nn.functional.conv1d(value[:, None], kernel, padding=1)
        return mixed.repeat_interleave(20, 2) * 0.9

    def codes(self, samples: Tensor) -> Tensor:
        assert not self.is_sound
        value = ((samples[:, 0, ::2, ::2] + 1) * 127.5).round().long()
        return torch.stack([value // 40, value % 40], -1)


def codec_run(folder: Path, spec: SampleSpec) -> None:
    """A finished run of `Blocks`."""
    from motherlode.recipe import Recipe, parse
    from motherlode.training import checkpoint
    from motherlode.training.run import RECIPE

    family = Blocks(spec)
    checkpoint.save(folder / "checkpoints", 1, family.state_dict(), {}, {}, {})
    content = {"name": folder.name, "data": {"path": "/nowhere"}, "model": {"family": "blocks"}}
    parse(Recipe, content).save(folder / RECIPE)
    facts = {"status": "finished", "family": "blocks", "spec": asdict(spec), "labels": [], "best": None}
    storage.write_json(folder / "run.json", facts)


def fields_run(
    folder: Path, tokenizer: tokenizers.Tokenizer, generate: dict[str, Any] | None = None, **model: Any
) -> Run:
    """A run over `FIELDS` with one checkpoint of random weights."""
    source = folder.parent / f"{folder.name}-tokenizer"
    layout_of(tokenizer, source)
    space = tokenizers.load(source).space()
    run = text_run(folder, space, generate, **model)
    shutil.copy(source / FILE, folder / "tokenizer" / FILE)
    codec_run(folder / "codecs" / "image", SampleSpec("image", (1, 6, 4)))
    codec_run(folder / "codecs" / "speech", SampleSpec("audio", (1, 80), rate=1000.0))
    return run
