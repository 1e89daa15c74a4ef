"""Moving pictures. Everything heavy is imported by the method that needs it, so that finding this modality costs
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from motherlode.modality import Examination, SampleSpec
from motherlode.modality.image import MODALITY as PICTURES
from motherlode.modality.video.options import REASONS, Clean

if TYPE_CHECKING:
    import torch

_DEFAULT_RATE = 8.0


class VideoModality:
    """Implements `motherlode.modality.Modality` for clips; each method is documented there."""

    name = "video"
    column = "video"
    stored: Literal["media", "text"] = "media"
    dtype = "uint8"
    ragged = False
    suffixes = frozenset(
        [
            ".mp4",
            ".m4v",
            ".mov",
            ".mkv",
            ".webm",
            ".avi",
            ".mpg",
            ".mpeg",
            ".m2ts",
            ".ogv",
            ".flv",
            ".wmv",
            ".3gp",
            ".gif",
            ".webp",
            ".apng",
            ".png",
        ]
    )
    Options = Clean
    augmentations = ("flip", "crop", "brightness", "contrast")
    search: Literal["hamming", "bands"] = "hamming"
    max_bits = 11
    similar = 0.9875
    reasons = REASONS
    outliers = True
    max_bytes = 1 << 30
    preload = ("motherlode.modality.video.examine", "av")

    def examine(self, media: Sequence[bytes], options: Clean) -> Examination:
        """Find the clip in each file; check, normalise, measure and fingerprint it."""
        from motherlode.modality.video.examine import examine

        return examine(media, options)

    def similarity(self, thumbs_a_NT: NDArray[np.uint8], thumbs_b_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Correlation of looks and of changes, in step, of the straight or the mirrored clip; (N,) in [0, 1]."""
        from motherlode.modality.video.fingerprint import similarity

        return similarity(thumbs_a_NT, thumbs_b_NT)

    def plant(self, media: bytes) -> dict[str, bytes]:
        """A re-encoded, resized, trimmed, mirrored and brightened copy."""
        from motherlode.modality.video.plant import plant

        return plant(media)

    def features(self, thumbs_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Mean and spread over time, and colours, (N, D)."""
        from motherlode.modality.video.fingerprint import features

        return features(thumbs_NT)

    def spec(
        self,
        columns: dict[str, NDArray[Any]],
        *,
        resolution: int | None,
        channels: int | None,
        seconds: float | None = None,
    ) -> SampleSpec:
        """Side and channels as for pictures; the rate of most clips; as many frames as most have, or `seconds` ask."""
        still = PICTURES.spec(columns, resolution=resolution, channels=channels)
        rates, frames = np.asarray(columns["rate"]), np.asarray(columns["frames"])
        rate = float(np.median(rates)) if len(rates) else _DEFAULT_RATE
        if seconds is not None:
            num_frames = max(1, round(seconds * rate))
        else:
            num_frames = int(np.bincount(frames).argmax()) if len(frames) else 1
        return SampleSpec(self.name, (still.shape[0], num_frames, *still.shape[1:]), rate=rate)

    def shapes(self, columns: dict[str, NDArray[Any]], spec: SampleSpec | None = None) -> list[tuple[int, ...]]:
        """(channels, frames, height, width) of each clip."""
        sides = zip(PICTURES.shapes(columns), np.asarray(columns["frames"]).tolist(), strict=True)
        return [(channels, frames, height, width) for (channels, height, width), frames in sides]

    def decode(self, media: bytes, spec: SampleSpec) -> NDArray[np.uint8]:
        """One file as uint8 of `spec.shape`, at `spec.rate`."""
        from motherlode.modality.video.normal import read

        return read(media, spec)

    def encode(self, sample: NDArray[Any], spec: SampleSpec | None = None) -> bytes:
        """A lossless animated WebP of one uint8 sample (C, F, H, W)."""
        from motherlode.modality.video.files import encode

        return encode(sample, _rate_of(spec))

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
        """Differentiable random augmentation of normalised clips, the same on all frames of one."""
        from motherlode.modality.video.augment import augment

        return augment(samples, policy, strength, rng)

    def preview(self, samples: torch.Tensor, path: Path, *, columns: int = 0, spec: SampleSpec | None = None) -> Path:
        """A moving grid as WebP; beside it the same as MP4, and the first clips as a film strip in PNG."""
        from motherlode.modality.video.preview import grid

        return grid(samples, path, columns, _rate_of(spec))

    def contact_sheet(
        self, media: Sequence[bytes], path: Path, *, captions: Sequence[str] = (), columns: int = 0
    ) -> None:
        """Four frames of each clip, with captions; broken ones as crossed boxes."""
        from motherlode.modality.video.preview import contact_sheet

        contact_sheet(media, path, captions, columns)


def _rate_of(spec: SampleSpec | None) -> float:
    return spec.rate if spec is not None and spec.rate else _DEFAULT_RATE


MODALITY = VideoModality()
