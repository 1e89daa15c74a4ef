"""Compiled loops between the matrix products of a decoding step: norms, rotary positions, attention, activations.

Each works on a flat list of tokens, any of any text, and computes every token by itself in an order that depends on
nothing else in the batch: that is why a text comes out the same whoever it shares a batch with. Numbers are float32;
what goes into a matrix product or is kept in a cache is stored as float32 or as bf16 in a uint16, whichever type the
array has. A step of 16 texts of a 6-layer model 384 wide spends about a fifth of its time here.

Shape legend: N tokens of this step, C width, E width of queries, keys and values together, H heads, G heads of keys,
D features of a head, R half of D, S slots of the cache, T places of a slot, I inner width.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.generation.bits import from_bits, narrow, wide
from motherlode.modality._compiled import compiled, fast

Stored = NDArray[Any]
"""float32, or bf16 kept in uint16."""


@fast
def add_norm(
    x_NC: NDArray[np.float32], more_NC: Stored, gain_C: NDArray[np.float32], eps: np.float32, out_NC: Stored
) -> None:
    """x += more; out = RMSNorm(x) · gain (Zhang & Sennrich 2019, eq. 4). `more` of no rows adds nothing."""
    width = x_NC.shape[1]
    has_more = more_NC.shape[0] > 0
    for n in range(x_NC.shape[0]):
        x_C, out_C = x_NC[n], out_NC[n]
        if has_more:
            more_C = more_NC[n]
            for c in range(width):
                x_C[c] += wide(more_C[c])
        squares = np.float32(0)
        for c in range(width):
            squares += x_C[c] * x_C[c]
        factor = np.float32(1) / np.sqrt(squares / np.float32(width) + eps)
        for c in range(width):
            out_C[c] = narrow(x_C[c] * factor * gain_C[c], out_C)


@fast
def _norm_rotate(
    head_D: Stored,
    gain_D: NDArray[np.float32],
    eps: np.float32,
    norm_first: bool,
    cos_R: NDArray[np.float32],
    sin_R: NDArray[np.float32],
    out_D: Stored,
) -> None:
    """Normalise one head of one token and turn its halves by the angles of its place, in either order.

    RoPE (Su et al. 2021, eq. 34) with features i and i + R as a pair; QK-norm (Henry et al. 2020).
    """
    half = cos_R.shape[0]
    squares = np.float32(0)
    for d in range(2 * half):
        squares += wide(head_D[d]) * wide(head_D[d])
    # A rotation keeps the length, so the factor is the same before and after.
    factor = np.float32(1) / np.sqrt(squares / np.float32(2 * half) + eps)
    for r in range(half):
        first, second = wide(head_D[r]) * factor, wide(head_D[r + half]) * factor
        if norm_first:
            first, second = first * gain_D[r], second * gain_D[r + half]
        turned_first = first * cos_R[r] - second * sin_R[r]
        turned_second = second * cos_R[r] + first * sin_R[r]
        if not norm_first:
            turned_first, turned_second = turned_first * gain_D[r], turned_second * gain_D[r + half]
        out_D[r] = narrow(turned_first, out_D)
        out_D[r + half] = narrow(turned_second, out_D)


@fast
def rotate(
    qkv_NE: Stored,
    gains_2D: NDArray[np.float32],
    eps: np.float32,
    norm_first: bool,
    cos_TR: NDArray[np.float32],
    sin_TR: NDArray[np.float32],
    slots_N: NDArray[np.int64],
    places_N: NDArray[np.int64],
    queries_NHD: NDArray[np.float32],
    keys_SGTD: Stored,
    values_SGTD: Stored,
) -> None:
    """Normalise and rotate the queries and keys of each token; keys and values go to their place in the cache."""
    num_heads, size = queries_NHD.shape[1], queries_NHD.shape[2]
    num_groups = keys_SGTD.shape[1]
    for n in range(qkv_NE.shape[0]):
        slot, place = slots_N[n], places_N[n]
        cos_R, sin_R = cos_TR[place], sin_TR[place]
        for h in range(num_heads):
            _norm_rotate(
                qkv_NE[n, h * size : (h + 1) * size], gains_2D[0], eps, norm_first, cos_R, sin_R, queries_NHD[n, h]
            )
        for g in range(num_groups):
            at = (num_heads + g) * size
            _norm_rotate(
                qkv_NE[n, at : at + size], gains_2D[1], eps, norm_first, cos_R, sin_R, keys_SGTD[slot, g, place]
            )
            at += num_groups * size
            for d in range(size):
                values_SGTD[slot, g, place, d] = qkv_NE[n, at + d]


# Not `fast`: reordering would undo the two steps in which k·ln 2 is taken off.
@compiled
def exp_32(x: np.float32) -> np.float32:
    """exp(x) for x ≤ 88 to 2 ulp, in operations that run on vectors; at most 1e-38 below -87.

    2^k · exp(f) with f = x - k·ln 2 and |f| ≤ ln 2 / 2; the polynomial is that of Cephes' expf.
    """
    x = min(max(x, np.float32(-87.0)), np.float32(88.0))
    k = np.floor(x * np.float32(1.44269504088896341) + np.float32(0.5))
    f = x - k * np.float32(0.693359375)
    f = f + k * np.float32(2.12194440e-4)
    series = np.float32(1.9875691500e-4)
    series = series * f + np.float32(1.3981999507e-3)
    series = series * f + np.float32(8.3334519073e-3)
    series = series * f + np.float32(4.1665795894e-2)
    series = series * f + np.float32(1.6666665459e-1)
    series = series * f + np.float32(5.0000001201e-1)
    return (series * f * f + f + np.float32(1)) * from_bits(np.int32((np.int32(k) + np.int32(127)) << 23))


@compiled
def exp_64(x: float) -> float:
    """exp(x) for x ≤ 0 to 2 ulp, in operations that run on vectors; 0 below -700.

    2^k · exp(f) as in `exp_32`, with Taylor's series to f¹³: |f|¹⁴ / 14! < 5e-18.
    """
    bounded = max(x, -700.0)
    k = np.floor(bounded * 1.4426950408889634 + 0.5)
    f = bounded - k * 0.693147180369123816490
    f = f - k * 1.90821492927058770002e-10
    series = 1.0 / 6227020800.0
    for n in (479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0):
        series = series * f + 1.0 / n
    found = series * from_bits((np.int64(k) + np.int64(1023)) << np.int64(52))
    return found if x >= -700.0 else 0.0


@fast
def attend(
    queries_NHD: NDArray[np.float32],
    keys_SGTD: Stored,
    values_SGTD: Stored,
    slots_N: NDArray[np.int64],
    places_N: NDArray[np.int64],
    scores_T: NDArray[np.float32],
    out_NHD: Stored,
) -> None:
    """softmax(q·k / √D)·v over the places up to each token's own (Vaswani et al. 2017, eq. 1); G heads serve H in turn.

    Args:
        scores_T: room for the scores of one head.
    """
    num_heads, size = queries_NHD.shape[1], queries_NHD.shape[2]
    per_group = num_heads // keys_SGTD.shape[1]
    scale = np.float32(1) / np.sqrt(np.float32(size))
    sum_D = np.empty(size, np.float32)
    for n in range(queries_NHD.shape[0]):
        slot, num = slots_N[n], places_N[n] + 1
        for h in range(num_heads):
            query_D = queries_NHD[n, h]
            keys_TD, values_TD = keys_SGTD[slot, h // per_group], values_SGTD[slot, h // per_group]
            most = np.float32(-3e38)
            for t in range(num):
                score = np.float32(0)
                for d in range(size):
                    score += query_D[d] * wide(keys_TD[t, d])
                score *= scale
                scores_T[t] = score
                most = max(most, score)
            total = np.float32(0)
            for t in range(num):
                weight = exp_32(scores_T[t] - most)
                scores_T[t] = weight
                total += weight
            sum_D[:] = np.float32(0)
            for t in range(num):
                weight = scores_T[t]
                for d in range(size):
                    sum_D[d] += weight * wide(values_TD[t, d])
            for d in range(size):
                out_NHD[n, h, d] = narrow(sum_D[d] / total, out_NHD)


@fast
def relu_squared(inner_NI: Stored) -> None:
    """max(x, 0)², in place (So et al. 2021)."""
    for n in range(inner_NI.shape[0]):
        for i in range(inner_NI.shape[1]):
            x = max(wide(inner_NI[n, i]), np.float32(0))
            inner_NI[n, i] = narrow(x * x, inner_NI)


@fast
def gate(gate_up_N2I: Stored, out_NI: Stored) -> None:
    """SwiGLU (Shazeer 2020, eq. 6): x · sigmoid(x) of the first half, times the second."""
    inner = out_NI.shape[1]
    for n in range(out_NI.shape[0]):
        for i in range(inner):
            x = wide(gate_up_N2I[n, i])
            up = wide(gate_up_N2I[n, inner + i])
            out_NI[n, i] = narrow(x * up / (np.float32(1) + exp_32(-x)), out_NI)
