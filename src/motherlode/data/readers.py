"""Readers: a partition to chunks of raw rows, in the process that will clean them.

Every reader yields chunks of at most `CHUNK_ROWS` rows or about `CHUNK_BYTES`, so a worker holds one chunk whatever the
size of the file: less than a partition, for the lossless normal form of a clip is several times what was read. A row
that cannot be had (denied, dangling, outside its folder, behind the damage in a container) comes with the reason
`unreadable` and a detail; no reader raises for bad data.
"""

from __future__ import annotations

import json
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from motherlode.data import text_readers
from motherlode.data.containers import arrow_batches, open_arrow
from motherlode.data.raw import TOO_LARGE, UNREADABLE, Job, Row
from motherlode.data.source import PARTITION_ROWS
from motherlode.data.spans import HEADER_BYTES
from motherlode.storage import open_uri

CHUNK_ROWS, CHUNK_BYTES = 1024, 8 << 20
_MAX_SIDECAR_BYTES = 1 << 20
_DAMAGE = (OSError, EOFError, tarfile.TarError, zlib.error)


def read(job: Job) -> Iterator[list[Row]]:
    """The rows of a partition in chunks of at most `CHUNK_ROWS` rows or about `CHUNK_BYTES`."""
    chunk: list[Row] = []
    num_bytes = 0
    for row in islice(_READERS[job.partition.kind](job), job.partition.first_rows or None):
        chunk.append(row)
        num_bytes += len(row.media)
        if len(chunk) >= CHUNK_ROWS or num_bytes >= CHUNK_BYTES:
            yield chunk
            chunk, num_bytes = [], 0
    if chunk:
        yield chunk


def _read_broken(job: Job) -> Iterator[Row]:
    for path, why in job.partition.items:
        yield Row(path, b"", reason=UNREADABLE, detail=why)


def _read_files(job: Job) -> Iterator[Row]:
    for path, size, _, label, caption, licence, sidecars in job.partition.items:
        media, reason, detail = _read_file(job, path, size)
        for ending in sidecars.split():
            beside = _sidecar(job.path(os.path.splitext(path)[0] + ending))
            label, caption, licence = beside[0] or label, beside[1] or caption, beside[2] or licence
        yield Row(path, media, label, caption, licence, reason, detail)


def _read_file(job: Job, path: str, size: int) -> tuple[bytes, str | None, str | None]:
    """(bytes, reason, detail) of one file; sized before it is read."""
    if size < 0:
        return b"", UNREADABLE, "no such file, or not a regular one"
    where = job.path(path)
    if not job.partition.trusted and _leaves(job.partition.root, path):
        return b"", UNREADABLE, "the path leaves the source's folder (trust_paths allows that)"
    try:
        if "://" not in where:
            with open(where, "rb") as file:
                return _limited(file, os.fstat(file.fileno()).st_size, job.max_bytes)
        with open_uri(path if "://" in path else where) as file:
            return _limited(file, size, job.max_bytes)
    except (OSError, ValueError, ImportError) as error:
        return b"", UNREADABLE, f"{type(error).__name__}: {error}"


def _limited(file: Any, size: int, max_bytes: int) -> tuple[bytes, str | None, str | None]:
    if size > max_bytes:
        return file.read(HEADER_BYTES), TOO_LARGE, f"{size} bytes"
    media = file.read(max_bytes + 1)
    if len(media) > max_bytes:
        return media[:HEADER_BYTES], TOO_LARGE, f"more than {max_bytes} bytes"
    return media, None, None


def _leaves(root: str, path: str) -> bool:
    """Whether a path written in data points outside the folder of that data."""
    if "://" in path or path.startswith(("/", "\\", "~")):
        return True
    if "://" in root:
        return ".." in path.split("/")
    real_root = os.path.realpath(root)
    return os.path.commonpath([real_root, os.path.realpath(os.path.join(root, path))]) != real_root


