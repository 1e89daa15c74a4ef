"""Batches of token windows as a pure function of (seed, index), cut from documents in random order.

A split's documents, shuffled once by the seed, form a ring; an epoch cuts it into windows of T tokens that share one
token with the next, so that a model that predicts each token from those before it predicts every token once. Each
epoch cuts elsewhere and shuffles its windows anew. Nothing is copied or padded: a window is gathered from the mapped
token file, in any order of documents, at about 1 GB/s. What is traded away is best-fit packing: most windows begin
within a document, without what came before.

Shape legend: B windows, T tokens a window, N documents, G groups of documents with a weight of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from motherlode import tokenizer as tokenizers
from motherlode.data.dataset import Dataset
from motherlode.data.loader import check_batch, positions_of
from motherlode.data.tokens import Packed, open_packed
from motherlode.errors import DatasetError
from motherlode.modality import SampleSpec
from motherlode.randomness import numpy_generator
from motherlode.registry import did_you_mean

_PATTERN = 4096
"""Windows after which the order of the weighted groups repeats: shares are exact to 1 in 4,096."""


class Sequences:
    """Draws windows of tokens; the same calls as `data.loader.Loader`.

    Args:
        dataset: a prepared dataset of texts.
        split: "train" or "heldout".
        spec: of sequences of T tokens.
        seed: decides the order of documents and windows, and the subset.
        batch: windows a draw, over all ranks.
        num_samples: use a random subset of this many documents, in proportion to the sources; smaller ones lie within
            larger ones.
        weights: share of each source in the draws; empty for each in proportion to its tokens.
        rank, world: which part of each batch this process takes.

    Raises:
        DatasetError: too few documents or tokens, an unknown source, or ranks that do not divide the batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: str,
        spec: SampleSpec,
        *,
        seed: int,
        batch: int,
        num_samples: int | None = None,
        weights: Mapping[str, float] | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        check_batch(batch, world)
        if spec.tokens is None:
            raise DatasetError("sequences need a tokenizer", None, "give the spec its tokens")
        self.dataset, self.spec, self.seed = dataset, spec, seed
        self.batch, self.rank, self.world = batch, rank, world
        self.packed = open_packed(dataset, split, tokenizers.load(spec.tokens.folder))
        documents = _subset(self.packed, num_samples, seed)
        self._groups, shares = _grouped(self.packed, documents, weights or {}, spec.shape[0])
        self._pattern, self._before = _interleaved(shares)
        firsts = np.cumsum([0, *(len(group) for group in self._groups)])
        self._firsts = firsts.astype(np.int64)
        self._epoch = lru_cache(maxsize=2 * len(self._groups))(self._permutation)

    def __len__(self) -> int:
        return int(self._firsts[-1])

    @property
    def rows(self) -> NDArray[np.int64]:
        """Numbers of the windows, ascending."""
        return np.arange(len(self))

    @property
    def documents(self) -> NDArray[np.int64]:
        """Numbers of the documents in use, ascending."""
        return np.sort(np.concatenate([group.documents for group in self._groups]))

    @property
    def num_tokens(self) -> int:
        """Unique tokens in use."""
        return sum(group.num_tokens for group in self._groups)

    @property
    def num_documents(self) -> int:
        """Documents in use."""
        return sum(len(group.documents) for group in self._groups)

    def repetition(self, num_windows: int) -> dict[str, float]:
        """Passes over each weighted group (or over all) that so many windows make, by the names of its sources."""
        shares = np.bincount(self._pattern, minlength=len(self._groups)) / len(self._pattern)
        return {
            group.name: float(num_windows * share / len(group)) for group, share in zip(self._groups, shares.tolist())
        }

    def token_counts(self) -> NDArray[np.int64]:
        """How often each token stands in the documents in use, int64 (V,)."""
        assert self.spec.tokens is not None
        counts_V = np.zeros(self.spec.tokens.vocabulary, np.int64)
        for group in self._groups:
            group.count(counts_V)
        return counts_V

    def draw(self, index: int) -> tuple[NDArray[np.int32], None, NDArray[np.int64]]:
        """Batch `index` of an endless stream: epoch after epoch, each window once an epoch, in a fresh order.

        Returns:
            tokens int32 (b, T), None, numbers of the windows int64 (b,); b = batch / world.
        """
        position_B = positions_of(index, self.batch, self.rank, self.world)
        group_B = self._pattern[position_B % len(self._pattern)]
        rounds, places = np.divmod(position_B, len(self._pattern))
        place_B = rounds * self._before[-1][group_B] + self._before[places, group_B]
        tokens_BT = np.empty((len(position_B), self.spec.shape[0]), np.int32)
        row_B = np.empty(len(position_B), np.int64)
        for number in range(len(position_B)):
            group = self._groups[group_B[number]]
            epoch, place = divmod(int(place_B[number]), len(group))
            window = int(self._epoch(int(group_B[number]), epoch)[place])
            group.cut(window, self._offset(int(group_B[number]), epoch), tokens_BT[number])
            row_B[number] = self._firsts[group_B[number]] + window
        return tokens_BT, None, row_B

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> tuple[NDArray[np.int32], None]:
        """Windows by number, as the first epoch cuts them."""
        chosen = np.asarray(rows, np.int64)
        tokens_BT = np.empty((len(chosen), self.spec.shape[0]), np.int32)
        for place, row in enumerate(chosen.tolist()):
            number = int(np.searchsorted(self._firsts, row, "right")) - 1
            self._groups[number].cut(row - int(self._firsts[number]), 0, tokens_BT[place])
        return tokens_BT, None

    def _permutation(self, group: int, epoch: int) -> NDArray[np.int64]:
        rng = numpy_generator(self.seed, f"window order {group}", epoch)
        return rng.permutation(len(self._groups[group]))

    def _offset(self, group: int, epoch: int) -> int:
        """Where an epoch begins to cut: at 0 first, elsewhere later."""
        if not epoch:
            return 0
        return int(numpy_generator(self.seed, f"window offset {group}", epoch).integers(self.spec.shape[0] - 1))


