"""One step of a GPT on a CPU, without what a step does not need.

transformers' own forward builds masks, grows its cache by copying it, casts norms back and forth and calls some ninety
small operators a step. `Lean` runs the same weights through matrix products in the processor's own blocked layout
(oneDNN) and the compiled loops of `kernels`. A token's numbers do not depend on the other tokens of a batch, so that a
text comes out the same in any batch; products are padded to eight rows for that (bf16: two), because oneDNN takes
another order of sums for fewer, and on processors with AMX a prompt's go 32 rows at a time, in up to twice the time. It
knows two architectures, NanoChat and Qwen3; for others there is `plain`.

Weights and cache are bf16 where the processor multiplies it (as training did), else float32. Against the better of
transformers' `generate` in float32 and bf16 (6 layers, width 384, vocabulary 8192, 2 cores, `bench/generation.py`): 2.8
times the tokens a second at batch 1, 3.3 at batch 16, the first token in 0.42 of the time.

Shape legend: N tokens of this step, R texts, V vocabulary, C width, L layers, S slots of the cache, G heads of keys,
T places of a slot, D features of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_LEAST_ROWS = {torch.float32: 8, torch.bfloat16: 2}
"""Below this oneDNN and MKL sum in another order."""
_MOST_ROWS = 32
"""Above this oneDNN may sum bf16 in another order where the processor has AMX, and in one order elsewhere."""
_MOST_TOKENS = 1024
"""Tokens of prompts that go through the layers at a time."""
_PACKED_ROWS = 16
"""The number of rows that the blocked layout is chosen for."""


@dataclass(frozen=True)
class _Kind:
    """What sets an architecture apart.

    Args:
        norm_first: queries and keys are normalised before they are rotated, and have gains.
        turn: sense of the rotation, 1 or -1.
        opens: embeddings are normalised before the first layer.
        inner: names of the matrices into the inner width; two make a gate.
        outer: name of the matrix back.
    """

    norm_first: bool
    turn: float
    opens: bool
    inner: tuple[str, ...]
    outer: str


_KINDS = {
    "nanochat": _Kind(norm_first=False, turn=-1.0, opens=True, inner=("fc1",), outer="fc2"),
    "qwen3": _Kind(norm_first=True, turn=1.0, opens=False, inner=("gate_proj", "up_proj"), outer="down_proj"),
}
_ACTIVATIONS = {"nanochat": "relu2", "qwen3": "silu"}


def fits(network: Any) -> bool:
    """Whether `Lean` computes what `network` computes."""
    config = network.config
    kind = config.model_type
    if kind not in _KINDS or network.device.type != "cpu" or config.hidden_act != _ACTIVATIONS[kind]:
        return False
    is_plain = not config.attention_bias and not getattr(config, "use_sliding_window", False)
    return is_plain and config.rope_parameters["rope_type"] == "default"


def multiplies_bf16() -> bool:
    """Whether this processor has instructions for bf16 products; elsewhere they are slower than float32."""
    cpu: Any = torch.cpu
    return _has_onednn() and bool(cpu._is_avx512_bf16_supported())  # noqa: SLF001


def _has_onednn() -> bool:
    backends: Any = torch.backends
    return bool(backends.mkldnn.is_available())


@dataclass(frozen=True)
class _Layer:
    """A layer's weights, ready to use."""

    first_gain_C: NDArray[np.float32]
    second_gain_C: NDArray[np.float32]
    head_gains_2D: NDArray[np.float32]
    into_heads: Callable[[Tensor], Tensor]
    out_of_heads: Callable[[Tensor], Tensor]
    into_inner: Callable[[Tensor], Tensor]
    out_of_inner: Callable[[Tensor], Tensor]


