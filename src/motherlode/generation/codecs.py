"""A field's codec, both ways: media to tokens as training made them, and tokens back to media.

A run over fields holds a copy of each codec in `codecs/<field>/`, so that its folder generates alone. Media are decoded
one sample at a time, so that a sample does not depend on its neighbours; a picture of 28 x 28 takes some milliseconds.

Shape legend: T tokens, P places, Q quantisers, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motherlode import storage
from motherlode.errors import MotherlodeError, RecipeError
from motherlode.fields import Field

if TYPE_CHECKING:
    from motherlode.modality import Modality, SampleSpec
    from motherlode.training.codes import Codec
    from motherlode.training.run import Run

CODECS = "codecs"


@dataclass(frozen=True)
class FieldCodec:
    """A field of codes, and the model that gives them meaning.

    Args:
        field: of the layout.
        codec: whose codes they are.
    """

    field: Field
    codec: Codec

    @classmethod
    def open(cls, run: Run, field: Field) -> FieldCodec:
        """The codec of a field in a run's folder.

        Raises:
            RecipeError: there is none, or not the one of the run's codes.
        """
        from motherlode.training.codes import Codec

        folder = run.path / CODECS / field.name
        fix = f"copy the codec's run to {folder}: recipe.yaml, run.json, and the best checkpoint"
        if not folder.is_dir():
            raise RecipeError("a run over fields must hold its codecs", f"no {folder}", fix)
        codec = Codec.open(folder, field.name)
        if codec.space.sizes != field.sizes:
            raise RecipeError(
                f"{field.name} needs a codec of codes {field.sizes}", f"{folder}: {codec.space.sizes}", fix
            )
        return cls(field, codec)

    @property
    def modality(self) -> Modality:
        """What its samples are."""
        return self.codec.run.modality

    @property
    def spec(self) -> SampleSpec:
        """The shape of its samples."""
        return self.codec.run.spec

    def media(self, tokens_T: NDArray[Any]) -> NDArray[Any]:
        """The sample of a field's tokens, (C, *size) of the modality's dtype."""
        return self.samples(self.field.codes_of(tokens_T))

    def samples(self, codes_PQ: NDArray[np.int64]) -> NDArray[Any]:
        """The sample of codes (*places, Q), (C, *size) of the modality's dtype."""
        import torch

        found: NDArray[Any] = self.modality.denormalise(torch.from_numpy(self.normalised(codes_PQ[None])))[0].numpy()
        return found

    def normalised(self, codes_NPQ: NDArray[np.int64]) -> NDArray[np.float32]:
        """Samples of codes (N, *places, Q) in the range that the codec works in, float32 (N, C, *size)."""
        import torch

        family = self.codec.family
        with torch.inference_mode():
            normal = family.from_codes(torch.from_numpy(codes_NPQ).to(next(family.parameters()).device))
            found: NDArray[np.float32] = normal.float().cpu().numpy()
        return found

    def tokens(self, sample: NDArray[Any]) -> NDArray[np.int64]:
        """The tokens of a sample of the modality's dtype, (C, *size)."""
        return self.field.tokens_of(self.codec.codes([sample])[0]).astype(np.int64)

    def read(self, path: str | Path) -> NDArray[np.int64]:
        """The tokens of a file.

        Raises:
            RecipeError: the file cannot be read as what the field is.
        """
        try:
            return self.codec.tokens_of(self.field, Path(path).read_bytes()).astype(np.int64)
        except (OSError, ValueError, MotherlodeError) as error:
            raise RecipeError(
                f"{self.field.name} must be a file of {self.spec.modality}",
                str(path),
                storage.why_unreadable(error, path),
            ) from error

    def encode(self, sample: NDArray[Any]) -> bytes:
        """The file bytes of a sample."""
        return self.modality.encode(sample, self.spec)

    def preview(self, samples: Iterable[NDArray[Any]], path: Path) -> Path:
        """Samples as one file that a person looks at, shorter ones padded to the longest."""
        import torch

        arrays = list(samples)
        longest = max(sample.shape[-1] for sample in arrays)
        padded = [np.pad(one, [(0, 0)] * (one.ndim - 1) + [(0, longest - one.shape[-1])]) for one in arrays]
        normal = self.modality.normalise(torch.from_numpy(np.stack(padded)))
        return self.modality.preview(normal, path, spec=self.spec)
