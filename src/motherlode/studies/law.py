"""A fitted law: what quality to expect at a model size, a number of samples seen and of unique samples owned.

A `Law` keeps its members (one form, or several weighted by how well they foretold the larger pilots), their bootstrap
draws, and the discrepancy measured by rolling origin. `predict` adds the four in squares and, beyond the pilots, a
fifth: half of what repetition is said to cost there. On inner backtests of two studies' pilots this took 90 %
intervals from 92 % to 94 % coverage. It serialises to `law.json`, byte for byte the same on every rerun.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motherlode import storage
from motherlode.errors import CorruptError, RecipeError
from motherlode.registry import did_you_mean
from motherlode.studies import kernels
from motherlode.studies.intervals import Discrepancy, Origin, blend, horizon, z_of
from motherlode.studies.laws import Floats, find_form
from motherlode.studies.runs import Runs, read_runs

FORMAT = 2
_DOUBTED = 0.5  # share of what repetition is said to cost, beyond the pilots: forms agree least about it


@dataclass(frozen=True)
class Cost:
    """Training FLOPs of a run: per_pair · N^exponent · D."""

    per_pair: float
    exponent: float
    counted: bool

    @classmethod
    def of(cls, runs: Runs) -> Cost:
        """Counted FLOPs of the pilots as a power of N; 6·N·D where the table has no compute column."""
        if runs.compute is None:
            return cls(6.0, 1.0, False)
        log_n, log_c = np.log(runs.N), np.log(runs.compute / runs.D)
        exponent = 1.0
        if np.ptp(log_n) > 0.3:
            exponent = float(np.clip(np.polyfit(log_n, log_c, 1)[0], 0.2, 2.0))
        exponent = 1.0 if abs(exponent - 1.0) < 0.02 else exponent
        return cls(float(np.exp(np.median(log_c - exponent * log_n))), exponent, True)

    def flops(self, num_parameters: ArrayLike, num_samples: ArrayLike) -> Floats:
        """FLOPs of training N parameters on D samples."""
        sizes, seen = np.asarray(num_parameters, np.float64), np.asarray(num_samples, np.float64)
        out: Floats = self.per_pair * sizes**self.exponent * seen
        return out


@dataclass(frozen=True)
class Member:
    """One form inside a law: `theta` (P,) and `draws` (B, P) are centred as the kernels want them.

    `near` is its weight between the pilots (cross-validated), `far` beyond them, `worn` beyond their passes (rolling
    origins).
    """

    form: str
    near: float
    far: float
    worn: float
    objective: float
    theta: Floats
    draws: Floats
    centre: Floats

    @property
    def num_form(self) -> int:
        """Parameters of the form, without those of further treatments."""
        return len(find_form(self.form).parameters)

    @property
    def natural(self) -> dict[str, float]:
        """Parameters under their published names."""
        return find_form(self.form).natural(self.theta[: self.num_form], self.centre)

    def log_loss(self, table: Floats, groups: NDArray[np.int64], draws: bool = False) -> Floats:
        """(1, M), or (B, M) over the draws, at rows of log N, log D, log U."""
        thetas = self.draws if draws else self.theta[None]
        found: Floats = kernels.predict(find_form(self.form).kind, self.num_form, thetas, self.centre, table, groups)
        return found


@dataclass(frozen=True)
class Law:
    """L(N, D, U) with its doubts.

    Attributes:
        form: what was asked for: a form's name or "auto".
        members: forms whose weights sum to 1, the heaviest between the pilots first.
        treatments: names; the first is the baseline.
        discrepancy: noise and growth of error with the horizon.
        origins: the rolling-origin refits behind weights and rate.
        cost: FLOPs of a run as the pilots counted them.
        warnings: sentences a user must read before believing a number.
        correlation: of log A and log B over the bootstrap, where the form has both.
        intervals: 5-95 % of every natural parameter of the heaviest member.
    """

    form: str
    members: tuple[Member, ...]
    treatments: tuple[str, ...]
    discrepancy: Discrepancy
    cost: Cost
    runs: Runs
    origins: tuple[Origin, ...] = ()
    warnings: tuple[str, ...] = ()
    correlation: float | None = None
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    seed: int = 0

    @property
    def parameters(self) -> dict[str, float]:
        """Natural parameters of the heaviest member; further treatments as "data[name]" and "level[name]"."""
        found = self.members[0].natural
        for name, (data, level) in self.treatment_effects().items():
            found |= {f"data[{name}]": data, f"level[{name}]": level}
        return found

    @property
    def objective(self) -> float:
        """Summed Huber loss of log residuals of the heaviest member."""
        return self.members[0].objective

    @property
    def sees_unique(self) -> bool:
        """Some member's loss depends on how much unique data there is."""
        return any(find_form(member.form).sees_unique for member in self.members)

    def treatment_effects(self) -> dict[str, tuple[float, float]]:
        """For each treatment but the first: the factor on unique data and the factor on the loss."""
        lead = self.members[0]
        slots = {name: lead.num_form + 2 * i for i, name in enumerate(self.treatments[1:])}
        return {
            name: (float(np.exp(lead.theta[slot])), float(np.exp(lead.theta[slot + 1]))) for name, slot in slots.items()
        }

    def treatment_ranges(self) -> dict[str, tuple[float, float]]:
        """For each treatment but the first: 5-95 % of the factor on unique data over the bootstrap; none without it."""
        lead = self.members[0]
        if len(lead.draws) < 2:
            return {}
        slots = {name: lead.num_form + 2 * i for i, name in enumerate(self.treatments[1:])}
        bounds = {name: np.exp(np.quantile(lead.draws[:, slot], [0.05, 0.95])) for name, slot in slots.items()}
        return {name: (float(low), float(high)) for name, (low, high) in bounds.items()}

    def group_of(self, treatment: str | None) -> int:
        """Number of a treatment.

        Raises:
            RecipeError: the pilots had none of this name.
        """
        if treatment is None:
            return 0
        if treatment not in self.treatments:
            raise RecipeError(
                "the pilots must hold cells of this treatment",
                treatment,
                did_you_mean(treatment, list(self.treatments)),
            )
        return self.treatments.index(treatment)

    def predict(
        self, N: ArrayLike, D: ArrayLike, U: ArrayLike | None = None, level: float = 0.9, treatment: str | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """What a run of N parameters, D samples seen and U unique ones will reach.

        Args:
            N, D, U: counts; they broadcast. U defaults to D (nothing seen twice) and counts as at most D.
            level: of the interval for one further run, in (0, 1).
            treatment: of the data; default the baseline.

        Returns:
            (estimate, low, high), float64 arrays of the broadcast shape, in the units of the loss.
        """
        if not 0 < level < 1:
            raise RecipeError("the level of an interval lies between 0 and 1", level, "0.9 for a 90 % interval")
        arrays = [np.asarray(x, np.float64) for x in (N, D, D if U is None else U)]
        if any(not (np.isfinite(x) & (x > 0)).all() for x in arrays):
            raise RecipeError("N, D and U must be positive finite counts", None, "check what is asked of the law")
        sizes, seen, unique = np.broadcast_arrays(*arrays)
        table = np.log(np.stack([sizes.ravel(), seen.ravel(), np.minimum(unique, seen).ravel()], axis=1))
        groups = np.full(len(table), self.group_of(treatment), np.int64)
        centre, sd = self.log_moments(table, groups)
        half = z_of(level) * np.hypot(sd, self.discrepancy.noise)
        bounds = [np.exp(centre + sign * half).reshape(sizes.shape) for sign in (0.0, -1.0, 1.0)]
        return bounds[0], bounds[1], bounds[2]

    def log_moments(self, table: Floats, groups: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Mean and deviation of log L at (M, 3) rows: bootstrap, spread of forms, discrepancies; not a run's noise."""
        flops = self.cost.flops(np.exp(table[:, 0]), np.exp(table[:, 1]))
        beyond = horizon(self.runs, table, flops)
        weights = self.weights(beyond)
        each = np.stack([member.log_loss(table, groups)[0] for member in self.members])
        once = np.ascontiguousarray(table[:, [0, 1, 1]])
        fresh = np.stack([member.log_loss(once, groups)[0] for member in self.members])
        centre, toll = (weights * each).sum(axis=0), (weights * (each - fresh)).sum(axis=0)
        variance = (weights * (each - centre) ** 2).sum(axis=0) + self.discrepancy.error(beyond) ** 2
        variance = variance + (_DOUBTED * sum(blend(beyond)) * toll) ** 2
        for weight, member in zip(weights, self.members):
            if len(member.draws) > 1:
                low, high = np.quantile(member.log_loss(table, groups, draws=True), [0.05, 0.95], axis=0)
                variance = variance + weight * ((high - low) / (2 * z_of(0.9))) ** 2
        return centre, np.sqrt(variance)

    def weights(self, beyond: Floats) -> Floats:
        """Weight of each member at (M, 2) decades beyond the pilots: (members, M), columns sum to 1."""
        away, again = blend(beyond)
        near, far, worn = (np.asarray([getattr(m, n) for m in self.members])[:, None] for n in ("near", "far", "worn"))
        mixed: Floats = (1.0 - away - again) * near + away * far + again * worn
        return mixed

    def to_json(self) -> dict[str, Any]:
        """Everything needed to reopen the law, as plain values."""
        runs = self.runs
        return {
            "format": FORMAT,
            "form": self.form,
            "parameters": self.parameters,
            "objective": self.objective,
            "intervals": {name: list(pair) for name, pair in self.intervals.items()},
            "correlation_log_A_log_B": self.correlation,
            "members": [
                {**asdict(m), "theta": m.theta.tolist(), "draws": m.draws.tolist(), "centre": m.centre.tolist()}
                for m in self.members
            ],
            "treatments": list(self.treatments),
            "discrepancy": asdict(self.discrepancy),
            "cost": asdict(self.cost),
            "origins": [
                {
                    **asdict(o),
                    "horizon": o.horizon.tolist(),
                    "actual": o.actual.tolist(),
                    "predicted": {name: values.tolist() for name, values in o.predicted.items()},
                }
                for o in self.origins
            ],
            "warnings": list(self.warnings),
            "seed": self.seed,
            "runs_digest": runs.digest(),
            "runs": {
                "N": runs.N.tolist(),
                "D": runs.D.tolist(),
                "loss": runs.loss.tolist(),
                "treatment": [runs.treatments[g] for g in runs.group],
                **({"U": runs.U.tolist()} if runs.has_unique else {}),
                **({} if runs.compute is None else {"compute": runs.compute.tolist()}),
                **({} if runs.seconds is None else {"seconds": np.nan_to_num(runs.seconds, nan=-1.0).tolist()}),
                **({} if runs.seed is None else {"seed": list(runs.seed)}),
            },
        }

    def save(self, path: str | Path) -> Path:
        """Write `law.json` (or the file named), atomically; equal laws give equal bytes."""
        target = Path(path)
        target = target if target.suffix == ".json" else target / "law.json"
        storage.write_json(target, self.to_json())
        return target

    @classmethod
    def open(cls, path: str | Path) -> Law:
        """Read what `save` wrote.

        Raises:
            CorruptError: the file is not a law, or is one of another version.
        """
        target = Path(path)
        target = target if target.suffix == ".json" else target / "law.json"
        held = storage.read_json(target)
        if not isinstance(held, dict) or held.get("format") != FORMAT:
            fix = "fit it again; a study does so by `lode study`, and trains nothing anew"
            raise CorruptError("this file must be a law of this version", str(target), fix)
        array = np.asarray
        return cls(
            form=held["form"],
            members=tuple(
                Member(**{**m, **{k: array(m[k], np.float64) for k in ("theta", "draws", "centre")}})
                for m in held["members"]
            ),
            treatments=tuple(held["treatments"]),
            discrepancy=Discrepancy(**held["discrepancy"]),
            cost=Cost(**held["cost"]),
            runs=read_runs(held["runs"]).with_treatments(tuple(held["treatments"])),
            origins=tuple(
                Origin(
                    o["axis"],
                    o["decades"],
                    o["num_fitted"],
                    array(o["horizon"]),
                    array(o["actual"]),
                    {name: array(values) for name, values in o["predicted"].items()},
                )
                for o in held["origins"]
            ),
            warnings=tuple(held["warnings"]),
            correlation=held["correlation_log_A_log_B"],
            intervals={name: (pair[0], pair[1]) for name, pair in held["intervals"].items()},
            seed=held["seed"],
        )
