"""The Inception network of the published FID: the TensorFlow graph of 2015-12-05, layer for layer.

It differs from the Inception v3 in model libraries: 1008 classes, average pools that do not count their padding, a max
pool (in place of the average) in the very last block, batch norm with eps 1e-3, and an input resized to 299 by
TensorFlow 1's bilinear rule (corner-aligned pixels, no antialiasing) and scaled to (x − 128) / 128. Any of these
alone moves the FID. Parameter names and shapes are those of `pt_inception-2015-12-05-6726825d.pth` and load from it.
Without weights it is a network of the right shapes, fit for tests and nothing else.

Shape legend: N images, C channels, H height, W width.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motherlode.errors import MeasureError
from motherlode.measures.weights import load_into, load_state

PUBLISHED_SHA256_PREFIX = "6726825d"
"""Begins the sha256 of both published files of these weights; only with them may a distance be called FID."""


class InceptionOutput(NamedTuple):
    """What the network gives: pooled features (N, 2048) and logits (N, 1008), float32."""

    features: Tensor
    logits: Tensor


class BasicConv2d(nn.Module):
    """Convolution without bias, batch norm (eps 1e-3), ReLU."""

    def __init__(self, num_in: int, num_out: int, size: int | tuple[int, int], stride: int = 1, pad: bool = True):
        super().__init__()
        sizes = (size, size) if isinstance(size, int) else size
        padding = (sizes[0] // 2, sizes[1] // 2) if pad else (0, 0)
        self.conv = nn.Conv2d(num_in, num_out, sizes, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(num_out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


def _average(x: Tensor) -> Tensor:
    """TensorFlow's 3 x 3 average pool: padding does not count."""
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class InceptionA(nn.Module):
    """35 x 35 block: 1x1, 5x5, double 3x3, pool."""

    def __init__(self, num_in: int, num_pool: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv2d(num_in, 64, 1)
        self.branch5x5_1 = BasicConv2d(num_in, 48, 1)
        self.branch5x5_2 = BasicConv2d(48, 64, 5)
        self.branch3x3dbl_1 = BasicConv2d(num_in, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3)
        self.branch_pool = BasicConv2d(num_in, num_pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        five = self.branch5x5_2(self.branch5x5_1(x))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(_average(x))], 1)


class InceptionB(nn.Module):
    """35 to 17: strided 3x3, strided double 3x3, max pool."""

    def __init__(self, num_in: int) -> None:
        super().__init__()
        self.branch3x3 = BasicConv2d(num_in, 384, 3, stride=2, pad=False)
        self.branch3x3dbl_1 = BasicConv2d(num_in, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, stride=2, pad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], 1)


class InceptionC(nn.Module):
    """17 x 17 block with factorised 7x7 convolutions."""

    def __init__(self, num_in: int, num_mid: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv2d(num_in, 192, 1)
        self.branch7x7_1 = BasicConv2d(num_in, num_mid, 1)
        self.branch7x7_2 = BasicConv2d(num_mid, num_mid, (1, 7))
        self.branch7x7_3 = BasicConv2d(num_mid, 192, (7, 1))
        self.branch7x7dbl_1 = BasicConv2d(num_in, num_mid, 1)
        self.branch7x7dbl_2 = BasicConv2d(num_mid, num_mid, (7, 1))
        self.branch7x7dbl_3 = BasicConv2d(num_mid, num_mid, (1, 7))
        self.branch7x7dbl_4 = BasicConv2d(num_mid, num_mid, (7, 1))
        self.branch7x7dbl_5 = BasicConv2d(num_mid, 192, (1, 7))
        self.branch_pool = BasicConv2d(num_in, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(_average(x))], 1)


class InceptionD(nn.Module):
    """17 to 8: strided 3x3, strided 7x7-3x3, max pool."""

    def __init__(self, num_in: int) -> None:
        super().__init__()
        self.branch3x3_1 = BasicConv2d(num_in, 192, 1)
        self.branch3x3_2 = BasicConv2d(192, 320, 3, stride=2, pad=False)
        self.branch7x7x3_1 = BasicConv2d(num_in, 192, 1)
        self.branch7x7x3_2 = BasicConv2d(192, 192, (1, 7))
        self.branch7x7x3_3 = BasicConv2d(192, 192, (7, 1))
        self.branch7x7x3_4 = BasicConv2d(192, 192, 3, stride=2, pad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat([three, self.branch7x7x3_4(seven), F.max_pool2d(x, 3, stride=2)], 1)


class InceptionE(nn.Module):
    """8 x 8 block with split 3x3 convolutions.

    Args:
        num_in: channels in.
        max_pool: pool by maximum, as the graph does in its last block only (an oddity of that graph, kept).
    """

    def __init__(self, num_in: int, max_pool: bool) -> None:
        super().__init__()
        self.max_pool = max_pool
        self.branch1x1 = BasicConv2d(num_in, 320, 1)
        self.branch3x3_1 = BasicConv2d(num_in, 384, 1)
        self.branch3x3_2a = BasicConv2d(384, 384, (1, 3))
        self.branch3x3_2b = BasicConv2d(384, 384, (3, 1))
        self.branch3x3dbl_1 = BasicConv2d(num_in, 448, 1)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, 3)
        self.branch3x3dbl_3a = BasicConv2d(384, 384, (1, 3))
        self.branch3x3dbl_3b = BasicConv2d(384, 384, (3, 1))
        self.branch_pool = BasicConv2d(num_in, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.max_pool else _average(x)
        branches = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        branches += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)]
        return torch.cat(branches, 1)


