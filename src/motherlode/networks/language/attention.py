"""Attention that stays inside documents, registered with transformers under the name `motherlode`.

A packed window holds the end of one document, whole ones, and the beginning of another. A token may look at its own
document only, so its mask follows from one number: where its document starts. Positions count from there.

On a CPU the training path multiplies matrices itself: torch's `scaled_dot_product_attention` has a bf16 backward there
that costs several times its forward. Scores and weights keep the precision of the products (the softmax counts in
float32 all the same), and causal attention goes by pieces of the window, each of which meets only the keys before its
end. Everything else (GPUs, generation with a cache) goes through transformers' own call of that function.

Shape legend: B batch, H heads, T tokens (queries), S tokens (keys), D features of a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from motherlode.networks.shapes import Bool, Int

NAME = "motherlode"
_PIECE_TOKENS = 128


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
    causal = getattr(module, "is_causal", False) and query_BHTD.shape[2] == key_BHSD.shape[2]
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else value_BHSD.dtype
    inputs = [tensor.to(dtype) for tensor in (query_BHTD, key_BHSD, value_BHSD)]
    # Autocast would have the softmax in float32, at twice the memory and time.
    with torch.autocast("cpu", enabled=False):
        out_BTHD: Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
            *inputs, attention_mask, factor, _PIECE_TOKENS if causal else 0
        )
    return out_BTHD, None


def _pieces(num_queries: int, num_keys: int, piece: int) -> list[tuple[slice, slice]]:
    """Queries, and the keys they may look at; all of both where `piece` is 0."""
    if not piece:
        return [(slice(0, num_queries), slice(0, num_keys))]
    ends = [min(start + piece, num_queries) for start in range(0, num_queries, piece)]
    return [(slice(start, end), slice(0, end)) for start, end in zip([0, *ends], ends)]


class _Attention(torch.autograd.Function):
    """softmax(QKᵀ · factor) V under a mask, piece by piece; all that is kept for the way back are the weights."""

    @staticmethod
    def forward(
        ctx: Any, query_BHTD: Tensor, key_BHSD: Tensor, value_BHSD: Tensor, mask: Tensor, factor: float, piece: int
    ) -> Tensor:
        key_BHDS = key_BHSD.transpose(2, 3)
        outs, kept = [], []
        for queries, keys in _pieces(query_BHTD.shape[2], key_BHSD.shape[2], piece):
            scores_BHTS = (query_BHTD[:, :, queries] @ key_BHDS[..., keys]).mul_(factor)
            scores_BHTS.masked_fill_(~mask[:, :, queries, keys], -torch.inf)
            weights_BHTS = torch.softmax(scores_BHTS, dim=-1)
            outs.append((weights_BHTS @ value_BHSD[:, :, keys]).transpose(1, 2))
            kept.append(weights_BHTS)
        ctx.save_for_backward(query_BHTD, key_BHSD, value_BHSD, *kept)
        ctx.factor, ctx.piece = factor, piece
        return torch.cat(outs, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query_BHTD, key_BHSD, value_BHSD, *kept = ctx.saved_tensors
        grad_BHTD = grads[0].transpose(1, 2)
        query_grads = []
        key_grad_BHSD, value_grad_BHSD = torch.zeros_like(key_BHSD), torch.zeros_like(value_BHSD)
        pieces = _pieces(query_BHTD.shape[2], key_BHSD.shape[2], ctx.piece)
        for (queries, keys), weights_BHTS in zip(pieces, kept):
            grad = grad_BHTD[:, :, queries]
            value_grad_BHSD[:, :, keys] += weights_BHTS.transpose(2, 3) @ grad
            slope_BHTS = grad @ value_BHSD[:, :, keys].transpose(2, 3)
            # d softmax: w (g − Σ w g), one kernel that counts in float32
            slope_BHTS = torch._softmax_backward_data(slope_BHTS, weights_BHTS, -1, weights_BHTS.dtype)  # noqa: SLF001
            slope_BHTS = slope_BHTS.mul_(ctx.factor)
            query_grads.append(slope_BHTS @ key_BHSD[:, :, keys])
            key_grad_BHSD[:, :, keys] += slope_BHTS.transpose(2, 3) @ query_BHTD[:, :, queries]
        return torch.cat(query_grads, 2), key_grad_BHSD, value_grad_BHSD, None, None, None


def register() -> str:
    """Make `attend` known to transformers; returns the name to give as `attn_implementation`."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    return NAME
