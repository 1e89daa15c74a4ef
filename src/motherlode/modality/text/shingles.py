"""Word 5-grams of texts, the min-hashes that propose look-alikes, and the exact Jaccard index that decides.

A token is a run of letters, digits and marks, lower-cased; a character of a script written without spaces (Chinese,
Japanese, Thai, ...) is a token of its own, so five of them make a shingle there. The set of a text is the set of its
shingles; a text of fewer than five tokens has one shingle, and one without tokens has none. Sets are of 64-bit hashes:
two different shingles of a million are taken for one with probability 3e-8.

Broder 1997, "On the resemblance and containment of documents": the least value of a random permutation over two sets
is equal with the probability of their Jaccard index J. R such values hashed together make a band, and texts that agree
in one of K bands, with probability 1 - (1 - J^R)^K, are candidates: .94 at J = .75, .99 at .8, .15 at .5. On 15,379
pages of manuals 20 bands of 7 found .9987 of the look-alikes; 16 of 8 .9961 with a fifth fewer comparisons, 25 of 6
.9998 with a fifth more.

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

from motherlode.modality._compiled import compiled
from motherlode.randomness import numpy_generator

NUM_BANDS, NUM_ROWS = 20, 7
"""Bands and rows of each: see above."""
NUM_HASHES = NUM_BANDS * NUM_ROWS
SHINGLE_TOKENS = 5
NO_BAND = np.uint64(0)
"""Band hash of a text without tokens: it resembles nothing."""

_ALONE = np.uint32(1 << 31)
"""Set in the class of a character that is a token by itself."""
_NUM_CLASSES = 0x20000
"""Code points with a class of their own; above lie ideographs up to `_END_IDEOGRAPHS`, and nothing of use."""
_END_IDEOGRAPHS = 0x40000
_UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3100, 0x312F), (0x31A0, 0x31FF),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9D),
)  # fmt: skip
"""Thai and Lao, Burmese, Khmer, kana, Bopomofo and ideographs."""
_BLOCK_SHINGLES = 512
_START = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)
_WEIGHT = np.uint64(0x9E3779B97F4A7C15)


@cache
def classes() -> NDArray[np.uint32]:
    """What each code point is to a token: 0 separates; else its lower-case form, with `_ALONE` set where it is one."""
    table = np.zeros(_NUM_CLASSES, np.uint32)
    for code in range(_NUM_CLASSES):
        sign = chr(code)
        if sign.isalnum() or unicodedata.category(sign)[0] == "M":
            table[code] = ord(sign.lower()[0])
    for first, last in _UNSPACED:
        block = table[first : last + 1]
        block[block > 0] |= _ALONE
    table.flags.writeable = False
    return table


@cache
def _permutations() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Odd factors and offsets: h -> factor * h + offset (mod 2^32) permutes the 32-bit words."""
    random = numpy_generator(0, "min-hash permutations")
    factors, offsets = random.integers(0, 1 << 32, (2, NUM_HASHES), np.uint32)
    return factors | np.uint32(1), offsets


