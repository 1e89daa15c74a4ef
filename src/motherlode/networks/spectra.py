"""Short spectra of samples with 1, 2 or 3 space dimensions: overlapping windows, tapered, transformed.

In one dimension this is the short-time Fourier transform without padding; in two and three, that of small overlapping
patches. Computed in float32: under autocast a bf16 transform has no use.

Shape legend: B batch, C channels, T values of a sound, W values of a window, F frequencies, N frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from motherlode.networks.shapes import Float

_QUIET = 1e-3
"""Magnitudes far below this count alike: of values in [-1, 1], about -60 dB."""


def spectra(samples: Float[Tensor, "batch channels *space"], window: int) -> Tensor:
    """Complex spectra (B, C, *frames, *frequencies) of Hann windows that overlap by half (by 3/4 in one dimension).

    Scaled so that white noise of variance 1 has a mean squared magnitude of 1. An axis shorter than the window has one
    window as long as itself.
    """
    dims = samples.ndim - 2
    frames = samples.float()
    for axis in range(2, 2 + dims):
        size = min(window, frames.shape[axis])
        hop = max(1, size // (4 if dims == 1 else 2))
        taper = torch.hann_window(size + 2, periodic=False, device=frames.device)[1:-1]
        taper = taper / taper.square().sum().sqrt()
        # Each unfolding puts its window last, so the windows' axes come after the frames', in order.
        frames = frames.unfold(axis, size, hop) * taper
    transformed: Tensor = torch.fft.rfftn(frames, dim=tuple(range(-dims, 0)))
    return transformed


def spectral_distance(
    made: Float[Tensor, "batch channels *space"], real: Float[Tensor, "batch channels *space"], windows: tuple[int, ...]
) -> Float[Tensor, ""]:
    """How far the magnitudes of spectra lie apart, and their logarithms, mean over windows of several sizes.

    Σ_w mean | |S_w(x̂)| − |S_w(x)| | + mean | log |S_w(x̂)| − log |S_w(x)| | (Yamamoto et al. 2020, arXiv 1910.11480,
    with the first term absolute, not relative: silence would divide by 0).
    """
    total = made.new_zeros((), dtype=torch.float32)
    with torch.autocast(made.device.type, enabled=False):
        for window in windows:
            one, other = magnitudes(spectra(made, window)), magnitudes(spectra(real, window))
            linear = (one - other).abs().mean()
            total = total + linear + (torch.log(one + _QUIET) - torch.log(other + _QUIET)).abs().mean()
    return total / len(windows)


def magnitudes(spectrum: Tensor) -> Tensor:
    """|S|, with a gradient at 0."""
    return (spectrum.real.square() + spectrum.imag.square() + 1e-12).sqrt()


def image_of(spectrum: Tensor) -> Float[Tensor, "batch parts frames frequencies"]:
    """Spectra (B, C, N, F) of sounds as pictures with 2 C channels, real parts and imaginary ones."""
    return torch.cat([spectrum.real, spectrum.imag], 1)
