"""Which tokens are hidden from the model, and what each guess counts.

Two ways. At a fixed rate (ModernBERT's recipe: 30 % of the tokens; of those 80 % become the mask token, 10 % a random
one, 10 % stay), every guess counts alike. At a uniform rate (masked diffusion) a window hides k of its n tokens, k
uniform in 1..n, all of them behind the mask token, and each guess counts n / k: the mean of that over k and over which
k tokens is a bound on −log p(window), because it is the mean over all orders in which the window could be revealed.

Exactly k tokens are hidden, never each with probability t. The bound is the same number: ∫ t⁻¹ Bin(k; n, t) dt = 1 / k
(Nie et al. 2025, LLaDA, eq. 3 against eq. 6; Sahoo et al. 2024, MDLM, eq. 10), and its weights end at n where those of
1 / t do not end. Ratios are spread evenly over a batch, one offset for all (Kingma et al. 2021, VDM, appendix I.1).

The first token of a window is given, as it is to a GPT: the window before has predicted it. Tokens that begin documents
and padding are never hidden, so a model learns texts of given length and predicts no ends.

Shape legend: B batch, T tokens of a window, K places in the batch where a guess is asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from motherlode.networks.shapes import Bool, Float, Int
from motherlode.tokenizer import TokenSpace

_SHOWN_AS_MASK, _SHOWN_AS_ANOTHER = 0.8, 0.1


@dataclass(frozen=True)
class Masked:
    """Windows with tokens hidden.

    Args:
        inputs_BT: int64, what the model sees.
        places_K: int64, places b·T + t where it has to guess, then some where guesses count nothing, so that K does not
            depend on chance and one compiled graph serves every batch.
        weights_K: float32, what each guess counts; 0 for the fillers.
        num_tokens: float32 0-d; Σ weight · nats over this is the loss.
    """

    inputs_BT: Tensor
    places_K: Tensor
    weights_K: Tensor
    num_tokens: Tensor


def predictable(tokens_BT: Int[Tensor, "batch tokens"], space: TokenSpace) -> Bool[Tensor, "batch tokens"]:
    """Tokens that may be hidden, bool (B, T): neither the first of a window nor one that stands for no text."""
    allowed_BT = (tokens_BT != space.bos) & (tokens_BT != space.pad) & (tokens_BT != space.mask)
    allowed_BT[:, 0] = False
    return allowed_BT


def even_ratios(num: int, rng: torch.Generator) -> Float[Tensor, " num"]:
    """Ratios in [0, 1), float32 (num,): each uniform, all of them evenly spread: (u + i / num) mod 1."""
    offset = torch.rand((), generator=rng, device=rng.device)
    return (offset + torch.arange(num, device=rng.device) / num) % 1


def choose(
    allowed_BT: Bool[Tensor, "batch tokens"], counts_B: Int[Tensor, " batch"], rng: torch.Generator
) -> Bool[Tensor, "batch tokens"]:
    """Of the allowed places of each row exactly `counts_B`, every set of them as likely; bool (B, T)."""
    scores_BT = torch.rand(allowed_BT.shape, generator=rng, device=rng.device).to(allowed_BT.device)
    order_BT = scores_BT.masked_fill(~allowed_BT, 2.0).argsort(dim=1, stable=True)
    return (order_BT.argsort(dim=1) < counts_B[:, None]) & allowed_BT


def hide_uniform(
    tokens_BT: Int[Tensor, "batch tokens"],
    space: TokenSpace,
    rng: torch.Generator,
    ratios_B: Float[Tensor, " batch"] | None = None,
) -> Masked:
    """Hide k of the n predictable tokens of each window, k uniform in 1..n; each guess counts n / k.

    Args:
        tokens_BT: windows.
        space: what the special tokens are.
        rng: where the randomness comes from.
        ratios_B: in [0, 1), where k comes from; None draws them by `even_ratios`, and K then depends on B and T alone.
    """
    num, length = tokens_BT.shape
    allowed_BT = predictable(tokens_BT, space)
    n_B = allowed_BT.sum(1)
    spread_B = even_ratios(num, rng) if ratios_B is None else ratios_B
    k_B = torch.minimum((spread_B.to(n_B.device) * n_B).long() + 1, n_B)
    chosen_BT = choose(allowed_BT, k_B, rng)
    # Evenly spread ratios add up to (num + 1) / 2 at most.
    most = math.ceil((length - 1) * (num + 1) / 2) + num if ratios_B is None else int(k_B.sum())
    places_K, real_K = _places(chosen_BT, min(most, num * (length - 1)))
    weights_K = torch.where(real_K, (n_B / k_B.clamp_min(1))[places_K // length], 0.0)
    return Masked(tokens_BT.masked_fill(chosen_BT, space.mask), places_K, weights_K, n_B.sum().float())


def hide_fixed(
    tokens_BT: Int[Tensor, "batch tokens"],
    space: TokenSpace,
    rate: float,
    rng: torch.Generator,
    *,
    mask_all: bool = False,
) -> Masked:
    """Hide this share of the predictable tokens of each window, rounded, one at least; every guess counts 1.

    Args:
        tokens_BT: windows.
        space: what the special tokens are.
        rate: in (0, 1).
        rng: where the randomness comes from.
        mask_all: every hidden token becomes the mask token, none a random one or itself: what measures look at.
    """
    num, length = tokens_BT.shape
    counts = [0, *(max(1, round(n * rate)) for n in range(1, length))]
    allowed_BT = predictable(tokens_BT, space)
    k_B = torch.tensor(counts, device=tokens_BT.device)[allowed_BT.sum(1)]
    chosen_BT = choose(allowed_BT, k_B, rng)
    places_K, real_K = _places(chosen_BT, num * counts[-1])
    targets_K = tokens_BT.flatten()[places_K]
    shown_K = torch.full_like(targets_K, space.mask)
    if not mask_all:
        kind_K = torch.rand(len(places_K), generator=rng, device=rng.device).to(tokens_BT.device)
        another_K = torch.randint(space.vocabulary, (len(places_K),), generator=rng, device=rng.device)
        shown_K = torch.where(kind_K < _SHOWN_AS_MASK, shown_K, another_K.to(shown_K))
        shown_K = torch.where(kind_K < _SHOWN_AS_MASK + _SHOWN_AS_ANOTHER, shown_K, targets_K)
    shown_K = torch.where(real_K, shown_K, targets_K)
    inputs_BT = tokens_BT.flatten().scatter(0, places_K, shown_K).view_as(tokens_BT)
    return Masked(inputs_BT, places_K, real_K.float(), real_K.sum().float())


def _places(chosen_BT: Tensor, num: int) -> tuple[Tensor, Tensor]:
    """Where `chosen_BT` is true, then where it is not, `num` places in all; and which of them are true."""
    places_K = chosen_BT.flatten().logical_not().to(torch.uint8).argsort(stable=True)[:num]
    return places_K, chosen_BT.flatten()[places_K]