class Weights:
    """A network's weights as `Lean` uses them; any number of decoders may share them.

    Args:
        network: a causal language model of transformers for which `fits` holds; it is not changed.
        window: tokens of a text at most.
        dtype: torch.bfloat16 or torch.float32, of products and cache.
    """

    def __init__(self, network: Any, window: int, dtype: torch.dtype) -> None:
        config = network.config
        self.kind = _KINDS[config.model_type]
        self.dtype = dtype
        self.window = window
        self.num_heads, self.num_groups = config.num_attention_heads, config.num_key_value_heads
        self.size = network.model.layers[0].self_attn.head_dim
        self.eps = np.float32(config.rms_norm_eps)
        self.softcap = getattr(config, "final_logit_softcapping", None)
        self.table_VC = _floats(network.model.embed_tokens.weight)
        self.layers = [self._layer(layer) for layer in network.model.layers]
        self.last_gain_C = self._gain(network.model.norm)
        self.head = _product([network.lm_head.weight], dtype)
        self.cos_TR, self.sin_TR = self._angles(network)

    def _angles(self, network: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """cos and sin (T, D / 2) of the angles at each place, from the network's own table."""
        places = torch.arange(self.window)[None]
        like = torch.empty(0, dtype=torch.float32)
        cos, sin = network.model.rotary_emb(like, places)
        half = self.size // 2
        return _floats(cos[0, :, :half]), _floats(sin[0, :, :half]) * np.float32(self.kind.turn)

    def _gain(self, norm: nn.Module) -> NDArray[np.float32]:
        weight = getattr(norm, "weight", None)
        return np.ones(self.table_VC.shape[1], np.float32) if weight is None else _floats(weight)

    def _layer(self, layer: Any) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        gains = [getattr(norm, "weight", torch.ones(self.size)) for norm in (attention.q_norm, attention.k_norm)]
        heads = [attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight]
        return _Layer(
            first_gain_C=self._gain(layer.input_layernorm),
            second_gain_C=self._gain(layer.post_attention_layernorm),
            head_gains_2D=_floats(torch.stack(gains)),
            into_heads=_product(heads, self.dtype),
            out_of_heads=_product([attention.o_proj.weight], self.dtype),
            into_inner=_product([getattr(mlp, name).weight for name in self.kind.inner], self.dtype),
            out_of_inner=_product([getattr(mlp, self.kind.outer).weight], self.dtype),
        )


class Lean:
    """A decoder of `decoding.Decoder`'s form; see the module.

    Args:
        weights: of the model.
        num_slots: texts in the cache at a time.
    """

    def __init__(self, weights: Weights, num_slots: int) -> None:
        self._weights = weights
        self._lengths_S = np.zeros(num_slots, np.int64)
        shape = len(weights.layers), num_slots, weights.num_groups, 0, weights.size
        self._keys: NDArray[Any] = np.empty(shape, np.uint16 if weights.dtype == torch.bfloat16 else np.float32)
        self._values = self._keys.copy()
        self._scores_T = np.empty(0, np.float32)

    @torch.inference_mode()
    def feed(self, slots: Sequence[int], tokens: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """Append tokens to the texts in `slots`; logits (R, V) of what follows each. See `decoding.Decoder`."""
        nums_R = np.array([len(more) for more in tokens])
        starts_R = self._lengths_S[np.asarray(slots)]
        self._make_room(int((starts_R + nums_R).max()))
        slots_N = np.repeat(np.asarray(slots, np.int64), nums_R)
        places_N = np.concatenate([np.arange(start, start + num) for start, num in zip(starts_R, nums_R)])
        tokens_N = np.concatenate(tokens)
        ends_R = nums_R.cumsum() - 1
        parts = []
        for first in range(0, len(tokens_N), _MOST_TOKENS):
            part = slice(first, first + _MOST_TOKENS)
            wanted = ends_R[(ends_R >= first) & (ends_R < first + _MOST_TOKENS)] - first
            parts.append(self._forward(tokens_N[part], slots_N[part], places_N[part], wanted))
        self._lengths_S[np.asarray(slots)] += nums_R
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def clear(self, slot: int) -> None:
        """Forget the text in a slot."""
        self._lengths_S[slot] = 0

    def _forward(
        self,
        tokens_N: NDArray[np.int64],
        slots_N: NDArray[np.int64],
        places_N: NDArray[np.int64],
        wanted_R: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Run tokens through all layers; logits (R, V) at `wanted_R` of them."""
        from motherlode.generation import kernels

        weights = self._weights
        num, width = len(tokens_N), weights.table_VC.shape[1]
        x_NC = weights.table_VC[tokens_N]
        normed = torch.empty(num, width, dtype=weights.dtype)
        mixed = torch.empty(num, weights.num_heads * weights.size, dtype=weights.dtype)
        normed_NC, mixed_NHD = _stored(normed), _stored(mixed).reshape(num, weights.num_heads, weights.size)
        queries_NHD = np.empty(mixed_NHD.shape, np.float32)
        if weights.kind.opens:
            kernels.add_norm(x_NC, normed_NC[:0], weights.last_gain_C, weights.eps, x_NC)
        more_NC = normed_NC[:0]
        for layer, keys, values in zip(weights.layers, self._keys, self._values):
            kernels.add_norm(x_NC, more_NC, layer.first_gain_C, weights.eps, normed_NC)
            qkv_NE = _stored(layer.into_heads(normed))
            kernels.rotate(
                qkv_NE, layer.head_gains_2D, weights.eps, weights.kind.norm_first, weights.cos_TR, weights.sin_TR,
                slots_N, places_N, queries_NHD, keys, values,
            )  # fmt: skip
            kernels.attend(queries_NHD, keys, values, slots_N, places_N, self._scores_T, mixed_NHD)
            kernels.add_norm(x_NC, _stored(layer.out_of_heads(mixed)), layer.second_gain_C, weights.eps, normed_NC)
            more_NC = _stored(layer.out_of_inner(_activated(layer.into_inner(normed), len(weights.kind.inner) == 2)))
        x_RC = x_NC[wanted_R]
        last = torch.empty(len(wanted_R), width, dtype=weights.dtype)
        kernels.add_norm(x_RC, more_NC[wanted_R], weights.last_gain_C, weights.eps, _stored(last))
        logits = weights.head(last).float()
        if weights.softcap is not None:
            logits = logits.div_(weights.softcap).tanh_().mul_(weights.softcap)
        found: NDArray[np.float32] = logits.numpy()
        return found

    def _make_room(self, num: int) -> None:
        """Let slots hold `num` places: by half as much again each time, so that growing costs little in all."""
        old = self._keys.shape[3]
        if num <= old:
            return
        new = min(max(num, old * 3 // 2, 64), max(num, self._weights.window))
        shape = (*self._keys.shape[:3], new, self._weights.size)
        keys, values = np.empty(shape, self._keys.dtype), np.empty(shape, self._keys.dtype)
        keys[:, :, :, :old], values[:, :, :, :old] = self._keys, self._values
        self._keys, self._values, self._scores_T = keys, values, np.empty(new, np.float32)


def _activated(inner: Tensor, is_gate: bool) -> Tensor:
    from motherlode.generation import kernels

    if not is_gate:
        kernels.relu_squared(_stored(inner))
        return inner
    gated = torch.empty(inner.shape[0], inner.shape[1] // 2, dtype=inner.dtype)
    kernels.gate(_stored(inner), _stored(gated))
    return gated


@torch.inference_mode()
def _product(weights: Sequence[Tensor], dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """x → x·Wᵀ for weights side by side, kept in oneDNN's blocked layout where torch has it."""
    weight = torch.cat([part.detach() for part in weights]).to(dtype)
    least = _LEAST_ROWS[dtype]
    splits = dtype == torch.bfloat16 and torch.cpu._is_amx_tile_supported()  # noqa: SLF001
    operators = torch.ops.mkldnn
    if _has_onednn() and hasattr(operators, "_reorder_linear_weight"):
        packed = operators._reorder_linear_weight(weight, _PACKED_ROWS)  # noqa: SLF001
        multiply = operators._linear_pointwise.default  # noqa: SLF001

        def product(x: Tensor) -> Tensor:
            found: Tensor = multiply(x, packed, None, "none", [], "")
            return found
    else:

        def product(x: Tensor) -> Tensor:
            return nn.functional.linear(x, weight)

    def invariant(x: Tensor) -> Tensor:
        num = x.shape[0]
        if num < least:
            return product(nn.functional.pad(x, (0, 0, 0, least - num)))[:num]
        if splits and num > _MOST_ROWS:
            return torch.cat([invariant(part) for part in torch.split(x, _MOST_ROWS)])
        return product(x)

    return invariant


def _stored(tensor: Tensor) -> NDArray[Any]:
    """The same memory as an array of `kernels`."""
    found: NDArray[Any] = (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return found


def _floats(tensor: Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = tensor.detach().float().contiguous().numpy()
    return found
