"""Critics of reconstructions: of patches (pictures, volumes) or of spectra (sounds), with their features.

A critic judges places and not whole samples, so it sees texture and leaves content to the reconstruction loss. It
learns from the first step; only its weight in the autoencoder's loss grows over a ramp, because a critic that starts
late meets an autoencoder that has settled, and ruins its reconstructions (VQ-GAN's known fault).
Isola et al. 2017 (patches); Défossez et al. 2022, "EnCodec" (spectra); Larsen et al. 2016, arXiv 1512.09300 (features).

Shape legend: B batch, K outputs of a sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from motherlode.errors import RecipeError
from motherlode.families.autoencoder.options import CriticOptions
from motherlode.networks.blocks import LEAKY_GAIN, LEAKY_SLOPE, convolution, num_dims, scale_weights, seeded
from motherlode.networks.shapes import Float
from motherlode.networks.spectra import image_of, spectra
from motherlode.networks.strided import Halve

Judged = tuple[Tensor, list[Tensor]]
"""Outputs (B, K), and the feature maps they were made of."""
_LARGEST_MULTIPLE = 4
_SPECTRAL_KERNEL = (3, 9)


class PatchCritic(nn.Module):
    """Halving convolutions, then one output a place.

    Args:
        shape: (C, *space).
        width: channels of the first; doubled at each further one, at most fourfold.
        stages: how many halve.
    """

    def __init__(self, shape: Sequence[int], width: int, stages: int) -> None:
        super().__init__()
        dims = num_dims(shape)
        if min(shape[1:]) < 2**stages:
            raise RecipeError(
                f"a patch critic with {stages} stages needs sides of {2**stages} or more",
                f"shape {tuple(shape)}",
                "set fewer `critic.stages`",
            )
        widths = [width * min(2**number, _LARGEST_MULTIPLE) for number in range(stages)]
        layers = [Halve(dims, num_in, num_out, bias=True) for num_in, num_out in zip([shape[0], *widths], widths)]
        self.layers = nn.ModuleList(
            [_scaled(layer, LEAKY_GAIN if number else 1.0) for number, layer in enumerate(layers)]
        )
        self.mix = _scaled(convolution(dims, widths[-1], widths[-1], 3, padding=1), LEAKY_GAIN)
        self.head = _scaled(convolution(dims, widths[-1], 1, 3, padding=1), 1.0)

    def forward(self, samples: Float[Tensor, "batch channels *space"]) -> Judged:
        """Judge."""
        return _judge([*self.layers, self.mix], self.head, samples)


class SpectralCritic(nn.Module):
    """Spectra of several window sizes, each judged as a picture of time and frequency by a network of its own.

    Args:
        shape: (C, T).
        width: channels.
        windows: values of each.
    """

    def __init__(self, shape: Sequence[int], width: int, windows: Sequence[int]) -> None:
        super().__init__()
        if len(shape) != 2:
            raise RecipeError("a critic of spectra judges sounds", f"shape {tuple(shape)}", "set `critic.kind: patch`")
        if max(windows) > shape[1]:
            raise RecipeError(
                "a critic's windows must fit into a sample",
                f"windows {list(windows)}, {shape[1]} values",
                "set shorter `critic.windows`",
            )
        self.windows = tuple(windows)
        self.parts = nn.ModuleList([_SpectralPart(2 * shape[0], width) for _ in windows])

    def forward(self, samples: Float[Tensor, "batch channels values"]) -> Judged:
        """Judge."""
        outputs, maps = [], []
        for part, window in zip(self.parts, self.windows, strict=True):
            with torch.autocast(samples.device.type, enabled=False):
                picture = image_of(spectra(samples, window))
            found, seen = part(picture)
            outputs.append(found)
            maps += seen
        return torch.cat(outputs, 1), maps


class _SpectralPart(nn.Module):
    """Four convolutions over (frames, frequencies); frequencies are halved by three of them."""

    def __init__(self, num_in: int, width: int) -> None:
        super().__init__()
        padding = (_SPECTRAL_KERNEL[0] // 2, _SPECTRAL_KERNEL[1] // 2)
        layers = [convolution(2, num_in, width, _SPECTRAL_KERNEL, padding=padding)]
        layers += [convolution(2, width, width, _SPECTRAL_KERNEL, padding=padding, stride=(1, 2)) for _ in range(3)]
        self.layers = nn.ModuleList(
            [_scaled(layer, LEAKY_GAIN if number else 1.0) for number, layer in enumerate(layers)]
        )
        self.head = _scaled(convolution(2, width, 1, 3, padding=1), 1.0)

    def forward(self, picture: Tensor) -> Judged:
        return _judge(self.layers, self.head, picture)


def _judge(layers: Sequence[nn.Module] | nn.ModuleList, head: nn.Module, samples: Tensor) -> Judged:
    maps = []
    for layer in layers:
        samples = functional.leaky_relu(layer(samples), LEAKY_SLOPE)
        maps.append(samples)
    # In float32: a bf16 output near 1 moves in steps of 1/128.
    with torch.autocast(samples.device.type, enabled=False):
        return head(samples.float()).flatten(1), maps


def _scaled(layer: nn.Module, gain: float) -> nn.Module:
    scale_weights(layer, gain)
    return layer


def build_critic(options: CriticOptions, shape: Sequence[int], seed: int) -> nn.Module | None:
    """The critic, initialised from `seed` alone; None where there is none.

    Raises:
        RecipeError: it cannot judge samples of this shape.
    """
    if options.kind == "none":
        return None
    with seeded(seed, "critic"):
        if options.kind == "patch":
            return PatchCritic(shape, options.width, options.stages)
        return SpectralCritic(shape, options.width, options.windows)


def feature_distance(made: Sequence[Tensor], real: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Mean over feature maps of E|φ(x̂) − φ(x)| / E|φ(x)| (EnCodec, equation 6)."""
    parts = [
        (one.float() - other.float()).abs().mean() / other.float().abs().mean().clamp_min(1e-6)
        for one, other in zip(made, real, strict=True)
    ]
    return torch.stack(parts).mean()
