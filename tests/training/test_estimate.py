from __future__ import annotations

from pathlib import Path

import pytest
from doubles import tiny_recipe

from motherlode.recipe import PriceOptions
from motherlode.training import cost
from motherlode.training import estimate as module
from motherlode.training.estimate import Estimate, estimate
from motherlode.training.run import train

pytestmark = pytest.mark.usefixtures("tiny")


def test_estimate_leaves_no_trace_and_agrees_with_the_run(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, steps=100)
    recipe = recipe.model_copy(update={"price": PriceOptions(hour=36.0)})
    found = estimate(recipe)
    assert list(tmp_path.iterdir()) == []
    run = train(recipe)
    facts = run.facts
    assert (found.steps, found.samples) == (facts["step"], facts["samples"])
    assert found.flops == facts["flops"]
    assert found.parameters == facts["parameters"]
    assert found.learnable_parameters == facts["learnable_parameters"]
    saved = sum(path.stat().st_size for path in run.checkpoint("last").iterdir())
    assert found.checkpoint_bytes == pytest.approx(saved, rel=0.3)
    assert found.memory_bytes > 1e7
    assert found.money == pytest.approx(found.seconds / 100)
    assert found.seconds > 100 * found.seconds_per_step > 0


def test_minutes_are_kept_and_steps_follow(tmp_path: Path) -> None:
    found = estimate(tiny_recipe(tmp_path, budget={"minutes": 1.0}))
    assert found.seconds == 60
    assert 0 < found.steps * found.seconds_per_step < 60
    assert len(found.decision.seconds_per_step) == 4


def test_slow_looks_leave_training_half_of_the_minutes_as_in_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_overheads", lambda *_: (30.0, 5.0, 1000))
    recipe = tiny_recipe(tmp_path, budget={"minutes": 1.0})
    found = estimate(recipe)
    assert found.steps * found.seconds_per_step > 3.0
    assert found.seconds > 60 + 30
    left_sec = cost.steps_left(recipe.train, 40.0, step_sec=0.1, look_sec=30.0, save_sec=5.0) * 0.1
    assert left_sec == pytest.approx(20.0)
    assert cost.steps_left(recipe.train, -5.0, step_sec=0.1, look_sec=30.0, save_sec=5.0) == 0


def test_the_table_is_for_people(tmp_path: Path) -> None:
    found = estimate(tiny_recipe(tmp_path, steps=100))
    table = dict(found.rows())
    assert table["steps"] == "100"
    assert table["samples"] == "800"
    assert table["passes"] == "6.2 passes over the data"
    assert table["price"] == "set price.hour or price.kwh"
    assert table["runs in"] == str(found.decision.setting)
    assert any(key.strip().startswith("bf16") for key in table)
    assert isinstance(found, Estimate)
    assert found.as_dict()["decision"]["setting"]["device"] == "cpu"
