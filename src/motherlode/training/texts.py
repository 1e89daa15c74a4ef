"""Where `evaluate` takes texts from: a model that writes them, a packed dataset, or files.

A model's texts and a dataset's are tokens first and text second; files and datasets without a model are text first, and
the numbers in which copies are looked for are those of their words (`measures.language_units`).

Shape legend: N texts, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motherlode import storage
from motherlode.errors import MeasureError, SourceError
from motherlode.families import Family
from motherlode.measures.language_inputs import Search
from motherlode.measures.language_units import numbered, units
from motherlode.randomness import numpy_generator, torch_generator
from motherlode.tokenizer import TokenSpace

if TYPE_CHECKING:
    from motherlode.data.dataset import Dataset
    from motherlode.data.tokens import Packed

_CHUNK = 64
_PIECE_DOCUMENTS = 4096
_AROUND_TOKENS = 60
_ENDINGS = (".txt", ".md")

Decode = Callable[[NDArray[np.int64]], str]


class GeneratedTexts:
    """Texts a family writes; chunk k draws its randomness from (seed, k) alone, so any can be written again.

    Args:
        family: trained.
        space: its tokens.
        decode: tokens to text.
        num: how many.
        seed: of the samples.
        variant: which weights.
        device: where the family lies.
        progress: told which share is written, as they are first asked for.
    """

    identity: dict[str, Any] | None = None

    def __init__(
        self,
        family: Family,
        space: TokenSpace,
        decode: Decode,
        num: int,
        *,
        seed: int,
        variant: str,
        device: str,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        self.description = f"texts of {variant or 'the model'}"
        self._family, self._space, self._decode, self._num = family, space, decode, num
        self._seed, self._variant, self._device, self._progress = seed, variant, device, progress
        self._chunk = lru_cache(maxsize=None)(self._write)

    def __len__(self) -> int:
        return self._num

    def _write(self, chunk: int) -> list[NDArray[np.int64]]:
        rng = torch_generator(self._seed, "evaluate texts", chunk, device=self._device)
        tokens_BT = self._family.sample(_CHUNK, rng=rng, variant=self._variant).cpu().numpy()
        if self._progress:
            self._progress(min(1.0, (chunk + 1) * _CHUNK / self._num))
        return [within(row, self._space) for row in tokens_BT]

    def tokens(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Tokens of each text, special ones left out."""
        return [self._chunk(row // _CHUNK)[row % _CHUNK] for row in rows.tolist()]

    def take(self, rows: NDArray[np.int64]) -> list[str]:
        """The texts."""
        return [self._decode(tokens) for tokens in self.tokens(rows)]


def within(tokens: NDArray[np.int64], space: TokenSpace) -> NDArray[np.int64]:
    """The tokens of the first document of a row: from behind its bos to the next bos or padding."""
    tokens = np.asarray(tokens, np.int64)
    tokens = tokens[1:] if len(tokens) and tokens[0] == space.bos else tokens
    ends = np.flatnonzero((tokens == space.bos) | (tokens == space.pad))
    return tokens[: ends[0]] if len(ends) else tokens


class PackedTexts:
    """The beginnings of documents of a packed split.

    Args:
        packed: the split.
        documents: numbers of those in use.
        decode: tokens to text.
        longest: tokens of a text at most.
        description: what they are.
        identity: plain JSON that decides their content.
    """

    def __init__(
        self,
        packed: Packed,
        documents: NDArray[np.int64],
        decode: Decode,
        longest: int,
        description: str,
        identity: dict[str, Any],
    ) -> None:
        self.description = description
        self.identity: dict[str, Any] | None = {**identity, "longest": longest}
        self._packed, self._documents, self._decode, self._longest = packed, documents, decode, longest

    def __len__(self) -> int:
        return len(self._documents)

    def tokens(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Tokens of each text, its bos left out."""
        return [self._packed.document(number)[1 : 1 + self._longest] for number in self._documents[rows].tolist()]

    def take(self, rows: NDArray[np.int64]) -> list[str]:
        """The texts."""
        return [self._decode(tokens) for tokens in self.tokens(rows)]


def search_packed(
    packed: Packed, documents: NDArray[np.int64], space: TokenSpace, decode: Decode, description: str
) -> Search:
    """The training documents as one stream of tokens, to look for copies in."""
    sizes = packed.starts_N1[documents + 1] - packed.starts_N1[documents]
    ends = np.cumsum(sizes)

    def pieces() -> Iterator[NDArray[Any]]:
        for start in range(0, len(documents), _PIECE_DOCUMENTS):
            part = documents[start : start + _PIECE_DOCUMENTS]
            yield np.concatenate([packed.tokens_T[packed.starts_N1[n] : packed.starts_N1[n + 1]] for n in part])

    def around(origin: int, length: int) -> tuple[str, str, str]:
        place = int(np.searchsorted(ends, origin, "right"))
        document = packed.document(int(documents[place]))
        start = origin - int(ends[place] - sizes[place])
        before = document[max(1, start - _AROUND_TOKENS) : start]
        return (
            decode(before),
            decode(document[start : start + length]),
            decode(document[start + length :][:_AROUND_TOKENS]),
        )

    return Search(pieces, int(ends[-1]) if len(ends) else 0, space.bos, around, description)


class PlainTexts:
    """Texts known as such, in a fixed random order; their numbers are those of their words.

    Args:
        texts: all of them, read as they are asked for.
        known: numbers of words, shared by the pools that belong together.
        description: what they are.
        identity: plain JSON that decides their content.
    """

    def __init__(
        self, texts: Sequence[str], known: dict[str, int], description: str, identity: dict[str, Any] | None
    ) -> None:
        self.description, self.identity = description, identity
        self._texts, self._known = texts, known

    def __len__(self) -> int:
        return len(self._texts)

    def take(self, rows: NDArray[np.int64]) -> list[str]:
        """The texts."""
        found = {row: self._texts[row] for row in sorted(set(rows.tolist()))}
        return [found[row] for row in rows.tolist()]

    def tokens(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Words of each text as numbers."""
        return numbered([units(text) for text in self.take(rows)], self._known)

    def search(self) -> Search:
        """All of the texts as one stream of words, to look for copies in."""
        begins = [0]

        def pieces() -> Iterator[NDArray[Any]]:
            begins[1:] = []
            for text in self._texts:
                words = numbered([units(text)], self._known)[0]
                begins.append(begins[-1] + len(words) + 1)
                yield np.concatenate([[-1], words])

        def around(origin: int, length: int) -> tuple[str, str, str]:
            row = int(np.searchsorted(begins, origin, "right")) - 1
            words = units(self._texts[row])
            start = origin - begins[row] - 1
            parts = (words[max(0, start - _AROUND_TOKENS) : start], words[start : start + length])
            return " ".join(parts[0]), " ".join(parts[1]), " ".join(words[start + length :][:_AROUND_TOKENS])

        return Search(pieces, 0, -1, around, self.description)


def texts_at(path: str | Path, *, split: str, known: dict[str, int]) -> PlainTexts:
    """The texts of a dataset folder (its `split`) or of the files in a folder, one text a file.

    Raises:
        SourceError: there are none.
        MeasureError: the dataset holds no text.
    """
    from motherlode.data.dataset import FACTS, Dataset

    path = Path(path)
    if (path / FACTS).is_file():
        return dataset_texts(Dataset.open(path), split, known)
    if not path.is_dir():
        fix = storage.near_path(path, "a dataset, or a folder of text files")
        raise SourceError("texts to measure must be in a folder", str(path), fix)
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _ENDINGS)
    if not files:
        raise SourceError(
            "there must be text files to measure", str(path), "one text a file, in UTF-8, ending in .txt or .md"
        )
    files = [files[row] for row in numpy_generator(0, "evaluate files").permutation(len(files))]
    digest = storage.hash_bytes("\n".join(storage.hash_file(file) for file in files).encode())
    return PlainTexts(_Files(files), known, f"{len(files):,} files {digest[:12]}", {"files": digest})


def dataset_texts(dataset: Dataset, split: str, known: dict[str, int]) -> PlainTexts:
    """The texts of a split.

    Raises:
        MeasureError: the dataset holds no text, or none in this split.
    """
    from motherlode import registry

    if registry.find("modality", dataset.modality).stored != "text":
        raise MeasureError(
            "texts must be compared with texts", f"{dataset.path}: {dataset.modality}", "give a text dataset"
        )
    texts = _Column(dataset, split)
    if not len(texts):
        raise MeasureError(f"the split {split} must hold texts", str(dataset.path), "give another reference")
    description = f"{split} of dataset {dataset.id[:12]}"
    return PlainTexts(texts, known, description, {"dataset": dataset.id, "split": split})


class _Files(Sequence[str]):
    """The texts of files."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, row: Any) -> Any:
        return self._files[row].read_text(encoding="utf-8", errors="replace")


class _Column(Sequence[str]):
    """The texts of a split; the shard read last is held."""

    def __init__(self, dataset: Dataset, split: str) -> None:
        self._dataset = dataset
        self._shards = [shard for shard in dataset.split(split).shards if shard["rows"]]
        self._ends = np.cumsum([int(shard["rows"]) for shard in self._shards])
        self._texts = lru_cache(maxsize=1)(self._read)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, row: Any) -> Any:
        if not 0 <= row < len(self):
            raise IndexError(row)
        shard = int(np.searchsorted(self._ends, row, "right"))
        return self._texts(shard)[row - int(self._ends[shard])]

    def _read(self, shard: int) -> list[str]:
        from motherlode.data.dataset import read_shard

        path = self._dataset.shard_path(self._shards[shard]["path"])
        return [text for batch in read_shard(path, [self._dataset.column]) for text in batch.column(0).to_pylist()]
