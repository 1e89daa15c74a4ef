"""The measures of sounds: Fréchet distance and its kin over an extractor of sound, reconstructions as a listener hears
them, and listeners' scores where their network is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.measures import audio_quality
from motherlode.measures.audio_distance import mel_distance, signal_to_distortion, spectral_distance
from motherlode.measures.audio_features import find_extractor
from motherlode.measures.frechet import frechet_influence
from motherlode.measures.interval import mean_interval
from motherlode.measures.panel import TAKERS, Panel, Pool, spread_of
from motherlode.measures.report import Measure
from motherlode.randomness import numpy_generator

__all__ = ["PANEL", "AudioPanel", "find_extractor"]

_MOST_HEARD = 200
_MOVED_SEC, _NOISE = 0.002, 0.01
_KEPT = ("frechet", "kernel", "coverage", "memorisation", "codes")
_PARTS = ("speech", "background", "whole")


class AudioPanel(Panel):
    """See `Panel`; pools give int16 (N, C, T), and the extractor knows their rate."""

    @property
    def takers(self) -> dict[str, Callable[[Any], dict[str, Measure]]]:
        """Groups of measures, and what takes each."""
        kept = {group: TAKERS[group] for group in _KEPT}
        return {**kept, "reconstruction": _reconstruction, "listeners": _listeners}

    def altered(self, samples: NDArray[Any]) -> NDArray[Any]:
        """A third moved by 2 ms, a third 1 dB quieter, a third a little noisy."""
        altered = samples.astype(np.float32)
        altered[0::3] = np.roll(altered[0::3], round(_MOVED_SEC * self.rate), axis=-1)
        altered[1::3] *= 0.9
        noise = numpy_generator(self.seed, "planted copies").standard_normal(altered[2::3].shape)
        altered[2::3] += _NOISE * noise * altered[2::3].std(axis=(1, 2), keepdims=True)
        return np.clip(np.rint(altered), -32768, 32767).astype(np.int16)

    @property
    def rate(self) -> float:
        """Values a second of the samples."""
        rate: float = self.extractor.rate  # type: ignore[attr-defined]
        return rate


def _reconstruction(panel: AudioPanel) -> dict[str, Measure]:
    if panel.restored is None:
        return {}
    rows = panel.reference_rows
    real, made = panel.reference.take(rows), panel.restored.take(rows)
    found = {
        "mel_distance": panel.plain("mel_distance", mel_distance(made, real, panel.rate, level=panel.level), len(rows)),
        "spectral_distance": panel.plain(
            "spectral_distance", spectral_distance(made, real, level=panel.level), len(rows)
        ),
        "si_sdr": panel.plain("si_sdr", signal_to_distortion(made, real, level=panel.level), len(rows)),
    }
    if "reconstruction_frechet" in panel.wanted:
        made_ND = panel.restored_features.features_ND
        value, pull_N, pull_real_N = frechet_influence(made_ND, panel.reference_features.features_ND)
        spread = spread_of(panel, value, "influence function over pairs; for this n", pull_N + pull_real_N)
        found["reconstruction_frechet"] = panel.measure("reconstruction_frechet", spread, len(rows), len(rows))
    return found


def _listeners(panel: AudioPanel) -> dict[str, Measure]:
    if not audio_quality.is_installed():
        panel.notes.append("Listeners' scores were left out: pip install 'motherlode[speech]'.")
        return {}
    found = {}
    pools = (("", panel.samples, panel.sample_rows), ("_real", panel.reference, panel.reference_rows))
    for ending, pool, rows in pools:
        names = [f"listeners_{part}{ending}" for part in _PARTS]
        if not panel.wanted & {*names}:
            continue
        scores_N3 = _scores(pool, rows[:_MOST_HEARD], panel.rate)
        for part, name in enumerate(names):
            if name in panel.wanted:
                spread = mean_interval(scores_N3[:, part], panel.level, "Student, over sounds")
                found[name] = panel.plain(name, spread, len(scores_N3))
    return found


def _scores(pool: Pool, rows: NDArray[np.int64], rate: float) -> NDArray[np.float64]:
    return audio_quality.listener_scores(pool.take(rows), rate)


PANEL = AudioPanel
