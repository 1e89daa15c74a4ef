"""How wrong a law will be beyond its pilots, learnt from the pilots themselves.

A bootstrap of the parameters knows only noise. On public tables that interval held 42-53 % of the larger runs where it
claimed 90 %, because the form is wrong rather than the numbers noisy. So each form is fitted to the smaller pilots and
asked for the larger ones, at several origins: the errors give each form its weight, and the growth of the weighted
errors with the distance in compute gives a rate per decade. The interval adds in squares: bootstrap, residual noise,
spread between forms, rate × decades.

Repetition is a direction of its own: what many passes cost is learnt from pilots of fewer passes, not of less compute.
There the forms have other weights and the error another rate; on the pilots of study 1 a form that cannot overfit
foretells most larger cells best, and every cell of more passes worst.
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
DOUBLINGS = (1, 2, 3)  # of passes, below the most that a pilot saw
COMPUTE, PASSES = "compute", "passes"
INSIDE: Floats = np.zeros(2)  # beyond the pilots nowhere
DEFAULT_RATE = 0.10  # of the loss, a decade, where the pilots cannot tell
_SHORTEST, _SHORTEST_PASSES = 0.25, 0.1
_SHARPNESS = 4.0
_RATE_QUANTILE, _PASSES_QUANTILE = 0.8, 0.9
_NUM_FOLDS = 4
_NEIGHBOURS = 5
_GOOD = 0.02
_FEWEST_GOOD = 12
_FEWEST_PASSES = 2.0
_BLEND = 0.25  # decades beyond the pilots over which the weights turn from near to far


@dataclass(frozen=True)
class Origin:
    """A refit on the pilots below a compute, or of fewer passes, and what it said of those above.

    Attributes:
        axis: what was cut, "compute" or "passes".
        decades: how far below the top pilot the cut lay.
        num_fitted: pilots below the cut.
        horizon: decades from the cut to each pilot above, (M,).
        actual: their loss, (M,).
        predicted: by form name, (M,) each.
    """

    axis: str
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
        passes_rate: a decade beyond the pilots' passes; it grows with the root of the decades, for what repetition does
            is often seen at the first doubling that was not tried.
        local: of the law's error in the *difference* between neighbours (a factor of two apart): what a choice feels.
        calibrated: the rate was measured here; else it is `DEFAULT_RATE`.
    """

    noise: float
    rate: float
    passes_rate: float
    local: float
    calibrated: bool

    def error(self, beyond: Floats) -> Floats:
        """Of the law at (..., 2) decades beyond the pilots, as `horizon` counts them."""
        found: Floats = np.hypot(self.rate * beyond[..., 0], self.passes_rate * np.sqrt(beyond[..., 1]))
        return found


