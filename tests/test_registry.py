from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from motherlode import registry
from motherlode.errors import RecipeError
from motherlode.families import Family


def test_built_in_names_are_the_names_of_the_files() -> None:
    assert "gan" in registry.names("family")
    assert "image" in registry.names("modality")
    assert issubclass(registry.find("family", "gan"), Family)
    assert registry.find("modality", "image").name == "image"


def test_listing_names_imports_none_of_them() -> None:
    code = (
        "import sys; from motherlode import registry; registry.names('modality')\n"
        "assert not [name for name in sys.modules if name.startswith('motherlode.modality.image')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'image'"):
        registry.find("modality", "imgae")
    with pytest.raises(RecipeError, match=r"choose one of: .*gan"):
        registry.find("family", "xyzzy")


def test_other_distributions_add_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("tabular", "collections:OrderedDict", "motherlode.modality")

    def entry_points(*, group: str, name: str | None = None) -> list[EntryPoint]:
        return [point] if group == point.group and name in (None, point.name) else []

    monkeypatch.setattr(registry, "entry_points", entry_points)
    assert "tabular" in registry.names("modality")
    assert registry.find("modality", "tabular").__name__ == "OrderedDict"
    assert "tabular" not in registry.names("family")


def test_a_choice_is_named_once() -> None:
    assert registry.did_you_mean("zzz", ["b", "a", "b"]) == "choose one of: a, b"


def test_did_you_mean_knows_when_it_does_not_know() -> None:
    assert registry.did_you_mean("x", []) == "none is known here"
