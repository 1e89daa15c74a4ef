"""A codec: a finished run with a codebook, and the codes it makes of every sample of a dataset, made once.

Codes are made in pieces of 1,024 samples and kept beside the dataset under a key of its rows and of the codec's
weights, so that another codec never finds them, a killed making goes on at its piece, and a million samples need no
more memory than a thousand. Samples of any length are coded whole: zeros fill them to a multiple of the stride, and
only samples of equal length share a batch, so that none sees another's padding. What it costs is two bytes a code
(four where a quantiser has more than 65,536).

Shape legend: N samples, T codes in all, Q quantisers.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from motherlode import storage
from motherlode.data.loader import cache_home, whole_samples
from motherlode.data.pieces import open_pieces
from motherlode.errors import RecipeError
from motherlode.families import CodeSpace, Family
from motherlode.fields import Field

if TYPE_CHECKING:
    from motherlode.data.dataset import Dataset
    from motherlode.training.run import Run

PIECE_SAMPLES = 1024
_BATCH_SAMPLES = 64
_BATCH_VALUES = 1 << 22
SPLITS = ("train", "heldout")


@dataclass(frozen=True)
class Codec:
    """A run whose family makes codes.

    Args:
        run: finished.
    """

    run: Run

    @classmethod
    def open(cls, folder: str | Path, name: str) -> Codec:
        """Open a run as a codec.

        Args:
            folder: the run's.
            name: of the field that names it, for messages.

        Raises:
            RecipeError: there is no run, it has not finished, or its family makes no codes.
        """
        from motherlode.training.driver import FACTS
        from motherlode.training.run import Run

        where = f"data.fields.{name}.codec"
        if not (Path(folder) / FACTS).is_file():
            raise RecipeError(
                f"{where} must be the folder of a run",
                str(folder),
                storage.near_path(folder, "train the codec first"),
            )
        run = Run.open(folder)
        if run.facts["status"] != "finished":
            raise RecipeError(
                f"{where} must have finished: later weights make other codes",
                f"{folder}: {run.facts['status']}",
                "train it to its end, or give it a smaller budget",
            )
        codec = cls(run)
        if codec.run.spec.tokens is not None or codec.family.code_space is None:
            raise RecipeError(
                f"{where} must be a run of a family with a codebook",
                f"{folder}: {run.facts['family']}",
                "train an autoencoder with a codebook (vq, rvq, fsq)",
            )
        return codec

    @cached_property
    def family(self) -> Family:
        """Its best weights, on the device it was trained on where this machine has it."""
        import torch

        return self.run.load("best", device="cuda" if torch.cuda.is_available() else "cpu").eval()

    @property
    def space(self) -> CodeSpace:
        """Its codes."""
        space = self.family.code_space
        assert space is not None
        return space

    @property
    def is_ragged(self) -> bool:
        """Whether its samples, and so their codes, are of any length."""
        return self.run.modality.ragged

    @cached_property
    def digest(self) -> str:
        """Hash of all that decides the codes: weights, shape of samples, options of the family."""
        from motherlode.training.checkpoint import MODEL

        content = [
            storage.hash_file(self.run.checkpoint("best") / MODEL),
            asdict(self.run.spec),
            self.run.recipe.model_dump(mode="json")["model"],
        ]
        return storage.hash_bytes(json.dumps(content, sort_keys=True).encode())

    def codes(self, samples: Sequence[NDArray[Any]]) -> list[NDArray[np.int64]]:
        """Codes (*places, Q) of samples of the modality's `dtype`, each (C, *size), in their order."""
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        padded = [_padded(np.asarray(sample), self.space.stride) for sample in samples]
        for number, sample in enumerate(padded):
            by_shape[sample.shape].append(number)
        found: dict[int, NDArray[np.int64]] = {}
        for shape, numbers in by_shape.items():
            size = max(1, min(_BATCH_SAMPLES, _BATCH_VALUES // max(1, int(np.prod(shape)))))
            for first in range(0, len(numbers), size):
                part = numbers[first : first + size]
                found |= zip(part, self._code(np.stack([padded[number] for number in part])))
        return [found[number] for number in range(len(samples))]

    def _code(self, samples: NDArray[Any]) -> NDArray[np.int64]:
        import torch

        device = next(self.family.parameters()).device
        with torch.no_grad():
            normalised = self.run.modality.normalise(torch.from_numpy(samples).to(device))
            codes: NDArray[np.int64] = self.family.codes(normalised).cpu().numpy()
        return codes

    def tokens_of(self, field: Field, media: bytes) -> NDArray[np.int32]:
        """Tokens of a field, int32 (T,), of the file bytes of one sample."""
        spec = self.run.spec
        spec = replace(spec, shape=(*spec.shape[:-1], 0)) if self.is_ragged else spec
        return field.tokens_of(self.codes([self.run.modality.decode(media, spec)])[0])


def _padded(sample: NDArray[Any], stride: Sequence[int]) -> NDArray[Any]:
    """A sample whose every axis is a positive multiple of the stride, zeros at its end."""
    wanted = [-(-max(size, 1) // step) * step for size, step in zip(sample.shape[1:], stride)]
    if list(sample.shape[1:]) == wanted:
        return sample
    return np.pad(sample, [(0, 0), *((0, end - size) for size, end in zip(sample.shape[1:], wanted))])


def open_codes(dataset: Dataset, codec: Codec) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Codes of every row of a dataset, of the training split and then of the held-out one.

    Returns:
        codes (T,), mapped, sample after sample, all quantisers of a place in order; int64 (N,), how many each row has.

    Raises:
        StorageError: the disk is full.
    """
    content = [dataset.id, codec.digest, [shard["path"] for name in SPLITS for shard in dataset.split(name).shards]]
    key = storage.hash_bytes(json.dumps(content).encode())[:12]
    dtype = np.uint16 if max(codec.space.sizes) <= 1 << 16 else np.uint32
    # Opened once, by the first piece that is missing: opening hashes the whole split.
    opened = lru_cache(maxsize=len(SPLITS))(lambda split: whole_samples(dataset, split, codec.run.spec))
    pieces = [
        partial(_code_piece, codec, partial(opened, split), first, dtype)
        for split in SPLITS
        for first in range(0, len(dataset.split(split)), PIECE_SAMPLES)
    ]
    values_T, columns = open_pieces(cache_home(dataset) / f"codes-{key}", dtype, pieces)
    return values_T, columns[0]


def _code_piece(
    codec: Codec, opened: Callable[[], Sequence[Any]], first: int, dtype: type[np.generic], file: BinaryIO
) -> list[list[int]]:
    samples = opened()
    rows = range(first, min(first + PIECE_SAMPLES, len(samples)))
    counts = []
    for codes in codec.codes([samples[row] for row in rows]):
        codes.astype(dtype).tofile(file)
        counts.append(codes.size)
    return [counts]
