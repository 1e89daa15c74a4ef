"""From part files to the columns that steps work on: ids, labels, sizes and fingerprints in memory, thumbnails on disk.

Parts are mapped one at a time and their media are never touched, so the peak grows by about 100 bytes a row; the
thumbnails (1.2 kB a row for images) go to one file, of which rows are fetched when they are compared.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.data.arrow import from_fixed_bytes, to_numpy
from motherlode.data.parts import PartRecord, part_path, read_part
from motherlode.data.step import Rows


@dataclass
class _Names:
    """Texts to small numbers, in order of first appearance."""

    names: list[str] = field(default_factory=list)

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


def gather(parts: Path, records: Sequence[PartRecord], *, num_sources: int, with_features: bool) -> Rows:
    """Read the small columns of all parts.

    Args:
        parts: folder of the part files; `thumbs.bin` and `features.bin` are written beside them.
        records: what the first pass returned, in order.
        num_sources: a lone label from a lone source tells nothing apart, and is no label.
        with_features: whether the parts hold features.
    """
    import pyarrow.compute as pc

    labels, reasons, steps = _Names(), _Names(), _Names()
    found: dict[str, list[NDArray[Any]]] = {
        name: [] for name in ("ids", "labels", "sizes", "reasons", "steps", "fingerprints")
    }
    thumbs_path, features_path = parts / "thumbs.bin", parts / "features.bin"
    num_thumbs, thumb_bytes, num_features, num_columns = 0, 1, 1, 1
    with thumbs_path.open("wb") as thumbs, features_path.open("wb") as features:
        for record in records:
            reader = read_part(part_path(parts, record.index))
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                found["ids"].append(from_fixed_bytes(batch.column("id"), np.dtype("V16")).reshape(-1).copy())
                found["labels"].append(labels.codes(batch.column("label"), np.int32))
                found["reasons"].append(reasons.codes(batch.column("reason"), np.int16))
                found["steps"].append(steps.codes(batch.column("step"), np.int8))
                found["sizes"].append(to_numpy(pc.binary_length(batch.column("media")), 0).astype(np.int64))
                fit = found["reasons"][-1] < 0
                fingerprints = _fixed(batch, "fingerprint", np.uint64)
                found["fingerprints"].append(fingerprints[fit])
                chosen = _fixed(batch, "thumb", np.uint8)[fit]
                thumbs.write(chosen.data)
                num_thumbs, thumb_bytes, num_columns = num_thumbs + len(chosen), chosen.shape[1], fingerprints.shape[1]
                if with_features:
                    chosen = _fixed(batch, "feature", np.float32)[fit]
                    features.write(chosen.data)
                    num_features = chosen.shape[1]
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
        places_N=places_N,
        fingerprints_PK=np.concatenate([np.zeros((0, num_columns), np.uint64), *found["fingerprints"]]),
        thumbs_PT=DiskRows(thumbs_path, np.uint8, (num_thumbs, thumb_bytes)),
        features_PD=DiskRows(features_path, np.float32, (num_thumbs if with_features else 0, num_features)),
        reasons_N=reasons_N,
        steps_N=_joined(found["steps"], np.int8),
        reason_names=reasons.names,
        step_names=steps.names,
    )


def _fixed(batch: Any, name: str, dtype: type[np.generic]) -> NDArray[Any]:
    """A column of fixed-size binary as rows of an array; rows of no columns where the modality has none."""
    if name not in batch.schema.names:
        return np.zeros((batch.num_rows, 0), dtype)
    return from_fixed_bytes(batch.column(name), dtype)


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
