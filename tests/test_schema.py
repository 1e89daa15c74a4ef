from __future__ import annotations

from typing import Literal

import pytest
import yaml
from pydantic import Field

from motherlode import schema
from motherlode.recipe import Strict


class Inner(Strict):
    """How deep. And more."""

    depth: int = Field(3, ge=1, lt=9, description="how   deep\n to go")
    mode: Literal["slow", "fast", 3] = "slow"


class Outer(Strict):
    name: str = Field(description="what it is called")
    inner: Inner = Inner(depth=5)
    extra: Inner | None = None
    each: dict[str, Inner] = Field(default_factory=dict)
    sizes: tuple[float, ...] = (1.5,)
    strength: float | Literal["auto"] = Field("auto", gt=0)
    flag: bool = False


def found(model: type[Strict] = Outer) -> dict[str, schema.Entry]:
    return {".".join(entry.place): entry for entry in schema.entries(model)}


def test_entries_come_in_the_order_of_the_file_with_their_sections_values() -> None:
    entries = found()
    assert list(entries) == [
        "name", "inner", "inner.depth", "inner.mode", "extra", "extra.depth", "extra.mode", "each", "sizes", "strength",
        "flag",
    ]  # fmt: skip
    assert entries["name"].default is ...
    assert entries["inner.depth"].default == 5
    assert entries["extra.depth"].default == 3
    assert entries["extra"].default is None
    assert [place for place, entry in entries.items() if entry.is_section] == ["inner", "extra"]


def test_entries_say_what_a_key_may_be_and_what_it_is_for() -> None:
    entries = found()
    assert entries["inner"].about == "How deep. And more."
    assert entries["inner.depth"].about == "how deep to go"
    kinds = {place: entries[place].kind for place in ("inner.depth", "inner.mode", "sizes", "strength", "flag", "each")}
    assert kinds == {
        "inner.depth": "whole number ≥ 1, < 9",
        "inner.mode": "slow | fast | 3",
        "sizes": "list of number",
        "strength": "number or auto > 0",
        "flag": "true or false",
        "each": "mapping",
    }


@pytest.mark.parametrize(
    "value", [None, True, 3, 1e-8, 0.5, "text", "on", "1e3", "", ["a", 1], {"a": [1]}, "a: b", "#x"]
)
def test_a_value_written_as_yaml_reads_back(value: object) -> None:
    text = schema.as_yaml(value)
    assert "\n" not in text
    assert yaml.safe_load(f"key: {text}")["key"] == value


def test_models_and_tuples_are_written_as_yaml_has_them() -> None:
    assert yaml.safe_load(schema.as_yaml(Inner())) == {"depth": 3, "mode": "slow"}
    assert schema.as_yaml((1, 2)) == "[1, 2]"


@pytest.mark.parametrize(
    ("place", "model"),
    [
        ((), Outer),
        (("inner",), Inner),
        (("extra",), Inner),
        (("each", "any"), Inner),
        (("name",), None),
        (("no",), None),
    ],
)
def test_the_model_at_a_place(place: tuple[str, ...], model: type[Strict] | None) -> None:
    assert schema.model_at(Outer, place) is model


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (("nmae",), "did you mean `name`?"),
        (("inner", "dept"), "did you mean `depth`?"),
        (("each", "one", "dept"), "did you mean `depth`?"),
        (("depth",), "`depth` belongs at `top.inner.depth` or `top.extra.depth`"),
        (("inner", "flag"), "`flag` belongs at `top.flag`"),
        (("zzz",), "known here: each, extra, flag, inner, name, sizes, strength"),
    ],
)
def test_an_unknown_key_gets_the_best_remedy_there_is(place: tuple[str, ...], words: str) -> None:
    assert schema.remedy(Outer, place, within=("top",)) == words
