"""How well copies of sounds are found: every clip of a dataset copied in five ways and searched for among all.

python bench/sound_duplicates.py /data/asterisk-en [--clips 400]
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from motherlode.data import dedupe
from motherlode.data.dataset import Dataset
from motherlode.data.step import wilson
from motherlode.modality.audio import MODALITY
from motherlode.modality.audio.options import Clean


def main() -> None:
    """Plant, search, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--clips", type=int, default=400)
    asked = parser.parse_args()
    media = [row["audio"]["bytes"] for row in Dataset.open(asked.dataset)][: asked.clips]
    planted = [MODALITY.plant(item) for item in media]
    kinds = np.array([""] * len(media) + [kind for copies in planted for kind in copies], np.str_)
    origins = np.array([*range(len(media)), *(n for n, copies in enumerate(planted) for _ in copies)], np.int64)
    found = MODALITY.examine([*media, *(copy for copies in planted for copy in copies.values())], Clean())
    fit = np.array([reason is None for reason in found.reasons])
    assert fit[: len(media)].all(), "originals are of normal form"
    thumbs = found.thumbs_NT[fit]

    def similarity(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float32]:
        return MODALITY.similarity(thumbs[first], thumbs[second])

    clusters = dedupe.near_duplicates(
        found.fingerprints_NK[fit], similarity, max_bits=MODALITY.max_bits, threshold=MODALITY.similar
    )
    score = dedupe.score_planted(clusters.cluster_N, origins[fit], kinds[fit])
    num = int((kinds[fit] == kinds[-1]).sum())
    print(f"{len(media)} originals, {int((~fit).sum())} copies unfit, precision {score.precision:.2%}")
    for kind, value in score.recall.items():
        low, high = wilson(round(value * num), num)
        print(f"  {kind}: {value:.1%} found again [{low:.1%}, {high:.1%}]")
    likeness = similarity(origins[fit], np.arange(int(fit.sum())))
    for kind in sorted(set(kinds.tolist()) - {""}):
        print(f"  likeness of {kind}: 1st percentile {np.quantile(likeness[kinds[fit] == kind], 0.01):.3f}")


if __name__ == "__main__":
    main()
