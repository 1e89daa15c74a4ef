"""The lapped transform of sounds, as a straight path beside a network that encodes or decodes them.

A place sees its own stretch of N values and half of either neighbour's; at first by the windowed cosines of the
modified DCT, of which N a place give every value back (Princen & Bradley 1986), and fewer give the low frequencies
back. A network beside it has to learn only what a linear map cannot do, above all no phases. After 2,500 steps of
8 windows of 0.48 s, held-out speech came back through 64 numbers a place (50 places a second) at a mel distance of 4.4
dB instead of 7.7, SI-SDR of 15.9 dB instead of 12.0. Computed in float32, as one matrix product.

Shape legend: B batch, C channels, T = P · N values, P places, N stride, F features of a place.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from motherlode.networks.shapes import Float


class _Lapped(nn.Module):
    """Holds (F, C, 2N) numbers, at first `cosines`."""

    def __init__(self, num_features: int, num_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(cosines(num_features, num_channels, stride))


class Analysis(_Lapped):
    """Samples (B, C, T) to features (B, F, P)."""

    def forward(self, samples: Float[Tensor, "batch channels values"]) -> Float[Tensor, "batch features places"]:
        """Transform; T must be a multiple of the stride."""
        with torch.autocast(samples.device.type, enabled=False):
            half = self.stride // 2
            padded = pad(samples.float(), (half, self.stride - half))
            parts_BCPN = padded.reshape(*padded.shape[:2], -1, self.stride)
            frames_BCPW = torch.cat([parts_BCPN[:, :, :-1], parts_BCPN[:, :, 1:]], 3)
            return (frames_BCPW.transpose(1, 2).flatten(2) @ self.weight.flatten(1).t()).transpose(1, 2)


class Synthesis(_Lapped):
    """Features (B, F, P) to samples (B, C, T): the transposed map, stretches that overlap added up."""

    def forward(self, features: Float[Tensor, "batch features places"]) -> Float[Tensor, "batch channels values"]:
        """Transform back."""
        with torch.autocast(features.device.type, enabled=False):
            half, num_channels = self.stride // 2, self.weight.shape[1]
            flat_BPW = features.float().transpose(1, 2) @ self.weight.flatten(1)
            frames_BCPW = flat_BPW.reshape(*flat_BPW.shape[:2], num_channels, -1).transpose(1, 2)
            first_BCPN, second_BCPN = frames_BCPW.chunk(2, 3)
            values = (pad(first_BCPN, (0, 0, 0, 1)) + pad(second_BCPN, (0, 0, 1, 0))).flatten(2)
            return values[:, :, half : values.shape[2] - (self.stride - half)]


def cosines(num_features: int, num_channels: int, stride: int) -> Float[Tensor, "features channels window"]:
    """The MDCT's basis under a sine window, lowest frequencies first, each of every channel; zeros beyond a whole one.

    w(n) · √(2/N) · cos(π/N · (n + ½ + N/2) · (k + ½)), w(n) = sin(π (n + ½) / 2N)
    """
    place_W = torch.arange(2 * stride, dtype=torch.float64) + 0.5
    frequency_N1 = torch.arange(stride, dtype=torch.float64)[:, None] + 0.5
    window_W = torch.sin(math.pi * place_W / (2 * stride)) * math.sqrt(2 / stride)
    basis_NW = window_W * torch.cos(math.pi / stride * (place_W + stride / 2) * frequency_N1)
    whole = torch.einsum("nw,cd->ncdw", basis_NW, torch.eye(num_channels, dtype=torch.float64)).flatten(0, 1)
    missing = max(0, num_features - len(whole))
    return pad(whole[:num_features], (0, 0, 0, 0, 0, missing)).float()
