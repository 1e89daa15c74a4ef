"""The speech detector, where it is installed; a clear word where it is not."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from audio_samples import file

from motherlode.errors import MissingExtraError
from motherlode.modality.audio import MODALITY, speech
from motherlode.modality.audio.options import Clean

SAMPLE = Path(__file__).parents[2] / "examples" / "data" / "spoken-digits.parquet"


@pytest.mark.skipif(not speech.is_installed(), reason="silero-vad is not installed")
def test_words_are_found_between_silence_and_a_hum_is_no_speech() -> None:
    clips = pq.read_table(SAMPLE).column("audio").to_pylist()[:4]
    spoken = [soundfile.read(BytesIO(clip["bytes"]), dtype="float32")[0] for clip in clips]
    quiet = np.zeros(8000, np.float32)
    samples = np.concatenate([quiet, *(piece for clip in spoken for piece in (clip, quiet[:800])), quiet])
    start, end = speech.span(samples, 8000, 0.03)
    assert 6500 < start < 9500
    assert len(samples) - 10_500 < end < len(samples) - 6500
    hum = 0.1 * np.sin(2 * np.pi * 60 * np.arange(16_000) / 8000).astype(np.float32)
    assert speech.span(hum, 8000, 0.03) == (0, 0)
    found = MODALITY.examine([file(samples, 8000), file(hum, 8000)], Clean(trim="silero"))
    assert found.reasons == [None, "silent"]
    assert found.columns["duration_sec"][0] == pytest.approx((end - start) / 8000, abs=0.07)


def test_without_it_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech, "_model_path", lambda: None)
    speech._session.cache_clear()
    with pytest.raises(MissingExtraError, match="speech"):
        speech.chances(np.zeros(4000, np.float32), 8000)
    assert not speech.is_installed()
