"""Copies as they come about in the wild, planted to see whether the duplicate finder finds them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from motherlode.modality.audio import normal

GAIN = 0.4
TRIM = 0.03
"""Share of the duration cut off each end."""
_LOW_RATE = 8000
_LOSSY_RATE = 16_000
_LOSSY_LEVEL = 0.6


def plant(media: bytes) -> dict[str, bytes]:
    """One altered copy of a sound of normal form for each way of altering."""
    samples_TC, rate = soundfile.read(BytesIO(media), dtype="float32", always_2d=True)
    cut = int(len(samples_TC) * TRIM)
    low = _LOW_RATE if rate > _LOW_RATE else 11_025
    return {
        "8 dB quieter": normal.write(normal.to_int16(samples_TC * GAIN), rate),
        "MP3": _lossy(samples_TC, rate, "MP3", "MPEG_LAYER_III"),
        "Ogg Vorbis": _lossy(samples_TC, rate, "OGG", "VORBIS"),
        f"resampled to {low} Hz": normal.write(normal.to_int16(normal.resampled(samples_TC, rate, low)), low),
        "3 % cut off both ends": normal.write(normal.to_int16(samples_TC[cut : len(samples_TC) - cut]), rate),
    }


def _lossy(samples_TC: NDArray[np.float32], rate: int, file_format: str, subtype: str) -> bytes:
    """Through a lossy codec, at a rate every codec takes."""
    wanted = rate if rate in (16_000, 22_050, 24_000, 32_000, 44_100, 48_000) else _LOSSY_RATE
    buffer = BytesIO()
    samples_TC = normal.resampled(samples_TC, rate, wanted)
    soundfile.write(buffer, samples_TC, wanted, format=file_format, subtype=subtype, compression_level=_LOSSY_LEVEL)
    return buffer.getvalue()
