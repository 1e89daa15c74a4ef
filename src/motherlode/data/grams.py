"""Compiled look-ups of n-gram hashes in an open table: is one there, and how many of a text's are.

Before the table, which lies in memory, comes a filter of a megabyte, which stays in the processor's cache: most n-grams
of most texts are not in the table, and the filter says so of nearly all of them.

Shape legend: G n-grams, N texts, S slots of a table, F bytes of a filter.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._compiled import compiled, inner

_EMPTY = np.uint64(0)
_FILTER_BYTES = 1 << 20
_SHIFT = np.uint64(64 - 23)
"""The highest 23 bits of a hash name its bit of the filter."""


class Table(NamedTuple):
    """Hashes to look up, of which 0 is taken for 1.

    Args:
        hashes_S: uint64; 0 in empty slots; a power of two of slots, at most half of them full.
        numbers_S: int64, the place of each slot's hash in the array the table was made of (the last of equal ones).
        filter_F: uint8; the bit of every hash that is in the table is set.
    """

    hashes_S: NDArray[np.uint64]
    numbers_S: NDArray[np.int64]
    filter_F: NDArray[np.uint8]


def table(grams_G: NDArray[np.uint64]) -> Table:
    """A table of these hashes."""
    num_slots = 16
    while num_slots < 2 * len(grams_G):
        num_slots *= 2
    made = Table(np.zeros(num_slots, np.uint64), np.full(num_slots, -1, np.int64), np.zeros(_FILTER_BYTES, np.uint8))
    _fill(grams_G, *made)
    return made


@inner
def _slot_of(gram: np.uint64, hashes_S: NDArray[np.uint64]) -> int:
    """Where a hash is, or would be."""
    mask = hashes_S.shape[0] - 1
    slot = np.int64(gram & np.uint64(mask))
    while hashes_S[slot] != _EMPTY and hashes_S[slot] != gram:
        slot = (slot + 1) & mask
    return slot


@inner
def _find(gram: np.uint64, hashes_S: NDArray[np.uint64], filter_F: NDArray[np.uint8]) -> int:
    """The slot of a hash, -1 where it is not in the table."""
    place = np.int64(gram >> _SHIFT)
    if not (filter_F[place >> 3] >> np.uint8(place & 7)) & np.uint8(1):
        return -1
    slot = _slot_of(gram, hashes_S)
    return slot if hashes_S[slot] == gram else -1


@compiled
def _fill(
    grams_G: NDArray[np.uint64],
    hashes_S: NDArray[np.uint64],
    numbers_S: NDArray[np.int64],
    filter_F: NDArray[np.uint8],
) -> None:
    for g in range(grams_G.shape[0]):
        gram = max(grams_G[g], np.uint64(1))
        slot = _slot_of(gram, hashes_S)
        hashes_S[slot] = gram
        numbers_S[slot] = g
        place = np.int64(gram >> _SHIFT)
        filter_F[place >> 3] |= np.uint8(1) << np.uint8(place & 7)


@compiled
def mark(
    grams_G: NDArray[np.uint64],
    hashes_S: NDArray[np.uint64],
    filter_F: NDArray[np.uint8],
    is_found_S: NDArray[np.bool_],
) -> None:
    """Set the slots of the hashes that are in the table."""
    for g in range(grams_G.shape[0]):
        slot = _find(max(grams_G[g], np.uint64(1)), hashes_S, filter_F)
        if slot >= 0:
            is_found_S[slot] = True


@compiled
def count(
    grams_G: NDArray[np.uint64],
    starts_N1: NDArray[np.int64],
    hashes_S: NDArray[np.uint64],
    filter_F: NDArray[np.uint8],
    counts_S: NDArray[np.bool_],
    num_found_N: NDArray[np.int64],
) -> None:
    """How many of each text's n-grams, repeated ones too, are in slots of the table that count.

    Args:
        grams_G: hashes, one text after another.
        starts_N1: where each text's begin, and the end of the last.
        hashes_S, filter_F: see `Table`.
        counts_S: which slots count.
        num_found_N: filled.
    """
    for i in range(num_found_N.shape[0]):
        num = 0
        for g in range(starts_N1[i], starts_N1[i + 1]):
            slot = _find(max(grams_G[g], np.uint64(1)), hashes_S, filter_F)
            if slot >= 0:
                num += counts_S[slot]
        num_found_N[i] = num


@compiled
def shared(
    grams_G: NDArray[np.uint64],
    starts_N1: NDArray[np.int64],
    hashes_S: NDArray[np.uint64],
    numbers_S: NDArray[np.int64],
    filter_F: NDArray[np.uint8],
    lists_U1: NDArray[np.int64],
    owners: NDArray[np.int64],
    least_M: NDArray[np.int64],
    found_Q3: NDArray[np.int64],
) -> int:
    """Indexed texts that share many distinct n-grams with some texts.

    Args:
        grams_G, starts_N1: as for `count`.
        hashes_S, numbers_S, filter_F: a table of the index's distinct n-grams; see `Table`.
        lists_U1, owners: `owners[lists_U1[u] : lists_U1[u + 1]]` are the indexed texts that have n-gram u.
        least_M: for each indexed text, the fewest shared n-grams that count.
        found_Q3: filled with (indexed text, text, n-grams in both), as many as there is room for.

    Returns:
        How many there are.
    """
    num = 0
    last_U = np.full(lists_U1.shape[0] - 1, -1, np.int64)
    counts_M = np.zeros(least_M.shape[0], np.int64)
    touched_M = np.empty(least_M.shape[0], np.int64)
    for i in range(starts_N1.shape[0] - 1):
        num_touched = 0
        for g in range(starts_N1[i], starts_N1[i + 1]):
            slot = _find(max(grams_G[g], np.uint64(1)), hashes_S, filter_F)
            if slot < 0 or last_U[numbers_S[slot]] == i:
                continue
            u = numbers_S[slot]
            last_U[u] = i
            for p in range(lists_U1[u], lists_U1[u + 1]):
                owner = owners[p]
                if counts_M[owner] == 0:
                    touched_M[num_touched] = owner
                    num_touched += 1
                counts_M[owner] += 1
        for k in range(num_touched):
            owner = touched_M[k]
            if counts_M[owner] >= least_M[owner]:
                if num < found_Q3.shape[0]:
                    found_Q3[num, 0], found_Q3[num, 1], found_Q3[num, 2] = owner, i, counts_M[owner]
                num += 1
            counts_M[owner] = 0
    return num
