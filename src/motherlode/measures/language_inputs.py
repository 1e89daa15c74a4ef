"""What the measures of a language model are taken of: a model with documents, texts by number, and text to search.

Shape legend: N texts or documents, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from motherlode.measures.language_windows import Documents
from motherlode.tokenizer import TokenSpace


@runtime_checkable
class TextPool(Protocol):
    """Texts by number.

    Attributes:
        description: what they are, as it stands in a report.
        identity: plain JSON that decides their content, so that features can be cached; None to make them anew.
    """

    description: str
    identity: dict[str, Any] | None

    def __len__(self) -> int: ...

    def take(self, rows: NDArray[np.int64]) -> list[str]:
        """The texts of these rows."""
        ...

    def tokens(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Each text as tokens or other numbers, in which matches are looked for."""
        ...


@dataclass(frozen=True)
class Model:
    """A language model to be scored on held-out documents.

    Attributes:
        scorer: with `token_nats` or `masked_nats`, each of which may return None.
        space: its tokens.
        window: tokens it sees at once.
        stride: tokens each further window of a document scores.
        heldout: documents it has not seen.
        train: documents it was trained on.
        description: of `heldout`.
        text_of: tokens to text.
        device, dtype: where and in what it computes.
    """

    scorer: Any
    space: TokenSpace
    window: int
    stride: int
    heldout: Documents
    train: Documents | None
    description: str
    text_of: Callable[[NDArray[np.int64]], str]
    device: str = "cpu"
    dtype: str = "float32"


@dataclass(frozen=True)
class Search:
    """The training text, to look for copies in.

    Attributes:
        pieces: gives its tokens, a piece at a time.
        num_tokens: in all.
        boundary: the token over which no match runs; -1 for none.
        around: (origin, length) of a match to the text before it, itself, and the text after it.
        description: what it is.
    """

    pieces: Callable[[], Iterable[NDArray[Any]]]
    num_tokens: int
    boundary: int
    around: Callable[[int, int], tuple[str, str, str]]
    description: str
