"""Near-duplicate search against exhaustive comparison, on planted copies, and where every fingerprint is the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from motherlode.data.dedupe import (
    CANDIDATES_A_BAND,
    COMPARISONS_A_BAND,
    in_blocks,
    near_duplicates,
    needed_likeness,
    score_planted,
)


def always(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.ones(len(first), np.float32)


def exhaustive(codes_N: NDArray[np.uint64], max_bits: int) -> NDArray[np.int64]:
    """Clusters by comparing all pairs."""
    parent = list(range(len(codes_N)))

    def find(row: int) -> int:
        while parent[row] != row:
            row = parent[row]
        return row

    near = np.bitwise_count(codes_N[:, None] ^ codes_N[None]) <= max_bits
    for a, b in np.argwhere(np.triu(near, 1)).tolist():
        first, second = sorted((find(a), find(b)))
        parent[second] = first
    return np.array([find(row) for row in range(len(codes_N))])


@pytest.mark.parametrize("max_bits", [0, 3, 7])
def test_same_clusters_as_all_pairs(max_bits: int) -> None:
    rng = np.random.default_rng(max_bits)
    centres = rng.integers(0, 2**64, 60, np.uint64)
    noise = np.zeros(240, np.uint64)
    for _ in range(4):
        noise |= (rng.random(240) < 0.6) * (np.uint64(1) << rng.integers(0, 64, 240, np.uint64))
    codes_N = np.concatenate([centres, np.tile(centres, 4) ^ noise])
    found = near_duplicates(codes_N[:, None], always, max_bits=max_bits, threshold=0.5)
    assert np.array_equal(found.cluster_N, exhaustive(codes_N, max_bits))
    assert found.num_exhausted == 0
    assert found.cluster_N.dtype == np.int64


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(0, 7))
def test_any_codes(codes: list[int], max_bits: int) -> None:
    codes_N = np.array(codes, np.uint64)
    found = near_duplicates(codes_N.reshape(-1, 1), always, max_bits=max_bits, threshold=0.5).cluster_N
    truth = exhaustive(codes_N, max_bits)
    assert np.array_equal(truth[found], truth), "never joins what all pairs would not"
    if len(codes) <= CANDIDATES_A_BAND:
        assert np.array_equal(found, truth)


def test_variants_join_in_both_directions() -> None:
    """Row 2's variant is row 0; row 3's own is row 1's variant."""
    rng = np.random.default_rng(0)
    a, b, c, d = rng.integers(0, 2**64, 4, np.uint64).tolist()
    codes_NK = np.array([[a, b], [c, d], [b ^ 7, a ^ 1], [d ^ 2, 5]], np.uint64)
    found = near_duplicates(codes_NK, always, max_bits=4, threshold=0.5)
    assert found.cluster_N.tolist() == [0, 1, 0, 1]


def test_similarity_decides() -> None:
    codes_N1 = np.zeros((6, 1), np.uint64)

    def same_parity(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float32]:
        return (first % 2 == second % 2).astype(np.float32)

    found = near_duplicates(codes_N1, same_parity, max_bits=2, threshold=0.9)
    assert found.cluster_N.tolist() == [0, 1, 0, 1, 0, 1]
    assert 4 <= found.num_verified < found.num_candidates <= 15
    nothing = near_duplicates(codes_N1, lambda a, _: np.zeros(len(a), np.float32), max_bits=2, threshold=0.9)
    assert nothing.cluster_N.tolist() == [0, 1, 2, 3, 4, 5]


def test_equal_fingerprints_cost_linear_work_and_still_join() -> None:
    """40,000 rows with one fingerprint: all pairs would be 8e8; each row looks at a bounded number."""
    num = 40_000
    calls = []

    def count(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float32]:
        calls.append(len(first))
        return np.ones(len(first), np.float32)

    found = near_duplicates(np.zeros((num, 2), np.uint64), count, max_bits=11, threshold=0.9)
    assert sum(calls) == found.num_candidates
    assert found.num_candidates <= 3 * num
    assert num * COMPARISONS_A_BAND < num**2
    assert len(np.unique(found.cluster_N)) <= num / 1000
    assert found.num_exhausted > 0


def test_empty_and_single() -> None:
    for num in (0, 1):
        found = near_duplicates(np.zeros((num, 2), np.uint64), always, max_bits=11, threshold=0.9)
        assert found.cluster_N.tolist() == list(range(num))


def test_crowds_must_be_more_alike() -> None:
    needed = needed_likeness(np.array([0, 10, 100, 10_000]), 0.9)
    assert needed[0] == pytest.approx(0.9)
    assert (np.diff(needed) >= 0).all()
    assert needed[-1] < 1.0
    assert needed_likeness(np.array([10_000]), 0.999)[0] >= 0.999


def test_score_of_planted_copies() -> None:
    origin = np.array([0, 1, 2, 0, 1, 2])
    kind = np.array(["", "", "", "flip", "flip", "crop"])
    perfect = score_planted(origin, origin, kind)
    assert perfect.recall == {"flip": 1.0, "crop": 1.0}
    assert perfect.precision == 1.0
    merged = score_planted(np.array([0, 0, 2, 0, 4, 2]), origin, kind)
    assert merged.recall == {"flip": 0.5, "crop": 1.0}
    assert merged.precision == pytest.approx(2 / 4)


def test_blocks_bound_what_is_fetched() -> None:
    """However many pairs, a thread holds 4 MiB of thumbnails; the likeness is that of all pairs at once."""
    rng = np.random.default_rng(0)
    films_NT = rng.integers(0, 256, (50, 40_000), dtype=np.uint8)
    first, second = rng.integers(0, 50, (2, 300))
    fetched: list[int] = []

    def thumbs(chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
        fetched.append(len(chosen))
        return films_NT[chosen]

    def overlap(a_NT: NDArray[np.uint8], b_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
        return (a_NT == b_NT).mean(axis=1).astype(np.float32)

    likeness = in_blocks(overlap, thumbs, 40_000)(first, second)
    assert np.array_equal(likeness, overlap(films_NT[first], films_NT[second]))
    assert max(fetched) * 40_000 * 2 <= 4 << 20
