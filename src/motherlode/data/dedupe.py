"""Near-duplicates without comparing all pairs: fingerprints propose, thumbnails decide, disjoint sets collect.

Multi-index hashing (Norouzi, Punjani and Fleet 2012): two 64-bit words within d bits agree within ⌊d / b⌋ bits in at
least one of b bands, so a table a band and a few probes a row find them all. The work is bounded a row: however many
fingerprints are equal, a row is compared with a fixed number of its neighbours, and at most a few candidates a
band go to verification. A pile of a million equal fingerprints is chained neighbour to neighbour, which is the price.

Shape legend: N rows, K fingerprints a row, E = N*K table entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from motherlode.execute import num_cores

Similarity = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]

NUM_BANDS = 4
CANDIDATES_A_BAND = 8
PAIRS_A_ROW = 1.5
"""Pairs verified in one band, on average over a block of rows; the nearest go first."""
COMPARISONS_A_BAND = 2048
RADIUS = 1
"""Bits in which a band may differ. All pairs within 7 bits are found, and about nine tenths of those 9 bits apart."""
CROWD, CROWD_POWER, MOST_NEEDED = 12.0, 1.2, 0.994
"""How fast likeness must grow with the crowd: chosen on Fashion-MNIST (crowds of hundreds) and on photos (under ten)."""
_BLOCK_ROWS = 16_384


@dataclass(frozen=True)
class Clusters:
    """Sets of near-duplicates.

    Args:
        cluster_N: int64, the smallest row of the set a row belongs to; a row alike to none is its own.
        num_candidates: pairs whose thumbnails were compared.
        num_verified: pairs found to be near-duplicates.
        num_exhausted: rows whose search stopped at its bound; 0 means that no candidate was passed over.
    """

    cluster_N: NDArray[np.int64]
    num_candidates: int
    num_verified: int
    num_exhausted: int = 0


def near_duplicates(
    fingerprints_NK: NDArray[np.uint64], similarity: Similarity, *, max_bits: int, threshold: float
) -> Clusters:
    """Cluster rows that are near-duplicates of one another, directly or through others.

    Args:
        fingerprints_NK: uint64; column 0 is a row's own, further columns are those of its variants (a mirror image).
            Two rows are candidates where column 0 of one is within `max_bits` of any column of the other.
        similarity: (rows a, rows b) → float32 likeness of each pair, in [0, 1].
        max_bits: bits in which fingerprints of near-duplicates may differ, 0 to 64.
        threshold: least likeness of near-duplicates that resemble little else; see `needed_likeness` for the others.
    """
    from motherlode.data import kernels

    crowd_N = np.zeros(len(fingerprints_NK), np.int64)
    kept: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
    num_candidates = num_exhausted = 0
    for first, second, exhausted in _candidates(fingerprints_NK, max_bits, crowd_N):
        likeness = _in_threads(similarity, first, second)
        is_alike = likeness >= threshold
        kept.append((first[is_alike], second[is_alike], likeness[is_alike]))
        num_candidates += len(first)
        num_exhausted += exhausted
    parent_N = np.arange(len(fingerprints_NK), dtype=np.int64)
    crowd_N //= fingerprints_NK.shape[1]
    crowd_N = np.maximum(crowd_N, int(np.median(crowd_N))) if len(crowd_N) else crowd_N
    num_verified = 0
    for first, second, likeness in kept:
        is_sure = likeness >= needed_likeness(np.maximum(crowd_N[first], crowd_N[second]), threshold)
        num_verified += int(is_sure.sum())
        kernels.union(parent_N, first[is_sure], second[is_sure])
    kernels.flatten(parent_N)
    return Clusters(parent_N, num_candidates, num_verified, num_exhausted)


def _in_threads(similarity: Similarity, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float32]:
    """`similarity` in pieces, on every core: the kernels behind it release the interpreter's lock."""
    num_pieces = min(num_cores(), max(1, len(first) // 256))
    if num_pieces == 1:
        return similarity(first, second)
    with ThreadPoolExecutor(num_pieces) as pool:
        pieces = pool.map(similarity, np.array_split(first, num_pieces), np.array_split(second, num_pieces))
        return np.concatenate(list(pieces))


def needed_likeness(crowd: NDArray[np.int64], threshold: float) -> NDArray[np.float64]:
    """How alike a pair must be, given how many rows are near it in fingerprint (at least as many as for half the rows).

    A photo resembles nothing but its copies, so a fair likeness proves one; among ten thousand plain shirts it proves
    nothing. The allowed distance 1 − likeness therefore shrinks with a power of the crowd.
    """
    needed: NDArray[np.float64] = 1.0 - (1.0 - threshold) * (1.0 + crowd / CROWD) ** -CROWD_POWER
    return np.minimum(needed, max(MOST_NEEDED, threshold))


def _candidates(
    fingerprints_NK: NDArray[np.uint64], max_bits: int, crowd_N: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], int]]:
    """Blocks of candidate pairs and how many rows ran out of budget; counts each row's neighbours in `crowd_N`."""
    from motherlode.data import kernels

    num_rows, num_columns = fingerprints_NK.shape
    queries_N = np.ascontiguousarray(fingerprints_NK[:, 0])
    widths = np.full(NUM_BANDS, 64 // NUM_BANDS, np.int64)
    shifts = np.arange(NUM_BANDS, dtype=np.int64) * (64 // NUM_BANDS)
    radius = min(max_bits // NUM_BANDS, RADIUS)
    probes_P = _probes(64 // NUM_BANDS, radius)
    for band in range(NUM_BANDS):
        codes_E, entries_E, starts = _table(fingerprints_NK, int(shifts[band]), int(widths[band]))
        for first_row in range(0, num_rows, _BLOCK_ROWS):
            rows = slice(first_row, first_row + _BLOCK_ROWS)
            found_NM = np.empty((len(queries_N[rows]), CANDIDATES_A_BAND), np.int64)
            exhausted = kernels.near_in_band(
                queries_N[rows], first_row, codes_E, entries_E, num_columns, starts, band, shifts, widths, radius,
                probes_P, max_bits, COMPARISONS_A_BAND, found_NM, crowd_N[rows],
            )  # fmt: skip
            pairs_M = np.cumsum((found_NM >= 0).sum(axis=0))
            affordable = max(1, int(np.searchsorted(pairs_M, PAIRS_A_ROW * len(found_NM), "right")))
            place, column = np.nonzero(found_NM[:, :affordable] >= 0)
            yield place + first_row, found_NM[place, column], exhausted


def _table(
    fingerprints_NK: NDArray[np.uint64], shift: int, width: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """All fingerprints sorted by one band's bits, then whole; their places; and where each value of the band starts."""
    codes_E = fingerprints_NK.ravel()
    mask = np.uint64((1 << width) - 1)
    keys_E = (codes_E >> np.uint64(shift)) & mask
    order_E = np.lexsort((codes_E, keys_E))
    starts = np.zeros((1 << width) + 1, np.int64)
    np.cumsum(np.bincount(keys_E.astype(np.int64), minlength=1 << width), out=starts[1:])
    return codes_E[order_E], order_E, starts


def _probes(width: int, radius: int) -> NDArray[np.uint64]:
    """Every mask of `width` bits with at most `radius` set, fewest first."""
    masks = [sum(1 << bit for bit in bits) for num in range(radius + 1) for bits in combinations(range(width), num)]
    return np.array(masks, np.uint64)


@dataclass(frozen=True)
class Recall:
    """How well planted copies were found.

    Args:
        recall: share of planted copies in the set of their original, by kind of copy.
        precision: of the pairs joined between rows planted apart, the share planted as copies.
    """

    recall: dict[str, float]
    precision: float


def score_planted(cluster_N: NDArray[np.int64], origin_N: NDArray[np.int64], kind_N: NDArray[np.str_]) -> Recall:
    """Compare clusters with what was planted.

    Args:
        cluster_N: as in `Clusters`.
        origin_N: row of the original each row was copied from; an original names itself.
        kind_N: how the copy was made; "" for originals.
    """
    recall = {}
    for kind in sorted(set(kind_N.tolist()) - {""}):
        rows = np.nonzero(kind_N == kind)[0]
        recall[kind] = float((cluster_N[rows] == cluster_N[origin_N[rows]]).mean())
    truth, found = _num_pairs(origin_N), _num_pairs(cluster_N)
    both = _num_pairs(origin_N * (len(cluster_N) + 1) + cluster_N)
    del truth
    return Recall(recall, both / found if found else 1.0)


def _num_pairs(groups_N: NDArray[np.int64]) -> int:
    """Pairs of rows in equal groups."""
    sizes = np.unique(groups_N, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())