def _sidecar(path: str) -> tuple[str | None, str | None, str | None]:
    try:
        with open_uri(path) as file:
            return _facts(os.path.splitext(path)[1], file.read(_MAX_SIDECAR_BYTES))
    except OSError:
        return None, None, None


def _facts(ending: str, content: bytes) -> tuple[str | None, str | None, str | None]:
    """(label, caption, licence) from a text or JSON file that goes with a sample."""
    text = content.decode("utf-8", errors="replace").strip()
    if ending != ".json":
        return None, text or None, None
    try:
        facts = json.loads(text)
    except ValueError:
        return None, None, None
    if isinstance(facts, str):
        return None, facts or None, None
    if not isinstance(facts, dict):
        return None, None, None
    return (
        _first(facts, ("label", "class", "category", "class_name")),
        _first(facts, ("caption", "text", "title", "description", "prompt")),
        _first(facts, ("licence", "license", "rights")),
    )


def _first(facts: dict[str, Any], names: Sequence[str]) -> str | None:
    values = (facts.get(name) for name in names)
    return next((str(value) for value in values if isinstance(value, str | int) and str(value)), None)


def _read_parquet(job: Job) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = sorted(set(job.partition.columns.values()))
    for path, _, group, first, end in job.partition.items:
        position = 0
        try:
            with open_uri(job.path(path)) as file, pq.ParquetFile(file) as parquet:
                for batch in parquet.iter_batches(PARTITION_ROWS // 4, row_groups=[group], columns=names):
                    start, stop = max(first - position, 0), min(end - position, batch.num_rows)
                    if start < stop:
                        named = f"{path}#group={group},row={{}}"
                        yield from _rows(job, path, batch.slice(start, stop - start), named, position + start)
                    position += batch.num_rows
                    if position >= end:
                        break
        except (pa.ArrowException, OSError, ValueError) as error:
            # What follows the damage cannot be told apart; each row that should be there is one loss.
            for row in range(max(first, position), end):
                yield Row(f"{path}#group={group},row={row}", b"", reason=UNREADABLE, detail=str(error)[:200])


def _read_arrow(job: Job) -> Iterator[Row]:
    import pyarrow as pa

    for path, _, first, end in job.partition.items:
        try:
            with open_uri(job.path(path)) as file:
                for number, batch in enumerate(arrow_batches(open_arrow(file))):
                    if first <= number < end:
                        yield from _rows(job, path, batch, f"{path}#batch={number},row={{}}", 0)
        except (pa.ArrowException, OSError, ValueError) as error:
            yield Row(f"{path}#batches={first}-{end}", b"", reason=UNREADABLE, detail=str(error)[:200])


def _rows(job: Job, path: str, batch: Any, named: str, first: int) -> Iterator[Row]:
    """Rows of an Arrow batch: media may be text, bytes, a {bytes, path} struct, or a path.

    Args:
        named: how a row of texts is called by its number.
        first: number of the batch's first row.
    """
    columns = job.partition.columns
    if "text" in columns:
        yield from text_readers.batch_rows(job, batch, named, first)
        return
    media, names = _media(batch.column(columns["media"]))
    texts = [
        text_readers.plain_cells(batch, columns.get(role), job.partition.label_names)
        for role in ("label", "caption", "licence")
    ]
    for number, (data, name, label, caption, licence) in enumerate(zip(media, names, *texts)):
        reason = detail = None
        if data is None and name:
            data, reason, detail = _read_file(job, name, 0)
        elif data is None:
            data, reason, detail = b"", UNREADABLE, "the cell is empty"
        elif len(data) > job.max_bytes:
            data, reason, detail = data[:HEADER_BYTES], TOO_LARGE, f"{len(data)} bytes"
        yield Row(name or f"{path}#{number}", data, label, caption, licence, reason, detail)


def _media(column: Any) -> tuple[list[bytes | None], list[str | None]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_struct(column.type):
        fields = [field.name for field in column.type]
        data = pc.struct_field(column, "bytes").to_pylist()
        named = pc.struct_field(column, "path").to_pylist() if "path" in fields else [None] * len(data)
        return data, named
    values = column.to_pylist()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return [None] * len(values), values
    return values, [None] * len(values)


def _read_tar(job: Job) -> Iterator[Row]:
    """Consecutive members of one stem are one sample. Nothing is extracted, so names of members cannot do harm."""
    for path, _ in job.partition.items:
        sample = _Sample("")
        try:
            with open_uri(job.path(path)) as file, tarfile.open(fileobj=file, mode="r|*") as archive:
                for member in archive:
                    if member.isdir() or os.path.basename(member.name).startswith("."):
                        continue
                    stem, suffix = _stem(member.name)
                    if sample.stem != stem:
                        yield from sample.rows()
                        sample = _Sample(stem)
                    sample.take(job, archive, member, suffix)
            yield from sample.rows()
        except _DAMAGE as error:
            yield from sample.rows()
            yield Row(f"{path}#damaged", b"", reason=UNREADABLE, detail=f"{type(error).__name__}: {error}")


@dataclass
class _Sample:
    """The members of one stem: media, and texts that hold for all of them."""

    stem: str
    media: list[Row] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)

    def take(self, job: Job, archive: tarfile.TarFile, member: tarfile.TarInfo, suffix: str) -> None:
        is_media = suffix in job.modality.suffixes
        if is_media and not member.isfile():
            self.media.append(Row(member.name, b"", reason=UNREADABLE, detail="a link or a device, not a file"))
            return
        if not is_media and (not member.isfile() or member.size > _MAX_SIDECAR_BYTES):
            return
        file = archive.extractfile(member)
        if file is None:
            return
        if is_media:
            data, reason, detail = _limited(file, member.size, job.max_bytes)
            self.media.append(Row(member.name, data, reason=reason, detail=detail))
        elif suffix == ".cls":
            self.texts["label"] = file.read().decode("utf-8", errors="replace").strip()
        elif suffix in (".txt", ".json"):
            found = zip(("label", "caption", "licence"), _facts(suffix, file.read()))
            self.texts.update({role: value for role, value in found if value is not None})

    def rows(self) -> Iterator[Row]:
        for row in self.media:
            text = self.texts.get
            yield row._replace(label=text("label"), caption=text("caption"), licence=text("licence"))


def _stem(name: str) -> tuple[str, str]:
    """A member's name up to the first dot of its last part, and its last ending, lower case."""
    folder, slash, last = name.rpartition("/")
    stem, dot, ending = last.partition(".")
    return folder + slash + stem, (dot + ending.rpartition(".")[2]).lower()


def _read_idx(job: Job) -> Iterator[Row]:
    from motherlode.data import idx

    for path, labels, _, first, end in job.partition.items:
        why = "the file is cut short"
        try:
            samples = idx.read_array(job.path(path))[first:end]
        except (OSError, EOFError, ValueError) as error:
            samples, why = np.zeros((0, 1, 1), np.uint8), str(error)
        names = _idx_labels(job.path(labels))[first:end] if labels else []
        for row in range(end - first):
            label = str(names[row]) if row < len(names) else None
            if row < len(samples):
                yield Row(f"{path}#{first + row}", job.modality.encode(_channels_first(samples[row])), label)
            else:
                yield Row(f"{path}#{first + row}", b"", label, reason=UNREADABLE, detail=why)


def _idx_labels(path: str) -> Any:
    from motherlode.data import idx

    try:
        return idx.read_array(path)
    except (OSError, EOFError, ValueError):
        return []


def _channels_first(sample: Any) -> Any:
    """(H, W) or (H, W, C) values to contiguous uint8 (C, H, W)."""
    if sample.dtype != np.uint8:
        sample = np.clip(sample, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(sample[None] if sample.ndim == 2 else np.moveaxis(sample, -1, 0))


_READERS: dict[str, Callable[[Job], Iterator[Row]]] = {
    "arrow": _read_arrow,
    "broken": _read_broken,
    "files": _read_files,
    "idx": _read_idx,
    "parquet": _read_parquet,
    "tar": _read_tar,
    **text_readers.READERS,
}
