"""Cuts documents into windows a model can read, and lays them side by side in rows of equal length.

Every token but a document's first is a target once. A document that fits is one window. A longer one is read in
overlapping windows: each next one scores `stride` further tokens and sees window − stride before them. A small stride
gives more context and costs window / stride passes.

Short documents share a row, each beginning with its `bos`; what is left over is filled with `bos`. So rows are dense
(99 % full on documents of 40-2,000 tokens at window 256) and always of one shape, and a model needs
no padding mask: it attends to nothing across a `bos`, which is how packed data trained it. The price is that a model
which does attend across documents is scored wrongly; the tests of each family hold that it does not.

Shape legend: N documents, B rows, T tokens a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

_BUFFERED_ROWS = 64


@runtime_checkable
class Documents(Protocol):
    """Tokenised documents by number."""

    @property
    def num_bytes_N(self) -> NDArray[np.int64]:
        """UTF-8 bytes of each, int64."""
        ...

    def __len__(self) -> int: ...

    def document(self, number: int) -> NDArray[np.int64]:
        """The tokens of one document, its bos first."""
        ...


@dataclass(frozen=True)
class Window:
    """A stretch of a document, to be read at once.

    Attributes:
        owner: number of the document among those being scored.
        tokens: int64, at most T; what the model sees.
        targets: int64, of the same length; what stood there. The same array where nothing is masked.
        first: targets from this place on count; those before are context.
        weight: of their sum.
    """

    owner: int
    tokens: NDArray[np.int64]
    targets: NDArray[np.int64]
    first: int
    weight: float = 1.0


def spans(num_tokens: int, window: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, first target) of the windows over a document of `num_tokens`, its bos included."""
    end = min(window, num_tokens)
    yield 0, end, 1
    while end < num_tokens:
        first, end = end, min(end + stride, num_tokens)
        yield end - window, end, first


@dataclass(frozen=True)
class Rows:
    """Windows laid side by side.

    Attributes:
        tokens_BT, targets_BT: int64.
        places: (window, row, where in the row it begins).
    """

    tokens_BT: NDArray[np.int64]
    targets_BT: NDArray[np.int64]
    places: list[tuple[Window, int, int]]

    def sums(self, values_BT: NDArray[np.float64], num_owners: int) -> NDArray[np.float64]:
        """Σ weight · value over the targets of each document (num_owners,)."""
        sums_N = np.zeros(num_owners)
        for window, row, start in self.places:
            counted = values_BT[row, start + window.first : start + len(window.tokens)]
            sums_N[window.owner] += window.weight * float(counted.sum())
        return sums_N


def laid(windows: Iterable[Window], length: int, num_rows: int, bos: int) -> Iterator[Rows]:
    """Rows of `length` tokens, `num_rows` of them at a time, from windows that come in any order.

    Windows that do not begin with `bos` stand first in their row: nothing may come before what has no beginning.
    """
    buffered: list[Window] = []
    size = 0
    for window in windows:
        buffered.append(window)
        size += len(window.tokens)
        if size >= max(_BUFFERED_ROWS, num_rows) * length:
            yield from _rows(buffered, length, num_rows, bos)
            buffered, size = [], 0
    yield from _rows(buffered, length, num_rows, bos)


def _rows(windows: Sequence[Window], length: int, num_rows: int, bos: int) -> Iterator[Rows]:
    filled: list[list[Window]] = []
    room: list[int] = []
    open_from = 0
    for window in sorted(windows, key=lambda window: (window.tokens[0] == bos, -len(window.tokens))):
        need = len(window.tokens)
        begins = window.tokens[0] == bos
        place = next((row for row in range(open_from, len(room)) if begins and room[row] >= need), len(room))
        if place == len(room):
            filled.append([])
            room.append(length)
        filled[place].append(window)
        room[place] -= need
        while open_from < len(room) and room[open_from] < 2:
            open_from += 1
    for start in range(0, len(filled), num_rows):
        yield _filled(filled[start : start + num_rows], length, bos)


def _filled(rows: Sequence[Sequence[Window]], length: int, bos: int) -> Rows:
    tokens_BT = np.full((len(rows), length), bos, np.int64)
    targets_BT = tokens_BT.copy()
    places: list[tuple[Window, int, int]] = []
    for row, windows in enumerate(rows):
        start = 0
        for window in windows:
            end = start + len(window.tokens)
            tokens_BT[row, start:end], targets_BT[row, start:end] = window.tokens, window.targets
            places.append((window, row, start))
            start = end
    return Rows(tokens_BT, targets_BT, places)


def as_numbers(values: Any) -> NDArray[np.float64]:
    """A tensor of any device and precision as float64."""
    found: NDArray[np.float64] = values.detach().double().cpu().numpy()
    return found
