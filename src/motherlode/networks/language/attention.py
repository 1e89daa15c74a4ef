"""Attention that stays inside documents, registered with transformers under the name `motherlode`.

A packed window holds the end of one document, whole ones, and the beginning of another. A token may look at its own
document only, so its mask follows from one number: where its document starts. Positions count from there.

On a CPU the training path multiplies matrices itself: torch's `scaled_dot_product_attention` has a bf16 backward there
that costs several times its forward. Everything else (GPUs, generation with a cache) goes through transformers' own
call of that function.

Shape legend: B batch, H heads, T tokens (queries), S tokens (keys), D features of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from motherlode.networks.shapes import Bool, Int

NAME = "motherlode"


def document_starts(tokens_BT: Int[Tensor, "batch tokens"], bos: int) -> Int[Tensor, "batch tokens"]:
    """For each token the index in its window at which its document begins; 0 before the first `bos`."""
    index_T = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
    return torch.where(tokens_BT == bos, index_T, 0).cummax(1).values


def document_mask(
    starts_BT: Int[Tensor, "batch tokens"], *, causal: bool = True
) -> Bool[Tensor, "batch 1 tokens tokens"]:
    """True where a token (row) may look at another (column): in its document and, if `causal`, not after itself."""
    index_T = torch.arange(starts_BT.shape[1], device=starts_BT.device)
    if causal:
        allowed_BTS = (index_T >= starts_BT[:, :, None]) & (index_T <= index_T[:, None])
    else:
        allowed_BTS = starts_BT[:, :, None] == starts_BT[:, None, :]
    return allowed_BTS[:, None]


def attend(
    module: nn.Module,
    query_BHTD: Tensor,
    key_BHSD: Tensor,
    value_BHSD: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention in transformers' form: returns (B, T, H, D) and no weights.

    Args:
        module: the layer; transformers reads `is_causal` and `num_key_value_groups` from it.
        attention_mask: bool (B, 1, T, S), True where a query may look; None: causal, or all where T is 1.
        dropout: of attention weights; must be 0 on the explicit path, which else is not taken.
        scaling: of the scores; default 1 / sqrt(D).
        others: passed on to transformers.
    """
    explicit = query_BHTD.device.type == "cpu" and torch.is_grad_enabled() and not dropout
    if attention_mask is None or not explicit or query_BHTD.shape[1] != key_BHSD.shape[1]:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query_BHTD, key_BHSD, value_BHSD, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return found
    factor = query_BHTD.shape[-1] ** -0.5 if scaling is None else scaling
    scores_BHTS = (query_BHTD @ key_BHSD.transpose(2, 3)).float() * factor
    scores_BHTS = scores_BHTS.masked_fill(~attention_mask, -torch.inf)
    weights_BHTS = torch.softmax(scores_BHTS, dim=-1).to(value_BHSD.dtype)
    return (weights_BHTS @ value_BHSD).transpose(1, 2).contiguous(), None


def register() -> str:
    """Make `attend` known to transformers; returns the name to give as `attn_implementation`."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME
