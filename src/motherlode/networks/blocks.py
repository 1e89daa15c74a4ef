"""What every network is made of: n-d layers by one name, seeded building, sizes, label conditioning.

A network takes the number of space dimensions from the shape it is built for (1: signals, 2: images, 3: volumes), so
nothing here or above is written three times.

Shape legend: B batch, Z noise, E label embedding, C channels, F features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from motherlode.errors import RecipeError
from motherlode.networks import fence, frames
from motherlode.networks.shapes import Float, Int
from motherlode.randomness import derive

Module = TypeVar("Module", bound=nn.Module)

LEAKY_SLOPE = 0.2
LEAKY_GAIN = math.sqrt(2 / (1 + LEAKY_SLOPE**2))
"""What keeps the variance of a signal through a layer and a leaky ReLU of that slope."""


class _Fenced:
    """Before one of torch's convolutions: float32 where bf16 would be wrong (see `fence`)."""

    in_channels: int
    out_channels: int
    transposed: bool
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Convolve."""
        num_channels = self.out_channels if self.transposed else self.in_channels
        if not fence.is_wrong(input, num_channels, self.kernel_size, self.stride):
            return super().forward(input)  # type: ignore[misc,no-any-return]
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float())  # type: ignore[misc,no-any-return]


class _Convolution1d(_Fenced, nn.Conv1d):
    """`nn.Conv1d`, fenced."""


class _Convolution2d(_Fenced, nn.Conv2d):
    """`nn.Conv2d`, fenced."""


class _Convolution3d(_Fenced, nn.Conv3d):
    """`nn.Conv3d`, fenced, and by `frames` where it is slow.

    Of an input two deep and a kernel three deep, torch 2.13's bf16 gradient of the weights is memory that nobody wrote:
    NaN, infinity or nothing one would notice. Measured over depths 1 to 8, kernels 1, 3 and 4: this case only. So the
    zeros before and after such an input are written out, and it is four deep.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
        """Convolve."""
        if self.groups == 1 and set(self.dilation) == {1} and frames.is_thin(input, self.in_channels):
            padding = cast("tuple[int, int, int]", self.padding)
            return frames.convolve(input, self.weight, self.bias, stride=self.stride, padding=padding)
        return super().forward(input)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
        padding = cast("tuple[int, int, int]", self.padding)
        if input.shape[2] == 2 and padding[0] and input.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            input = nn.functional.pad(input, (0, 0, 0, 0, padding[0], padding[0]))  # noqa: A001
            padding = (0, *padding[1:])
        made: Tensor = nn.functional.conv3d(input, weight, bias, self.stride, padding, self.dilation, self.groups)
        return made


class _Transposed1d(_Fenced, nn.ConvTranspose1d):  # type: ignore[misc]
    """`nn.ConvTranspose1d`, fenced."""


class _Transposed2d(_Fenced, nn.ConvTranspose2d):  # type: ignore[misc]
    """`nn.ConvTranspose2d`, fenced."""


class _Transposed3d(_Fenced, nn.ConvTranspose3d):
    """`nn.ConvTranspose3d`, fenced, and by `frames` where it is slow."""

    def forward(self, input: Tensor) -> Tensor:  # type: ignore[override]  # noqa: A002 - torch's name for it
        """Convolve."""
        if not frames.is_thin(input, self.out_channels):
            return super().forward(input)
        return frames.convolve_transposed(
            input,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=cast("tuple[int, int, int]", self.padding),
            output_padding=self.output_padding,
        )


_CONVOLUTIONS = {1: _Convolution1d, 2: _Convolution2d, 3: _Convolution3d}
_TRANSPOSED = {1: _Transposed1d, 2: _Transposed2d, 3: _Transposed3d}
_BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


@contextmanager
def seeded(seed: int, stream: str) -> Iterator[None]:
    """Build modules whose initial weights depend on (seed, stream) alone.

    torch's own layers draw from the ambient CPU generator when they are made; it is lent a seed and put back.
    """
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(derive(seed, stream))
    try:
        yield
    finally:
        torch.default_generator.set_state(state)


