"""Rows of unlike many numbers in one mapped file: tokens of texts, codes of sounds.

What is dear to make is made once: shard by shard into pieces, each whole or not there, then joined into one flat file
that whoever reads it maps. A killed making takes up at the piece it was at, a second process waits for the first, and a
hash finds a flipped bit. What it costs is room: while the pieces are joined they lie on disk twice.

Shape legend: N rows, T numbers in all, K columns of facts about rows.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from motherlode import storage
from motherlode.data.parts import once
from motherlode.errors import CorruptError, LockedError

_WAIT_SEC = 0.2
_VALUES, _COLUMNS, _FACTS = "values.bin", "columns.npy", "facts.json"

Build = Callable[[BinaryIO], Sequence[Sequence[int]]]
"""Writes the numbers of a piece's rows to a file, one row after another, and returns K columns of facts about the rows,
the first of them how many numbers each has."""


def open_pieces(folder: Path, dtype: type[np.generic], pieces: Sequence[Build]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The numbers of all rows, made where that was not done before, or not finished.

    Args:
        folder: of this content and no other: its name should hold a hash of what decides it.
        dtype: of the numbers.
        pieces: in the order of the rows.

    Returns:
        values (T,), mapped; columns int64 (K, N), of which the first holds how many values each row has.

    Raises:
        StorageError: the disk is full.
    """
    while True:
        found = _opened(folder, dtype)
        if found is not None:
            return found
        try:
            with storage.lock(folder):
                if _opened(folder, dtype) is None:
                    _make(folder, pieces)
        except LockedError:
            time.sleep(_WAIT_SEC)


def _opened(folder: Path, dtype: type[np.generic]) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """What an earlier making left, if it is whole."""
    try:
        if storage.hash_file(folder / _VALUES) != storage.read_json(folder / _FACTS)["digest"]:
            return None
        columns_KN = np.load(folder / _COLUMNS)
    except (CorruptError, OSError, KeyError, TypeError, ValueError):
        return None
    if not (folder / _VALUES).stat().st_size:
        return np.zeros(0, dtype), columns_KN
    return np.memmap(folder / _VALUES, dtype, "r"), columns_KN


def _make(folder: Path, pieces: Sequence[Build]) -> None:
    """Build the pieces that are missing, then join them."""
    made = []
    for number, piece in enumerate(pieces):
        path = folder / f"piece-{number:05d}.bin"

        def build(target: Path, piece: Build = piece) -> dict[str, Any]:
            with target.open("wb") as file:
                return {"columns": [list(column) for column in piece(file)]}

        made.append((path, once(path, path.with_suffix(".json"), build)))
    try:
        with storage.atomic_path(folder / _VALUES) as temporary, temporary.open("wb") as file:
            for path, _ in made:
                with path.open("rb") as piece_file:
                    shutil.copyfileobj(piece_file, file)
        with storage.atomic_path(folder / _COLUMNS) as temporary, temporary.open("wb") as file:
            np.save(file, np.concatenate([np.asarray(record["columns"], np.int64) for _, record in made], axis=1))
        storage.write_json(folder / _FACTS, {"digest": storage.hash_file(folder / _VALUES)})
        for path, _ in made:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
    except OSError as error:
        raise storage.explain(error, folder) from error
