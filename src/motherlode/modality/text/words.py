"""One walk over a document finds its words and its tokens as hashes, and counts its characters on the way.

Two things are asked of the same runs of letters. The rules of quality want words: runs of letters, digits, marks and
underscores. The search for look-alikes wants tokens: the same without underscores, lower-cased in every script. A
character of a script written without spaces is one of either. Nearly all runs are of ASCII letters and digits and are
both; they are found as bits of 64 bytes and hashed once, eight bytes at a time. A run with an underscore or with bytes
beyond ASCII is read again. Two walks took 6.8 ns a byte on a busy machine, this one 3.1.

Shape legend: C code points, W words, T tokens, M measures.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._bits import ALL, BLOCK, bits_between, lowest, num_set
from motherlode.modality._compiled import compiled, inlined, inner
from motherlode.modality.text.characters import DIGIT, LETTER, MARK, NUM_CODES, UNSPACED
from motherlode.modality.text.kernels import decode
from motherlode.modality.text.runs import START, block_at, fold, hash_run, next_token

CHARACTERS, UNSPACED_WORDS, SPACED_LETTERS, VISIBLE, SYMBOLS, DIGITS = range(6)
"""What is counted on the way; the columns after these are those of `measure`."""
NUM_COUNTS = 6
_FEED, _UNDERSCORE = 10, 95
_WIDE_SPACE, _LAST_RARE_HAN = 0x3000, 0x323B0
_ONE = np.uint64(1)


@compiled
def hash_word(word: NDArray[np.uint8]) -> np.uint32:
    """Hash of a word's bytes, ASCII letters in lower case, as `walk_words` makes it."""
    state, part, size = START, np.uint64(0), 0
    for byte in word:
        state, part, size = _turn(state, part, size, byte)
    return _finish(state, part, size)


@inner
def walk_words(
    buffer: NDArray[np.uint8],
    first: int,
    end: int,
    flags: NDArray[np.uint8],
    classes_C: NDArray[np.uint32],
    tail: NDArray[np.uint8],
    words_W: NDArray[np.uint32],
    gaps_W: NDArray[np.uint8],
    tokens_T: NDArray[np.uint64],
    measures_M: NDArray[np.int64],
) -> tuple[int, int]:
    """Hash of each word and each token of a document; returns how many there are of either.

    Args:
        buffer, first, end: UTF-8, and where the document begins and ends; what is not valid separates words.
        flags: `characters.flags()`.
        classes_C: `characters.classes()`.
        tail: room for `BLOCK` bytes.
        words_W: filled; room for half as many as there are bytes, and one more, as in the others.
        gaps_W: filled with the line feeds before each word, 2 for more.
        tokens_T: filled, never with 0.
        measures_M: counted up, columns as named by the constants of this module.
    """
    num, num_tokens, gap, begin, is_joined = 0, 0, np.int64(0), np.int64(-1), False
    address, total = buffer.ctypes.data, buffer.shape[0]
    for block in range(first, end, BLOCK):
        width = min(BLOCK, end - block)
        feeds, joints, bits = _classify(block_at(buffer, block, end, tail), width, measures_M)
        before = (bits << _ONE) | np.uint64(begin >= 0)
        starts, ends = bits & ~before, ~bits & before & (ALL >> np.uint64(BLOCK - width))
        # The document ends a word too.
        is_cut = block + BLOCK >= end and bits >> np.uint64(width - 1) != 0
        for _ in range(num_set(ends) + is_cut):
            if begin < 0:
                begin = block + lowest(starts)
                ahead = (starts & (~starts + _ONE)) - _ONE
                starts &= starts - _ONE
                gap += num_set(feeds & ahead)
                feeds &= ~ahead
            stop = min(block + lowest(ends), end)
            # All bits where none is left: the rest of the block.
            inside = (ends & (~ends + _ONE)) - _ONE
            ends &= ends - _ONE
            is_joined = is_joined or joints & inside != 0
            joints &= ~inside
            word, is_wide = hash_run(address + begin, stop - begin, total - begin)
            if is_wide:
                num, gap = _wide_words(buffer, begin, stop, flags, words_W, gaps_W, num, gap, measures_M)
            else:
                words_W[num], gaps_W[num] = _short(word), min(gap, 2)
                num, gap = num + 1, np.int64(0)
            if is_wide or is_joined:
                num_tokens = _split(buffer, begin, stop, classes_C, tokens_T, num_tokens)
            else:
                tokens_T[num_tokens] = word
                num_tokens += 1
            begin, is_joined = np.int64(-1), False
        if starts:
            begin = block + lowest(starts)
        is_joined = is_joined or joints != 0
        gap += num_set(feeds)
    return num, num_tokens


