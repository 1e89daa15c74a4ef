"""What a model that fills in masked tokens knows: how often it is right, and how many bits a byte it needs at most.

    masked accuracy   share of masked tokens (a fixed share of each window) whose most likely guess is right
    bound             a masked-diffusion model bounds −ln p(x) from above by the mean, over l uniform in 1..L and over
                      which l of L tokens are masked, of L/l · Σ over masked −ln p(token | unmasked) (LLaDA,
                      arXiv:2502.09992, eq. 6; the same as MDM's bound over t with weight 1/t, but exact for a uniform
                      model in every draw). l is stratified: draw k of K takes it from the k-th part of 1..L.

The bound is a code length, so it compares with a GPT's bits per byte: below it is better for certain, above it may be
the bound that is loose. In documents longer than the window, earlier tokens of the same window stand unmasked before
the block that is scored; the product of such bounds is a bound again.

Shape legend: N documents, B rows, T tokens a row, L tokens of a block, K draws a window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motherlode.measures.language_likelihood import BATCH_TOKENS, check_finite, check_stride
from motherlode.measures.language_windows import Documents, Window, as_numbers, laid, spans
from motherlode.randomness import numpy_generator

MASK_RATE = 0.3
"""Share of tokens masked for the accuracy, whatever the model was trained at: a yardstick must not move."""


@runtime_checkable
class MaskedScorer(Protocol):
    """A model that guesses masked tokens from all others of their document, and sees nothing across a `bos`."""

    def masked_nats(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor] | None:
        """−ln p(targets | inputs) and whether each target is the likeliest token, both (B, T); None where it cannot.

        Args:
            inputs: int64 (B, T), some of them the mask token.
            targets: int64 (B, T), what stood there. Values where nothing is masked are not read.
        """
        ...


def masked_hits(
    scorer: MaskedScorer,
    documents: Documents,
    numbers_N: NDArray[np.int64],
    *,
    bos: int,
    mask: int,
    window: int,
    rate: float = MASK_RATE,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Callable[[float], None] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """(right guesses, masked tokens) of each document, (N,) each; None where the model fills in no masks.

    Args:
        rate: share of each window's tokens that is masked, at least one; never the bos.
        seed: of the choice; a document's masks depend on its number and the seed alone.
        further ones: see `language_likelihood.document_nats`.
    """

    def windows() -> Iterator[Window]:
        for owner, number in enumerate(numbers_N.tolist()):
            tokens = documents.document(number)
            rng = numpy_generator(seed, "masked accuracy", number)
            for start, end, first in spans(len(tokens), window, window - 1):
                places = np.arange(first - start, end - start)
                chosen = rng.permutation(places)[: max(1, round(rate * len(places)))]
                yield _masked(owner, tokens[start:end], chosen, mask, first - start, 1.0)
            if progress:
                progress((owner + 1) / len(numbers_N))

    hits_N, masked_N = np.zeros(len(numbers_N)), np.zeros(len(numbers_N))
    for mask_BT, _, hit_BT, add in _scored(scorer, windows(), window, bos, mask, device):
        hits_N += add(hit_BT * mask_BT, len(hits_N))
        masked_N += add(mask_BT, len(hits_N))
    return (hits_N, masked_N) if masked_N.any() else None


def bound_nats(
    scorer: MaskedScorer,
    documents: Documents,
    numbers_N: NDArray[np.int64],
    *,
    bos: int,
    mask: int,
    window: int,
    stride: int,
    draws: int = 2,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float64] | None:
    """An unbiased estimate of each document's bound on −ln p, (N,); None where the model fills in no masks.

    Args:
        draws: K, masks drawn for each window.
        seed: of the masks; a document's depend on its number and the seed alone.
        further ones: see `language_likelihood.document_nats`.

    Raises:
        MeasureError: a stride or window out of range, or a likelihood that is not finite.
    """
    check_stride(window, stride)

    def windows() -> Iterator[Window]:
        for owner, number in enumerate(numbers_N.tolist()):
            tokens = documents.document(number)
            rng = numpy_generator(seed, "diffusion bound", number)
            for start, end, first in spans(len(tokens), window, stride):
                places = np.arange(first - start, end - start)
                for chosen, weight in hidden(places, draws, rng):
                    yield _masked(owner, tokens[start:end], chosen, mask, first - start, weight)
            if progress:
                progress((owner + 1) / len(numbers_N))

    nats_N = np.zeros(len(numbers_N))
    scored = False
    for mask_BT, nats_BT, _, add in _scored(scorer, windows(), window, bos, mask, device):
        nats_N += add(np.where(mask_BT > 0, nats_BT, 0.0), len(nats_N))
        scored = True
    check_finite(nats_N)
    return nats_N if scored else None


def hidden(
    places_L: NDArray[np.int64], draws: int, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.int64], float]]:
    """Which of L places to hide in each of `draws` looks, and what their nats count: L / l / draws, l stratified."""
    num = len(places_L)
    for level in (np.arange(draws) + rng.random(draws)) / draws:
        count = min(num, int(level * num) + 1)
        yield rng.permutation(places_L)[:count], num / count / draws


def _masked(
    owner: int, targets: NDArray[np.int64], chosen: NDArray[np.int64], mask: int, first: int, weight: float
) -> Window:
    tokens = targets.copy()
    tokens[chosen] = mask
    return Window(owner, tokens, targets, first, weight)


_Add = Callable[[NDArray[np.float64], int], NDArray[np.float64]]


def _scored(
    scorer: MaskedScorer, windows: Iterator[Window], window: int, bos: int, mask: int, device: str | torch.device
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], _Add]]:
    """Rows as they are scored: where masked, nats and hits (B, T) each, and how to sum over documents."""
    for rows in laid(windows, window, max(1, BATCH_TOKENS // window), bos):
        with torch.inference_mode():
            found = scorer.masked_nats(*(torch.from_numpy(x).to(device) for x in (rows.tokens_BT, rows.targets_BT)))
        if found is None:
            return
        yield (rows.tokens_BT == mask).astype(np.float64), as_numbers(found[0]), as_numbers(found[1]), rows.sums
