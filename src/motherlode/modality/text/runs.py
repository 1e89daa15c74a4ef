"""Tokens of texts as 64-bit hashes.

A token is a run of letters, digits and marks, lower-cased; a character of a script written without spaces is a token of
its own. Runs of ASCII letters and digits are hashed eight bytes at a time; a run that holds any byte beyond ASCII is
read character by character, and comes to the same hash where it is the same.

Shape legend: B bytes, C code points.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._bits import ALL, eight_bytes, one_byte
from motherlode.modality._compiled import inlined, inner
from motherlode.modality.text.characters import ALONE, NUM_CLASSES

_END_IDEOGRAPHS = 0x40000
START = np.uint64(0xCBF29CE484222325)
_FACTOR = np.uint64(0x9FB21C651E98DF25)
SMALL = np.uint64(0x2020202020202020)
_HIGH = np.uint64(0x8080808080808080)
_ONE = np.uint64(1)


@inlined
def fold(state: np.uint64, word: np.uint64) -> np.uint64:
    """A running hash with eight more bytes."""
    state = (state ^ word) * _FACTOR
    return state ^ (state >> np.uint64(32))


@inlined
def few_bytes(address: int, num: int, room: int) -> np.uint64:
    """The `num` bytes at an address, 1 to 8, as one word, zeros above them; `room` bytes may be read."""
    if room >= 8:
        return eight_bytes(address) & (ALL >> np.uint64(64 - 8 * num))
    word = np.uint64(0)
    for k in range(num):
        word |= one_byte(address + k) << np.uint64(8 * k)
    return word


@inlined
def hash_run(address: int, num: int, room: int) -> tuple[np.uint64, bool]:
    """Hash of a run of ASCII letters and digits in either case, and whether it was none because other bytes are in it.

    An underscore counts as a letter here.

    Args:
        address: of the first byte.
        num: bytes of the run.
        room: bytes of the buffer from there on.
    """
    state, seen = START, np.uint64(0)
    while num > 8:
        word = eight_bytes(address)
        seen |= word
        state = fold(state, word | SMALL)
        address, num, room = address + 8, num - 8, room - 8
    word = few_bytes(address, num, room)
    seen |= word
    # The bytes above the run stay zero, or "ab" would be "ab  ".
    state = fold(state, word | (SMALL & (ALL >> np.uint64(64 - 8 * num))))
    return state | _ONE, seen & _HIGH != 0


@inlined
def block_at(buffer_B: NDArray[np.uint8], place: int, stop: int, tail: NDArray[np.uint8]) -> int:
    """Address of as many bytes at `place` as `tail` has; where the buffer has fewer, those up to `stop` are copied into
    `tail`, and zeros behind them.
    """
    if place + tail.shape[0] <= buffer_B.shape[0]:
        return buffer_B.ctypes.data + place
    tail[:] = 0
    for k in range(min(tail.shape[0], stop - place)):
        tail[k] = buffer_B[place + k]
    return tail.ctypes.data


@inner
def next_token(
    buffer_B: NDArray[np.uint8], place: int, stop: int, classes_C: NDArray[np.uint32]
) -> tuple[np.uint64, int]:
    """Hash of the first token at or after `place`, and the place after it; hash 0 where there is none."""
    state, word, size = START, np.uint64(0), 0
    while place < stop:
        byte = buffer_B[place]
        width = 1
        if byte < 128:
            sign = classes_C[byte]
        else:
            sign, width = _wide_class(buffer_B, place, stop, classes_C)
        if sign == 0 or sign >= ALONE:
            if size:
                break
            place += width
            if sign:
                return fold(START, np.uint64(sign)) | _ONE, place
            continue
        place += width
        # Three bytes a character beyond ASCII, so that a word is hashed as if it were bytes.
        for k in range(1 if sign < 128 else 3):
            piece = np.uint64(sign) if sign < 128 else np.uint64(128 | (sign >> np.uint32(7 * k)) & 127)
            word |= piece << np.uint64(8 * (size & 7))
            size += 1
            if size & 7 == 0:
                state, word = fold(state, word), np.uint64(0)
    if size == 0:
        return np.uint64(0), place
    return (fold(state, word) if size & 7 else state) | _ONE, place


@inner
def _wide_class(
    buffer_B: NDArray[np.uint8], place: int, stop: int, classes_C: NDArray[np.uint32]
) -> tuple[np.uint32, int]:
    """Class and width of the character of two to four bytes at `place`; one separating byte where it is not valid."""
    lead = np.int64(buffer_B[place])
    width = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if lead < 0xC2 or lead > 0xF4 or place + width > stop:
        return np.uint32(0), 1
    code = lead & (0x7F >> width)
    for k in range(1, width):
        byte = np.int64(buffer_B[place + k])
        if byte & 0xC0 != 0x80:
            return np.uint32(0), 1
        code = code << 6 | (byte & 0x3F)
    if code < NUM_CLASSES:
        return classes_C[code], width
    return (np.uint32(code) | ALONE if code < _END_IDEOGRAPHS else np.uint32(0)), width