class FidInception(nn.Module):
    """The FID network: images in, 2048 features and 1008 logits out.

    Args:
        weights: path or URL of the published state dict (`.pth` or `.safetensors`); None leaves random weights.
        sha256: of that file; required for a URL.

    Attributes:
        sha256: of the loaded file, or None.

    Raises:
        MeasureError: the file's layers are not those of this network.
    """

    def __init__(self, weights: str | Path | None = None, *, sha256: str | None = None) -> None:
        super().__init__()
        with torch.device("cpu" if weights is None else "meta"):
            self._build()
        self.sha256: str | None = None
        if weights is not None:
            state, self.sha256 = load_state(weights, sha256)
            load_into(self, state, "the FID Inception network")
        self.eval().requires_grad_(False)

    def _build(self) -> None:
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, 3, stride=2, pad=False)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, 1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3, pad=False)
        self.Mixed_5b = InceptionA(192, num_pool=32)
        self.Mixed_5c = InceptionA(256, num_pool=64)
        self.Mixed_5d = InceptionA(288, num_pool=64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, num_mid=128)
        self.Mixed_6c = InceptionC(768, num_mid=160)
        self.Mixed_6d = InceptionC(768, num_mid=160)
        self.Mixed_6e = InceptionC(768, num_mid=192)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280, max_pool=False)
        self.Mixed_7c = InceptionE(2048, max_pool=True)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, images: Tensor) -> InceptionOutput:
        """Features before and logits after the last layer.

        Args:
            images: (N, 3, H, W), or (N, 1, H, W) which is repeated; uint8, or float in [0, 1].

        Raises:
            MeasureError: another shape, or floats outside [0, 1].
        """
        x = tensorflow_resize(as_bytes_range(images), 299)
        x = ((x - 128) / 128).to(self.fc.weight.dtype)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x)))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        features = x.mean((2, 3))
        return InceptionOutput(features.float(), self.fc(features).float())

    def logits_without_bias(self, logits: Tensor) -> Tensor:
        """The logits the published Inception Score is taken from: the graph's product without its bias."""
        return logits - self.fc.bias.float()


def as_bytes_range(images: Tensor) -> Tensor:
    """Three-channel float32 images in [0, 255] from uint8 or from floats in [0, 1].

    Raises:
        MeasureError: not (N, 1 or 3, H, W), or floats outside [0, 1].
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise MeasureError("images must be (N, 3, H, W) or (N, 1, H, W)", f"shape {tuple(images.shape)}", "reshape")
    if images.dtype == torch.uint8:
        scaled = images.float()
    elif images.is_floating_point():
        low, high = (float(bound) for bound in torch.aminmax(images)) if images.numel() else (0.0, 0.0)
        if not (low >= 0 and high <= 1):
            raise MeasureError("float images must lie in [0, 1]", f"[{low:.3g}, {high:.3g}]", "scale, or give uint8")
        scaled = images.float() * 255
    else:
        raise MeasureError("images must be uint8 or float", str(images.dtype), "convert to uint8")
    return scaled.expand(-1, 3, -1, -1)


def tensorflow_resize(images: Tensor, size: int) -> Tensor:
    """TensorFlow 1's `resize_bilinear`: pixel i is read at i · in/out, without half-pixel centres or antialiasing."""

    def stretch(x: Tensor, dim: int) -> Tensor:
        num = x.shape[dim]
        place = torch.arange(size, dtype=torch.float32, device=x.device) * torch.tensor(num / size, dtype=torch.float32)
        low = place.long().clamp_max(num - 1)
        high = (low + 1).clamp_max(num - 1)
        shape = [size if axis == dim else 1 for axis in range(4)]
        weight = (place - low).to(x.dtype).reshape(shape)
        return torch.lerp(x.index_select(dim, low), x.index_select(dim, high), weight)

    return stretch(stretch(images, 3), 2)
