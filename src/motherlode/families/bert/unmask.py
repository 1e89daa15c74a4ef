"""From masks to text: guess every hidden token, keep the surest guesses, hide the rest again.

Masks are filled in blocks from left to right, and within a block in a given number of steps: each step guesses every
mask of the block at once and keeps as many of the most confident guesses as are due (Nie et al. 2025, LLaDA, algorithm
5, low-confidence remasking; semi-autoregressive in blocks). A block is so many masks, not so many places, so that one
rule serves continuations (masks behind a prompt) and infilling (masks between given text), with other numbers of masks
in each row of a batch.

What it trades: as many passes over the whole window as there are steps, without a cache, because each revealed token
changes what every place knows. One token a step is surest; fewer steps are faster and rasher.

Sampling is Gumbel's: argmax(logits / temperature + g). In float32 the draws of g are cut off so early that the result
is that of a lower temperature (Zheng et al. 2024, 2409.02908), hence float64.

Shape legend: B batch, T tokens, K masks of a block, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

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
) -> Iterator[Tensor]:
    """Fill every mask and leave all other tokens as they are; yields int64 (B, T) after each block.

    Args:
        predict: the model.
        tokens_BT: int64, masks among them.
        mask: the mask token.
        block_tokens: masks filled before those to their right are touched.
        steps: passes a block, at most one for each of its masks.
        temperature: of the guesses; 0 takes the likeliest.
        rng: where the randomness comes from.
    """
    tokens_BT = tokens_BT.clone()
    is_mask_BT = tokens_BT == mask
    block_BT = (is_mask_BT.cumsum(1) - 1) // block_tokens
    num_blocks = int(block_BT.max()) + 1 if bool(is_mask_BT.any()) else 0
    if not num_blocks:
        yield tokens_BT
    for block in range(num_blocks):
        inside_BT = is_mask_BT & (block_BT == block)
        num_masks = int(inside_BT.sum(1).max())
        places_BK = (~inside_BT).to(torch.uint8).argsort(dim=1, stable=True)[:, :num_masks]
        _fill(predict, tokens_BT, places_BK, mask, min(steps, num_masks), temperature, rng)
        yield tokens_BT.clone()


def _fill(
    predict: Predict,
    tokens_BT: Tensor,
    places_BK: Tensor,
    mask: int,
    steps: int,
    temperature: float,
    rng: torch.Generator,
) -> None:
    """Fill the masks among `places_BK` in place."""
    for remaining in range(steps, 0, -1):
        open_BK = tokens_BT.gather(1, places_BK) == mask
        guesses_BK, confidence_BK = guess(predict(tokens_BT, places_BK), temperature, rng)
        due_B = -(-open_BK.sum(1) // remaining)
        order_BK = confidence_BK.masked_fill(~open_BK, -1.0).argsort(dim=1, descending=True, stable=True)
        kept_BK = open_BK & (order_BK.argsort(dim=1) < due_B[:, None])
        written_BK = torch.where(kept_BK, guesses_BK, tokens_BT.gather(1, places_BK))
        tokens_BT.scatter_(1, places_BK, written_BK)


def guess(
    logits_BKV: Float[Tensor, "batch places vocabulary"], temperature: float, rng: torch.Generator
) -> tuple[Int[Tensor, "batch places"], Float[Tensor, "batch places"]]:
    """A token for each place, and the probability the model gives it at temperature 1."""
    exact = torch.float32 if logits_BKV.device.type == "mps" else torch.float64
    logits_BKV = logits_BKV.to(exact)
    noisy_BKV = logits_BKV
    if temperature > 0:
        uniform_BKV = torch.rand(logits_BKV.shape, generator=rng, device=rng.device, dtype=exact).to(logits_BKV.device)
        noisy_BKV = logits_BKV / temperature - (-uniform_BKV.log()).log()
    guesses_BK = noisy_BKV.argmax(2)
    confidence_BK = logits_BKV.softmax(2).gather(2, guesses_BK[:, :, None]).squeeze(2)
    return guesses_BK, confidence_BK
