"""When a plan must say that the pilots cannot tell, and which pilot would.

A law always has an optimum; whether the pilots identify it is another matter. Each reason below names what is missing,
and the proposed pilot is the smallest run that would supply it for at most a tenth of the budget.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motherlode.studies.law import Law
from motherlode.studies.words import amount

_FURTHEST = 2.0
_REPEATED = 1.5
_PASSES_BEYOND = 4.0
_FEWEST = 12
_FEWEST_FRESH = 3
_ONE_SIZE = 0.3  # in log
_BOTH_ENDS = (0.1, 0.9)


@dataclass(frozen=True)
class Pilot:
    """A run worth making before the money is spent.

    Attributes:
        num_parameters, num_samples, unique: of the run.
        passes: samples seen over unique ones.
        flops, cost: what it takes, at the plan's prices.
        why: one sentence.
    """

    num_parameters: float
    num_samples: float
    unique: float
    passes: float
    flops: float
    cost: float
    why: str

    def text(self, price: str) -> str:
        """The pilot in words, at a price already written out."""
        run = f"{amount(self.num_parameters)} parameters on {amount(self.unique)} unique samples"
        passes = "one pass" if self.passes < 1.05 else f"{self.passes:.3g} passes"
        return f"{run} for {passes} ({price}), because {self.why}"


def reasons(
    law: Law,
    now: dict[str, float],
    after: dict[str, float],
    beyond: float,
    probability: dict[str, float],
    split: dict[str, tuple[float, float, float]],
    sure: float,
) -> tuple[str, ...]:
    """Why the pilots cannot carry a verdict; empty if they can."""
    found = []
    runs = law.runs
    needs_repeats = max(now["passes"], after["passes"]) > 1.05
    blind = not law.sees_unique or float(runs.epochs.max()) < _REPEATED
    if needs_repeats and blind:
        found.append(
            f"the best run would see its data {max(now['passes'], after['passes']):.0f} times, and no pilot shows "
            "what repetition costs"
        )
    elif needs_repeats and max(now["passes"], after["passes"]) > _PASSES_BEYOND * float(runs.epochs.max()):
        found.append(
            f"the best run would see its data {max(now['passes'], after['passes']):.0f} times, the pilots at most "
            f"{float(runs.epochs.max()):.0f}"
        )
    if law.sees_unique and (runs.epochs < _REPEATED).sum() < _FEWEST_FRESH:
        found.append("all pilots repeat their data, so none shows what fresh data bring")
    if float(np.ptp(np.log(runs.N))) < _ONE_SIZE:
        found.append(
            "all pilots are of one model size, so none shows what a larger one would make of more data or compute"
        )
    if law.sees_unique and float(np.ptp(np.log(runs.U))) < np.log(2.0):
        found.append("all pilots own the same amount of unique data, so none shows what more of it would bring")
    if beyond > _FURTHEST:
        found.append(f"the plan lies {beyond:.1f} decades beyond the pilots, more than {_FURTHEST:.0f}")
    if runs.num_distinct() < _FEWEST:
        found.append(f"{runs.num_distinct()} distinct pilots are too few to weigh one purchase against another")
    best = max(probability, key=probability.__getitem__)
    if probability[best] < sure:
        ranked = sorted(probability, key=lambda name: -probability[name])[:2]
        found.append(
            "the pilots do not separate the arms: "
            + " against ".join(f"{name} {probability[name]:.0%}" for name in ranked)
        )
        _, low, high = split["data"]
        if low < _BOTH_ENDS[0] and high > _BOTH_ENDS[1]:
            found.append(f"the best share of the budget for data lies anywhere from {low:.0%} to {high:.0%}")
    return tuple(found)


def next_pilot(law: Law, unique: float, now: dict[str, float], budget_flops: float, price: float) -> Pilot:
    """The run that would tell most for at most a tenth of the budget and a third of today's compute.

    Args:
        law: what is known.
        unique: unique samples owned now.
        now: the best run with what one has today.
        budget_flops: what the whole budget buys.
        price: money a FLOP.
    """
    runs = law.runs
    limit = max(min(0.1 * budget_flops, now["flops"] / 3.0), float(runs.flops.min()))
    if not law.sees_unique or runs.epochs.max() < 4.0:
        size = float(np.exp(np.median(np.log(runs.N))))
        passes = 16.0
        why = "no pilot shows what many passes over little data cost"
    elif float(np.ptp(np.log(runs.N))) < _ONE_SIZE:
        size, passes = 3.0 * float(runs.N.max()), 1.0
        why = "no pilot shows what another model size makes of the same data"
    elif (runs.epochs < _REPEATED).sum() < _FEWEST_FRESH:
        size, passes = float(np.exp(np.median(np.log(runs.N)))), 1.0
        why = "no pilot shows what fresh data bring"
    else:
        passes = max(min(now["passes"], 2.0 * float(runs.epochs.max())), 1.0)
        size = now["num_parameters"] * (limit / now["flops"]) ** 0.5
        size = float(np.clip(size, runs.N.min(), 3.0 * runs.N.max()))
        why = "it lies nearest to the purchase at the passes the best run would take"
    seen = min(limit / float(law.cost.flops(size, 1.0)), passes * unique)
    owned = min(seen / passes, unique)
    flops = float(law.cost.flops(size, seen))
    return Pilot(size, seen, owned, seen / owned, flops, flops * price, why)
