"""What a sample IS. One file or folder a modality; each defines `MODALITY`, an object of the protocol below.

A modality turns the bytes of one kind of file into a normal form, says which samples are unfit and why, fingerprints
them so that duplicates can be found, gives them to a model as arrays, augments them, and shows them to a person.
Everything above this floor works on any modality through these methods alone.

Shape legend: N samples, C channels, H height, W width, K fingerprints a sample, T bytes of a thumbnail, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from motherlode.recipe import Strict
from motherlode.tokenizer import TokenSpace

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class SampleSpec:
    """The shape in which a model sees samples.

    Args:
        modality: registered name, e.g. "image".
        shape: channels first, e.g. (3, 64, 64); (T,) for sequences of T tokens.
        num_labels: size of the label set; 0 when the data has none.
        tokens: set where samples are sequences of tokens; None where they are arrays of values.
        rate: values a second along the last axis of sound, frames a second of moving pictures; 0 where nothing moves.
    """

    modality: str
    shape: tuple[int, ...]
    num_labels: int = 0
    tokens: TokenSpace | None = None
    rate: float = 0.0

    @property
    def counted_in(self) -> tuple[str, int]:
        """What amounts and speeds are told in, and how many of it a sample is: ("tokens", 256), ("samples", 1)."""
        return ("samples", 1) if self.tokens is None else ("tokens", self.shape[0])

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path | None = None) -> SampleSpec:
        """The inverse of `dataclasses.asdict`.

        Args:
            content: what `asdict` gave.
            folder: what a relative tokenizer folder is relative to.
        """
        tokens = content.get("tokens")
        space = TokenSpace(**tokens) if tokens else None
        if space is not None and folder is not None:
            space = replace(space, folder=str(folder / space.folder))
        return cls(content["modality"], tuple(content["shape"]), content["num_labels"], space, content.get("rate", 0.0))


@dataclass(frozen=True)
class Examination:
    """What `Modality.examine` found in N samples; every field is aligned with its input.

    Args:
        media: the normal form as file bytes (a valid file of the modality); the very object received where nothing
            had to change. Kept as received where the sample is dropped.
        reasons: why a sample is dropped ("truncated", "too_small", …), or None where it is fit.
        columns: measured columns, one array of N each (width, height, sharpness, …); they become Parquet columns.
        fingerprints_NK: uint64; samples that look alike differ in few bits in at least one of the K.
        thumbs_NT: uint8; a small picture of each sample, on which near-duplicates are verified.
    """

    media: list[bytes]
    reasons: list[str | None]
    columns: dict[str, NDArray[Any]]
    fingerprints_NK: NDArray[np.uint64]
    thumbs_NT: NDArray[np.uint8]
    notes: dict[str, int] = field(default_factory=dict)


class Modality(Protocol):
    """One kind of sample. Implementations hold no state: two processes may use one at the same time."""

    name: str
    column: str
    """Parquet column of the media: a struct {bytes, path}, which `datasets` and others read as a media feature; plain
    text where `stored` says so."""
    stored: Literal["media", "text"]
    """How the column holds a sample: as a {bytes, path} struct, or as a string with its uri in a column `path`."""
    dtype: str
    """NumPy's name of what `decode` gives: "uint8"; "int16" for sound; token ids are "int32"."""
    ragged: bool
    """Whether samples are of any length, of which a model sees a window; else all are decoded to one shape."""
    suffixes: frozenset[str]
    """File name endings (lower case, with the dot) that a folder source takes."""
    Options: type[Strict]
    """Cleaning thresholds and the normal form; becomes the section `clean` of `prepare`'s options."""
    search: Literal["hamming", "bands"]
    """What fingerprints are: words that differ in few bits where samples are alike, verified on thumbnails; or bands,
    of which samples alike have one in common, verified on what `grams` finds in the samples themselves."""
    max_bits: int
    """Fingerprints of near-duplicates differ in at most this many of 64 bits; of no meaning to bands."""
    augmentations: tuple[str, ...]
    """Alterations after which a sample still is what it was: what `prepare` makes altered copies with by default."""
    similar: float
    """Least similarity (0..1) of verified near-duplicates: what `similarity` finds, or the Jaccard index of `grams`."""
    reasons: Mapping[str, str]
    """Every reason `examine` has to drop a sample, and what it means to a person."""
    outliers: bool
    """Whether `features` tell enough for outliers and label errors to be looked for unasked."""
    max_bytes: int
    """Samples above this are dropped unread, unless the user sets a limit."""
    preload: tuple[str, ...]
    """Modules that `examine` imports: what workers have in common is imported once."""

    def examine(self, media: Sequence[bytes], options: Any) -> Examination:
        """Check, normalise and fingerprint samples. Never raises for a bad sample: it gives it a reason."""
        ...

    def similarity(self, thumbs_a_NT: NDArray[np.uint8], thumbs_b_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How alike the samples behind two aligned sets of thumbnails are, in [0, 1]; mirrored ones count as alike."""
        ...

    def grams(
        self, buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64], length: int | None = None
    ) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Hashes of all runs of `length` tokens of samples that lie one after another; only where `search` is bands.

        Args:
            buffer_B: the samples' bytes, in their normal form.
            offsets_N1: where each begins, and the end of the last.
            length: tokens in a run; None: as many as fingerprints are made of.

        Returns:
            The hashes, one sample after another, and where each sample's begin, with the end of the last.
        """
        ...

    def line_hashes(
        self, buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Hashes of the distinct lines of samples, ascending in each; as `grams`; only where samples are texts."""
        ...

    def without_lines(
        self, buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64], unwanted_L: NDArray[np.uint64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The samples without lines of these hashes (ascending), and where each begins; only where they are texts."""
        ...

    def find_lines(
        self, buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64], wanted_L: NDArray[np.uint64]
    ) -> dict[int, str]:
        """The first line with each of some hashes (ascending), where there is one; only where samples are texts."""
        ...

    def plant(self, media: bytes) -> dict[str, bytes]:
        """Altered copies of one sample of normal form, by the kind of alteration: near-duplicates by definition."""
        ...

    def features(self, thumbs_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Cheap features (N, D) for outliers and label errors, from thumbnails alone."""
        ...

    def spec(
        self,
        columns: dict[str, NDArray[Any]],
        *,
        resolution: int | None,
        channels: int | None,
        seconds: float | None = None,
    ) -> SampleSpec:
        """The shape a model should see, from the dataset's measured columns and what the recipe asks for.

        Args:
            columns: measured by `examine`, of all training rows.
            resolution: side of a picture in pixels.
            channels: of a picture or a sound.
            seconds: length of what moves or sounds.
        """
        ...

    def shapes(self, columns: dict[str, NDArray[Any]], spec: SampleSpec | None = None) -> list[tuple[int, ...]]:
        """Each sample's own shape, channels first, from the measured columns: decoded to it, nothing is lost.

        Args:
            columns: measured by `examine`.
            spec: where samples are ragged: the channels and the rate they are decoded to; None for their own.
        """
        ...

    def decode(self, media: bytes, spec: SampleSpec) -> NDArray[Any]:
        """One sample as `dtype`, of `spec.shape`; a ragged one whole where its last side there is 0."""
        ...

    def encode(self, sample: NDArray[Any], spec: SampleSpec | None = None) -> bytes:
        """The file bytes of one sample, uint8 (C, H, W) or token ids (T,): what `generate` writes.

        Args:
            sample: as `denormalise` gives it.
            spec: needed where samples are tokens, whose tokenizer it names.
        """
        ...

    def normalise(self, samples: torch.Tensor) -> torch.Tensor:
        """Samples of `dtype` to the float32 range models work in, [-1, 1]; token ids to int64."""
        ...

    def denormalise(self, samples: torch.Tensor) -> torch.Tensor:
        """The inverse of `normalise`, rounded and clamped to `dtype`; token ids stay int64."""
        ...

    def augment(
        self, samples: torch.Tensor, policy: Sequence[str], strength: float, rng: torch.Generator
    ) -> torch.Tensor:
        """Random augmentation of normalised samples, differentiable with respect to them.

        Args:
            samples: float (N, C, H, W) in [-1, 1].
            policy: names of augmentations.
            strength: probability in [0, 1] that each augmentation applies to a sample (ADA's p).
            rng: where the randomness comes from.
        """
        ...

    def preview(self, samples: torch.Tensor, path: Path, *, columns: int = 0, spec: SampleSpec | None = None) -> Path:
        """Write normalised samples as one file a person can look at: a grid PNG of images, a page of texts.

        Args:
            samples: normalised.
            path: where to; its ending is replaced by the modality's own.
            columns: of a grid; 0 lets the modality choose.
            spec: needed where samples are tokens.

        Returns:
            The file written.
        """
        ...

    def contact_sheet(
        self, media: Sequence[bytes], path: Path, *, captions: Sequence[str] = (), columns: int = 0
    ) -> None:
        """Write file bytes, broken ones included, as one picture: the card's kept and dropped samples."""
        ...
