"""How wrong a law will be beyond its pilots, learnt from the pilots themselves.

A bootstrap of the parameters knows only noise. On public tables that interval held 42-53 % of the larger runs where it
claimed 90 %, because the form is wrong rather than the numbers noisy. So each form is fitted to the smaller pilots and
asked for the larger ones, at several origins: the errors give each form its weight, and the growth of the weighted
errors with the distance in compute gives a rate per decade. The interval adds in squares: bootstrap, residual noise,
spread between forms, rate × decades.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from motherlode.randomness import numpy_generator
from motherlode.studies.laws import Floats, Form
from motherlode.studies.runs import Runs
from motherlode.studies.solve import Solution, at_once, pose, refit, solve

DECADES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
DEFAULT_RATE = 0.10  # of the loss, a decade, where the pilots cannot tell
_SHORTEST = 0.25
_SHARPNESS = 4.0
_RATE_QUANTILE = 0.8
_NUM_FOLDS = 4
_NEIGHBOURS = 5
_GOOD = 0.02
_FEWEST_GOOD = 12
_BLEND = 0.25  # decades beyond the pilots over which the weights turn from near to far


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
    depths: list[tuple[float, int]] = []
    cuts: dict[int, tuple[Runs, Runs]] = {}
    for decades in DECADES:
        below = flops <= flops.max() / 10**decades * 1.001
        number = int(below.sum())
        if 0 < number <= len(runs) - 2:
            depths.append((decades, number))
            cuts.setdefault(number, (runs.where(below), runs.where(~below)))

    def foretell(task: tuple[int, Form]) -> Floats:
        small, large = cuts[task[0]]
        return solve(pose(task[1], small), quick=True).predict(large.table, large.group)

    tasks = [(number, form) for number, (small, _) in cuts.items() for form in forms if _able(form, small, runs)]
    predicted: dict[int, dict[str, Floats]] = {}
    for (number, form), values in zip(tasks, at_once(foretell, tasks)):
        predicted.setdefault(number, {})[form.name] = values
    origins = []
    for decades, number in depths:
        if number in predicted:
            small, large = cuts[number]
            ahead = np.log10(large.flops / small.flops.max())
            origins.append(Origin(decades, number, ahead, large.loss, predicted[number]))
    return origins


def _able(form: Form, small: Runs, runs: Runs) -> bool:
    """Enough cells for the form; and some that repeat data, where the form and the whole table know of repetition."""
    blind = form.sees_unique and runs.epochs.max() > 1.05 and small.epochs.max() < 1.05
    return small.num_distinct() >= form.num_cells and not blind


def weigh(forms: Sequence[Form], origins: Sequence[Origin], between: Mapping[str, float]) -> dict[str, float]:
    """Weight of each form beyond the pilots: (median error, near origins counting more)^−4, over common origins.

    A form with too many parameters for any origin keeps the weight it has `between` the pilots; so do all of
    them where there is no origin.
    """
    reached = {form.name: [o for o in origins if form.name in o.predicted] for form in forms}
    reached = {name: found for name, found in reached.items() if found}
    if not reached:
        return dict(between)
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
    unproven = {name: weight for name, weight in between.items() if name not in reached}
    share = (1.0 - sum(unproven.values())) / sum(kept.values())
    return {**{name: value * share for name, value in kept.items()}, **unproven}


def weigh_near(solutions: dict[str, Solution], seed: int) -> dict[str, float]:
    """Weight of each form between the pilots: cross-validated log score, averaged over a Bayesian bootstrap of cells.

    This is pseudo-BMA+ (Yao et al. 2018, Bayesian Analysis 13(3), section 3.4) with Laplace errors; four folds
    interleaved in compute, each warm-started from the whole fit. A warm start remembers something of the cells left
    out, the more the more parameters there are: half a unit of log score is taken off for each.
    """
    names = list(solutions)
    scores = []
    for name in names:
        problem = solutions[name].problem
        fold = np.argsort(np.argsort(problem.table[:, :2].sum(axis=1), kind="stable"), kind="stable") % _NUM_FOLDS
        misses = np.empty(problem.y.size)
        for k in range(_NUM_FOLDS):
            found = refit(solutions[name], (fold != k).astype(np.float64))
            misses[fold == k] = np.abs(found.residuals()[fold == k])
        scale = max(float(misses.mean()), 1e-6)
        scores.append(-misses / scale - np.log(2 * scale))
    log_score = np.asarray(scores)
    shares = numpy_generator(seed, "weights between pilots").dirichlet(np.ones(log_score.shape[1]), 200)
    total = log_score.shape[1] * shares @ log_score.T
    total -= 0.5 * np.asarray([solutions[name].problem.free.size for name in names])
    odds = np.exp(total - total.max(axis=1, keepdims=True))
    weights = (odds / odds.sum(axis=1, keepdims=True)).mean(axis=0)
    kept = {name: float(weight) for name, weight in zip(names, weights) if weight > 0.02}
    return {name: weight / sum(kept.values()) for name, weight in kept.items()}


def blend(beyond: Floats) -> Floats:
    """Share of the far weights at a distance beyond the pilots, in decades: 0 inside, 1 from a quarter on."""
    return np.minimum(beyond / _BLEND, 1.0)


def calibrate(origins: Sequence[Origin], weights: dict[str, float], residuals: Floats, local: float) -> Discrepancy:
    """Noise and rate of the weighted law on its own pilots; `local` from `local_error`."""
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
    return Discrepancy(noise, rate, local, bool(rates))


def local_error(residuals: Floats, runs: Runs, gap: Floats) -> float:
    """The law's own error in the step between best runs a factor of two apart, run noise taken out, over √2.

    Args:
        residuals: (M,) of log loss.
        runs: the pilots.
        gap: (M,) log loss each pilot gives away against the best run of its data and compute; a plan compares best
            runs, so pilots of ill-chosen size (gap above 2 %) are not asked.

    The mean residual of each cell's five nearest is compared with that of cells a doubling away, or as near as the grid
    has any; what white noise
    (seen in the step to the very nearest cell) adds to that difference is subtracted, down to a third of it.
    """
    good = gap < _GOOD
    if good.sum() < _FEWEST_GOOD:
        good = gap <= np.sort(gap)[min(_FEWEST_GOOD, gap.size) - 1]
    residuals, group, table = residuals[good], runs.group[good], runs.table[good] / np.log(2.0)
    distance = np.abs(table[:, None, :] - table[None, :, :]).max(axis=2)
    distance[group[:, None] != group[None, :]] = np.inf
    order = np.argsort(distance, axis=1, kind="stable")
    means = residuals[order[:, :_NEIGHBOURS]].mean(axis=1)
    noise = (1.4826 * float(np.median(np.abs(residuals - residuals[order[:, 1]])))) ** 2 / 2
    apart = np.where(distance >= 0.9, distance, np.inf).min(axis=1)
    reach = 1.1 * float(np.median(apart)) if np.isfinite(apart).sum() > apart.size / 2 else 1.6
    first, second = np.nonzero((distance >= 0.9) & (distance < max(reach, 1.6)))
    steps = np.abs(means[first] - means[second])
    spread = (1.4826 * float(np.median(steps))) ** 2 / 2 if steps.size else noise
    return float(np.sqrt(max(spread - noise / _NEIGHBOURS, noise / 9.0)))


def horizon(runs: Runs, table: Floats, flops: Floats) -> Floats:
    """Decades outside the pilots' box, the largest over compute, N, D, unique data and passes: (M,)."""
    pilots = np.column_stack([np.log(runs.flops), runs.table, runs.table[:, 1] - runs.table[:, 2]])
    asked = np.column_stack([np.log(flops), table, table[:, 1] - table[:, 2]])
    beyond = np.maximum(asked - pilots.max(axis=0), pilots.min(axis=0) - asked).max(axis=1)
    decades: Floats = np.maximum(beyond, 0.0) / np.log(10.0)
    return decades
