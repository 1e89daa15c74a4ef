"""The convolution that halves every side and the one that doubles it: kernel 4, stride 2, padding 1, in 1, 2 or 3 dims.

In three a side may keep its length, with kernel 3 and stride 1 along it.

They are each other's adjoint, and almost all of a DCGAN's time. Under bf16 autocast on CPU two cases are slow in
torch's kernels and are written here as matrix products over the same numbers: the gradient of a kernel over a small
grid, and doubling into one channel (a grey picture), which is also the gradient of halving one. Every path computes
the same function and can be differentiated any number of times; elsewhere (GPUs, float32, export) it is torch's own
convolution.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from motherlode.networks import frames

_HALVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_DOUBLE = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_SMALL_GRID = 16
"""Cells of the coarse grid up to which the kernel's gradient is taken as one matrix product over gathered windows."""


class Halve(nn.Module):
    """(B, num_in, *sides) to (B, num_out, *sides / stride); a stride of 1, in three dimensions, keeps a side."""

    def __init__(
        self, dims: int, num_in: int, num_out: int, *, bias: bool = False, stride: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.stride = tuple(stride or (2,) * dims)
        self.weight = nn.Parameter(torch.empty(num_out, num_in, *(step + 2 for step in self.stride)))
        self.bias = nn.Parameter(torch.zeros(num_out)) if bias else None
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, samples: Tensor) -> Tensor:
        """Halve every side, or those whose stride is 2."""
        if frames.is_thin(samples, self.weight.shape[1]):
            return frames.convolve(samples, self.weight, self.bias, stride=self.stride, padding=(1, 1, 1))
        if not _written_here(samples):
            return _HALVE[samples.ndim - 2](samples, self.weight, self.bias, stride=self.stride, padding=1)
        return _with_bias(_halving, samples, self.weight, self.bias)


class Double(nn.Module):
    """(B, num_in, *sides) to (B, num_out, *sides · stride); a stride of 1, in three dimensions, keeps a side."""

    def __init__(
        self, dims: int, num_in: int, num_out: int, *, bias: bool = False, stride: Sequence[int] | None = None
    ) -> None:
        super().__init__()
        self.stride = tuple(stride or (2,) * dims)
        self.weight = nn.Parameter(torch.empty(num_in, num_out, *(step + 2 for step in self.stride)))
        self.bias = nn.Parameter(torch.zeros(num_out)) if bias else None
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, samples: Tensor) -> Tensor:
        """Double every side, or those whose stride is 2."""
        if frames.is_thin(samples, self.weight.shape[1]):
            return frames.convolve_transposed(samples, self.weight, self.bias, stride=self.stride, padding=(1, 1, 1))
        if not _written_here(samples):
            return _DOUBLE[samples.ndim - 2](samples, self.weight, self.bias, stride=self.stride, padding=1)
        return _with_bias(_doubling, samples, self.weight, self.bias)


def _written_here(samples: Tensor) -> bool:
    return samples.ndim == 4 and samples.device.type == "cpu" and torch.is_autocast_enabled("cpu")