@contextmanager
def evaluating(network: Module) -> Iterator[Module]:
    """Put a network in eval mode, and every module of it back in its own mode afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield network
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Compute what training computes and leave no trace: batch norms use the batch and keep their running averages,
    power iterations of spectral norms stand still."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)]
    before = [norm.track_running_stats for norm in norms]
    with evaluating(network):
        try:
            for norm in norms:
                norm.track_running_stats, norm.training = False, True
            yield
        finally:
            for norm, tracked in zip(norms, before):
                norm.track_running_stats = tracked


def truncated_normal(shape: tuple[int, ...], limit: float | None, rng: torch.Generator) -> Tensor:
    """Draws from N(0, 1) conditioned on |z| ≤ `limit`, by the inverse of its distribution; None: N(0, 1) itself."""
    if limit is None:
        return torch.randn(shape, generator=rng, device=rng.device)
    inside = math.erf(limit / math.sqrt(2))
    uniform = torch.rand(shape, generator=rng, device=rng.device) * 2 - 1
    return math.sqrt(2) * torch.erfinv(uniform * inside)


def num_dims(shape: Sequence[int]) -> int:
    """Space dimensions of a channels-first shape (C, *space).

    Raises:
        RecipeError: not 1, 2 or 3.
    """
    dims = len(shape) - 1
    if dims not in _CONVOLUTIONS:
        raise RecipeError(
            "a convolutional network makes samples of 1, 2 or 3 space dimensions",
            f"shape {tuple(shape)}",
            "use the network `mlp`",
        )
    return dims


Size = int | tuple[int, ...]
"""Of a kernel: one number for all axes, or one for each."""


def convolution(dims: int, num_in: int, num_out: int, kernel: Size, **options: Size | bool) -> nn.Module:
    """`nn.Conv1d`, `2d` or `3d`; the options are theirs."""
    layer: nn.Module = _CONVOLUTIONS[dims](num_in, num_out, kernel, **options)  # type: ignore[arg-type]
    return layer


def transposed(dims: int, num_in: int, num_out: int, kernel: Size, **options: Size | bool) -> nn.Module:
    """`nn.ConvTranspose1d`, `2d` or `3d`; the options are theirs."""
    layer: nn.Module = _TRANSPOSED[dims](num_in, num_out, kernel, **options)  # type: ignore[arg-type]
    return layer


def batch_norm(dims: int, num_channels: int) -> nn.Module:
    """`nn.BatchNorm1d`, `2d` or `3d` with torch's defaults."""
    layer: nn.Module = _BATCH_NORMS[dims](num_channels)
    return layer


def scale_weights(layer: nn.Module, gain: float) -> None:
    """Weights N(0, gain² / fan-in), biases 0 (He et al. 2015)."""
    weight = layer.get_parameter("weight")
    fan_in = weight[0].numel()
    nn.init.normal_(weight, std=gain / math.sqrt(fan_in))
    if getattr(layer, "bias", None) is not None:
        nn.init.zeros_(layer.get_parameter("bias"))


def plan_sizes(shape: Sequence[int], least: int = 4) -> tuple[tuple[int, ...], int]:
    """How a network that halves and doubles reaches `shape`: the coarsest grid and the number of stages.

    The rule: as many doublings as keep the shortest side of the coarsest grid at `least` cells or more; every side
    starts from its length divided by that power of two, rounded up; what comes out too long is cropped in the middle
    (and the critic pads as much). 32 → (4, 3 stages), 28 → (7, 2), 48 → (6, 3), 100 → (7, 4) cropped from 112.

    Raises:
        RecipeError: a side is shorter than twice `least`.
    """
    sides = tuple(shape[1:])
    if min(sides) < 2 * least:
        raise RecipeError(
            f"a convolutional network needs sides of {2 * least} or more",
            f"shape {tuple(shape)}",
            "use the network `mlp`, or a larger `resolution`",
        )
    num_stages = int(math.log2(min(sides) / least))
    return tuple(math.ceil(side / 2**num_stages) for side in sides), num_stages


