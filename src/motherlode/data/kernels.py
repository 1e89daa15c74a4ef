"""Compiled loops of floor 2: disjoint sets and the search for fingerprints that differ in few bits.

Shape legend: N rows, Q queries, K fingerprints a row, E = N*K table entries, P probes, M candidates kept a row.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._bits import num_set
from motherlode.modality._compiled import compiled, inner

NUM_BANDS = 4
BAND_BITS = 16
BAND_MASK = np.uint64((1 << BAND_BITS) - 1)


@inner
def find(parent_N: NDArray[np.int64], row: int) -> int:
    """The smallest row of the set that `row` belongs to; halves the path it walks."""
    while parent_N[row] != row:
        parent_N[row] = parent_N[parent_N[row]]
        row = parent_N[row]
    return row


@compiled
def union(parent_N: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
    """Join the sets of each pair; the smaller root stays the root, so a set is named by its smallest row."""
    for i in range(first.shape[0]):
        a, b = find(parent_N, first[i]), find(parent_N, second[i])
        if a < b:
            parent_N[b] = a
        elif b < a:
            parent_N[a] = b


@compiled
def flatten(parent_N: NDArray[np.int64]) -> None:
    """Make every row point at its root."""
    for row in range(parent_N.shape[0]):
        parent_N[row] = find(parent_N, row)


@compiled
def near_in_band(
    queries_Q: NDArray[np.uint64],
    rows_Q: NDArray[np.int64],
    codes_E: NDArray[np.uint64],
    entries_E: NDArray[np.int64],
    num_columns: int,
    starts: NDArray[np.int64],
    band: int,
    radius: int,
    probes_P: NDArray[np.uint64],
    max_bits: int,
    budget: int,
    found_QM: NDArray[np.int64],
    crowd_Q: NDArray[np.int64],
) -> int:
    """For each query, the nearest rows within `max_bits`, found through one band of 16 bits.

    A pair belongs to the first band in which it differs in at most `radius` bits, so no two bands report it twice.

    Args:
        queries_Q: fingerprints (column 0).
        rows_Q: their rows.
        codes_E: fingerprints in the table, sorted by this band's bits, then whole.
        entries_E: row * num_columns + column of each. A later row's column 0 is not reported: it will find this one.
        num_columns: K.
        starts: where each value of the band begins in the table, and the end; 65,537 long.
        band: 0 to 3, lowest bits first.
        radius: bits in which the band itself may differ.
        probes_P: all masks of at most `radius` bits, fewest bits first.
        max_bits: bits in which the whole may differ.
        budget: most fingerprints compared for one query; the work is linear in N whatever the data.
        found_QM: filled with rows, nearest first, −1 where there are fewer.
        crowd_Q: how many entries were within `max_bits` is added here.

    Returns:
        How many queries ran out of budget.
    """
    num_exhausted = 0
    num_kept_most = found_QM.shape[1]
    distances = np.empty(num_kept_most, np.int64)
    for i in range(queries_Q.shape[0]):
        query, row, left, num_kept, crowd = queries_Q[i], rows_Q[i], budget, 0, 0
        key = (query >> np.uint64(BAND_BITS * band)) & BAND_MASK
        for p in range(probes_P.shape[0]):
            value = np.int64(key ^ probes_P[p])
            start, stop = starts[value], starts[value + 1]
            if stop - start > left:
                # Too many to compare: those next to the query in sorted order share its highest bits.
                middle = start + np.searchsorted(codes_E[start:stop], query)
                start, stop = max(start, middle - left // 2), min(stop, middle + left // 2)
                num_exhausted += 1
                left = 0
            left -= stop - start
            for e in range(start, stop):
                difference = codes_E[e] ^ query
                bits = num_set(difference)
                if bits > max_bits:
                    continue
                other, column = entries_E[e] // num_columns, entries_E[e] % num_columns
                if other == row or (other > row and column == 0):
                    continue
                crowd += 1
                if num_kept == num_kept_most and bits >= distances[num_kept - 1]:
                    continue
                if not _is_in_earlier_band(difference, band, radius):
                    num_kept = _insert(found_QM[i], distances, num_kept, other, bits)
            if left <= 0:
                break
        crowd_Q[i] += crowd
        for k in range(num_kept, num_kept_most):
            found_QM[i, k] = -1
    return num_exhausted


@compiled
def _is_in_earlier_band(difference: np.uint64, band: int, radius: int) -> bool:
    for b in range(band):  # noqa: SIM110 - numba compiles no generators
        if num_set((difference >> np.uint64(BAND_BITS * b)) & BAND_MASK) <= radius:
            return True
    return False


@compiled
def _insert(found_M: NDArray[np.int64], distances: NDArray[np.int64], num_kept: int, row: int, bits: int) -> int:
    """Keep the nearest in order; the farthest falls out when full. Returns how many are kept now."""
    for k in range(num_kept):
        if found_M[k] == row:
            return num_kept
    place = num_kept if num_kept < found_M.shape[0] else num_kept - 1
    while place > 0 and distances[place - 1] > bits:
        found_M[place], distances[place] = found_M[place - 1], distances[place - 1]
        place -= 1
    found_M[place], distances[place] = row, bits
    return min(num_kept + 1, found_M.shape[0])


@compiled
def smallest(values_BR: NDArray[np.float32], places_Bk: NDArray[np.int64], values_Bk: NDArray[np.float32]) -> None:
    """Places and values of the k smallest of each row, ascending; the first of equals wins."""
    k = places_Bk.shape[1]
    for i in range(values_BR.shape[0]):
        num, bar = 0, np.float32(np.inf)
        for j in range(values_BR.shape[1]):
            value = values_BR[i, j]
            if num == k and value >= bar:
                continue
            place = num if num < k else k - 1
            while place > 0 and values_Bk[i, place - 1] > value:
                values_Bk[i, place], places_Bk[i, place] = values_Bk[i, place - 1], places_Bk[i, place - 1]
                place -= 1
            values_Bk[i, place], places_Bk[i, place] = value, j
            num = min(num + 1, k)
            bar = values_Bk[i, num - 1]
