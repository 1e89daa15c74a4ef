"""Batches of windows of whole documents, each put together from the fields of one row for one task.

A document of a row is `bos`, then each field of the task between its marks (`Layout.document`). Each epoch every row
becomes one document, for a task drawn by weight among those it has the fields for; its given fields are left empty now
and then, so that the model also learns what it makes of nothing. Documents are packed whole in random order, each into
the fullest of 128 open windows that has room, and the rest of a window is padding: documents of 3 to 59 tokens (even)
leave .5 % of windows of 128 empty, of 9 to 119 tokens 1.1 %, where first-fit left 3.2 % of the former. Nothing but the
numbers of an epoch's documents is held, 19 bytes a row; tokens and codes stay in mapped files. What is traded away: a
document longer than the window is left out (and counted), and to find an epoch all before it are packed once (about
20 ms for 60,000 rows).

Shape legend: N rows of the split, D documents of an epoch, W windows, F fields, K tasks, T tokens of a window.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from motherlode.data.loader import check_batch, positions_of
from motherlode.errors import DatasetError
from motherlode.fields import Field, Layout
from motherlode.modality import SampleSpec
from motherlode.randomness import numpy_generator

_OPEN = 128
"""Windows that documents are fitted into at a time."""
TOO_LONG = "too long"


@dataclass(frozen=True)
class Part:
    """One field of every row.

    Args:
        field: which.
        values_T: token ids of text, or numbers of labels or codes; one row's after another's, mapped from disk.
        starts_N: int64, where in it each row's begin.
        counts_N: int64, how many they are; -1 where a row has none.
    """

    field: Field
    values_T: NDArray[Any]
    starts_N: NDArray[np.int64]
    counts_N: NDArray[np.int64]

    def tokens(self, row: int) -> NDArray[np.int32]:
        """The field's tokens of a row, without its marks."""
        first = int(self.starts_N[row])
        values = self.values_T[first : first + max(int(self.counts_N[row]), 0)]
        return values.astype(np.int32) if self.field.kind == "text" else self.field.tokens_of(values)


@dataclass(frozen=True)
class _Epoch:
    """What an epoch's windows hold.

    Args:
        rows_D, tasks_D, bare_D: row, task, and whether the given fields are left empty, of each document, window after
            window.
        starts_W1: where in them each window begins.
        order_W: in which the windows are drawn.
    """

    rows_D: NDArray[np.int64]
    tasks_D: NDArray[np.int8]
    bare_D: NDArray[np.bool_]
    starts_W1: NDArray[np.int64]
    order_W: NDArray[np.int64]


