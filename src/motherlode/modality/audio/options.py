"""What counts as a fit sound, and the form in which it is kept.

The normal form is FLAC of 16 bits, at the sound's own rate or the one `rate` names, one channel unless told otherwise,
silence at both ends cut off, and as loud as all others. A filter is switched off by the value its description names.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from motherlode.recipe import Strict

LEAST_RATE, MOST_RATE = 1_000, 384_000
"""Values a second outside of which a file's rate is taken for a mistake."""

REASONS: dict[str, str] = {
    "empty": "a file of no bytes",
    "unknown_format": "not a file of a kind that can be read",
    "undecodable": "damaged, or not what it says it is",
    "truncated": "ends before what its header promises",
    "absurd_rate": "a sample rate that no sound has",
    "non_finite": "holds values that are not numbers",
    "too_short": "shorter than the least duration, without the silence at its ends",
    "too_long": "longer than the greatest duration",
    "silent": "nothing to be heard",
    "mostly_silent": "silent nearly all the time",
    "clipped": "too loud for the recorder: its peaks are cut off",
    "noise": "nothing but steady noise",
    "narrow_band": "holds no high frequencies, whatever its rate",
    "near_duplicate": "the same sound louder, recompressed, resampled or cut a little",
}
"""Every reason for which a sound is dropped, and what it means to a person."""


class Clean(Strict):
    """The section `clean` of `prepare` for sound."""

    rate: int | None = Field(
        None, ge=LEAST_RATE, le=MOST_RATE, description="resample every sound to this many values a second"
    )
    channels: Literal[1, 2] = Field(1, description="1: mixed to one channel; 2: kept as two, others mixed to two")
    loudness: float | None = Field(
        -23.0, ge=-70, le=-5, description="make every sound this loud (LUFS of BS.1770); null leaves it as it is"
    )
    max_peak: float = Field(
        -1.0, ge=-20, le=0, description="loudness stops where a peak would exceed this (dB below full scale)"
    )
    trim: Literal["energy", "silero", "off"] = Field(
        "energy", description="cut silence off both ends: what is `trim_below` the loudest, or what is not speech"
    )
    trim_below: float = Field(40.0, gt=0, le=90, description="dB below the loudest 20 ms that count as silence")
    trim_margin: float = Field(0.03, ge=0, le=5, description="seconds of it that stay")
    min_sec: float = Field(0.1, ge=0, description="shorter ones: too_short")
    max_sec: float = Field(600.0, gt=0, le=36_000, description="longer ones: too_long, never decoded whole")
    max_silence_share: float = Field(
        0.95, ge=0, le=1, description="share of silence within above this: mostly_silent; 1 switches it off"
    )
    max_clipped_share: float = Field(
        0.02, ge=0, le=1, description="share of values in cut-off peaks above this: clipped; 1 switches it off"
    )
    min_snr: float = Field(
        3.0, ge=0, description="dB between loud and quiet stretches below which flat noise is dropped; 0: off"
    )
    min_bandwidth: float = Field(
        0.0, ge=0, description="highest frequency in Hz below this: narrow_band; 0 switches it off"
    )