def _with_bias(
    function: Callable[[Tensor, Tensor], Tensor], samples: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """Apply one of the functions below in autocast's precision, casts being part of the graph."""
    dtype = torch.get_autocast_dtype("cpu")
    with torch.autocast("cpu", enabled=False):
        made = function(samples.to(dtype), weight.to(dtype))
        return made if bias is None else made + bias.to(dtype).view(1, -1, 1, 1)


def _last(tensor: Tensor) -> Tensor:
    """(B, C, H, W) with channels last in memory.

    The strides of one channel are ambiguous, and read as channels first they would spread to all that follows.
    """
    arranged = tensor.contiguous(memory_format=torch.channels_last)
    if tensor.shape[1] > 1:
        return arranged
    _, channels, height, width = tensor.shape
    return arranged.as_strided(tensor.shape, (channels * height * width, 1, channels * width, channels))


def _halving(fine: Tensor, weight: Tensor) -> Tensor:
    halved: Tensor = _Halving.apply(fine, weight)  # type: ignore[no-untyped-call]
    return halved


def _doubling(coarse: Tensor, weight: Tensor) -> Tensor:
    doubled: Tensor = _Doubling.apply(coarse, weight)  # type: ignore[no-untyped-call]
    return doubled


class _Halving(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, fine: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(fine, weight)
        return functional.conv2d(_last(fine), _last(weight), stride=2, padding=1)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        fine, weight = ctx.saved_tensors
        to_fine = _doubling(slope, weight) if ctx.needs_input_grad[0] else None
        return to_fine, _kernel_gradient(fine, slope, weight) if ctx.needs_input_grad[1] else None


class _Doubling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, coarse: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(coarse, weight)
        if weight.shape[1] == 1:
            return _last(_double_into_one(_last(coarse), weight))
        return functional.conv_transpose2d(_last(coarse), _last(weight), stride=2, padding=1)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        coarse, weight = ctx.saved_tensors
        to_coarse = _halving(slope, weight) if ctx.needs_input_grad[0] else None
        return to_coarse, _kernel_gradient(slope, coarse, weight) if ctx.needs_input_grad[1] else None


def _kernel_gradient(fine: Tensor, coarse: Tensor, weight: Tensor) -> Tensor:
    """Σ over samples and cells of coarse ⊗ the 4x4 window of `fine` it came from (or went to): like `weight`."""
    num_coarse, num_fine = weight.shape[:2]
    coarse, fine, weight = _last(coarse), _last(fine), _last(weight)
    if coarse.shape[2] * coarse.shape[3] > _SMALL_GRID:
        gradients = torch.ops.aten.convolution_backward(
            coarse, fine, weight, None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1, [False, True, False]
        )
        return gradients[1]  # type: ignore[no-any-return]
    rows = coarse.movedim(1, -1).reshape(-1, num_coarse)
    return (rows.t() @ _windows(fine)).view(num_coarse, 4, 4, num_fine).movedim(-1, 1)


def _windows(fine: Tensor) -> Tensor:
    """Every 4x4 window of the padded grid as a row (4 · 4 · C), cells in order."""
    padded = functional.pad(fine.movedim(1, -1), (0, 0, 1, 1, 1, 1))
    num, height, width, channels = padded.shape
    size = (num, height // 2 - 1, width // 2 - 1, 4, 4 * channels)
    row = width * channels
    return padded.as_strided(size, (height * row, 2 * row, 2 * channels, row, 1)).reshape(-1, 16 * channels)


def _double_into_one(coarse: Tensor, weight: Tensor) -> Tensor:
    """Multiply every cell by the 16 taps, then add up the four taps that meet in each pixel.

    Along one axis, pixel 2u takes tap 1 of cell u and tap 3 of u − 1; pixel 2u + 1 takes tap 2 of u and 0 of u + 1.
    """
    num, channels, height, width = coarse.shape
    kernel = weight.movedim(1, 0).reshape(-1, channels, 16).transpose(1, 2).reshape(-1, channels)
    cells = coarse.movedim(1, -1).reshape(num, height * width, channels)
    taps = (kernel @ cells.transpose(1, 2)).view(num, -1, 4, 4, height, width)
    taps = functional.pad(taps, (1, 1, 1, 1))
    meeting = {0: ((1, 1), (3, 0)), 1: ((2, 1), (0, 2))}
    pixels = []
    for odd_y, odd_x in itertools.product((0, 1), repeat=2):
        addends = [
            taps[:, :, tap_y, tap_x, top : top + height, left : left + width]
            for (tap_y, top), (tap_x, left) in itertools.product(meeting[odd_y], meeting[odd_x])
        ]
        pixels.append((addends[0] + addends[1]) + (addends[2] + addends[3]))
    return functional.pixel_shuffle(torch.stack(pixels, 2).flatten(1, 2), 2)
