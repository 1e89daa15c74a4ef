"""What is measured of a sound: how loud, how clean, how wide, where the silence is.

Loudness is BS.1770-4's, with its filters designed for the sound's own rate and its two gates; a sound shorter than a
block of 400 ms is one block. The signal-to-noise ratio is an estimate from the sound itself, loud stretches against
quiet ones: speech without pauses and music score lower than they are.

Shape legend: T values of a channel, C channels, F frames of 20 ms, B frequencies.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

FRAME_SEC, HOP_SEC = 0.02, 0.01
FLOOR_DB = -120.0
_BLOCK_SEC, _STEP_SEC = 0.4, 0.1
_ABSOLUTE_GATE, _RELATIVE_GATE, _OFFSET = -70.0, -10.0, -0.691
_CLIP_RUN = 3
_CLIP_LEVEL = 0.25
"""Peaks below this are not cut off by a converter."""
_SPECTRUM_VALUES = 1024
_MOST_SPECTRA = 2000
_BAND_DB = 60.0


def decibels(power: Any) -> Any:
    """10 log₁₀, never below `FLOOR_DB`."""
    return 10.0 * np.log10(np.maximum(power, 10.0 ** (FLOOR_DB / 10)))


@lru_cache(maxsize=64)
def _k_weighting(rate: int) -> NDArray[np.float64]:
    """The two biquads of BS.1770-4 (annex 1), their analogue prototypes brought to `rate` by the bilinear transform."""
    sections = []
    for frequency, gain_db, quality, is_shelf in (
        (1681.974450955533, 3.999843853973347, 0.7071752369554196, True),
        (38.13547087602444, 0.0, 0.5003270373238773, False),
    ):
        k = np.tan(np.pi * min(frequency, 0.49 * rate) / rate)
        high = 10.0 ** (gain_db / 20)
        band = high**0.4996667741545416
        scale = 1.0 + k / quality + k * k
        if is_shelf:
            b = [(high + band * k / quality + k * k), 2.0 * (k * k - high), (high - band * k / quality + k * k)]
            b = [value / scale for value in b]
        else:
            b = [1.0, -2.0, 1.0]
        sections.append([*b, 1.0, 2.0 * (k * k - 1.0) / scale, (1.0 - k / quality + k * k) / scale])
    return np.array(sections)


def loudness(samples_TC: NDArray[np.float32], rate: int) -> float:
    """Integrated loudness in LUFS (BS.1770-4, equations 2 to 7, all channels weighted 1); -120 for silence."""
    from scipy.signal import sosfilt

    power_TC = sosfilt(_k_weighting(rate), samples_TC.astype(np.float64), axis=0) ** 2
    power_T = power_TC.sum(axis=1)
    block, step = int(_BLOCK_SEC * rate), int(_STEP_SEC * rate)
    if len(power_T) <= block:
        return float(_OFFSET + decibels(power_T.mean()))
    sums = np.concatenate([[0.0], np.cumsum(power_T)])
    starts = np.arange(0, len(power_T) - block + 1, step)
    power_B = (sums[starts + block] - sums[starts]) / block
    level_B = _OFFSET + decibels(power_B)
    kept = level_B > _ABSOLUTE_GATE
    if not kept.any():
        return float(_OFFSET + decibels(power_T.mean()))
    gate = _OFFSET + decibels(power_B[kept].mean()) + _RELATIVE_GATE
    return float(_OFFSET + decibels(power_B[kept & (level_B > gate)].mean()))


def frame_power(samples_T: NDArray[np.float32], rate: int) -> tuple[NDArray[np.float64], int]:
    """Mean power of each frame of 20 ms, one every 10 ms (at least one), and the hop in values."""
    frame, hop = max(int(FRAME_SEC * rate), 1), max(int(HOP_SEC * rate), 1)
    power_T = samples_T.astype(np.float64) ** 2
    if len(power_T) <= frame:
        return np.array([power_T.mean()]), hop
    sums = np.concatenate([[0.0], np.cumsum(power_T)])
    starts = np.arange(0, len(power_T) - frame + 1, hop)
    return (sums[starts + frame] - sums[starts]) / frame, hop


def loud_span(samples_T: NDArray[np.float32], rate: int, below_db: float, margin_sec: float) -> tuple[int, int]:
    """First and last value of what is not silence at the ends, with a margin; (0, 0) where all is silent.

    A frame is silent where its power lies `below_db` under the loudest frame's.
    """
    power_F, hop = frame_power(samples_T, rate)
    level_F = decibels(power_F)
    loud = np.flatnonzero(level_F > max(float(level_F.max()) - below_db, FLOOR_DB + 1))
    if not len(loud):
        return 0, 0
    margin = round(margin_sec / HOP_SEC) * hop
    frame = max(int(FRAME_SEC * rate), 1)
    end = int(loud[-1]) * hop + frame
    # A last frame that is loud reaches to the end: what is less than a frame is not cut.
    end = len(samples_T) if loud[-1] == len(level_F) - 1 else end
    return max(int(loud[0]) * hop - margin, 0), min(end + margin, len(samples_T))


def silence_share(samples_T: NDArray[np.float32], rate: int, below_db: float) -> float:
    """Share of frames that are silent, as `loud_span` has it."""
    level_F = decibels(frame_power(samples_T, rate)[0])
    return float((level_F <= max(float(level_F.max()) - below_db, FLOOR_DB + 1)).mean())


def signal_to_noise(samples_T: NDArray[np.float32], rate: int) -> float:
    """Estimate in dB: the power of the 90th percentile of frames over that of the 10th, at most 100."""
    low, high = np.quantile(frame_power(samples_T, rate)[0], [0.1, 0.9])
    return float(np.clip(decibels(high) - decibels(low), 0.0, 100.0))


def clipped_share(samples_TC: NDArray[np.float32]) -> float:
    """Share of values that stand in runs of three or more at the very peak, where peaks reach a quarter of full scale.

    Whatever the gain after a converter cut off the peaks, they stay flat at the greatest value of their sign.
    """
    worst = 0.0
    for samples_T in samples_TC.T:
        for signed_T in (samples_T, -samples_T):
            peak = float(signed_T.max())
            if peak >= _CLIP_LEVEL:
                worst = max(worst, _in_runs(signed_T >= peak * 0.9995, _CLIP_RUN) / len(samples_T))
    return worst


def _in_runs(is_set_T: NDArray[np.bool_], least: int) -> int:
    """How many are set in runs of at least `least`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_set_T, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= least].sum())


