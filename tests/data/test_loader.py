from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from motherlode import registry
from motherlode.data import loader as module
from motherlode.data.dataset import Dataset
from motherlode.data.loader import Loader
from motherlode.errors import CorruptError, DatasetError
from motherlode.modality import SampleSpec

SPEC = SampleSpec("image", (3, 16, 16), 2)


@pytest.fixture
def dataset(prepared: Dataset, tmp_path: Path) -> Dataset:
    shutil.copytree(prepared.path, tmp_path / "copy", ignore=shutil.ignore_patterns(".cache"))
    return Dataset.open(tmp_path / "copy")


def test_samples_are_the_decoded_rows(dataset: Dataset) -> None:
    loader = Loader(dataset, "train", SPEC, seed=0, batch=8)
    image = registry.find("modality", "image")
    samples, labels, rows = loader.draw(3)
    assert (samples.dtype, samples.shape, rows.dtype) == (np.uint8, (8, 3, 16, 16), np.int64)
    assert labels is not None
    originals = list(dataset.split("train").rows())
    for sample, label, row in zip(samples, labels, rows):
        assert np.array_equal(sample, image.decode(originals[row]["image"]["bytes"], SPEC))
        assert label == originals[row]["label"]
    again, _ = loader.take(rows)
    assert np.array_equal(again, samples)


def test_draws_are_a_pure_function(dataset: Dataset) -> None:
    first, second = (Loader(dataset, "train", SPEC, seed=5, batch=7) for _ in range(2))
    for index in (40, 3, 17, 3):
        assert np.array_equal(first.draw(index)[2], second.draw(index)[2])
    other = Loader(dataset, "train", SPEC, seed=6, batch=7)
    assert not np.array_equal(other.draw(3)[2], first.draw(3)[2])


@pytest.mark.parametrize("batch", [5, 32, 500])
def test_every_epoch_holds_every_row_once(dataset: Dataset, batch: int) -> None:
    loader = Loader(dataset, "train", SPEC, seed=0, batch=batch)
    stream = np.concatenate([loader.draw(index)[2] for index in range(3 * len(loader) // batch + 2)])
    epochs = [stream[e * len(loader) : (e + 1) * len(loader)] for e in range(3)]
    for epoch in epochs:
        assert np.array_equal(np.sort(epoch), np.arange(len(loader)))
    assert not np.array_equal(epochs[0], epochs[1])


@pytest.mark.parametrize("world", [1, 2, 4])
def test_the_batch_does_not_depend_on_the_number_of_ranks(dataset: Dataset, world: int) -> None:
    whole = Loader(dataset, "train", SPEC, seed=0, batch=12)
    ranks = [Loader(dataset, "train", SPEC, seed=0, batch=12, rank=rank, world=world) for rank in range(world)]
    for index in (0, 11, 25):
        parts = np.concatenate([rank.draw(index)[2] for rank in ranks])
        assert np.array_equal(parts, whole.draw(index)[2])


def test_subsets_are_nested_and_stratified(dataset: Dataset) -> None:
    rows = {n: set(Loader(dataset, "train", SPEC, seed=0, batch=2, num_samples=n).rows) for n in (10, 30, 60)}
    assert rows[10] < rows[30] < rows[60]
    labels = dataset.split("train").column("label")
    share = labels.mean()
    for size, chosen in rows.items():
        assert len(chosen) == size
        assert abs(labels[sorted(chosen)].sum() - share * size) <= 1.5
    other = set(Loader(dataset, "train", SPEC, seed=1, batch=2, num_samples=30).rows)
    assert other != rows[30]
    loader = Loader(dataset, "train", SPEC, seed=0, batch=10, num_samples=10)
    assert set(loader.draw(4)[2]) == rows[10]
    with pytest.raises(DatasetError, match="larger than the split"):
        Loader(dataset, "train", SPEC, seed=0, batch=2, num_samples=1000)


def test_a_flipped_bit_in_the_cache_is_found_and_mended(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Loader(dataset, "train", SPEC, seed=0, batch=8).draw(0)[0].copy()
    (cache,) = (dataset.path / ".cache").glob("train-3x16x16-*/samples.u8")
    whole = cache.read_bytes()
    decoded: list[str] = []
    decode = module._decode_piece
    monkeypatch.setattr(module, "_decode_piece", lambda piece: (decoded.append(piece.shard), decode(piece))[1])
    Loader(dataset, "train", SPEC, seed=0, batch=8)
    assert not decoded
    for damage in (bytes([whole[0] ^ 1]) + whole[1:], whole[:100], whole + b"x", b""):
        cache.write_bytes(damage)
        assert np.array_equal(Loader(dataset, "train", SPEC, seed=0, batch=8).draw(0)[0], before)
        assert cache.read_bytes() == whole
    (cache.parent / "cache.json").write_text("{torn")
    Loader(dataset, "train", SPEC, seed=0, batch=8)
    assert len(decoded) == 5


def test_a_damaged_shard_never_becomes_a_cache(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from motherlode.data import dataset as opening

    path = dataset.path / "train" / "00000.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)
    monkeypatch.setattr(opening, "HASH_AT_OPEN_BYTES", 0)
    with pytest.raises(CorruptError, match=r"train/00000\.parquet"):
        Loader(Dataset.open(dataset.path), "train", SPEC, seed=0, batch=8)


def test_unlabelled_models_get_no_labels(dataset: Dataset) -> None:
    assert Loader(dataset, "heldout", SampleSpec("image", (1, 16, 16)), seed=0, batch=4).draw(0)[1] is None


def test_ranks_must_share_evenly(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="evenly"):
        Loader(dataset, "train", SPEC, seed=0, batch=10, world=3)


def test_an_empty_split_is_refused(tmp_path: Path, pets: Path) -> None:
    from motherlode.data.prepare import prepare

    dataset = prepare(pets, out=tmp_path / "d", heldout=0, workers=1)
    assert len(dataset.split("heldout")) == 0
    assert len(Loader(dataset, "train", SPEC, seed=0, batch=4)) == 120
    with pytest.raises(DatasetError, match="must hold rows"):
        Loader(dataset, "heldout", SPEC, seed=0, batch=4)