def z_of(level: float) -> float:
    """Half width of a normal interval of this level in standard deviations."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def rolling_origin(forms: Sequence[Form], runs: Runs) -> list[Origin]:
    """Fit the smaller pilots, predict the larger: at most six origins in compute, three in passes, deepest last."""
    depths: list[tuple[str, float, Floats]] = [(COMPUTE, decades, runs.flops) for decades in DECADES]
    depths += [
        (PASSES, float(np.log10(2.0) * doublings), runs.epochs)
        for doublings in DOUBLINGS
        if runs.epochs.max() >= _FEWEST_PASSES * 2**doublings
    ]
    cuts: dict[bytes, tuple[Runs, Runs]] = {}
    laid: list[tuple[str, float, Floats, bytes]] = []
    for axis, decades, values in depths:
        below = values <= float(values.max()) / 10**decades * 1.001
        if 0 < below.sum() <= len(runs) - 2:
            laid.append((axis, decades, np.log10(values[~below] / values[below].max()), below.tobytes()))
            cuts.setdefault(below.tobytes(), (runs.where(below), runs.where(~below)))

    def foretell(task: tuple[bytes, Form]) -> Floats:
        small, large = cuts[task[0]]
        return solve(pose(task[1], small), quick=True).predict(large.table, large.group)

    tasks = [(cut, form) for cut, (small, _) in cuts.items() for form in forms if _able(form, small, runs)]
    predicted: dict[bytes, dict[str, Floats]] = {}
    for (cut, form), told in zip(tasks, at_once(foretell, tasks)):
        predicted.setdefault(cut, {})[form.name] = told
    return [
        Origin(axis, decades, len(cuts[cut][0]), ahead, cuts[cut][1].loss, predicted[cut])
        for axis, decades, ahead, cut in laid
        if cut in predicted
    ]


def _able(form: Form, small: Runs, runs: Runs) -> bool:
    """Enough cells for the form; and some that repeat data, where the form and the whole table know of repetition."""
    blind = form.sees_unique and runs.epochs.max() > 1.05 and small.epochs.max() < 1.05
    return small.num_distinct() >= form.num_cells and not blind


def weigh(forms: Sequence[Form], origins: Sequence[Origin], between: Mapping[str, float]) -> dict[str, float]:
    """Weight of each form beyond the pilots: (mean error)^−4, in the geometric mean over the axes that were cut.

    The mean, not the median: a form blind to overfitting may miss the worn cells alone, and those by half their loss.
    A form with too many parameters for any origin keeps the weight it has `between` the pilots; so do all of
    them where there is no origin.
    """
    axes = [[o for o in origins if o.axis == axis] for axis in dict.fromkeys(o.axis for o in origins)]
    scores = [_scores([form.name for form in forms], cut) for cut in axes]
    reached = {form.name for form in forms if scores and all(form.name in known for known in scores)}
    if not reached:
        return dict(between)
    errors = {name: float(np.prod([known[name] for known in scores])) ** (1 / len(scores)) for name in sorted(reached)}
    best = min(errors.values())
    raw = {name: (best / error) ** _SHARPNESS for name, error in errors.items()}
    kept = {name: value for name, value in raw.items() if value > 0.02}
    unproven = {name: weight for name, weight in between.items() if name not in reached}
    share = (1.0 - sum(unproven.values())) / sum(kept.values())
    return {**{name: value * share for name, value in kept.items()}, **unproven}


def _scores(names: Sequence[str], origins: Sequence[Origin]) -> dict[str, float]:
    """Mean error of each form at the origins that all know, the nearer counting more; of forms that reach any."""
    reached = [name for name in names if any(name in o.predicted for o in origins)]
    common = [o for o in origins if all(name in o.predicted for name in reached)] or origins[:1]
    found = {}
    for name in reached:
        used = [o for o in common if name in o.predicted]
        if used:
            near = np.asarray([1.0 / o.decades for o in used])
            misses = np.asarray([np.abs(o.errors({name: 1.0})).mean() for o in used])
            found[name] = max(float(near @ misses / near.sum()), 1e-5)
    return found


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


def blend(beyond: Floats) -> tuple[Floats, Floats]:
    """Shares of the weights beyond the pilots, and beyond their passes, at (..., 2) decades: 0 inside, their sum is 1
    from a quarter on."""
    furthest = beyond.max(axis=-1)
    share = np.minimum(furthest / _BLEND, 1.0)
    worn = share * beyond[..., 1] / np.maximum(furthest, 1e-9)
    return share - worn, worn


def calibrate(
    origins: Sequence[Origin], far: dict[str, float], worn: dict[str, float], residuals: Floats, local: float
) -> Discrepancy:
    """Noise and rates of the weighted law on its own pilots; `local` from `local_error`."""
    noise = max(float(np.quantile(np.abs(residuals), 0.9)) / z_of(0.9), 1e-6)
    rates = _rates([origin for origin in origins if origin.axis == COMPUTE], far, _RATE_QUANTILE)
    again = _rates([origin for origin in origins if origin.axis == PASSES], worn, _PASSES_QUANTILE)
    rate = float(np.mean(rates)) if rates else DEFAULT_RATE
    return Discrepancy(noise, rate, max(again, default=rate), local, bool(rates))


def _rates(origins: Sequence[Origin], weights: dict[str, float], quantile: float) -> list[float]:
    """Deviation of log loss a decade ahead of each origin that knows the weighted forms."""
    found = []
    for origin in origins:
        known = {name: weight for name, weight in weights.items() if name in origin.predicted}
        total = sum(known.values())
        if total > 0.3:
            misses = np.abs(origin.errors({name: weight / total for name, weight in known.items()}))
            ahead = (
                np.maximum(origin.horizon, _SHORTEST)
                if origin.axis == COMPUTE
                else np.sqrt(np.maximum(origin.horizon, _SHORTEST_PASSES))
            )
            found.append(float(np.quantile(misses / ahead, quantile)) / z_of(0.9))
    return found


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
    """Decades outside the pilots' box, (M, 2): the largest over compute, N, D and unique data; and over passes."""
    pilots = np.column_stack([np.log(runs.flops), runs.table, runs.table[:, 1] - runs.table[:, 2]])
    asked = np.column_stack([np.log(flops), table, table[:, 1] - table[:, 2]])
    beyond = np.maximum(asked - pilots.max(axis=0), pilots.min(axis=0) - asked)
    decades: Floats = np.maximum(np.column_stack([beyond[:, :4].max(axis=1), beyond[:, 4]]), 0.0) / np.log(10.0)
    return decades
