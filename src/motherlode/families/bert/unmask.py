"""From masks to text: guess every hidden token, keep the surest guesses, hide the rest again.

Masks are filled in blocks from left to right, and within a block in a given number of steps: each step guesses every
mask of the block at once and keeps as many of the most confident guesses as are due (Nie et al. 2025, LLaDA, algorithm
5, low-confidence remasking; semi-autoregressive in blocks). A block is so many masks, not so many places, so that one
rule serves continuations (masks behind a prompt) and infilling (masks between given text), with other numbers of masks
in each row of a batch.

What it trades: as many passes over the whole window as there are steps, without a cache, because each revealed token
changes what every place knows. One token a step is surest; fewer steps are faster and rasher.

A guess takes one random number and the running sum of the chances, in float64. Noise for every token of the vocabulary
(Gumbel's, as LLaDA draws) gives the same chances for ten times the work, and in float32 those of a lower temperature
(Zheng et al. 2024, 2409.02908). Only masks that are still open are guessed.

A rule may forbid tokens by what stands around a place. Guesses are made apart, so two that are kept on one step may
forbid each other: then the less sure one stays a mask, and the block takes a pass more.

Shape legend: B batch, T tokens, K masks of a block, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from motherlode.families import Rule
from motherlode.networks.shapes import Float, Int

Predict = Callable[[Tensor, Tensor], Tensor]
"""(tokens int64 (B, T), places int64 (B, K)) → logits (B, K, V) at these places; −inf for what must not be written."""


def unmask(
    predict: Predict,
    tokens_BT: Int[Tensor, "batch tokens"],
    mask: int,
    *,
    block_tokens: int,
    steps: int,
    temperature: float,
    rng: torch.Generator,
    rule: Rule | None = None,
) -> Iterator[Tensor]:
    """Fill every mask and leave all other tokens as they are; yields int64 (B, T) after each block.

    Args:
        predict: the model.
        tokens_BT: int64, masks among them.
        mask: the mask token.
        block_tokens: masks filled before those to their right are touched.
        steps: passes a block, at most one for each of its masks; a rule may take a few more.
        temperature: of the guesses; 0 takes the likeliest.
        rng: where the randomness comes from.
        rule: what may be written where; None: anything.
    """
    tokens_BT = tokens_BT.clone()
    is_mask_BT = tokens_BT == mask
    block_BT = (is_mask_BT.cumsum(1) - 1) // block_tokens
    num_blocks = int(block_BT.max()) + 1 if bool(is_mask_BT.any()) else 0
    if not num_blocks:
        yield tokens_BT
    for block in range(num_blocks):
        places_BK = _set_first(is_mask_BT & (block_BT == block))
        _fill(predict, tokens_BT, places_BK, mask, min(steps, places_BK.shape[1]), temperature, rng, rule)
        yield tokens_BT.clone()


def _set_first(is_set_BT: Tensor) -> Tensor:
    """Places that are set, as many as the row with the most of them has; rows with fewer go on with others."""
    most = int(is_set_BT.sum(1).max())
    return (~is_set_BT).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]


def _fill(
    predict: Predict,
    tokens_BT: Tensor,
    places_BK: Tensor,
    mask: int,
    steps: int,
    temperature: float,
    rng: torch.Generator,
    rule: Rule | None,
) -> None:
    """Fill the masks among `places_BK` in place."""
    while bool((is_open_BK := tokens_BT.gather(1, places_BK) == mask).any()):
        first_BK = _set_first(is_open_BK)
        places_BK, is_open_BK = places_BK.gather(1, first_BK), is_open_BK.gather(1, first_BK)
        logits_BKV = predict(tokens_BT, places_BK)
        if rule is not None:
            logits_BKV = logits_BKV.masked_fill(~rule.allowed(tokens_BT, places_BK), -torch.inf)
        guesses_BK, confidence_BK = guess(logits_BKV, temperature, rng)
        order_BK = confidence_BK.masked_fill(~is_open_BK, -1.0).argsort(dim=1, descending=True, stable=True)
        due_B = -(-is_open_BK.sum(1) // max(steps, 1))
        tokens_BT.copy_(_written(tokens_BT, places_BK, guesses_BK, is_open_BK, order_BK.argsort(dim=1), due_B, rule))
        steps -= 1


def _written(
    tokens_BT: Tensor,
    places_BK: Tensor,
    guesses_BK: Tensor,
    is_open_BK: Tensor,
    rank_BK: Tensor,
    due_B: Tensor,
    rule: Rule | None,
) -> Tensor:
    """The tokens with as many of the surest guesses as are due, or as many fewer, but one, as the rule lets stand."""
    while True:
        kept_BK = is_open_BK & (rank_BK < due_B[:, None])
        here_BK = torch.where(kept_BK, guesses_BK, tokens_BT.gather(1, places_BK))
        written_BT = tokens_BT.scatter(1, places_BK, here_BK)
        if rule is None:
            return written_BT
        is_wrong_B = (kept_BK & ~rule.fits(written_BT, places_BK)).any(1) & (due_B > 1)
        if not bool(is_wrong_B.any()):
            return written_BT
        due_B = due_B - is_wrong_B.to(due_B.dtype)


def guess(
    logits_BKV: Float[Tensor, "batch places vocabulary"], temperature: float, rng: torch.Generator
) -> tuple[Int[Tensor, "batch places"], Float[Tensor, "batch places"]]:
    """A token for each place, and the probability the model gives it at temperature 1."""
    chances_BKV = logits_BKV.float().softmax(2)
    if temperature == 0:
        guesses_BK1 = logits_BKV.argmax(2, keepdim=True)
    else:
        exact = torch.float32 if logits_BKV.device.type == "mps" else torch.float64
        drawn_BKV = chances_BKV if temperature == 1 else (logits_BKV.float() / temperature).softmax(2)
        sums_BKV = drawn_BKV.cumsum(2, dtype=exact)
        uniform_BK1 = torch.rand((*sums_BKV.shape[:2], 1), generator=rng, device=rng.device, dtype=exact)
        guesses_BK1 = torch.searchsorted(sums_BKV, uniform_BK1.to(sums_BKV.device) * sums_BKV[..., -1:], right=True)
        guesses_BK1 = guesses_BK1.clamp(max=sums_BKV.shape[2] - 1)
    return guesses_BK1.squeeze(2), chances_BKV.gather(2, guesses_BK1).squeeze(2)
