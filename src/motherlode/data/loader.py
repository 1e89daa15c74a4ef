"""Batches as a pure function of (seed, index), from samples decoded once.

The split is decoded into one array on disk, shard by shard and in parallel, and mapped; a hash a shard finds a flipped
bit when the loader opens, and that shard alone is decoded again. After that a batch is one gather: what it costs is
room, one byte a value (60,000 samples of 32x32 grey: 61 MB). The cache lies in the dataset's folder, or in the user's
cache where that cannot be written.

Ragged samples (sound) lie in it whole, one after another, two bytes a value, whatever the window that a model sees; a
batch takes a window of each, at a place that is a pure function of (seed, index) where the sample is longer, with zeros
after it where it is shorter.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode import registry, storage
from motherlode.data.dataset import Dataset, read_shard
from motherlode.errors import CorruptError, DatasetError, LockedError
from motherlode.execute import map_ordered, num_cores
from motherlode.modality import Modality, SampleSpec
from motherlode.randomness import numpy_generator

_IN_PROCESS_ROWS = 4096
_WAIT_SEC = 0.2


class Loader:
    """Draws batches of decoded samples.

    Args:
        dataset: a prepared dataset.
        split: "train" or "heldout".
        spec: the shape of a sample.
        seed: decides the order and the subset.
        batch: samples a draw, over all ranks.
        num_samples: use a random subset of this many rows, stratified by label; smaller ones lie within larger ones.
        rank: which part of each batch this process takes.
        world: how many processes share a batch.
        workers: processes that decode, the first time.

    Raises:
        DatasetError: more samples are wanted than there are, or ranks do not divide the batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        spec: SampleSpec,
        *,
        seed: int,
        batch: int,
        num_samples: int | None = None,
        rank: int = 0,
        world: int = 1,
        workers: int | None = None,
    ) -> None:
        check_batch(batch, world)
        self.dataset, self.spec, self.seed = dataset, spec, seed
        self.batch, self.rank, self.world = batch, rank, world
        self._samples = open_samples(dataset, split, spec, workers=workers)
        labels = dataset.split(split).column("label") if dataset.labels else None
        self._labels = None if labels is None or not spec.num_labels else labels.astype(np.int64)
        self._rows = _subset(len(self._samples), labels, num_samples, seed)
        self._epoch = lru_cache(maxsize=2)(self._permutation)

    def __len__(self) -> int:
        return len(self._rows)

    def draw(self, index: int) -> tuple[NDArray[Any], NDArray[np.int64] | None, NDArray[np.int64]]:
        """Batch `index` of an endless stream: epoch after epoch, each row once an epoch, in a fresh order.

        Args:
            index: non-negative. The batch over all ranks does not depend on how many there are.

        Returns:
            samples of the modality's dtype (b, *spec.shape), labels int64 (b,) or None, rows of the split int64 (b,);
            b = batch / world.
        """
        positions = positions_of(index, self.batch, self.rank, self.world)
        epochs = positions // len(self._rows)
        rows = np.empty(len(positions), np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            rows[here] = self._epoch(int(epoch))[positions[here] - epoch * len(self._rows)]
        if isinstance(self._samples, Ragged):
            first = self.rank * len(rows)
            place_B = numpy_generator(self.seed, "windows", index).random(self.batch)[first : first + len(rows)]
            samples = self._samples.windows(rows, self.spec.shape[-1], place_B)
        else:
            samples = self._samples[rows]
        return samples, self._labels_of(rows), rows

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> tuple[NDArray[Any], NDArray[np.int64] | None]:
        """Samples and labels of given rows of the split; of ragged ones the beginning."""
        chosen = np.asarray(rows, np.int64)
        if isinstance(self._samples, Ragged):
            return self._samples.windows(chosen, self.spec.shape[-1]), self._labels_of(chosen)
        return self._samples[chosen], self._labels_of(chosen)

    def _labels_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        return None if self._labels is None else self._labels[rows]

    @property
    def rows(self) -> NDArray[np.int64]:
        """Rows of the split that are in use, ascending."""
        return self._rows

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        return numpy_generator(self.seed, "batch order", epoch).permutation(self._rows)


def check_batch(batch: int, world: int) -> None:
    """Raise a `DatasetError` unless `world` ranks share a batch evenly."""
    if batch < 1 or batch % world:
        raise DatasetError("ranks must share a batch evenly", f"batch {batch}, {world} ranks", "change the batch")


def positions_of(index: int, batch: int, rank: int, world: int) -> NDArray[np.int64]:
    """Places in the endless stream of samples that a rank takes in batch `index`, int64 (batch / world,)."""
    share = batch // world
    first = index * batch + rank * share
    return np.arange(first, first + share, dtype=np.int64)


class Ragged(Sequence[NDArray[Any]]):
    """Whole samples of any length, mapped from one file: item `row` is (C, t).

    Args:
        values: all samples' values, one sample after another, each channel by channel.
        starts_N1: where each sample's values begin, and the end of the last.
        channels: C of all samples.
    """

    def __init__(self, values: NDArray[Any], starts_N1: NDArray[np.int64], channels: int) -> None:
        self.values, self.starts_N1, self.channels = values, starts_N1, channels

    def __len__(self) -> int:
        return len(self.starts_N1) - 1

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[number] for number in range(*row.indices(len(self)))]
        row = range(len(self))[row]
        return self.values[self.starts_N1[row] : self.starts_N1[row + 1]].reshape(self.channels, -1)

    def windows(self, rows: NDArray[np.int64], length: int, place_B: NDArray[np.float64] | None = None) -> NDArray[Any]:
        """A window of each of some samples, zeros behind those that are shorter.

        Args:
            rows: which, (B,).
            length: of a window.
            place_B: where it lies, in [0, 1) of the room there is; None: at the beginning.

        Returns:
            (B, C, length) of the samples' dtype.
        """
        result = np.zeros((len(rows), self.channels, length), self.values.dtype)
        for number, row in enumerate(rows.tolist()):
            sample_CT = self[row]
            room = max(sample_CT.shape[1] - length, 0)
            start = 0 if place_B is None else int(place_B[number] * (room + 1))
            window_CT = sample_CT[:, start : start + length]
            result[number, :, : window_CT.shape[1]] = window_CT
        return result


