"""What `study.yaml` may hold, and the cells it becomes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from motherlode.errors import MeasureError, RecipeError
from motherlode.studies.grid import content_key, lay_out
from motherlode.studies.options import StudyError, StudyOptions, changed
from motherlode.studies.outlook import questions
from motherlode.studies.study import outlook

from .cells import tiny_study


def test_cells_cover_the_axes_and_share_trunks(fashion: Path, tmp_path: Path) -> None:
    grid = lay_out(tiny_study(fashion, tmp_path))
    assert len(grid.cells) == 12
    assert len(grid.strands) == 4
    assert [round(cell.passes) for cell in grid.strands[0].cells] == [1, 2, 4]
    for strand in grid.strands:
        assert [leg.steps for leg in strand.legs] == [cell.branch for cell in strand.cells]
        assert all(leg.steps == int(0.8 * cell.steps) for leg, cell in zip(strand.legs, strand.cells))
    costs = [sum(cell.flops for cell in strand.cells) * strand.share for strand in grid.strands]
    assert costs == sorted(costs)
    assert grid.flops < grid.naive_flops
    assert len({cell.recipe.folder for cell in grid.cells}) == 12


def test_more_points_on_a_trunk_cost_little(fashion: Path, tmp_path: Path) -> None:
    """Ten lengths between one and sixteen passes: less than half of training each from scratch."""
    passes = [round(1.36**power, 3) for power in range(10)]
    grid = lay_out(tiny_study(fashion, tmp_path, unique=[256], passes=passes, trunks={"decay": 0.15}))
    assert len(grid.cells) == 20
    assert grid.flops <= 0.5 * grid.naive_flops


def test_keys_know_content_and_nothing_else(fashion: Path, tmp_path: Path) -> None:
    grid = lay_out(tiny_study(fashion, tmp_path / "a"))
    again = lay_out(tiny_study(fashion, tmp_path / "b", name="other"))
    assert [cell.key for cell in grid.cells] == [cell.key for cell in again.cells]
    recipe = grid.cells[0].recipe
    keys = {content_key(recipe, "x", "loss", "y", 8), content_key(recipe, "x", "score", "y", 8)}
    keys |= {content_key(recipe, "z", "loss", "y", 8), content_key(recipe, "x", "loss", "z", 8)}
    keys |= {content_key(recipe.model_copy(update={"seed": 1}), "x", "loss", "y", 8)}
    assert len(keys) == 5
    renamed = recipe.model_copy(update={"name": "other", "out": "elsewhere"})
    assert content_key(renamed, "x", "loss", "y", 8) in keys


def test_growing_a_study_keeps_its_cells(fashion: Path, tmp_path: Path) -> None:
    grid = lay_out(tiny_study(fashion, tmp_path, trunks={"warmup_steps": 2}))
    grown = lay_out(tiny_study(fashion, tmp_path, trunks={"warmup_steps": 2}, passes=[1, 2, 4, 8], seeds=[0, 1]))
    assert {cell.key for cell in grid.cells} < {cell.key for cell in grown.cells}
    legs = {leg.key for strand in grid.strands for leg in strand.legs}
    assert legs < {leg.key for strand in grown.strands for leg in strand.legs}


def test_treatments_own_what_they_threw_away(fashion: Path, tmp_path: Path) -> None:
    treatments = {"raw": {}, "half": {"kept": 0.5, "price": 1}, "flipped": {"changes": {"data.augment": ["flip"]}}}
    grid = lay_out(tiny_study(fashion, tmp_path, treatments=treatments))
    owned = {(c.treatment, c.unique): (c.samples_owned, c.recipe.data.num_samples) for c in grid.cells}
    assert owned["raw", 64] == (64, 64)
    assert owned["half", 64] == (64, 32)
    assert {c.recipe.data.augment for c in grid.cells if c.treatment == "flipped"} == {("flip",)}


def test_a_treatment_may_stand_at_a_few_places_only(fashion: Path, tmp_path: Path) -> None:
    few = {"kept": 0.5, "sizes": ["small"], "unique": [64]}
    grid = lay_out(tiny_study(fashion, tmp_path, treatments={"raw": {}, "half": few}))
    half = [cell for cell in grid.cells if cell.treatment == "half"]
    assert len(grid.cells) == 12 + 3
    assert {(cell.size, cell.unique) for cell in half} == {("small", 64)}
    again = {"seeds": [1], "sizes": ["small"], "unique": [256]}
    grid = lay_out(tiny_study(fashion, tmp_path, treatments={"raw": {}, "half": few}, repeat=again))
    assert len(grid.cells) == 12 + 3 + 3
    assert {(c.treatment, c.size, c.unique) for c in grid.cells if c.seed == 1} == {("raw", "small", 256)}
    assert "one seed" not in " ".join(questions(grid)[1])


def test_limits_leave_cells_out_and_say_so(fashion: Path, tmp_path: Path) -> None:
    grid = lay_out(tiny_study(fashion, tmp_path, passes=None, samples=[64, 256, 1024], most_passes=8))
    assert len(grid.cells) == 10
    assert grid.left_out == {"more than 8 passes": 2}
    grid = lay_out(tiny_study(fashion, tmp_path, passes=None, samples=[32, 256]))
    assert sum(grid.left_out.values()) == 2
    assert all("one pass" in reason for reason in grid.left_out)
    flops = max(cell.flops for cell in grid.cells)
    cheap = lay_out(tiny_study(fashion, tmp_path, passes=None, compute=[flops / 4, flops], most_flops=flops / 2))
    assert all(cell.flops < flops / 2 for cell in cheap.cells)


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        ({"passes": None}, RecipeError, "exactly one of passes"),
        ({"samples": [3]}, RecipeError, "exactly one of passes"),
        ({"seeds": [0, 0]}, RecipeError, "no second seed"),
        ({"unique": []}, RecipeError, "unique"),
        ({"passes": [-1]}, RecipeError, "passes"),
        ({"colour": 1}, RecipeError, "no key `colour`"),
        ({"unique": [10**6]}, StudyError, "more rows than its dataset"),
        ({"sizes": {"a": {"model.widht": 4}}}, RecipeError, "model.widht"),
        ({"sizes": {"a": {"name.b": 4}}}, RecipeError, "must hold keys"),
        ({"treatments": {"a": {}, "b": {}}}, StudyError, "run of its own"),
        ({"treatments": {"a": {"changes": {"seed": 4}}}}, StudyError, "sets itself"),
        ({"treatments": {"a": {"sizes": ["huge"]}}}, RecipeError, "no size 'huge'"),
        ({"treatments": {"a": {"price": -1}}}, RecipeError, "price"),
        ({"most_passes": 0.1}, StudyError, "must have cells"),
        ({"measure": "loss"}, StudyError, "held-out loss"),
        ({"measure": "recall"}, StudyError, "less is better"),
        ({"measure": "beauty"}, MeasureError, "no measure"),
    ],
)
def test_a_wrong_study_is_one_clear_error(
    fashion: Path, tmp_path: Path, change: dict[str, Any], error: type[Exception], word: str
) -> None:
    with pytest.raises(error, match=word):
        lay_out(tiny_study(fashion, tmp_path, **change))


def test_a_file_names_its_recipe(fashion: Path, tmp_path: Path) -> None:
    options = tiny_study(fashion, tmp_path)
    content = options.model_dump(mode="json")
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(content["recipe"]))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**content, "recipe": "base.yaml"}))
    read = StudyOptions.load(tmp_path / "study.yaml", ("seeds=[3]",))
    assert read.seeds == (3,)
    assert [c.key for c in lay_out(read).cells] == [
        c.key for c in lay_out(tiny_study(fashion, tmp_path, seeds=[3])).cells
    ]
    with pytest.raises(RecipeError, match="must exist"):
        StudyOptions.load(tmp_path / "nothing.yaml")


def test_changes_reach_inside_and_leave_the_rest() -> None:
    content = {"a": {"b": 1, "c": 2}, "d": 3}
    assert changed(content, {"a.b": 5, "a.e.f": 6}, "") == {"a": {"b": 5, "c": 2, "e": {"f": 6}}, "d": 3}
    assert content == {"a": {"b": 1, "c": 2}, "d": 3}


def test_it_says_what_it_can_and_cannot_tell(fashion: Path, tmp_path: Path) -> None:
    found = outlook(tiny_study(fashion, tmp_path), workers=1)
    assert (found.cells, found.cached) == (12, 0)
    assert found.left_flops == pytest.approx(found.flops)
    assert found.left_seconds > 0
    said = " ".join(found.cannot)
    for word in ("one seed", "two sizes", "better data pay"):
        assert word in said
    assert "which side you stand" in " ".join(found.can)
    poor = lay_out(tiny_study(fashion, tmp_path, unique=[64], passes=[1], sizes={"only": {}}, seeds=[0, 1]))
    said = " ".join(questions(poor)[1])
    assert "one seed" not in said
    for word in ("any law", "when data run out", "there is one", "all cells own as much", "decades"):
        assert word in said
    worn = lay_out(tiny_study(fashion, tmp_path, passes=[4, 8]))
    assert "what fresh data bring" in " ".join(questions(worn)[1])
