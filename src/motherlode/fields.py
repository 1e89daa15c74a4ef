"""One token space for text, labels, pictures, sound and moving pictures: which ids belong to which field.

A document of a GPT over several fields reads `bos <|caption|> … <|end|> <|image|> … <|end|>`: every field begins with a
token of its own and ends with the shared `<|end|>`. Text keeps the tokenizer's ids; labels and the codes of a codec
(an autoencoder with a codebook) get ranges behind them, one for each quantiser, so that a token alone tells field,
quantiser and code, and a model can be held to whole pictures. All of them are added tokens of `tokenizer.json`, so the
checkpoint's folder stays one that transformers reads; `fields.json` beside it holds what this module describes.

What is traded away is room in the vocabulary: codes of two fields are never shared, even under one codec.

Shape legend: T tokens, Q quantisers, K codes of a quantiser.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import CorruptError, RecipeError
from motherlode.registry import did_you_mean

FILE = "fields.json"
Kind = Literal["text", "label", "codes"]


@dataclass(frozen=True)
class Field:
    """One field of a document, and where its tokens lie.

    Args:
        name: as the recipe calls it.
        kind: text of the tokenizer, one label, or codes of a codec.
        begin: id of the token that begins it.
        first: first id of its range; 0 for text, whose range is the tokenizer's own.
        sizes: codes of each quantiser, in the order in which they follow each other at one place; of a label field the
            one number of labels; of text the one size of the tokenizer's vocabulary.
        grid: places of codes along each axis, slowest first: (7, 7) for a picture; (0,) where their number is free.
        modality: what codes decode to: "image", "audio", "video"; "" for text and labels.
        labels: names of the labels.
        max_tokens: most tokens of the field, `begin` and `<|end|>` not counted.
    """

    name: str
    kind: Kind
    begin: int
    first: int
    sizes: tuple[int, ...]
    grid: tuple[int, ...] = ()
    modality: str = ""
    labels: tuple[str, ...] = ()
    max_tokens: int = 1

    @property
    def num_tokens(self) -> int | None:
        """How many tokens every sample of the field has; None where their number is free."""
        if self.kind == "label":
            return 1
        if self.kind == "text" or 0 in self.grid:
            return None
        return int(np.prod(self.grid)) * len(self.sizes)

    @cached_property
    def starts_Q(self) -> NDArray[np.int64]:
        """First id of each quantiser's range, int64 (Q,)."""
        return self.first + np.cumsum([0, *self.sizes[:-1]], dtype=np.int64)

    def tokens_of(self, codes: NDArray[Any]) -> NDArray[np.int32]:
        """Token ids of codes (..., Q), place after place, all quantisers of a place in order; int32 (T,)."""
        flat = np.asarray(codes, np.int64).reshape(-1, len(self.sizes))
        return (flat + self.starts_Q).ravel().astype(np.int32)

    def codes_of(self, tokens_T: NDArray[Any]) -> NDArray[np.int64]:
        """The inverse of `tokens_of`: codes int64 (*grid, Q); the free axis as long as the tokens are.

        Raises:
            RecipeError: these are not whole samples of this field.
        """
        width = len(self.sizes)
        flat = np.asarray(tokens_T, np.int64)
        if len(flat) % width or not len(flat):
            raise RecipeError(f"{self.name} must be whole places of {width} codes", f"{len(flat)} tokens", "cut it")
        codes = flat.reshape(-1, width) - self.starts_Q
        if ((codes < 0) | (codes >= np.asarray(self.sizes))).any():
            raise RecipeError(f"tokens of {self.name} must lie in its range", self.first, "decode another field")
        grid = tuple(size or -1 for size in self.grid)
        return codes.reshape(*grid, width)


@dataclass(frozen=True)
class Task:
    """What is given and what a model makes of it, e.g. ("caption",) → ("image", "speech")."""

    name: str
    given: tuple[str, ...]
    make: tuple[str, ...]
    weight: float = 1.0

    @property
    def order(self) -> tuple[str, ...]:
        """The fields of its documents, in order."""
        return (*self.given, *self.make)


