"""`estimate`, `train`, `evaluate`, `generate`, `export` as a person runs them: what they say, and how they refuse."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from motherlode import storage
from motherlode.recipe import Recipe
from motherlode.training import monitor
from motherlode.training.pools import Generated
from motherlode.training.run import Run

from .conftest import Lode, assert_one_clear_error


@pytest.fixture
def recipe(here: Path, fashion: Path) -> Path:
    """A recipe that trains in a second."""
    content = {
        "name": "small",
        "data": {"path": str(fashion), "resolution": 16, "channels": 1},
        "model": {"family": "gan", "network": "mlp", "width": 16, "noise": 8},
        "train": {"batch": 16, "budget": {"steps": 6}, "sample_every": 0.5, "checkpoint_every": 0.5},
        "evaluate": {"num_samples": 64, "extractor": "raw-pixels"},
        "price": {"hour": 36.0, "currency": "EUR"},
    }
    path = here / "small.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def everything(folder: Path) -> dict[str, str]:
    """Every file below a folder with its hash; locks and TensorBoard's files, whose names hold the time, aside."""
    return {
        str(path.relative_to(folder)): storage.hash_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock" and "tensorboard" not in path.parts
    }


def test_train_shows_losses_and_ends_where_to_go_next(lode: Lode, recipe: Path) -> None:
    result = lode("train", recipe)
    assert result.exit_code == 0, result.output
    assert "step 6/6" in result.stderr
    for word in ("critic", "generator", "samples/s", "FLOP", "EUR", "runs/small/samples/step-6.png"):
        assert word in result.stderr
    assert "lode evaluate runs/small" in result.stdout
    again = lode("train", recipe)
    assert again.exit_code == 0
    assert "step" not in again.stderr
    more = lode("train", recipe, "--set", "train.budget.steps=9")
    assert "goes on from step 6 of 9" in more.stderr
    assert Run.open("runs/small").facts["step"] == 9


def test_estimate_says_what_it_would_take_and_leaves_no_run(lode: Lode, recipe: Path, here: Path) -> None:
    result = lode("estimate", recipe, "--save", "estimate.json")
    assert result.exit_code == 0, result.output
    for word in ("parameters", "time", "memory", "FLOP", "EUR", "runs in"):
        assert word in result.stdout
    assert json.loads((here / "estimate.json").read_text())["steps"] == 6
    assert not (here / "runs").exists()


def test_the_rest_of_the_way(lode: Lode, labelled_run: Path, here: Path) -> None:
    shutil.copytree(labelled_run, here / "run")
    measured = lode("evaluate", "run", "--num", "50", "-m", "frechet", "-m", "coverage")
    assert measured.exit_code == 0, measured.output
    for word in ("frechet[raw-pixels]", "coverage[raw-pixels]", "90% interval", "run/report.html"):
        assert word in measured.stdout
    compared = lode("evaluate", "run", "--num", "50", "-m", "frechet", "--against", "run")
    assert "no clear change" in compared.stdout
    refused = lode("evaluate", "run", "--num", "40", "-m", "frechet", "--against", "run")
    assert_one_clear_error(refused, "same num samples", "50 and 40")
    made = lode("generate", "run", "--num", "5", "--label", "Bag", "--seed", "3", "--out", "bags")
    assert made.exit_code == 0, made.output
    assert len(list((here / "bags").glob("[0-9].png"))) == 5
    exported = lode("export", "run")
    assert exported.exit_code == 0, exported.output
    assert (here / "run" / "export" / "model.safetensors").is_file()
    folders = lode(
        "evaluate", "--samples", "bags", "--reference", "bags", "--out", "compared", "--extractor", "raw-pixels"
    )
    assert folders.exit_code == 0, folders.output
    assert (here / "compared" / "report.html").is_file()


def test_an_early_best_checkpoint_is_named_with_the_way_to_the_last(lode: Lode, recipe: Path) -> None:
    lode("train", recipe)
    run = Run.open("runs/small")
    first, *_, last = run.steps()
    facts = storage.read_json(run.path / "run.json")
    storage.write_json(run.path / "run.json", facts | {"best": facts["best"] | {"step": first}})
    for words in (("train", recipe), ("evaluate", run.path), ("generate", run.path), ("export", run.path)):
        said = lode(*words).stdout
        assert f"step-{first} scored best" in said
        assert f"--checkpoint last takes step-{last}" in said
    taken = lode("evaluate", run.path, "--checkpoint", "last")
    assert "scored best" not in taken.stdout
    assert storage.read_json(run.path / "report.json")["facts"]["checkpoint"] == f"step-{last}"


