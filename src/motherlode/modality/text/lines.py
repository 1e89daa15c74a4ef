"""Lines as hashes, so that those many texts have in common can be counted, and texts without them.

A line counts where it has at least `LEAST_LETTERS` bytes of letters and digits (some four English words, seven
ideographs): rules of dashes, brackets and short headings repeat by nature. It is hashed without the spaces around it.
Two different lines of a million are taken for one with probability 3e-8. 400 MB/s on one core.

Shape legend: N texts, B bytes, L hashes of lines.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._compiled import compiled, inner
from motherlode.modality.text.shingles import distinct, mixed

LEAST_LETTERS = 20
_FEED, _SPACE, _TAB = 10, 32, 9
_START = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)


def line_hashes(
    buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The distinct lines of each text.

    Args:
        buffer_B: uint8, UTF-8, texts one after another.
        offsets_N1: int64, where each begins, and the end of the last.

    Returns:
        uint64, ascending within each text, and int64 (N + 1,), where those of each text begin.
    """
    hashes_L = np.empty(len(buffer_B) // LEAST_LETTERS + 1, np.uint64)
    starts_N1 = np.empty(len(offsets_N1), np.int64)
    _line_hashes(buffer_B, offsets_N1, hashes_L, starts_N1)
    return hashes_L[: distinct(hashes_L, starts_N1)], starts_N1


def without_lines(
    buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64], unwanted_L: NDArray[np.uint64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The texts without some of their lines.

    Args:
        buffer_B, offsets_N1: as for `line_hashes`.
        unwanted_L: hashes of the lines to leave out, ascending.

    Returns:
        As the arguments: uint8 and int64 (N + 1,).
    """
    out_B = np.empty(len(buffer_B), np.uint8)
    out_offsets_N1 = np.empty(len(offsets_N1), np.int64)
    _without_lines(buffer_B, offsets_N1, unwanted_L, out_B, out_offsets_N1)
    return out_B[: out_offsets_N1[-1]], out_offsets_N1


def find_lines(
    buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64], wanted_L: NDArray[np.uint64]
) -> dict[int, str]:
    """The first line with each of some hashes (ascending), where there is one."""
    spans_L2 = np.full((len(wanted_L), 2), -1, np.int64)
    _find_lines(buffer_B, offsets_N1, wanted_L, spans_L2)
    found = {}
    for line, (start, stop) in zip(wanted_L.tolist(), spans_L2.tolist(), strict=True):
        if start >= 0:
            found[line] = bytes(buffer_B[start:stop]).decode("utf-8", "replace").strip()
    return found


@inner
def _next_line(buffer_B: NDArray[np.uint8], place: int, stop: int) -> tuple[np.uint64, int]:
    """Hash of the line at `place`, 0 where it does not count, and the place after its line feed."""
    state, num_letters = _START, 0
    while place < stop and (buffer_B[place] == _SPACE or buffer_B[place] == _TAB):
        place += 1
    while place < stop:
        byte = buffer_B[place]
        place += 1
        if byte == _FEED:
            break
        state = (state ^ np.uint64(byte)) * _PRIME
        num_letters += (byte >= 128) | (48 <= byte < 58) | (65 <= (byte & 0xDF) < 91)
    return (mixed(state) if num_letters >= LEAST_LETTERS else np.uint64(0)), place


@compiled
def _line_hashes(
    buffer_B: NDArray[np.uint8],
    offsets_N1: NDArray[np.int64],
    hashes_L: NDArray[np.uint64],
    starts_N1: NDArray[np.int64],
) -> None:
    write = 0
    for i in range(offsets_N1.shape[0] - 1):
        starts_N1[i] = write
        place, stop = offsets_N1[i], offsets_N1[i + 1]
        while place < stop:
            line, place = _next_line(buffer_B, place, stop)
            if line:
                hashes_L[write] = line
                write += 1
        hashes_L[starts_N1[i] : write].sort()
    starts_N1[offsets_N1.shape[0] - 1] = write


@inner
def _is_among(line: np.uint64, lines_L: NDArray[np.uint64]) -> int:
    """Place of a hash in an ascending array, -1 where it is not."""
    low, high = 0, lines_L.shape[0]
    while low < high:
        middle = (low + high) // 2
        if lines_L[middle] < line:
            low = middle + 1
        else:
            high = middle
    return low if low < lines_L.shape[0] and lines_L[low] == line else -1


@compiled
def _without_lines(
    buffer_B: NDArray[np.uint8],
    offsets_N1: NDArray[np.int64],
    unwanted_L: NDArray[np.uint64],
    out_B: NDArray[np.uint8],
    out_offsets_N1: NDArray[np.int64],
) -> None:
    write = 0
    for i in range(offsets_N1.shape[0] - 1):
        out_offsets_N1[i] = write
        place, stop = offsets_N1[i], offsets_N1[i + 1]
        kept = place
        while place < stop:
            start = place
            line, place = _next_line(buffer_B, place, stop)
            if line and _is_among(line, unwanted_L) >= 0:
                out_B[write : write + start - kept] = buffer_B[kept:start]
                write += start - kept
                kept = place
        out_B[write : write + stop - kept] = buffer_B[kept:stop]
        write += stop - kept
    out_offsets_N1[offsets_N1.shape[0] - 1] = write


@compiled
def _find_lines(
    buffer_B: NDArray[np.uint8],
    offsets_N1: NDArray[np.int64],
    wanted_L: NDArray[np.uint64],
    spans_L2: NDArray[np.int64],
) -> None:
    for i in range(offsets_N1.shape[0] - 1):
        place, stop = offsets_N1[i], offsets_N1[i + 1]
        while place < stop:
            start = place
            line, place = _next_line(buffer_B, place, stop)
            number = _is_among(line, wanted_L) if line else -1
            if number >= 0 and spans_L2[number, 0] < 0:
                spans_L2[number, 0], spans_L2[number, 1] = start, place
