"""Runs that begin from another run's checkpoint: many lengths of training share one stretch at a constant rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from doubles import tiny_recipe

from motherlode.errors import TrainingError
from motherlode.recipe import Recipe
from motherlode.training.run import Run, train

WARMUP = 2


def recipe(out: Path, name: str, steps: int, schedule: str = "wsd", **train_options: Any) -> Recipe:
    """Warm up for two steps; a `wsd` run then holds the peak until its last fifth."""
    options = {"schedule": {"name": schedule, "warmup": WARMUP / steps, "decay": 0.2}, **train_options}
    return tiny_recipe(out, steps=steps, **options).model_copy(update={"name": name})


def weights(run: Run) -> dict[str, torch.Tensor]:
    return run.load("last").state_dict()


@pytest.mark.usefixtures("tiny")
def test_a_branch_is_the_whole_run_to_the_bit(tmp_path: Path) -> None:
    whole = train(recipe(tmp_path, "whole", 20))
    trunk = train(recipe(tmp_path, "trunk", 16, "constant"))
    branch = train(recipe(tmp_path, "branch", 20), start=trunk.checkpoint("last"))
    assert branch.steps()[0] > 16
    for name, tensor in weights(whole).items():
        if name != "looks":  # counts the looks of this folder alone
            assert torch.equal(tensor, weights(branch)[name]), name
    assert branch.facts["samples"] == whole.facts["samples"]
    assert branch.facts["flops"] == whole.facts["flops"]
    assert branch.facts["started_from"]["step"] == 16
    assert branch.facts["seconds"] > trunk.facts["seconds"]


@pytest.mark.usefixtures("tiny")
def test_a_trunk_grows_in_legs(tmp_path: Path) -> None:
    whole = train(recipe(tmp_path, "whole", 16, "constant"))
    first = train(recipe(tmp_path, "first", 6, "constant"))
    second = train(recipe(tmp_path, "second", 16, "constant"), start=first.checkpoint("last"))
    for name, tensor in weights(whole).items():
        if name != "looks":
            assert torch.equal(tensor, weights(second)[name]), name


@pytest.mark.usefixtures("tiny")
def test_a_killed_branch_begins_again_and_a_finished_one_stands(tmp_path: Path) -> None:
    trunk = train(recipe(tmp_path, "trunk", 16, "constant"))
    start = trunk.checkpoint("last")
    branch = train(recipe(tmp_path, "branch", 20), start=start)
    expected = weights(branch)
    for step in branch.steps():  # as if killed before its first checkpoint
        for file in branch.checkpoint(f"step-{step}").iterdir():
            file.unlink()
        branch.checkpoint(f"step-{step}").rmdir()
    again = train(recipe(tmp_path, "branch", 20), start=start)
    assert all(torch.equal(tensor, weights(again)[name]) for name, tensor in expected.items() if name != "looks")
    seconds = again.facts["seconds"]
    assert train(recipe(tmp_path, "branch", 20), start=start).facts["seconds"] == seconds


@pytest.mark.usefixtures("tiny")
def test_only_a_run_that_was_the_same_so_far_will_do(tmp_path: Path) -> None:
    trunk = train(recipe(tmp_path, "trunk", 16, "constant"))
    start = trunk.checkpoint("last")
    with pytest.raises(TrainingError, match=r"train\.batch"):
        train(recipe(tmp_path, "other", 20, batch=4), start=start)
    with pytest.raises(TrainingError, match="must end after"):
        train(recipe(tmp_path, "short", 16), start=start)


@pytest.mark.usefixtures("tiny")
def test_samples_are_shown_unless_told_not_to(tmp_path: Path) -> None:
    assert list((train(recipe(tmp_path, "shown", 4)).path / "samples").iterdir())
    quiet = train(recipe(tmp_path, "quiet", 4, show=False))
    assert not (quiet.path / "samples").exists()
    assert any(line["kind"] == "look" for line in quiet.metrics())