class Compositions:
    """Draws windows of documents; the same calls as `data.sequences.Sequences`.

    Args:
        parts: of every field, aligned by row.
        layout: of the tokens.
        spec: of sequences of T tokens.
        seed: decides tasks, order and subset.
        batch: windows a draw, over all ranks.
        drop_given: share of documents whose given fields are left empty.
        num_samples: use a random subset of this many rows; smaller ones lie within larger ones.
        rank, world: which part of each batch this process takes.

    Attributes:
        dropped: rows that no task can use, by reason.

    Raises:
        DatasetError: no row makes a document that fits, more samples are wanted than there are, or ranks do not divide
            the batch.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        layout: Layout,
        spec: SampleSpec,
        *,
        seed: int,
        batch: int,
        drop_given: float = 0.0,
        num_samples: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        check_batch(batch, world)
        if spec.tokens is None:
            raise DatasetError("documents need a tokenizer", None, "give the spec its tokens")
        self.layout, self.spec, self.seed = layout, spec, seed
        self.batch, self.rank, self.world = batch, rank, world
        self.parts = {part.field.name: part for part in parts}
        self._space, self._drop_given = spec.tokens, drop_given
        self._weights_K = np.array([task.weight for task in layout.tasks], np.float64)
        self._given_K = np.array([bool(task.given) for task in layout.tasks])
        self._able_NK, self.dropped = self._examine()
        usable = np.flatnonzero((self._able_NK & (self._weights_K > 0)).any(1))
        self._rows = _subset(usable, num_samples, seed)
        self._epoch = lru_cache(maxsize=3)(self._pack)
        self._ends: list[int] = []
        self._lock = threading.Lock()

    # -------------------------------------------------------------------------------------------------------- documents

    def sizes(self, task: int, *, bare: bool = False) -> NDArray[np.int64]:
        """Tokens of each row's document for a task, int64 (N,); 0 where the row lacks a field.

        Args:
            task: number of it.
            bare: with its given fields left empty.
        """
        wanted = self.layout.tasks[task]
        total_N, has_N = np.ones(self._num_rows, np.int64), np.ones(self._num_rows, bool)
        for name in wanted.order:
            counts_N = self.parts[name].counts_N
            has_N &= counts_N >= 0
            total_N += 2 + (0 if bare and name in wanted.given else counts_N)
        sizes_N: NDArray[np.int64] = np.where(has_N, total_N, 0)
        return sizes_N

    def able(self, task: int) -> NDArray[np.int64]:
        """Rows in use that make a document for a task, ascending."""
        rows_N: NDArray[np.int64] = self._rows[self._able_NK[self._rows, task]]
        return rows_N

    def document(self, row: int, task: int, *, bare: bool = False) -> NDArray[np.int32]:
        """The document of a row for a task, with its given fields left empty or not."""
        wanted = self.layout.tasks[task]
        names = wanted.make if bare else wanted.order
        parts = {name: self.parts[name].tokens(row) for name in names}
        return self.layout.document(self._space.bos, parts, wanted.order)

    @property
    def _num_rows(self) -> int:
        return len(next(iter(self.parts.values())).counts_N)

    def _examine(self) -> tuple[NDArray[np.bool_], dict[str, int]]:
        """Which row can do which task, and why rows can do none.

        Raises:
            DatasetError: no row can do any.
        """
        length = self.spec.shape[0]
        able_NK = np.zeros((self._num_rows, len(self.layout.tasks)), bool)
        whole_N, longest = np.zeros(self._num_rows, bool), [0, 1 << 62]
        for task in range(len(self.layout.tasks)):
            if not self._weights_K[task]:
                continue
            sizes_N = self.sizes(task)
            whole_N |= sizes_N > 0
            able_NK[:, task] = (sizes_N > 0) & (sizes_N <= length)
            if (sizes_N > 0).any():
                longest = [max(longest[0], int(sizes_N.max())), min(longest[1], int(sizes_N[sizes_N > 0].min()))]
        unable_N = ~able_NK.any(1)
        dropped = {TOO_LONG: int((unable_N & whole_N).sum())}
        lost_N = unable_N & ~whole_N
        for name, part in self.parts.items():
            lacking_N = lost_N & (part.counts_N < 0)
            dropped[f"without {name}"] = int(lacking_N.sum())
            lost_N &= ~lacking_N
        dropped = {reason: count for reason, count in dropped.items() if count}
        if not able_NK.any():
            told = ", ".join(f"{reason}: {count:,}" for reason, count in dropped.items()) or "no rows"
            if whole_N.any():
                told += f"; documents take {longest[1]:,} to {longest[0]:,} tokens, a window {length:,}"
                raise DatasetError("some document must fit a window", told, f"use data.length: {longest[0]}")
            raise DatasetError(
                "some row must have all fields of a task", told, "name tasks of fields that the rows have"
            )
        return able_NK, dropped

    # ---------------------------------------------------------------------------------------------------------- windows

    def __len__(self) -> int:
        return self._num_windows(0)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Numbers of the windows of the first epoch, ascending."""
        return np.arange(len(self))

    @property
    def documents(self) -> NDArray[np.int64]:
        """Rows of the split in use, ascending."""
        return self._rows

    @property
    def num_documents(self) -> int:
        """Documents of an epoch."""
        return len(self._rows)

    @property
    def num_tokens(self) -> int:
        """Tokens of an epoch's documents, padding not counted; those of the first one."""
        return int(self._first_sizes().sum())

    def _first_sizes(self) -> NDArray[np.int64]:
        """Tokens of each document of the first epoch."""
        epoch = self._epoch(0)
        return self._sizes_of(epoch.rows_D, epoch.tasks_D, epoch.bare_D)

    def repetition(self, num_windows: int) -> dict[str, float]:
        """Passes over the documents that so many windows make."""
        return {"all": num_windows / len(self)}

    def token_counts(self) -> NDArray[np.int64]:
        """How often each token stands in the documents of the first epoch, int64 (V,)."""
        epoch = self._epoch(0)
        counts_V = np.zeros(self._space.vocabulary, np.int64)
        counts_V[self._space.bos] = len(epoch.rows_D)
        for number, task in enumerate(self.layout.tasks):
            is_task_D = epoch.tasks_D == number
            counts_V[self.layout.end] += len(task.order) * is_task_D.sum()
            for name in task.order:
                part = self.parts[name]
                rows_D = epoch.rows_D[is_task_D & ~epoch.bare_D if name in task.given else is_task_D]
                shifts_Q = part.field.starts_Q if part.field.kind != "text" else np.zeros(1, np.int64)
                count(part.values_T, part.starts_N[rows_D], part.counts_N[rows_D], shifts_Q, counts_V)
                counts_V[part.field.begin] += is_task_D.sum()
        return counts_V

    def facts(self) -> dict[str, Any]:
        """What documents are made of, of the first epoch: for `run.json` and for a person."""
        epoch, tasks = self._epoch(0), self.layout.tasks
        counts_K = np.bincount(epoch.tasks_D, minlength=len(tasks)).tolist()
        sizes_D = self._first_sizes()
        sizes = {name: part.counts_N[self._rows] for name, part in self.parts.items()}
        return {
            "documents": {task.name: count for task, count in zip(tasks, counts_K)},
            "windows": len(self),
            "padding": 1 - int(sizes_D.sum()) / (len(self) * self.spec.shape[0]),
            "longest_document": int(sizes_D.max()),
            "bare": float(epoch.bare_D.mean()),
            "tokens": {
                name: {"mean": float(found[found >= 0].mean()), "most": int(found.max())}
                for name, found in sizes.items()
                if (found >= 0).any()
            },
            "dropped": dict(self.dropped),
        }

    def draw(self, index: int) -> tuple[NDArray[np.int32], None, NDArray[np.int64]]:
        """Batch `index` of an endless stream: epoch after epoch, each row one document an epoch, in a fresh order.

        Returns:
            tokens int32 (b, T), None, numbers of the windows within their epochs int64 (b,); b = batch / world.
        """
        position_B = positions_of(index, self.batch, self.rank, self.world)
        tokens_BT = np.empty((len(position_B), self.spec.shape[0]), np.int32)
        row_B = np.empty(len(position_B), np.int64)
        for number, position in enumerate(position_B.tolist()):
            epoch, place = self._find(position)
            row_B[number] = self._epoch(epoch).order_W[place]
            self._fill(epoch, int(row_B[number]), tokens_BT[number])
        return tokens_BT, None, row_B

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> tuple[NDArray[np.int32], None]:
        """Windows by number, as the first epoch packs them."""
        chosen = np.asarray(rows, np.int64)
        tokens_BT = np.empty((len(chosen), self.spec.shape[0]), np.int32)
        for place, row in enumerate(chosen.tolist()):
            self._fill(0, row, tokens_BT[place])
        return tokens_BT, None

    def _fill(self, epoch: int, window: int, out_T: NDArray[np.int32]) -> None:
        packed = self._epoch(epoch)
        first, end = packed.starts_W1[window : window + 2].tolist()
        tokens = np.concatenate([self._document_of(packed, number) for number in range(first, end)])
        out_T[: len(tokens)] = tokens
        out_T[len(tokens) :] = self._space.pad

    def _document_of(self, epoch: _Epoch, number: int) -> NDArray[np.int32]:
        row, task = int(epoch.rows_D[number]), int(epoch.tasks_D[number])
        return self.document(row, task, bare=bool(epoch.bare_D[number]))

    def _find(self, position: int) -> tuple[int, int]:
        """Epoch, and place within it, of a place in the endless stream of windows."""
        epoch = 0
        with self._lock:  # batches are drawn in a thread, and looked at in another
            while not self._ends or self._ends[-1] <= position:
                self._ends.append((self._ends or [0])[-1] + self._num_windows(len(self._ends)))
            epoch = int(np.searchsorted(self._ends, position, "right"))
            return epoch, position - (self._ends[epoch - 1] if epoch else 0)

    def _num_windows(self, epoch: int) -> int:
        return len(self._epoch(epoch).order_W)

    def _pack(self, epoch: int) -> _Epoch:
        """Draw tasks, shuffle the documents and fit them into windows."""
        task_draw_N, bare_draw_N = numpy_generator(self.seed, "composition", epoch).random((2, self._num_rows))
        tasks_D = choose(self._able_NK[self._rows], self._weights_K, task_draw_N[self._rows])
        bare_D = (bare_draw_N[self._rows] < self._drop_given) & self._given_K[tasks_D]
        order_D = numpy_generator(self.seed, "document order", epoch).permutation(len(self._rows))
        rows_D, tasks_D, bare_D = self._rows[order_D], tasks_D[order_D], bare_D[order_D]
        windows_D = fit(self._sizes_of(rows_D, tasks_D, bare_D), self.spec.shape[0], _OPEN)
        by_window_D = np.argsort(windows_D, kind="stable")
        starts_W1 = np.concatenate([[0], np.cumsum(np.bincount(windows_D))])
        order_W = numpy_generator(self.seed, "window order", epoch).permutation(len(starts_W1) - 1)
        return _Epoch(rows_D[by_window_D], tasks_D[by_window_D], bare_D[by_window_D], starts_W1, order_W)

    def _sizes_of(
        self, rows_D: NDArray[np.int64], tasks_D: NDArray[np.int8], bare_D: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Tokens of each document."""
        sizes_D = np.zeros(len(rows_D), np.int64)
        for task in np.unique(tasks_D).tolist():
            for bare in (False, True):
                here_D = (tasks_D == task) & (bare_D == bare)
                if here_D.any():
                    sizes_D[here_D] = self.sizes(task, bare=bare)[rows_D[here_D]]
        return sizes_D


@numba.njit(cache=True, nogil=True)
def choose(able_NK: Any, weights_K: Any, draws_N: Any) -> Any:
    """A task for each row, int8 (N,): each of those it can do by its weight among them.

    Args:
        able_NK: bool; at least one task of weight above 0 in each row.
        weights_K: float64.
        draws_N: float64, uniform in [0, 1).
    """
    num_rows, num_tasks = able_NK.shape
    tasks_N = np.zeros(num_rows, np.int8)
    for row in range(num_rows):
        total = 0.0
        for task in range(num_tasks):
            if able_NK[row, task]:
                total += weights_K[task]
        left = draws_N[row] * total
        for task in range(num_tasks):
            if able_NK[row, task] and weights_K[task] > 0:
                tasks_N[row] = task
                left -= weights_K[task]
                if left < 0:
                    break
    return tasks_N


@numba.njit(cache=True, nogil=True)
def fit(sizes_D: Any, length: int, num_open: int) -> Any:
    """The window of each document, int64 (D,): the fullest open one with room, else a new one for the fullest.

    Args:
        sizes_D: int64, each at most `length`.
        length: of a window.
        num_open: windows that are open at a time.
    """
    rooms = np.zeros(num_open, np.int64)
    windows = np.zeros(num_open, np.int64)
    window_D = np.empty(len(sizes_D), np.int64)
    num_windows = 0
    for number in range(len(sizes_D)):
        chosen, fullest = -1, 0
        for slot in range(num_open):
            if rooms[slot] >= sizes_D[number] and (chosen < 0 or rooms[slot] < rooms[chosen]):
                chosen = slot
            if rooms[slot] < rooms[fullest]:
                fullest = slot
        if chosen < 0:
            chosen = fullest
            rooms[chosen], windows[chosen] = length, num_windows
            num_windows += 1
        rooms[chosen] -= sizes_D[number]
        window_D[number] = windows[chosen]
    return window_D


@numba.njit(cache=True, nogil=True)
def count(values_T: Any, starts_D: Any, counts_D: Any, shifts_Q: Any, counts_V: Any) -> None:
    """Add to int64 `counts_V` how often each token stands in stretches of a part's values.

    Args:
        values_T: of a part.
        starts_D, counts_D: the stretches.
        shifts_Q: int64, what makes tokens of the values of each quantiser.
        counts_V: int64, counted up.
    """
    for number in range(len(starts_D)):
        for place in range(counts_D[number]):
            counts_V[values_T[starts_D[number] + place] + shifts_Q[place % len(shifts_Q)]] += 1


def _subset(usable: NDArray[np.int64], num_samples: int | None, seed: int) -> NDArray[np.int64]:
    """So many of the rows that can be used, ascending."""
    if num_samples is None:
        return usable
    if num_samples > len(usable):
        raise DatasetError(
            "a subset must not be larger than what can be used",
            f"{num_samples} of {len(usable)} rows",
            "lower num_samples",
        )
    return np.sort(numpy_generator(seed, "subset").permutation(usable)[:num_samples])
