"""Kill a training over fields at any instant, its codes in the making too: it goes on to the same bits."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from nursery import Nursery
from test_crash import assert_identical
from test_tokens_resume import run_to_the_end

from motherlode.randomness import numpy_generator
from motherlode.recipe import Recipe, parse
from motherlode.training.run import train

STEPS = 20
KILLS = 8


@pytest.fixture(scope="module")
def recipe(fashion: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT over labels and the codes of a codec of two steps; its dataset is a copy without caches."""
    folder = tmp_path_factory.mktemp("fields")
    shutil.copytree(fashion, folder / "data", ignore=shutil.ignore_patterns(".cache"))
    settings = {"device": "cpu", "precision": "fp32", "compile": "off", "layout": "contiguous", "keep": 1}
    codec = {
        "name": "codec",
        "out": str(folder),
        "data": {"path": str(folder / "data")},
        "model": {"family": "autoencoder", "kind": "vq", "width": 8, "codebook": {"codes": 16}},
        "train": {"batch": 16, "budget": {"steps": 2}, "show": False, **settings},
    }
    train(parse(Recipe, codec))
    content = {
        "name": "tiny",
        "data": {
            "path": str(folder / "data"),
            "length": 120,
            "fields": {"label": {}, "image": {"codec": str(folder / "codec")}},
            "tasks": {
                "draw": {"given": ["label"], "make": ["image"], "weight": 2},
                "name": {"given": ["image"], "make": ["label"]},
            },
            "drop_given": 0.1,
        },
        "model": {"family": "gpt", "width": 16, "depth": 2, "heads": 2},
        "train": {"batch": 4, "budget": {"steps": STEPS}, "sample_every": 0.2, "checkpoint_every": 0.2, **settings},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def nursery(recipe: Path) -> Iterator[Nursery]:
    with Nursery(recipe) as nursery:
        yield nursery


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kill_nine_at_random_instants(nursery: Nursery, recipe: Path, tmp_path: Path) -> None:
    whole = run_to_the_end(nursery, tmp_path / "whole")
    caches = recipe.parent / "data" / ".cache"
    shutil.rmtree(caches)
    start = time.monotonic()
    run_to_the_end(nursery, tmp_path / "timed")
    lifetime_sec = time.monotonic() - start
    rng = numpy_generator(0, "instants")
    out = tmp_path / "killed"
    num_killed = 0
    while num_killed < KILLS:
        if num_killed % 3 == 0:
            shutil.rmtree(caches, ignore_errors=True)
        process = nursery.start(out=str(out))
        time.sleep(float(rng.uniform(0.0, lifetime_sec)))
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        num_killed += nursery.wait() == -signal.SIGKILL
    assert_identical(run_to_the_end(nursery, out), whole)
    assert (whole.path / "codecs" / "image" / "manifest.json").is_file()
