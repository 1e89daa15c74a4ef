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

Shape legend: N texts, B bytes, T tokens, K bands, R rows a band, H shingles of a text, S shingles of a set.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._bits import BLOCK
from motherlode.modality._compiled import compiled, inner
from motherlode.modality.text import characters
from motherlode.modality.text.words import NUM_COUNTS, walk_words

NUM_BANDS, NUM_ROWS = 20, 7
"""Bands and rows of each: see above."""
NUM_HASHES = NUM_BANDS * NUM_ROWS
SHINGLE_TOKENS = 5
NO_BAND = np.uint64(0)
"""Band hash of a text without tokens: it resembles nothing."""

_WEIGHT = np.uint64(0x9E3779B97F4A7C15)
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)


def band_hashes(buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Band hashes of texts that lie one after another.

    Args:
        buffer_B: uint8, UTF-8; what is not valid separates tokens.
        offsets_N1: int64, where each text begins, and the end of the last.

    Returns:
        As `bands`.
    """
    room, starts_N1 = np.empty(len(buffer_B) // 2 + len(offsets_N1), np.uint64), np.empty(len(offsets_N1), np.int64)
    _gram_hashes(buffer_B, offsets_N1, characters.flags(), characters.classes(), 0, room, starts_N1)
    return bands(room, starts_N1, np.ones(len(offsets_N1) - 1, np.bool_))


def bands(
    tokens: NDArray[np.uint64], starts_N1: NDArray[np.int64], is_wanted_N: NDArray[np.bool_]
) -> NDArray[np.uint64]:
    """Band hashes of texts whose tokens are known.

    Args:
        tokens: of all texts, one after another.
        starts_N1: where those of each text begin, and the end of the last.
        is_wanted_N: texts that have bands.

    Returns:
        uint64 (N, K); texts with an equal value in one column are candidates; `NO_BAND` for a text without tokens, or
        one that is not wanted.
    """
    bands_NK = np.empty((len(starts_N1) - 1, NUM_BANDS), np.uint64)
    _bands(tokens, starts_N1, is_wanted_N, bands_NK)
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
    hashes = np.empty(len(buffer_B) // 2 + len(offsets_N1), np.uint64)
    starts_N1 = np.empty(len(offsets_N1), np.int64)
    _gram_hashes(buffer_B, offsets_N1, characters.flags(), characters.classes(), length, hashes, starts_N1)
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
def _gram_hashes(
    buffer_B: NDArray[np.uint8],
    offsets_N1: NDArray[np.int64],
    flags: NDArray[np.uint8],
    classes_C: NDArray[np.uint32],
    length: int,
    hashes: NDArray[np.uint64],
    starts_N1: NDArray[np.int64],
) -> None:
    """Fill `hashes` with the runs of `length` tokens of each text, or where that is 0 with the tokens themselves."""
    most = np.diff(offsets_N1).max() // 2 + 1 if offsets_N1.shape[0] > 1 else 1
    words, gaps, counts = np.empty(most, np.uint32), np.empty(most, np.uint8), np.empty(NUM_COUNTS, np.int64)
    tokens, tail = np.empty(most, np.uint64), np.zeros(BLOCK, np.uint8)
    write = 0
    for i in range(offsets_N1.shape[0] - 1):
        starts_N1[i] = write
        target = tokens if length else hashes[write:]
        num = walk_words(
            buffer_B, offsets_N1[i], offsets_N1[i + 1], flags, classes_C, tail, words, gaps, target, counts
        )[1]
        write += _roll(tokens[:num], length, hashes[write:]) if length else num
    starts_N1[offsets_N1.shape[0] - 1] = write


@inner
def _roll(tokens_T: NDArray[np.uint64], length: int, hashes_H: NDArray[np.uint64]) -> int:
    """Hashes of all runs of `length` tokens, or of the one run there is where they are fewer; returns how many."""
    total, oldest = np.uint64(0), np.uint64(1)
    for _ in range(length):
        oldest *= _WEIGHT
    for k in range(min(length - 1, tokens_T.shape[0])):
        total = total * _WEIGHT + tokens_T[k]
    if tokens_T.shape[0] < length:
        hashes_H[:1] = mixed(total)
        return min(tokens_T.shape[0], 1)
    left = np.uint64(0)
    for k in range(length - 1, tokens_T.shape[0]):
        total = total * _WEIGHT + tokens_T[k] - left * oldest
        left = tokens_T[k + 1 - length]
        hashes_H[k + 1 - length] = mixed(total)
    return tokens_T.shape[0] + 1 - length


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
def _bands(
    tokens: NDArray[np.uint64],
    starts_N1: NDArray[np.int64],
    is_wanted_N: NDArray[np.bool_],
    bands_NK: NDArray[np.uint64],
) -> None:
    hashes_H, least = (
        np.empty(np.diff(starts_N1).max() + 1 if bands_NK.shape[0] else 1, np.uint64),
        np.empty(NUM_HASHES, np.uint64),
    )
    for i in range(bands_NK.shape[0]):
        num = _roll(tokens[starts_N1[i] : starts_N1[i + 1]], SHINGLE_TOKENS, hashes_H) if is_wanted_N[i] else 0
        bands_NK[i] = NO_BAND
        if num:
            least[:] = _EMPTY
            turn = 0
            while turn == 0 or _has_empty(least):
                _throw(hashes_H[:num], turn, least)
                turn += 1
            for band in range(bands_NK.shape[1]):
                bands_NK[i, band] = _band(least, band)


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
