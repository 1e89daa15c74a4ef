"""How much of what a model writes stands word for word in its training text.

    longest match     tokens of the longest stretch of each sample that occurs in the training text, on average
    verbatim share    share of sample tokens that lie in such a stretch of at least 32 tokens

Human text repeats itself too (licences, tables, proverbs), so both are taken of held-out text as well: that is what an
innocent model would score. Matches are exact and may lie anywhere in the training text; none runs over the end of a
document. The whole of the training text is searched, in one pass and in flat memory (`data.automaton`).

Shape legend: N samples, T tokens of a sample, L tokens of a piece of training text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import MeasureError
from motherlode.measures.interval import DEFAULT_LEVEL, Interval, clustered_share, mean_interval

LEAST_TOKENS = 32
"""Stretches from this length on count as copied: about 130 bytes of English."""
_PIECE_TOKENS = 1 << 20
_FIRST_SEPARATOR = 1 << 30


@dataclass(frozen=True)
class Match:
    """The longest stretch of a sample that occurs in the training text.

    Attributes:
        length: in tokens; 0 where not one token occurs.
        start: where in the sample it begins.
        origin: where in the training text it begins (any one place of several).
        copied: tokens of the sample in matches of at least the least length.
        tokens: of the sample.
    """

    length: int
    start: int
    origin: int
    copied: int
    tokens: int


def longest_matches(
    samples: Sequence[NDArray[np.int64]],
    train: NDArray[Any] | Iterable[NDArray[Any]],
    *,
    boundary: int = -1,
    least: int = LEAST_TOKENS,
    progress: Callable[[float], None] | None = None,
) -> list[Match]:
    """The longest match of each sample in the training text.

    Args:
        samples: non-negative tokens of each, without special ones.
        train: the tokens of the training text, joined (an array, mapped or not), or in pieces.
        boundary: the token that separates documents in it; -1 for none.
        least: of the stretches counted as copied.
        progress: told which share is done, where `train` is an array.

    Raises:
        MeasureError: negative tokens, or `least` below 1.
    """
    from motherlode.data import automaton

    if least < 1 or any(len(x) and not 0 <= int(x.min()) <= int(x.max()) < _FIRST_SEPARATOR for x in samples):
        raise MeasureError("matches need tokens from 0 on, and a least length from 1 on", least, "leave it out")
    if sum(map(len, samples)) >= 1 << 29:
        raise MeasureError("so many tokens of samples cannot be searched at once", sum(map(len, samples)), "take fewer")
    joined = _joined(samples)
    tables = automaton.tables(len(joined))
    states, _, slots = tables
    prefix_T = np.empty(len(joined), np.int32)
    num_states = automaton.build(joined, *tables, prefix_T)
    place, state, length = 0, 0, 0
    total = len(train) if isinstance(train, np.ndarray) else 0
    for piece in _pieces(train):
        state, length = automaton.stream(piece, place, boundary, state, length, states, slots)
        place += len(piece)
        if progress and total:
            progress(place / total)
    automaton.settle(np.argsort(states[:num_states, automaton.LENGTH], kind="stable"), states)
    best_T, origin_T = states[prefix_T, automaton.BEST], states[prefix_T, automaton.ORIGIN]
    found, start = [], 0
    for sample in samples:
        end = start + len(sample)
        found.append(_match(best_T[start:end], origin_T[start:end], least))
        start = end + 1
    return found


def memory_bytes(num_tokens: int) -> int:
    """Memory that `longest_matches` holds for samples of so many tokens in all, whatever the training text's size."""
    from motherlode.data import automaton

    return sum(int(table.nbytes) for table in automaton.tables(num_tokens)) + 8 * num_tokens


def verbatim_share(matches: Sequence[Match], *, level: float = DEFAULT_LEVEL) -> Interval:
    """Share of tokens in matches of the least length or more, clustered by sample."""
    kept = [match for match in matches if match.tokens]
    if not kept:
        raise MeasureError("matches need samples that hold text", len(matches), "take more samples")
    return clustered_share(
        np.array([match.copied for match in kept]), np.array([match.tokens for match in kept]), level
    )


def mean_longest(matches: Sequence[Match], *, level: float = DEFAULT_LEVEL) -> Interval:
    """The longest match of a sample, in tokens, on average."""
    found = mean_interval(np.array([match.length for match in matches]), level, "Student, over samples")
    return Interval(found, max(0.0, found.low), found.high, level, found.method)


def _joined(samples: Sequence[NDArray[np.int64]]) -> NDArray[np.int32]:
    """Samples one after another, each followed by a number of its own that no text holds."""
    parts = [np.append(sample, _FIRST_SEPARATOR + number) for number, sample in enumerate(samples)]
    return np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int32)


def _pieces(train: NDArray[Any] | Iterable[NDArray[Any]]) -> Iterable[NDArray[Any]]:
    if isinstance(train, np.ndarray):
        return (train[start : start + _PIECE_TOKENS] for start in range(0, len(train), _PIECE_TOKENS))
    return train


def _match(best_T: NDArray[np.int64], origin_T: NDArray[np.int64], least: int) -> Match:
    """From the longest match that ends at each token of a sample."""
    if not len(best_T):
        return Match(0, 0, -1, 0, 0)
    ends = np.arange(len(best_T)) + 1
    long = best_T >= least
    covered = np.zeros(len(best_T) + 1, np.int64)
    np.add.at(covered, (ends - best_T)[long], 1)
    np.add.at(covered, ends[long], -1)
    last = int(best_T.argmax())
    length = int(best_T[last])
    origin = int(origin_T[last]) - length + 1 if length else -1
    return Match(length, last + 1 - length, origin, int((np.cumsum(covered)[:-1] > 0).sum()), len(best_T))
