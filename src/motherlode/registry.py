"""Finds modalities and families by name, so that no module above them needs to know one.

The name of the file is the name of the thing: `motherlode/families/gan/` defines `FAMILY`, `motherlode/modality/image/`
defines `MODALITY`. Other distributions add their own through entry points in the groups `motherlode.family` and
`motherlode.modality`. Listing names imports nothing; finding one imports that one alone. What is installed is looked up
once a process: it takes 30 ms beside 160 distributions, and a recipe asks several times.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, Literal

from motherlode.errors import RecipeError

Kind = Literal["modality", "family"]

_HOMES = {"modality": ("motherlode.modality", "MODALITY"), "family": ("motherlode.families", "FAMILY")}


@lru_cache(maxsize=8)
def _points(look_up: Callable[..., Any], group: str) -> dict[str, Any]:
    """Entry points of a group by name."""
    return {point.name: point for point in look_up(group=group)}


def names(kind: Kind) -> list[str]:
    """Every registered name of a kind, sorted; built in and from entry points."""
    package = importlib.import_module(_HOMES[kind][0])
    built_in = [module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")]
    return sorted({*built_in, *_points(entry_points, f"motherlode.{kind}")})


def find(kind: Kind, name: str) -> Any:
    """The modality or family called `name`.

    Raises:
        RecipeError: nothing of that name; the message offers the nearest one.
    """
    home, attribute = _HOMES[kind]
    point = _points(entry_points, f"motherlode.{kind}").get(name)
    if point is not None:
        return point.load()
    known = names(kind)
    if name not in known:
        raise RecipeError(f"there is no {kind} of this name", name, did_you_mean(name, known))
    return getattr(importlib.import_module(f"{home}.{name}"), attribute)


def did_you_mean(name: str, known: list[str]) -> str:
    """A fix for a misspelt name: the nearest known one, or all of them."""
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"choose one of: {', '.join(sorted({*known}))}" if known else "none is known here"
