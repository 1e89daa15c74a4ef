"""From what a person gives to what a document begins with: labels by name, texts as they are, media by their files.

`--prompt "a red boot"` is for the task's only text, `--prompt image=photo.png` names its field, `--label Boot` is the
same as `--prompt label=Boot`. A field given several times takes its values in turn, sample after sample. A value for a
field that the task makes is a beginning to go on from: the share `generate.keep` of it stays.

Shape legend: T tokens.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from motherlode.errors import RecipeError
from motherlode.fields import Field, Layout, Task
from motherlode.generation.codecs import FieldCodec
from motherlode.generation.composing import Opening, Tokens
from motherlode.recipe import GenerateOptions
from motherlode.registry import did_you_mean
from motherlode.tokenizer import Tokenizer

Values = dict[str, list[Any]]
"""What each field is given, one value or several to be taken in turn."""
_NAMED = re.compile(r"([a-z][a-z0-9_]*)=(.*)", re.DOTALL)


@dataclass(frozen=True)
class Asked:
    """What one sample is asked for.

    Args:
        opening: what its document begins with.
        shown: the given values as a person reads them, by field.
    """

    opening: Opening
    shown: Mapping[str, str]


def values_of(
    prompt: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None,
    condition: int | str | Sequence[int | str] | None,
    layout: Layout,
    task: Task,
) -> Values:
    """What a person gives, sorted by field.

    Args:
        prompt: texts, each for the task's only text or `field=value`; or mappings of field to value or values.
        condition: a label or several, for the task's only label.
        layout: of the run.
        task: what is asked for.

    Raises:
        RecipeError: a field that the task does not have, or a value without a field to go to.
    """
    found: Values = {}

    def add(name: str, value: Any) -> None:
        if name not in task.order:
            raise RecipeError(
                f"the task {task.name} has no field of this name", name, did_you_mean(name, list(task.order))
            )
        several = value if isinstance(value, list | tuple) else [value]
        found.setdefault(name, []).extend(several)

    words = [prompt] if isinstance(prompt, str | Mapping) else list(prompt or [])
    for word in words:
        if isinstance(word, Mapping):
            for name, value in word.items():
                add(name, value)
            continue
        named = _NAMED.fullmatch(word)
        if named:
            add(named[1], named[2])
        else:
            add(_only(layout, task, "text", word), word)
    if condition is not None:
        labels = [condition] if isinstance(condition, int | str) else list(condition)
        add(_only(layout, task, "label", labels), labels)
    return found


def _only(layout: Layout, task: Task, kind: str, value: object) -> str:
    """The one field of a kind among a task's given ones, else among those it makes."""
    for names in (task.given, task.make):
        fitting = [name for name in names if layout.field(name).kind == kind]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise RecipeError("a prompt must name its field", value, f"write {fitting[0]}=… or {fitting[1]}=…")
    fields = ", ".join(f"{name}=…" for name in task.given) or "nothing"
    raise RecipeError(f"the task {task.name} takes no {kind}", value, f"it is given {fields}")


@dataclass(frozen=True)
class Reader:
    """Turns given values into tokens.

    Args:
        layout: of the run.
        task: what is asked for.
        tokenizer: of the run.
        codec: of a field by its name.
        options: whose `keep` counts.
    """

    layout: Layout
    task: Task
    tokenizer: Tokenizer
    codec: Callable[[str], FieldCodec]
    options: GenerateOptions

    def asked(self, values: Values) -> list[Asked]:
        """What samples are asked for, to be taken in turn: as many as the field with the most values has.

        Raises:
            RecipeError: a value that is none of its field's, or one for a made field of which nothing is to be kept.
        """
        num = max((len(several) for several in values.values()), default=1)
        pairs = {name: [self._read(name, value) for value in several] for name, several in values.items()}
        found = []
        for number in range(num):
            turn = {name: several[number % len(several)] for name, several in pairs.items()}
            given = {name: tokens_T for name, (tokens_T, _) in turn.items() if name in self.task.given}
            kept = {name: tokens_T for name, (tokens_T, _) in turn.items() if name in self.task.make}
            found.append(Asked(Opening(given, kept), {name: shown for name, (_, shown) in turn.items()}))
        return found

    def _read(self, name: str, value: Any) -> tuple[Tokens, str]:
        """A value's tokens, and how it is shown."""
        one = self.layout.field(name)
        if one.kind == "text":
            if not isinstance(value, str) or not value:
                raise RecipeError("a prompt must hold text", value, "leave it out to let the model begin by itself")
            tokens_T, shown = self.tokenizer.encode([value])[0].astype(np.int64), value
        elif one.kind == "label":
            number = label_number(value, one.labels)
            tokens_T, shown = np.array([one.first + number]), one.labels[number]
        elif isinstance(value, str | Path):
            tokens_T, shown = self.codec(name).read(value), str(value)
        elif isinstance(value, np.ndarray):
            tokens_T, shown = self.codec(name).tokens(value), f"array {value.shape}"
        else:
            raise RecipeError(f"{name} must be a file or an array", value, "give the path of a file")
        return (tokens_T if name in self.task.given else self._kept(one, tokens_T)), shown

    def _kept(self, one: Field, tokens_T: Tokens) -> Tokens:
        """The beginning of a made field that stays: whole rows of a picture, whole places of sound, words of a text."""
        if not self.options.keep:
            raise RecipeError(
                f"the task {self.task.name} makes {one.name}",
                f"a prompt for {one.name}",
                f"set generate.keep to the share to go on from, or give {', '.join(self.task.given) or 'nothing'}",
            )
        step = len(one.sizes) * int(np.prod(one.grid[1:])) if one.kind == "codes" else 1
        return tokens_T[: max(1, round(self.options.keep * len(tokens_T) / step)) * step]


def label_number(label: int | str, names: Sequence[str]) -> int:
    """The number of a label given by name or number.

    Raises:
        RecipeError: it is neither.
    """
    if label in names:
        return list(names).index(str(label))
    if isinstance(label, int) or label.isdecimal():
        if 0 <= int(label) < len(names):
            return int(label)
        raise RecipeError("a label's number must be known", label, f"0 to {len(names) - 1}")
    raise RecipeError("a label must be one the model was trained with", label, did_you_mean(label, list(names)))
