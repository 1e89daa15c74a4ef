"""How many bits a model needs for a byte of text it has not seen, and its perplexity.

    bits per byte   Σ −log2 p(token | those before) / Σ UTF-8 bytes: the length of the text, compressed by the model
    perplexity      exp(Σ −ln p / tokens): over how many equally likely tokens the model hesitates

Bits per byte compares models of different tokenizers, since bytes belong to the text; perplexity does not. Sums run
over documents, whose end is not scored. The independent draws are documents, not tokens, so intervals are clustered by
document (`interval.ratio_interval`). Memory is flat: windows stream through in rows of equal shape.

Shape legend: N documents, B rows, T tokens a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motherlode.errors import MeasureError
from motherlode.measures.interval import DEFAULT_LEVEL, Interval, ratio_interval
from motherlode.measures.language_windows import Documents, Window, as_numbers, laid, spans

BATCH_TOKENS = 8192
"""Tokens read at once: 256 MB of fp32 logits at a vocabulary of 8,192, where a model makes them all."""


@runtime_checkable
class Scorer(Protocol):
    """A model that predicts each token from those before it, and attends to nothing across a `bos`."""

    def token_nats(self, tokens: Tensor) -> Tensor | None:
        """−ln p(tokens[:, t + 1] | tokens[:, :t + 1]), (B, T − 1), of int64 tokens (B, T); None where it cannot."""
        ...


def document_nats(
    scorer: Scorer,
    documents: Documents,
    numbers_N: NDArray[np.int64],
    *,
    bos: int,
    window: int,
    stride: int,
    device: str | torch.device = "cpu",
    batch_tokens: int = BATCH_TOKENS,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float64] | None:
    """Σ −ln p of each document's tokens but its bos, (N,); None where the model gives no next-token probabilities.

    Args:
        scorer: the model, in the precision it is to be measured in.
        documents: each begins with `bos`.
        numbers_N: which of them.
        bos: the token that begins a document.
        window: tokens the model sees at once, at least 2.
        stride: tokens each further window of a document scores, 1 to window − 1.
        device: where the model lies.
        batch_tokens: tokens read at once.
        progress: told which share is done.

    Raises:
        MeasureError: a stride or window out of range, or a likelihood that is not finite.
    """
    check_stride(window, stride)

    def windows() -> Iterator[Window]:
        for owner, number in enumerate(numbers_N.tolist()):
            tokens = documents.document(number)
            for start, end, first in spans(len(tokens), window, stride):
                part = tokens[start:end]
                yield Window(owner, part, part, first - start)
            if progress:
                progress((owner + 1) / len(numbers_N))

    nats_N = np.zeros(len(numbers_N))
    with torch.inference_mode():
        for rows in laid(windows(), window, max(1, batch_tokens // window), bos):
            nats_BT = scorer.token_nats(torch.from_numpy(rows.tokens_BT).to(device))
            if nats_BT is None:
                return None
            shifted_BT = np.pad(as_numbers(nats_BT), ((0, 0), (1, 0)))
            nats_N += rows.sums(shifted_BT, len(nats_N))
    check_finite(nats_N)
    return nats_N


def bits_per_byte(
    nats_N: NDArray[np.float64], num_bytes_N: NDArray[np.int64], *, level: float = DEFAULT_LEVEL
) -> Interval:
    """Σ nats / (ln 2 · Σ bytes), its interval clustered by document; log2(V) · tokens / bytes for a uniform model."""
    return ratio_interval(nats_N / math.log(2), num_bytes_N, level)


def perplexity(
    nats_N: NDArray[np.float64], num_tokens_N: NDArray[np.int64], *, level: float = DEFAULT_LEVEL
) -> Interval:
    """exp(Σ nats / Σ tokens), tokens without the bos; V for a uniform model."""
    mean = ratio_interval(nats_N, num_tokens_N, level)
    value, low, high = (math.exp(min(x, 700.0)) for x in (mean.value, mean.low, mean.high))
    return Interval(value, low, high, level, f"exponential of: {mean.method}")


def num_targets(documents: Documents, numbers: Sequence[int]) -> NDArray[np.int64]:
    """Tokens of documents without their bos, (N,)."""
    return np.array([len(documents.document(number)) - 1 for number in numbers], np.int64)


def check_stride(window: int, stride: int) -> None:
    """Raise unless 1 ≤ stride < window."""
    if not 1 <= stride < window:
        raise MeasureError(
            "a stride must be at least 1 and smaller than the window", f"stride {stride}, window {window}", "half of it"
        )


def check_finite(values: NDArray[Any]) -> None:
    """Raise at NaN or infinity: a model that is sure of the impossible has no bits per byte."""
    if not np.isfinite(values).all():
        bad = int(np.argmin(np.isfinite(values)))
        raise MeasureError(
            "a likelihood must be finite to be measured", f"{values[bad]} of document {bad}", "train again more gently"
        )
