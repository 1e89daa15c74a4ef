"""How well a model makes one field of another: its surprise at held-out documents, under the rules they are made by.

A field is made under constraint (`Layout.ranges`: a picture's codes come in order and are whole), so the probability
that counts is that among the tokens that may come next. A model that knows nothing has log of their number: ln 512 nats
a code of a codebook of 512. Tokens without an alternative cost nothing and are not counted, so two models of the same
fields compare whatever other tasks they learnt.

A model that fills in masks has a bound on it (`language_masked`): the places of one field are hidden in part, what is
given and what is made before it stands there, what is made behind it is hidden whole, as when the model makes them. For
a field of one token, a label, the bound is the surprise itself. Such a model is told how long a field is; where that is
free, its bound says nothing of the length, which a model that writes from left to right pays for.

What is traded away: the logits of a batch of documents are there at once, 128 MB at most.

Shape legend: N documents, B documents of a batch, T tokens, V vocabulary, P places where a token is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motherlode.errors import MeasureError
from motherlode.fields import Layout, Task
from motherlode.measures.language_likelihood import check_finite
from motherlode.measures.language_masked import hidden
from motherlode.measures.language_windows import as_numbers
from motherlode.randomness import numpy_generator

Logits = Callable[[Tensor], Tensor]
"""int64 (B, T) documents, padded at their ends, to float (B, T, ≥ V): of the token behind each."""
_BATCH_LOGITS = 1 << 25
_BATCH_DOCUMENTS = 64


@dataclass(frozen=True)
class Scored:
    """One made field of some documents.

    Args:
        nats_N: float64, −ln p of the field, given all before it, or a bound on it.
        tokens_N: int64, tokens of it that had an alternative.
        hits_N: bool, whether its first token is the likeliest; of a label, whether it is right.
    """

    nats_N: NDArray[np.float64]
    tokens_N: NDArray[np.int64]
    hits_N: NDArray[np.bool_]


@torch.no_grad()
def score_fields(
    logits: Logits,
    documents: Sequence[NDArray[Any]],
    layout: Layout,
    task: Task,
    *,
    pad: int,
    device: str = "cpu",
    progress: Callable[[float], None] | None = None,
) -> dict[str, Scored]:
    """Score what a task makes, in documents of that task.

    Args:
        logits: the model's, at temperature 1.
        documents: int, (T,), as `Layout.document` writes them.
        layout: of the tokens.
        task: whose `make` is scored.
        pad: fills the batches.
        device: where the model is.
        progress: told which share is done.
    """
    found = {
        name: Scored(np.zeros(len(documents)), np.zeros(len(documents), np.int64), np.zeros(len(documents), bool))
        for name in task.make
    }
    order = np.argsort([len(document) for document in documents], kind="stable")
    first = 0
    while first < len(order):
        longest = max(len(documents[number]) for number in order[first : first + _BATCH_DOCUMENTS])
        size = max(1, min(_BATCH_DOCUMENTS, _BATCH_LOGITS // (longest * layout.num_tokens)))
        numbers = order[first : first + size]
        batch = [np.asarray(documents[number], np.int64) for number in numbers]
        tokens_BT = np.full((len(batch), max(map(len, batch))), pad, np.int64)
        for row, document in enumerate(batch):
            tokens_BT[row, : len(document)] = document
        logits_BTV = logits(torch.from_numpy(tokens_BT).to(device)).float()
        for name in task.make:
            _score(logits_BTV, batch, numbers, layout, task, name, found[name])
        first += size
        if progress is not None:
            progress(min(1.0, first / len(order)))
    return found


def _score(
    logits_BTV: Tensor,
    documents: Sequence[NDArray[np.int64]],
    numbers: NDArray[np.int64],
    layout: Layout,
    task: Task,
    name: str,
    found: Scored,
) -> None:
    """Add a batch's scores of one field to `found`."""
    places: dict[tuple[tuple[int, int], ...], list[tuple[int, int, int, bool]]] = {}
    for row, document in enumerate(documents):
        first, end = _span(document, layout, task, name)
        for place, position in enumerate(range(first, end + 1)):
            ranges = layout.ranges(name, place)
            if sum(last - low for low, last in ranges) > 1:
                places.setdefault(ranges, []).append((row, position, int(document[position]), place == 0))
    for ranges, content in places.items():
        row_P, position_P, target_P, is_first_P = (np.array(column) for column in zip(*content))
        judged_PV = logits_BTV[torch.from_numpy(row_P), torch.from_numpy(position_P - 1)]
        allowed = torch.cat([torch.arange(low, last) for low, last in ranges]).to(judged_PV.device)
        log_p_PA = torch.log_softmax(judged_PV[:, allowed], 1)
        picked_P = torch.searchsorted(allowed, torch.from_numpy(target_P).to(allowed))
        nats_P = -log_p_PA.gather(1, picked_P[:, None])[:, 0].double().cpu().numpy()
        hits_P = (log_p_PA.argmax(1) == picked_P).cpu().numpy()
        document_P = numbers[row_P]
        np.add.at(found.nats_N, document_P, nats_P)
        np.add.at(found.tokens_N, document_P, 1)
        found.hits_N[document_P[is_first_P]] = hits_P[is_first_P]


