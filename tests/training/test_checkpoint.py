from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from motherlode.errors import CorruptError, StorageError, TrainingError
from motherlode.randomness import numpy_generator
from motherlode.training import checkpoint


class Model(nn.Module):
    """Tied weights, a buffer of integers, a convolution in another memory layout."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.conv = nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
        self.register_buffer("count", torch.tensor(7))


def save(folder: Path, step: int, model: nn.Module | None = None, **state: Any) -> Path:
    optimizer = {"turn/first.weight/exp_avg": torch.full((4, 4), float(step))}
    return checkpoint.save(
        folder, step, (model or Model()).state_dict(), optimizer, {"position": {"step": step}, **state}
    )


def ignore(_: str) -> None:
    """A listener that hears nothing."""


def test_round_trip_with_ties_buffers_and_layouts(tmp_path: Path) -> None:
    model = Model()
    path = save(tmp_path, 3, model, best=None)
    found = checkpoint.read(path)
    assert found.step == 3
    assert found.state["best"] is None
    other = Model()
    checkpoint.load_model(other, found.model, "step-3")
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
    assert other.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found.optimizer["turn/first.weight/exp_avg"], torch.full((4, 4), 3.0))
    assert sorted(file.name for file in path.iterdir()) == [
        "manifest.json",
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]
    assert json.loads((path / "state.json").read_text())["architecture"]["conv.weight"] == "float32[5, 3, 3, 3]"


def test_prune_keeps_the_last_and_the_best(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40):
        save(tmp_path, step)
    checkpoint.prune(tmp_path, 2, best=10)
    assert checkpoint.steps(tmp_path) == [10, 30, 40]
    checkpoint.prune(tmp_path, 1, best=None)
    assert checkpoint.steps(tmp_path) == [40]


def test_nothing_saved_is_nothing_found(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "none", ignore) is None


def flip(path: Path, rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(content))


def truncate(path: Path, rng: np.random.Generator) -> None:
    path.write_bytes(path.read_bytes()[: rng.integers(path.stat().st_size)])


@pytest.mark.parametrize("damage", [flip, truncate])
def test_fifty_damages_are_fifty_fallbacks(tmp_path: Path, damage: Callable[[Path, np.random.Generator], None]) -> None:
    save(tmp_path, 1)
    good = {file.name: file.read_bytes() for file in save(tmp_path, 2).iterdir()}
    rng = numpy_generator(0, "damage")
    for number in range(25):
        name = sorted(good)[number % len(good)]
        folder = tmp_path / "step-2"
        folder.mkdir(exist_ok=True)
        for other, content in good.items():
            (folder / other).write_bytes(content)
        damage(folder / name, rng)
        said: list[str] = []
        found = checkpoint.latest(tmp_path, said.append)
        assert found is not None
        assert found.step == 1, name
        assert len(said) == 1
        assert "step-2 is damaged" in said[0]
        assert str(folder) in said[0]
        assert "going on from step-1" in said[0]
        assert (tmp_path / "damaged-step-2").is_dir()
        assert checkpoint.steps(tmp_path) == [1]


def test_with_no_good_checkpoint_left_the_damaged_files_are_named(tmp_path: Path) -> None:
    for step, name in ((1, "model.safetensors"), (2, "state.json")):
        truncate(save(tmp_path, step) / name, numpy_generator(0, "cut"))
    with pytest.raises(CorruptError, match=r"(?s)step-2/state.json; .*step-1/model.safetensors"):
        checkpoint.latest(tmp_path, ignore)
    assert checkpoint.steps(tmp_path) == [1, 2]


def test_a_missing_file_is_found_out(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    (path / "optimizer.safetensors").unlink()
    with pytest.raises(CorruptError, match=r"optimizer\.safetensors"):
        checkpoint.read(path)
    (path / "manifest.json").write_text("{}")
    with pytest.raises(CorruptError, match=r"model\.safetensors"):
        checkpoint.read(path)


def test_another_architecture_is_one_clear_error(tmp_path: Path) -> None:
    found = checkpoint.read(save(tmp_path, 5))
    other = Model()
    other.conv = nn.Conv2d(3, 6, 3)
    other.extra = nn.Linear(2, 2)
    with pytest.raises(TrainingError) as caught:
        checkpoint.load_model(other, found.model, "step-5")
    text = str(caught.value)
    assert "conv.weight: checkpoint float32[5, 3, 3, 3], model float32[6, 3, 3, 3]" in text
    assert "extra.weight: checkpoint has none, model float32[2, 2]" in text
    assert "another name" in text


def test_another_recipe_is_one_clear_error() -> None:
    written = {"train.batch": 8, "data.id": "abc", "seed": 0}
    checkpoint.check_identity({"identity": written}, dict(written), "step-5")
    with pytest.raises(
        TrainingError, match=r"step-5: data\.id: checkpoint abc, recipe abd; train\.batch: checkpoint 8, recipe 9"
    ):
        checkpoint.check_identity({"identity": written}, {**written, "train.batch": 9, "data.id": "abd"}, "step-5")


def test_many_differences_are_counted_not_listed() -> None:
    text = checkpoint.differences({}, {f"key{n}": n for n in range(9)}, "old", "new")
    assert text.count("has none") == 6
    assert text.endswith("and 3 more")


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(StorageError, match="the disk must have room"):
        save(tmp_path, 2)
    assert checkpoint.steps(tmp_path) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]
    assert checkpoint.read(tmp_path / "step-1").step == 1


def test_an_error_of_the_safetensors_writer_is_translated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise checkpoint.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(StorageError, match="the disk must have room"):
        save(tmp_path, 2)


def test_sweep_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    save(checkpoints, 1)
    (checkpoints / ".step-2.123.tmp").mkdir()
    (checkpoints / ".step-2.123.tmp" / "model.safetensors").write_bytes(b"half")
    (tmp_path / ".run.json.123.tmp").write_text("{")
    (tmp_path / "run.json").write_text("{}")
    checkpoint.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoints", "run.json"]
    assert checkpoint.steps(checkpoints) == [1]
    assert len(load_file(checkpoints / "step-1" / "model.safetensors")) == 7
