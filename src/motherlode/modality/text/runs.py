"""Tokens of texts as 64-bit hashes, found sixty-four bytes at a time.

A token is a run of letters, digits and marks, lower-cased; a character of a script written without spaces is a token of
its own. Runs of ASCII letters and digits are found as bits of words and hashed eight bytes at a time; a run that holds
any byte beyond ASCII is read again character by character.

Shape legend: B bytes, C code points, T tokens.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._bits import ALL, BLOCK, bits_between, eight_bytes, lowest, num_set, one_byte
from motherlode.modality._compiled import compiled, inner

ALONE = np.uint32(1 << 31)
"""Set in the class of a character that is a token by itself."""
NUM_CLASSES = 0x20000
"""Code points with a class of their own; above lie ideographs up to `_END_IDEOGRAPHS`, and nothing of use."""
_END_IDEOGRAPHS = 0x40000
START = np.uint64(0xCBF29CE484222325)
_FACTOR = np.uint64(0x9FB21C651E98DF25)
_SMALL = np.uint64(0x2020202020202020)
_HIGH = np.uint64(0x8080808080808080)
_ONE = np.uint64(1)


@inner
def fold(state: np.uint64, word: np.uint64) -> np.uint64:
    """A running hash with eight more bytes."""
    state = (state ^ word) * _FACTOR
    return state ^ (state >> np.uint64(32))


@inner
def few_bytes(address: int, num: int, room: int) -> np.uint64:
    """The `num` bytes at an address, 1 to 8, as one word, zeros above them; `room` bytes may be read."""
    if room >= 8:
        return eight_bytes(address) & (ALL >> np.uint64(64 - 8 * num))
    word = np.uint64(0)
    for k in range(num):
        word |= one_byte(address + k) << np.uint64(8 * k)
    return word


@inner
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
        state = fold(state, word | _SMALL)
        address, num, room = address + 8, num - 8, room - 8
    word = few_bytes(address, num, room)
    seen |= word
    # The bytes above the run stay zero, or "ab" would be "ab  ".
    state = fold(state, word | (_SMALL & (ALL >> np.uint64(64 - 8 * num))))
    return state | _ONE, seen & _HIGH != 0


@inner
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
def word_bits(address: int, width: int) -> np.uint64:
    """Which of the `width` bytes at an address, at most 64, are ASCII letters or digits, or bytes beyond ASCII."""
    found = bits_between(address, 32, 97, 122) | bits_between(address, 0, 48, 57) | bits_between(address, 0, 128, 255)
    return found & (ALL >> np.uint64(BLOCK - width))


@compiled
def hash_tokens(
    buffer_B: NDArray[np.uint8], place: int, stop: int, classes_C: NDArray[np.uint32], tokens_T: NDArray[np.uint64]
) -> tuple[int, int]:
    """The next tokens of a text, as many as there is room for.

    Args:
        buffer_B: uint8, UTF-8; what is not valid separates tokens.
        place, stop: where to read on, and where the text ends.
        classes_C: what each code point is: see `shingles.classes`.
        tokens_T: filled with hashes, never 0.

    Returns:
        How many were found, and the place to read on from: `stop` where the text is at its end.
    """
    num, begin, most = 0, np.int64(-1), tokens_T.shape[0]
    address, total = buffer_B.ctypes.data, buffer_B.shape[0]
    tail = np.zeros(BLOCK, np.uint8)
    for block in range(place, stop, BLOCK):
        width = min(BLOCK, stop - block)
        bits = word_bits(block_at(buffer_B, block, stop, tail), width)
        before = (bits << _ONE) | np.uint64(begin >= 0)
        starts, ends = bits & ~before, ~bits & before
        if block + BLOCK >= stop:
            # The text ends a run too.
            ends &= ALL >> np.uint64(BLOCK - width)
        num_ends = num_set(ends) + (block + BLOCK >= stop and width > 0 and bits >> np.uint64(width - 1) != 0)
        for _ in range(num_ends):
            if begin < 0:
                begin = block + lowest(starts)
                starts &= starts - _ONE
            end = min(block + lowest(ends), stop)
            if num == most:
                return num, begin
            token, is_wide = hash_run(address + begin, end - begin, total - begin)
            if is_wide:
                num, begin = _wide_tokens(buffer_B, begin, end, classes_C, tokens_T, num)
                if begin < end:
                    return num, begin
            else:
                tokens_T[num] = token
                num += 1
            begin = np.int64(-1)
            ends &= ends - _ONE
        if starts:
            begin = block + lowest(starts)
    return num, stop


@inner
def _wide_tokens(
    buffer_B: NDArray[np.uint8],
    place: int,
    end: int,
    classes_C: NDArray[np.uint32],
    tokens_T: NDArray[np.uint64],
    num: int,
) -> tuple[int, int]:
    """Append the tokens of a run that holds bytes beyond ASCII: how many there are now, and where to read on."""
    while num < tokens_T.shape[0] and place < end:
        token, place = _wide_token(buffer_B, place, end, classes_C)
        if token:
            tokens_T[num] = token
            num += 1
    return num, place


@inner
def _wide_token(
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
