"""`lode study` as a user meets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from motherlode.cli.cells import chart

from .conftest import Lode, assert_one_clear_error


@pytest.fixture
def file(here: Path, fashion: Path) -> Path:
    """A study of eight tiny cells."""
    content: dict[str, Any] = {
        "name": "tiny",
        "recipe": {
            "name": "base",
            "data": {"path": str(fashion), "resolution": 8, "channels": 1},
            "model": {"family": "gan", "network": "mlp", "width": 8, "noise": 4},
            "train": {"batch": 16, "precision": "fp32", "layout": "contiguous", "sample_every": 1.0},
        },
        "measure": "score",
        "unique": [64, 256],
        "sizes": {"small": {"model.width": 4}, "large": {"model.width": 16}},
        "passes": [1, 4],
        "bootstrap": 10,
        "prices": {"gpu_hour": 2.5, "data": "3/M"},
    }
    path = here / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_look_trains_nothing(lode: Lode, file: Path) -> None:
    result = lode("study", file, "--look")
    assert result.exit_code == 0, result.output
    assert "8 (0 already there, 8 to train)" in result.stdout
    assert "cannot tell" in result.stdout
    assert not Path("studies/tiny/runs").exists()


def test_what_the_study_says_of_prices_and_the_line_of_its_recipe_counts(lode: Lode, file: Path, here: Path) -> None:
    content = yaml.safe_load(file.read_text())
    (here / "base.yaml").write_text(yaml.safe_dump(content["recipe"]))
    file.write_text(yaml.safe_dump({**content, "recipe": "base.yaml"}))
    slow, quick = (lode("study", file, "--look", "--set", f"recipe.train.batch={size}").stdout for size in (4, 16))
    assert "$" in slow.partition("price")[2].splitlines()[0]
    steps = [text.partition("operations")[2].splitlines()[0] for text in (slow, quick)]
    assert steps[0] != steps[1]
    assert_one_clear_error(lode("study", file, "--set", "recipe.train.bach=4"), "bach", "batch")


def test_it_trains_tells_and_plans(lode: Lode, file: Path) -> None:
    result = lode("study", file, "--workers", 1)
    assert result.exit_code == 0, result.output
    assert "8 finished" in result.stdout
    assert "cell 8 of 8" in result.stderr
    assert Path("studies/tiny/report.html").is_file()
    again = lode("study", file, "--workers", 1)
    assert "8 (8 already there, 0 to train)" in again.stdout
    plan = lode("plan", "studies/tiny", "--budget", 5)
    assert plan.exit_code == 0, plan.output
    assert "The pilots cannot tell" in plan.stdout  # eight cells never carry a verdict


def test_mistakes_are_one_clear_error(lode: Lode, file: Path) -> None:
    assert_one_clear_error(lode("study", "nothing.yaml"), "nothing.yaml")
    assert_one_clear_error(lode("study", file, "--set", "pases=[1]"), "pases", "passes")
    assert_one_clear_error(lode("study", file, "--on", "moon"), "--on", "ray")
    assert_one_clear_error(lode("plan", "studies/tiny", "--budget", 5), "studies/tiny", "the table of runs must exist")


def test_a_recipe_is_no_study(lode: Lode, here: Path, fashion: Path) -> None:
    (here / "base.yaml").write_text(
        yaml.safe_dump({"name": "base", "data": {"path": str(fashion)}, "model": {"family": "gan"}})
    )
    assert_one_clear_error(lode("study", "base.yaml"), "this is a recipe", "recipe: base.yaml", "lode train base.yaml")
    assert [path.name for path in here.iterdir()] == ["base.yaml"]


def test_too_few_held_out_rows_are_refused_before_a_cell_is_trained(
    lode: Lode, file: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("motherlode.training.score.LEAST_SAMPLES", 10**6)
    assert_one_clear_error(lode("study", file), "held-out samples", "1,000,000 or more", "--heldout")
    assert not list(here.rglob("run.json"))


def test_the_chart_places_cells() -> None:
    cells = [
        {"D": 10.0 * 4**power, "loss": 4.0 / 2**power, "unique": unique} for power in range(3) for unique in (5, 50)
    ]
    drawn = chart(cells)
    assert drawn.splitlines()[0].lstrip().startswith("4 │")
    assert "a 5 unique" in drawn
    assert "b 50 unique" in drawn
    assert chart(cells[:1]) == ""
    assert chart([{"D": 1, "loss": None, "unique": 5}] * 3) == ""
