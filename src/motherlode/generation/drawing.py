"""Which token comes next: filters and draws, one row of logits at a time, in float64.

Logits become weights exp((logit - largest) / temperature); a filter is a least weight that a token must have; the draw
is the inverse of the cumulative sum at one uniform number, so a row consumes one random number a token whatever its
filters, and its draw depends on nothing else in the batch. The thresholds of top-k and top-p come from a selection in
expected linear time instead of a sort: 27 µs a row of 8192 without filters, 76 with top-p. Ties at a threshold stay.

The filters are those of transformers in its order: repetition penalty (Keskar et al. 2019, CTRL, section 4.1),
temperature, top-k (Fan et al. 2018), top-p (Holtzman et al. 2020), min-p (Nguyen et al. 2024).

Shape legend: R rows, S slots, A states of a text, V vocabulary.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.generation.kernels import exp_64
from motherlode.modality._compiled import compiled, fast

_NEVER = -1e300
_BLOCK = 128
_BOUND_BLOCK = 32

Floats = NDArray[np.float64]


@compiled
def draw(
    logits_RV: NDArray[np.float32],
    uniforms_R: Floats,
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    penalty: float,
    seen_SV: NDArray[np.bool_],
    slots_R: NDArray[np.int64],
    allowed_AV: NDArray[np.bool_],
    states_R: NDArray[np.int64],
    drawn_R: NDArray[np.int64],
) -> None:
    """Draw a token for each row.

    Args:
        logits_RV: finite; columns beyond V of `allowed_AV` are left out.
        uniforms_R: in [0, 1), one a row.
        temperature: 0 takes the likeliest token, the first of equals.
        top_k: 0 for none.
        top_p: in (0, 1].
        min_p: in [0, 1].
        penalty: of tokens already seen; 1 for none.
        seen_SV: which tokens the text in each slot holds; read where there is a penalty.
        slots_R: the slot of each row.
        allowed_AV: tokens that may be drawn in each state of a text, one at least.
        states_R: the state of each row's text.
        drawn_R: where the tokens go.
    """
    num = allowed_AV.shape[1]
    weights_V, room_V = np.empty(num), np.empty(num)
    for r in range(logits_RV.shape[0]):
        best = _scores(logits_RV[r], penalty, seen_SV, slots_R[r], allowed_AV[states_R[r]], weights_V)
        if temperature == 0.0:
            drawn_R[r] = best
            continue
        most = weights_V[best]
        for v in range(num):
            weights_V[v] = exp_64((weights_V[v] - most) / temperature)
        _filter(weights_V, room_V, top_k, top_p, min_p)
        drawn_R[r] = _inverse(weights_V, uniforms_R[r])


@compiled
def _scores(
    logits_V: NDArray[np.float32],
    penalty: float,
    seen_SV: NDArray[np.bool_],
    slot: int,
    allowed_V: NDArray[np.bool_],
    scores_V: Floats,
) -> int:
    """Logits after the penalty, in float64, and the place of the first largest."""
    best, most = 0, _NEVER
    for v in range(allowed_V.shape[0]):
        score = np.float64(logits_V[v])
        if penalty != 1.0 and seen_SV[slot, v]:
            score = score / penalty if score > 0.0 else score * penalty
        if not allowed_V[v]:
            score = _NEVER
        scores_V[v] = score
        if score > most:
            best, most = v, score
    return best


@compiled
def _filter(weights_V: Floats, room_V: Floats, top_k: int, top_p: float, min_p: float) -> None:
    """Set to zero what top-k, top-p (of what top-k leaves) and min-p take out; the largest weight is 1."""
    least = 0.0
    if 0 < top_k < weights_V.shape[0]:
        num = _gather(weights_V, _bound(weights_V, room_V, top_k), room_V)
        least = _threshold(room_V[:num], np.float64(top_k), False)
    if top_p < 1.0:
        num = _gather(weights_V, least, room_V)
        total = _sum(room_V[:num])
        # Values below this cannot add up to 1 - top_p, so the threshold lies above it.
        num = _gather(weights_V, max(least, (1.0 - top_p) * total / num), room_V)
        least = max(least, _threshold(room_V[:num], top_p * total, True))
    least = max(least, min_p)
    if least > 0.0:
        for v in range(weights_V.shape[0]):
            if weights_V[v] < least:
                weights_V[v] = 0.0


@compiled
def _gather(weights_V: Floats, least: float, room_V: Floats) -> int:
    """Copy the weights ≥ `least` and > 0 to the front of `room_V`; how many they are."""
    num = 0
    for v in range(weights_V.shape[0]):
        room_V[num] = weights_V[v]
        num += weights_V[v] >= least and weights_V[v] > 0.0
        if num == room_V.shape[0]:
            break
    return num


@compiled
def _bound(weights_V: Floats, room_V: Floats, top_k: int) -> float:
    """A number that at least `top_k` weights reach: the k-th largest of the maxima of blocks, where these suffice."""
    num = weights_V.shape[0] // _BOUND_BLOCK
    if top_k > num:
        return 0.0
    for block in range(num):
        room_V[block] = _max(weights_V[block * _BOUND_BLOCK : (block + 1) * _BOUND_BLOCK])
    return _threshold(room_V[:num], np.float64(top_k), False)


@compiled
def _threshold(values: Floats, goal: float, by_mass: bool) -> float:
    """The largest t for which the values ≥ t number `goal`, or sum to it if `by_mass`. Reorders `values`.

    Hoare's selection (1961) with a three-way partition, the larger values first.
    """
    low, high, before = 0, values.shape[0], 0.0
    pivot = values[0]
    while low < high:
        pivot = _middle(values[low], values[(low + high) // 2], values[high - 1])
        larger, place, smaller = low, low, high
        mass_larger, mass_equal = 0.0, 0.0
        while place < smaller:
            value = values[place]
            counted = value if by_mass else 1.0
            if value > pivot:
                values[place], values[larger] = values[larger], value
                mass_larger += counted
                larger += 1
                place += 1
            elif value < pivot:
                smaller -= 1
                values[place], values[smaller] = values[smaller], value
            else:
                mass_equal += counted
                place += 1
        if before + mass_larger >= goal:
            high = larger
        elif before + mass_larger + mass_equal >= goal:
            return pivot
        else:
            before += mass_larger + mass_equal
            low = smaller
    return pivot


@compiled
def _middle(a: float, b: float, c: float) -> float:
    return max(min(a, b), min(max(a, b), c))


@compiled
def _inverse(weights_V: Floats, uniform: float) -> int:
    """The first place at which the cumulative sum exceeds `uniform` of the whole."""
    num = weights_V.shape[0]
    total = 0.0
    for start in range(0, num, _BLOCK):
        total += _sum(weights_V[start : start + _BLOCK])
    goal, before, last = uniform * total, 0.0, 0
    for start in range(0, num, _BLOCK):
        block = weights_V[start : start + _BLOCK]
        mass = _sum(block)
        if mass == 0.0:
            continue
        inside = before
        for i in range(block.shape[0]):
            if before + mass <= goal and start + _BLOCK < num:
                break
            if block[i] > 0.0:
                inside += block[i]
                last = start + i
                if inside > goal:
                    return last
        before += mass
    return last


@fast
def _sum(values: Floats) -> float:
    total = 0.0
    for i in range(values.shape[0]):
        total += values[i]
    return total


@fast
def _max(values: Floats) -> float:
    most = values[0]
    for i in range(values.shape[0]):
        most = max(most, values[i])
    return most
