"""Reads typed options as a person would: every key, its default, what it may be, and what it is for.

Starter recipes, the reference in `docs/recipes.md` and the remedies in error messages all come from here, so that none
of them can drift from the types that decide what is accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false"}
_SIGNS = ((Ge, "ge", "≥"), (Gt, "gt", ">"), (Le, "le", "≤"), (Lt, "lt", "<"))


@dataclass(frozen=True)
class Entry:
    """One key of a typed file.

    Args:
        place: path of keys from the root, e.g. ("train", "optimizer", "lr").
        default: its default; `...` where the key must be given.
        kind: what it may be, in words: "adam | adamw", "whole number ≥ 1".
        about: what it is for, one line.
        is_section: it holds further keys, whose entries follow.
    """

    place: tuple[str, ...]
    default: Any
    kind: str
    about: str
    is_section: bool = False


def entries(model: type[BaseModel], values: BaseModel | None = None, place: tuple[str, ...] = ()) -> Iterator[Entry]:
    """Every key of `model`, depth first in the order of the file.

    Args:
        values: an instance whose values stand for the defaults; a section's default may differ from its type's.
        place: where in the file the model stands.
    """
    for name, field in model.model_fields.items():
        default = _default(field) if values is None else getattr(values, name)
        section = section_of(field.annotation)
        if section is None:
            yield Entry((*place, name), default, kind(field), _about(field), False)
        else:
            yield Entry((*place, name), default, "section", _about(field) or _first_line(section), True)
            yield from entries(section, default if isinstance(default, section) else None, (*place, name))


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The model a field holds, where it holds one (or one or nothing)."""
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel) and get_origin(annotation) not in (dict, list, tuple):
            return part
    return None


def kind(field: FieldInfo) -> str:
    """What a field may be, in words."""
    return f"{_type_in_words(field.annotation)} {_bounds(field.metadata)}".strip()


def _bounds(limits: Iterable[Any]) -> str:
    return ", ".join(
        f"{sign} {getattr(limit, attribute):g}"
        for limit in limits
        for type_, attribute, sign in _SIGNS
        if isinstance(limit, type_)
    )


def as_yaml(value: Any) -> str:
    """A value as it would stand after `key: ` in a YAML file, on one line."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, dict):
        value = {
            key: inner.model_dump(mode="json", exclude_defaults=True) if isinstance(inner, BaseModel) else inner
            for key, inner in value.items()
        }
    if isinstance(value, tuple | set | frozenset):
        value = list(value)
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def model_at(model: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model that stands at `place` below `model`; None where the path leaves typed options."""
    if not place:
        return model
    field = model.model_fields.get(str(place[0]))
    if field is None:
        return None
    inner = section_of(field.annotation)
    if inner is not None:
        return model_at(inner, place[1:])
    held = [found for argument in get_args(field.annotation) if (found := section_of(argument)) is not None]
    return model_at(held[0], place[2:]) if held else None


def remedy(model: type[BaseModel], place: tuple[int | str, ...], within: tuple[str, ...] = ()) -> str:
    """What to write instead of the unknown key at `place`.

    The nearest key of the same section; else the same key in another section; else all keys of the section.

    Args:
        within: keys of the file that enclose `model`, for the names shown.
    """
    wrong = str(place[-1])
    section = model_at(model, place[:-1]) or model
    known = list(section.model_fields)
    near = get_close_matches(wrong, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    elsewhere = [".".join((*within, *entry.place)) for entry in entries(model) if entry.place[-1] == wrong]
    if elsewhere:
        return f"`{wrong}` belongs at `{'` or `'.join(elsewhere)}`"
    return f"known here: {', '.join(sorted(known))}" if known else "no key is known here"


def wanted(model: type[BaseModel], place: tuple[int | str, ...], value: Any) -> str:
    """What to write instead of a value that does not fit at `place`: the nearest word, or what the key may be."""
    names = [part for part in place if isinstance(part, str)]
    while names:
        section = model_at(model, tuple(names[:-1]))
        field = section.model_fields.get(names[-1]) if section is not None else None
        if field is not None:
            break
        names.pop()
    else:
        keys = ", ".join(model.model_fields)
        return f"its keys are {keys}"
    inner = section_of(field.annotation)
    if inner is not None:
        return f"the keys of `{names[-1]}` are {', '.join(inner.model_fields)}"
    words = [part for part in get_args(field.annotation) if isinstance(part, str)]
    near = get_close_matches(str(value), words, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{near[0]}`?"
    about = _about(field)
    return f"`{names[-1]}` is {_article(kind(field))}" + (f": {about}" if about else "")


def _article(words: str) -> str:
    return f"a {words}" if words.partition(" ")[0] in ("whole", "number", "list", "mapping") else words


def _default(field: FieldInfo) -> Any:
    default = field.get_default(call_default_factory=True, validated_data={})
    return ... if default is PydanticUndefined else default


def _about(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().split("\n")[0]


def _type_in_words(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(as_yaml(part) for part in parts)
    if origin in (tuple, list, set, frozenset):
        inner = [part for part in parts if part is not Ellipsis]
        return f"list of {_type_in_words(inner[0])}" if inner else "list"
    if origin is dict:
        return "mapping"
    if origin is Annotated:
        limits = [limit for part in parts[1:] for limit in getattr(part, "metadata", [part])]
        return f"{_type_in_words(parts[0])} {_bounds(limits)}".strip()
    if parts and annotation not in _WORDS:
        return " or ".join(dict.fromkeys(_type_in_words(part) for part in parts if part is not NoneType))
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))
