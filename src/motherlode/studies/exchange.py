"""Exchange rates at today's data and compute: what a GPU-hour, a doubling or a treatment is worth in samples.

All come from V(U, C), so model size and passes are chosen anew on both sides of every comparison. Intervals are
5-95 % of the bootstrap draws over the law's forms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motherlode.studies.law import Law
from motherlode.studies.laws import Floats
from motherlode.studies.prices import Machine
from motherlode.studies.value import Values, value
from motherlode.studies.words import amount

_FACTORS = 2.0 ** np.linspace(-2.0, 6.0, 17)


@dataclass(frozen=True)
class Rate:
    """One exchange rate.

    Attributes:
        name: "gpu_hour", "double_compute" or "treatment[name]".
        estimate, low, high: samples for "gpu_hour", else a factor on unique data; infinite where no amount of data
            does as much.
        text: the rate as a sentence.
    """

    name: str
    estimate: float
    low: float
    high: float
    text: str

    @property
    def range(self) -> str:
        """The interval in words."""
        return f"90 %: {amount(self.low)} to {amount(self.high)}"


def break_even(
    law: Law, unique: float, flops: float, treatment: str | None, beyond: Floats, cost_now: float
) -> tuple[float, float, float]:
    """Price of one unique sample at which a doubling of data gains as much a dollar as a doubling of compute.

    p* = p_C · V_U / V_C in finite form: (gain of 2U / gain of 2C) · cost(C) / U. Returns (estimate, low, high).
    """
    found = value(law, [unique, 2 * unique, unique], [flops, flops, 2 * flops], treatment=treatment, beyond=beyond)
    price = _gain_ratio(np.exp(np.vstack([found.log_loss, found.draws]))) * cost_now / unique
    return _triple(price)


def exchange_rates(
    law: Law, unique: float, flops: float, treatment: str | None, beyond: Floats, machine: Machine
) -> tuple[Rate, ...]:
    """What a GPU-hour, twice the GPUs and every other treatment are worth in unique data."""
    owned = np.asarray([unique, 2 * unique, unique])
    doubled = value(law, owned, [flops, flops, 2 * flops], treatment=treatment, beyond=beyond)
    losses = np.exp(np.vstack([doubled.log_loss, doubled.draws]))
    with np.errstate(divide="ignore"):
        hour = _triple(machine.flops_per_hour / flops * unique / _gain_ratio(losses))
    ladder = value(law, unique * _FACTORS, np.full(_FACTORS.size, flops), treatment=treatment, beyond=beyond)
    twice = _matching(ladder, doubled, 2)
    rates = [
        Rate("gpu_hour", *hour, f"one GPU-hour is worth {_count(hour[0])} more unique samples"),
        Rate("double_compute", *twice, f"doubling the GPUs is worth {_factor(twice[0])} the data"),
    ]
    current = law.treatments[law.group_of(treatment)]
    for name in law.treatments:
        if name == current:
            continue
        treated = value(law, [unique], [flops], treatment=name, beyond=beyond)
        worth = _matching(ladder, treated, 0)
        rates.append(Rate(f"treatment[{name}]", *worth, f"treatment {name!r} is worth {_factor(worth[0])} the data"))
    return tuple(rates)


def _gain_ratio(losses: Floats) -> Floats:
    """Gain of doubling data over gain of doubling compute, from columns (now, 2U, 2C); 0 and infinity at the ends."""
    data = np.maximum(losses[:, 0] - losses[:, 1], 0.0)
    compute = np.maximum(losses[:, 0] - losses[:, 2], 0.0)
    ratio = np.full(data.size, np.inf)
    np.divide(data, compute, out=ratio, where=compute > 1e-12)
    return np.where(data <= 1e-12, 0.0, ratio)


def _matching(ladder: Values, target: Values, column: int) -> tuple[float, float, float]:
    """The factor on unique data that reaches the target's quality, for the estimate and every draw."""
    rungs = np.vstack([ladder.log_loss, ladder.draws])
    goals = np.concatenate([target.log_loss[[column]], target.draws[:, column]])
    factors = []
    for rung, goal in zip(rungs, goals):
        descending = np.minimum.accumulate(rung)
        if goal < descending[-1] - 1e-12:
            factors.append(np.inf)
        else:
            factors.append(float(np.exp(np.interp(-goal, -descending, np.log(_FACTORS)))))
    return _triple(np.asarray(factors))


def _triple(values: Floats) -> tuple[float, float, float]:
    """The first value, and 5-95 % of the others, widened to hold it."""
    if values.size < 2:
        return float(values[0]), float(values[0]), float(values[0])
    low = np.quantile(values[1:], 0.05, method="lower")
    high = np.quantile(values[1:], 0.95, method="higher")
    return float(values[0]), float(min(low, values[0])), float(max(high, values[0]))


def _count(number: float) -> str:
    return amount(number) if np.isfinite(number) else "any number of"


def _factor(number: float) -> str:
    return f"{number:.2g}x" if np.isfinite(number) else "more than 64x"
