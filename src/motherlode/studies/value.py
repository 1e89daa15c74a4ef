"""V(U, C): the best quality that U unique samples and C FLOPs can buy, whatever the model size and the stopping point.

V(U, C) = min over N, D with cost(N, D) ≤ C of L(N, D, min(U, D)). Disposal is free: a run may stop before its compute
is spent, else the value of compute could turn negative. A coarse scan finds the basin at the point estimate; golden
sections refine it there and in every bootstrap draw, each within a factor of ten of the estimate's size.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motherlode.studies.intervals import INSIDE
from motherlode.studies.kernels import PENALISED, compiled, row
from motherlode.studies.law import Law, Member
from motherlode.studies.laws import Floats, find_form

_GOLDEN = 0.6180339887498949
_WINDOW = 2.3  # natural logarithm: a factor of ten
_SIZE_ROOM = 30.0  # how far above the largest pilot a size may be proposed; none below the smallest shows too small


@compiled
def _stopped(kind, base, theta, log_n, log_d, log_u, group, centre, grad):  # type: ignore[no-untyped-def]
    """Least loss over stopping points D ≤ e^log_d at one size: (loss, log D)."""
    loss = row(kind, base, theta, log_n, log_d, min(log_u, log_d), group, centre, grad)
    if kind not in PENALISED or log_d <= log_u:
        return loss, log_d
    earlier = row(kind, base, theta, log_n, log_d - 1e-3, min(log_u, log_d - 1e-3), group, centre, grad)
    if earlier >= loss:
        return loss, log_d
    low, high = min(log_u, log_d - 12.0), log_d
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left = row(kind, base, theta, log_n, left, min(log_u, left), group, centre, grad)
    at_right = row(kind, base, theta, log_n, right, min(log_u, right), group, centre, grad)
    for _ in range(18):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = row(kind, base, theta, log_n, left, min(log_u, left), group, centre, grad)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = row(kind, base, theta, log_n, right, min(log_u, right), group, centre, grad)
    return (at_left, left) if at_left < at_right else (at_right, right)


@compiled
def _sized(kind, base, theta, low, high, log_u, log_c, group, cost, centre, grad, steps):  # type: ignore[no-untyped-def]
    """Golden section over the size in [low, high]: (loss, log N, log D)."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    budget = log_c - cost[0]
    at_left, d_left = _stopped(kind, base, theta, left, budget - cost[1] * left, log_u, group, centre, grad)
    at_right, d_right = _stopped(kind, base, theta, right, budget - cost[1] * right, log_u, group, centre, grad)
    for _ in range(steps):
        if at_left < at_right:
            high, right, at_right, d_right = right, left, at_left, d_left
            left = high - _GOLDEN * (high - low)
            at_left, d_left = _stopped(kind, base, theta, left, budget - cost[1] * left, log_u, group, centre, grad)
        else:
            low, left, at_left, d_left = left, right, at_right, d_right
            right = low + _GOLDEN * (high - low)
            at_right, d_right = _stopped(kind, base, theta, right, budget - cost[1] * right, log_u, group, centre, grad)
    return (at_left, left, d_left) if at_left < at_right else (at_right, right, d_right)


@compiled
def best(kind, base, theta, draws_BP, centre, points_K2, groups_K, cost, low, high):  # type: ignore[no-untyped-def]
    """At K points (log U, log C): (1 + B, K, 3) of log V, log N, log D; row 0 is `theta`, the rest the draws."""
    out = np.empty((1 + draws_BP.shape[0], points_K2.shape[0], 3))
    grad = np.empty(theta.size)
    for k in range(points_K2.shape[0]):
        log_u, log_c, group = points_K2[k, 0], points_K2[k, 1], groups_K[k]
        centre_n, least = low, np.inf
        for i in range(25):
            log_n = low + (high - low) * i / 24.0
            room = log_c - cost[0] - cost[1] * log_n
            found, _ = _stopped(kind, base, theta, log_n, room, log_u, group, centre, grad)
            if found < least:
                centre_n, least = log_n, found
        step = (high - low) / 24.0
        loss, log_n, log_d = _sized(
            kind, base, theta, max(low, centre_n - step), min(high, centre_n + step), log_u, log_c, group, cost,
            centre, grad, 16,
        )  # fmt: skip
        out[0, k, 0], out[0, k, 1], out[0, k, 2] = log(loss), log_n, log_d
        for b in range(draws_BP.shape[0]):
            loss, size, seen = _sized(
                kind, base, draws_BP[b], max(low, log_n - _WINDOW), min(high, log_n + _WINDOW), log_u, log_c, group,
                cost, centre, grad, 11,
            )  # fmt: skip
            out[1 + b, k, 0], out[1 + b, k, 1], out[1 + b, k, 2] = log(loss), size, seen
    return out


