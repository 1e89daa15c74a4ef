"""How well a model makes one field of another: its surprise at held-out documents, under the rules they are made by.

A field is made under constraint (`Layout.ranges`: a picture's codes come in order and are whole), so the probability
that counts is that among the tokens that may come next. A model that knows nothing has log of their number: ln 512 nats
a code of a codebook of 512. Tokens without an alternative cost nothing and are not counted, so two models of the same
fields compare whatever other tasks they learnt.

What is traded away: the logits of a batch of documents are there at once, 128 MB at most.

Shape legend: N documents, B documents of a batch, T tokens, V vocabulary, P places where a token is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motherlode.fields import Layout, Task

Logits = Callable[[Tensor], Tensor]
"""int64 (B, T) documents, padded at their ends, to float (B, T, ≥ V): of the token behind each."""
_BATCH_LOGITS = 1 << 25
_BATCH_DOCUMENTS = 64


@dataclass(frozen=True)
class Scored:
    """One made field of some documents.

    Args:
        nats_N: float64, −ln p of the field, given all before it.
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
        ends = np.flatnonzero(document == layout.end)
        number = task.order.index(name)
        begin = int(ends[number - 1]) + 1 if number else 1
        for place, position in enumerate(range(begin + 1, int(ends[number]) + 1)):
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
