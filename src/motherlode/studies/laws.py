"""The forms a law of quality can take. A library, never one law: none of them wins on every table.

On 182 published repetition runs no form was best at once in sample, at 30 times the compute, at more unique data and
at more passes; `fit` therefore weighs them by how well they foretold the user's own larger pilots.

Short runs add two traits that the published forms lack, and `overfit_paced` has both. Larger models learn in fewer
samples, so learning is counted on a clock T = D·N^γ (γ .37 and .47 on our two studies); and what repetition costs
grows with N but hardly with 1/U. On those studies' pilots the residuals fell from 2.1 % to 1.0 % and 3.0 % to .6 %.

Symbols: N parameters, D samples (or tokens) seen, U unique ones, R = D/U − 1 repetitions, L the quality, lower is
better. All forms are decreasing power laws towards an irreducible E, so none of them can describe a family that gets
worse with more fresh data; such tables end in large residuals and wide intervals, not in an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motherlode.errors import RecipeError
from motherlode.registry import did_you_mean

Floats = NDArray[np.float64]

BOUNDED_KIND = 3
TINY = -60.0  # log of a coefficient that is switched off
_EXPONENTS = {
    "alpha", "beta", "gamma", "delta", "beta_after", "pace", "P_repeats", "P_crowding", "P_size", "P_scarcity",
}  # fmt: skip
_EXPONENT = (0.005, 4.0)
_COEFFICIENT = (TINY, 60.0)


@dataclass(frozen=True)
class Form:
    """One functional form of L(N, D, U).

    Attributes:
        name: what users write, such as "effective_data".
        kind: its number in `kernels`.
        parameters: natural names, in the order of the kernel's theta.
        num_cells: fewest distinct cells worth fitting.
        sees_unique: the loss depends on U, so the form can price data; the others cannot.
        equation, source: for people.
        shapes, grid: the exponents that are tried before the coefficients are projected, and their values.
    """

    name: str
    kind: int
    parameters: tuple[str, ...]
    num_cells: int
    sees_unique: bool
    equation: str
    source: str
    shapes: tuple[str, ...]
    grid: tuple[tuple[float, ...], ...]

    def starts(self, log_table: Floats, loss: Floats) -> Floats:
        """(G, shapes) exponents to try; relative entries are placed on the table's own scale."""
        axes = [np.asarray(axis, np.float64) for axis in self.grid]
        if self.kind == BOUNDED_KIND:
            axes[4], axes[5] = axes[4] * loss.min(), axes[5] * loss.max()
        if "break_at" in self.parameters:
            span = log_table[:, 1] - log_table[:, 1].mean()
            axes[3] = span.min() + axes[3] * (span.max() - span.min())
        return np.asarray(list(product(*axes)), np.float64)

    def theta(self, shape: Floats, coefficients: Floats, loss_scale: float) -> Floats:
        """Kernel parameters from exponents and the linear coefficients projected at them."""
        logs = np.log(np.maximum(coefficients, 1e-4 * loss_scale))
        if self.kind == BOUNDED_KIND:
            logs = np.log(np.maximum(coefficients, 1e-6))
            gap = shape[5] - shape[4]
            return np.concatenate([[np.log(max(shape[4], 1e-3 * loss_scale)), np.log(gap)], logs, shape[:4]])
        head = np.concatenate([logs[:3], shape[:2]])
        tail: list[float] = []
        if self.name == "effective_data":
            tail = [float(np.log(shape[2]))]
        elif self.name == "overfit_penalty":
            tail = [logs[3], *shape[2:]]
        elif self.name == "broken":
            tail = [*shape[2:], float(np.log(0.5))]
        elif self.name == "overfit_paced":
            tail = [*shape[2:4], float(np.log(0.5)), shape[4], logs[3], *shape[5:]]
        elif self.name == "effective_both":
            tail = [float(x) for x in np.log(shape[2:])]
        return np.concatenate([head, np.asarray(tail, np.float64)])

    def bounds(self, log_table: Floats, loss: Floats) -> tuple[Floats, Floats]:
        """Box of theta; wide enough that a touched bound means the data do not identify the parameter."""
        span = float(np.ptp(log_table[:, 1])) / 2 + 1e-6
        if "pace" in self.parameters:
            span += float(np.ptp(log_table[:, 0])) / 4
        boxes: dict[str, tuple[float, float]] = {
            "E": (float(np.log(1e-3 * loss.min())), float(np.log(loss.min()))),
            "L0": (float(np.log(1e-2 * loss.min())), float(np.log(1e3 * loss.max()))),
            "R_D": (float(np.log(0.05)), float(np.log(1e4))),
            "R_N": (float(np.log(0.05)), float(np.log(1e4))),
            "break_at": (-span, span),
            "sharpness": (float(np.log(0.05)), float(np.log(3.0))),
            "P_repeats": (0.05, 2.0),  # no table here wants more than 1.4; R⁴ fitted to two worn cells explodes
            "P_crowding": (0.0, 4.0),
            "P_size": (0.0, 4.0),
            "P_scarcity": (0.0, 4.0),
            "pace": (0.0, 2.0),
        }
        rows = []
        for name in self.parameters:
            default = _COEFFICIENT if name in {"A", "B", "P", "a", "b", "c"} else _EXPONENT
            rows.append(boxes.get(name, default))
        low, high = np.asarray(rows, np.float64).T
        return np.ascontiguousarray(low), np.ascontiguousarray(high)

    def natural(self, theta: Floats, centre: Floats) -> dict[str, float]:
        """Parameters under their published names, centring undone."""
        value = dict(zip(self.parameters, theta.tolist()))
        shift = self._shifts(value, centre)
        out = {}
        for name, raw in value.items():
            if name in _EXPONENTS:
                out[name] = raw
            elif name == "break_at":
                out[name] = float(np.exp(raw + centre[1] + value.get("pace", 0.0) * centre[0]))
            else:
                log_value = raw + shift.get(name, 0.0)
                out[name] = float(np.exp(log_value)) if log_value > TINY / 2 else 0.0
        if "L0" in out:
            out["L0"] += out["E"]
        return out

    def centred(self, parameters: Mapping[str, float], centre: Floats) -> Floats:
        """Theta of natural parameters: the inverse of `natural`."""
        missing = [name for name in self.parameters if name not in parameters]
        if missing:
            raise RecipeError(f"the form {self.name} needs all its parameters", missing, "give " + ", ".join(missing))
        shift = self._shifts(parameters, centre)
        theta = []
        for name in self.parameters:
            raw = float(parameters[name])
            if name in _EXPONENTS:
                theta.append(raw)
            elif name == "break_at":
                theta.append(float(np.log(raw) - centre[1] - parameters.get("pace", 0.0) * centre[0]))
            else:
                raw -= parameters["E"] if name == "L0" else 0.0
                theta.append(float(np.log(raw)) - shift.get(name, 0.0) if raw > 0 else TINY)
        return np.asarray(theta, np.float64)

    def _shifts(self, value: Mapping[str, float], centre: Floats) -> dict[str, float]:
        """What centring took from the logarithm of each coefficient."""
        shift = {}
        for name, exponent, axis in (("A", "alpha", 0), ("B", "beta", 1), ("a", "alpha", 0), ("b", "beta", 1)):
            if name in value:
                shift[name] = value[exponent] * float(centre[axis])
        if "pace" in value:
            shift["B"] += value["beta"] * value["pace"] * float(centre[0])
        if "P" in value:
            size, scarcity = (value.get(name, value.get("P_crowding", 0.0)) for name in ("P_size", "P_scarcity"))
            shift["P"] = -value["P_repeats"] * float(centre[3]) - size * float(centre[0]) + scarcity * float(centre[2])
        if "c" in value:
            shift["c"] = -value["gamma"] * float(centre[0]) + value["delta"] * float(centre[2])
        return shift

    def predict(
        self, parameters: Mapping[str, float], N: ArrayLike, D: ArrayLike, U: ArrayLike | None = None
    ) -> Floats:
        """L at natural parameters; N, D, U broadcast against each other, U defaults to D (nothing seen twice).

        Returns:
            float64 array of the broadcast shape, in the units of the loss.
        """
        from motherlode.studies import kernels

        sizes, seen, unique = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (N, D, D if U is None else U)))
        table = np.log(np.stack([sizes.ravel(), seen.ravel(), np.minimum(unique, seen).ravel()], axis=1))
        centre = np.zeros(4)
        theta = self.centred(parameters, centre)[None]
        groups = np.zeros(len(table), np.int64)
        log_loss = kernels.predict(self.kind, theta.shape[1], theta, centre, table, groups)[0]
        loss: Floats = np.exp(log_loss).reshape(sizes.shape)
        return loss


