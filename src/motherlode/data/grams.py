"""Compiled look-ups of n-gram hashes in an open table: is one there, and how many of a text's are.

Shape legend: G n-grams, N texts, S slots of a table.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._compiled import compiled

EMPTY = np.uint64(0)


def table(grams_G: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A table of hashes, at most half full; a power of two of slots. Hash 0 is taken for 1."""
    num_slots = 16
    while num_slots < 2 * len(grams_G):
        num_slots *= 2
    table_S = np.zeros(num_slots, np.uint64)
    _fill(grams_G, table_S)
    return table_S


@compiled
def slot_of(gram: np.uint64, table_S: NDArray[np.uint64]) -> int:
    """Where a hash is, or would be."""
    mask = table_S.shape[0] - 1
    slot = np.int64(gram & np.uint64(mask))
    while table_S[slot] != EMPTY and table_S[slot] != gram:
        slot = (slot + 1) & mask
    return slot


@compiled
def _fill(grams_G: NDArray[np.uint64], table_S: NDArray[np.uint64]) -> None:
    for g in range(grams_G.shape[0]):
        gram = max(grams_G[g], np.uint64(1))
        table_S[slot_of(gram, table_S)] = gram


@compiled
def mark(grams_G: NDArray[np.uint64], table_S: NDArray[np.uint64], is_found_S: NDArray[np.bool_]) -> None:
    """Set the slots of the hashes that are in the table."""
    for g in range(grams_G.shape[0]):
        gram = max(grams_G[g], np.uint64(1))
        slot = slot_of(gram, table_S)
        if table_S[slot] == gram:
            is_found_S[slot] = True


@compiled
def count(
    grams_G: NDArray[np.uint64],
    starts_N1: NDArray[np.int64],
    table_S: NDArray[np.uint64],
    counts_S: NDArray[np.bool_],
    num_found_N: NDArray[np.int64],
) -> None:
    """How many of each text's n-grams, repeated ones too, are in slots of the table that count.

    Args:
        grams_G: hashes, one text after another.
        starts_N1: where each text's begin, and the end of the last.
        table_S: see `table`.
        counts_S: which slots count.
        num_found_N: filled.
    """
    for i in range(num_found_N.shape[0]):
        num = 0
        for g in range(starts_N1[i], starts_N1[i + 1]):
            gram = max(grams_G[g], np.uint64(1))
            slot = slot_of(gram, table_S)
            num += (table_S[slot] == gram) & counts_S[slot]
        num_found_N[i] = num


@compiled
def numbered(grams_U: NDArray[np.uint64], table_S: NDArray[np.uint64]) -> NDArray[np.int64]:
    """For each slot of their table, the place of its hash in `grams_U`, which are distinct."""
    numbers_S = np.full(table_S.shape[0], -1, np.int64)
    for u in range(grams_U.shape[0]):
        numbers_S[slot_of(max(grams_U[u], np.uint64(1)), table_S)] = u
    return numbers_S


@compiled
def shared(
    grams_G: NDArray[np.uint64],
    starts_N1: NDArray[np.int64],
    table_S: NDArray[np.uint64],
    numbers_S: NDArray[np.int64],
    lists_U1: NDArray[np.int64],
    owners: NDArray[np.int64],
    least_M: NDArray[np.int64],
    found_Q3: NDArray[np.int64],
) -> int:
    """Indexed texts that share many distinct n-grams with some texts.

    Args:
        grams_G, starts_N1: as for `count`.
        table_S, numbers_S: the index's n-grams; see `table` and `numbered`.
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
            gram = max(grams_G[g], np.uint64(1))
            slot = slot_of(gram, table_S)
            u = numbers_S[slot]
            if table_S[slot] != gram or last_U[u] == i:
                continue
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
