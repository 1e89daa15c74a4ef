"""Where `evaluate` takes samples from: a run that makes them, a prepared dataset, or a folder of files.

Shape legend: N samples, C channels, H height, W width.
"""

from __future__ import annotations

import os
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from motherlode import registry, storage
from motherlode.data.source import is_overview
from motherlode.errors import MeasureError, SourceError
from motherlode.families import Family
from motherlode.modality import Modality, SampleSpec
from motherlode.randomness import numpy_generator, torch_generator

if TYPE_CHECKING:
    from motherlode.data.loader import Loader

_CHUNK = 256
_SPEC_FILES = 256


class Generated:
    """Samples a family makes; chunk k draws its randomness from (seed, k) alone, so any row can be made again.

    Args:
        family: trained.
        modality: turns its output into uint8.
        num: how many there are.
        seed: of the noise.
        variant: which weights.
        device: where the family lies.
        stream: samples of different streams share no randomness.
    """

    identity: dict[str, Any] | None = None

    def __init__(
        self,
        family: Family,
        modality: Modality,
        num: int,
        *,
        seed: int,
        variant: str,
        device: str,
        stream: str = "evaluate",
    ) -> None:
        self.description = f"samples of {variant or 'the model'}"
        self._family, self._modality, self._num = family, modality, num
        self._seed, self._variant, self._device, self._stream = seed, variant, device, stream
        self._chunk = lru_cache(maxsize=4)(self._make)

    def __len__(self) -> int:
        return self._num

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 samples (N, C, H, W)."""
        return np.stack([self._chunk(int(row) // _CHUNK)[int(row) % _CHUNK] for row in rows])

    def _make(self, chunk: int) -> NDArray[np.uint8]:
        rng = torch_generator(self._seed, f"{self._stream} samples", chunk, device=self._device)
        num = min(_CHUNK, self._num - chunk * _CHUNK)
        samples = self._family.sample(num, rng=rng, variant=self._variant)
        if not bool(torch.isfinite(samples).all()):
            raise MeasureError("samples must be finite to be measured", "NaN or infinity", "train again more gently")
        made: NDArray[np.uint8] = self._modality.denormalise(samples).cpu().numpy()
        return made


class Reconstructed:
    """What a family gives back of real samples, row by row.

    Args:
        family: trained; reconstructs.
        modality: turns its output into integers.
        real: what is given to it.
        device: where the family lies.
    """

    identity: dict[str, Any] | None = None

    def __init__(self, family: Family, modality: Modality, real: Decoded | Files, *, device: str) -> None:
        self.description = f"reconstructions of {real.description}"
        self._family, self._modality, self._real, self._device = family, modality, real, device

    def __len__(self) -> int:
        return len(self._real)

    def _normal(self, rows: NDArray[np.int64]) -> torch.Tensor:
        samples = torch.from_numpy(np.ascontiguousarray(self._real.take(rows)))
        return self._modality.normalise(samples).to(self._device)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Samples of the modality's dtype (N, *shape)."""
        samples = self._family.reconstruct(self._normal(rows))
        assert samples is not None
        made: NDArray[np.uint8] = self._modality.denormalise(samples).cpu().numpy()
        return made

    def code_counts(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """How often each sample has each code, (N, K), of each quantiser; [] where the family makes no codes."""
        space = self._family.code_space
        if space is None:
            return []
        codes = self._family.codes(self._normal(rows)).flatten(1, -2).cpu()
        counts = [torch.zeros(len(rows), size, dtype=torch.int64) for size in space.sizes]
        for number, count in enumerate(counts):
            count.scatter_add_(1, codes[..., number], torch.ones_like(codes[..., number]))
        return [count.numpy() for count in counts]


class Decoded:
    """Samples of a prepared dataset.

    Args:
        loader: of one split.
        split: its name.
    """

    def __init__(self, loader: Loader, split: str) -> None:
        self.description = f"{split} of dataset {loader.dataset.id[:12]}"
        self.spec = loader.spec
        self._loader, self._rows = loader, loader.rows
        self.identity: dict[str, Any] | None = {
            "dataset": loader.dataset.id,
            "split": split,
            "shape": list(loader.spec.shape),
            "subset": storage.hash_bytes(np.ascontiguousarray(self._rows).tobytes()),
        }

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 samples (N, C, H, W)."""
        return self._loader.take(self._rows[rows])[0]


class Files:
    """Files of one modality in a folder and its sub-folders, in a fixed random order.

    Args:
        folder: where they lie.
        modality: decodes them.
        spec: the shape to decode to; None finds it as `prepare` would.

    Raises:
        SourceError: there is no such folder, or it holds no file of the modality.
    """

    def __init__(self, folder: str | Path, modality: Modality, spec: SampleSpec | None = None) -> None:
        folder = Path(folder)
        beside = cache(os.listdir)
        paths = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in modality.suffixes and not is_overview(path.name, beside(path.parent))
        )
        if not paths:
            endings = ", ".join(sorted(modality.suffixes))
            raise SourceError(
                f"there must be {modality.name} files to measure", str(folder), f"files ending in {endings}"
            )
        self._paths = [paths[row] for row in numpy_generator(0, "evaluate files").permutation(len(paths))]
        self._modality = modality
        hashes = [storage.hash_file(path) for path in self._paths]
        digest = storage.hash_bytes("\n".join(hashes).encode())
        self.description = f"{len(paths):,} files {digest[:12]}"
        self.spec = spec or self._find_spec()
        self.identity: dict[str, Any] | None = {"files": digest, "shape": list(self.spec.shape)}

    def __len__(self) -> int:
        return len(self._paths)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 samples (N, C, H, W)."""
        return np.stack([self._decode(self._paths[int(row)]) for row in rows])

    def _decode(self, path: Path) -> NDArray[np.uint8]:
        try:
            return self._modality.decode(path.read_bytes(), self.spec)
        except (OSError, ValueError) as error:
            raise SourceError("files to be measured must be readable", f"{path}: {error}", "remove it") from error

    def _find_spec(self) -> SampleSpec:
        media = [path.read_bytes() for path in self._paths[:_SPEC_FILES]]
        columns = self._modality.examine(media, self._modality.Options()).columns
        return self._modality.spec(columns, resolution=None, channels=None)


def pool_at(path: str | Path, *, split: str, modality: str, spec: SampleSpec | None = None) -> Decoded | Files:
    """The samples of a dataset folder (its `split`) or of a folder of files.

    Raises:
        SourceError: neither is there.
    """
    from motherlode.data.dataset import FACTS, Dataset
    from motherlode.data.loader import Loader

    path = Path(path)
    if (path / FACTS).is_file():
        dataset = Dataset.open(path)
        return Decoded(Loader(dataset, split, spec or dataset.spec(), seed=0, batch=1), split)
    if not path.is_dir():
        fix = storage.near_path(path, "a dataset, or a folder of files")
        raise SourceError("samples to measure must be in a folder", str(path), fix)
    return Files(path, registry.find("modality", modality), spec)
