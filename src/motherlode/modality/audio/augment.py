"""Random augmentation of normalised sounds, differentiable, the same on real and generated ones.

Each is applied to a sample with probability `strength`. None needs to know the rate: noise is so many dB below the
sound, speed and pitch are ratios, a room's echo a number of values. `codec` quantises as telephone codecs do (µ-law, 8
bits, half the band) and lets gradients pass as if it did nothing; what real codecs do is planted by `prepare`'s check
of duplicates. Speed and pitch interpolate linearly, which costs a little of the highest octave.

Shape legend: N samples, C channels, T values, F frames, B frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from motherlode import registry
from motherlode.errors import RecipeError

GAIN_SPREAD_DB = 6.0
NOISE_DB = (15.0, 40.0)
"""How far below the sound noise lies."""
SPEED_SPREAD, PITCH_SPREAD = 0.12, 0.17
"""Standard deviations in octaves: about 8 % of speed, two semitones of pitch."""
MOST_SHIFT = 0.1
REVERB_VALUES = (400, 4000)
"""Values in which an echo dies away by 60 dB."""
REVERB_SHARE = 0.3
_FRAME, _HOP = 512, 128
_MU = 255.0


class Draws:
    """Per-sample random numbers, all from one generator."""

    def __init__(self, samples: Tensor, strength: float, rng: torch.Generator) -> None:
        self.num, self.strength, self.rng, self.device = len(samples), strength, rng, samples.device

    def uniform(self, low: float, high: float) -> Tensor:
        """(N,) in [low, high)."""
        return torch.rand(self.num, generator=self.rng, device=self.device) * (high - low) + low

    def normal(self, spread: float) -> Tensor:
        """(N,) of mean 0."""
        return torch.randn(self.num, generator=self.rng, device=self.device) * spread

    def only_some(self, value_N: Tensor, otherwise: float) -> Tensor:
        """The value with probability `strength`, else `otherwise`."""
        return torch.where(self.uniform(0, 1) < self.strength, value_N, torch.full_like(value_N, otherwise))


def augment(samples: Tensor, policy: Sequence[str], strength: float, rng: torch.Generator) -> Tensor:
    """Apply augmentations in the order of the policy.

    Args:
        samples: float (N, C, T) in [-1, 1].
        policy: names out of `names()`.
        strength: probability of each, in [0, 1].
        rng: on the samples' device.

    Raises:
        RecipeError: an unknown name.
    """
    draws = Draws(samples, strength, rng)
    result = samples.float()
    for name in policy:
        if name not in _KNOWN:
            fix = registry.did_you_mean(name, names())
            raise RecipeError("there is no augmentation of this name for sound", name, fix)
        result = _KNOWN[name](result, draws)
    return result.to(samples.dtype)


def names() -> list[str]:
    """Every augmentation, sorted."""
    return sorted(_KNOWN)


def _each(value_N: Tensor) -> Tensor:
    return value_N.view(-1, 1, 1)


def _gain(samples: Tensor, draws: Draws) -> Tensor:
    return samples * _each(10.0 ** (draws.only_some(draws.normal(GAIN_SPREAD_DB), 0.0) / 20.0))


def _noise(samples: Tensor, draws: Draws) -> Tensor:
    """White noise, so many dB below the sound's own power."""
    noise = torch.randn(samples.shape, generator=draws.rng, device=draws.device)
    level_N = draws.only_some(10.0 ** (-draws.uniform(*NOISE_DB) / 20.0), 0.0)
    power = samples.detach().square().mean(dim=(1, 2), keepdim=True).sqrt()
    return samples + noise * power * _each(level_N)


def _at(samples: Tensor, place_NT: Tensor) -> Tensor:
    """Linear interpolation of (N, C, T) at places counted in values, zero outside."""
    num = samples.shape[-1]
    low = place_NT.floor()
    part = (place_NT - low).unsqueeze(1)
    padded = functional.pad(samples, (1, 2))
    index = (low.long() + 1).clamp(0, num + 1).unsqueeze(1).expand(-1, samples.shape[1], -1)
    inside = ((place_NT > -1) & (place_NT < num)).unsqueeze(1)
    between = padded.gather(2, index) * (1 - part) + padded.gather(2, index + 1) * part
    return torch.where(inside, between, torch.zeros_like(between))


def _read_at_speed(samples: Tensor, ratio_N: Tensor, length: int) -> Tensor:
    return _at(samples, torch.arange(length, device=samples.device) * ratio_N.view(-1, 1))


def _speed(samples: Tensor, draws: Draws) -> Tensor:
    """As a tape that runs faster or slower: pitch goes with it; the end is cut off, or silence comes in."""
    ratio_N = draws.only_some(draws.normal(SPEED_SPREAD).exp2(), 1.0)
    return _read_at_speed(samples, ratio_N, samples.shape[-1])


def _shift(samples: Tensor, draws: Draws) -> Tensor:
    """Earlier or later by up to a tenth, silence coming in."""
    num = samples.shape[-1]
    shift_N = draws.only_some((draws.uniform(-MOST_SHIFT, MOST_SHIFT) * num).round(), 0.0)
    return _at(samples, torch.arange(num, device=samples.device) - shift_N.view(-1, 1))