_WIDE = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5)
_FEW = (0.08, 0.2, 0.35, 0.5, 0.8, 1.3)
_THREE = (0.1, 0.3, 0.6)
_BASE = ("E", "A", "B", "alpha", "beta")
_BASE_SHAPES = ("alpha", "beta")
_FLOOR, _CEILING = (0.02, 0.4, 0.7), (1.3, 2.0, 5.0)  # of E in units of the best loss, of L0 in units of the worst

CHINCHILLA = Form(
    name="chinchilla",
    kind=0,
    parameters=_BASE,
    num_cells=8,
    sees_unique=False,
    equation="L = E + A·N^−α + B·D^−β",
    source="Hoffmann et al. 2022, arXiv:2203.15556, eq. 2; refitted by Besiroglu et al. 2024, arXiv:2404.10102",
    shapes=_BASE_SHAPES,
    grid=(_WIDE, _WIDE),
)
EFFECTIVE = Form(
    name="effective_data",
    kind=1,
    parameters=(*_BASE, "R_D"),
    num_cells=10,
    sees_unique=True,
    equation="L = E + A·N^−α + B·D'^−β,  D' = U + U·R*·(1 − e^(−R/R*))",
    source="Muennighoff et al. 2023, arXiv:2305.16264, eq. 5 (its data term)",
    shapes=(*_BASE_SHAPES, "R_D"),
    grid=(_FEW, _FEW, (1.0, 3.0, 8.0, 20.0, 60.0)),
)
PENALTY = Form(
    name="overfit_penalty",
    kind=2,
    parameters=(*_BASE, "P", "P_repeats", "P_crowding"),
    num_cells=12,
    sees_unique=True,
    equation="L = E + A·N^−α + B·D^−β + P·R^δ·(N/U)^κ   (δ = P_repeats, κ = P_crowding)",
    source="the class of Lovelace et al. 2026, arXiv:2605.01640",
    shapes=(*_BASE_SHAPES, "P_repeats", "P_crowding"),
    grid=(_FEW[:5], _FEW[:5], (0.3, 0.7, 1.2, 2.0), (0.1, 0.4, 0.8, 1.4)),
)
BOUNDED = Form(
    name="bounded",
    kind=BOUNDED_KIND,
    parameters=("E", "L0", "a", "b", "c", "alpha", "beta", "gamma", "delta"),
    num_cells=14,
    sees_unique=True,
    equation="L = E + (L0 − E)·h/(1 + h),  h = a·N^−α + b·D^−β + c·N^γ·U^−δ",
    source="arXiv:2605.09189",
    shapes=(*_BASE_SHAPES, "gamma", "delta", "E", "L0"),
    grid=(_THREE, (0.1, 0.3, 0.5, 0.8), (0.1, 0.4, 0.8), (0.2, 0.5, 1.0), _FLOOR, _CEILING),
)
SATURATING = Form(
    name="saturating",
    kind=BOUNDED_KIND,
    parameters=BOUNDED.parameters,
    num_cells=10,
    sees_unique=False,
    equation="L = E + (L0 − E)·h/(1 + h),  h = a·N^−α + b·D^−β   (bounded, c = 0)",
    source="arXiv:2605.09189 without its cross term",
    shapes=BOUNDED.shapes,
    grid=(_THREE, (0.1, 0.3, 0.5, 0.8), (0.4,), (0.5,), _FLOOR, _CEILING),
)
BROKEN = Form(
    name="broken",
    kind=4,
    parameters=(*_BASE, "beta_after", "break_at", "sharpness"),
    num_cells=16,
    sees_unique=False,
    equation="L = E + A·N^−α + B·D^−β·(1 + (D/d)^(1/f))^(−(β₂ − β)·f)   (d = break_at, β₂ = beta_after, f = sharpness)",
    source="Caballero et al. 2022, arXiv:2210.14891, eq. 1 with one break, on the data axis",
    shapes=(*_BASE_SHAPES, "beta_after", "break_at"),
    grid=(_THREE, (0.1, 0.3, 0.7), (0.05, 0.2, 0.5, 1.0), (0.2, 0.4, 0.6, 0.8)),
)
PACED = Form(
    name="overfit_paced",
    kind=6,
    parameters=(*BROKEN.parameters, "pace", "P", "P_repeats", "P_size", "P_scarcity"),
    num_cells=20,
    sees_unique=True,
    equation="L = E + A·N^−α + B·T^−β·(1 + (T/d)^(1/f))^(−(β₂ − β)·f) + P·R^δ·N^κ·U^−λ,  T = D·N^γ   (γ = pace, "
    "δ = P_repeats, κ = P_size, λ = P_scarcity; the rest as in broken)",
    source="broken over a clock that larger models run faster, and overfit_penalty with an exponent of its own for U",
    shapes=(*BROKEN.shapes, "pace", "P_repeats", "P_size", "P_scarcity"),
    grid=((0.1, 0.6), (0.2, 0.6, 1.8), (0.1, 0.3, 0.8), (0.2, 0.4, 0.7), (0.0, 0.4), (1.0,), (0.6,), (0.3,)),
)
EFFECTIVE_BOTH = Form(
    name="effective_both",
    kind=5,
    parameters=(*_BASE, "R_D", "R_N"),
    num_cells=12,
    sees_unique=True,
    equation="L = E + A·N'^−α + B·D'^−β;  N' = U_N + U_N·R_N*·(1 − e^(−R_N/R_N*)),  U_N = min(N, (A/B)^(1/α)·U)",
    source="Muennighoff et al. 2023, arXiv:2305.16264, eqs. 5 and 6",
    shapes=(*_BASE_SHAPES, "R_D", "R_N"),
    grid=((0.2, 0.35, 0.5), (0.2, 0.35, 0.5), (3.0, 15.0, 60.0), (1.0, 5.0, 30.0)),
)

FORMS = {f.name: f for f in (CHINCHILLA, EFFECTIVE, PENALTY, BOUNDED, SATURATING, BROKEN, EFFECTIVE_BOTH, PACED)}
AUTOMATIC = ("chinchilla", "effective_data", "overfit_penalty", "overfit_paced", "bounded", "saturating", "broken")


def find_form(name: Any) -> Form:
    """The form of this name.

    Raises:
        RecipeError: there is none; the message offers the nearest.
    """
    if name not in FORMS:
        raise RecipeError("there is no law of this form", name, did_you_mean(str(name), ["auto", *FORMS]))
    return FORMS[name]
