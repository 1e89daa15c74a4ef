from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from motherlode.data import dataset as module
from motherlode.data.dataset import Dataset, dataset_id
from motherlode.data.prepare import prepare
from motherlode.errors import CorruptError, DatasetError

from .conftest import write_folder


@pytest.fixture
def copy(prepared: Dataset, tmp_path: Path) -> Path:
    shutil.copytree(prepared.path, tmp_path / "copy")
    return tmp_path / "copy"


def test_columns_and_rows_agree(prepared: Dataset) -> None:
    train = prepared.split("train")
    assert [row["label"] for row in train.rows()] == train.column("label").tolist()
    assert train.column("width").dtype == np.int32
    assert train.column("caption").tolist() == [None] * len(train)
    assert len(list(prepared)) == len(prepared) == 120
    with pytest.raises(DatasetError, match="did you mean 'width'"):
        train.column("widht")
    with pytest.raises(DatasetError, match="three splits"):
        prepared.split("test")


def test_the_spec_comes_from_the_data(prepared: Dataset) -> None:
    spec = prepared.spec()
    assert (spec.shape, spec.num_labels) == ((3, 32, 32), 2)
    assert prepared.spec(resolution=16, channels=1).shape == (1, 16, 16)


def test_the_id_is_of_the_content_alone(pets: Path, prepared: Dataset, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    for number, path in enumerate(sorted(pets.rglob("*.png"), reverse=True)):
        target = moved / path.parent.name / f"renamed-{number:03d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    assert prepare(moved, out=tmp_path / "d", workers=1).id == prepared.id
    other = prepare(write_folder(tmp_path / "other", {"cat": 70, "dog": 49}), out=tmp_path / "e", workers=1)
    assert other.id != prepared.id


def test_labels_and_splits_are_part_of_the_id() -> None:
    ids = np.arange(48, dtype=np.uint8).reshape(3, 16).view("V16").reshape(-1)
    labels, splits = np.array([0, 1, 1], np.int32), np.array([0, 0, 1], np.int8)
    base = dataset_id(["a", "b"], ids, labels, splits)
    order = np.array([2, 0, 1])
    assert dataset_id(["a", "b"], ids[order], labels[order], splits[order]) == base
    assert dataset_id(["a", "b"], ids, labels[order], splits) != base
    assert dataset_id(["a", "b"], ids, labels, splits[order]) != base
    assert dataset_id(["a", "c"], ids, labels, splits) != base


@pytest.mark.parametrize("lazily", [False, True])
@pytest.mark.parametrize("number", range(25))
def test_every_flip_and_cut_of_a_shard_is_found_and_named(
    copy: Path, lazily: bool, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(number)
    path = copy / ["train/00000.parquet", "heldout/00000.parquet"][number % 2]
    data = bytearray(path.read_bytes())
    if number % 3:
        data[random.integers(len(data))] ^= 1 << int(random.integers(8))
    else:
        data = data[: random.integers(len(data))]
    path.write_bytes(data)
    if lazily:
        monkeypatch.setattr(module, "HASH_AT_OPEN_BYTES", 0)
    with pytest.raises(CorruptError, match=str(path.relative_to(copy))):
        list(Dataset.open(copy))


def test_missing_files_and_false_sums_are_found(copy: Path) -> None:
    facts = json.loads((copy / "dataset.json").read_text())
    (copy / "dataset.json").write_text(json.dumps(facts | {"kept": 119}))
    with pytest.raises(CorruptError, match=r"dataset\.json"):
        Dataset.open(copy)
    module.storage.write_manifest(copy)
    with pytest.raises(DatasetError, match="rows in must be rows kept"):
        Dataset.open(copy)
    (copy / "dataset.json").write_text(json.dumps(facts))
    module.storage.write_manifest(copy)
    (copy / "dropped" / "00000.parquet").unlink()
    with pytest.raises(CorruptError, match="missing"):
        Dataset.open(copy)


def test_a_picture_of_the_card_counts_too(copy: Path) -> None:
    (copy / "card.md").write_text("nothing to see")
    Dataset.open(copy)
    with pytest.raises(CorruptError, match=r"card\.md"):
        Dataset.open(copy).verify()


def test_one_clear_error_for_what_is_no_dataset(prepared: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="lode prepare SOURCE"):
        Dataset.open(tmp_path / "none")
    with pytest.raises(DatasetError, match="open one of the datasets in it: pets"):
        Dataset.open(prepared.path.parent)
