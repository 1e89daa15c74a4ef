"""Kill a training at any instant, at any call inside a save: it goes on to the same bits."""

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
from doubles import tiny_recipe
from nursery import DIED, Nursery

from motherlode import storage
from motherlode.randomness import numpy_generator
from motherlode.training.run import Run, train

STEPS = 40
PAUSE_SEC = 0.01
SAVES = 2


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as nursery:
        yield nursery


def run_to_the_end(nursery: Nursery, out: Path, steps: int) -> Run:
    assert nursery.run(out=str(out), steps=steps) == 0
    return Run.open(out / "tiny")


def assert_identical(run: Run, whole: Run) -> None:
    def lines(which: Run) -> list[dict[str, Any]]:
        return [{key: value for key, value in line.items() if key != "seconds"} for line in which.metrics()]

    assert lines(run) == lines(whole)
    assert run.steps() == whole.steps()
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert (run.checkpoint("last") / name).read_bytes() == (whole.checkpoint("last") / name).read_bytes(), name
    for fact in ("best", "samples", "draws", "flops", "status"):
        assert run.facts[fact] == whole.facts[fact]
    for path in (whole.path / "samples").glob("*"):
        if path.suffix == ".mp4":
            continue  # x264 does not always write the same frames as the same bytes; the WebP beside it is compared
        assert (run.path / "samples" / path.name).read_bytes() == path.read_bytes()
    assert not [path for path in run.path.rglob(".*") if path.name != ".lock"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kill_nine_at_twenty_random_instants(nursery: Nursery, tmp_path: Path) -> None:
    whole = run_to_the_end(nursery, tmp_path / "whole", STEPS)
    start = time.monotonic()
    assert nursery.run(out=str(tmp_path / "timed"), steps=STEPS, pause_sec=PAUSE_SEC) == 0
    lifetime_sec = time.monotonic() - start
    rng = numpy_generator(0, "instants")
    out = tmp_path / "killed"
    num_killed, reached = 0, []
    while num_killed < 20:
        process = nursery.start(out=str(out), steps=STEPS, pause_sec=PAUSE_SEC)
        time.sleep(float(rng.uniform(0.0, lifetime_sec)))
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        num_killed += nursery.wait() == -signal.SIGKILL
        opened = (out / "tiny" / "recipe.yaml").exists()
        reached.append(max(Run.open(out / "tiny").steps(), default=0) if opened else 0)
        if reached[-1] >= 0.8 * STEPS:
            # Nearly at the end: compare, and let the next kills hit a training that starts afresh.
            assert_identical(run_to_the_end(nursery, out, STEPS), whole)
            shutil.rmtree(out)
    if out.exists():
        assert_identical(run_to_the_end(nursery, out, STEPS), whole)
    assert len(set(reached)) >= 3, reached


def crash(nursery: Nursery, out: Path, call: str, number: int, whole: Run) -> bool:
    """Die at one use of a system call, resume, compare; whether there was such a use."""
    code = nursery.run(out=str(out), steps=SAVES, call=call, number=number)
    assert code in (0, DIED)
    assert_identical(run_to_the_end(nursery, out, SAVES), whole)
    shutil.rmtree(out)
    return code == DIED


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("call", ["replace", "fsync", "open", "unlink", "mkdir", "rmdir"])
def test_every_crash_point_of_a_training_resumes_to_the_bit(nursery: Nursery, tmp_path: Path, call: str) -> None:
    """Two checkpoints, the second of which prunes: every use in every save, of run.json and of the record."""
    whole = run_to_the_end(nursery, tmp_path / "whole", SAVES)
    number = 1
    while crash(nursery, tmp_path / "crashed", call, number, whole):
        number += 1
    assert number > {"replace": 9, "fsync": 20, "open": 5, "unlink": 0, "mkdir": 3, "rmdir": 0}[call]


@pytest.mark.parametrize(("call", "number"), [("replace", 8), ("fsync", 20)])
def test_some_crash_points(nursery: Nursery, tmp_path: Path, call: str, number: int) -> None:
    """The fast suite's share of the above."""
    whole = run_to_the_end(nursery, tmp_path / "whole", SAVES)
    assert crash(nursery, tmp_path / "crashed", call, number, whole)


@pytest.mark.usefixtures("tiny")
def test_the_lock_is_held_by_one_process_and_freed_by_its_death(nursery: Nursery, tmp_path: Path) -> None:
    process = nursery.start(out=str(tmp_path), steps=10**6)
    folder = tmp_path / "tiny"
    while not (folder / "run.json").exists():
        time.sleep(0.01)
    with pytest.raises(storage.LockedError, match=str(process)):
        train(tiny_recipe(tmp_path))
    os.kill(process, signal.SIGKILL)
    assert nursery.wait() == -signal.SIGKILL
    with storage.lock(folder):
        pass
