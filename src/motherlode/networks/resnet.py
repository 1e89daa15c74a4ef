"""Norm-free residual networks for GANs, in R3GAN's manner, for signals, images and volumes.

No batch norm, so every sample is judged alone and gradient penalties apply; fix-up initialisation stands in for it:
the last convolution of every branch starts at 0 and the others are scaled by (number of blocks)^(−1/4), so that the
signal neither grows nor fades with depth. Sides are doubled and halved bilinearly, which cannot leave checkerboards.
What it trades away is speed: about the operations of a DCGAN of twice its width.
Huang et al. 2024, "The GAN is dead; long live the GAN!"; Zhang et al. 2019, "Fixup Initialization".

Shape legend: B batch, Z noise, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from motherlode.networks.blocks import (
    LEAKY_GAIN,
    LEAKY_SLOPE,
    LabelledNoise,
    ProjectionHead,
    convolution,
    crop,
    num_dims,
    pad,
    plan_sizes,
    scale_weights,
)
from motherlode.networks.shapes import Float, Int

_LARGEST_MULTIPLE = 8
_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}
_POOLS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def double(samples: Tensor) -> Tensor:
    """Twice every side, bilinearly (linearly, trilinearly): cell centres stay where they are."""
    return functional.interpolate(samples, scale_factor=2, mode=_MODES[samples.ndim - 2], align_corners=False)


def halve(samples: Tensor) -> Tensor:
    """Half of every side, bilinearly: at exactly half, that is the mean of the 2, 4 or 8 cells around each centre."""
    return _POOLS[samples.ndim - 2](samples, 2)


class Residual(nn.Module):
    """x + W₃ σ(W₂ σ(W₁ x)): 1-wide in, 3-wide, 1-wide out, without any norm.

    Args:
        dims: space dimensions.
        num_channels: in and out.
        group_size: channels a group of the 3-wide convolution sees; it is then twice as wide. 0: all, one group.
        num_blocks: residual blocks of the whole network, for the initial scale.
    """

    def __init__(self, dims: int, num_channels: int, group_size: int, num_blocks: int) -> None:
        super().__init__()
        num_hidden = 2 * num_channels if group_size else num_channels
        groups = max(num_hidden // group_size, 1) if group_size else 1
        self.expand = convolution(dims, num_channels, num_hidden, 1)
        self.mix = convolution(dims, num_hidden, num_hidden, 3, padding=1, groups=groups)
        self.project = convolution(dims, num_hidden, num_channels, 1, bias=False)
        for layer in (self.expand, self.mix):
            scale_weights(layer, LEAKY_GAIN * num_blocks**-0.25)
        scale_weights(self.project, 0.0)

    def forward(self, samples: Tensor) -> Tensor:
        """Add the branch."""
        hidden = functional.leaky_relu(self.expand(samples), LEAKY_SLOPE)
        hidden = functional.leaky_relu(self.mix(hidden), LEAKY_SLOPE)
        added: Tensor = samples + self.project(hidden)
        return added


def _widths(width: int, num_stages: int) -> list[int]:
    """Channels from the finest grid to the coarsest."""
    return [width * min(2**stage, _LARGEST_MULTIPLE) for stage in range(num_stages + 1)]


class Rescaled(nn.Module):
    """Change the number of channels, then double or halve; a 1-wide convolution and a resampling may change places,
    so the cheaper order is taken: convolve on the coarser grid."""

    def __init__(self, dims: int, num_in: int, num_out: int, *, up: bool) -> None:
        super().__init__()
        self.up = up
        self.change = convolution(dims, num_in, num_out, 1, bias=False) if num_in != num_out else nn.Identity()
        if num_in != num_out:
            scale_weights(self.change, 1.0)

    def forward(self, samples: Tensor) -> Tensor:
        """Rescale."""
        changed: Tensor = double(self.change(samples)) if self.up else self.change(halve(samples))
        return changed


class ResnetGenerator(nn.Module):
    """Noise (B, Z) and labels (B,) to samples (B, *shape), unbounded.

    Args:
        shape: (C, *space) with every side 8 or more; sides follow `plan_sizes`.
        num_noise: Z.
        width: channels of the finest grid; doubled at each coarser one, at most eightfold.
        num_labels: 0 without conditioning.
        num_blocks: residual blocks on each grid.
        group_size: see `Residual`.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        num_noise: int = 100,
        width: int = 16,
        num_labels: int = 0,
        num_blocks: int = 1,
        group_size: int = 0,
    ) -> None:
        super().__init__()
        dims = num_dims(shape)
        self.sides = tuple(shape[1:])
        start, num_stages = plan_sizes(shape)
        widths = _widths(width, num_stages)[::-1]
        self.labelled = LabelledNoise(num_noise, num_labels)
        self.first = nn.Linear(self.labelled.num_out, widths[0], bias=False)
        scale_weights(self.first, 1.0)
        self.basis = nn.Parameter(torch.randn(widths[0], *start))
        layers: list[nn.Module] = []
        total = num_blocks * len(widths)
        for number, num_channels in enumerate(widths):
            layers += [Residual(dims, num_channels, group_size, total) for _ in range(num_blocks)]
            if number < num_stages:
                layers.append(Rescaled(dims, num_channels, widths[number + 1], up=True))
        last = convolution(dims, widths[-1], shape[0], 1, bias=False)
        scale_weights(last, 1.0)
        self.layers = nn.Sequential(*layers, last)

    def forward(
        self, noise_BZ: Float[Tensor, "batch noise"], labels_B: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch channels *space"]:
        """Make samples."""
        mixture_BC: Tensor = self.first(self.labelled(noise_BZ, labels_B))
        cells = mixture_BC.view(*mixture_BC.shape, *[1] * (self.basis.ndim - 1)) * self.basis
        return crop(self.layers(cells), self.sides)


class ResnetCritic(nn.Module):
    """Samples (B, *shape) and labels (B,) to outputs (B,); arguments as for `ResnetGenerator`, whose mirror it is."""

    def __init__(
        self, shape: Sequence[int], *, width: int = 16, num_labels: int = 0, num_blocks: int = 1, group_size: int = 0
    ) -> None:
        super().__init__()
        dims = num_dims(shape)
        start, num_stages = plan_sizes(shape)
        self.sides = tuple(side * 2**num_stages for side in start)
        widths = _widths(width, num_stages)
        total = num_blocks * len(widths)
        first = convolution(dims, shape[0], widths[0], 1)
        scale_weights(first, 1.0)
        layers: list[nn.Module] = [first]
        for number, num_channels in enumerate(widths):
            layers += [Residual(dims, num_channels, group_size, total) for _ in range(num_blocks)]
            if number < num_stages:
                layers.append(Rescaled(dims, num_channels, widths[number + 1], up=False))
        self.layers = nn.Sequential(*layers)
        self.basis = nn.Parameter(torch.randn(widths[-1], *start) / math.sqrt(math.prod(start)))
        self.head = ProjectionHead(widths[-1], 1, num_labels)
        scale_weights(self.head.linear, 1.0)

    def forward(
        self, samples: Float[Tensor, "batch channels *space"], labels_B: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, " batch"]:
        """Judge samples."""
        # A kernel as large as its input, one a channel: a product and a sum, where a grouped convolution is slow.
        cells: Tensor = self.layers(pad(samples, self.sides)) * self.basis
        outputs_B: Tensor = self.head(cells.flatten(2).sum(2), labels_B)
        return outputs_B
