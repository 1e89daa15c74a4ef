"""A model in shares learns what it learns whole, keeps a share of the memory, and leaves the same checkpoints."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml
from doubles import tiny_recipe
from test_distributed import start_ranks

from motherlode.errors import RecipeError
from motherlode.recipe import Recipe
from motherlode.training.distributed import Ranks
from motherlode.training.run import Run, train
from motherlode.training.sharding import Shares, row_range

STEPS = 12
MODELS: dict[str, dict[str, Any]] = {
    "gpt": {"family": "gpt"},
    "diffusion": {"family": "bert", "mask_rate": "uniform"},
}


def write_recipe(stories: Path, folder: Path, model: str, **train_options: Any) -> Path:
    """Two heads of 12 in a width of 24: over three ranks no head's rows lie on one of them."""
    content = {
        "name": "tiny",
        "out": str(folder),
        "data": {"path": str(stories), "length": 16, "vocabulary": 300},
        "model": {**MODELS[model], "width": 24, "depth": 2, "heads": 2},
        "train": {
            "batch": 6,
            "optimizer": {"name": "muon", "lr": 1e-2, "every": 2},
            "clip": 0.5,
            "device": "cpu",
            "precision": "fp32",
            "compile": "off",
            "sample_every": 0.25,
            "checkpoint_every": 0.25,
            "keep": 9,
            "budget": {"steps": STEPS},
            **train_options,
        },
    }
    folder.mkdir(exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def train_on(world: int, recipe: Path) -> Run:
    command = [sys.executable, "-m", "motherlode.cli", "train", str(recipe)]
    assert start_ranks(world, command) == [0] * world
    return Run.open(recipe.parent / "tiny")


def assert_close(run: Run, other: Run) -> None:
    expected = other.load("last").state_dict()
    for name, value in run.load("last").state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=2e-5)
    for mine, others in zip(run.metrics(), other.metrics(), strict=True):
        assert mine.keys() == others.keys()
        for key in mine.keys() - {"seconds", "kind"}:
            assert mine[key] == pytest.approx(others[key], rel=1e-3, abs=1e-5), key


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_three_ranks_learn_in_shares_what_they_learn_whole(model: str, stories: Path, tmp_path: Path) -> None:
    whole = train_on(3, write_recipe(stories, tmp_path / "whole", model))
    shares = train_on(3, write_recipe(stories, tmp_path / "shares", model, shard=True))
    assert_close(shares, whole)
    # One process goes on with what three left in shares, and the other way round.
    longer = train(Recipe.load(tmp_path / "shares" / "recipe.yaml", [f"train.budget.steps={STEPS + 2}"]))
    assert longer.facts["step"] == STEPS + 2
    back = train_on(3, write_recipe(stories, tmp_path / "shares", model, shard=True, budget={"steps": STEPS + 4}))
    assert back.facts["step"] == STEPS + 4


@pytest.mark.slow
def test_a_run_in_shares_goes_on_to_the_same_bits(stories: Path, tmp_path: Path) -> None:
    recipe = write_recipe(stories, tmp_path, "gpt", shard=True, accumulate=2)
    run = train_on(3, recipe)
    last = run.checkpoint("last")
    kept = tmp_path / "kept"
    shutil.move(last, kept)
    facts = run.path / "run.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "status": "running"}))
    train_on(3, recipe)
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (last / name).read_bytes() == (kept / name).read_bytes()


def test_each_rank_holds_its_share_and_all_hold_the_whole(stories: Path, tmp_path: Path) -> None:
    recipe = write_recipe(stories, tmp_path, "gpt", shard=True)
    script = Path(__file__).parent / "sharing.py"
    assert start_ranks(2, [sys.executable, str(script), str(recipe), str(tmp_path)]) == [0, 0]
    first, second = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in range(2))
    assert first["held"] + second["held"] == first["total"]
    assert first["held"] == pytest.approx(first["total"] / 2, rel=0.01)
    # A momentum each for Muon's matrices, two moments for the others.
    assert first["total"] < first["remembered"] + second["remembered"] < 2 * first["total"]
    assert first["remembered"] == pytest.approx(second["remembered"], rel=0.01)
    assert sorted(first["worked_on"] + second["worked_on"]) == sorted(first["names"])
    for found in (first, second):
        assert found["round_trip"]
        assert found["as_if_whole"]
        assert found["slowest"] == 1.0
    assert first["moved"] >= 3
    assert first["shapes"]
    assert first["state"]
    assert first["twin"]
    assert second["alone_is_none"]


@pytest.mark.usefixtures("tiny")
def test_a_family_of_several_turns_is_not_split(tmp_path: Path) -> None:
    from motherlode.training.assembly import Assembly
    from motherlode.training.loop import Setting

    family = Assembly.of(tiny_recipe(tmp_path)).build(Setting())
    with pytest.raises(RecipeError, match="leave it out: every rank then holds the whole model"):
        Shares(family, None, Ranks(0, 2), "cpu")


@pytest.mark.parametrize(("num_rows", "world"), [(1, 2), (5, 2), (7, 3), (4, 3), (64, 4), (3, 8)])
def test_rows_are_cut_as_torch_cuts_them(num_rows: int, world: int) -> None:
    rows = torch.arange(num_rows)
    cut = [rows[slice(*row_range(num_rows, rank, world))] for rank in range(world)]
    expected = [*rows.chunk(world), *[rows[:0]] * world][:world]
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(cut, expected, strict=True))


@pytest.mark.usefixtures("tiny")
def test_one_process_is_told_that_it_shares_nothing(tmp_path: Path) -> None:
    class Heard:
        said: ClassVar[list[str]] = []

        def update(self, progress: object) -> None:
            pass

        def event(self, kind: str, message: str, path: Path | None = None) -> None:
            self.said.append(message)

    train(tiny_recipe(tmp_path, steps=2, shard=True), progress=Heard())
    assert any("start several with torchrun" in message for message in Heard.said)
