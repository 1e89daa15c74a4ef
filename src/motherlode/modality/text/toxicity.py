"""A score of how toxic English text is, by alt-profanity-check: a linear model over words.

The package scores short comments, so a document's score is that of its worst passage. It misjudges quotation and
medical text, and knows English alone: other languages have no score (NaN). About 0.4 MB/s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import MissingExtraError

LANGUAGE = "en"
_PASSAGE_CHARACTERS, _MOST_PASSAGES = 1000, 64


def scores(texts: Sequence[bytes], languages: Sequence[str]) -> NDArray[np.float32]:
    """Probability of the worst passage of each text, float32 (N,); NaN where it is not English.

    Raises:
        MissingExtraError: alt-profanity-check is not installed.
    """
    try:
        from profanity_check import predict_prob
    except ImportError as error:
        raise MissingExtraError("scoring toxicity (clean.toxicity)", "toxicity") from error
    found_N = np.full(len(texts), np.nan, np.float32)
    for i, (text, language) in enumerate(zip(texts, languages, strict=True)):
        if language == LANGUAGE:
            found_N[i] = max(predict_prob(passages(text.decode())), default=0.0)
    return found_N


def passages(text: str) -> list[str]:
    """Pieces of about 1,000 characters: all of a short text, 64 spread evenly over a long one."""
    starts = range(0, max(len(text), 1), _PASSAGE_CHARACTERS)
    step = -(-len(starts) // _MOST_PASSAGES)
    return [text[start : start + _PASSAGE_CHARACTERS] for start in starts[::step]]
