"""Word 5-grams of texts, the min-hashes that propose look-alikes, and the exact Jaccard index that decides.

A token is a run of letters, digits and marks, lower-cased; a character of a script written without spaces (Chinese,
Japanese, Thai, ...) is a token of its own, so five of them make a shingle there. The set of a text is the set of its
shingles; a text of fewer than five tokens has one shingle, and one without tokens has none. Sets are of 64-bit hashes:
two different shingles of a million are taken for one with probability 3e-8.

Broder 1997, "On the resemblance and containment of documents": the least value of a random permutation over two sets
is equal with the probability of their Jaccard index J. R such values hashed together make a band, and texts that agree
in one of K bands, with probability 1 - (1 - J^R)^K, are candidates: .94 at J = .75, .99 at .8, .15 at .5. On 15,379
pages of manuals 20 bands of 7 found .9987 of the look-alikes; 16 of 8 .9961 with a fifth fewer comparisons, 25 of 6
.9998 with a fifth more. All K * R values come from one hash a shingle: it is thrown into one of as many places, each of
which keeps the least; while a place is empty, all shingles are thrown again (Dahlgaard, Knudsen and Thorup 2017, "Fast
similarity sketching"). Where 140 permutations took 6 ns a byte, this takes .5.

Shape legend: N texts, B bytes, K bands, R rows a band, H shingles of a block, S shingles of a set.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._compiled import compiled, inner
from motherlode.modality.text.runs import ALONE, NUM_CLASSES, hash_tokens

NUM_BANDS, NUM_ROWS = 20, 7
"""Bands and rows of each: see above."""
NUM_HASHES = NUM_BANDS * NUM_ROWS
SHINGLE_TOKENS = 5
NO_BAND = np.uint64(0)
"""Band hash of a text without tokens: it resembles nothing."""

_UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3100, 0x312F), (0x31A0, 0x31FF),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9D),
)  # fmt: skip
"""Thai and Lao, Burmese, Khmer, kana, Bopomofo and ideographs."""
_BLOCK_TOKENS = 4096
_WEIGHT = np.uint64(0x9E3779B97F4A7C15)
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)


@cache
def classes() -> NDArray[np.uint32]:
    """What each code point is to a token: 0 separates; else its lower case, with `runs.ALONE` set where it is one."""
    table = np.zeros(NUM_CLASSES, np.uint32)
    for code in range(NUM_CLASSES):
        sign = chr(code)
        if sign.isalnum() or unicodedata.category(sign)[0] == "M":
            table[code] = ord(sign.lower()[0])
    for first, last in _UNSPACED:
        block = table[first : last + 1]
        block[block > 0] |= ALONE
    table.flags.writeable = False
    return table


def band_hashes(buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Band hashes of texts that lie one after another.

    Args:
        buffer_B: uint8, UTF-8; what is not valid separates tokens.
        offsets_N1: int64, where each text begins, and the end of the last.

    Returns:
        uint64 (N, K); texts with an equal value in one column are candidates; `NO_BAND` for a text without tokens.
    """
    bands_NK = np.empty((len(offsets_N1) - 1, NUM_BANDS), np.uint64)
    _band_hashes(buffer_B, offsets_N1, classes(), bands_NK)
    return bands_NK


