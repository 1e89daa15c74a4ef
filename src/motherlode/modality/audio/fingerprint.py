"""Fingerprints that copies of a sound share, and the check that tells copies from sounds alike.

A thumbnail is the spectrogram of the whole sound, loudness taken out: 32 mel bands between 100 and 3,400 Hz (which
telephone, mp3 and resampling leave alone) by 64 stretches of time. A fingerprint has a bit for each of the 64 lowest
frequencies of its two-dimensional cosine transform: is the coefficient above zero, by more than noise could make it?
Three more are of the sound without its first twentieth, its last, and half of each, for copies that were cut a little.
In the manner of Haitsma and Kalker (2002), whose bits are signs of differences of band energies; theirs find a moment
of a song in a broadcast, these find a file among files. A short excerpt of a long sound is not found.

Shape legend: N samples or pairs, B mel bands, S stretches of time, T bytes of a thumbnail, K fingerprints, D features.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from motherlode.modality.audio.measure import decibels

NUM_BANDS, NUM_STRETCHES = 32, 64
NUM_VALUES = NUM_BANDS * NUM_STRETCHES
NUM_THUMB_BYTES = NUM_VALUES + 4
"""The spectrogram, band by band, and the duration in seconds as a float32."""
LOWEST_HZ, HIGHEST_HZ = 100.0, 3400.0
RANGE_DB = 50.0
_WINDOW_SEC, _HOP_SEC = 0.032, 0.01
_MOST_FRAMES = 6000
_CUT = 0.05
_VIEWS = ((0.0, 1.0), (_CUT, 1.0), (0.0, 1.0 - _CUT), (_CUT / 2, 1.0 - _CUT / 2))
"""Which share of the sound each of the K fingerprints is of."""
_NUM_AXIS = 12
_ZERO_SHARE = 0.01


def mel(hertz: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Hertz to mel (O'Shaughnessy 1987)."""
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0))


@lru_cache(maxsize=64)
def mel_filters(rate: int, size: int, bands: int, low: float, high: float) -> NDArray[np.float64]:
    """Triangles (bands, size // 2 + 1) evenly spaced in mel, each of sum one where it holds a frequency at all."""
    frequencies = np.fft.rfftfreq(size, 1.0 / rate)
    edges = 700.0 * (10.0 ** (np.linspace(mel(low), mel(high), bands + 2) / 2595.0) - 1.0)
    rising = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    # Bands narrower than a bin of the transform take the nearest bin.
    for band in np.flatnonzero(weights.sum(axis=1) == 0):
        weights[band, np.abs(frequencies - edges[band + 1]).argmin()] = 1.0
    total: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return total


