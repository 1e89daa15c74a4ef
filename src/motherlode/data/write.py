"""The last pass: decisions are known, and each worker writes whole Parquet shards from the parts.

A shard is a run of rows of one split, at most `SHARD_ROWS` or about `SHARD_BYTES`. Media pass from mapped memory to
the file uncompressed and untouched; texts and the other columns are zstd. The schema carries the feature types that
`datasets` reads, so the folder loads there with images, texts and class names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.data.arrow import numbers, texts
from motherlode.data.parts import MEASURED, PartRecord, once, part_path, read_part
from motherlode.data.step import DROPPED, SPLITS, Rows

SHARD_ROWS = 16_384
SHARD_BYTES = 128 << 20
GROUP_ROWS = 1024
_DECISIONS = ("ids", "labels", "reasons", "steps", "duplicates", "clusters", "suspects", "outliers", "splits")


@dataclass(frozen=True)
class Shape:
    """What all shards of a dataset have in common."""

    parts: str
    decisions: str
    out: str
    column: str
    stored: str
    label_names: tuple[str, ...]
    reason_names: tuple[str, ...]
    step_names: tuple[str, ...]
    licence: str | None


@dataclass(frozen=True)
class ShardTask:
    """One shard: the rows of a split between two global row numbers.

    Args:
        parts: (index, global number of its first row) of the parts that hold them.
    """

    shape: Shape
    split: int
    index: int
    first: int
    end: int
    parts: tuple[tuple[int, int], ...]

    @property
    def name(self) -> str:
        """Path within the dataset."""
        return f"{SPLITS[self.split]}/{self.index:05d}.parquet"


def save_decisions(rows: Rows, folder: Path) -> None:
    """Put what the steps decided where workers can map it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _DECISIONS:
        np.save(folder / f"{name}.npy", getattr(rows, f"{name}_N"))


def plan_shards(rows: Rows, records: Sequence[PartRecord], shape: Shape) -> list[ShardTask]:
    """Cut each split into shards; every split has at least one, if empty."""
    starts = np.cumsum([0, *(record.num_rows for record in records)])
    tasks = []
    for split in range(len(SPLITS)):
        members = np.flatnonzero(rows.splits_N == split)
        ends_M = np.cumsum(rows.num_bytes_N[members])
        start = index = 0
        while start < len(members) or not index:
            full = np.searchsorted(ends_M, (ends_M[start - 1] if start else 0) + SHARD_BYTES) + 1
            stop = min(start + SHARD_ROWS, int(full), len(members))
            first, end = (int(members[start]), int(members[stop - 1]) + 1) if stop > start else (0, 0)
            low, high = np.searchsorted(starts, first, "right") - 1, np.searchsorted(starts, end, "left")
            held = tuple((records[part].index, int(starts[part])) for part in range(int(low), int(high)))
            tasks.append(ShardTask(shape, split, index, first, end, held or ((records[0].index, 0),)))
            start, index = stop, index + 1
    return tasks


def make_shard(task: ShardTask) -> dict[str, Any]:
    """Write a shard, or take the one an earlier run left if it is whole; returns its facts."""
    path = Path(task.shape.out) / task.name
    path.parent.mkdir(parents=True, exist_ok=True)
    record_path = Path(task.shape.decisions) / task.name.replace("/", "-").replace(".parquet", ".json")
    return once(path, record_path, lambda temporary: _write(temporary, task))


def _write(path: Path, task: ShardTask) -> dict[str, Any]:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    num_rows = num_bytes = 0
    writer = None
    try:
        for table in _tables(task):
            if writer is None:
                writer = pq.ParquetWriter(path, table.schema, **layout(table.schema, task.shape.column))
            if table.num_rows:
                writer.write_table(table, row_group_size=GROUP_ROWS)
                num_rows += table.num_rows
                media = table.column(task.shape.column)
                held = media if task.shape.stored == "text" else pc.struct_field(media, "bytes")
                num_bytes += int(pc.sum(pc.binary_length(held)).as_py() or 0)
    finally:
        if writer is not None:
            writer.close()
    return {"path": task.name, "rows": num_rows, "media_bytes": num_bytes} | file_facts(path)