def test_several_seeds_give_a_spread(lode: Lode, recipe: Path, here: Path) -> None:
    result = lode("train", recipe, "--seeds", "2", "--set", "evaluate.measures=[frechet]")
    assert result.exit_code == 0, result.output
    for word in ("mean", "sd", "frechet", "2 runs"):
        assert word in result.stdout
    assert len(json.loads((here / "runs" / "small-seeds.json").read_text())["measures"]["frechet"]["values"]) == 2


@pytest.mark.parametrize("verb", ["train", "estimate"])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["train.bach=3"], ["no key `train.bach`", "did you mean `batch`"]),
        (["model.los=hinge"], ["no key `model.los`", "did you mean `loss`"]),
        (["model.family=gam"], ["did you mean 'gan'"]),
        (["data.path=nowhere"], ["dataset.json", "nowhere", "lode prepare"]),
        (["model.network=dcgan", "data.resolution=6"], ["sides of", "6"]),
        (["train.device=tpu"], ["tpu"]),
        (["train"], ["key=value"]),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    lode: Lode, recipe: Path, here: Path, verb: str, changes: list[str], said: list[str]
) -> None:
    words = [word for change in changes for word in ("--set", change)]
    assert_one_clear_error(lode(verb, recipe, *words), *said)
    assert not list(here.glob("runs/*/*.json"))


def test_a_run_of_another_architecture_is_refused_and_left_as_it_is(lode: Lode, recipe: Path, here: Path) -> None:
    assert lode("train", recipe).exit_code == 0
    before = everything(here / "runs")
    assert_one_clear_error(lode("train", recipe, "--set", "model.width=32"), "model.width", "name: small-2")
    assert everything(here / "runs") == before


def test_a_checkpoint_of_another_architecture_is_refused(lode: Lode, recipe: Path, here: Path) -> None:
    assert lode("train", recipe).exit_code == 0
    assert lode("train", recipe, "--set", "model.width=32", "--set", "name=wide").exit_code == 0
    shutil.rmtree(here / "runs" / "small" / "checkpoints")
    shutil.copytree(here / "runs" / "wide" / "checkpoints", here / "runs" / "small" / "checkpoints")
    before = everything(here / "runs")
    for words in (
        ["train", recipe, "--set", "train.budget.steps=9"],
        ["generate", "runs/small"],
        ["export", "runs/small"],
    ):
        assert_one_clear_error(lode(*words), "checkpoint")
    after = everything(here / "runs")
    assert {path: after[path] for path in before if "checkpoints" in path} == {
        path: before[path] for path in before if "checkpoints" in path
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "none.yaml"], ["must exist", "lode init"]),
        (["evaluate", "nowhere"], ["run.json", "nowhere"]),
        (["generate", "nowhere"], ["run.json", "nowhere"]),
        (["export", "nowhere"], ["run.json", "nowhere"]),
        (["evaluate"], ["a run or a folder of samples"]),
        (["evaluate", "--samples", "x"], ["--out"]),
    ],
)
def test_what_is_not_there_is_named(lode: Lode, here: Path, words: list[str], said: list[str]) -> None:
    assert_one_clear_error(lode(*words), *said)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "run", "-m", "frechett"], ["frechett", "frechet"]),
        (["evaluate", "run", "--extractor", "efficientnet-lite9"], ["efficientnet-lite9"]),
        (["evaluate", "run", "--train", "mine"], ["knows what it was trained on"]),
        (["evaluate", "run", "--out", "mine/photo.jpg"], ["name of a file", "mine/photo.jpg"]),
        (["evaluate", "run", "--against", "rnu"], ["must be a report", "did you mean 'run'"]),
        (["evaluate", "run", "--reference", "rnu"], ["must be in a folder", "did you mean 'run'"]),
        (["evaluate", "run", "--harness", "x.yaml"], ["causal language model"]),
        (["evaluate", "run/checkpoints"], ["run.json", "did you mean 'run'"]),
        (["evaluate", "."], ["open one of the runs in it: run"]),
        (["evaluate", "set"], ["that is a dataset", "lode init set"]),
        (["generate", "run", "--prompt", "x"], ["only runs of texts or of fields"]),
        (["generate", "rnu"], ["did you mean 'run'"]),
        (["generate", "run", "--label", "Bug"], ["did you mean 'Bag'"]),
        (["generate", "run", "--variant", "emma"], ["did you mean 'ema'"]),
        (["generate", "run", "--checkpoint", "step-5"], ["choose one of: best, last, step-"]),
        (["generate", "run", "--out", "mine"], ["choose another --out"]),
        (["generate", "run", "--device", "gpu"], ["`cuda` is the name", "here there is"]),
        (["generate", "run", "--device", "cuda:99"], ["cuda:99", "here there is"]),
        (["export", "run", "--format", "pickle"], ["there is no export format"]),
        (["export", "run", "--out", "mine"], ["choose another --out"]),
    ],
)
def test_what_a_run_cannot_do_is_refused_and_damages_nothing(
    lode: Lode, labelled_run: Path, here: Path, words: list[str], said: list[str]
) -> None:
    shutil.copytree(labelled_run, here / "run")
    (here / "mine").mkdir()
    (here / "mine" / "photo.jpg").write_bytes(b"mine")
    (here / "set").mkdir()
    (here / "set" / "dataset.json").write_text("{}")
    before = everything(here)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Generated, "take", lambda *_: pytest.fail("samples were made first"))
        assert_one_clear_error(lode(*words), *said)
    assert everything(here) == before


