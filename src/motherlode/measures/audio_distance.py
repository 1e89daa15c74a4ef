"""How far a sound made again lies from the sound it was made from: by mel spectra, by spectra, by its waveform.

The mel and the spectral distance hear what a listener hears and forgive a shifted phase; the signal-to-distortion ratio
forgives nothing but loudness. 64 pairs of a second at 16 kHz take 0.1 s on one core.

Shape legend: N sounds, C channels, T values, F frames, B mel bands.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from motherlode.errors import MeasureError
from motherlode.measures.interval import DEFAULT_LEVEL, Interval, around
from motherlode.modality.audio.fingerprint import mel_filters

MEL_BANDS = 80
MEL_WINDOW_SEC = 0.032
SPECTRAL_WINDOWS = (64, 128, 256, 512, 1024, 2048)
_FLOOR = 1e-5
"""Magnitudes below this count alike: 100 dB under full scale."""


def mel_distance(made: Any, real: Any, rate: float, *, level: float = DEFAULT_LEVEL) -> Interval:
    """Mean absolute difference of log₁₀ mel magnitudes, times 20: in dB (Kumar et al. 2023, section 4, one window).

    Args:
        made: int16 or normalised float (N, C, T).
        real: what it should be, aligned.
        rate: values a second.
        level: of the interval, over sounds.

    Raises:
        MeasureError: shapes differ, or there is no sound.
    """
    made, real = _pair(made, real)
    one, other = (log_mel(samples, rate) for samples in (made, real))
    return _mean(20.0 * (one - other).abs().flatten(1).mean(1), level)


def spectral_distance(made: Any, real: Any, *, level: float = DEFAULT_LEVEL) -> Interval:
    """Spectral convergence plus distance of log magnitudes, mean over six windows (Yamamoto et al. 2020, eq. 5, 6).

    Args and errors as of `mel_distance`. 0 for equal sounds.
    """
    made, real = _pair(made, real)
    total_N = torch.zeros(len(made), dtype=torch.float64)
    windows = [window for window in SPECTRAL_WINDOWS if window <= made.shape[-1]]
    for window in windows:
        one, other = _magnitudes(made, window), _magnitudes(real, window)
        gap_N = (one - other).flatten(1).norm(dim=1) / other.flatten(1).norm(dim=1).clamp_min(_FLOOR)
        logs_N = (one.clamp_min(_FLOOR).log() - other.clamp_min(_FLOOR).log()).abs().flatten(1).mean(1)
        total_N += (gap_N + logs_N).double()
    return _mean(total_N / max(len(windows), 1), level)


def signal_to_distortion(made: Any, real: Any, *, level: float = DEFAULT_LEVEL) -> Interval:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, equation 5); at most 100.

    Args and errors as of `mel_distance`.
    """
    made, real = _pair(made, real)
    one_NT, other_NT = (samples.flatten(1).double() for samples in (made, real))
    one_NT = one_NT - one_NT.mean(1, keepdim=True)
    other_NT = other_NT - other_NT.mean(1, keepdim=True)
    power_N1 = other_NT.square().sum(1, keepdim=True).clamp_min(1e-12)
    target_NT = (one_NT * other_NT).sum(1, keepdim=True) / power_N1 * other_NT
    ratio_N = target_NT.square().sum(1).clamp_min(1e-20) / (one_NT - target_NT).square().sum(1).clamp_min(1e-20)
    return _mean((10.0 * ratio_N.log10()).clamp(-100.0, 100.0), level)


def log_mel(samples: Tensor, rate: float, bands: int = MEL_BANDS) -> Tensor:
    """log₁₀ mel magnitudes of normalised samples (N, C, T), float32 (N, C, B, F); windows of 32 ms, every 8."""
    size = max(int(MEL_WINDOW_SEC * rate), 16)
    spectrum = _magnitudes(samples, size)
    filters = torch.from_numpy(mel_filters(round(rate), size, bands, 0.0, rate / 2)).float()
    return (filters @ spectrum).clamp_min(_FLOOR).log10()


def _magnitudes(samples: Tensor, window: int) -> Tensor:
    """|STFT| (N, C, frequencies, F), scaled so that a full-scale tone has about 1."""
    num, channels, length = samples.shape
    flat = samples.reshape(num * channels, length).float()
    if length < window:
        flat = torch.nn.functional.pad(flat, (0, window - length))
    taper = torch.hann_window(window)
    mode = "reflect" if flat.shape[-1] > window // 2 else "constant"
    found = torch.stft(flat, window, max(window // 4, 1), window=taper, return_complex=True, pad_mode=mode)
    return found.abs().view(num, channels, *found.shape[1:]) * (2.0 / float(taper.sum()))


def normalised(samples: Any) -> Tensor:
    """int16 to float32 in [-1, 1); floats as they are."""
    tensor = torch.as_tensor(np.asarray(samples) if not isinstance(samples, Tensor) else samples)
    return tensor.float() / 32768.0 if tensor.dtype == torch.int16 else tensor.float()


def _pair(made: Any, real: Any) -> tuple[Tensor, Tensor]:
    one, other = normalised(made), normalised(real)
    if one.shape != other.shape or one.ndim != 3 or not len(one):
        raise MeasureError(
            "sounds are compared in pairs (N, C, T)", f"{tuple(one.shape)} and {tuple(other.shape)}", "align them"
        )
    return one, other


def _mean(value_N: Tensor, level: float) -> Interval:
    values = value_N.double()
    error = float(values.std() / len(values) ** 0.5) if len(values) > 1 else float("nan")
    return around(float(values.mean()), error, level, "normal, over sounds")
