"""Samples of several fields from a run over fields: labels, texts, pictures, sound, moving pictures, for one task.

A sample is a document written under its fields' rules (`composing`) and decoded by the run's codecs. `parts` gives what
is written as it comes, `compositions` whole samples in order; `save` writes each made field as a file, with an index, a
page to look at and listen to, and a record of where they came from. A family that fills masks takes a document whose
made fields are masks, under the same rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motherlode import storage
from motherlode.errors import RecipeError
from motherlode.fields import Layout, Task
from motherlode.generation import showing
from motherlode.generation.asking import Asked, Reader, values_of
from motherlode.generation.codecs import FieldCodec
from motherlode.generation.composing import FieldRules, Opening, Part, Tokens
from motherlode.generation.sampling import INDEX, check_num, check_out
from motherlode.generation.tokens import Author, num_slots_of
from motherlode.generation.writing import Writer
from motherlode.recipe import GenerateOptions
from motherlode.safety import provenance

if TYPE_CHECKING:
    from motherlode.training.run import Run

NUM = 16
"""Samples made where nobody says how many, and nothing is given."""
_SHOWN = 64


@dataclass(frozen=True)
class Composition:
    """A finished sample.

    Args:
        number: counted from 0 over the whole request.
        task: what it was made for.
        given: what it was asked for, by field, as a person reads it.
        made: texts and labels as str; media as arrays (C, *size) of their modality's dtype.
        num_tokens: drawn for it.
        facts: further facts of its making, e.g. how fast it was.
    """

    number: int
    task: str
    given: Mapping[str, str]
    made: Mapping[str, str | NDArray[Any]]
    num_tokens: int
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Composer:
    """A run over fields that makes samples for one task.

    Args:
        author: of the run.
        layout: of its tokens.
        task: of the layout.
    """

    author: Author
    layout: Layout
    task: Task

    def codec(self, name: str) -> FieldCodec:
        """The codec of a field, opened once.

        Raises:
            RecipeError: the run's folder does not hold it.
        """
        if name not in self._codecs:
            self._codecs[name] = FieldCodec.open(self.author.run, self.layout.field(name))
        return self._codecs[name]

    @cached_property
    def _codecs(self) -> dict[str, FieldCodec]:
        return {}

    def num(self, asked: Sequence[Asked], num: int | None) -> int:
        """How many samples to make: as many as a person says, else one for each thing asked for."""
        return num if num is not None else len(asked) if asked[0].shown else NUM

    @cached_property
    def rules(self) -> FieldRules:
        """What may be written."""
        vocabulary, options = self.author.vocabulary, self.author.options
        return FieldRules(
            self.layout, self.task, vocabulary.space, vocabulary.tokenizer.token_bytes,
            window=self.author.window, max_tokens=options.max_tokens,
        )  # fmt: skip

    def asked(self, prompt: Any, condition: Any = None) -> list[Asked]:
        """What a person gives as what samples are asked for, to be taken in turn; see `asking`.

        Raises:
            RecipeError: a value that cannot be used, or no room for what is to be made.
        """
        values = values_of(prompt, condition, self.layout, self.task)
        reader = Reader(self.layout, self.task, self.author.vocabulary.tokenizer, self.codec, self.author.options)
        found = reader.asked(values)
        for one in found:
            self.rules.check(one.opening)
        for name in self.task.make:
            if self.layout.field(name).kind == "codes":
                self.codec(name)  # one that lacks is found before anything is written
        return found

    def parts(self, asked: Sequence[Asked], numbers: range, seed: int) -> Iterator[Part]:
        """Parts of numbered documents as they come; document n is asked for what n modulo their number says.

        Raises:
            RecipeError: options that the run cannot honour.
        """
        check_num(len(numbers))
        options, author = self.author.options, self.author
        requests = ((number, asked[number % len(asked)].opening) for number in numbers)
        if options.guidance != 1.0 and not self.task.given:
            raise RecipeError("guidance needs something given", f"the task {self.task.name}", "set generate.guidance=1")
        if author.network is None:
            return self._filled(requests, seed)
        rows = 1 if options.guidance == 1.0 else 2
        num_slots = num_slots_of(author.network, len(numbers) * rows, author.window) // rows or 1
        return Writer(author.decoders(num_slots * rows), num_slots, self.rules, options, seed).write(requests)

    def _filled(self, requests: Iterable[tuple[int, Opening]], seed: int) -> Iterator[Part]:
        from motherlode.generation import masks

        author = self.author
        return masks.fill(
            author.family, requests, self.rules, author.options,
            mask=author.vocabulary.space.mask, seed=seed, variant=author.variant, device=author.device,
        )  # fmt: skip

    def compositions(self, asked: Sequence[Asked], parts: Iterable[Part], first: int = 0) -> Iterator[Composition]:
        """Finished samples, in the order of their numbers, of which the first is `first`."""
        open_: dict[int, dict[str, list[Tokens]]] = {}
        done: dict[int, Composition] = {}
        turn = first
        for part in parts:
            fields = open_.setdefault(part.number, {})
            fields.setdefault(part.name, []).append(part.tokens_T)
            if part.is_last:
                tokens = {name: np.concatenate(found) for name, found in open_.pop(part.number).items()}
                shown = asked[part.number % len(asked)].shown
                made = {name: self.value(name, tokens_T) for name, tokens_T in tokens.items()}
                done[part.number] = Composition(part.number, self.task.name, shown, made, part.num_tokens)
            while turn in done:
                yield done.pop(turn)
                turn += 1

    def value(self, name: str, tokens_T: Tokens) -> str | NDArray[Any]:
        """What a field's tokens mean."""
        one = self.layout.field(name)
        if one.kind == "label":
            return one.labels[int(tokens_T[0]) - one.first]
        if one.kind == "text":
            content = self.author.vocabulary.tokenizer.decode_bytes(tokens_T.tolist())
            return content.decode("utf-8", errors="ignore")
        return self.codec(name).media(tokens_T)

    def facts(self, seed: int) -> dict[str, Any]:
        """What every sample says about where it came from."""
        return self.author.facts(seed) | {"task": self.task.name}

    def save(self, made: Iterable[Composition], num: int, out: str | Path, seed: int) -> Iterator[Composition]:
        """Write samples as they pass: a stamped file a made field, an index, pages to look at, and a record.

        The folder appears under its name when the last sample has passed, complete or not at all.

        Raises:
            StorageError: `out` holds something that `generate` did not write, or the disk is full.
        """
        out = check_out(out)
        facts, first = self.facts(seed), list[showing.Card]()
        shown: dict[str, list[NDArray[Any]]] = {}
        with storage.atomic_folder(out, durable=False) as folder:
            for one in made:
                card = self._write(one, folder, facts, digits=len(str(num - 1)))
                if len(first) < _SHOWN:
                    first.append(card)
                    for name, value in one.made.items():
                        if not isinstance(value, str):
                            shown.setdefault(name, []).append(value)
                yield one
            for name, samples in shown.items():
                self.codec(name).preview(samples, folder / f"{name}.png")
            storage.write_text(folder / showing.PAGE, showing.page(first, facts))
            storage.write_json(folder / provenance.RECORD, provenance.record(facts, num))

    def _write(self, one: Composition, folder: Path, facts: dict[str, Any], digits: int) -> showing.Card:
        own = {"index": one.number, "given": dict(one.given)}
        files: dict[str, tuple[str, bytes]] = {}
        told: dict[str, dict[str, str]] = {}
        for name, value in one.made.items():
            if isinstance(value, str):
                media, shown = value.encode(), {"text": value}
            else:
                media, shown = provenance.stamp(self.codec(name).encode(value), {**facts, **own}), {}
            file = f"{one.number:0{digits}d}.{name}{provenance.suffix(media)}"
            (folder / file).write_bytes(media)
            files[name] = file, media
            told[name] = {"file": file, **shown, "hash": storage.hash_bytes(media)}
        line = {**own, "made": told, "tokens": one.num_tokens, **one.facts, **facts}
        storage.append_line(folder / INDEX, line)
        return showing.Card(one.number, one.given, files)


def composer(
    run: Run,
    options: GenerateOptions | None = None,
    *,
    variant: str = "",
    which: str = "best",
    device: str = "auto",
) -> Composer:
    """Open a run over fields to make samples with.

    Args:
        run: over fields.
        options: how to draw, and for which task; default: those of its recipe.
        variant: which weights; "" for the ones that scored best.
        which: which checkpoint: "best", "last" or "step-N".
        device: where to compute.

    Raises:
        RecipeError: the run is over no fields, or has no such task.
    """
    from motherlode.generation.tokens import author

    layout = layout_of(run)
    if layout is None:
        raise RecipeError(
            "only runs over fields make samples of fields", str(run.path), "name data.fields and data.tasks"
        )
    opened = author(run, options, variant=variant, which=which, device=device)
    return Composer(opened, layout, layout.task(opened.options.task))


def layout_of(run: Run) -> Layout | None:
    """The fields of a run; None where it is over none."""
    space = run.spec.tokens
    return Layout.load(space.folder) if space is not None else None