def whole_samples(dataset: Dataset, split: str, spec: SampleSpec, *, workers: int | None = None) -> Sequence[Any]:
    """Every sample of a split, whole: item `row` is (C, t) where samples are ragged, else of `spec.shape`.

    Args:
        dataset: a prepared dataset.
        split: "train" or "heldout".
        spec: channels, rate and, where samples are not ragged, the shape they are decoded to.
        workers: processes that decode, the first time.

    Raises:
        DatasetError: the split is empty.
    """
    samples: Sequence[Any] = open_samples(dataset, split, spec, workers=workers)
    return samples


def open_samples(dataset: Dataset, split: str, spec: SampleSpec, *, workers: int | None = None) -> Any:
    """The split decoded, mapped from disk; built, or mended, where it must be.

    Returns:
        An array (N, *spec.shape), or `Ragged` samples where the modality's are of any length.

    Raises:
        CorruptError: a shard of the dataset is not as it was written.
        StorageError: the disk is full.
    """
    cache = _Cache(dataset, split, spec)
    if not cache.num_rows:
        raise DatasetError(
            f"the split {split} must hold rows", str(dataset.path), "prepare with another share held out"
        )
    damaged = cache.damaged()
    while damaged:
        try:
            with storage.lock(cache.folder):
                cache.build(cache.damaged(), workers)
            damaged = cache.damaged()
            if damaged:
                raise CorruptError("a cache must read back as written", str(cache.path), "check the disk")
        except LockedError:
            time.sleep(_WAIT_SEC)
            damaged = cache.damaged()
    if cache.is_ragged:
        values = np.memmap(cache.path, cache.dtype, "r", shape=(cache.num_values,))
        return Ragged(values, cache.starts_N1, spec.shape[0])
    return np.memmap(cache.path, cache.dtype, "r", shape=(cache.num_rows, *spec.shape))


@dataclass(frozen=True)
class _Piece:
    """One shard's stretch of the cache: `num_values` values from `first_value` on."""

    dataset: str
    shard: str
    num_rows: int
    first_value: int
    num_values: int
    cache: str
    dtype: str
    spec: SampleSpec
    column: str


