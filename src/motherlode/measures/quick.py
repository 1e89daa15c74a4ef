"""A distance cheap enough to take while training: a few hundred samples against features that are already there.

It ranks checkpoints of one run. Its value is far above the one `evaluate` reports, since the Fréchet distance grows as
samples get few, and is never shown beside it.

Shape legend: N, M samples; D features.
"""

from __future__ import annotations

from typing import Any

from motherlode.measures.features import Extractor, find_extractor
from motherlode.measures.frechet import frechet_distance


def quick_frechet(samples: Any, reference_ND: Any, extractor: Extractor | str = "auto") -> float:
    """The Fréchet distance of uint8 samples (M, C, H, W) to reference features (N, D) of the same extractor.

    Args:
        samples: uint8 array or tensor (M, C, H, W).
        reference_ND: features made once, by `find_extractor(name)(reference).features_ND`.
        extractor: the same extractor or its name.

    Raises:
        MeasureError: fewer than two samples, or features of another extractor.
    """
    return frechet_distance(find_extractor(extractor)(samples).features_ND, reference_ND)
