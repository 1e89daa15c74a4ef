"""The first pass: a partition is read, cleaned, hashed and fingerprinted by one worker into one part file.

A part is an Arrow file in the work folder: every raw row with its normal form, or with the reason it is dropped. It is
renamed into place when whole and named with its hash in a record beside it, so a run killed at any instant takes up at
the first part that is missing or does not match. Nothing but the record travels between processes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from motherlode import registry, storage
from motherlode.data.arrow import blobs, fixed_bytes, numbers, texts
from motherlode.data.raw import Job, Row
from motherlode.data.readers import read
from motherlode.data.source import Partition
from motherlode.data.spans import HEADER_BYTES
from motherlode.data.step import CLEAN, READ
from motherlode.errors import CorruptError
from motherlode.modality import Examination, Modality

KEPT_DROPPED_BYTES = 16 << 20
"""A dropped file above this is kept as its first `HEADER_BYTES` only."""
BOMB = "decompression_bomb"
MEASURED = "measured."
"""Prefix of the modality's own columns in a part."""


@dataclass(frozen=True)
class PartTask:
    """One partition to be turned into one part."""

    index: int
    partition: Partition
    folder: str
    modality: str
    clean: Any
    max_bytes: int
    with_features: bool

    @property
    def path(self) -> Path:
        """Where the part goes."""
        return part_path(Path(self.folder), self.index)


@dataclass(frozen=True)
class PartRecord:
    """What is known of a part without opening it."""

    index: int
    num_rows: int
    digest: str
    reasons: dict[str, int]
    notes: dict[str, int]


def part_path(folder: Path, index: int) -> Path:
    """The file of part `index`."""
    return folder / f"{index:06d}.arrow"


def once(path: Path, record_path: Path, build: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Build a file unless an earlier run left it whole; return its record, which gains the file's `digest`.

    Args:
        path: the file; it appears only when complete.
        record_path: JSON beside it, written last.
        build: writes the file to the path given and returns its record.

    Raises:
        StorageError: the disk is full; the unfinished file is removed.
    """
    if path.is_file() and record_path.is_file():
        try:
            record: dict[str, Any] = storage.read_json(record_path)
            if storage.hash_file(path) == record["digest"]:
                return record
        except (CorruptError, KeyError, TypeError):
            pass
    # Beside the record: what a kill leaves there does not become part of the dataset.
    temporary = record_path.with_suffix(f".{os.getpid()}.tmp")
    try:
        record = build(temporary)
        record["digest"] = storage.hash_file(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise storage.explain(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)
    # Not fsynced, as the file is not: what a power cut tears is made again.
    storage.write_json(record_path, record, durable=False)
    return record


def make_part(task: PartTask) -> PartRecord:
    """Read and clean a partition, or take the part an earlier run left if it is whole."""
    modality: Modality = registry.find("modality", task.modality)

    def build(path: Path) -> dict[str, Any]:
        reasons: Counter[str] = Counter()
        notes: Counter[str] = Counter()
        num_rows = _write(path, examined(task, modality, reasons, notes), task.partition.source)
        return {"index": task.index, "num_rows": num_rows, "reasons": dict(reasons), "notes": dict(notes)}

    return PartRecord(**once(task.path, task.path.with_suffix(".json"), build))


def examined(task: PartTask, modality: Modality, reasons: Counter[str], notes: Counter[str]) -> Iterator[Any]:
    """Record batches of the task's partition, at least one; `reasons` and `notes` are counted up as they pass."""
    chunks = read(Job(task.partition, modality, task.max_bytes))
    for chunk in chain([next(chunks, [])], chunks):
        batch, found = _examine(chunk, modality, task.clean, notes, task.with_features)
        reasons.update(reason for reason in found if reason is not None)
        yield batch


def read_part(path: Path) -> Any:
    """A part as an Arrow reader over mapped memory: columns cost nothing until they are touched."""
    return _open_part(path)[0]


def where_media_lie(path: Path) -> list[tuple[int, NDArray[np.int32]]]:
    """For each record batch of a part the byte of the file at which its media begin, and their bounds from there on."""
    reader, first_address = _open_part(path)
    found = []
    for number in range(reader.num_record_batches):
        media = reader.get_batch(number).column("media")
        _, bounds, data = media.buffers()
        bounds_R1 = np.frombuffer(bounds, np.int32)[media.offset : media.offset + len(media) + 1].copy()
        found.append((data.address - first_address if data else 0, bounds_R1))
    return found


def _open_part(path: Path) -> tuple[Any, int]:
    """An Arrow reader over mapped memory, and the address at which that begins."""
    import pyarrow as pa

    try:
        mapped = pa.memory_map(str(path))
        first_address = int(mapped.read_buffer().address)
        mapped.seek(0)
        return pa.ipc.open_file(mapped), first_address
    except (pa.ArrowException, OSError) as error:
        raise CorruptError("a part must be a whole Arrow file", str(path), "delete it and run again") from error


def _write(path: Path, batches: Iterator[Any], source: str) -> int:
    import pyarrow as pa

    first = next(batches)
    num_rows = 0
    with (
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, first.schema.with_metadata({"source": source})) as file,
    ):
        for batch in chain([first], batches):
            file.write_batch(batch)
            num_rows += int(batch.num_rows)
    return num_rows


