"""Kill the training of a language model, of any kind, at any instant: it goes on to the same bits."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from nursery import Nursery
from test_crash import assert_identical

from motherlode.randomness import numpy_generator
from motherlode.training.run import Run

STEPS = 30
KILLS = 20
MODELS: dict[str, dict[str, Any]] = {
    "gpt": {"family": "gpt"},
    "bert": {"family": "bert"},
    "diffusion": {"family": "bert", "mask_rate": "uniform"},
}


@pytest.fixture(scope="module", params=list(MODELS))
def recipe(request: pytest.FixtureRequest, stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of six looks and checkpoints, with an optimiser of two rules and every part that draws at random."""
    content = {
        "name": "tiny",
        "data": {"path": str(stories), "length": 16, "vocabulary": 300},
        "model": {**MODELS[request.param], "width": 16, "depth": 2, "heads": 2},
        "train": {
            "batch": 4,
            "optimizer": {"name": "muon", "lr": 1e-2},
            "schedule": {"name": "wsd", "warmup": 0.1},
            "clip": 1.0,
            "device": "cpu",
            "precision": "bf16",
            "compile": "off",
            "sample_every": 0.2,
            "checkpoint_every": 0.2,
            "keep": 1,
            "budget": {"steps": STEPS},
        },
    }
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def nursery(recipe: Path) -> Iterator[Nursery]:
    with Nursery(recipe) as nursery:
        yield nursery


def run_to_the_end(nursery: Nursery, out: Path) -> Run:
    assert nursery.run(out=str(out)) == 0
    return Run.open(out / "tiny")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kill_nine_at_twenty_random_instants(nursery: Nursery, tmp_path: Path) -> None:
    whole = run_to_the_end(nursery, tmp_path / "whole")
    start = time.monotonic()
    run_to_the_end(nursery, tmp_path / "timed")
    lifetime_sec = time.monotonic() - start
    rng = numpy_generator(0, "instants")
    out = tmp_path / "killed"
    num_killed, reached = 0, []
    while num_killed < KILLS:
        process = nursery.start(out=str(out))
        time.sleep(float(rng.uniform(0.0, lifetime_sec)))
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        num_killed += nursery.wait() == -signal.SIGKILL
        opened = (out / "tiny" / "recipe.yaml").exists()
        reached.append(max(Run.open(out / "tiny").steps(), default=0) if opened else 0)
        if reached[-1] >= 0.8 * STEPS:
            # Nearly at the end: compare, and let the next kills hit a training that starts afresh.
            assert_identical(run_to_the_end(nursery, out), whole)
            shutil.rmtree(out)
    if out.exists():
        assert_identical(run_to_the_end(nursery, out), whole)
    assert len(set(reached)) >= 3, reached
    for name in ("config.json", "tokenizer.json"):
        assert (whole.checkpoint("last") / name).is_file()
