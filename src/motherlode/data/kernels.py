"""Compiled loops of floor 2: disjoint sets and the search for fingerprints that differ in few bits.

Shape legend: N rows, K fingerprints a row, E = N*K table entries, P probes, M candidates kept a row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._compiled import compiled


@compiled
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
def num_bits(word: np.uint64) -> int:
    """Set bits of a 64-bit word (the compiler turns this into one instruction)."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled
def near_in_band(
    queries_N: NDArray[np.uint64],
    first_row: int,
    codes_E: NDArray[np.uint64],
    entries_E: NDArray[np.int64],
    num_columns: int,
    starts: NDArray[np.int64],
    band: int,
    shifts: NDArray[np.int64],
    widths: NDArray[np.int64],
    radius: int,
    probes_P: NDArray[np.uint64],
    max_bits: int,
    budget: int,
    found_NM: NDArray[np.int64],
    crowd_N: NDArray[np.int64],
) -> int:
    """For each query, the nearest rows within `max_bits`, found through one band of bits.

    A pair belongs to the first band in which it differs in at most `radius` bits, so no two bands report it twice.

    Args:
        queries_N: fingerprints (column 0) of rows first_row, first_row + 1, ….
        first_row: row of the first query.
        codes_E: fingerprints in the table, sorted by this band's bits, then whole.
        entries_E: row * num_columns + column of each. A later row's column 0 is not reported: it will find this one.
        num_columns: K.
        starts: where each value of the band begins in the table, and its end.
        band: index of this band.
        shifts: lowest bit of each band.
        widths: number of bits of each band.
        radius: bits in which the band itself may differ.
        probes_P: all masks of at most `radius` bits, fewest bits first.
        max_bits: bits in which the whole may differ.
        budget: most fingerprints compared for one query; the work is linear in N whatever the data.
        found_NM: filled with rows, nearest first, −1 where there are fewer.
        crowd_N: how many rows were within `max_bits` is added here.

    Returns:
        How many queries ran out of budget.
    """
    num_exhausted = 0
    num_kept_most = found_NM.shape[1]
    distances = np.empty(num_kept_most, np.int64)
    low_mask = (np.uint64(1) << np.uint64(widths[band])) - np.uint64(1)
    for i in range(queries_N.shape[0]):
        query, row, left, num_kept, crowd = queries_N[i], first_row + i, budget, 0, 0
        key = (query >> np.uint64(shifts[band])) & low_mask
        for p in range(probes_P.shape[0]):
            value = np.int64(key ^ probes_P[p])
            start, stop = starts[value], starts[value + 1]
            if stop - start > left:
                # Too many to compare: those next to the query in sorted order share its highest bits.
                middle = start + np.searchsorted(codes_E[start:stop], query)
                start, stop = max(start, middle - left // 2), min(stop, middle + left // 2)
            left -= stop - start
            for e in range(start, stop):
                difference = codes_E[e] ^ query
                bits = num_bits(difference)
                if bits > max_bits:
                    continue
                other, column = entries_E[e] // num_columns, entries_E[e] % num_columns
                if other == row or (other > row and column == 0):
                    continue
                crowd += 1
                if num_kept == num_kept_most and bits >= distances[num_kept - 1]:
                    continue
                if _is_in_earlier_band(difference, band, shifts, widths, radius):
                    continue
                num_kept = _insert(found_NM[i], distances, num_kept, other, bits)
            if left <= 0:
                num_exhausted += 1
                break
        crowd_N[i] += crowd
        for k in range(num_kept, num_kept_most):
            found_NM[i, k] = -1
    return num_exhausted


@compiled
def _is_in_earlier_band(
    difference: np.uint64, band: int, shifts: NDArray[np.int64], widths: NDArray[np.int64], radius: int
) -> bool:
    for b in range(band):
        part = (difference >> np.uint64(shifts[b])) & ((np.uint64(1) << np.uint64(widths[b])) - np.uint64(1))
        if num_bits(part) <= radius:
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
