"""Text. Everything heavy is imported by the method that needs it, so that finding this modality costs nothing.

Shape legend: N samples, T bytes of a thumbnail (none: texts are compared themselves), L tokens of a window, B bytes, K
bands, G runs of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import DatasetError, RecipeError
from motherlode.modality import Examination, SampleSpec
from motherlode.modality.text.options import REASONS, Clean

if TYPE_CHECKING:
    import torch

DEFAULT_LENGTH = 256
_PROSE = (".txt", ".text", ".md", ".markdown", ".mdown", ".rst", ".tex", ".org", ".adoc", ".log")
_PAGES = (".html", ".htm", ".xhtml", ".pdf", ".epub")
_CODE = tuple(
    f".{ending}"
    for line in (
        "py pyi c h cc cpp cxx hpp hh cu js mjs jsx ts tsx go rs java kt scala swift m rb pl pm php lua r jl hs ml mli",
        "clj ex exs erl el lisp scm sh bash zsh fish ps1 sql css scss vue svelte cs fs vb dart zig nim asm s f90 for",
        "proto cmake mk gradle tf toml ini cfg yaml yml",
    )
    for ending in line.split()
)


class TextModality:
    """Implements `motherlode.modality.Modality` for documents; each method is documented there."""

    name = "text"
    column = "text"
    stored = "text"
    dtype = "int32"
    ragged = False
    suffixes = frozenset((*_PROSE, *_PAGES, *_CODE))
    Options = Clean
    search = "bands"
    max_bits = 0
    augmentations = ()
    similar = 0.75
    reasons = REASONS
    outliers = False
    max_bytes = 32 << 20
    preload = ("motherlode.modality.text.ready",)

    def examine(self, media: Sequence[bytes], options: Clean) -> Examination:
        """Decode, clean, judge and fingerprint documents; see `examine.examine`."""
        from motherlode.modality.text.examine import examine

        return examine(media, options)

    def similarity(self, thumbs_a_NT: NDArray[np.uint8], thumbs_b_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Nothing is known from empty thumbnails: likeness of texts is the Jaccard index of their `grams`.

        Raises:
            DatasetError: always; `search` says that texts are found by bands.
        """
        raise DatasetError("texts are compared by their runs of words", "thumbnails", "use `grams`")

    def grams(
        self, buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64], length: int | None = None
    ) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Hashes of all runs of `length` words, and where each document's begin."""
        from motherlode.modality.text import shingles

        return shingles.gram_hashes(buffer_B, offsets_N1, length or shingles.SHINGLE_TOKENS)

    def line_hashes(
        self, buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Hashes of the distinct lines of documents, ascending in each."""
        from motherlode.modality.text import lines

        return lines.line_hashes(buffer_B, offsets_N1)

    def without_lines(
        self, buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64], unwanted_L: NDArray[np.uint64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The documents without some of their lines."""
        from motherlode.modality.text import lines

        return lines.without_lines(buffer_B, offsets_N1, unwanted_L)

    def find_lines(
        self, buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64], wanted_L: NDArray[np.uint64]
    ) -> dict[int, str]:
        """The first line with each of some hashes."""
        from motherlode.modality.text import lines

        return lines.find_lines(buffer_B, offsets_N1, wanted_L)

    def plant(self, media: bytes) -> dict[str, bytes]:
        """Copies with words changed, a paragraph left out, a frame around, in capitals, on other lines."""
        from motherlode.modality.text.plant import plant

        return plant(media)

    def features(self, thumbs_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
        """None: (N, 0)."""
        return np.zeros((len(thumbs_NT), 0), np.float32)

    def spec(
        self,
        columns: dict[str, NDArray[Any]],
        *,
        resolution: int | None,
        channels: int | None,
        seconds: float | None = None,
    ) -> SampleSpec:
        """Windows of `resolution` tokens; which tokens they are is known once a tokenizer is."""
        return SampleSpec(self.name, (resolution or DEFAULT_LENGTH,))

    def shapes(self, columns: dict[str, NDArray[Any]], spec: SampleSpec | None = None) -> list[tuple[int, ...]]:
        """(characters,) of each document."""
        return [(int(number),) for number in columns["characters"].tolist()]

    def decode(self, media: bytes, spec: SampleSpec) -> NDArray[Any]:
        """The first tokens of one document, int32 (L,), filled with padding; training packs documents instead."""
        from motherlode import tokenizer
        from motherlode.modality.text import preview

        space = _tokens(spec)
        ids = tokenizer.load(space.folder).encode([media.decode("utf-8", errors="replace")])[0]
        return preview.cut(ids, spec.shape[0], space.pad)

    def encode(self, sample: NDArray[Any], spec: SampleSpec | None = None) -> bytes:
        """The UTF-8 text of token ids (L,), special ones left out."""
        from motherlode import tokenizer

        return tokenizer.load(_tokens(spec).folder).decode(np.asarray(sample).ravel().tolist()).encode()

    def normalise(self, samples: torch.Tensor) -> torch.Tensor:
        """Token ids as int64."""
        return samples.long()

    def denormalise(self, samples: torch.Tensor) -> torch.Tensor:
        """Token ids as int64."""
        return samples.long()

    def augment(
        self, samples: torch.Tensor, policy: Sequence[str], strength: float, rng: torch.Generator
    ) -> torch.Tensor:
        """Not for texts.

        Raises:
            RecipeError: the policy is not empty.
        """
        if policy:
            raise RecipeError("texts cannot be augmented while training", list(policy), "leave out data.augment")
        return samples

    def preview(self, samples: torch.Tensor, path: Path, *, columns: int = 0, spec: SampleSpec | None = None) -> Path:
        """A text file of the samples, a ruler before each."""
        from motherlode.modality.text import preview

        return preview.write([self.encode(row, spec).decode() for row in samples.cpu().numpy()], path)

    def contact_sheet(
        self, media: Sequence[bytes], path: Path, *, captions: Sequence[str] = (), columns: int = 0
    ) -> None:
        """A text file of excerpts with captions."""
        from motherlode.modality.text import preview

        preview.contact_sheet(media, path, captions)


def _tokens(spec: SampleSpec | None) -> Any:
    """The tokens a specification names.

    Raises:
        DatasetError: it names none.
    """
    if spec is None or spec.tokens is None:
        raise DatasetError("texts become samples through a tokenizer", spec, "give a spec whose `tokens` are set")
    return spec.tokens


MODALITY = TextModality()