def spectrum(samples_T: NDArray[np.float32], rate: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean power at each frequency (Welch 1967, Hann windows, at most 2000 of them), and the frequencies in Hz."""
    size = min(_SPECTRUM_VALUES, len(samples_T))
    starts = np.unique(np.linspace(0, len(samples_T) - size, _MOST_SPECTRA).astype(np.int64) // (size // 2 or 1))
    starts = np.minimum(starts * (size // 2 or 1), len(samples_T) - size)
    window = np.hanning(size + 2)[1:-1]
    power_B = np.zeros(size // 2 + 1)
    for start in starts.tolist():
        power_B += np.abs(np.fft.rfft(samples_T[start : start + size] * window)) ** 2
    frequencies_B: NDArray[np.float64] = np.fft.rfftfreq(size, 1.0 / rate).astype(np.float64)
    return power_B / len(starts), frequencies_B


def bandwidth(power_B: NDArray[np.float64], frequencies_B: NDArray[np.float64]) -> float:
    """The highest frequency in Hz less than 60 dB below the strongest."""
    return float(frequencies_B[np.flatnonzero(power_B >= power_B.max() * 10 ** (-_BAND_DB / 10))[-1]])


def flatness(power_B: NDArray[np.float64]) -> float:
    """Geometric over arithmetic mean of the power spectrum without its ends: 1 for white noise, 0 for a tone."""
    inner = np.maximum(power_B[1:-1], 1e-30) if len(power_B) > 2 else np.ones(1)
    return float(np.exp(np.log(inner).mean()) / inner.mean())
