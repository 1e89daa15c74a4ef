"""Stop and kill trainings of pictures, sound and clips: codebooks, critics and mixtures go on to the same bits."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from nursery import Nursery
from test_crash import assert_identical

from motherlode.randomness import numpy_generator
from motherlode.recipe import Recipe, parse
from motherlode.training.run import Run, train

STEPS = 30
PICTURES = {"resolution": 16}
SMALL = {"family": "autoencoder", "width": 8, "latent": 4, "blocks": 0}
CODEBOOK = {"codes": 16, "quantisers": 2, "start_steps": 8}
MODELS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "rvq with a critic": (
        "fashion",
        PICTURES,
        {
            **SMALL,
            "kind": "rvq",
            "codebook": CODEBOOK,
            "critic": {"kind": "patch", "width": 8, "ramp_steps": 10},
        },
    ),
    "vae with a mixture": ("fashion", PICTURES, {**SMALL, "kind": "vae", "mixture": 2}),
    "codec of sound": (
        "sounds",
        {"seconds": 0.128},
        {
            **SMALL,
            "kind": "rvq",
            "strides": [8, 4],
            "codebook": CODEBOOK,
            "spectral": {"weight": 0.5},
            "critic": {"kind": "stft", "width": 4, "windows": [64, 128], "ramp_steps": 10},
        },
    ),
    "codec of clips": (
        "clips",
        {**PICTURES, "seconds": 1.0},
        {**SMALL, "kind": "rvq", "blocks": 1, "strides": [[2, 2, 2], [2, 2, 2]], "codebook": CODEBOOK},
    ),
    "gan of clips": ("clips", PICTURES, {"family": "gan", "width": 4, "noise": 8, "conditional": True}),
}
"""Name: the fixture that makes the dataset, what the run sees of it, the model."""


def content(request: pytest.FixtureRequest, name: str, steps: int) -> dict[str, Any]:
    fixture, data, model = MODELS[name]
    return {
        "name": "tiny",
        "data": {"path": str(request.getfixturevalue(fixture)), **data},
        "model": model,
        "train": {
            "batch": 16,
            "device": "cpu",
            "precision": "bf16",
            "layout": "channels_last",
            "compile": "off",
            "sample_every": 0.34,
            "checkpoint_every": 0.1,
            "keep": 1,
            "budget": {"steps": steps},
        },
    }


@pytest.mark.parametrize("name", list(MODELS))
def test_a_run_in_two_parts_is_the_run_in_one(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    def run(out: str, steps: int) -> Run:
        recipe = {**content(request, name, steps), "out": str(tmp_path / out)}
        recipe["train"]["sample_every"] = 1
        return train(parse(Recipe, recipe))

    whole = run("whole", 20)
    run("parts", 10)
    parts = run("parts", 20)
    for file in ("model.safetensors", "optimizer.safetensors"):
        assert (parts.checkpoint("last") / file).read_bytes() == (whole.checkpoint("last") / file).read_bytes(), file


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", list(MODELS))
def test_kill_nine_at_ten_random_instants(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(content(request, name, STEPS)))
    with Nursery(path) as nursery:
        asked = {"pause_sec": 0.01}
        assert nursery.run(out=str(tmp_path / "whole"), **asked) == 0
        start = time.monotonic()
        assert nursery.run(out=str(tmp_path / "timed"), **asked) == 0
        lifetime_sec = time.monotonic() - start
        rng, out, num_killed = numpy_generator(0, "instants"), tmp_path / "killed", 0
        while num_killed < 10:
            process = nursery.start(out=str(out), **asked)
            time.sleep(float(rng.uniform(0.0, lifetime_sec)))
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            killed = nursery.wait() == -signal.SIGKILL
            num_killed += killed
            if not killed or num_killed == 10:
                assert nursery.run(out=str(out), **asked) == 0
                assert_identical(Run.open(out / "tiny"), Run.open(tmp_path / "whole" / "tiny"))
                shutil.rmtree(out)
