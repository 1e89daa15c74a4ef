"""From part files to the columns that steps work on: ids, labels and sizes in memory, fingerprints and more on disk.

Parts are mapped one at a time and their media are never touched, so the peak grows by about 70 bytes a row; the
fingerprints (32 bytes a row for images, 128 for texts), thumbnails (1.2 kB a row for images) and features go to a file
each, of which rows are fetched when they are compared.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from motherlode.data.arrow import from_fixed_bytes, to_numpy
from motherlode.data.parts import PartRecord, part_path, read_part
from motherlode.data.step import Rows
from motherlode.data.texts import Texts


@dataclass
class _Names:
    """Texts to small numbers, in order of first appearance."""

    names: list[str] = field(default_factory=list)

    def code(self, name: str) -> int:
        """Code of one text."""
        if name not in self.names:
            self.names.append(name)
        return self.names.index(name)

    def codes(self, column: Any, dtype: type[np.generic]) -> NDArray[Any]:
        """Code of each value of an Arrow string array, -1 for null."""
        encoded = column.dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        known = {name: code for code, name in enumerate(self.names)}
        for text in texts:
            if text not in known:
                known[text] = len(self.names)
                self.names.append(text)
        lookup = np.array([*(known[text] for text in texts), -1], dtype)
        codes: NDArray[Any] = lookup[to_numpy(encoded.indices, len(texts))]
        return codes


class DiskRows:
    """Rows of an array in a file, fetched by number; what was fetched does not stay mapped.

    Mapped pages count as memory of the process for as long as they are mapped. Letting go of them after each fetch
    leaves them to the operating system's cache and keeps the peak flat.
    """

    def __init__(self, path: Path, dtype: type[np.generic], shape: tuple[int, int]) -> None:
        self.shape = shape
        self._map: mmap.mmap | None = None
        if shape[0] and shape[1]:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._array = np.frombuffer(self._map or b"", dtype).reshape(shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        fetched: NDArray[Any] = self._array[rows]
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
        return fetched


@dataclass
class _Column:
    """A column of fixed-size binary that moves from the parts to a file of its own; of no width where parts lack it."""

    path: Path
    name: str
    dtype: type[np.generic]
    num_rows: int = 0
    width: int = 0

    def write(self, batch: Any, fit: NDArray[np.bool_], file: IO[bytes]) -> None:
        """Append the rows of a batch that are fit."""
        self.num_rows += int(fit.sum())
        if self.name in batch.schema.names:
            chosen = from_fixed_bytes(batch.column(self.name), self.dtype)[fit]
            self.width = chosen.shape[1]
            file.write(chosen.data)

    def rows(self) -> DiskRows:
        """All that was written."""
        return DiskRows(self.path, self.dtype, (self.num_rows, self.width))


def gather(parts: Path, records: Sequence[PartRecord], *, num_sources: int, by_folder: bool = False) -> Rows:
    """Read the small columns of all parts.

    Args:
        parts: folder of the part files; `fingerprints.bin`, `thumbs.bin` and `features.bin` are written beside them.
        records: what the first pass returned, in order.
        num_sources: a lone label from a lone source tells nothing apart, and is no label.
        by_folder: whether rows that lie in folders of one name are a group.
    """
    import pyarrow.compute as pc

    labels, reasons, steps, sources, groups = _Names(), _Names(), _Names(), _Names(), _Names()
    names = ("ids", "labels", "sizes", "reasons", "steps", "sources", "groups")
    found: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    on_disk = [
        _Column(parts / "fingerprints.bin", "fingerprint", np.uint64),
        _Column(parts / "thumbs.bin", "thumb", np.uint8),
        _Column(parts / "features.bin", "feature", np.float32),
    ]
    with ExitStack() as stack:
        files = [stack.enter_context(column.path.open("wb")) for column in on_disk]
        for record in records:
            reader = read_part(part_path(parts, record.index))
            source = sources.code((reader.schema.metadata or {}).get(b"source", b"").decode())
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                found["ids"].append(from_fixed_bytes(batch.column("id"), np.dtype("V16")).reshape(-1).copy())
                found["labels"].append(labels.codes(batch.column("label"), np.int32))
                found["reasons"].append(reasons.codes(batch.column("reason"), np.int16))
                found["steps"].append(steps.codes(batch.column("step"), np.int8))
                found["sizes"].append(to_numpy(pc.binary_length(batch.column("media")), 0).astype(np.int64))
                found["sources"].append(np.full(batch.num_rows, source, np.int16))
                if by_folder:
                    folders = pc.replace_substring_regex(batch.column("uri"), r"^(?:(?:.*/)?([^/]*)/)?[^/]*$", r"\1")
                    found["groups"].append(groups.codes(folders, np.int32))
                fit = found["reasons"][-1] < 0
                for column, file in zip(on_disk, files, strict=True):
                    column.write(batch, fit, file)
    reasons_N = _joined(found["reasons"], np.int16)
    places_N = np.where(reasons_N < 0, np.cumsum(reasons_N < 0) - 1, -1).astype(np.int64)
    label_names, labels_N = _sorted_labels(labels.names, _joined(found["labels"], np.int32))
    if len(label_names) == 1 and num_sources == 1:
        label_names, labels_N = [], np.full_like(labels_N, -1)
    return Rows(
        ids_N=_joined(found["ids"], np.dtype("V16")),
        labels_N=labels_N,
        label_names=label_names,
        num_bytes_N=_joined(found["sizes"], np.int64),
        sources_N=_joined(found["sources"], np.int16),
        source_names=sources.names,
        places_N=places_N,
        fingerprints_PK=on_disk[0].rows(),
        thumbs_PT=on_disk[1].rows(),
        features_PD=on_disk[2].rows(),
        texts=Texts(parts, records),
        reasons_N=reasons_N,
        steps_N=_joined(found["steps"], np.int8),
        reason_names=reasons.names,
        step_names=steps.names,
        groups_N=_joined(found["groups"], np.int32),
        group_names=groups.names,
    )


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts "9" before "10" and "a2" before "a10"."""
    key: list[tuple[int, int, str]] = []
    digits = text = ""
    for sign in name + "\0":
        if sign.isdecimal() and sign.isascii():
            digits += sign
            continue
        if digits:
            key.append((0, int(digits), text))
            digits = text = ""
        text += sign
    return [*key, (1, 0, text)]


def _sorted_labels(names: list[str], codes_N: NDArray[np.int32]) -> tuple[list[str], NDArray[np.int32]]:
    ordered = sorted(names, key=natural_key)
    lookup = np.array([*(ordered.index(name) for name in names), -1], np.int32)
    return ordered, lookup[codes_N]


def _joined(pieces: list[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype)