def thumbnail(samples_T: NDArray[np.float32], rate: int) -> NDArray[np.uint8]:
    """uint8 (T,) of one sound."""
    size = max(int(_WINDOW_SEC * rate), 16)
    padded = np.concatenate([np.zeros(size // 2, np.float32), samples_T, np.zeros(size // 2, np.float32)])
    hop = max(int(_HOP_SEC * rate), len(samples_T) // _MOST_FRAMES, 1)
    starts = np.arange(0, max(len(padded) - size, 0) + 1, hop)
    window = np.hanning(size + 2)[1:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[starts]
    power_FB = (
        np.abs(np.fft.rfft(frames * window, axis=1)) ** 2 @ mel_filters(rate, size, NUM_BANDS, LOWEST_HZ, HIGHEST_HZ).T
    )
    level_BS = _smooth(decibels(_pooled(power_FB).T))
    top = float(level_BS.max())
    values = np.rint(np.clip((level_BS - top + RANGE_DB) / RANGE_DB, 0.0, 1.0) * 255.0).astype(np.uint8)
    duration = np.array([len(samples_T) / rate], "<f4")
    return np.concatenate([values.reshape(-1), duration.view(np.uint8)])


def _pooled(power_FB: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means over equal stretches of time, their ends between frames."""
    num = len(power_FB)
    sums = np.concatenate([np.zeros((1, power_FB.shape[1])), np.cumsum(power_FB, axis=0)])
    ends = np.linspace(0, num, NUM_STRETCHES + 1)
    below = np.minimum(ends.astype(np.int64), num - 1)
    at_ends = sums[below] + (ends - below)[:, None] * (sums[below + 1] - sums[below])
    pooled: NDArray[np.float64] = np.maximum(np.diff(at_ends, axis=0) * (NUM_STRETCHES / num), 1e-20)
    return pooled


def _smooth(level_BS: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each stretch with a quarter of either neighbour: sounds cut between stretches stay alike (0.965 → 0.986)."""
    padded = np.pad(level_BS, ((0, 0), (1, 1)), mode="edge")
    smooth: NDArray[np.float64] = (padded[:, :-2] + 2.0 * level_BS + padded[:, 2:]) / 4.0
    return smooth


@cache
def _frequencies() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index along bands and along time of the 64 lowest frequencies without the constant."""
    axis = range(_NUM_AXIS)
    chosen = sorted((v + u, max(v, u), v, u) for v in axis for u in axis if v + u)[:64]
    return np.array([item[2] for item in chosen]), np.array([item[3] for item in chosen])


@cache
def _cosines(num: int, start: float, end: float) -> NDArray[np.float32]:
    """First rows of the cosine transform of the stretch from `start` to `end` of `num` values."""
    place = (np.arange(num) + 0.5) / num
    rows = np.cos(np.arange(_NUM_AXIS)[:, None] * np.pi * place) * np.sqrt(2.0 / num)
    source = (start + place * (end - start)) * num - 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(source[:, None] - np.arange(num)))
    cosines: NDArray[np.float32] = (rows @ (weights / weights.sum(axis=1, keepdims=True))).astype(np.float32)
    return cosines


def fingerprints(thumbs_NT: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """uint64 (N, 4)."""
    level_NBS = thumbs_NT[:, :NUM_VALUES].reshape(-1, NUM_BANDS, NUM_STRETCHES).astype(np.float32)
    bands, times = _frequencies()
    found = []
    for view in _VIEWS:
        spectrum = _cosines(NUM_BANDS, 0.0, 1.0) @ (level_NBS @ _cosines(NUM_STRETCHES, *view).T)
        value_N64 = spectrum[:, bands, times]
        zero_N1 = _ZERO_SHARE * np.sqrt((value_N64**2).sum(axis=1, keepdims=True))
        packed = np.ascontiguousarray(np.packbits(value_N64 > zero_N1, axis=1, bitorder="little"))
        found.append(packed.view("<u8").ravel().astype(np.uint64))
    return np.stack(found, axis=1) if len(thumbs_NT) else np.empty((0, len(_VIEWS)), np.uint64)


def similarity(thumbs_a_NT: NDArray[np.uint8], thumbs_b_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How alike two spectrograms are at the best small shift in time, (N,) in [0, 1]: see `kernels.alike`."""
    from motherlode.modality.audio import kernels

    result_N = np.zeros(len(thumbs_a_NT), np.float32)
    first, second = np.ascontiguousarray(thumbs_a_NT), np.ascontiguousarray(thumbs_b_NT)
    kernels.alike(first, second, _seconds(first), _seconds(second), result_N)
    return result_N


def _seconds(thumbs_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Durations, (N,)."""
    return np.ascontiguousarray(thumbs_NT[:, NUM_VALUES:]).view("<f4").ravel()


def features(thumbs_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean and spread over time of each band's level, scaled to [0, 1]: float32 (N, 64)."""
    level_NBS = thumbs_NT[:, :NUM_VALUES].reshape(-1, NUM_BANDS, NUM_STRETCHES).astype(np.float32) / 255.0
    return np.concatenate([level_NBS.mean(axis=2), level_NBS.std(axis=2)], axis=1)
