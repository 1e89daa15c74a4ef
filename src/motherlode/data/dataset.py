"""A prepared dataset on disk: immutable, and sure of what it holds.

`Dataset.open` checks the sum of rows and the size and footer of every shard, and hashes all of them where that takes
less than about 50 ms (`HASH_AT_OPEN_BYTES`); larger datasets are hashed shard by shard as they are first read. So a
flipped bit or a missing tail is named before any row of that file reaches a model, and opening a terabyte is instant.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from motherlode import registry, storage
from motherlode.data.arrow import to_numpy
from motherlode.data.step import SPLITS, check_sum
from motherlode.errors import CorruptError, DatasetError
from motherlode.modality import SampleSpec
from motherlode.registry import did_you_mean

FACTS = "dataset.json"
FORMAT = 1
HASH_AT_OPEN_BYTES = 256 << 20
_BATCH_ROWS = 1024


class Dataset:
    """A dataset folder. Made by `prepare`; opened by `Dataset.open`.

    Iterating gives the rows of train, then of held-out, as dicts.
    """

    def __init__(self, path: Path, facts: dict[str, Any], verified: Iterable[str] = ()) -> None:
        self.path = path
        self.facts = facts
        self._verified = set(verified)

    @classmethod
    def open(cls, path: str | Path) -> Dataset:
        """Open a dataset folder.

        Raises:
            DatasetError: there is none at `path`, it is of a newer format, or its counts do not add up.
            CorruptError: a file is missing, cut short or altered; it is named.
        """
        path = Path(path)
        if not (path / FACTS).is_file():
            raise DatasetError("a dataset folder must hold dataset.json", str(path), _why_not(path))
        storage.verify_manifest(path, [FACTS])
        facts = storage.read_json(path / FACTS)
        if facts.get("format") != FORMAT:
            raise DatasetError(
                f"a dataset must be of format {FORMAT}", facts.get("format"), "upgrade motherlode, or prepare it again"
            )
        dataset = cls(path, facts)
        dataset._check()
        return dataset

    @property
    def id(self) -> str:
        """Hash of the rows, their labels and their splits; the same wherever and whenever it was prepared."""
        return str(self.facts["id"])

    @property
    def modality(self) -> str:
        """Registered name of the modality."""
        return str(self.facts["modality"])

    @property
    def labels(self) -> list[str]:
        """Names of the labels, in the order of their numbers; empty where there are none."""
        return list(self.facts["labels"])

    @property
    def column(self) -> str:
        """Column of the media."""
        return str(self.facts["column"])

    def summary(self) -> dict[str, Any]:
        """Counts: rows in, kept, dropped by reason, augmented, and of each split."""
        return {
            "in": self.facts["in"],
            "kept": self.facts["kept"],
            "dropped": dict(self.facts["dropped"]),
            "augmented": self.facts["augmented"],
            "train": len(self.split("train")),
            "heldout": len(self.split("heldout")),
        }

    def split(self, name: str) -> Split:
        """The rows of "train", "heldout", or "dropped" (whose columns tell the reason)."""
        if name not in SPLITS:
            raise DatasetError("a dataset has three splits", name, did_you_mean(name, list(SPLITS)))
        return Split(self, name, [dict(shard) for shard in self.facts["shards"][name]])

    def spec(
        self, *, resolution: int | None = None, channels: int | None = None, seconds: float | None = None
    ) -> SampleSpec:
        """The shape in which a model should see these samples: see `Modality.spec`."""
        modality = registry.find("modality", self.modality)
        train = self.split("train")
        columns = {name: train.column(name) for name in self.facts["measured"]}
        spec: SampleSpec = modality.spec(columns, resolution=resolution, channels=channels, seconds=seconds)
        return replace(spec, num_labels=len(self.labels))

    def __len__(self) -> int:
        return len(self.split("train")) + len(self.split("heldout"))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for name in ("train", "heldout"):
            yield from self.split(name).rows()

    def __repr__(self) -> str:
        return f"Dataset({str(self.path)!r}, {len(self):,} rows, {self.modality}, id {self.id[:8]})"

    def verify(self) -> None:
        """Hash every file.

        Raises:
            CorruptError: naming the first that is not as it was written.
        """
        storage.verify_manifest(self.path)

    def shard_path(self, name: str) -> Path:
        """Path of a shard whose content has been checked against its hash (once an object)."""
        if name not in self._verified:
            storage.verify_manifest(self.path, [name])
            self._verified.add(name)
        return self.path / name

    def _check(self) -> None:
        facts = self.facts
        check_sum(facts["in"], facts["kept"], sum(facts["dropped"].values()))
        shards = [shard for name in SPLITS for shard in facts["shards"][name]]
        total_bytes = 0
        for shard in shards:
            path = self.path / shard["path"]
            if not path.is_file() or path.stat().st_size != shard["file_bytes"]:
                held = f"{path.stat().st_size} bytes" if path.is_file() else "missing"
                raise CorruptError(
                    "a shard must be the size it was written with",
                    f"{path} ({held}, not {shard['file_bytes']})",
                    "restore it or prepare the dataset again",
                )
            total_bytes += shard["file_bytes"]
        if total_bytes <= HASH_AT_OPEN_BYTES:
            for shard in shards:
                self.shard_path(shard["path"])
        held_rows = {name: sum(_num_rows(self.path / s["path"]) for s in facts["shards"][name]) for name in SPLITS}
        check_sum(facts["in"] + facts["augmented"], held_rows["train"] + held_rows["heldout"], held_rows["dropped"])


class Split:
    """The rows of one split, read shard by shard."""

    def __init__(self, dataset: Dataset, name: str, shards: Sequence[dict[str, Any]]) -> None:
        self.dataset = dataset
        self.name = name
        self.shards = shards

    def __len__(self) -> int:
        return sum(int(shard["rows"]) for shard in self.shards)

    @cached_property
    def schema(self) -> Any:
        """Arrow schema of the shards, with the feature types of `datasets` in its metadata."""
        import pyarrow.parquet as pq

        return pq.read_schema(self.dataset.shard_path(self.shards[0]["path"]))

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.schema.names)

    def batches(self, columns: Sequence[str] | None = None, batch_rows: int = _BATCH_ROWS) -> Iterator[Any]:
        """Arrow record batches in the order of the rows.

        Raises:
            CorruptError: a shard is not as it was written; it is named.
        """
        for shard in self.shards:
            yield from read_shard(self.dataset.shard_path(shard["path"]), columns, batch_rows)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rows as dicts; the media column holds {"bytes", "path"}."""
        for batch in self.batches():
            yield from batch.to_pylist()

    def column(self, name: str) -> NDArray[Any]:
        """One column as a NumPy array, whole; nulls are -1 in columns of integers, NaN in floats, None in texts."""
        import pyarrow as pa

        if name not in self.columns:
            raise DatasetError(f"{self.name} must have the column", name, did_you_mean(name, self.columns))
        pieces = [_to_numpy(batch.column(name)) for batch in self.batches([name], 1 << 16)]
        return np.concatenate(pieces) if pieces else _to_numpy(pa.nulls(0, self.schema.field(name).type))

    def __repr__(self) -> str:
        return f"Split({self.name}, {len(self):,} rows)"


