"""The panel of sound measures pools of it, and says what it left out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent / "modality"))
from audio_samples import voice

from motherlode.measures import audio_quality
from motherlode.measures.audio_panel import PANEL, find_extractor
from motherlode.measures.panel import Panel
from motherlode.modality import SampleSpec

SPEC = SampleSpec("audio", (1, 4800), rate=8000.0)


class Sounds:
    """A pool in memory."""

    def __init__(self, samples: NDArray[np.int16]) -> None:
        self.samples, self.description = samples, "sounds in memory"
        self.identity: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.int16]:
        return self.samples[rows]

    def code_counts(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [np.tile(np.arange(8), (len(rows), 1))]


@pytest.fixture(scope="module")
def sounds() -> NDArray[np.int16]:
    made = [voice(0.6, 8000, seed=seed, pitch=90 + seed) for seed in range(40)]
    return np.rint(np.stack(made)[:, None] * 32767).astype(np.int16)


def panel(samples: NDArray[np.int16], reference: NDArray[np.int16], restored: Any = None) -> Panel:
    return PANEL(Sounds(samples), Sounds(reference), None, find_extractor("auto", SPEC), 40, restored=restored)


def test_noise_moves_every_measure_the_wrong_way(sounds: NDArray[np.int16]) -> None:
    noise = np.random.default_rng(0).normal(0, 900, sounds.shape)
    noisy = np.clip(sounds + noise, -32768, 32767).astype(np.int16)
    near = panel(sounds[:20], sounds[20:], Sounds(sounds[20:])).take(("frechet", "kernel", "reconstruction"))
    far = panel(noisy[:20], sounds[20:], Sounds(noisy[20:])).take(("frechet", "kernel", "reconstruction"))
    assert near["mel_distance"].value == 0
    assert near["frechet"].label == "frechet[log-mel]"
    for name, measure in near.items():
        worse = far[name].value - measure.value
        assert worse < 0 if measure.direction == "higher" else worse > 0, name


def test_a_model_that_gives_back_its_training_sounds_is_found_out(sounds: NDArray[np.int16]) -> None:
    train, unseen = sounds[:20], sounds[20:]
    pools = (Sounds(train[:10]), Sounds(unseen), Sounds(train))
    found = PANEL(*pools, find_extractor("auto", SPEC), 40).take(("memorisation",))
    assert found["closer_to_train"].value == 1
    assert found["copies"].value == 1
    assert found["planted_found"].value > 0.5


def test_what_listeners_say_is_taken_where_it_can_be_and_noted_where_not(
    sounds: NDArray[np.int16], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_quality, "is_installed", lambda: False)
    without = panel(sounds[:4], sounds[4:8])
    assert without.take(("listeners",)) == {}
    assert "speech" in without.notes[0]
    monkeypatch.setattr(audio_quality, "is_installed", lambda: True)
    monkeypatch.setattr(
        audio_quality, "listener_scores", lambda samples, _: np.tile([3.0, 4.0, 2.0], (len(samples), 1))
    )
    found = panel(sounds[:4], sounds[4:8]).take(("listeners",))
    assert {name: measure.value for name, measure in found.items()} == {
        "listeners_speech": 3.0,
        "listeners_speech_real": 3.0,
        "listeners_background": 4.0,
        "listeners_background_real": 4.0,
        "listeners_whole": 2.0,
        "listeners_whole_real": 2.0,
    }
