"""Batches that hold a share of other datasets' samples: synthetic rows beside real ones, old data beside new.

Each dataset keeps its own endless stream of epochs and fills its own places of every batch, so the share is exact in
each one and no row is passed over. What is traded away: shares are rounded to whole samples of a batch (of 64, to
1.6 %), and a mixed-in dataset smaller than its share is simply seen more often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import DatasetError
from motherlode.randomness import numpy_generator

Draw = tuple[NDArray[Any], NDArray[np.int64] | None, NDArray[np.int64]]
FOREIGN = -1
"""Row number of a sample that is not of the run's own dataset."""


class Draws(Protocol):
    """What the training loop needs of a loader: batch number `index`, a pure function of it."""

    def draw(self, index: int) -> Draw:
        """Samples uint8 (B, *shape) or token ids int32 (B, T), labels (B,) or None, rows (B,)."""
        ...


def places(shares: Mapping[str, float], batch: int, world: int = 1) -> dict[str, int]:
    """How many samples of a batch each mixed-in dataset fills, over all ranks.

    Args:
        shares: of each dataset in what is seen, in (0, 1).
        batch: samples a step over all ranks.
        world: ranks that share each dataset's places evenly.

    Raises:
        DatasetError: the batch is too small to hold the shares.
    """
    found = {name: round(share * batch / world) * world for name, share in shares.items()}
    if not all(found.values()) or sum(found.values()) >= batch:
        raise DatasetError(
            "a batch must hold samples of the run's own dataset and of each that is mixed in",
            f"batch {batch} over {world} ranks, shares " + ", ".join(f"{share:g}" for share in shares.values()),
            "raise train.batch, or change the shares under data.mix",
        )
    return found


class Mixed:
    """Draws from several loaders at once.

    Args:
        own: draws the run's own samples.
        others: draw what is mixed in; with `own` their places make a whole batch.
        seed: decides the order within a batch, so that any part of it holds all of them.
        rank: of this process.
    """

    def __init__(self, own: Draws, others: Sequence[Draws], *, seed: int, rank: int = 0) -> None:
        self._own, self._others, self._seed, self._rank = own, others, seed, rank

    def draw(self, index: int) -> Draw:
        """Batch `index`.

        Returns:
            samples (b, …), labels int64 (b,) or None where some dataset has none, rows int64 (b,): of the run's own
            split, `FOREIGN` for the others.
        """
        draws = [self._own.draw(index), *(other.draw(index) for other in self._others)]
        rows = [draws[0][2], *(np.full_like(rows, FOREIGN) for _, _, rows in draws[1:])]
        order = numpy_generator(self._seed, "mixing", index, self._rank).permutation(sum(map(len, rows)))
        labels = [labels for _, labels, _ in draws if labels is not None]
        return (
            np.concatenate([samples for samples, _, _ in draws])[order],
            np.concatenate(labels)[order] if len(labels) == len(draws) else None,
            np.concatenate(rows)[order],
        )