def read_shard(path: Path, columns: Sequence[str] | None = None, batch_rows: int = _BATCH_ROWS) -> Iterator[Any]:
    """Record batches of one Parquet file; what Parquet finds wrong with it becomes a `CorruptError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            yield from file.iter_batches(batch_rows, columns=None if columns is None else list(columns))
    except (pa.ArrowException, OSError) as error:
        raise CorruptError(
            "a shard must be readable Parquet", f"{path}: {error}", "prepare the dataset again"
        ) from error


def dataset_id(
    label_names: Sequence[str], ids_N: NDArray[np.void], labels_N: NDArray[np.int32], splits_N: NDArray[np.int8]
) -> str:
    """Hash over the kept rows, sorted: 16-byte ids, labels and splits. Order, paths and times have no part in it."""
    order = np.argsort(ids_N, kind="stable")
    state = xxhash.xxh3_128(json.dumps(list(label_names)).encode())
    for values in (ids_N, labels_N.astype("<i4"), splits_N.astype("i1")):
        state.update(values[order].tobytes())
    return state.hexdigest()


def _to_numpy(column: Any) -> NDArray[Any]:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind):
        return to_numpy(column, np.nan if pa.types.is_floating(kind) else -1 if pa.types.is_integer(kind) else False)
    values = column.to_pylist()
    result = np.empty(len(values), object)
    result[:] = values
    return result


def _num_rows(path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise CorruptError(
            "a shard must be readable Parquet", f"{path}: {error}", "prepare the dataset again"
        ) from error


def _why_not(path: Path) -> str:
    if not path.exists():
        return storage.near_path(path, f"prepare it first: lode prepare SOURCE --out {shlex.quote(str(path))}")
    if path.is_file() and path.suffix in (".yaml", ".yml"):
        return "that is a file: name the dataset's folder"
    beside = Path("datasets") / path.resolve().name
    if (beside / FACTS).is_file():
        return f"did you mean {str(beside)!r}?"
    near = sorted(child.parent.name for child in path.glob(f"*/{FACTS}"))
    if near:
        return f"open one of the datasets in it: {', '.join(near)}"
    return f"prepare it first: lode prepare {shlex.quote(str(path))}"
