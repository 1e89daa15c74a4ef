"""Which rows are held out: decided by each row's own content, so that data may grow without rows changing sides.

A unit (a row, or a cluster of near-duplicates, which always stays together) is hashed with the seed to a number in
[0, 1) and held out when that is below the share. Per label the count may then be off by chance; where it is off by
more than a fifth (and by more than one), the units nearest the border are moved, as few as will do. So every label is
represented, and growth moves hardly any row: for labels of 500 units and more, none at all, almost always. A label
with one unit cannot be on both sides: it is trained on. Where no label has more, they are split as if they had none.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xxhash
from numpy.typing import NDArray

SLACK = 0.2


def hash_units(ids_U: NDArray[np.void], seed: int) -> NDArray[np.float64]:
    """One number in [0, 1) a unit, from its 16-byte id and the seed alone."""
    salt = f"motherlode split {seed}".encode()
    digest = xxhash.xxh3_64_intdigest
    values = np.fromiter((digest(item.tobytes() + salt) for item in ids_U), np.uint64, len(ids_U))
    return (values >> np.uint64(11)).astype(np.float64) / 2.0**53


def hold_out(ids_U: NDArray[np.void], labels_U: NDArray[np.int32], share: float, seed: int) -> NDArray[np.bool_]:
    """Which units are held out.

    Args:
        ids_U: 16-byte content hash of each unit (of a cluster: of its smallest).
        labels_U: label of each unit, -1 for none; each label is split by itself.
        share: share to hold out, in [0, 1).
        seed: another seed, another split.

    Returns:
        bool (U,); never all of them.
    """
    draw_U = hash_units(ids_U, seed)
    held_U = np.zeros(len(ids_U), np.bool_)
    for units in _strata(labels_U):
        held_U[units] = draw_U[units] < share
        target = share * len(units)
        slack = max(1.0, SLACK * target) if target >= 0.5 else 0.0
        least, most = int(np.ceil(max(target - slack, min(1.0, target)))), int(np.floor(target + slack))
        if share:
            least = min(max(least, 1), len(units) - 1)
            most = min(max(most, least), len(units) - 1)
        count = int(held_U[units].sum())
        if least <= count <= most or not share:
            continue
        nearest = units[np.argsort(draw_U[units], kind="stable")]
        held_U[nearest] = np.arange(len(units)) < (least if count < least else most)
    return held_U


def _strata(labels_U: NDArray[np.int32]) -> Iterator[NDArray[np.int64]]:
    """The units that are split by themselves, two or more at a time."""
    _, label_U, counts_L = np.unique(labels_U, return_inverse=True, return_counts=True)
    if counts_L.max(initial=0) == 1:
        label_U, counts_L = np.zeros(len(labels_U), np.int64), np.array([len(labels_U)])
    for label in np.flatnonzero(counts_L > 1):
        yield np.flatnonzero(label_U.reshape(-1) == label)