def band_hashes(buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Band hashes of texts that lie one after another.

    Args:
        buffer_B: uint8, UTF-8; what is not valid separates tokens.
        offsets_N1: int64, where each text begins, and the end of the last.

    Returns:
        uint64 (N, K); texts with an equal value in one column are candidates; `NO_BAND` for a text without tokens.
    """
    bands_NK = np.empty((len(offsets_N1) - 1, NUM_BANDS), np.uint64)
    factors, offsets = _permutations()
    _band_hashes(buffer_B, offsets_N1, classes(), factors, offsets, bands_NK)
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


@compiled
def num_in_both(set_a_S: NDArray[np.uint64], set_b_S: NDArray[np.uint64]) -> int:
    """Size of the intersection of two ascending sets."""
    i, j, num = 0, 0, 0
    while i < set_a_S.shape[0] and j < set_b_S.shape[0]:
        a, b = set_a_S[i], set_b_S[j]
        num += a == b
        i += a <= b
        j += b <= a
    return num


@compiled
def next_token(
    text_B: NDArray[np.uint8], place: int, stop: int, classes_C: NDArray[np.uint32]
) -> tuple[np.uint64, int]:
    """Hash of the first token at or after `place`, and the place after it; hash 0 where there is none."""
    state, is_inside = _START, False
    while place < stop:
        byte = text_B[place]
        width = 1
        if byte < 128:
            sign = classes_C[byte]
        else:
            sign, width = _wide_class(text_B, place, stop, classes_C)
        if sign == 0 or sign >= _ALONE:
            if is_inside:
                break
            place += width
            if sign:
                return (_START ^ np.uint64(sign)) * _PRIME | np.uint64(1), place
            continue
        state = (state ^ np.uint64(sign)) * _PRIME
        is_inside = True
        place += width
    return (state | np.uint64(1) if is_inside else np.uint64(0)), place


@compiled
def _wide_class(
    text_B: NDArray[np.uint8], place: int, stop: int, classes_C: NDArray[np.uint32]
) -> tuple[np.uint32, int]:
    """Class and width of the character of two to four bytes at `place`; one separating byte where it is not valid."""
    lead = np.int64(text_B[place])
    width = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if lead < 0xC2 or lead > 0xF4 or place + width > stop:
        return np.uint32(0), 1
    code = lead & (0x7F >> width)
    for k in range(1, width):
        byte = np.int64(text_B[place + k])
        if byte & 0xC0 != 0x80:
            return np.uint32(0), 1
        code = code << 6 | (byte & 0x3F)
    if code < _NUM_CLASSES:
        return classes_C[code], width
    return (np.uint32(code) | _ALONE if code < _END_IDEOGRAPHS else np.uint32(0)), width


@compiled
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
    state: NDArray[np.uint64],
    hashes_H: NDArray[np.uint64],
) -> tuple[int, int]:
    """The next shingles of a text, as many as `hashes_H` holds.

    Args:
        text_B, place, stop: where to read on.
        classes_C: see `classes`.
        state: the last tokens, as many as a shingle has, the sum over them, and the number of tokens seen; zeros at the
            start of a text.
        hashes_H: filled.

    Returns:
        How many were found (fewer than H: the text is at its end), and the place to read on from.
    """
    length = state.shape[0] - 2
    num, seen, total = 0, np.int64(state[length + 1]), state[length]
    slot = seen % length
    oldest = _power(length)
    while num < hashes_H.shape[0]:
        token, place = next_token(text_B, place, stop, classes_C)
        if token == 0:
            if 0 < seen < length:
                hashes_H[num] = mixed(total)
                num, seen = num + 1, length
            break
        total = total * _WEIGHT + token - state[slot] * oldest
        state[slot] = token
        slot = slot + 1 if slot + 1 < length else 0
        seen += 1
        if seen >= length:
            hashes_H[num] = mixed(total)
            num += 1
    state[length], state[length + 1] = total, np.uint64(seen)
    return num, place


@compiled
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
    state = np.empty(length + 2, np.uint64)
    write = 0
    for i in range(offsets_N1.shape[0] - 1):
        state[:] = 0
        starts_N1[i] = write
        start, stop = offsets_N1[i], offsets_N1[i + 1]
        # A token takes two bytes with what separates it, and one of them alone may be an ideograph of three.
        room = hashes[write : write + (stop - start) // 2 + 2]
        write += _fill(buffer_B, start, stop, classes_C, state, room)[0]
    starts_N1[offsets_N1.shape[0] - 1] = write


@compiled
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
    factors: NDArray[np.uint32],
    offsets: NDArray[np.uint32],
    bands_NK: NDArray[np.uint64],
) -> None:
    hashes_H = np.empty(_BLOCK_SHINGLES, np.uint64)
    words_H = np.empty(_BLOCK_SHINGLES, np.uint32)
    least = np.empty(factors.shape[0], np.uint32)
    state = np.empty(SHINGLE_TOKENS + 2, np.uint64)
    for i in range(bands_NK.shape[0]):
        state[:] = 0
        least[:] = 0xFFFFFFFF
        place, num, total = offsets_N1[i], _BLOCK_SHINGLES, 0
        while num == _BLOCK_SHINGLES:
            num, place = _fill(buffer_B, place, offsets_N1[i + 1], classes_C, state, hashes_H)
            for k in range(num):
                words_H[k] = np.uint32(hashes_H[k] >> np.uint64(32))
            _lower(words_H[:num], factors, offsets, least)
            total += num
        for band in range(bands_NK.shape[1]):
            bands_NK[i, band] = _band(least, band) if total else NO_BAND


@compiled
def _lower(
    words_H: NDArray[np.uint32], factors: NDArray[np.uint32], offsets: NDArray[np.uint32], least: NDArray[np.uint32]
) -> None:
    """Lower each minimum to the least permuted word; the inner loop runs over words, sixteen at a time."""
    for j in range(least.shape[0]):
        factor, offset, low = factors[j], offsets[j], least[j]
        for k in range(words_H.shape[0]):
            low = min(low, np.uint32(factor * words_H[k] + offset))
        least[j] = low


@compiled
def _band(least: NDArray[np.uint32], band: int) -> np.uint64:
    """One word for the minima of a band; never `NO_BAND`."""
    word = np.uint64(band + 1)
    for j in range(band * NUM_ROWS, (band + 1) * NUM_ROWS):
        word = mixed(word * _WEIGHT + np.uint64(least[j]))
    return word or np.uint64(1)
