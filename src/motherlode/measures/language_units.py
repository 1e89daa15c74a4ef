"""Units of text that no tokenizer decides, and their n-grams as numbers.

A unit is a word or a punctuation mark; in scripts written without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese)
it is a character. So diversity and repetition compare across tokenizers and languages. What is traded away: a Chinese
word of two characters counts as two units. Splitting runs at 3.5 MB/s, numbering n-grams at 3 million a second.

Shape legend: T units of a text, M n-grams in all, U unlike n-grams.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_JOINERS = "\u200c\u200d"
_RARE_HAN = "\U00030000-\U000323af"


def units(text: str) -> list[str]:
    """Words, unspaced characters and punctuation marks of a text, in order."""
    found: list[str] = _pattern().findall(text)
    return found


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    """An unspaced character with its marks, a run of other letters, digits and marks, or any one sign but a space."""
    from motherlode.modality.text import characters

    flags = characters.flags()
    unspaced = _ranges(flags & characters.UNSPACED > 0) + _RARE_HAN
    word = _ranges((flags & (characters.LETTER | characters.MARK) > 0) & (flags & characters.UNSPACED == 0)) + _JOINERS
    marks = _ranges(flags & characters.MARK > 0)
    return re.compile(f"[{unspaced}][{marks}]*|[{word}]+|[^\\s{unspaced}{word}]")


def _ranges(chosen: NDArray[np.bool_]) -> str:
    """Code points as the inside of a character class."""
    codes = np.flatnonzero(chosen)
    parts = np.split(codes, np.flatnonzero(np.diff(codes) > 1) + 1)
    return "".join(f"{re.escape(chr(part[0]))}-{re.escape(chr(part[-1]))}" for part in parts if len(part))


def numbered(texts: Sequence[Sequence[str]], known: dict[str, int] | None = None) -> list[NDArray[np.int64]]:
    """Units as numbers, the same number for the same unit in all texts.

    Args:
        texts: units of each text.
        known: numbers given before; new units are added to it.
    """
    known = {} if known is None else known
    return [np.array([known.setdefault(unit, len(known)) for unit in text], np.int64) for text in texts]


@dataclass(frozen=True)
class Grams:
    """The n-grams of a set of texts.

    Attributes:
        text_M: which text each n-gram stands in, ascending.
        gram_M: number of the n-gram, equal for equal ones, below `num_unlike`.
        num_unlike: U.
        num_texts: of the set, those without n-grams included.
    """

    text_M: NDArray[np.int64]
    gram_M: NDArray[np.int64]
    num_unlike: int
    num_texts: int


def grams(texts: Sequence[NDArray[np.int64]], order: int) -> Grams:
    """All n-grams of numbered texts, n = `order`; none runs over the end of a text."""
    lengths = np.array([len(text) for text in texts], np.int64)
    flat = np.concatenate([np.zeros(0, np.int64), *texts])
    text_M = np.repeat(np.arange(len(texts)), lengths)
    place_M = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    starts = np.flatnonzero(place_M + order <= lengths[text_M])
    # Pairs of numbers become one number, renumbered at each order so that it never overflows.
    gram_M, base = flat, int(flat.max(initial=0)) + 1
    for length in range(1, order):
        joined = gram_M[: len(flat) - length] * base + flat[length:]
        gram_M = np.unique(joined, return_inverse=True)[1].reshape(-1)
    unlike, gram_M = np.unique(gram_M[starts], return_inverse=True)
    return Grams(text_M[starts], gram_M.reshape(-1), len(unlike), len(texts))
