"""A batch of files to normal form, measures, fingerprints and thumbnails, decoding each file once.

One sound after another: to one channel, without its constant part, without the silence at its ends, at one rate, at one
loudness, 16 bits. What is measured of a file as it came (duration, rate, channels, clipping) is told apart from what is
measured of its normal form. A clip of two seconds takes about 4 ms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from motherlode.modality import Examination
from motherlode.modality.audio import fingerprint, measure, normal
from motherlode.modality.audio.decode import Sound, Unfit, decode
from motherlode.modality.audio.options import Clean

_SILENT_DB = -60.0
"""A peak below this is nothing to be heard."""
_CONSTANT = 1e-4
"""A constant part above this is taken out (3 steps of 16 bits)."""
_SAME_GAIN_DB = 0.2
_FLAT = 0.3

_FLOATS = (
    *("duration_sec", "loudness_lufs", "peak_dbfs", "clipped_share", "silence_share"),
    *("snr_db", "bandwidth_hz", "flatness", "constant_part", "original_duration_sec"),
)
_INTEGERS = ("num_values", "rate", "channels", "original_rate", "original_channels")


@dataclass(slots=True)
class _Seen:
    """What is known of one file."""

    media: bytes
    reason: str | None = None
    file_format: str = ""
    thumb: NDArray[np.uint8] | None = None
    numbers: dict[str, float] = field(default_factory=dict)


def examine(media: Sequence[bytes], options: Clean) -> Examination:
    """See `Modality.examine`."""
    notes: Counter[str] = Counter()
    seen = [_look(item, options, notes) for item in media]
    thumbs_NT = np.zeros((len(seen), fingerprint.NUM_THUMB_BYTES), np.uint8)
    for row, item in enumerate(seen):
        if item.thumb is not None:
            thumbs_NT[row] = item.thumb
    columns: dict[str, NDArray[np.generic]] = {
        name: np.array([item.numbers.get(name, 0.0) for item in seen], np.float32) for name in _FLOATS
    }
    columns |= {name: np.array([item.numbers.get(name, 0) for item in seen], np.int64) for name in _INTEGERS}
    columns["original_format"] = np.array([item.file_format for item in seen], np.str_)
    return Examination(
        media=[item.media if item.reason is None else received for item, received in zip(seen, media, strict=True)],
        reasons=[item.reason for item in seen],
        columns=columns,
        fingerprints_NK=fingerprint.fingerprints(thumbs_NT),
        thumbs_NT=thumbs_NT,
        notes=dict(notes),
    )


def _look(media: bytes, options: Clean, notes: Counter[str]) -> _Seen:
    seen = _Seen(media)
    try:
        sound = decode(media, options)
        _take_down(seen, sound)
        samples_TC = _shape(seen, sound, options, notes)
        samples_TC = _make_loud(seen, samples_TC, options, notes)
        _judge(seen, samples_TC[:, 0], options)
    except Unfit as unfit:
        seen.reason = unfit.reason
        return seen
    values_TC = normal.to_int16(samples_TC)
    rate = int(seen.numbers["rate"])
    if not _is_normal(seen, sound, values_TC):
        seen.media = normal.write(values_TC, rate)
    seen.thumb = fingerprint.thumbnail(samples_TC.mean(axis=1), rate)
    return seen


def _take_down(seen: _Seen, sound: Sound) -> None:
    """The facts of the file as it came."""
    num, channels = sound.samples_TC.shape
    seen.file_format = sound.file_format
    seen.numbers |= {
        "original_duration_sec": num / sound.rate,
        "original_rate": sound.rate,
        "original_channels": channels,
        "clipped_share": measure.clipped_share(sound.samples_TC),
    }


def _shape(seen: _Seen, sound: Sound, options: Clean, notes: Counter[str]) -> NDArray[np.float32]:
    """Channels, constant part, silence and rate of the normal form.

    Raises:
        Unfit: nothing is left, or too little, or too much.
    """
    samples_TC, rate = sound.samples_TC, sound.rate
    if samples_TC.shape[1] != options.channels:
        samples_TC = normal.mixed(samples_TC, options.channels)
        notes["channels_changed"] += 1
    constant_C = samples_TC.mean(axis=0, dtype=np.float64)
    seen.numbers["constant_part"] = float(np.abs(constant_C).max())
    if seen.numbers["constant_part"] > _CONSTANT:
        samples_TC = (samples_TC - constant_C).astype(np.float32)
        notes["constant_part_removed"] += 1
    if measure.decibels(float(np.abs(samples_TC).max()) ** 2) < _SILENT_DB:
        raise Unfit("silent")
    mono_T = samples_TC.mean(axis=1)
    start, end = _span(mono_T, rate, options)
    if end - start < options.min_sec * rate:
        raise Unfit("silent" if end == start else "too_short")
    if (start, end) != (0, len(samples_TC)):
        samples_TC = samples_TC[start:end]
        notes["silence_trimmed"] += 1
    if options.rate and options.rate != rate:
        samples_TC = normal.resampled(samples_TC, rate, options.rate)
        notes["resampled"] += 1
        rate = options.rate
    seen.numbers |= {
        "rate": rate,
        "channels": options.channels,
        "num_values": len(samples_TC),
        "duration_sec": len(samples_TC) / rate,
        "silence_share": measure.silence_share(mono_T[start:end], sound.rate, options.trim_below),
        "snr_db": measure.signal_to_noise(mono_T, sound.rate),
    }
    return samples_TC


def _span(mono_T: NDArray[np.float32], rate: int, options: Clean) -> tuple[int, int]:
    if options.trim == "off":
        return 0, len(mono_T)
    if options.trim == "silero":
        from motherlode.modality.audio import speech

        return speech.span(mono_T, rate, options.trim_margin)
    return measure.loud_span(mono_T, rate, options.trim_below, options.trim_margin)


def _make_loud(
    seen: _Seen, samples_TC: NDArray[np.float32], options: Clean, notes: Counter[str]
) -> NDArray[np.float32]:
    """The loudness of the normal form, as far as the peak allows; at any rate no peak beyond full scale."""
    rate = int(seen.numbers["rate"])
    found = measure.loudness(samples_TC, rate)
    peak = float(measure.decibels(float(np.abs(samples_TC).max()) ** 2))
    room = options.max_peak - peak
    gain = min(options.loudness - found, room) if options.loudness is not None else min(0.0, -peak)
    if abs(gain) <= _SAME_GAIN_DB and peak <= 0:
        gain = 0.0
    if gain:
        samples_TC = samples_TC * np.float32(10.0 ** (gain / 20))
        notes["gain_changed"] += 1
    seen.numbers |= {"loudness_lufs": found + gain, "peak_dbfs": peak + gain}
    return samples_TC


def _judge(seen: _Seen, samples_T: NDArray[np.float32], options: Clean) -> None:
    """Measure the spectrum, and refuse what is not worth learning from.

    Raises:
        Unfit: with the first reason that holds.
    """
    power_B, frequencies_B = measure.spectrum(samples_T, int(seen.numbers["rate"]))
    seen.numbers["bandwidth_hz"] = measure.bandwidth(power_B, frequencies_B)
    seen.numbers["flatness"] = measure.flatness(power_B)
    if seen.numbers["clipped_share"] > options.max_clipped_share:
        raise Unfit("clipped")
    if seen.numbers["silence_share"] > options.max_silence_share:
        raise Unfit("mostly_silent")
    if seen.numbers["snr_db"] < options.min_snr and seen.numbers["flatness"] > _FLAT:
        raise Unfit("noise")
    if seen.numbers["bandwidth_hz"] < options.min_bandwidth:
        raise Unfit("narrow_band")


def _is_normal(seen: _Seen, sound: Sound, values_TC: NDArray[np.int16]) -> bool:
    """Whether the file that came in holds exactly these values as a FLAC of 16 bits at this rate."""
    return (
        sound.file_format == "FLAC"
        and sound.is_pcm16
        and sound.rate == seen.numbers["rate"]
        and sound.samples_TC.shape == values_TC.shape
        and bool(np.array_equal(normal.to_int16(sound.samples_TC), values_TC))
    )
