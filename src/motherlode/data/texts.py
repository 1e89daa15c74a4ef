"""The texts of the parts as bytes in one buffer: any rows by number, or all rows that are in, block by block.

Where each row lies in its part's file is looked up once (4 bytes a row); rows are then read from there, neighbours
together, and nothing stays mapped. Opening a part as an Arrow file for every batch of pairs took half of the search for
near-duplicates.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from motherlode.data.parts import PartRecord, part_path, where_media_lie
from motherlode.errors import CorruptError
from motherlode.execute import num_cores

Result = TypeVar("Result")


@dataclass(frozen=True)
class Block:
    """Some texts, one after another.

    Args:
        rows_N: their global numbers, ascending.
        buffer_B: uint8.
        offsets_N1: int64, where each begins, and the end of the last.
    """

    rows_N: NDArray[np.int64]
    buffer_B: NDArray[np.uint8]
    offsets_N1: NDArray[np.int64]


class Texts:
    """The media of all rows of the parts.

    Args:
        folder: of the part files.
        records: what the first pass returned, in order.
    """

    def __init__(self, folder: Path, records: Sequence[PartRecord]) -> None:
        self.folder, self.records = folder, records
        self.starts = np.cumsum([0, *(record.num_rows for record in records)])
        self._places: dict[int, list[tuple[int, NDArray[np.int32]]]] = {}

    def fetch(self, rows_N: NDArray[np.int64]) -> Block:
        """The texts of rows, whose numbers ascend, as a copy."""
        pieces, lengths = [], []
        for part in np.unique(np.searchsorted(self.starts, rows_N, "right") - 1).tolist():
            first, end = np.searchsorted(rows_N, self.starts[part : part + 2])
            for block in self._blocks(part, rows_N[first:end]):
                pieces.append(block.buffer_B)
                lengths.append(np.diff(block.offsets_N1))
        offsets_N1 = np.concatenate([[0], *lengths]).cumsum()
        return Block(rows_N, np.concatenate([np.zeros(0, np.uint8), *pieces]), offsets_N1)

    def blocks(self, part: int, is_wanted_N: NDArray[np.bool_]) -> Iterator[Block]:
        """The texts of one part that are wanted, a record batch at a time.

        Args:
            part: place in `records`.
            is_wanted_N: over all rows of all parts.
        """
        start, end = self.starts[part : part + 2]
        yield from self._blocks(part, np.flatnonzero(is_wanted_N[start:end]) + start)

    def map_parts(self, function: Callable[[int], Result], parts: Sequence[int]) -> Iterator[Result]:
        """Results of `function` on parts, in order, in threads: its kernels release the interpreter's lock."""
        with ThreadPoolExecutor(num_cores()) as pool:
            yield from pool.map(function, parts)

    def _blocks(self, part: int, rows_N: NDArray[np.int64]) -> Iterator[Block]:
        path, start = part_path(self.folder, self.records[part].index), int(self.starts[part])
        if part not in self._places:
            self._places[part] = where_media_lie(path)
        with path.open("rb", buffering=0) as file:
            for position, bounds_R1 in self._places[part]:
                end = start + len(bounds_R1) - 1
                first, stop = np.searchsorted(rows_N, (start, end))
                if first < stop:
                    buffer_B, offsets_N1 = _read(file.fileno(), position, bounds_R1, rows_N[first:stop] - start)
                    yield Block(rows_N[first:stop], buffer_B, offsets_N1)
                start = end


def _read(
    file: int, position: int, bounds_R1: NDArray[np.int32], places: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Some of the texts that lie from a position on, neighbours in one piece, and where each begins."""
    firsts = np.flatnonzero(np.diff(places, prepend=-2) != 1)
    lasts = np.append(firsts[1:], len(places)) - 1
    offsets_N1 = np.concatenate([[0], (bounds_R1[places + 1] - bounds_R1[places]).cumsum(dtype=np.int64)])
    buffer_B = np.empty(offsets_N1[-1], np.uint8)
    write = 0
    for low, high in zip(bounds_R1[places[firsts]].tolist(), bounds_R1[places[lasts] + 1].tolist()):
        write += os.preadv(file, [buffer_B[write : write + high - low].data], position + low)
    if write < len(buffer_B):
        raise CorruptError("a part must be a whole Arrow file", "one that has become shorter", "run again")
    return buffer_B, offsets_N1
