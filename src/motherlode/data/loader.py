"""Batches as a pure function of (seed, index), from samples decoded once.

The split is decoded into one uint8 array on disk, shard by shard and in parallel, and mapped; a hash a shard finds a
flipped bit when the loader opens, and that shard alone is decoded again. After that a batch is one gather: what it
costs is room, one byte a value (60,000 samples of 32x32 grey: 61 MB). The cache lies in the dataset's folder, or in
the user's cache where that cannot be written.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode import registry, storage
from motherlode.data.dataset import Dataset, read_shard
from motherlode.errors import CorruptError, DatasetError, LockedError
from motherlode.execute import map_ordered, num_cores
from motherlode.modality import SampleSpec
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
        self._samples = open_cache(dataset, split, spec, workers=workers)
        labels = dataset.split(split).column("label") if dataset.labels else None
        self._labels = None if labels is None or not spec.num_labels else labels.astype(np.int64)
        self._rows = _subset(len(self._samples), labels, num_samples, seed)
        self._epoch = lru_cache(maxsize=2)(self._permutation)

    def __len__(self) -> int:
        return len(self._rows)

    def draw(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None, NDArray[np.int64]]:
        """Batch `index` of an endless stream: epoch after epoch, each row once an epoch, in a fresh order.

        Args:
            index: non-negative. The batch over all ranks does not depend on how many there are.

        Returns:
            samples uint8 (b, *spec.shape), labels int64 (b,) or None, rows of the split int64 (b,); b = batch / world.
        """
        positions = positions_of(index, self.batch, self.rank, self.world)
        epochs = positions // len(self._rows)
        rows = np.empty(len(positions), np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            rows[here] = self._epoch(int(epoch))[positions[here] - epoch * len(self._rows)]
        samples, labels = self.take(rows)
        return samples, labels, rows

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
        """Samples and labels of given rows of the split."""
        chosen = np.asarray(rows, np.int64)
        return self._samples[chosen], None if self._labels is None else self._labels[chosen]

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


def open_cache(dataset: Dataset, split: str, spec: SampleSpec, *, workers: int | None = None) -> NDArray[np.uint8]:
    """The split decoded to (N, *spec.shape), mapped from disk; built, or mended, where it must be.

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
    return np.memmap(cache.path, np.uint8, "r", shape=(cache.num_rows, *spec.shape))


@dataclass(frozen=True)
class _Piece:
    """One shard's stretch of the cache."""

    dataset: str
    shard: str
    first: int
    num_rows: int
    cache: str
    total_rows: int
    spec: SampleSpec
    column: str


class _Cache:
    """The file of decoded samples of one split and shape, and its hashes."""

    def __init__(self, dataset: Dataset, split: str, spec: SampleSpec) -> None:
        self.dataset, self.spec = dataset, spec
        self.shards = [shard for shard in dataset.split(split).shards if shard["rows"]]
        self.num_rows = sum(shard["rows"] for shard in self.shards)
        content = json.dumps([dataset.id, split, spec.shape, self.shards], sort_keys=True)
        key = storage.hash_bytes(content.encode())[:12]
        self.folder = cache_home(dataset) / f"{split}-{'x'.join(map(str, spec.shape))}-{key}"
        self.path = self.folder / "samples.u8"
        self.facts = self.folder / "cache.json"

    def pieces(self) -> list[_Piece]:
        starts = np.cumsum([0, *(shard["rows"] for shard in self.shards)]).tolist()
        folder, path = str(self.dataset.path), str(self.path)
        return [
            _Piece(folder, s["path"], first, s["rows"], path, self.num_rows, self.spec, self.dataset.column)
            for s, first in zip(self.shards, starts)
        ]

    def damaged(self) -> list[_Piece]:
        """The pieces that are not there or not as written."""
        num_bytes = self.num_rows * int(np.prod(self.spec.shape))
        try:
            digests = storage.read_json(self.facts)["digests"]
            if self.path.stat().st_size != num_bytes:
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
                os.posix_fallocate(file.fileno(), 0, self.num_rows * int(np.prod(self.spec.shape)))
                file.truncate(self.num_rows * int(np.prod(self.spec.shape)))
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
    row = 0
    for batch in read_shard(Path(piece.dataset) / piece.shard, [f"{piece.column}.bytes"]):
        for item in batch.column(piece.column):
            target[row] = modality.decode(item["bytes"].as_py(), piece.spec)
            row += 1
    target.flush()
    return _digest(piece)


def _stretch(piece: _Piece, mode: Any) -> Any:
    sample_bytes = int(np.prod(piece.spec.shape))
    shape = (piece.num_rows, *piece.spec.shape)
    return np.memmap(piece.cache, np.uint8, mode, offset=piece.first * sample_bytes, shape=shape)


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
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "motherlode" / dataset.id
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
