"""Compiled loops of the near-duplicate search over texts: pairs within buckets, and the likeness of pairs.

Shape legend: E entries of buckets, N rows, Q pairs, F slots of the memory of failures.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.data.kernels import find
from motherlode.modality._compiled import compiled, inner

_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


@inner
def pair_key(first: int, second: int) -> np.uint64:
    """A word for a pair of rows, different for every pair while rows are fewer than 2^32; never 0."""
    return (np.uint64(first) << _HALF | np.uint64(second)) + np.uint64(1)


@inner
def _slot(key: np.uint64, num_slots: int) -> int:
    word = key * _MIX
    return np.int64((word ^ (word >> _HALF)) % np.uint64(num_slots))


@compiled
def propose(
    keys_E: NDArray[np.uint64],
    rows_E: NDArray[np.int64],
    first_entry: int,
    near: int,
    far: int,
    parent_N: NDArray[np.int64],
    failed_F: NDArray[np.uint64],
    pairs_Q2: NDArray[np.int64],
) -> tuple[int, int]:
    """Pairs of one bucket that lie `near` to `far` places apart, are not in one set yet and are not known to differ.

    Args:
        keys_E: band hash of each entry; equal ones lie together.
        rows_E: row of each entry.
        first_entry: where to begin.
        near, far: least and most distance of the two in the order of the entries.
        parent_N: disjoint sets of rows.
        failed_F: keys of pairs that were found unlike, each in its slot; a slot remembers the last.
        pairs_Q2: filled with (smaller row, larger row).

    Returns:
        The number of pairs, and the entry to go on from: E when all were seen, less when `pairs_Q2` is full.
    """
    num = 0
    for e in range(first_entry, keys_E.shape[0]):
        if num + far - near >= pairs_Q2.shape[0]:
            return num, e
        for distance in range(near, far + 1):
            if e < distance or keys_E[e - distance] != keys_E[e]:
                break
            first, second = min(rows_E[e - distance], rows_E[e]), max(rows_E[e - distance], rows_E[e])
            if find(parent_N, first) == find(parent_N, second):
                continue
            key = pair_key(first, second)
            if failed_F[_slot(key, failed_F.shape[0])] != key:
                pairs_Q2[num, 0], pairs_Q2[num, 1] = first, second
                num += 1
    return num, keys_E.shape[0]


@compiled
def remember(pairs_Q2: NDArray[np.int64], failed_F: NDArray[np.uint64]) -> None:
    """Note pairs that were found unlike."""
    for q in range(pairs_Q2.shape[0]):
        key = pair_key(pairs_Q2[q, 0], pairs_Q2[q, 1])
        failed_F[_slot(key, failed_F.shape[0])] = key


@compiled
def num_open(keys_E: NDArray[np.uint64], rows_E: NDArray[np.int64], far: int, parent_N: NDArray[np.int64]) -> int:
    """Entries that have an entry of their bucket more than `far` places before them which is not in their set."""
    num, start = 0, 0
    for e in range(keys_E.shape[0]):
        if e and keys_E[e] != keys_E[e - 1]:
            start = e
        if e - far > start:
            num += find(parent_N, rows_E[e]) != find(parent_N, rows_E[start])
    return num


@compiled
def alike(
    grams: NDArray[np.uint64],
    starts: NDArray[np.int64],
    texts_Q2: NDArray[np.int64],
    threshold: float,
    is_alike_Q: NDArray[np.bool_],
) -> None:
    """Whether the Jaccard index of each pair's sets of shingles reaches the threshold; two empty sets are not alike.

    Args:
        grams: shingles of each text, in any order and with repetitions, one text after another.
        starts: where each text begins, and the end of the last.
        texts_Q2: numbers of the two texts of each pair.
        threshold: in (0, 1].
        is_alike_Q: filled.
    """
    table = np.empty(1 << 10, np.uint64)
    owners = np.empty(1 << 10, np.uint8)
    for q in range(texts_Q2.shape[0]):
        a, b = texts_Q2[q, 0], texts_Q2[q, 1]
        num_slots = 16
        while num_slots < 2 * (starts[a + 1] - starts[a] + starts[b + 1] - starts[b]):
            num_slots *= 2
        if num_slots > table.shape[0]:
            table, owners = np.empty(num_slots, np.uint64), np.empty(num_slots, np.uint8)
        owners[:num_slots] = 0
        _mark(grams[starts[a] : starts[a + 1]], table, owners, num_slots - 1, 1)
        _mark(grams[starts[b] : starts[b + 1]], table, owners, num_slots - 1, 2)
        num_any = num_both = 0
        for slot in range(num_slots):
            num_any += owners[slot] != 0
            num_both += owners[slot] == 3
        # A hair below, for what floating point makes of 0.7 * 10.
        is_alike_Q[q] = num_both > 0 and num_both >= threshold * num_any - 1e-9


@inner
def _mark(
    grams_S: NDArray[np.uint64], table: NDArray[np.uint64], owners: NDArray[np.uint8], mask: int, owner: int
) -> None:
    """Put shingles, which are hashes already, into an open table and note who has them."""
    for s in range(grams_S.shape[0]):
        gram = grams_S[s]
        slot = np.int64(gram & np.uint64(mask))
        while owners[slot] and table[slot] != gram:
            slot = (slot + 1) & mask
        table[slot] = gram
        owners[slot] |= owner
