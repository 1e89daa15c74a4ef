"""Where torch's bf16 convolutions on CPUs are wrong, and what to do instead: those are computed in float32.

torch 2.13 on a processor with AMX, of 9,044 one-dimensional forms and 216 of one to three dimensions (forward and
both gradients, against float32): a convolution of an even number of channels below 32 with a kernel 8, 12 or 16 wide,
or 4 wide at a stride of 4, may give numbers that have nothing to do with the right ones, finite and of the right
size. So may the gradient of a transposed one to as many channels. Odd numbers of channels, 32 and more, and other
kernels were right every time. What the fence costs is little: such layers are thin.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_ENOUGH = 32
"""Channels from which on all was right."""


def is_wrong(samples: Tensor, num_channels: int, kernel: Sequence[int], stride: Sequence[int]) -> bool:
    """Whether a convolution from so many channels (a transposed one to so many) may be wrong under autocast."""
    if samples.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return False
    wide = kernel[-1] % 4 == 0 and (kernel[-1] >= 8 or stride[-1] >= 4)
    return wide and num_channels % 2 == 0 and num_channels < _ENOUGH