def full_disk(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let `after` files be synced, then say that the disk is full."""
    left = [after]
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("after", [0, 2, 5, 11])
def test_training_on_a_full_disk_is_one_clear_error_and_goes_on_later(
    lode: Lode, recipe: Path, here: Path, after: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        full_disk(patch, after)
        assert_one_clear_error(lode("train", recipe), "disk must have room", "free some space")
    assert [path for path in here.rglob("*.tmp") if path.exists()] == []
    assert lode("train", recipe).exit_code == 0
    plain = lode("train", recipe, "--set", "name=plain")
    assert plain.exit_code == 0, plain.output
    weights = "checkpoints/step-6/model.safetensors"
    assert storage.hash_file(here / "runs" / "small" / weights) == storage.hash_file(here / "runs" / "plain" / weights)


def test_a_full_disk_is_named_by_the_run_where_the_system_names_none(
    lode: Lode, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def append(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(monitor.Monitor, "log", append)
    assert_one_clear_error(lode("train", recipe), "disk must have room", "runs/small")


@pytest.mark.parametrize("after", [0, 3])
def test_evaluating_generating_and_exporting_on_a_full_disk(
    lode: Lode, labelled_run: Path, here: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    shutil.copytree(labelled_run, here / "run")
    before = everything(here)
    for words in (["export", "run"], ["generate", "run", "-n", "2"], ["evaluate", "run", "-m", "frechet", "-n", "20"]):
        with pytest.MonkeyPatch.context() as patch:
            full_disk(patch, after if words[0] == "export" else 0)
            assert_one_clear_error(lode(*words), "disk must have room")
    assert everything(here) == before


@pytest.mark.slow
def test_a_disk_that_is_really_full(recipe: Path, here: Path) -> None:
    """The same through a process whose files may not grow beyond 64 kB: no mock between the command and the kernel."""
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536));"
    code = f"{limit} from motherlode.cli import main; main({['train', str(recipe)]!r})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=here)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    assert "error: " in result.stderr


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_goes_on(recipe: Path, here: Path) -> None:
    words = [sys.executable, "-m", "motherlode.cli", "train", str(recipe), "--set", "train.budget.steps=20000"]
    process = subprocess.Popen([*words, "--set", "train.sample_every=1.0"], cwd=here, stderr=subprocess.PIPE, text=True)
    metrics = here / "runs" / "small" / "metrics.jsonl"
    until = time.monotonic() + 60
    while not metrics.is_file() and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "the same command goes on" in said
    facts: dict[str, Any] = Run.open(here / "runs" / "small").facts
    assert facts["status"] == "stopped"
    assert 0 < facts["step"] < 20000
    again = subprocess.run(
        [*words[:5], "--set", f"train.budget.steps={facts['step'] + 5}", "--set", "train.sample_every=1.0"],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert f"goes on from step {facts['step']}" in again.stderr


def test_the_recipe_in_a_run_is_a_recipe(tiny_run: Path) -> None:
    assert Recipe.load(tiny_run / "recipe.yaml").train.precision != "auto"
