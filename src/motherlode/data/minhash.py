"""Near-duplicate texts: bands of min-hashes propose pairs, the texts themselves decide, disjoint sets collect.

One band is in memory at a time, and of a band that is too large only the hashes of one range; shingles live for one
batch of pairs. So the peak does not grow with the texts, and with their number only by the eight bytes a row of
the disjoint sets. What is looked at is bounded too: within a bucket, rows are ordered by the next band as well, and a
row is compared with the `REACH` before it. Buckets of up to `REACH` + 1 rows are compared wholly; in larger ones
copies lie side by side, and a pile of copies costs one comparison each.

Pairs below the threshold are never joined. On 15,379 pages of manuals, 99 MB, it found .9987 of the texts that an exact
search for Jaccard indices of .75 and more says should go, and no other, in 0.8 s of one core besides the fingerprints.

Shape legend: P rows with fingerprints, N rows meant, K bands, E entries of a band, Q pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.data.dedupe import Clusters
from motherlode.data.threads import on_all_cores

Shingles = Callable[[NDArray[np.int64]], tuple[NDArray[np.uint64], NDArray[np.int64]]]
"""Ascending rows → (their shingles, repeated ones too, one text after another; where each begins and the last ends)."""

Grams = Callable[[NDArray[np.uint8], NDArray[np.int64]], tuple[NDArray[np.uint64], NDArray[np.int64]]]
"""Texts one after another, and where each begins and the last ends → the same of their shingles."""

REACH = 8
_ROUNDS = ((1, 1), (2, 3), (4, REACH))
"""Distances within a bucket that are tried together: a pile of copies is one set after the first."""
BAND_BYTES = 256 << 20
"""Most bytes of entries of one band that are sorted at a time."""
BATCH_BYTES = 8 << 20
"""Most bytes of text whose shingles are held at a time, unless one pair has more."""
_ENTRY_BYTES = 48
_BLOCK_ROWS = 1 << 16
_MOST_PAIRS = 1 << 16
_LEAST_TEXTS = 16
"""Texts, of kilobytes each, that are worth a thread: a batch has some hundreds."""
_FAILED_SLOTS = (1 << 20) + 7
_NO_BAND = np.uint64(0)


def near_duplicates(
    bands_PK: Any,
    places_N: NDArray[np.int64],
    num_bytes_N: NDArray[np.int64],
    shingles: Shingles,
    scratch: Path,
    *,
    threshold: float,
    band_bytes: int = BAND_BYTES,
    batch_bytes: int = BATCH_BYTES,
) -> Clusters:
    """Cluster rows whose sets of shingles have a Jaccard index of `threshold` or more, directly or through others.

    Args:
        bands_PK: uint64; indexed by an array of places it gives their band hashes. 0: no band.
        places_N: the rows meant, ascending; results speak of N rows.
        num_bytes_N: size of each text, by which batches are cut.
        shingles: the shingles of some of the N rows.
        scratch: a file of 8 * N * K bytes is made here, and removed.
        threshold: least Jaccard index, in (0, 1].
        band_bytes, batch_bytes: bounds on memory; results do not depend on the first.
    """
    from motherlode.data import kernels, minhash_kernels

    num_rows, num_bands = len(places_N), bands_PK.shape[1]
    parent_N = np.arange(num_rows, dtype=np.int64)
    failed_F = np.zeros(_FAILED_SLOTS, np.uint64)
    num_candidates = num_verified = num_exhausted = 0
    _transpose(bands_PK, places_N, scratch)
    try:
        for band in range(num_bands):
            for keys_E, rows_E in _buckets(scratch, num_rows, num_bands, band, band_bytes):
                for pairs_Q2 in _pairs(keys_E, rows_E, parent_N, failed_F, num_bytes_N, batch_bytes):
                    is_alike_Q = _verify(pairs_Q2, shingles, threshold)
                    found_Q2 = pairs_Q2[is_alike_Q]
                    kernels.union(parent_N, found_Q2[:, 0], found_Q2[:, 1])
                    minhash_kernels.remember(pairs_Q2[~is_alike_Q], failed_F)
                    num_candidates += len(pairs_Q2)
                    num_verified += len(found_Q2)
                num_exhausted += minhash_kernels.num_open(keys_E, rows_E, REACH, parent_N)
    finally:
        scratch.unlink(missing_ok=True)
    kernels.flatten(parent_N)
    return Clusters(parent_N, num_candidates, num_verified, num_exhausted)


def make_ready(grams: Grams) -> None:
    """Load the compiled loops of the search by searching two texts: half a second, for a thread while others work.

    Args:
        grams: the modality's.
    """
    text = np.frombuffer(b"a few words, so that there are shingles ", np.uint8)
    offsets_N1 = np.array([0, len(text), 2 * len(text)])

    def shingles(rows_M: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        return grams(np.tile(text, len(rows_M)), offsets_N1[: len(rows_M) + 1])

    with TemporaryDirectory() as folder:
        bands_PK = np.ones((2, 2), np.uint64)
        near_duplicates(
            bands_PK, np.arange(2), np.diff(offsets_N1), shingles, Path(folder) / "bands.bin", threshold=0.5
        )


def _transpose(bands_PK: Any, places_N: NDArray[np.int64], path: Path) -> None:
    """Write the bands one after another, each with the hashes of all N rows."""
    num_rows, num_bands = len(places_N), bands_PK.shape[1]
    with path.open("wb") as file:
        for first in range(0, num_rows, _BLOCK_ROWS):
            block_KB = np.ascontiguousarray(bands_PK[places_N[first : first + _BLOCK_ROWS]].T)
            for band in range(num_bands):
                file.seek(8 * (band * num_rows + first))
                block_KB[band].tofile(file)


def _buckets(
    path: Path, num_rows: int, num_bands: int, band: int, band_bytes: int
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64]]]:
    """(hash, row) of the rows that share their hash with others, equal ones together and then by the next band.

    A band above the bound comes in several ranges of hashes, in the same order as in one.
    """
    num_ranges = max(1, -(-num_rows * _ENTRY_BYTES // band_bytes))
    for number in range(num_ranges):
        none = np.zeros(0, np.uint64)
        keys, others, rows = [none], [none], [np.zeros(0, np.int64)]
        for first in range(0, num_rows, _BLOCK_ROWS):
            block = _column(path, num_rows, band, first)
            # The upper half of a hash, spread over the ranges.
            chosen = np.flatnonzero(((block >> np.uint64(32)) * np.uint64(num_ranges) >> np.uint64(32)) == number)
            chosen = chosen[block[chosen] != _NO_BAND]
            keys.append(block[chosen])
            others.append(_column(path, num_rows, (band + 1) % num_bands, first)[chosen])
            rows.append(chosen + first)
        keys_E, others_E, rows_E = np.concatenate(keys), np.concatenate(others), np.concatenate(rows)
        order = np.argsort(keys_E)
        keys_E = keys_E[order]
        is_next = np.zeros(len(keys_E) + 1, np.bool_)
        is_next[1:-1] = keys_E[1:] == keys_E[:-1]
        is_shared = is_next[1:] | is_next[:-1]
        keys_E, others_E, rows_E = keys_E[is_shared], others_E[order][is_shared], rows_E[order][is_shared]
        order = np.lexsort((rows_E, others_E, keys_E))
        yield keys_E[order], rows_E[order]


def _column(path: Path, num_rows: int, band: int, first: int) -> NDArray[np.uint64]:
    """A block of one band."""
    num = min(_BLOCK_ROWS, num_rows - first)
    return np.fromfile(path, np.uint64, num, offset=8 * (band * num_rows + first))


def _pairs(
    keys_E: NDArray[np.uint64],
    rows_E: NDArray[np.int64],
    parent_N: NDArray[np.int64],
    failed_F: NDArray[np.uint64],
    num_bytes_N: NDArray[np.int64],
    batch_bytes: int,
) -> Iterator[NDArray[np.int64]]:
    """Pairs to be verified, in batches: what is learned from one decides what the next ones hold."""
    from motherlode.data import minhash_kernels

    room_Q2 = np.empty((_MOST_PAIRS, 2), np.int64)
    for near, far in _ROUNDS:
        entry = 0
        while entry < len(keys_E):
            num, entry = minhash_kernels.propose(keys_E, rows_E, entry, near, far, parent_N, failed_F, room_Q2)
            # Pairs of a text that comes twice count it twice: batches are rather too small.
            ends_Q = num_bytes_N[room_Q2[:num]].sum(axis=1).cumsum()
            start = 0
            while start < num:
                before = ends_Q[start - 1] if start else 0
                stop = max(start + 1, int(np.searchsorted(ends_Q, before + batch_bytes, "right")))
                yield room_Q2[start:stop]
                start = stop


def _verify(pairs_Q2: NDArray[np.int64], shingles: Shingles, threshold: float) -> NDArray[np.bool_]:
    """Which pairs are alike, on every core."""
    from motherlode.data import minhash_kernels

    rows_M, numbers = np.unique(pairs_Q2, return_inverse=True)
    found = [
        item
        for item in on_all_cores(lambda part: shingles(rows_M[part]), len(rows_M), _LEAST_TEXTS)
        if len(item[1]) > 1
    ]
    grams = np.concatenate([item[0] for item in found])
    starts_M1 = np.concatenate([[0], *(np.diff(item[1]) for item in found)]).cumsum()
    texts_Q2 = numbers.reshape(-1, 2)
    is_alike_Q = np.empty(len(pairs_Q2), np.bool_)

    def piece(part: slice) -> None:
        minhash_kernels.alike(grams, starts_M1, texts_Q2[part], threshold, is_alike_Q[part])

    on_all_cores(piece, len(pairs_Q2), _LEAST_TEXTS)
    return is_alike_Q
