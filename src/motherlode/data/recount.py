"""How well near-duplicate texts were found in this very data: an exact search for the look-alikes of a random sample.

The n-grams of the sample are indexed, and texts are streamed past the index, so that every Jaccard index between the
two is known exactly, whatever the bands of the fingerprints say. Texts are those of the data or, where they are many, a
random part of them. It shares the n-grams with the search it judges, and nothing else.

Shape legend: A rows that were searched, M of the sample, U distinct n-grams of the sample, Q pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.data.step import Rows, wilson
from motherlode.data.texts import Block
from motherlode.modality import Modality

SAMPLE = 1000
MOST_BYTES = 32 << 20
"""Text that is streamed past the index: 0.7 s of one core."""
_ROOM = 4096
MOST_MATES = 256
"""Texts of one cluster that are looked at to confirm that a text belongs to it."""


def check(
    rows: Rows,
    alive_A: NDArray[np.int64],
    cluster_A: NDArray[np.int64],
    modality: Modality,
    *,
    sample: int = SAMPLE,
    most_bytes: int = MOST_BYTES,
) -> dict[str, Any]:
    """Recall and precision of what was found, with 90 % intervals; as JSON values.

    Recall: of the sampled texts that have an earlier near-duplicate among the texts looked at, the share that was found
    to repeat something. Precision: of the sampled texts that were found to repeat something, the share with a
    near-duplicate within their cluster. Both are counts of texts, so each text weighs the same.

    Args:
        rows: all rows; their texts must be those that were searched.
        alive_A: the rows that were searched, ascending.
        cluster_A: as in `dedupe.Clusters`.
        modality: gives the n-grams and the threshold.
        sample, most_bytes: texts in the sample, and bytes of text they are compared with.
    """
    order = np.argsort(rows.ids_N[alive_A], kind="stable")
    chosen_M = np.sort(order[:sample])
    is_random_A = np.zeros(len(alive_A), np.bool_)
    is_random_A[order[rows.num_bytes_N[alive_A[order]].cumsum() <= most_bytes]] = True
    is_random_A[chosen_M] = True
    is_wanted_N = np.zeros(len(rows), np.bool_)
    is_wanted_N[alive_A[is_random_A]] = True
    is_wanted_N[alive_A[_mates(cluster_A, chosen_M, order)]] = True
    pairs_Q2 = _neighbours(rows, alive_A, chosen_M, is_wanted_N, modality)
    first_Q, second_Q = pairs_Q2[:, 0], pairs_Q2[:, 1]
    is_copy_A = cluster_A != np.arange(len(cluster_A))
    has_earlier = np.unique(first_Q[(second_Q < first_Q) & is_random_A[second_Q]])
    confirmed = np.unique(first_Q[cluster_A[first_Q] == cluster_A[second_Q]])
    found_M = chosen_M[is_copy_A[chosen_M]]
    return {
        "sample": len(chosen_M),
        "among": int(is_random_A.sum()),
        "threshold": modality.similar,
        "recall": _share(int(is_copy_A[has_earlier].sum()), len(has_earlier)),
        "precision": _share(int(np.isin(found_M, confirmed).sum()), len(found_M)),
    }


def _share(successes: int, trials: int) -> dict[str, Any]:
    low, high = wilson(successes, trials)
    return {"value": successes / trials if trials else None, "low": low, "high": high, "trials": trials}


def _mates(cluster_A: NDArray[np.int64], chosen_M: NDArray[np.int64], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Some rows of each cluster that a row of the sample is in, at random."""
    of_interest = np.unique(cluster_A[chosen_M])
    mates = order[np.isin(cluster_A[order], of_interest)]
    mates = mates[np.argsort(cluster_A[mates], kind="stable")]
    starts = np.searchsorted(cluster_A[mates], cluster_A[mates])
    return mates[np.arange(len(mates)) - starts < MOST_MATES]


def _neighbours(
    rows: Rows,
    alive_A: NDArray[np.int64],
    chosen_M: NDArray[np.int64],
    is_wanted_N: NDArray[np.bool_],
    modality: Modality,
) -> NDArray[np.int64]:
    """All pairs (of the sample, of the rows wanted) whose Jaccard index reaches the threshold, as places in A."""
    from motherlode.data import grams as kernels

    sets = _distinct(rows.texts.fetch(alive_A[chosen_M]), modality)
    sizes_M = np.array([len(grams) for grams in sets], np.int64)
    values = np.concatenate(sets)
    order = np.argsort(values, kind="stable")
    values, owners = values[order], np.repeat(np.arange(len(sets)), sizes_M)[order]
    lists_U1 = np.append(np.flatnonzero(_is_first(values)), len(values))
    index = kernels.table(values[lists_U1[:-1]])
    # J >= t asks for t times the larger of the two sets.
    least_M = np.maximum(np.ceil(modality.similar * sizes_M - 1e-9).astype(np.int64), 1)

    def compare(part: int) -> list[NDArray[np.int64]]:
        found = []
        for block in rows.texts.blocks(part, is_wanted_N):
            grams, starts_N1 = modality.grams(block.buffer_B, block.offsets_N1)
            shared_Q3 = np.empty((_ROOM, 3), np.int64)
            while True:
                num = kernels.shared(grams, starts_N1, *index, lists_U1, owners, least_M, shared_Q3)
                if num <= len(shared_Q3):
                    break
                shared_Q3 = np.empty((num, 3), np.int64)
            mine, other, num_both = shared_Q3[:num].T
            sizes = {
                text: int(_is_first(np.sort(grams[starts_N1[text] : starts_N1[text + 1]])).sum())
                for text in set(other.tolist())
            }
            num_any = sizes_M[mine] + np.array([sizes[text] for text in other.tolist()], np.int64) - num_both
            pairs = np.stack([chosen_M[mine], np.searchsorted(alive_A, block.rows_N[other])], axis=1)
            found.append(pairs[(num_both >= modality.similar * num_any - 1e-9) & (pairs[:, 0] != pairs[:, 1])])
        return found

    parts = rows.texts.map_parts(compare, range(len(rows.texts.records)))
    return np.concatenate([np.zeros((0, 2), np.int64), *(piece for found in parts for piece in found)])


def _distinct(block: Block, modality: Modality) -> list[NDArray[np.uint64]]:
    """The distinct n-grams of each text."""
    grams, starts_N1 = modality.grams(block.buffer_B, block.offsets_N1)
    ordered = [np.sort(piece) for piece in np.split(grams, starts_N1[1:-1])]
    return [piece[_is_first(piece)] for piece in ordered]


def _is_first(ascending: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Where a new value begins."""
    is_first = np.ones(len(ascending), np.bool_)
    is_first[1:] = ascending[1:] != ascending[:-1]
    return is_first
