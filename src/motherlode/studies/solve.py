"""One form, one table, one fit: multi-start variable projection, then Levenberg-Marquardt on Huber's loss.

The exponents are tried on a grid while the linear coefficients follow from non-negative least squares; the best few
starts are polished on the Huber loss of log residuals. On the 234-run Chinchilla table this takes 0.03 s and ends at
the objective .0008401 (Huber δ = 1e-3, summed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from motherlode.randomness import numpy_generator
from motherlode.studies import kernels
from motherlode.studies.laws import BOUNDED_KIND, TINY, Floats, Form
from motherlode.studies.runs import Runs

T = TypeVar("T")
R = TypeVar("R")

HUBER = 1e-3
_BOOTSTRAP_STEPS = 12
_TIGHT, _LOOSE, _ROUGH = 1e-7, 1e-5, 1e-4  # relative falls of the objective that no longer count as progress


@dataclass(frozen=True)
class Problem:
    """A table as the kernels read it, with what of the form is free to move on it."""

    form: Form
    table: Floats
    y: Floats
    groups: NDArray[np.int64]
    centre: Floats
    free: NDArray[np.int64]
    low: Floats
    high: Floats
    allowed: NDArray[np.bool_]
    pinned: dict[int, float]
    delta: float

    @property
    def base(self) -> int:
        """Parameters of the form itself, without those of further treatments."""
        return len(self.form.parameters)


@dataclass(frozen=True)
class Solution:
    """The best parameters found; `theta` is centred, as the kernels want it."""

    problem: Problem
    theta: Floats
    objective: float

    @property
    def natural(self) -> dict[str, float]:
        """Parameters under their published names."""
        return self.problem.form.natural(self.theta[: self.problem.base], self.problem.centre)

    def residuals(self) -> Floats:
        """Log L − log L̂ of the fitted rows: (M,)."""
        problem = self.problem
        return problem.y - self.predict(problem.table, problem.groups)

    def predict(self, table: Floats, groups: NDArray[np.int64]) -> Floats:
        """Log loss at (M, 3) rows of log N, log D, log U."""
        problem = self.problem
        out: Floats = kernels.predict(problem.form.kind, problem.base, self.theta[None], problem.centre, table, groups)
        first: Floats = out[0]
        return first


def centre_of(table: Floats) -> Floats:
    """Means of log N, log D, log U, and of log R over the rows that repeat data."""
    repeated = table[:, 1] - table[:, 2]
    repeated = repeated[repeated > 1e-9]
    log_r = float(np.log(np.expm1(repeated)).mean()) if repeated.size else 0.0
    return np.asarray([*table.mean(axis=0), log_r], np.float64)


def pose(form: Form, runs: Runs, *, fixed: Mapping[str, float] | None = None, delta: float = HUBER) -> Problem:
    """What to fit: axes the table does not vary are switched off, `fixed` parameters stay where they are told."""
    table = runs.table
    centre = centre_of(table)
    low, high = form.bounds(table, runs.loss)
    columns = 4 if "P" in form.parameters else 3
    allowed = np.ones(columns, np.bool_)
    pinned: dict[int, float] = {}
    size, data = (2, 3) if form.kind == BOUNDED_KIND else (1, 2)
    for axis, slot, exponent in ((0, size, "alpha"), (1, data, "beta")):
        if np.ptp(table[:, axis]) < 1e-6:
            allowed[slot - (2 if form.kind == BOUNDED_KIND else 0)] = False
            pinned |= {slot: TINY, form.parameters.index(exponent): 0.3}
    if "pace" in form.parameters and np.ptp(table[:, 0]) < 1e-6:
        pinned |= {form.parameters.index("pace"): 0.0, form.parameters.index("P_size"): 0.0}
    if form.name == "saturating":
        allowed[2] = False
        pinned |= {4: TINY, 7: 0.4, 8: 0.5}
    if fixed:
        theta = form.centred({**dict.fromkeys(form.parameters, 1.0), "L0": 1e9, **fixed}, centre)
        pinned |= {i: float(theta[i]) for i, name in enumerate(form.parameters) if name in fixed}
    extra = 2 * (len(runs.treatments) - 1)
    low = np.concatenate([low, np.tile([-4.0, -1.0], extra // 2)])
    high = np.concatenate([high, np.tile([4.0, 1.0], extra // 2)])
    present = set(runs.group.tolist())
    for group in range(1, len(runs.treatments)):
        slot = len(form.parameters) + 2 * (group - 1)
        if group not in present:
            pinned |= {slot: 0.0, slot + 1: 0.0}
        elif not form.sees_unique or (runs.epochs[runs.group == group] < 1.05).all():
            pinned |= {slot: 0.0}
    free = np.asarray([i for i in range(low.size) if i not in pinned], np.int64)
    return Problem(form, table, np.log(runs.loss), runs.group, centre, free, low, high, allowed, pinned, delta)


def solve(problem: Problem, *, quick: bool = False, weights: Floats | None = None) -> Solution:
    """Fit; deterministic, no random numbers.

    Args:
        problem: from `pose`.
        quick: polish half as many grid points, and stop a hundred times sooner: for refits that are only asked how
            well they foretell.
        weights: (M,) weight of each row, default 1.
    """
    weights = np.ones(problem.y.size) if weights is None else weights
    reference = weights * (problem.groups == problem.groups.min())
    num_starts, num_polished, tolerance = (4, 2, _LOOSE) if quick else (8, 3, _TIGHT)
    candidates = _starts(problem, reference, num_starts)
    rough = [_polish(problem, theta, weights, 60, _ROUGH) for theta in candidates]
    rough.sort(key=lambda solution: solution.objective)
    return min(
        (_polish(problem, solution.theta, weights, 300, tolerance) for solution in rough[:num_polished]),
        key=lambda solution: solution.objective,
    )


def _polish(problem: Problem, theta: Floats, weights: Floats, num_steps: int, tolerance: float) -> Solution:
    """Levenberg-Marquardt from one point."""
    found, value = kernels.minimise(
        problem.form.kind, problem.base, theta, problem.free, problem.low, problem.high, problem.table,
        problem.groups, problem.centre, problem.y, weights, problem.delta, num_steps, tolerance,
    )  # fmt: skip
    return Solution(problem, found, float(value))


def at_once(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Results in the order of the items, a thread each: the kernels hold no lock, so fits run beside each other."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(function, items))


def refit(solution: Solution, weights: Floats, num_steps: int = 60) -> Solution:
    """The same problem with other row weights (M,), warm-started from the solution."""
    return _polish(solution.problem, solution.theta, weights, num_steps, _TIGHT)


def _starts(problem: Problem, weights: Floats, num_starts: int) -> list[Floats]:
    form = problem.form
    shapes = form.starts(problem.table, np.exp(problem.y))
    for index, name in enumerate(form.shapes):
        slot = form.parameters.index(name)
        if slot in problem.pinned:
            shapes[:, index] = shapes[0, index]
    shapes = np.unique(shapes, axis=0)
    kind = 1 if form.name == "effective_both" else form.kind
    objective, coefficients = kernels.project(
        kind, shapes, problem.table, problem.centre, problem.y, weights, problem.delta, problem.allowed
    )
    scale = float(np.exp(problem.y.min()))
    out = []
    for index in np.argsort(objective, kind="stable")[:num_starts]:
        theta = np.zeros(problem.low.size)
        theta[: problem.base] = form.theta(shapes[index], coefficients[index], scale)
        theta = np.clip(theta, problem.low, problem.high)
        for slot, value in problem.pinned.items():
            theta[slot] = value
        out.append(theta)
    return out


def resample(solution: Solution, num_draws: int, seed: int, stream: str = "bootstrap") -> Floats:
    """(B, P) parameters refitted to multinomial weights, each warm-started from the solution."""
    problem = solution.problem
    num_rows = problem.y.size
    rng = numpy_generator(seed, f"{stream} {problem.form.name}")
    weights = rng.multinomial(num_rows, np.full(num_rows, 1.0 / num_rows), num_draws).astype(np.float64)
    draws: Floats = kernels.bootstrap(
        problem.form.kind, problem.base, solution.theta, problem.free, problem.low, problem.high, problem.table,
        problem.groups, problem.centre, problem.y, weights, problem.delta, _BOOTSTRAP_STEPS, _LOOSE,
    )  # fmt: skip
    return draws