def plan_strides(shape: Sequence[int], least: int = 4) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """The coarsest grid of a convolutional network, and what each stage multiplies the sides by, coarsest first.

    Signals and pictures follow `plan_sizes`. In three dimensions each side is doubled as often as it can be by itself,
    for a clip has few frames beside its pixels: 8x32x32 → 4x4x4, then 1x2x2, 1x2x2, 2x2x2. A shorter side waits on the
    coarse grids, where waiting is cheap.

    Raises:
        RecipeError: a side is shorter than twice `least`.
    """
    start, num_stages = plan_sizes(shape, least)
    if len(start) < 3:
        return start, [(2,) * len(start)] * num_stages
    nums = [int(math.log2(side / least)) for side in shape[1:]]
    start = tuple(math.ceil(side / 2**num) for side, num in zip(shape[1:], nums))
    return start, [tuple(2 if left <= num else 1 for num in nums) for left in range(max(nums), 0, -1)]


def crop(
    samples: Float[Tensor, "batch channels *wide"], sides: Sequence[int]
) -> Float[Tensor, "batch channels *space"]:
    """Cut the middle of `sides` cells out of every space dimension; nothing is done where it fits."""
    for axis, side in enumerate(sides, start=2):
        excess = samples.shape[axis] - side
        if excess:
            samples = samples.narrow(axis, excess // 2, side)
    return samples


def pad(samples: Float[Tensor, "batch channels *space"], sides: Sequence[int]) -> Tensor:
    """Zeros around every space dimension up to `sides` cells: the inverse of `crop`."""
    margins: list[int] = []
    for axis, side in reversed(list(enumerate(sides, start=2))):
        excess = side - samples.shape[axis]
        margins += [excess // 2, excess - excess // 2]
    return nn.functional.pad(samples, margins) if any(margins) else samples


class LabelledNoise(nn.Module):
    """Noise with an embedding of the label beside it: (B, Z) and (B,) to (B, Z + E); without labels, noise alone.

    Mirza & Osindero 2014, "Conditional Generative Adversarial Nets", with a learned embedding for the one-hot vector.
    """

    def __init__(self, num_noise: int, num_labels: int) -> None:
        super().__init__()
        num_embedding = min(num_noise, 4 * num_labels, 128)
        self.num_out = num_noise + num_embedding
        self.embedding = nn.Embedding(num_labels, num_embedding) if num_labels else None

    def forward(self, noise_BZ: Float[Tensor, "batch noise"], labels_B: Int[Tensor, " batch"] | None) -> Tensor:
        """Join noise and label."""
        if self.embedding is None:
            return noise_BZ
        if labels_B is None:
            raise RecipeError("a conditional generator must be given labels", None, "pass `condition=`")
        return torch.cat([noise_BZ, self.embedding(labels_B).to(noise_BZ.dtype)], 1)


class ProjectionHead(nn.Module):
    """Critic output: a(φ(x)) + v(y)·ψ(x), where a is linear, ψ pools φ over space, and v embeds the label.

    Miyato & Koyama 2018, "cGANs with Projection Discriminator". Without labels only the linear part remains.
    Computed in fp32 whatever the precision of the features: a bf16 output near 5 moves in steps of 1/32, too coarse for
    losses and far too coarse for differences of outputs.

    Args:
        num_channels: channels of the features.
        num_cells: cells of the features' grid; 1 for flat features.
        num_labels: 0 without conditioning.
    """

    def __init__(self, num_channels: int, num_cells: int, num_labels: int, *, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(num_channels * num_cells, 1, bias=bias)
        self.embedding = nn.Embedding(num_labels, num_channels) if num_labels else None
        if self.embedding is not None:
            nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(
        self, features: Float[Tensor, "batch channels *space"], labels_B: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, " batch"]:
        """Features to one output a sample."""
        with torch.autocast(features.device.type, enabled=False):
            cells_BKC = features.movedim(1, -1).reshape(len(features), -1, features.shape[1]).float()
            outputs_B: Tensor = self.linear(cells_BKC.flatten(1)).squeeze(1)
            if self.embedding is not None:
                if labels_B is None:
                    raise RecipeError("a conditional critic must be given labels", None, "train on labelled data")
                outputs_B = outputs_B + (self.embedding(labels_B) * cells_BKC.mean(1)).sum(1)
        return outputs_B
