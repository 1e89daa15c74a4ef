from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from motherlode import registry, schema
from motherlode.cli.init import file_name, starter, starter_study
from motherlode.recipe import Recipe, parse
from motherlode.studies.options import StudyOptions

from .conftest import FIXTURE, Lode, assert_one_clear_error


@pytest.mark.parametrize("family", registry.names("family"))
def test_a_starter_recipe_is_the_defaults_and_names_every_key(family: str) -> None:
    text = starter("first", "datasets/x", family)
    written = parse(Recipe, yaml.safe_load(text))
    plain = parse(Recipe, {"name": "first", "data": {"path": "datasets/x"}, "model": {"family": family}})
    assert written.family_options() == plain.family_options()
    assert written.model_copy(update={"model": plain.model}) == plain
    keys = [entry.place[-1] for entry in schema.entries(Recipe)]
    keys += [entry.place[-1] for entry in schema.entries(registry.find("family", family).Options)]
    for key in keys:
        assert f"{key}:" in text


def test_everything_commented_out_may_be_uncommented(tmp_path: Path) -> None:
    """A hidden key shows its place: taking its mark away must give YAML that nests as the schema does."""
    lines = starter("first", "datasets/x").splitlines()
    shown = [
        line.replace("# ", "", 1) if line.lstrip().startswith("# ") and ":" in line else line for line in lines[1:]
    ]
    tree = yaml.safe_load("\n".join(shown))
    assert set(tree["train"]["budget"]) == {"steps", "samples", "flops", "minutes"}
    assert set(tree["model"]["features"]) == {"extractor", "resolution", "width"}


@pytest.mark.parametrize(("num_bytes", "vocabulary"), [(0, 512), (10_000, 512), (200_000, 2048), (50_000_000, 8192)])
def test_a_starter_recipe_asks_for_no_larger_vocabulary_than_the_text_fills(num_bytes: int, vocabulary: int) -> None:
    facts = {"source_bytes": {"a": num_bytes - num_bytes // 3, "b": num_bytes // 3}}
    dataset: Any = SimpleNamespace(facts=facts, labels=(), path="d", split={"train": (), "heldout": ()}.get)
    assert yaml.safe_load(starter("x", "d", "gpt", dataset))["data"]["vocabulary"] == vocabulary


def test_init_writes_once_and_never_over_a_file(lode: Lode, here: Path) -> None:
    result = lode("init")
    assert result.exit_code == 0
    assert "lode train recipe.yaml" in result.stdout
    (here / "recipe.yaml").write_text("mine")
    assert_one_clear_error(lode("init"), "does not overwrite", "recipe.yaml", "--force")
    assert (here / "recipe.yaml").read_text() == "mine"
    assert lode("init", "--force").exit_code == 0
    assert Recipe.load("recipe.yaml").name == "first"


def test_init_of_what_is_no_dataset_says_so(lode: Lode, here: Path) -> None:
    assert_one_clear_error(lode("init", "nowhere"), "dataset.json", "nowhere")
    assert_one_clear_error(lode("init", "--family", "gam"), "did you mean 'gan'")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("photos", "photos"),
        ("my photos!", "my-photos"),
        ("...", "first"),
        ("été", "été"),
        ("e\u0301te\u0301", "été"),
        ("照 片", "照-片"),
        ("-x", "x"),
    ],
)
def test_any_folder_gives_a_name_a_run_may_have(text: str, name: str) -> None:
    assert file_name(text) == name
    parse(Recipe, {"name": name, "data": {"path": "d"}, "model": {"family": "gan"}})


def test_commands_to_come_may_be_pasted_whatever_a_path_holds(lode: Lode, here: Path) -> None:
    result = lode("init", "--out", "my first.yaml")
    assert "lode estimate 'my first.yaml'  and  lode train 'my first.yaml'" in result.stdout
    (here / "my photos").mkdir()
    assert_one_clear_error(lode("init", "my photos"), "lode prepare 'my photos'")
    made = lode("prepare", FIXTURE, "--out", "sets/it's [a]", "--workers", "1")
    assert "lode init 'sets/it'\"'\"'s [a]'" in made.stdout
    assert_one_clear_error(lode("init", "sets"), "one of the datasets in it: it's [a]")


@pytest.mark.parametrize("family", ["gan", "autoencoder"])
def test_a_starter_study_can_tell_data_from_compute(lode: Lode, here: Path, fashion: Path, family: str) -> None:
    """Of any dataset: three sizes, three amounts of data, repeats and a second seed; a recipe that is there is kept."""
    assert lode("init", fashion, "--out", "mine.yaml", "--family", family).exit_code == 0
    recipe = (here / "mine.yaml").read_text().replace("resolution: 32", "resolution: 8")
    (here / "mine.yaml").write_text(recipe)
    result = lode("init", fashion, "--out", "mine.yaml", "--study")
    assert result.exit_code == 0, result.output
    assert "lode study mine-study.yaml --look" in " ".join(result.stdout.split())
    assert (here / "mine.yaml").read_text() == recipe
    found = StudyOptions.load("mine-study.yaml")
    assert len(found.sizes) == len(found.unique) == 3
    assert found.base()["model"]["family"] == family
    assert_one_clear_error(lode("init", fashion, "--out", "mine.yaml", "--study"), "mine-study.yaml", "--force")
    assert_one_clear_error(lode("init", "--study"), "dataset")


def test_a_starter_study_of_a_transformer_keeps_heads_that_divide_its_width(here: Path) -> None:
    (here / "words.yaml").write_text(starter("words", "datasets/x", "gpt"))
    sizes = yaml.safe_load(starter_study(here / "words.yaml", 500))["sizes"]
    assert all(size["model.width"] % size["model.heads"] == 0 for size in sizes.values())
