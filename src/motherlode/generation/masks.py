"""Documents of fields from a model that fills masks: what is given stands there, and a mask where it makes something.

Each mask is filled under its field's rule at its place, so that a picture comes out whole here too. The number of masks
must be known before the first is filled, so only labels and fields of fixed size can be made; there is no row without
what is given, so no guidance. Passes over the window are `generate.steps` for each `generate.block_tokens` masks.

Shape legend: T tokens, B = 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from motherlode.errors import RecipeError
from motherlode.generation.composing import FieldRules, Opening, Part
from motherlode.generation.filling import refuse
from motherlode.randomness import torch_generator
from motherlode.recipe import GenerateOptions

if TYPE_CHECKING:
    from motherlode.families import Family


def fill(
    family: Family,
    requests: Iterable[tuple[int, Opening]],
    rules: FieldRules,
    options: GenerateOptions,
    *,
    mask: int,
    seed: int,
    variant: str,
    device: str,
) -> Iterator[Part]:
    """Parts of numbered documents, one document after another, field after field.

    Raises:
        RecipeError: options that a model that fills masks cannot honour, or a field of no fixed size.
    """
    refuse(options, ("guidance",))
    for number, opening in requests:
        tokens_T, within_T2, spans = _masked(rules, opening, mask)
        rng = torch_generator(seed, "generate", number, device=device)
        states = family.fill(
            torch.from_numpy(tokens_T)[None].to(device),
            options,
            rng=rng,
            variant=variant,
            within_T2=torch.from_numpy(within_T2).to(device),
        )
        *_, filled_BT = states
        filled_T, num_drawn = filled_BT[0].cpu().numpy(), 0
        for place, (name, first, end) in enumerate(spans):
            num_drawn += int((tokens_T[first:end] == mask).sum())
            yield Part(number, name, filled_T[first:end], True, num_drawn, place + 1 == len(spans))


def _masked(
    rules: FieldRules, opening: Opening, mask: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[tuple[str, int, int]]]:
    """A document with masks, the ids each place may take, and where its made fields lie (name, first, end)."""
    pieces: list[int] = [rules.bos]
    within: list[tuple[int, int]] = [(0, 1)]
    spans = []

    def add(tokens: Iterable[int]) -> None:
        for token in tokens:
            pieces.append(int(token))
            within.append((int(token), int(token) + 1))

    for one in rules.fields:
        add([one.begin])
        if one.name in opening.given:
            add(opening.given[one.name])
        else:
            if one.num_tokens is None:
                raise RecipeError(
                    "a model that fills masks makes fields of a fixed size only",
                    one.name,
                    "ask for another task, or use a run of `family: gpt`",
                )
            first, kept = len(pieces), opening.kept.get(one.name, np.empty(0, np.int64))
            add(kept)
            for place in range(len(kept), one.num_tokens):
                (ids,) = rules.layout.ranges(one.name, place)
                pieces.append(mask)
                within.append(ids)
            spans.append((one.name, first, len(pieces)))
        add([rules.layout.end])
    return np.array(pieces, np.int64), np.array(within, np.int64), spans
