"""Cross-entropy of a vocabulary that never holds all its logits.

A chunk of tokens at a time, the logits are made, turned into the loss and into the gradients of head and hidden state,
and forgotten. Memory is a chunk's, not a batch's; the price is that a backward that never comes has been paid for (ask
without gradients for a loss alone). Logits keep the precision of the matrix product, all that follows is float32.

Shape legend: N tokens, C features, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from motherlode.networks.shapes import Float, Int

CHUNK_TOKENS = 512


def chunked_cross_entropy(
    hidden_NC: Float[Tensor, "tokens features"],
    head_VC: Float[Tensor, "vocabulary features"],
    targets_N: Int[Tensor, " tokens"],
    weights_N: Float[Tensor, " tokens"],
    *,
    bias_V: Float[Tensor, " vocabulary"] | None = None,
    softcap: float | None = None,
    z_weight: float = 0.0,
    chunk: int = CHUNK_TOKENS,
) -> tuple[Tensor, Tensor]:
    """Σ wₙ (−log p(targetₙ) + z log² Zₙ), and −log p of each token.

    With l = hidden · headᵀ + bias and a soft cap c, the logits are c·tanh(l / c) (Gemma 2, 2024); Z = Σ exp(logits),
    and z log² Z keeps it near 1 (PaLM, 2022, with z = 1e-4).

    Args:
        hidden_NC: float; cast to autocast's precision where that is on.
        head_VC: float.
        targets_N: int64, in 0..V-1; those of tokens with weight 0 do not matter but must be in range.
        weights_N: float32, each token's weight in the sum: 1 / N gives the mean.
        bias_V: float, added to the logits.
        softcap: c; None leaves logits as they are.
        z_weight: z.
        chunk: tokens whose logits are held at a time.

    Returns:
        0-d float32 loss; float32 (N,) −log p of each token, without gradient, whatever its weight.
    """
    if torch.is_autocast_enabled(hidden_NC.device.type):
        dtype = torch.get_autocast_dtype(hidden_NC.device.type)
    else:
        dtype = hidden_NC.dtype
    wanted = torch.is_grad_enabled()
    loss, surprise_N = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_NC, head_VC, bias_V, targets_N, weights_N, softcap, z_weight, chunk, dtype, wanted
    )
    return loss, surprise_N


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Its gradients are those of the logits' chunk while it is there, scaled when the backward pass comes."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NC: Tensor,
        head_VC: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        weights_N: Tensor,
        softcap: float | None,
        z_weight: float,
        chunk: int,
        dtype: torch.dtype,
        wanted: bool,
    ) -> tuple[Tensor, Tensor]:
        head = head_VC.to(dtype)
        losses, surprises, hidden_grads = [], [], []
        head_grad_VC = torch.zeros_like(head_VC, dtype=torch.float32) if wanted else None
        bias_grad_V = torch.zeros_like(bias_V, dtype=torch.float32) if wanted and bias_V is not None else None
        parts = (torch.split(tensor, chunk) for tensor in (hidden_NC, targets_N, weights_N))
        for hidden, targets, weights in zip(*parts):
            hidden = hidden.to(dtype)
            logits_NV = (hidden @ head.T).float()
            if bias_V is not None:
                logits_NV += bias_V
            slope_NV = None
            if softcap is not None:
                slope_NV = logits_NV.div_(softcap).tanh_()
                logits_NV = slope_NV * softcap
            picked_N1 = logits_NV.gather(1, targets[:, None])
            largest_N1 = logits_NV.amax(1, keepdim=True)
            grad_NV = logits_NV.sub_(largest_N1).exp_()
            z_N1 = grad_NV.sum(1, keepdim=True)
            log_z = (z_N1.log() + largest_N1)[:, 0]
            surprise = log_z - picked_N1[:, 0]
            losses.append((weights * (surprise + z_weight * log_z.square())).sum())
            surprises.append(surprise)
            if head_grad_VC is None:
                continue
            # d/dlogits = w (p (1 + 2 z log Z) − onehot), d/draw = that · (1 − (logits / c)²)
            grad_NV *= (weights * (1 + 2 * z_weight * log_z))[:, None] / z_N1
            grad_NV.scatter_add_(1, targets[:, None], -weights[:, None])
            if slope_NV is not None:
                grad_NV *= slope_NV.square_().neg_().add_(1.0)
            if bias_grad_V is not None:
                bias_grad_V += grad_NV.sum(0)
            grad = grad_NV.to(dtype)
            hidden_grads.append(grad @ head)
            head_grad_VC += grad.T @ hidden
        if wanted:
            ctx.save_for_backward(torch.cat(hidden_grads), head_grad_VC, bias_grad_V)
            ctx.dtypes = hidden_NC.dtype, head_VC.dtype, None if bias_V is None else bias_V.dtype
        surprise_N = torch.cat(surprises)
        ctx.mark_non_differentiable(surprise_N)
        return torch.stack(losses).sum(), surprise_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad_NC, head_grad_VC, bias_grad_V = ctx.saved_tensors
        hidden_dtype, head_dtype, bias_dtype = ctx.dtypes
        scale = grads[0]
        bias_grad = None if bias_grad_V is None else (bias_grad_V * scale).to(bias_dtype)
        hidden_grad = (hidden_grad_NC * scale).to(hidden_dtype)
        return hidden_grad, (head_grad_VC * scale).to(head_dtype), bias_grad, *[None] * 7
