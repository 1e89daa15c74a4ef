from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motherlode.data.split import hash_units, hold_out


def ids(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16), np.uint8).view("V16").reshape(-1)


def test_every_label_gives_its_share() -> None:
    labels = np.repeat(np.arange(4, dtype=np.int32), [2000, 200, 20, 2])
    held = hold_out(ids(len(labels)), labels, 0.1, seed=1)
    counts = np.bincount(labels, weights=held)
    assert abs(counts[0] - 200) <= 40
    assert abs(counts[1] - 20) <= 4
    assert 1 <= counts[2] <= 3
    assert counts[3] <= 1


def test_growth_moves_almost_nothing() -> None:
    everything = ids(11_000)
    labels = (np.arange(11_000) % 10).astype(np.int32)
    before = hold_out(everything[:10_000], labels[:10_000], 0.1, seed=0)
    after = hold_out(everything, labels, 0.1, seed=0)
    assert (before != after[:10_000]).mean() < 0.001


def test_order_plays_no_part_and_the_seed_does() -> None:
    units, labels = ids(500), (np.arange(500) % 3).astype(np.int32)
    held = hold_out(units, labels, 0.2, seed=0)
    order = np.random.default_rng(1).permutation(500)
    assert np.array_equal(hold_out(units[order], labels[order], 0.2, seed=0), held[order])
    assert not np.array_equal(hold_out(units, labels, 0.2, seed=1), held)


def test_hashes_are_uniform() -> None:
    draws = hash_units(ids(20_000), 3)
    counts = np.histogram(draws, 20, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-square with 19 degrees of freedom, p = 0.001


def test_a_label_of_one_row_is_trained_on() -> None:
    labels = np.concatenate([np.zeros(40, np.int32), np.arange(1, 31, dtype=np.int32)])
    held = hold_out(ids(70), labels, 0.1, seed=0)
    assert 3 <= held[:40].sum() <= 5
    assert not held[40:].any()


@pytest.mark.parametrize("seed", range(8))
def test_what_has_one_row_for_each_label_is_split_as_if_it_had_none(seed: int) -> None:
    held = hold_out(ids(200, seed), np.arange(200, dtype=np.int32), 0.1, seed)
    assert 16 <= held.sum() <= 24
    assert not hold_out(ids(1, seed), np.full(1, -1, np.int32), 0.5, seed).any()
    assert not len(hold_out(ids(0), np.zeros(0, np.int32), 0.5, seed))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 80), st.floats(0, 0.99), st.integers(1, 5), st.integers(0, 99))
def test_no_label_is_ever_taken_whole(count: int, share: float, num_labels: int, seed: int) -> None:
    labels = (np.arange(count) % num_labels).astype(np.int32)
    held = hold_out(ids(count, seed), labels, share, seed)
    if share == 0:
        assert not held.any()
    for label in range(num_labels):
        members = held[labels == label]
        if len(members) > 1:
            assert members.sum() < len(members)
            target = share * len(members)
            assert abs(members.sum() - target) <= max(1.0, 0.2 * target) + 1


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_small_sets_come_near_the_share(share: float) -> None:
    held = hold_out(ids(300), np.full(300, -1, np.int32), share, seed=0)
    assert abs(held.mean() - share) <= max(1 / 300, 0.2 * share)
