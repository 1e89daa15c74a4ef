"""Near-duplicates without comparing all pairs: fingerprints propose, thumbnails decide, disjoint sets collect.

Multi-index hashing (Norouzi, Punjani and Fleet 2012): two 64-bit words within d bits agree within ⌊d / b⌋ bits in at
least one of b bands, so a table a band and a few probes a row find them all. The work is bounded a row: however many
fingerprints are equal, a row is compared with a fixed number of its neighbours, and at most a few candidates a
band go to verification. A pile of a million equal fingerprints is chained neighbour to neighbour, which is the price.

Shape legend: N rows, Q queries, K fingerprints a row, E = N*K table entries, M candidates kept a row, P probes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from motherlode.data.threads import on_all_cores

Similarity = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]

CANDIDATES_A_BAND = 8
PAIRS_A_ROW = 1.5
"""Pairs verified in one band, on average over a block of rows; the nearest go first."""
FREE_PAIRS = 4096
"""Pairs verified in one band of a block whatever the average: small sets are searched wholly."""
COMPARISONS_A_BAND = 2048
RADIUS, CROWDED_RADIUS, CROWDED = 2, 1, 16
"""Bits in which a band may differ; the second where half of the rows have a crowd of `CROWDED` or more.

Radius 2 in four bands finds every pair within 11 bits, radius 1 every pair within 7 and most of those 9 bits apart.
"""
_PROBE_ROWS = 2048
CROWD, CROWD_POWER, MOST_NEEDED = 12.0, 1.2, 0.994
"""How fast likeness must grow with the crowd: set on Fashion-MNIST (crowds of a hundred) and photos (under ten)."""
_BLOCK_ROWS = 16_384
_THUMB_BYTES = 4 << 20
"""Thumbnails fetched at once by a thread that compares them, whatever the size of one."""


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
        likeness = np.concatenate(on_all_cores(_on_slices(similarity, first, second), len(first)))
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


def in_blocks(
    similarity: Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float32]],
    thumbs: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
    thumb_bytes: int,
) -> Similarity:
    """The likeness of rows by a likeness of thumbnails that are fetched in blocks: few are in memory at a time.

    Args:
        similarity: of thumbnails (N, T) and (N, T).
        thumbs: rows (N,) to thumbnails (N, T).
        thumb_bytes: T.
    """
    block_rows = max(1, _THUMB_BYTES // (2 * max(1, thumb_bytes)))

    def likeness(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float32]:
        found = np.empty(len(first), np.float32)
        for start in range(0, len(first), block_rows):
            block = slice(start, start + block_rows)
            found[block] = similarity(thumbs(first[block]), thumbs(second[block]))
        return found

    return likeness


def _on_slices(
    similarity: Similarity, first: NDArray[np.int64], second: NDArray[np.int64]
) -> Callable[[slice], NDArray[np.float32]]:
    return lambda part: similarity(first[part], second[part])


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

    radius = min(max_bits // kernels.NUM_BANDS, RADIUS)
    num_rows = len(fingerprints_NK)
    for band in range(kernels.NUM_BANDS):
        table = _Table(fingerprints_NK, band)
        if band == 0 and radius > CROWDED_RADIUS and num_rows:
            sample = np.arange(0, num_rows, max(1, num_rows // _PROBE_ROWS))
            crowd = table.search(sample, CROWDED_RADIUS, max_bits)[2]
            radius = CROWDED_RADIUS if float(np.median(crowd)) >= CROWDED else radius
        for first_row in range(0, num_rows, _BLOCK_ROWS):
            rows = np.arange(first_row, min(first_row + _BLOCK_ROWS, num_rows))
            found_QM, exhausted, crowd_Q = table.search(rows, radius, max_bits)
            crowd_N[rows] += crowd_Q
            pairs_M = np.cumsum((found_QM >= 0).sum(axis=0))
            affordable = max(1, int(np.searchsorted(pairs_M, max(PAIRS_A_ROW * len(rows), FREE_PAIRS), "right")))
            place, column = np.nonzero(found_QM[:, :affordable] >= 0)
            yield rows[place], found_QM[place, column], exhausted


class _Table:
    """All fingerprints sorted by one band's bits, then whole."""

    def __init__(self, fingerprints_NK: NDArray[np.uint64], band: int) -> None:
        from motherlode.data import kernels

        self.band, self.fingerprints_NK = band, fingerprints_NK
        codes_E = fingerprints_NK.ravel()
        keys_E = (codes_E >> np.uint64(kernels.BAND_BITS * band)) & kernels.BAND_MASK
        self.entries_E = np.lexsort((codes_E, keys_E))
        self.codes_E = codes_E[self.entries_E]
        num_values = 1 << kernels.BAND_BITS
        self.starts = np.zeros(num_values + 1, np.int64)
        np.cumsum(np.bincount(keys_E.astype(np.int64), minlength=num_values), out=self.starts[1:])

    def search(
        self, rows: NDArray[np.int64], radius: int, max_bits: int
    ) -> tuple[NDArray[np.int64], int, NDArray[np.int64]]:
        """Nearest rows of each row (−1: fewer), how many rows ran out of budget, and each row's crowd in this band."""
        from motherlode.data import kernels

        found_QM = np.empty((len(rows), CANDIDATES_A_BAND), np.int64)
        crowd_Q = np.zeros(len(rows), np.int64)
        probes_P = _probes(kernels.BAND_BITS, radius)

        def piece(part: slice) -> int:
            return kernels.near_in_band(
                np.ascontiguousarray(self.fingerprints_NK[rows[part], 0]), rows[part],
                self.codes_E, self.entries_E, self.fingerprints_NK.shape[1], self.starts, self.band, radius,
                probes_P, max_bits, COMPARISONS_A_BAND, found_QM[part], crowd_Q[part],
            )  # fmt: skip

        exhausted = sum(on_all_cores(piece, len(rows)))
        return found_QM, exhausted, crowd_Q


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
    found = _num_pairs(cluster_N)
    both = _num_pairs(origin_N * (len(cluster_N) + 1) + cluster_N)
    return Recall(recall, both / found if found else 1.0)


def _num_pairs(groups_N: NDArray[np.int64]) -> int:
    """Pairs of rows in equal groups."""
    sizes = np.unique(groups_N, return_counts=True)[1]
    return int((sizes * (sizes - 1) // 2).sum())
