"""How different two pictures look: LPIPS (Zhang 2018, arXiv:1801.03924), and the variety of a set of pictures from it.

    d(x, y) = Σ_layers mean over places of Σ_channels w_c (x̂_c − ŷ_c)²,   x̂ = feature map of unit length at each place

`Lpips` is the published measure: an AlexNet, VGG-16 or SqueezeNet and the paper's linear heads w, loaded from files and
checked by layer name and shape. Without those files the same formula runs with w = 1 over the feature maps of any
extractor, and the number is called `perceptual[that extractor]`, never LPIPS.

Shape legend: N pairs, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from motherlode.errors import MeasureError
from motherlode.measures.features import Extractor, as_images, state_fingerprint
from motherlode.measures.interval import DEFAULT_LEVEL, Interval, mean_interval
from motherlode.measures.weights import load_into, load_state
from motherlode.randomness import numpy_generator

_EPS = 1e-10
_BATCH = 64
# The published input: [-1, 1], less this shift, over this scale.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


class Fire(nn.Module):
    """SqueezeNet's block: a 1x1 squeeze, then 1x1 and 3x3 expansions side by side."""

    def __init__(self, num_in: int, num_squeeze: int, num_expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(num_in, num_squeeze, 1)
        self.expand1x1 = nn.Conv2d(num_squeeze, num_expand, 1)
        self.expand3x3 = nn.Conv2d(num_squeeze, num_expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


def _alexnet() -> list[nn.Module]:
    return [
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
    ]  # fmt: skip


def _vgg16() -> list[nn.Module]:
    layers: list[nn.Module] = []
    num_in = 3
    for stage, (repeats, num_out) in enumerate(((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))):
        if stage:
            layers.append(nn.MaxPool2d(2, 2))
        for _ in range(repeats):
            layers += [nn.Conv2d(num_in, num_out, 3, padding=1), nn.ReLU()]
            num_in = num_out
    return layers


def _squeezenet() -> list[nn.Module]:
    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, ceil_mode=True)

    return [
        nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), pool(),
        Fire(64, 16, 64), Fire(128, 16, 64), pool(),
        Fire(128, 32, 128), Fire(256, 32, 128), pool(),
        Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
    ]  # fmt: skip


# Backbone → (its layers, numbered as published; the layers whose outputs are compared; their channels).
_BACKBONES: Mapping[str, tuple[Any, tuple[int, ...], tuple[int, ...]]] = {
    "alex": (_alexnet, (1, 4, 7, 9, 11), (64, 192, 384, 256, 256)),
    "vgg": (_vgg16, (3, 8, 15, 22, 29), (64, 128, 256, 512, 512)),
    "squeeze": (_squeezenet, (1, 4, 7, 9, 10, 11, 12), (64, 128, 256, 384, 384, 512, 512)),
}


