"""The compiled loops against plain Python and NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from motherlode.data import kernels


def test_disjoint_sets_are_named_by_their_smallest_row() -> None:
    parent = np.arange(8)
    kernels.union(parent, np.array([7, 5, 3]), np.array([5, 3, 2]))
    kernels.flatten(parent)
    assert parent.tolist() == [0, 1, 2, 2, 4, 2, 6, 2]
    assert kernels.find(parent, 7) == 2


@pytest.mark.parametrize("k", [1, 3, 7])
def test_smallest_is_a_sorts_head(k: int) -> None:
    values = np.random.default_rng(k).integers(0, 30, (50, 7 + 3 * k)).astype(np.float32)
    places, found = np.empty((50, k), np.int64), np.empty((50, k), np.float32)
    kernels.smallest(values, places, found)
    expected = np.argsort(values, axis=1, kind="stable")[:, :k]
    assert np.array_equal(places, expected)
    assert np.array_equal(found, np.take_along_axis(values, expected, axis=1))


def test_smallest_passes_over_infinities() -> None:
    values = np.array([[np.inf, 2.0, np.inf, 1.0]], np.float32)
    places, found = np.empty((1, 2), np.int64), np.empty((1, 2), np.float32)
    kernels.smallest(values, places, found)
    assert places.tolist() == [[3, 1]]
