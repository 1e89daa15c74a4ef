"""How wrong a law will be beyond its pilots, learnt from the pilots themselves.

A bootstrap of the parameters knows only noise. On public tables that interval held 42-53 % of the larger runs where it
claimed 90 %, because the form is wrong rather than the numbers noisy. So each form is fitted to the smaller pilots and
asked for the larger ones, at several origins: the errors give each form its weight, and the growth of the weighted
errors with the distance in compute gives a rate per decade. The interval adds in squares: bootstrap, residual noise,
spread between forms, rate × decades.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from motherlode.studies.laws import Floats, Form
from motherlode.studies.runs import Runs
from motherlode.studies.solve import pose, solve

DECADES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
DEFAULT_RATE = 0.10  # of the loss, a decade, where the pilots cannot tell
_SHORTEST = 0.25
_SHARPNESS = 4.0
_RATE_QUANTILE = 0.8
_NUM_STARTS = 4


@dataclass(frozen=True)
class Origin:
    """A refit on the pilots below a compute, and what it said of those above.

    Attributes:
        decades: how far below the top pilot the cut lay.
        num_fitted: pilots below the cut.
        horizon: decades from the cut to each pilot above, (M,).
        actual: their loss, (M,).
        predicted: by form name, (M,) each.
    """

    decades: float
    num_fitted: int
    horizon: Floats
    actual: Floats
    predicted: dict[str, Floats]

    def errors(self, weights: dict[str, float]) -> Floats:
        """Log error of the weighted forms at each held-back pilot."""
        mixed = sum((weight * self.predicted[name] for name, weight in weights.items()), np.zeros(self.actual.size))
        return mixed - np.log(self.actual)


@dataclass(frozen=True)
class Discrepancy:
    """Standard deviations of log loss that no bootstrap sees.

    Attributes:
        noise: of a run around the law, within the pilots.
        rate: per decade beyond the pilots.
        local: of the law's error in the *difference* between neighbours (a factor of two apart): what a choice feels.
        calibrated: the rate was measured here; else it is `DEFAULT_RATE`.
    """

    noise: float
    rate: float
    local: float
    calibrated: bool


def z_of(level: float) -> float:
    """Half width of a normal interval of this level in standard deviations."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def rolling_origin(forms: Sequence[Form], runs: Runs) -> list[Origin]:
    """Fit the smaller pilots, predict the larger: at most six origins, deepest last."""
    flops = runs.flops
    origins = []
    for decades in DECADES:
        below = flops <= flops.max() / 10**decades * 1.001
        small, large = runs.where(below), runs.where(~below)
        able = [form for form in forms if small.num_distinct() >= form.num_cells]
        if not able or len(large) < 2:
            continue
        horizon = np.log10(large.flops / small.flops.max())
        predicted = {}
        for form in able:
            if form.sees_unique and runs.epochs.max() > 1.05 and small.epochs.max() < 1.05:
                continue
            predicted[form.name] = solve(pose(form, small), num_starts=_NUM_STARTS).predict(large.table, large.group)
        if predicted:
            origins.append(Origin(decades, len(small), horizon, large.loss, predicted))
    return origins


def weigh(forms: Sequence[Form], origins: Sequence[Origin]) -> dict[str, float]:
    """Weight of each form: (median error, near origins counting more)^−4, over the origins all of them reached."""
    reached = {form.name: [o for o in origins if form.name in o.predicted] for form in forms}
    reached = {name: found for name, found in reached.items() if found}
    if not reached:
        return {form.name: 1.0 / len(forms) for form in forms}
    common = [o for o in origins if all(name in o.predicted for name in reached)] or list(origins[:1])
    scores = {}
    for name in reached:
        used = [o for o in common if name in o.predicted]
        if used:
            near = np.asarray([1.0 / o.decades for o in used])
            misses = np.asarray([np.median(np.abs(o.errors({name: 1.0}))) for o in used])
            scores[name] = max(float(near @ misses / near.sum()), 1e-5)
    best = min(scores.values())
    raw = {name: (best / score) ** _SHARPNESS for name, score in scores.items()}
    kept = {name: value for name, value in raw.items() if value > 0.02}
    total = sum(kept.values())
    return {name: value / total for name, value in kept.items()}


def calibrate(origins: Sequence[Origin], weights: dict[str, float], residuals: Floats, runs: Runs) -> Discrepancy:
    """Noise, rate and local error of the weighted law on its own pilots."""
    z90 = z_of(0.9)
    noise = max(float(np.quantile(np.abs(residuals), 0.9)) / z90, 1e-6)
    rates = []
    for origin in origins:
        known = {name: weight for name, weight in weights.items() if name in origin.predicted}
        total = sum(known.values())
        if total > 0.3:
            misses = np.abs(origin.errors({name: weight / total for name, weight in known.items()}))
            rates.append(np.quantile(misses / np.maximum(origin.horizon, _SHORTEST), _RATE_QUANTILE))
    rate = float(np.mean(rates)) / z90 if rates else DEFAULT_RATE
    return Discrepancy(noise, rate, _local(residuals, runs), bool(rates))


def _local(residuals: Floats, runs: Runs) -> float:
    """Robust deviation of the residual's step to the nearest cell that differs, over √2."""
    table = runs.table / np.log(2.0)
    steps = []
    for i in range(len(runs)):
        distance = np.abs(table - table[i]).max(axis=1) + 1e9 * (runs.group != runs.group[i])
        distance[distance < 1e-9] = np.inf
        nearest = int(np.argmin(distance))
        if distance[nearest] < 3.0:
            steps.append(abs(residuals[i] - residuals[nearest]))
    if len(steps) < 4:
        return float(np.quantile(np.abs(residuals), 0.68))
    return float(np.median(steps)) * 1.4826 / np.sqrt(2.0)


def horizon(runs: Runs, table: Floats, flops: Floats) -> Floats:
    """Decades outside the pilots' box, the largest over compute, N, D, unique data and passes: (M,)."""
    pilots = np.column_stack([np.log(runs.flops), runs.table, runs.table[:, 1] - runs.table[:, 2]])
    asked = np.column_stack([np.log(flops), table, table[:, 1] - table[:, 2]])
    beyond = np.maximum(asked - pilots.max(axis=0), pilots.min(axis=0) - asked)
    return np.maximum(beyond.max(axis=1), 0.0) / np.log(10.0)
