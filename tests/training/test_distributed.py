from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from doubles import TinyLoader, tiny_recipe

from motherlode.errors import TrainingError
from motherlode.training.distributed import ALONE, Ranks, share_of_batch, start
from motherlode.training.run import Run, train

SCRIPT = Path(__file__).parent / "rank.py"
SGD = {"name": "sgd", "lr": 0.1}


def free_port() -> str:
    with socket.socket() as endpoint:
        endpoint.bind(("127.0.0.1", 0))
        return str(endpoint.getsockname()[1])


def start_ranks(world: int, command: Sequence[str]) -> list[int]:
    """Run a command in so many processes as torchrun would start them; their exit codes."""
    place = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(command, env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(world)
    ]
    return [process.wait(240) for process in processes]


def two_ranks(out: Path, **options: Any) -> Run:
    """Train the tiny family with two processes."""
    out.mkdir(parents=True, exist_ok=True)
    assert start_ranks(2, [sys.executable, str(SCRIPT), str(out), json.dumps(options)]) == [0, 0]
    return Run.open(out / "tiny")


def assert_close(run: Run, alone: Run) -> None:
    expected = alone.load("last").state_dict()
    for name, value in run.load("last").state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
    for mine, other in zip(run.metrics(), alone.metrics(), strict=True):
        assert mine["step"] == other["step"]
        if mine["kind"] == "train":
            assert mine["critic/loss"] == pytest.approx(other["critic/loss"], rel=1e-4)
            assert mine["critic/gradient_norm"] == pytest.approx(other["critic/gradient_norm"], rel=1e-3)
            assert mine["samples"] == other["samples"]


@pytest.mark.usefixtures("tiny")
def test_two_ranks_of_sixteen_equal_one_of_thirty_two(tmp_path: Path) -> None:
    options = {"steps": 8, "batch": 32, "optimizer": SGD}
    alone = train(tiny_recipe(tmp_path / "alone", **options))
    both = two_ranks(tmp_path / "both", **options)
    assert_close(both, alone)
    assert both.facts["ranks"] == 2
    assert both.facts["flops"] == pytest.approx(alone.facts["flops"])
    assert (tmp_path / "both" / "rank-1.txt").read_text() == "finished"
    # A run of two ranks goes on with one, and the other way round.
    longer = train(tiny_recipe(tmp_path / "both", **{**options, "steps": 10}))
    assert longer.facts["step"] == 10


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_ranks_and_accumulation_together_under_torchrun(tmp_path: Path) -> None:
    options = {"steps": 6, "batch": 32, "optimizer": SGD, "accumulate": 2, "clip": 0.5}
    alone = train(tiny_recipe(tmp_path / "alone", **{**options, "accumulate": 1}))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    out = tmp_path / "both"
    out.mkdir()
    command = [sys.executable, *launch, str(SCRIPT), str(out), json.dumps(options)]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
    assert_close(Run.open(out / "tiny"), alone)


@pytest.mark.slow
def test_a_nan_stops_every_rank_at_the_same_step(tmp_path: Path) -> None:
    run = two_ranks(tmp_path, steps=8, batch=8, model={"family": "pair", "explode_at": 5, "explode": "gradient"})
    said = [(tmp_path / f"rank-{rank}.txt").read_text() for rank in range(2)]
    assert said[0] == said[1]
    assert said[0].startswith("diverged: critic, step 5")
    assert run.facts["status"] == "diverged"


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_an_error_of_rank_zero_is_every_ranks_error(tmp_path: Path) -> None:
    train(tiny_recipe(tmp_path, batch=16))
    with pytest.raises(AssertionError):
        two_ranks(tmp_path, batch=8)
    said = [(tmp_path / f"rank-{rank}.txt").read_text() for rank in range(2)]
    assert said[0] == said[1]
    assert "train.batch: the run there 16, this recipe 8" in said[0]


@pytest.mark.parametrize("world", [2, 4])
def test_order_of_samples_does_not_depend_on_the_number_of_ranks(world: int) -> None:
    alone = TinyLoader(batch=8)
    shares = [TinyLoader(batch=8, rank=rank, world=world) for rank in range(world)]
    for index in range(5):
        rows = np.concatenate([share.draw(index)[2] for share in shares])
        assert np.array_equal(rows, alone.draw(index)[2])


def test_alone_nothing_is_communicated() -> None:
    tensor = torch.ones(3)
    ALONE.average([tensor])
    assert torch.equal(tensor, torch.ones(3))
    assert ALONE.share({"a": 1}) == {"a": 1}
    assert ALONE.leads
    assert start() == ALONE


def test_a_batch_must_divide_over_ranks_and_accumulation() -> None:
    assert share_of_batch(32, 2, Ranks(0, 4)) == 4
    with pytest.raises(TrainingError, match=r"4 ranks, accumulate 3(.|\n)*use batch: 36"):
        share_of_batch(32, 3, Ranks(0, 4))