@dataclass(frozen=True)
class Layout:
    """All fields and tasks of a run, and its token space.

    Args:
        fields: in the order of their ranges.
        tasks: what documents are made for.
        end: id of `<|end|>`, which ends every field.
        num_text_tokens: size of the tokenizer's own vocabulary; ids from there on are this layout's.
    """

    fields: tuple[Field, ...]
    tasks: tuple[Task, ...]
    end: int
    num_text_tokens: int

    def field(self, name: str) -> Field:
        """The field of this name.

        Raises:
            RecipeError: there is none.
        """
        known = {field.name: field for field in self.fields}
        if name not in known:
            raise RecipeError("a field must be one the model was trained with", name, did_you_mean(name, list(known)))
        return known[name]

    def task(self, name: str = "") -> Task:
        """The task of this name; the first for "".

        Raises:
            RecipeError: there is none.
        """
        known = {task.name: task for task in self.tasks}
        if name and name not in known:
            raise RecipeError("a task must be one the model was trained for", name, did_you_mean(name, list(known)))
        return known[name] if name else self.tasks[0]

    @property
    def num_tokens(self) -> int:
        """Size of the vocabulary, text and all."""
        coded = [field for field in self.fields if field.kind != "text"]
        return self.num_text_tokens + len(self.fields) + sum(sum(field.sizes) for field in coded)

    @property
    def names(self) -> list[str]:
        """The added tokens in the order of their ids, from `num_text_tokens` on: `<|image|>`, …, `<|image:0:17|>`."""
        names = [f"<|{field.name}|>" for field in self.fields]
        for field in self.fields:
            if field.kind != "text":
                names += [f"<|{field.name}:{q}:{k}|>" for q, size in enumerate(field.sizes) for k in range(size)]
        return names

    def document(self, bos: int, parts: Mapping[str, NDArray[Any]], order: Sequence[str]) -> NDArray[np.int32]:
        """One document: `bos`, and each field of `order` between its own token and `<|end|>`; int32 (T,).

        Args:
            bos: begins it.
            parts: tokens of each field; a field that is left out of them is written as an empty one, which is how a
                model learns what it makes of nothing (classifier-free guidance, Ho and Salimans 2022, 2207.12598).
            order: names of fields.
        """
        pieces: list[Any] = [[bos]]
        for name in order:
            pieces += [[self.field(name).begin], parts.get(name, ()), [self.end]]
        return np.concatenate([np.asarray(piece, np.int32) for piece in pieces])

    def ranges(self, name: str, place: int) -> tuple[tuple[int, int], ...]:
        """What token number `place` of a field may be, as ranges of ids (first, behind the last), ascending.

        Codes come quantiser after quantiser; a field of fixed size ends after its last code and nowhere else, one of
        free length after any whole place but the first. Text may hold and end with anything of the tokenizer's.

        Args:
            name: of the field.
            place: from 0, the token behind `begin`.
        """
        field, end = self.field(name), (self.end, self.end + 1)
        if field.kind == "text":
            return ((0, self.num_text_tokens),)
        if field.num_tokens is not None and place >= field.num_tokens:
            return (end,)
        quantiser = place % len(field.sizes)
        first = int(field.starts_Q[quantiser])
        codes = (first, first + field.sizes[quantiser])
        return (end, codes) if field.num_tokens is None and place and not quantiser else (codes,)

    @classmethod
    def build(cls, fields: Sequence[Field], tasks: Sequence[Task], *, end: int, num_text_tokens: int) -> Layout:
        """Give every field its ids: first all tokens that begin fields, then one range after another.

        Args:
            fields: `begin` and `first` are set here, whatever they say.
            tasks: of names of these fields.
            end: id of `<|end|>`.
            num_text_tokens: size of the tokenizer's vocabulary.
        """
        placed, first = [], num_text_tokens + len(fields)
        for number, field in enumerate(fields):
            own = asdict(field) | {"begin": num_text_tokens + number, "first": 0 if field.kind == "text" else first}
            placed.append(Field(**own))
            first += 0 if field.kind == "text" else sum(field.sizes)
        layout = cls(tuple(placed), tuple(tasks), end, num_text_tokens)
        for task in tasks:
            for name in task.order:
                layout.field(name)
        return layout

    def to_json(self) -> str:
        """What `fields.json` holds."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def load(cls, folder: str | Path) -> Layout | None:
        """The layout in a tokenizer's folder; None where there is none.

        Raises:
            CorruptError: `fields.json` cannot be understood.
        """
        path = Path(folder) / FILE
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            fields = tuple(Field(**_tupled(field)) for field in content["fields"])
            tasks = tuple(Task(**_tupled(task)) for task in content["tasks"])
            return cls(fields, tasks, content["end"], content["num_text_tokens"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorruptError("fields.json must be as it was written", str(path), repr(error)) from error


def _tupled(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