@dataclass(frozen=True)
class Values:
    """V at K points.

    Attributes:
        log_loss: (K,) weighted estimate of log V.
        draws: (B, K) log V of every bootstrap draw of every member.
        num_parameters, num_samples: (K,) best size and samples seen, weighted geometric means.
    """

    log_loss: Floats
    draws: Floats
    num_parameters: Floats
    num_samples: Floats


def sizes_allowed(law: Law) -> tuple[float, float]:
    """Log of the smallest and largest model size a plan may propose."""
    low, high = float(np.log(law.runs.N.min())), float(np.log(law.runs.N.max()))
    if high - low < 0.05:
        return low, high + 1e-9
    return low, high + float(np.log(_SIZE_ROOM))


def value(
    law: Law,
    unique: ArrayLike,
    flops: ArrayLike,
    *,
    treatment: str | None = None,
    share: float = 1.0,
    draws: int | None = None,
    beyond: Floats = INSIDE,
) -> Values:
    """V at every pair of unique samples and FLOPs (broadcast, flattened to K points).

    Args:
        law: a fitted law.
        unique, flops: positive counts.
        treatment: of the data; default the baseline.
        share: of the data that has the treatment, in [0, 1]; its effects are interpolated in their logarithms.
        draws: bootstrap draws to use over all members, default as many as the heaviest has; 0 for the estimate alone.
        beyond: (2,) decades outside the pilots, as `intervals.horizon` counts them, at which the members are weighed;
            the same for all points, so that their differences do not come from a change of weights.
    """
    owned, spent = np.broadcast_arrays(np.asarray(unique, np.float64), np.asarray(flops, np.float64))
    points = np.log(np.stack([owned.ravel(), spent.ravel()], axis=1))
    group = law.group_of(treatment)
    groups = np.full(len(points), group, np.int64)
    cost = np.asarray([log(law.cost.per_pair), law.cost.exponent])
    low, high = sizes_allowed(law)
    total = np.zeros((len(points), 3))
    pools = []
    num_draws = max(len(member.draws) for member in law.members) if draws is None else draws
    for member, weight in zip(law.members, law.weights(beyond[None])[:, 0]):
        if weight < 1e-9:
            continue
        theta, sampled = _shared(member, group, share, round(num_draws * weight))
        kind = find_form(member.form).kind
        found = best(kind, member.num_form, theta, sampled, member.centre, points, groups, cost, low, high)
        total += weight * found[0]
        pools.append(found[1:, :, 0])
    return Values(total[:, 0], np.concatenate(pools), np.exp(total[:, 1]), np.exp(total[:, 2]))


def _shared(member: Member, group: int, share: float, draws: int) -> tuple[Floats, NDArray[np.float64]]:
    """Theta and draws with the treatment's effects scaled to the share of the data that has it."""
    kept = member.draws[:draws]
    if group == 0 or share == 1.0:
        return member.theta, np.ascontiguousarray(kept)
    slots = [member.num_form + 2 * (group - 1), member.num_form + 2 * (group - 1) + 1]
    theta, scaled = member.theta.copy(), kept.copy()
    theta[slots] *= share
    scaled[:, slots] *= share
    return theta, scaled


def best_run(
    law: Law, unique: float, flops: float, *, treatment: str | None = None, beyond: Floats = INSIDE
) -> dict[str, float]:
    """The size, samples seen and passes that reach V(U, C)."""
    found = value(law, unique, flops, treatment=treatment, draws=0, beyond=beyond)
    seen = float(found.num_samples[0])
    return {
        "loss": exp(float(found.log_loss[0])),
        "num_parameters": float(found.num_parameters[0]),
        "num_samples": seen,
        "passes": seen / min(unique, seen),
        "flops": float(law.cost.flops(found.num_parameters[0], seen)),
    }