class _Cache:
    """The file of decoded samples of one split and shape, and its hashes."""

    def __init__(self, dataset: Dataset, split: str, spec: SampleSpec) -> None:
        modality: Modality = registry.find("modality", spec.modality)
        self.dataset, self.spec, self.is_ragged = dataset, spec, modality.ragged
        self.dtype = np.dtype(modality.dtype)
        self.shards = [shard for shard in dataset.split(split).shards if shard["rows"]]
        self.num_rows = sum(shard["rows"] for shard in self.shards)
        shape: Any = spec.shape
        if self.is_ragged:
            # Whole samples serve windows of any length.
            shape, self.spec = [*spec.shape[:-1], spec.rate], replace(spec, shape=(*spec.shape[:-1], 0))
        content = json.dumps([dataset.id, split, shape, self.shards], sort_keys=True)
        key = storage.hash_bytes(content.encode())[:12]
        self.starts_N1 = self._starts(split, modality)
        self.num_values = int(self.starts_N1[-1])
        self.folder = cache_home(dataset) / f"{split}-{'x'.join(map(str, shape))}-{key}"
        self.path = self.folder / f"samples.{self.dtype.kind}{8 * self.dtype.itemsize}"
        self.facts = self.folder / "cache.json"

    def _starts(self, split: str, modality: Modality) -> NDArray[np.int64]:
        """Where each row's values begin, and the end of the last."""
        if not self.is_ragged:
            return np.arange(self.num_rows + 1, dtype=np.int64) * int(np.prod(self.spec.shape))
        measured = self.dataset.split(split)
        columns = {name: measured.column(name) for name in self.dataset.facts["measured"]}
        sizes = [int(np.prod(shape)) for shape in modality.shapes(columns, self.spec)]
        return np.cumsum([0, *sizes]).astype(np.int64)

    def pieces(self) -> list[_Piece]:
        """A stretch a shard."""
        ends = np.cumsum([0, *(shard["rows"] for shard in self.shards)]).tolist()
        folder, path = str(self.dataset.path), str(self.path)
        found = []
        for shard, first, end in zip(self.shards, ends, ends[1:]):
            start, stop = int(self.starts_N1[first]), int(self.starts_N1[end])
            place = (shard["rows"], start, stop - start)
            found.append(_Piece(folder, shard["path"], *place, path, str(self.dtype), self.spec, self.dataset.column))
        return found

    @property
    def num_bytes(self) -> int:
        """Size of the file."""
        return self.num_values * self.dtype.itemsize

    def damaged(self) -> list[_Piece]:
        """The pieces that are not there or not as written."""
        try:
            digests = storage.read_json(self.facts)["digests"]
            if self.path.stat().st_size != self.num_bytes:
                return self.pieces()
        except (CorruptError, OSError, KeyError, TypeError):
            return self.pieces()
        return [piece for piece in self.pieces() if digests.get(piece.shard) != _digest(piece)]

    def build(self, pieces: Sequence[_Piece], workers: int | None) -> None:
        """Decode pieces into the file and record their hashes."""
        if not pieces:
            return
        digests: dict[str, str] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if len(pieces) < len(self.shards):
                digests = storage.read_json(self.facts)["digests"]
            with open(self.path, "ab") as file:
                os.posix_fallocate(file.fileno(), 0, self.num_bytes)
                file.truncate(self.num_bytes)
        except OSError as error:
            raise storage.explain(error, self.path) from error
        few = sum(piece.num_rows for piece in pieces) < _IN_PROCESS_ROWS
        count = 1 if few else min(workers or num_cores(), len(pieces))
        for piece, digest in zip(pieces, map_ordered(_decode_piece, pieces, workers=count)):
            digests[piece.shard] = digest
        storage.write_json(self.facts, {"digests": digests})


def _decode_piece(piece: _Piece) -> str:
    """Decode one shard into its stretch of the cache; returns the hash of what was written."""
    storage.verify_manifest(Path(piece.dataset), [piece.shard])
    modality = registry.find("modality", piece.spec.modality)
    target = _stretch(piece, "r+")
    place = 0
    for batch in read_shard(Path(piece.dataset) / piece.shard, [f"{piece.column}.bytes"]):
        for item in batch.column(piece.column):
            sample = modality.decode(item["bytes"].as_py(), piece.spec)
            target[place : place + sample.size] = sample.reshape(-1)
            place += sample.size
    target.flush()
    return _digest(piece)


def _stretch(piece: _Piece, mode: Any) -> Any:
    offset = piece.first_value * np.dtype(piece.dtype).itemsize
    return np.memmap(piece.cache, piece.dtype, mode, offset=offset, shape=(piece.num_values,))


def _digest(piece: _Piece) -> str:
    return storage.hash_bytes(_stretch(piece, "r").data)


def cache_home(dataset: Dataset) -> Path:
    """Where what is made from a dataset lies: in its folder where that can be written, else in the user's cache."""
    folder = dataset.path / ".cache"
    try:
        folder.mkdir(exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    home = storage.cache_folder() / dataset.id
    home.mkdir(parents=True, exist_ok=True)
    return home


def _subset(num_rows: int, labels: NDArray[Any] | None, num_samples: int | None, seed: int) -> NDArray[np.int64]:
    """Rows of a random subset, ascending. Every label keeps its share, and a smaller subset lies within a larger one.

    Rows are ranked by (place within their label's shuffled rows) / (size of the label), so any number from the top
    holds every label in proportion.
    """
    if num_samples is None or num_samples == num_rows:
        return np.arange(num_rows)
    if num_samples > num_rows:
        raise DatasetError(
            "a subset must not be larger than the split", f"{num_samples} of {num_rows}", "lower num_samples"
        )
    shuffled = numpy_generator(seed, "subset").permutation(num_rows)
    rank_N = np.empty(num_rows)
    group_N = np.zeros(num_rows, np.int64) if labels is None else labels[shuffled].astype(np.int64)
    for group in np.unique(group_N):
        members = shuffled[group_N == group]
        rank_N[members] = (np.arange(len(members)) + 0.5) / len(members)
    order = shuffled[np.argsort(rank_N[shuffled], kind="stable")]
    return np.sort(order[:num_samples])