@inner
def _split(
    buffer: NDArray[np.uint8],
    place: int,
    stop: int,
    classes_C: NDArray[np.uint32],
    tokens_T: NDArray[np.uint64],
    num: int,
) -> int:
    """Append the tokens of a run that holds an underscore or bytes beyond ASCII; returns how many there are now."""
    while place < stop:
        token, place = next_token(buffer, place, stop, classes_C)
        if token:
            tokens_T[num] = token
            num += 1
    return num


@inlined
def _classify(address: int, width: int, measures_M: NDArray[np.int64]) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Which bytes of a block are line feeds, underscores, and in words; counts its ASCII characters."""
    whole = ALL >> np.uint64(BLOCK - width)
    wide = bits_between(address, 0, 128, 255) & whole
    digits = bits_between(address, 0, 48, 57) & whole
    joints = bits_between(address, 0, _UNDERSCORE, _UNDERSCORE) & whole
    letters = (bits_between(address, 32, 97, 122) & whole) | joints
    num_characters = width - num_set(wide)
    num_visible = num_characters - num_set(bits_between(address, 0, 0, 32) & whole)
    num_digits, num_letters = num_set(digits), num_set(letters)
    measures_M[CHARACTERS] += num_characters
    measures_M[VISIBLE] += num_visible
    measures_M[DIGITS] += num_digits
    measures_M[SPACED_LETTERS] += num_letters + num_digits
    measures_M[SYMBOLS] += num_visible - num_letters - num_digits
    return bits_between(address, 0, _FEED, _FEED) & whole, joints, wide | digits | letters


@inner
def _wide_words(
    buffer: NDArray[np.uint8],
    place: int,
    end: int,
    flags: NDArray[np.uint8],
    words_W: NDArray[np.uint32],
    gaps_W: NDArray[np.uint8],
    num: int,
    gap: int,
    measures_M: NDArray[np.int64],
) -> tuple[int, int]:
    """Words of a run with characters beyond ASCII, and counts of those; (words there are now, gap before more)."""
    state, part, size = START, np.uint64(0), 0
    while place < end:
        is_alone, is_letter, width = False, True, 1
        if buffer[place] >= 128:
            code, width = decode(buffer, place, end)
            width = max(width, 1)
            kind = _kind(code, flags)
            is_alone = kind & UNSPACED != 0
            is_letter = not is_alone and (kind & LETTER != 0 or (kind & MARK != 0 and size > 0))
            _count_wide(code, kind, is_letter, measures_M)
        if size and not is_letter:
            words_W[num], gaps_W[num] = _finish(state, part, size), min(gap, 2)
            num, gap, state, part, size = num + 1, 0, START, np.uint64(0), 0
        if is_letter or is_alone:
            for k in range(place, place + width):
                state, part, size = _turn(state, part, size, buffer[k])
        place += width
        if is_alone or (place >= end and size):
            words_W[num], gaps_W[num] = _finish(state, part, size), min(gap, 2)
            num, gap, state, part, size = num + 1, 0, START, np.uint64(0), 0
    return num, gap


@inner
def _count_wide(code: int, kind: int, is_letter: bool, measures_M: NDArray[np.int64]) -> None:
    is_visible = code != _WIDE_SPACE
    measures_M[CHARACTERS] += 1
    measures_M[VISIBLE] += is_visible
    measures_M[SYMBOLS] += is_visible and not kind & (LETTER | MARK)
    measures_M[DIGITS] += (kind & DIGIT) >> 1
    measures_M[SPACED_LETTERS] += is_letter
    measures_M[UNSPACED_WORDS] += kind & UNSPACED != 0


@inner
def _kind(code: int, flags: NDArray[np.uint8]) -> int:
    if code < NUM_CODES:
        return np.int64(flags[code])
    return LETTER | UNSPACED if code < _LAST_RARE_HAN else 0


@inner
def _turn(state: np.uint64, part: np.uint64, size: int, byte: int) -> tuple[np.uint64, np.uint64, int]:
    """A running hash, the bytes not yet in it and how many there were in all, with one more byte of a word."""
    part |= np.uint64(byte | 32 if byte < 128 else byte) << np.uint64(8 * (size & 7))
    if size & 7 == 7:
        return fold(state, part), np.uint64(0), size + 1
    return state, part, size + 1


@inner
def _finish(state: np.uint64, part: np.uint64, size: int) -> np.uint32:
    """A word's hash as 32 bits, never zero."""
    return _short(fold(state, part) if size & 7 else state)


@inlined
def _short(state: np.uint64) -> np.uint32:
    return np.uint32(state >> np.uint64(32)) | np.uint32(1)