def file_facts(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a finished file, for `dataset.json` and Croissant."""
    with path.open("rb") as file:
        return {"file_bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def layout(schema: Any, column: str) -> dict[str, Any]:
    """Parquet settings: media as they are; texts that repeat as dictionaries; statistics of small columns only."""
    leaves = [name for name in schema.names if name != column]
    unique = {"id", "path", "cluster", "parent", "duplicate_of", "caption", "detail"}
    texts = [name for name in leaves if str(schema.field(name).type) == "string" and name not in unique]
    codecs = dict.fromkeys([*leaves, f"{column}.path"], "zstd") | {f"{column}.bytes": "none"}
    if str(schema.field(column).type) == "string":
        codecs = dict.fromkeys(schema.names, "zstd")
    return {"compression": codecs, "use_dictionary": texts, "write_statistics": leaves}


def _tables(task: ShardTask) -> Iterator[Any]:
    """The chosen rows, one table a record batch of the parts; at least one, which may be empty."""
    folder = Path(task.shape.decisions)
    decisions = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _DECISIONS}
    for index, start in task.parts:
        reader = read_part(part_path(Path(task.shape.parts), index))
        source = (reader.schema.metadata or {}).get(b"source", b"").decode()
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            low, high = max(task.first, start), min(task.end, start + batch.num_rows)
            if low < high:
                chosen = np.flatnonzero(np.asarray(decisions["splits"][low:high]) == task.split) + low
            else:
                chosen = np.zeros(0, np.int64)
            if len(chosen) or task.first == task.end:
                yield _table(task, batch, chosen - start, {n: d[chosen] for n, d in decisions.items()}, source, folder)
            if task.first == task.end:
                return
            start += batch.num_rows


def _table(
    task: ShardTask, batch: Any, places: NDArray[np.int64], decided: dict[str, NDArray[Any]], source: str, folder: Path
) -> Any:
    """Rows of one split, in the columns of the dataset."""
    import pyarrow as pa
    import pyarrow.compute as pc

    shape, num_rows = task.shape, len(places)
    taken = batch.select([n for n in batch.schema.names if n not in ("fingerprint", "thumb", "id")]).take(
        numbers(places)
    )
    licences = taken.column("licence")
    if shape.licence is not None:
        licences = pc.coalesce(licences, texts([shape.licence] * num_rows))
    media = taken.column("media")
    columns: dict[str, Any] = {"id": hex_ids(decided["ids"])}
    if shape.stored == "text":
        columns |= {shape.column: media.cast(pa.string()), "path": taken.column("uri")}
    else:
        columns[shape.column] = media_struct(media, taken.column("uri"))
    columns |= {
        "label": taken.column("label")
        if task.split == DROPPED
        else numbers(decided["labels"].astype(np.int64), decided["labels"] < 0),
        "caption": taken.column("caption"),
        "licence": licences,
        "source": texts([source] * num_rows),
    }
    measured = {n.removeprefix(MEASURED): taken.column(n) for n in taken.schema.names if n.startswith(MEASURED)}
    verdicts = _verdicts(task, taken, decided, np.load(folder / "ids.npy", mmap_mode="r"))
    columns |= measured | verdicts if shape.stored == "text" else verdicts | measured
    table = pa.table(columns)
    names = () if task.split == DROPPED else shape.label_names
    return table.replace_schema_metadata(features_metadata(table.schema, shape.column, names))


def _verdicts(task: ShardTask, taken: Any, decided: dict[str, NDArray[Any]], ids: NDArray[np.void]) -> dict[str, Any]:
    """The columns that say what the steps found."""
    import pyarrow as pa

    if task.split == DROPPED:
        return {
            "reason": _named(decided["reasons"], task.shape.reason_names),
            "step": _named(decided["steps"], task.shape.step_names),
            "detail": taken.column("detail"),
            "duplicate_of": _ids_at(ids, decided["duplicates"]),
        }
    found = {
        "cluster": _ids_at(ids, decided["clusters"]),
        "label_suspect": numbers(decided["suspects"]),
        "outlier": numbers(decided["outliers"], np.isnan(decided["outliers"])),
    }
    if task.shape.stored == "text":
        return found
    return found | {name: pa.nulls(taken.num_rows, pa.string()) for name in ("parent", "transformation")}


def hex_ids(ids_N: NDArray[np.void], is_null: NDArray[np.bool_] | None = None) -> Any:
    """16-byte ids as an Arrow array of 32 hex digits, without a Python object a row."""
    import pyarrow as pa

    text = np.ascontiguousarray(ids_N).tobytes().hex().encode()
    ends = np.arange(len(ids_N) + 1, dtype=np.int32) * 32
    validity = None if is_null is None else pa.py_buffer(np.packbits(~is_null, bitorder="little"))
    return pa.StringArray.from_buffers(len(ids_N), pa.py_buffer(ends), pa.py_buffer(text), validity)


def media_struct(media: Any, paths: Any) -> Any:
    """The struct {bytes, path} that readers of media columns expect."""
    import pyarrow as pa

    return pa.StructArray.from_arrays([media, paths], names=["bytes", "path"])


def features_metadata(schema: Any, column: str, label_names: Sequence[str]) -> dict[str, str]:
    """Schema metadata in which `datasets` finds the types of the columns."""
    features: dict[str, Any] = {}
    for name, kind in zip(schema.names, schema.types):
        features[name] = {"dtype": str(kind).replace("float", "float32"), "_type": "Value"}
        if str(kind) == "double":
            features[name]["dtype"] = "float64"
    if features[column]["dtype"] != "string":
        features[column] = {"_type": column.capitalize()}
    if label_names:
        features["label"] = {"names": list(label_names), "_type": "ClassLabel"}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def _named(codes_N: NDArray[np.integer[Any]], names: Sequence[str]) -> Any:
    return texts([names[code] for code in codes_N.tolist()])


def _ids_at(ids_N: NDArray[np.void], rows: NDArray[np.int64]) -> Any:
    """Ids of the rows named, null for -1."""
    return hex_ids(ids_N[np.maximum(rows, 0)], is_null=rows < 0)
