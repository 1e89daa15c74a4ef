"""A split as one file of token ids, and the tokenizer that made it.

Documents are tokenised once, shard by shard, into a flat array on disk (two bytes a token, four beyond 65,536 ids),
each behind the token that begins a document; training maps it. A killed packing takes up at the shard it was at. The
tokenizer is trained on the training split alone (a random 32 MB of it where there is more), so that held-out text
stays unseen. What it costs is room: about half of the text again.

Shape legend: N documents, T tokens in all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from motherlode import storage
from motherlode import tokenizer as tokenizers
from motherlode.data.dataset import Dataset, read_shard
from motherlode.data.loader import cache_home
from motherlode.data.pieces import open_pieces
from motherlode.errors import DatasetError, LockedError
from motherlode.randomness import numpy_generator
from motherlode.recipe import DataOptions
from motherlode.tokenizer import Tokenizer

TRAINED_ON_BYTES = 32 << 20
"""Text a tokenizer is trained on at most: twice as much changed bytes per token by less than 0.5 %."""
_BATCH_ROWS = 256
_LEAST_SHARE = 0.01
_WAIT_SEC = 0.2


@dataclass(frozen=True)
class Packed:
    """The tokens of a split.

    Args:
        tokens_T: uint16 or uint32, mapped from disk.
        starts_N1: int64 (N + 1,), where each document begins (at its bos) and the last one ends.
        num_bytes_N: int64, UTF-8 bytes of each document.
        sources_N: int32, index into `source_names`.
        source_names: in the order of the dataset's.
    """

    tokens_T: NDArray[Any]
    starts_N1: NDArray[np.int64]
    num_bytes_N: NDArray[np.int64]
    sources_N: NDArray[np.int32]
    source_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.num_bytes_N)

    @property
    def num_tokens(self) -> int:
        """Tokens in all, one a document for its beginning included."""
        return int(self.starts_N1[-1])

    def document(self, number: int) -> NDArray[np.int64]:
        """The tokens of one document, its bos first."""
        return self.tokens_T[self.starts_N1[number] : self.starts_N1[number + 1]].astype(np.int64)


def find_tokenizer(dataset: Dataset, options: DataOptions) -> Tokenizer:
    """The tokenizer a recipe names; `auto` trains one on the training split, once a dataset and vocabulary.

    Raises:
        DatasetError: no such folder, or the text cannot fill the vocabulary.
    """
    if options.tokenizer != "auto":
        return tokenizers.load(options.tokenizer)
    key = storage.hash_bytes(json.dumps([dataset.id, options.vocabulary, tokenizers.SPECIAL]).encode())[:12]
    folder = cache_home(dataset) / f"tokenizer-{options.vocabulary}-{key}"
    return train_once(folder, options.vocabulary, lambda: _sampled(dataset))


def train_once(folder: Path, vocabulary: int, texts: Callable[[], Iterable[str]]) -> Tokenizer:
    """The tokenizer of a folder, trained on these texts where that was not done before; a second process waits.

    Raises:
        DatasetError: the text cannot fill the vocabulary.
    """
    while not (folder / tokenizers.FILE).is_file():
        try:
            with storage.lock(folder):
                if not (folder / tokenizers.FILE).is_file():
                    tokenizers.train(texts(), vocabulary, folder)
        except LockedError:
            time.sleep(_WAIT_SEC)
    return tokenizers.load(folder)


def _sampled(dataset: Dataset) -> Iterator[str]:
    """Training documents in their order: all of them, or a random share of about `TRAINED_ON_BYTES`."""
    split = dataset.split("train")
    total_bytes = sum(shard["media_bytes"] for shard in split.shards)
    share = min(1.0, TRAINED_ON_BYTES / max(total_bytes, 1))
    for number, batch in enumerate(split.batches([dataset.column], _BATCH_ROWS)):
        texts = batch.column(dataset.column).to_pylist()
        chosen = numpy_generator(0, "tokenizer documents", number).random(len(texts)) < share
        yield from (text for text, wanted in zip(texts, chosen.tolist()) if wanted)


def describe(dataset: Dataset, tokenizer: Tokenizer) -> dict[str, Any]:
    """How a tokenizer fits a dataset's held-out text (its training text, where none is held out).

    Returns:
        vocabulary; bytes_per_token; fertility: tokens a word in each language of at least 1 % of the words, where the
        dataset knows languages (a word of Chinese, Japanese or Korean is a character).
    """
    split = "heldout" if len(dataset.split("heldout")) else "train"
    packed = open_packed(dataset, split, tokenizer)
    tokens_N = np.diff(packed.starts_N1) - 1
    found: dict[str, Any] = {
        "vocabulary": len(tokenizer),
        "bytes_per_token": float(packed.num_bytes_N.sum() / max(int(tokens_N.sum()), 1)),
        "fertility": {},
    }
    if {"language", "words"} <= set(dataset.facts["measured"]):
        languages_N, words_N = (dataset.split(split).column(name) for name in ("language", "words"))
        for language in sorted(set(languages_N.tolist())):
            here = languages_N == language
            if words_N[here].sum() >= _LEAST_SHARE * words_N.sum() > 0:
                found["fertility"][language] = float(tokens_N[here].sum() / words_N[here].sum())
    return found


def open_packed(dataset: Dataset, split: str, tokenizer: Tokenizer) -> Packed:
    """The tokens of a split, packed where that was not done before, or not finished.

    Raises:
        DatasetError: the split is empty.
        CorruptError: a shard is not as it was written.
        StorageError: the disk is full.
    """
    if not len(dataset.split(split)):
        raise DatasetError(
            f"the split {split} must hold rows", str(dataset.path), "prepare with another share held out"
        )
    return open_texts(dataset, (split,), tokenizer, dataset.column)


def open_texts(dataset: Dataset, splits: Sequence[str], tokenizer: Tokenizer, column: str) -> Packed:
    """The tokens of a column of texts, of the rows of one split after those of another; see `open_packed`.

    Where a row has no text, its document is `bos` alone.
    """
    shards = [shard for split in splits for shard in dataset.split(split).shards if shard["rows"]]
    content = [dataset.id, list(splits), tokenizer.digest, shards, column]
    key = storage.hash_bytes(json.dumps(content, sort_keys=True).encode())[:12]
    names = list(dataset.facts["sources"])
    pieces = [partial(_pack_shard, dataset, shard["path"], tokenizer, names, column) for shard in shards]
    folder = cache_home(dataset) / f"tokens-{'-'.join(splits)}-{key}"
    tokens_T, columns = open_pieces(folder, _dtype(tokenizer), pieces)
    starts_N1 = np.concatenate([[0], np.cumsum(columns[0])]).astype(np.int64)
    return Packed(tokens_T, starts_N1, columns[1], columns[2].astype(np.int32), tuple(names))


def _pack_shard(
    dataset: Dataset, shard: str, tokenizer: Tokenizer, names: list[str], column: str, file: BinaryIO
) -> list[list[int]]:
    """Write one shard's tokens; returns tokens, bytes and source of each document."""
    bos = tokenizer.space().bos
    counts: list[list[int]] = [[], [], []]
    for batch in read_shard(dataset.shard_path(shard), [column, "source"], _BATCH_ROWS):
        texts = [text or "" for text in batch.column(column).to_pylist()]
        for ids in tokenizer.encode(texts):
            np.concatenate([[bos], ids]).astype(_dtype(tokenizer)).tofile(file)
            counts[0].append(len(ids) + 1)
        counts[1] += [len(text.encode()) for text in texts]
        counts[2] += [names.index(source) for source in batch.column("source").to_pylist()]
    return counts


def _dtype(tokenizer: Tokenizer) -> type[np.generic]:
    return np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32