class _Group:
    """Documents in their shuffled order, as a ring of tokens."""

    def __init__(self, name: str, packed: Packed, documents: NDArray[np.int64], length: int) -> None:
        self.name, self.documents = name, documents
        self._tokens_T = packed.tokens_T
        self._starts_N = packed.starts_N1[documents]
        sizes_N = packed.starts_N1[documents + 1] - self._starts_N
        self._ends_N = np.cumsum(sizes_N)
        self.num_tokens = int(self._ends_N[-1]) if len(documents) else 0
        self._stride = length - 1
        if self.num_tokens < length:
            raise DatasetError(
                f"there must be text for one window of {length} tokens",
                f"{name}: {self.num_tokens:,} tokens in {len(documents):,} documents",
                "lower data.length, or prepare more text",
            )

    def __len__(self) -> int:
        return self.num_tokens // self._stride

    def count(self, counts_V: NDArray[np.int64]) -> None:
        """Add how often each token stands in the group."""
        sizes_N = np.diff(self._ends_N, prepend=0)
        count(self._tokens_T, self._starts_N, sizes_N, counts_V)

    def cut(self, window: int, offset: int, out_T: NDArray[np.int32]) -> None:
        """Copy one window."""
        gather(self._tokens_T, self._starts_N, self._ends_N, offset + window * self._stride, out_T)


@numba.njit(cache=True, nogil=True)
def count(tokens_T: Any, starts_N: Any, sizes_N: Any, counts_V: Any) -> None:
    """Add to int64 `counts_V` how often each token stands in stretches of the packed file."""
    for number in range(len(starts_N)):
        for place in range(starts_N[number], starts_N[number] + sizes_N[number]):
            counts_V[tokens_T[place]] += 1


@numba.njit(cache=True, nogil=True)
def gather(tokens_T: Any, starts_N: Any, ends_N: Any, first: int, out_T: Any) -> None:
    """Copy the tokens of a ring of documents from position `first` on.

    Args:
        tokens_T: the packed file.
        starts_N: where in it each document of the ring begins.
        ends_N: where in the ring each document ends, ascending.
        first: position in the ring; beyond its end it begins again.
        out_T: int32, filled.
    """
    position = first % ends_N[-1]
    document = np.searchsorted(ends_N, position, side="right")
    filled = 0
    while filled < len(out_T):
        begin = ends_N[document - 1] if document else 0
        count = min(ends_N[document] - position, len(out_T) - filled)
        source = starts_N[document] + position - begin
        for step in range(count):
            out_T[filled + step] = tokens_T[source + step]
        filled += count
        position += count
        document += 1
        if document == len(ends_N):
            document = 0
            position = 0


def _subset(packed: Packed, num_samples: int | None, seed: int) -> NDArray[np.int64]:
    """Documents in random order; of a subset the first so many, in which every source keeps its share."""
    num = len(packed)
    if num_samples is not None and num_samples > num:
        raise DatasetError("a subset must not be larger than the split", f"{num_samples} of {num}", "lower num_samples")
    shuffled = numpy_generator(seed, "subset").permutation(num)
    if num_samples is None:
        return shuffled
    rank_N = np.empty(num)
    source_N = packed.sources_N[shuffled]
    for source in np.unique(source_N):
        members = shuffled[source_N == source]
        rank_N[members] = (np.arange(len(members)) + 0.5) / len(members)
    return shuffled[np.argsort(rank_N[shuffled], kind="stable")][:num_samples]


def _grouped(
    packed: Packed, documents: NDArray[np.int64], weights: Mapping[str, float], length: int
) -> tuple[list[_Group], NDArray[np.float64]]:
    """A group for each weighted source, and their shares; one for all where there are no weights.

    Raises:
        DatasetError: weights of unknown sources, or of some sources only.
    """
    names = packed.source_names
    if not weights:
        return [_Group("all", packed, documents, length)], np.ones(1)
    for name in weights:
        if name not in names:
            raise DatasetError("data.weights must name sources of the dataset", name, did_you_mean(name, list(names)))
    forgotten = [name for name in names if name not in weights]
    if forgotten or not sum(weights.values()) > 0:
        raise DatasetError(
            "data.weights must weigh every source, one of them above 0",
            f"without a weight: {', '.join(forgotten) or 'none'}",
            "give 0 to a source that shall not be used",
        )
    used = [name for name in names if weights[name] > 0]
    groups = [
        _Group(name, packed, documents[packed.sources_N[documents] == names.index(name)], length) for name in used
    ]
    shares = np.array([weights[name] for name in used])
    return groups, shares / shares.sum()


def _interleaved(shares: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which group each of `_PATTERN` windows comes from, evenly spread; and how many of each came before (P + 1, G)."""
    if len(shares) == 1:
        return np.zeros(1, np.int64), np.array([[0], [1]])
    pattern = np.empty(_PATTERN, np.int64)
    taken = np.zeros(len(shares))
    for place in range(_PATTERN):
        pattern[place] = np.argmax(shares * (place + 1) - taken)
        taken[pattern[place]] += 1
    before = np.zeros((_PATTERN + 1, len(shares)), np.int64)
    np.cumsum(pattern[:, None] == np.arange(len(shares)), axis=0, out=before[1:])
    return pattern, before