def _polarity(samples: Tensor, draws: Draws) -> Tensor:
    """Upside down: it sounds the same."""
    turned_N = draws.only_some(torch.ones(draws.num, device=draws.device), 0.0) * (draws.uniform(0, 1) < 0.5)
    return samples * _each(1.0 - 2.0 * turned_N)


def _pitch(samples: Tensor, draws: Draws) -> Tensor:
    """Higher or lower at the same speed: stretched by a phase vocoder (Flanagan and Golden 1966), then read faster."""
    num, channels, length = samples.shape
    ratio_N = draws.only_some(draws.normal(PITCH_SPREAD).clamp(-1, 1).exp2(), 1.0)
    moved = (ratio_N - 1.0).abs() > 1e-6
    if length <= _FRAME or not bool(moved.any()):
        return samples
    window = torch.hann_window(_FRAME, device=samples.device)
    spectrum = torch.stft(samples.reshape(-1, length), _FRAME, _HOP, window=window, return_complex=True)
    spectrum = spectrum.view(num, channels, *spectrum.shape[1:])
    num_frames = math.ceil(spectrum.shape[-1] * float(ratio_N.max())) + 1
    stretched = _stretched(spectrum, ratio_N, num_frames)
    wide = torch.istft(stretched.flatten(0, 1), _FRAME, _HOP, window=window).view(num, channels, -1)
    return torch.where(_each(moved), _read_at_speed(wide, ratio_N, length), samples)


def _stretched(spectrum_NCBF: Tensor, ratio_N: Tensor, num_frames: int) -> Tensor:
    """Frames at `ratio` times as many places; each frequency's phase goes on as fast as it went."""
    last = spectrum_NCBF.shape[-1] - 1
    place_NF = (torch.arange(num_frames, device=ratio_N.device) / ratio_N.view(-1, 1)).clamp(max=last - 1e-3)
    low_NF = place_NF.floor().long()
    shape = (*spectrum_NCBF.shape[:3], num_frames)
    index = low_NF[:, None, None].expand(shape)
    part = (place_NF - low_NF)[:, None, None]
    before, after = spectrum_NCBF.gather(3, index), spectrum_NCBF.gather(3, (index + 1).clamp(max=last))
    size = before.abs() * (1 - part) + after.abs() * part
    bins = torch.arange(shape[2], device=ratio_N.device).view(1, 1, -1, 1)
    expected = 2.0 * math.pi * _HOP / _FRAME * bins
    step = (after * before.conj()).detach().angle() - expected
    step = step - 2.0 * math.pi * (step / (2.0 * math.pi)).round() + expected
    first = before[..., :1].detach().angle()
    phase = first + functional.pad(step[..., :-1].cumsum(-1), (1, 0))
    return torch.polar(size, phase)


def _reverb(samples: Tensor, draws: Draws) -> Tensor:
    """An echo of decaying noise (Moorer 1979) added to the sound, by the Fourier transform."""
    num = min(REVERB_VALUES[1], samples.shape[-1])
    time = torch.arange(num, device=draws.device)
    dies_N = draws.uniform(math.log(REVERB_VALUES[0]), math.log(REVERB_VALUES[1])).exp()
    echo_NT = torch.randn(draws.num, num, generator=draws.rng, device=draws.device)
    echo_NT = echo_NT * torch.exp(-6.9078 * time / dies_N.view(-1, 1))
    echo_NT = echo_NT / echo_NT.norm(dim=1, keepdim=True)
    share_N = draws.only_some(draws.uniform(0, REVERB_SHARE), 0.0)
    size = samples.shape[-1] + num
    spectrum = torch.fft.rfft(samples, size) * torch.fft.rfft(echo_NT, size).unsqueeze(1)
    wet = torch.fft.irfft(spectrum, size)[..., : samples.shape[-1]]
    heard: Tensor = samples + wet * _each(share_N)
    return heard


def _codec(samples: Tensor, draws: Draws) -> Tensor:
    """µ-law of 8 bits (G.711, continuous form) at half the band; straight through for gradients."""
    spectrum = torch.fft.rfft(samples.detach())
    spectrum[..., spectrum.shape[-1] // 2 :] = 0
    narrow = torch.fft.irfft(spectrum, samples.shape[-1]).clamp(-1, 1)
    squeezed = narrow.sign() * torch.log1p(_MU * narrow.abs()) / math.log1p(_MU)
    squeezed = (squeezed * 127.5).round() / 127.5
    coded = squeezed.sign() * torch.expm1(squeezed.abs() * math.log1p(_MU)) / _MU
    applies_N = draws.only_some(torch.ones(draws.num, device=draws.device), 0.0)
    heard: Tensor = samples + _each(applies_N) * (coded - samples).detach()
    return heard


_KNOWN: dict[str, Callable[[Tensor, Draws], Tensor]] = {
    "gain": _gain,
    "noise": _noise,
    "polarity": _polarity,
    "shift": _shift,
    "speed": _speed,
    "pitch": _pitch,
    "reverb": _reverb,
    "codec": _codec,
}
