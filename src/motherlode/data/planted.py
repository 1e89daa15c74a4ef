"""How well copies are found in this very data: altered copies of some kept rows are planted and searched for.

Copies never enter the dataset. The search runs as it did for the data, among the kept rows or a random 10,000 of them;
among fewer rows a copy is a little easier to find, so the number searched among is reported with the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.data import dedupe
from motherlode.data.pictures import Reader
from motherlode.data.step import Rows, wilson
from motherlode.data.threads import on_all_cores
from motherlode.modality import Modality

MOST_ORIGINALS, FEWEST_ORIGINALS = 100, 20
SHARE = 0.01
AMONG = 10_000


def estimate(rows: Rows, reader: Reader, modality: Modality, clean: Any) -> dict[str, Any]:
    """Recall by kind of copy with 90 % intervals, and precision; as JSON values; empty for too few rows to tell.

    Rows are taken in the order of their content hash, which is as good as random and the same in every run.
    """
    kept = rows.alive[np.argsort(rows.ids_N[rows.alive], kind="stable")][:AMONG]
    if len(kept) < FEWEST_ORIGINALS:
        return {}
    num_originals = min(MOST_ORIGINALS, max(FEWEST_ORIGINALS, int(SHARE * len(rows.alive))))
    media = [reader.row(int(number))[0] for number in kept[:num_originals]]
    planted = [
        copies for part in on_all_cores(lambda p: [modality.plant(m) for m in media[p]], len(media)) for copies in part
    ]
    kinds = np.array([kind for copies in planted for kind in copies], np.str_)
    origins = np.array([place for place, copies in enumerate(planted) for _ in copies], np.int64)
    found = modality.examine([copy for copies in planted for copy in copies.values()], clean)
    fit = np.array([reason is None for reason in found.reasons], np.bool_)
    places = rows.places_N[kept]
    copies_CT = found.thumbs_NT[fit]

    def thumbs(chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
        is_copy = chosen >= len(kept)
        thumbs_NT = np.empty((len(chosen), copies_CT.shape[1]), np.uint8)
        thumbs_NT[is_copy] = copies_CT[chosen[is_copy] - len(kept)]
        thumbs_NT[~is_copy] = rows.thumbs_PT[places[chosen[~is_copy]]]
        return thumbs_NT

    similarity = dedupe.in_blocks(modality.similarity, thumbs, copies_CT.shape[1])
    fingerprints = np.concatenate([rows.fingerprints_PK[places], found.fingerprints_NK[fit]])
    clusters = dedupe.near_duplicates(fingerprints, similarity, max_bits=modality.max_bits, threshold=modality.similar)
    origin_N = np.concatenate([np.arange(len(kept)), origins[fit]])
    kind_N = np.concatenate([np.full(len(kept), "", kinds.dtype), kinds[fit]])
    score = dedupe.score_planted(clusters.cluster_N, origin_N, kind_N)
    recall = {}
    for kind, value in score.recall.items():
        trials = int((kind_N == kind).sum())
        low, high = wilson(round(value * trials), trials)
        recall[kind] = {"value": value, "low": low, "high": high}
    return {"originals": num_originals, "among": len(kept), "precision": score.precision, "recall": recall}