def _span(document: NDArray[np.int64], layout: Layout, task: Task, name: str) -> tuple[int, int]:
    """Where the content of a field begins, and where the token that ends it stands."""
    ends, number = np.flatnonzero(document == layout.end), task.order.index(name)
    return (int(ends[number - 1]) + 1 if number else 1) + 1, int(ends[number])


MaskedNats = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor] | None]
"""`Family.masked_nats`: inputs and targets (B, T) and the ids each place may take (B, T, 2), all int64."""


@dataclass(frozen=True)
class _Look:
    """One document with some places of one field hidden.

    Args:
        number: of the document.
        name: of the field.
        inputs_T: what the model sees.
        within_T2: ids that each place may take.
        places_P: of the hidden tokens that count.
        weight: of their nats.
    """

    number: int
    name: str
    inputs_T: NDArray[np.int64]
    within_T2: NDArray[np.int64]
    places_P: NDArray[np.int64]
    weight: float


def bound_fields(
    nats: MaskedNats,
    documents: Sequence[NDArray[Any]],
    layout: Layout,
    task: Task,
    *,
    pad: int,
    mask: int,
    draws: int = 4,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[float], None] | None = None,
) -> dict[str, Scored]:
    """An unbiased estimate of a bound on what `score_fields` finds, from a model that fills in masks.

    Args:
        nats: the model's.
        documents: int, (T,), as `Layout.document` writes them.
        layout: of the tokens.
        task: whose `make` is scored.
        pad: fills the batches.
        mask: stands for a hidden token.
        draws: looks at each field of a document; one is enough for a single token.
        seed: of what is hidden; a document's looks depend on its number and the seed alone.
        device: where the model is.
        progress: told which share is done.

    Returns:
        Of each field; `hits_N` counts for fields of one token only.

    Raises:
        MeasureError: the model fills in no masks, or a bound is not finite.
    """
    found = {
        name: Scored(np.zeros(len(documents)), np.zeros(len(documents), np.int64), np.zeros(len(documents), bool))
        for name in task.make
    }
    order = np.argsort([len(document) for document in documents], kind="stable")
    for first in range(0, len(order), _BATCH_DOCUMENTS):
        numbers = order[first : first + _BATCH_DOCUMENTS]
        looks = [
            look
            for number in numbers.tolist()
            for look in _looks(np.asarray(documents[number], np.int64), number, layout, task, mask, draws, seed, found)
        ]
        for start in range(0, len(looks), _BATCH_DOCUMENTS):
            _judge(nats, looks[start : start + _BATCH_DOCUMENTS], documents, pad, device, found)
        if progress is not None:
            progress(min(1.0, (first + len(numbers)) / len(order)))
    for scored in found.values():
        check_finite(scored.nats_N)
    return found


def _looks(
    document_T: NDArray[np.int64],
    number: int,
    layout: Layout,
    task: Task,
    mask: int,
    draws: int,
    seed: int,
    found: dict[str, Scored],
) -> Iterator[_Look]:
    """All looks at one document; counts its tokens in `found`."""
    rng = numpy_generator(seed, "field bound", number)
    inputs_T = document_T.copy()
    within_T2 = np.stack([document_T, document_T + 1], 1)
    for name in reversed(task.make):  # so that what is made behind a field is hidden when its turn comes
        first, end = _span(document_T, layout, task, name)
        for place in range(first, end):
            ranges = layout.ranges(name, place - first)
            within_T2[place] = ranges[-1]  # the codes', behind that of the end
        places_P = np.flatnonzero(within_T2[first:end, 1] - within_T2[first:end, 0] > 1) + first
        found[name].tokens_N[number] = len(places_P)
        if len(places_P):
            for chosen, weight in hidden(places_P, min(draws, len(places_P)), rng):
                seen_T = inputs_T.copy()
                seen_T[chosen] = mask
                yield _Look(number, name, seen_T, within_T2.copy(), chosen, weight)
        inputs_T[first:end] = mask


def _judge(
    nats: MaskedNats,
    looks: Sequence[_Look],
    documents: Sequence[NDArray[Any]],
    pad: int,
    device: str,
    found: dict[str, Scored],
) -> None:
    """Add what some looks find to `found`."""
    shape = len(looks), max(len(look.inputs_T) for look in looks)
    inputs_BT, targets_BT = np.full(shape, pad, np.int64), np.full(shape, pad, np.int64)
    within_BT2 = np.stack([inputs_BT, inputs_BT + 1], 2)
    for row, look in enumerate(looks):
        size = len(look.inputs_T)
        inputs_BT[row, :size], targets_BT[row, :size] = look.inputs_T, documents[look.number]
        within_BT2[row, :size] = look.within_T2
    judged = nats(*(torch.from_numpy(array).to(device) for array in (inputs_BT, targets_BT, within_BT2)))
    if judged is None:
        raise MeasureError("fields are bounded by a model that fills in masks", "it fills in none")
    nats_BT, hits_BT = map(as_numbers, judged)
    for row, look in enumerate(looks):
        found[look.name].nats_N[look.number] += look.weight * nats_BT[row, look.places_P].sum()
        found[look.name].hits_N[look.number] = hits_BT[row, look.places_P].all()
