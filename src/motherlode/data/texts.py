"""The texts of the parts as bytes in one buffer: any rows by number, or all rows that are in, block by block.

Parts are mapped one at a time, and let go of before the next, so that what is resident is one part at most however
large the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from motherlode.data.parts import PartRecord, part_path, read_part
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
        reader = read_part(part_path(self.folder, self.records[part].index))
        start = int(self.starts[part])
        for number in range(reader.num_record_batches):
            batch = reader.get_batch(number)
            first, end = np.searchsorted(rows_N, (start, start + batch.num_rows))
            if first < end:
                buffer_B, offsets_N1 = _taken(batch.column("media"), rows_N[first:end] - start)
                yield Block(rows_N[first:end], buffer_B, offsets_N1)
            start += batch.num_rows


def _taken(media: Any, places: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Some values of a binary Arrow array, which must outlive them, and where each begins."""
    _, ends, data = media.buffers()
    bounds = np.frombuffer(ends, np.int32)[media.offset : media.offset + len(media) + 1].astype(np.int64)
    source = np.frombuffer(data or b"", np.uint8)
    if len(places) == len(media):
        return source[bounds[0] : bounds[-1]], bounds - bounds[0]
    offsets_N1 = np.concatenate([[0], np.cumsum(bounds[places + 1] - bounds[places])])
    return np.concatenate([source[bounds[place] : bounds[place + 1]] for place in places.tolist()]), offsets_N1