def shingle_sets(
    buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The distinct shingles of each text, ascending.

    Args:
        buffer_B, offsets_N1: as for `band_hashes`.

    Returns:
        uint64, all sets one after another, and int64 (N + 1,), where each begins.
    """
    hashes, starts_N1 = gram_hashes(buffer_B, offsets_N1, SHINGLE_TOKENS)
    for start, stop in pairwise(starts_N1.tolist()):
        hashes[start:stop].sort()
    return hashes[: distinct(hashes, starts_N1)], starts_N1


def gram_hashes(
    buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64], length: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Every run of `length` tokens of each text, in order; as `shingle_sets`, with repetitions.

    A text of fewer tokens has one run, of all its tokens.
    """
    hashes = np.empty(len(buffer_B) // 2 + 2 * len(offsets_N1), np.uint64)
    starts_N1 = np.empty(len(offsets_N1), np.int64)
    _gram_hashes(buffer_B, offsets_N1, classes(), length, hashes, starts_N1)
    return hashes[: starts_N1[-1]], starts_N1


def jaccard(set_a_S: NDArray[np.uint64], set_b_S: NDArray[np.uint64]) -> float:
    """|A and B| / |A or B| of two ascending sets, in [0, 1]; 0 where both are empty, for nothing is known of them."""
    num_common = num_in_both(set_a_S, set_b_S)
    num_any = len(set_a_S) + len(set_b_S) - num_common
    return num_common / num_any if num_any else 0.0


@inner
def num_in_both(set_a_S: NDArray[np.uint64], set_b_S: NDArray[np.uint64]) -> int:
    """Size of the intersection of two ascending sets."""
    i, j, num = 0, 0, 0
    while i < set_a_S.shape[0] and j < set_b_S.shape[0]:
        a, b = set_a_S[i], set_b_S[j]
        num += a == b
        i += a <= b
        j += b <= a
    return num


@inner
def mixed(word: np.uint64) -> np.uint64:
    """Every bit of the result depends on every bit of the word (the finaliser of MurmurHash3); a permutation."""
    word = (word ^ (word >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    word = (word ^ (word >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return word ^ (word >> np.uint64(33))


@compiled
def _fill(
    text_B: NDArray[np.uint8],
    place: int,
    stop: int,
    classes_C: NDArray[np.uint32],
    tokens_T: NDArray[np.uint64],
    state: NDArray[np.uint64],
    hashes_H: NDArray[np.uint64],
) -> tuple[int, int]:
    """The next shingles of a text.

    Args:
        text_B, place, stop: where to read on, and where the text ends.
        classes_C: see `classes`.
        tokens_T: the last tokens, as many as a shingle has, and room for those to come; zeros at the start of a text.
        state: the sum over the last tokens, and the number of tokens seen; zeros at the start of a text.
        hashes_H: filled; room for one token more than `tokens_T` has room for.

    Returns:
        How many were found, and the place to read on from: `stop` where the text is at its end.
    """
    length = tokens_T.shape[0] - _BLOCK_TOKENS
    oldest = _power(length)
    num_tokens, place = hash_tokens(text_B, place, stop, classes_C, tokens_T[length:])
    num, seen, total = 0, np.int64(state[1]), state[0]
    for k in range(num_tokens):
        total = total * _WEIGHT + tokens_T[length + k] - tokens_T[k] * oldest
        hashes_H[num] = mixed(total)
        seen += 1
        num += seen >= length
    for k in range(length):
        tokens_T[k] = tokens_T[num_tokens + k]
    if place >= stop and 0 < seen < length:
        hashes_H[num] = mixed(total)
        num += 1
    state[0], state[1] = total, np.uint64(seen)
    return num, place


@inner
def _power(exponent: int) -> np.uint64:
    """The weight of a token that has left the run, modulo 2^64."""
    power = np.uint64(1)
    for _ in range(exponent):
        power *= _WEIGHT
    return power


@compiled
def _gram_hashes(
    buffer_B: NDArray[np.uint8],
    offsets_N1: NDArray[np.int64],
    classes_C: NDArray[np.uint32],
    length: int,
    hashes: NDArray[np.uint64],
    starts_N1: NDArray[np.int64],
) -> None:
    tokens_T = np.empty(length + _BLOCK_TOKENS, np.uint64)
    state = np.empty(2, np.uint64)
    write = 0
    for i in range(offsets_N1.shape[0] - 1):
        tokens_T[:length] = 0
        state[:] = 0
        starts_N1[i] = write
        place, stop = offsets_N1[i], offsets_N1[i + 1]
        while place < stop:
            num, place = _fill(buffer_B, place, stop, classes_C, tokens_T, state, hashes[write:])
            write += num
    starts_N1[offsets_N1.shape[0] - 1] = write


@inner
def distinct(hashes: NDArray[np.uint64], starts_N1: NDArray[np.int64]) -> int:
    """Close the gaps that repeated values of ascending lists leave; moves the starts; returns the new total."""
    write = 0
    for i in range(starts_N1.shape[0] - 1):
        start, stop = starts_N1[i], starts_N1[i + 1]
        starts_N1[i] = write
        for k in range(start, stop):
            if k == start or hashes[k] != hashes[k - 1]:
                hashes[write] = hashes[k]
                write += 1
    starts_N1[starts_N1.shape[0] - 1] = write
    return write


@compiled
def _band_hashes(
    buffer_B: NDArray[np.uint8],
    offsets_N1: NDArray[np.int64],
    classes_C: NDArray[np.uint32],
    bands_NK: NDArray[np.uint64],
) -> None:
    hashes_H = np.empty(_BLOCK_TOKENS + 1, np.uint64)
    tokens_T = np.empty(SHINGLE_TOKENS + _BLOCK_TOKENS, np.uint64)
    state = np.empty(2, np.uint64)
    least = np.empty(NUM_HASHES, np.uint64)
    for i in range(bands_NK.shape[0]):
        least[:] = _EMPTY
        num = total = turn = 0
        while turn == 0 or (total and _has_empty(least)):
            if turn and num == total:
                # All shingles of a short text are at hand.
                _throw(hashes_H[:num], turn, least)
                turn += 1
                continue
            place, total = offsets_N1[i], 0
            tokens_T[:SHINGLE_TOKENS] = 0
            state[:] = 0
            while place < offsets_N1[i + 1]:
                num, place = _fill(buffer_B, place, offsets_N1[i + 1], classes_C, tokens_T, state, hashes_H)
                _throw(hashes_H[:num], turn, least)
                total += num
            turn += 1
        for band in range(bands_NK.shape[1]):
            bands_NK[i, band] = _band(least, band) if total else NO_BAND


@inner
def _has_empty(least: NDArray[np.uint64]) -> bool:
    most = np.uint64(0)
    for j in range(least.shape[0]):
        most = max(most, least[j])
    return most == _EMPTY


@inner
def _throw(hashes_H: NDArray[np.uint64], turn: int, least: NDArray[np.uint64]) -> None:
    """Throw each shingle into one of the places and keep the least there; what an earlier turn left is always less.

    The last turns throw all shingles into one place each, so that none stays empty.
    """
    num, high = np.uint64(least.shape[0]), np.uint64(turn) << np.uint64(32)
    for k in range(hashes_H.shape[0]):
        word = mixed(hashes_H[k] + np.uint64(turn) * _WEIGHT) if turn else hashes_H[k]
        slot = np.int64(((word >> np.uint64(32)) * num) >> np.uint64(32))
        if turn >= least.shape[0]:
            slot = turn - least.shape[0]
        least[slot] = min(least[slot], high | (word & np.uint64(0xFFFFFFFF)))


@inner
def _band(least: NDArray[np.uint64], band: int) -> np.uint64:
    """One word for the minima of a band; never `NO_BAND`."""
    word = np.uint64(band + 1)
    for j in range(band * NUM_ROWS, (band + 1) * NUM_ROWS):
        word = mixed(word * _WEIGHT + least[j])
    return word or np.uint64(1)
