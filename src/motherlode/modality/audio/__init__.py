"""Sound. Everything heavy is imported by the method that needs it, so that finding this modality costs nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import MissingExtraError, RecipeError
from motherlode.modality import Examination, SampleSpec
from motherlode.modality.audio.options import REASONS, Clean

if TYPE_CHECKING:
    import torch

_WINDOW_VALUES = 1280
"""Default windows are a multiple of this, which powers of two up to 256 and hops of 160 and 320 divide."""
_MOST_WINDOW_SEC = 1.0
_DEFAULT_RATE = 16_000
_ENDINGS = (
    *("wav", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "aifc", "au", "caf", "w64"),
    *("m4a", "aac", "wma", "weba"),
)
_PACKAGES = ("soundfile", "soxr")


class AudioModality:
    """Implements `motherlode.modality.Modality` for sound; each method is documented there."""

    name = "audio"
    column = "audio"
    stored: Literal["media", "text"] = "media"
    dtype = "int16"
    ragged = True
    suffixes = frozenset(f".{ending}" for ending in _ENDINGS)
    Options = Clean
    augmentations = ("noise", "speed", "pitch", "reverb")
    search: Literal["hamming", "bands"] = "hamming"
    max_bits = 11
    similar = 0.965
    reasons = REASONS
    outliers = False
    max_bytes = 256 << 20
    preload = ("motherlode.modality.audio.examine",)

    def examine(self, media: Sequence[bytes], options: Clean) -> Examination:
        """Check, normalise, measure and fingerprint sound files.

        Raises:
            MissingExtraError: soundfile or soxr is not installed.
        """
        _need_packages()
        from motherlode.modality.audio.examine import examine

        return examine(media, options)

    def similarity(self, thumbs_a_NT: NDArray[np.uint8], thumbs_b_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Correlation of spectrograms at the best small shift; (N,) in [0, 1]."""
        from motherlode.modality.audio.fingerprint import similarity

        return similarity(thumbs_a_NT, thumbs_b_NT)

    def plant(self, media: bytes) -> dict[str, bytes]:
        """A quieter, recompressed, resampled and cut copy."""
        from motherlode.modality.audio.plant import plant

        return plant(media)

    def features(self, thumbs_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Mean and spread of each band's level, (N, D)."""
        from motherlode.modality.audio.fingerprint import features

        return features(thumbs_NT)

    def spec(
        self,
        columns: dict[str, NDArray[Any]],
        *,
        resolution: int | None,
        channels: int | None,
        seconds: float | None = None,
    ) -> SampleSpec:
        """The commonest rate and channels; a window that holds nine sounds of ten whole, of about a second at most.

        Raises:
            RecipeError: a resolution, or channels that sound does not have.
        """
        if resolution is not None:
            raise RecipeError("only what is seen has a resolution", resolution, "say how long with `data.seconds`")
        rates_N = np.asarray(columns["rate"], np.int64)
        rate = _commonest(rates_N, _DEFAULT_RATE)
        channels = channels or _commonest(np.asarray(columns["channels"], np.int64), 1)
        if channels not in (1, 2):
            raise RecipeError("sound has one or two channels", channels, "set `data.channels` to 1 or 2")
        if seconds is not None:
            return SampleSpec(self.name, (channels, max(1, round(seconds * rate))), rate=float(rate))
        duration_N = np.asarray(columns["duration_sec"], np.float64)
        reach = float(np.quantile(duration_N, 0.9)) if len(duration_N) else _MOST_WINDOW_SEC
        length = math.ceil(min(reach, _MOST_WINDOW_SEC) * rate / _WINDOW_VALUES) * _WINDOW_VALUES
        return SampleSpec(self.name, (channels, max(length, _WINDOW_VALUES)), rate=float(rate))

    def shapes(self, columns: dict[str, NDArray[Any]], spec: SampleSpec | None = None) -> list[tuple[int, ...]]:
        """(channels, values) of each sound."""
        pairs = list(zip(columns["num_values"].tolist(), columns["rate"].tolist(), strict=True))
        if spec is None:
            return [(channels, num) for channels, (num, _) in zip(columns["channels"].tolist(), pairs, strict=True)]
        from motherlode.modality.audio.normal import length_at

        return [(spec.shape[0], length_at(num, rate, spec.rate)) for num, rate in pairs]

    def decode(self, media: bytes, spec: SampleSpec) -> NDArray[np.int16]:
        """One file as int16 of `spec.shape`, at `spec.rate`."""
        _need_packages()
        from motherlode.modality.audio.normal import read

        return read(media, spec)

    def encode(self, sample: NDArray[Any], spec: SampleSpec | None = None) -> bytes:
        """A FLAC of one int16 sample (C, T)."""
        _need_packages()
        from motherlode.modality.audio.normal import encode

        return encode(sample, spec)

    def normalise(self, samples: torch.Tensor) -> torch.Tensor:
        """int16 to float32 in [-1, 1)."""
        from motherlode.modality.audio.tensors import normalise

        return normalise(samples)

    def denormalise(self, samples: torch.Tensor) -> torch.Tensor:
        """[-1, 1] to int16, rounded and clamped."""
        from motherlode.modality.audio.tensors import denormalise

        return denormalise(samples)

    def augment(
        self, samples: torch.Tensor, policy: Sequence[str], strength: float, rng: torch.Generator
    ) -> torch.Tensor:
        """Differentiable random augmentation of normalised samples."""
        from motherlode.modality.audio.augment import augment

        return augment(samples, policy, strength, rng)

    def preview(self, samples: torch.Tensor, path: Path, *, columns: int = 0, spec: SampleSpec | None = None) -> Path:
        """A PNG of spectrograms, and beside it a WAV of all sounds one after another."""
        from motherlode.modality.audio.preview import grid

        return grid(samples, path.with_suffix(".png"), columns, spec)

    def contact_sheet(
        self, media: Sequence[bytes], path: Path, *, captions: Sequence[str] = (), columns: int = 0
    ) -> None:
        """Spectrograms of files with captions, broken ones as crossed boxes."""
        from motherlode.modality.audio.preview import contact_sheet

        contact_sheet(media, path, captions, columns)


def _commonest(values_N: NDArray[np.int64], otherwise: int) -> int:
    found, counts = np.unique(values_N[values_N > 0], return_counts=True)
    return int(found[counts.argmax()]) if len(found) else otherwise


def _need_packages() -> None:
    for name in _PACKAGES:
        if find_spec(name) is None:
            raise MissingExtraError("reading sound", "audio")


MODALITY = AudioModality()