class Lpips(nn.Module):
    """The published distance.

    Args:
        backbone: "alex" (the authors' choice for measuring), "vgg" or "squeeze".
        weights: path or URL of the ImageNet backbone's state dict (keys `features.0.weight`, …; classifier layers are
            ignored). None leaves it random, fit for tests only.
        heads: path or URL of the linear heads (`lin0.model.1.weight`, …). None leaves them at 1.
        weights_sha256, heads_sha256: of those files; required for URLs.

    Attributes:
        published: whether both files were given, so that the number may be called LPIPS.
        name, dtype, resize, fingerprint: as of an extractor.

    Raises:
        MeasureError: unknown backbone, or layers that are not the published ones.
    """

    def __init__(
        self,
        backbone: str = "alex",
        weights: str | Path | None = None,
        heads: str | Path | None = None,
        *,
        weights_sha256: str | None = None,
        heads_sha256: str | None = None,
    ) -> None:
        super().__init__()
        if backbone not in _BACKBONES:
            raise MeasureError("LPIPS has three backbones", backbone, f"choose one of: {', '.join(_BACKBONES)}")
        make, self._taps, channels = _BACKBONES[backbone]
        self.features = nn.Sequential(*make())
        self.heads = nn.ParameterDict({f"lin{i}": nn.Parameter(torch.ones(1, c, 1, 1)) for i, c in enumerate(channels)})
        self.register_buffer("shift", torch.tensor(_SHIFT).reshape(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).reshape(1, 3, 1, 1))
        self.name, self.dtype, self.resize = f"lpips-{backbone}", "float32", "none"
        self.published = weights is not None and heads is not None
        if weights is not None:
            state, _ = load_state(weights, weights_sha256)
            kept = {key.removeprefix("features."): value for key, value in state.items() if "classifier" not in key}
            load_into(self.features, kept, f"the {backbone} backbone")
        if heads is not None:
            state, _ = load_state(heads, heads_sha256)
            load_into(self.heads, {key.partition(".")[0]: value for key, value in state.items()}, "the LPIPS heads")
        self.eval().requires_grad_(False)
        self.fingerprint = state_fingerprint(self)

    def layers(self, images: Tensor) -> list[Tensor]:
        """Feature maps at the published layers, of float images in [0, 1]."""
        x = (2 * images - 1 - self.get_buffer("shift")) / self.get_buffer("scale")
        maps = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in self._taps:
                maps.append(x)
        return maps

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distances (N,) of aligned images (N, 3, H, W): uint8, or float in [0, 1]."""
        a, b = (x.float() / 255 if x.dtype == torch.uint8 else x for x in (a, b))
        return layered_distance(self.layers(a), self.layers(b), [self.heads[f"lin{i}"] for i in range(len(self._taps))])


def layered_distance(maps_a: list[Tensor], maps_b: list[Tensor], heads: list[Tensor] | None = None) -> Tensor:
    """The formula above for aligned lists of feature maps (N, C, H, W); without heads every channel weighs 1."""
    total = torch.zeros(len(maps_a[0]))
    for number, (a, b) in enumerate(zip(maps_a, maps_b, strict=True)):
        squares = (_unit(a) - _unit(b)) ** 2
        weighted = squares if heads is None else squares * heads[number]
        total = total.to(a.device) + weighted.sum(1).mean((1, 2))
    return total


def _unit(x: Tensor) -> Tensor:
    """Unit length over channels at each place; the published code adds 1e-10 to the length."""
    return x / (x.square().sum(1, keepdim=True).sqrt() + _EPS)


def perceptual_distance(a: Any, b: Any, measure: Extractor | Lpips) -> NDArray[np.float64]:
    """Distances (N,) of aligned uint8 images (N, C, H, W) by LPIPS or over an extractor's feature maps.

    Raises:
        MeasureError: shapes that differ, or an extractor without feature maps.
    """
    a, b = as_images(a), as_images(b)
    if a.shape != b.shape:
        raise MeasureError("pairs must have equal shapes", f"{tuple(a.shape)} and {tuple(b.shape)}", "resize them")
    parts = [
        _batch_distance(a[start : start + _BATCH], b[start : start + _BATCH], measure)
        for start in range(0, len(a), _BATCH)
    ]
    return np.concatenate([part.double().cpu().numpy() for part in parts])


def _batch_distance(a: Tensor, b: Tensor, measure: Extractor | Lpips) -> Tensor:
    if isinstance(measure, Lpips):
        with torch.inference_mode():
            return measure(a.expand(-1, 3, -1, -1), b.expand(-1, 3, -1, -1)).reshape(-1)  # type: ignore[no-any-return]
    maps_a, maps_b = measure.layers(a), measure.layers(b)
    if not maps_a:
        raise MeasureError(
            "a perceptual distance needs an extractor with feature maps", measure.name, "use efficientnet-lite0"
        )
    return layered_distance(maps_a, maps_b)


def diversity(
    samples: Any, measure: Extractor | Lpips, *, num_pairs: int = 1000, level: float = DEFAULT_LEVEL, seed: int = 0
) -> Interval:
    """Mean perceptual distance of random pairs: how different the samples of one set look from each other.

    No sample is in two pairs, so the pairs are independent and Student's interval holds. Compare it with the same
    number for real data: a model that has collapsed lies far below it.

    Args:
        samples: uint8 (N, C, H, W).
        measure: LPIPS or an extractor with feature maps.
        num_pairs: at most; N // 2 if that is less.
        level: of the interval.
        seed: of the pairing.
    """
    samples = as_images(samples)
    num_pairs = min(num_pairs, len(samples) // 2)
    if num_pairs < 2:
        raise MeasureError("diversity needs at least 4 samples", len(samples), "take more samples")
    order = torch.from_numpy(numpy_generator(seed, "diversity pairs").permutation(len(samples))[: 2 * num_pairs])
    distances_N = np.concatenate(
        [perceptual_distance(samples[rows[0]], samples[rows[1]], measure) for rows in _pairs(order)]
    )
    return mean_interval(distances_N, level, f"Student, over {num_pairs} disjoint pairs")


def _pairs(order: Tensor) -> Iterator[Tensor]:
    """Batches of pairs of rows, (2, N)."""
    pairs = order.reshape(2, -1)
    for start in range(0, pairs.shape[1], _BATCH):
        yield pairs[:, start : start + _BATCH]
