"""Pictures. Everything heavy is imported by the method that needs it, so that finding this modality costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from motherlode.modality import Examination, SampleSpec
from motherlode.modality.image.options import REASONS, Clean

if TYPE_CHECKING:
    import torch

_LEAST_RESOLUTION, _MOST_RESOLUTION = 16, 256
_NEARLY_ALL = 0.95
"""Share that must be of one size, or grey, to decide for all: a few strays do not."""


class ImageModality:
    """Implements `motherlode.modality.Modality` for pictures; each method is documented there."""

    name = "image"
    column = "image"
    stored: Literal["media", "text"] = "media"
    dtype = "uint8"
    ragged = False
    suffixes = frozenset(
        [
            ".png",
            ".jpg",
            ".jpeg",
            ".jpe",
            ".jfif",
            ".gif",
            ".webp",
            ".bmp",
            ".tif",
            ".tiff",
            ".ppm",
            ".pgm",
            ".pbm",
            ".jp2",
            ".avif",
            ".heic",
            ".heif",
        ]
    )
    Options = Clean
    augmentations = ("flip", "rotate", "crop", "brightness", "contrast")
    search: Literal["hamming", "bands"] = "hamming"
    max_bits = 11
    similar = 0.925
    reasons = REASONS
    outliers = True
    max_bytes = 256 << 20
    preload = ("motherlode.modality.image.examine",)

    def examine(self, media: Sequence[bytes], options: Clean) -> Examination:
        """Check, normalise, measure and fingerprint picture files."""
        from motherlode.modality.image.examine import examine

        return examine(media, options)

    def similarity(self, thumbs_a_NT: NDArray[np.uint8], thumbs_b_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Correlation after registration, of the straight or the mirrored picture; (N,) in [0, 1]."""
        from motherlode.modality.image.fingerprint import similarity

        return similarity(thumbs_a_NT, thumbs_b_NT)

    def plant(self, media: bytes) -> dict[str, bytes]:
        """A resized, recompressed, cropped, mirrored and brightened copy."""
        from motherlode.modality.image.plant import plant

        return plant(media)

    def features(self, thumbs_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Small picture and colour layout, (N, D)."""
        from motherlode.modality.image.fingerprint import features

        return features(thumbs_NT)

    def spec(
        self,
        columns: dict[str, NDArray[Any]],
        *,
        resolution: int | None,
        channels: int | None,
        seconds: float | None = None,
    ) -> SampleSpec:
        """The size and mode of nearly all pictures where they are square, else a power of two that most reach."""
        if resolution is None:
            width_N, height_N = np.asarray(columns["width"]), np.asarray(columns["height"])
            side_N = np.minimum(width_N, height_N)
            common = int(np.bincount(side_N).argmax()) if len(side_N) else 0
            if common and float(((width_N == common) & (height_N == common)).mean()) >= _NEARLY_ALL:
                resolution = common
            else:
                reach = float(np.quantile(side_N, 0.1)) if len(side_N) else 32.0
                resolution = 2 ** int(np.log2(min(max(reach, _LEAST_RESOLUTION), _MOST_RESOLUTION)))
        if channels is None:
            modes = np.asarray(columns.get("mode", ()))
            channels = 1 if len(modes) and float((modes == "L").mean()) >= _NEARLY_ALL else 3
        return SampleSpec(self.name, (channels, resolution, resolution))

    def shapes(self, columns: dict[str, NDArray[Any]], spec: SampleSpec | None = None) -> list[tuple[int, ...]]:
        """(channels, height, width) of each picture."""
        channels = {"L": 1, "RGB": 3, "RGBA": 4}
        triples = zip(columns["mode"].tolist(), columns["height"].tolist(), columns["width"].tolist(), strict=True)
        return [(channels.get(mode, 3), height, width) for mode, height, width in triples]

    def decode(self, media: bytes, spec: SampleSpec) -> NDArray[np.uint8]:
        """One file as uint8 of `spec.shape`."""
        from motherlode.modality.image.normal import read

        return read(media, spec)

    def encode(self, sample: NDArray[Any], spec: SampleSpec | None = None) -> bytes:
        """A lossless PNG of one uint8 sample (C, H, W)."""
        from motherlode.modality.image.normal import encode

        return encode(sample)

    def normalise(self, samples: torch.Tensor) -> torch.Tensor:
        """uint8 to float32 in [-1, 1]."""
        from motherlode.modality.image.tensors import normalise

        return normalise(samples)

    def denormalise(self, samples: torch.Tensor) -> torch.Tensor:
        """[-1, 1] to uint8, rounded and clamped."""
        from motherlode.modality.image.tensors import denormalise

        return denormalise(samples)

    def augment(
        self, samples: torch.Tensor, policy: Sequence[str], strength: float, rng: torch.Generator
    ) -> torch.Tensor:
        """Differentiable random augmentation of normalised samples."""
        from motherlode.modality.image.augment import augment

        return augment(samples, policy, strength, rng)

    def preview(self, samples: torch.Tensor, path: Path, *, columns: int = 0, spec: SampleSpec | None = None) -> Path:
        """A grid PNG."""
        from motherlode.modality.image.preview import grid

        path = path.with_suffix(".png")
        grid(samples, path, columns)
        return path

    def contact_sheet(
        self, media: Sequence[bytes], path: Path, *, captions: Sequence[str] = (), columns: int = 0
    ) -> None:
        """Files with captions, broken ones as crossed boxes."""
        from motherlode.modality.image.preview import contact_sheet

        contact_sheet(media, path, captions, columns)


MODALITY = ImageModality()
