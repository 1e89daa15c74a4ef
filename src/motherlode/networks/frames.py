"""3-d convolutions as 2-d ones over frames, whose neighbours in time are stacked as channels: the same sums.

torch's bf16 kernels for clips on CPUs are good where there are many channels, and slow at the two ends of a network,
where a grey clip has one. Forward and backward of 16 clips of 8 x 32 x 32, 1 to 96 channels at a stride of 4 and
back: 19 and 23 ms of a core there, 10 and 10 here; 32 clips of 16 x 32 x 32, 1 to 24 channels at a stride of 2 and
back: 28 and 21 against 15 and 14. A step of a GAN of these took .25 s instead of .39. Of many channels the stack's
copies cost more than they save (24 to 48 channels: 33 against 57 ms), so `is_thin` says where it pays. All can be
differentiated any number of times.

Shape legend: B batch, T frames, K frames a kernel sees, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from motherlode.networks import fence

Size = tuple[int, ...]
_THIN = 4
"""Channels up to which a side of a convolution is thin."""


def is_thin(samples: Tensor, num_channels: int) -> bool:
    """Whether to compute here what has so many channels at its finer side: bf16 clips on a CPU."""
    return (
        num_channels <= _THIN
        and samples.ndim == 5
        and samples.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
    )


def convolve(
    samples: Tensor, weight: Tensor, bias: Tensor | None, *, stride: Sequence[int], padding: Sequence[int]
) -> Tensor:
    """`conv3d` of clips (B, C, T, H, W) in autocast's precision."""
    cells_BTHWC = samples.to(torch.get_autocast_dtype("cpu")).movedim(1, -1)
    stacked = _stack(cells_BTHWC, weight.shape[2], stride[0], padding[0])
    frames = stacked.flatten(0, 1).movedim(-1, 1)
    made = _fenced(functional.conv2d, frames, _flat(weight), bias, tuple(stride[1:]), tuple(padding[1:]))
    return made.view(*stacked.shape[:2], *made.shape[1:]).transpose(1, 2)


def convolve_transposed(
    samples: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    output_padding: Sequence[int] = (0, 0, 0),
) -> Tensor:
    """`conv_transpose3d` of clips (B, C, T, H, W) in autocast's precision."""
    frames = samples.transpose(1, 2)
    made = _fenced(
        functional.conv_transpose2d,
        frames.flatten(0, 1),
        _flat(weight),
        None,
        tuple(stride[1:]),
        tuple(padding[1:]),
        tuple(output_padding[1:]),
    )
    stacked = made.movedim(1, -1)
    stacked = stacked.view(*frames.shape[:2], *stacked.shape[1:])
    folded = _fold(stacked, weight.shape[2], stride[0], padding[0], output_padding[0]).movedim(-1, 1)
    return folded if bias is None else folded + bias.to(folded.dtype).view(1, -1, 1, 1, 1)


def _fenced(
    function: Callable[..., Tensor], frames: Tensor, weight: Tensor, bias: Tensor | None, stride: Size, *sizes: Size
) -> Tensor:
    """A 2-d convolution, in float32 where bf16 would be wrong; `weight` has the thin side's channels second."""
    if not fence.is_wrong(frames, weight.shape[1], weight.shape[2:], stride):
        return function(frames, weight, bias, stride, *sizes)
    with torch.autocast("cpu", enabled=False):
        return function(frames.float(), weight, bias, stride, *sizes).to(torch.get_autocast_dtype("cpu"))


def _flat(weight: Tensor) -> Tensor:
    """A kernel (N, C, K, H, W) of frames in time as one (N, K · C, H, W) of a stack."""
    return weight.transpose(1, 2).flatten(1, 2)


def _stack(cells_BTHWC: Tensor, size: int, step: int, margin: int) -> Tensor:
    """(B, T', H, W, size · C): the frames that each place along time sees, zeros beyond the ends."""
    stacked: Tensor = _Stack.apply(cells_BTHWC, size, step, margin)  # type: ignore[no-untyped-call]
    return stacked


def _fold(stacked: Tensor, size: int, step: int, margin: int, beyond: int) -> Tensor:
    """The adjoint of `_stack`: each frame is the sum of what stands for it; `beyond` frames more at the end."""
    folded: Tensor = _Fold.apply(stacked, size, step, margin, beyond)  # type: ignore[no-untyped-call]
    return folded


class _Stack(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, cells_BTHWC: Tensor, size: int, step: int, margin: int) -> Tensor:
        wide = functional.pad(cells_BTHWC, (0, 0, 0, 0, 0, 0, margin, margin)).contiguous()
        num, frames, height, width, channels = wide.shape
        places = (frames - size) // step + 1
        ctx.settings = size, step, margin, frames - size - (places - 1) * step
        frame = height * width * channels
        shape = (num, places, height, width, size, channels)
        seen = wide.as_strided(shape, (frames * frame, step * frame, width * channels, channels, frame, 1))
        return seen.reshape(num, places, height, width, size * channels)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        return _fold(slope, *ctx.settings), None, None, None


class _Fold(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, stacked: Tensor, size: int, step: int, margin: int, beyond: int) -> Tensor:
        ctx.settings = size, step, margin
        parts = stacked.view(*stacked.shape[:-1], size, -1)
        num, places, height, width, _, channels = parts.shape
        last = (places - 1) * step + 1
        folded = stacked.new_zeros(num, last + size - 1 + beyond, height, width, channels)
        for frame in range(size):
            folded[:, frame : frame + last : step] += parts[..., frame, :]
        return folded[:, margin : folded.shape[1] - margin]

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        return _stack(slope, *ctx.settings), None, None, None, None