def _examine(
    chunk: Sequence[Row], modality: Modality, clean: Any, notes: Counter[str], with_features: bool
) -> tuple[Any, list[str | None]]:
    fit = [place for place, row in enumerate(chunk) if row.reason is None]
    found = modality.examine([chunk[place].media for place in fit], clean)
    notes.update(found.notes)
    media = [row.media for row in chunk]
    reasons = [row.reason for row in chunk]
    steps: list[str | None] = [None if row.reason is None else READ for row in chunk]
    for place, normal, reason in zip(fit, found.media, found.reasons):
        media[place], reasons[place] = normal, reason
        if reason is not None:
            steps[place] = CLEAN
    for place, reason in enumerate(reasons):
        if reason is not None and (reason == BOMB or len(media[place]) > KEPT_DROPPED_BYTES):
            media[place] = media[place][:HEADER_BYTES]
        if reason is not None and modality.stored == "text":
            media[place] = _readable(media[place])
    features_FD = np.asarray(modality.features(found.thumbs_NT), np.float32) if with_features else None
    return _batch(chunk, fit, media, reasons, steps, found, features_FD), reasons


def _readable(media: bytes) -> bytes:
    """Text as it is; of what is no UTF-8, as much of the beginning as can be read."""
    try:
        media.decode()
    except UnicodeDecodeError:
        return media[:HEADER_BYTES].decode("utf-8", "replace").encode()
    return media


def _batch(
    chunk: Sequence[Row],
    fit: list[int],
    media: list[bytes],
    reasons: list[str | None],
    steps: list[str | None],
    found: Examination,
    features_FD: NDArray[np.float32] | None,
) -> Any:
    import pyarrow as pa

    digests = b"".join(map(xxhash.xxh3_128_digest, media))
    columns: dict[str, Any] = {
        "uri": texts([row.uri for row in chunk]),
        "media": blobs(media),
        "reason": texts(reasons),
        "step": texts(steps),
        "detail": texts([row.detail for row in chunk]),
        "label": texts([row.label for row in chunk]),
        "caption": texts([row.caption for row in chunk]),
        "licence": texts([row.licence for row in chunk]),
        "id": fixed_bytes(np.frombuffer(digests, np.uint8).reshape(-1, 16)),
    }
    for name, rows_FD in (("fingerprint", found.fingerprints_NK), ("thumb", found.thumbs_NT), ("feature", features_FD)):
        if rows_FD is not None and rows_FD.shape[1]:
            columns[name] = fixed_bytes(_scattered(rows_FD, fit, len(chunk)))
    for name, values in found.columns.items():
        whole = _scattered(values, fit, len(chunk))
        columns[MEASURED + name] = texts(whole.tolist()) if whole.dtype.kind == "U" else numbers(whole)
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _scattered(values: NDArray[Any], fit: list[int], num_rows: int) -> NDArray[Any]:
    """Values of the rows that were examined among all rows; zero (or empty) elsewhere."""
    if len(fit) == num_rows:
        return values
    whole = np.zeros((num_rows, *values.shape[1:]), values.dtype)
    whole[fit] = values
    return whole
