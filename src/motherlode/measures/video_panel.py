"""The measures of clips: those of pictures, over the looks of frames, and two of motion and of flicker beside them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.measures.features import Extractor, Features
from motherlode.measures.frechet import frechet_influence
from motherlode.measures.interval import mean_interval
from motherlode.measures.panel import PIECE_ROWS, TAKERS, Panel, Pool, spread_of
from motherlode.measures.report import Measure
from motherlode.measures.video_features import MotionExtractor, find_video_extractor, flicker_of
from motherlode.modality import SampleSpec

_METHOD = "influence function; for this n, whose bias it keeps"


def find_extractor(source: Any, _spec: SampleSpec) -> Extractor:
    """The extractor of clips that `source` means; of any spec."""
    return find_video_extractor(source)


class VideoPanel(Panel):
    """See `Panel`; pools give uint8 (N, C, F, H, W)."""

    @property
    def takers(self) -> dict[str, Callable[[Any], dict[str, Measure]]]:
        """Groups of measures, and what takes each."""
        still = {group: taker for group, taker in TAKERS.items() if group not in ("inception_score", "diversity")}
        return {**still, "motion": _motion, "flicker": _flicker}

    @cached_property
    def motion_of_samples(self) -> Features:
        """Motion features of the samples."""
        return self.features_of(self.samples, self.sample_rows, "watching samples move", 0.7, 0.75, self.motion)

    @cached_property
    def motion_of_reference(self) -> Features:
        """Motion features of the reference."""
        return self.features_of(self.reference, self.reference_rows, "watching real clips", 0.75, 0.8, self.motion)

    @cached_property
    def motion(self) -> Extractor:
        """What motion is seen by."""
        return MotionExtractor()


def _motion(panel: VideoPanel) -> dict[str, Measure]:
    made_ND = panel.motion_of_samples.features_ND
    real_ND = panel.motion_of_reference.features_ND
    value, *pulls = frechet_influence(made_ND, real_ND)
    spread = spread_of(panel, value, _METHOD, *pulls)
    found = {
        "frechet_motion": panel.measure("frechet_motion", spread, len(made_ND), len(real_ND), extractor=panel.motion)
    }
    if panel.train is None or "frechet_motion_floor" not in panel.wanted:
        return found
    rows = panel.train_rows[: len(made_ND)]
    train_ND = panel.features_of(panel.train, rows, "watching training clips", 0.8, 0.85, panel.motion).features_ND
    value, *pulls = frechet_influence(train_ND, real_ND)
    spread = spread_of(panel, value, _METHOD, *pulls)
    found["frechet_motion_floor"] = panel.measure(
        "frechet_motion_floor", spread, len(train_ND), len(real_ND), extractor=panel.motion
    )
    return found


def _flicker(panel: VideoPanel) -> dict[str, Measure]:
    found = {}
    pools = (("flicker", panel.samples, panel.sample_rows), ("flicker_real", panel.reference, panel.reference_rows))
    for name, pool, rows in pools:
        if name in panel.wanted:
            values_N = _flickers(pool, rows)
            found[name] = panel.plain(name, mean_interval(values_N, panel.level, "Student, over clips"), len(rows))
    return found


def _flickers(pool: Pool, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    pieces = [flicker_of(pool.take(rows[first : first + PIECE_ROWS])) for first in range(0, len(rows), PIECE_ROWS)]
    return np.concatenate(pieces)


PANEL = VideoPanel
