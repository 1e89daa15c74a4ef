"""`plan`: under prices and a budget, should the next dollar buy data, better data, or GPUs? Or can the pilots not tell?

Every arm spends the whole budget on one thing and is valued by V(U, C), the best quality that unique data and compute
can buy. The law's bootstrap draws, with its measured error in a step between neighbours added, vote; a verdict needs
three quarters of the votes and none of the reasons to abstain. On three planted laws seen through 48 noisy pilots the
verdict was right 144 times of 144; with the true form withheld it was right or abstained every time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import exp, isfinite, log
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from motherlode import storage
from motherlode.errors import MotherlodeError
from motherlode.randomness import numpy_generator
from motherlode.studies.abstain import Pilot, next_pilot, reasons
from motherlode.studies.exchange import Rate, break_even, exchange_rates
from motherlode.studies.fit import fit_law
from motherlode.studies.intervals import INSIDE, horizon, z_of
from motherlode.studies.law import Law
from motherlode.studies.laws import Floats
from motherlode.studies.prices import Machine, PriceCurve, PriceError, machine_of, read_price
from motherlode.studies.value import Values, best_run, value
from motherlode.studies.words import sentence

if TYPE_CHECKING:
    from motherlode.studies.study import Study

Verdict = Literal["data", "treatment", "compute", "neither", "abstain"]

NUM_DRAWS = 240
SURE = 0.75
WORTH = 0.005
_SHARES = np.linspace(0.0, 1.0, 21)
Triple = tuple[float, float, float]


class PlanError(MotherlodeError):
    """A plan cannot be made of what was given."""


@dataclass(frozen=True)
class Arm:
    """One way to spend the whole budget.

    Attributes:
        name: "data", "compute", or the name of a treatment.
        kind: "data", "compute" or "treatment".
        spent: money that the arm can use; whole batches may leave some over.
        unique, flops, treatment, share: what one then has; `share` of the data has the treatment.
        loss: (estimate, low, high) of the best run, 90 %.
        gain: (estimate, low, high) of the loss relative to today's, positive is better; the interval is that of one
            run made then against one made today, as a person measures it.
        wins: share of the draws in which this arm is best.
    """

    name: str
    kind: str
    spent: float
    unique: float
    flops: float
    treatment: str | None = None
    share: float = 1.0
    loss: Triple = (0.0, 0.0, 0.0)
    gain: Triple = (0.0, 0.0, 0.0)
    wins: float = 0.0


@dataclass(frozen=True)
class Question:
    """What was asked, in plain numbers."""

    budget: float
    unique: float
    flops: float
    treatment: str | None
    data: PriceCurve
    hour: PriceCurve
    cleaning: dict[str, PriceCurve]
    machine: Machine
    currency: str
    unit: float
    worth: float

    def flops_for(self, money: float) -> float:
        """FLOPs that money buys."""
        return self.hour.quantity(money) * self.machine.flops_per_hour

    @property
    def cost_now(self) -> float:
        """Money that today's compute costs at these prices, were it sold by the second."""
        return replace(self.hour, batch=0.0).cost(self.flops / self.machine.flops_per_hour)


@dataclass(frozen=True)
class Plan:
    """What to buy next, and how sure one can be.

    Attributes:
        verdict: "data", "treatment", "compute", "neither", or "abstain".
        sentence: the verdict as one would say it.
        probability: share of the votes of "data", "treatment", "compute", "neither"; sums to 1.
        break_even_price: (estimate, low, high) a `question.unit` of unique data: cheaper than this, data beat compute.
        split: share of the budget for "data", "compute", "treatment": (estimate, 5 %, 95 %).
        exchange: what one thing is worth in another.
        best: size, samples, passes and quality of the best run after the best split.
        now: the same with what one has today.
        expected: quality after spending, (estimate, low, high).
        extrapolation: decades beyond the pilots.
        beyond: the same, (2,) as `intervals.horizon` counts them.
        next_pilot: the run that would tell most, where the plan abstains or the law is thin; else None.
        abstentions: why it abstains; empty if it does not.
        warnings: what to know before believing it, the law's included.
    """

    verdict: Verdict
    sentence: str
    probability: dict[str, float]
    break_even_price: Triple
    split: dict[str, Triple]
    exchange: tuple[Rate, ...]
    arms: tuple[Arm, ...]
    best: dict[str, float]
    now: dict[str, float]
    expected: Triple
    extrapolation: float
    next_pilot: Pilot | None
    abstentions: tuple[str, ...]
    warnings: tuple[str, ...]
    question: Question
    law: Law = field(repr=False)
    beyond: Floats = field(default_factory=INSIDE.copy, repr=False)

    def to_json(self) -> dict[str, Any]:
        """Plain values; infinite prices become null."""
        held = {
            name: value
            for name, value in self.__dict__.items()
            if name not in {"law", "beyond", "question", "exchange", "arms", "next_pilot"}
        }
        question = asdict(self.question)
        held |= {
            "question": question,
            "exchange": [asdict(rate) for rate in self.exchange],
            "arms": [asdict(arm) for arm in self.arms],
            "next_pilot": None if self.next_pilot is None else asdict(self.next_pilot),
            "law": {"form": self.law.form, "runs_digest": self.law.runs.digest(), "parameters": self.law.parameters},
        }
        return _finite(held)  # type: ignore[no-any-return]

    def save(self, folder: str | Path) -> Path:
        """Write `plan.json` and the self-contained `plan.html` into a folder; returns the page's path."""
        from motherlode.studies.report import render

        target = Path(folder)
        storage.write_json(target / "plan.json", self.to_json())
        storage.write_text(target / "plan.html", render(self))
        return target / "plan.html"


def plan(
    law_or_study: Any,
    budget: float | None = None,
    gpu_hour: Any = None,
    data_price: Any = None,
    *,
    unique: float | None = None,
    compute: float | None = None,
    treatment: str | None = None,
    clean_price: Any = None,
    data_unit: float = 1e6,
    peak_flops: float | None = None,
    utilisation: float | None = None,
    currency: str | None = None,
    worth: float = WORTH,
    form: str = "auto",
    seed: int = 0,
) -> Plan:
    """Say what to buy next.

    Args:
        law_or_study: a `Law`, a `Study` or its folder, the path of a law.json, or a table of runs as `fit_law` takes
            it. Prices that a study names stand where none is given here.
        budget: money to spend, in `currency`.
        gpu_hour: price of a GPU-hour, or a price curve ("2.5 by 168" for whole weeks).
        data_price: price of `data_unit` more unique samples, collected, cleaned and labelled, or a curve ("3/M").
        unique: unique samples owned now; default the most any pilot had.
        compute: training FLOPs at hand now; default the most any pilot used.
        treatment: what the data have had so far; default the baseline.
        clean_price: price of treating `data_unit` samples: a number where the pilots knew one further treatment, or a
            mapping of treatment → price. Without it, treatments are valued but not bought.
        data_unit: how many samples a plain data price pays for; a million by default.
        peak_flops, utilisation: of the machine an hour pays for; default measured by the pilots' `seconds`.
        currency: a label; default the study's, else USD.
        worth: relative improvement below which money is better kept.
        form: of the law, where a table is given.
        seed: of the draws.

    Raises:
        PriceError: a price or the budget is missing or negative.
        PlanError: what one owns is not a positive count.
    """
    law = _law_of(law_or_study, form, seed)
    named = _study_prices(law_or_study, law, treatment)
    question, notes = _ask(
        law, budget, named.get("gpu_hour") if gpu_hour is None else gpu_hour,
        named.get("data_price") if data_price is None else data_price, unique, compute, treatment,
        named.get("clean_price") if clean_price is None else clean_price, data_unit, peak_flops, utilisation,
        currency or named.get("currency", "USD"), worth,
    )  # fmt: skip
    return _answer(law, question, notes, seed)


def _answer(law: Law, question: Question, notes: list[str], seed: int) -> Plan:
    """Value the arms, vote, split, and say it."""
    beyond, arms = _reach(law, question)
    values, votes, gains = _vote(law, question, arms, beyond, seed)
    arms = _measured(law, arms, values, votes, gains, beyond)
    probability = {kind: sum(arm.wins for arm in arms if arm.kind == kind) for kind in ("data", "treatment", "compute")}
    probability["neither"] = max(1.0 - sum(probability.values()), 0.0)
    split, best_point, best_values = _split(law, question, beyond)
    now = best_run(law, question.unique, question.flops, treatment=question.treatment, beyond=beyond)
    after = best_run(law, best_point.unique, best_point.flops, treatment=best_point.treatment, beyond=beyond)
    expected = _interval(law, best_values, beyond)
    abstentions = reasons(law, now, after, float(beyond.max()), probability, split, SURE)
    verdict: Verdict = "abstain" if abstentions else max(probability, key=probability.__getitem__)  # type: ignore[arg-type]
    pilot = next_pilot(
        law, question.unique, now, question.flops_for(question.budget), question.cost_now / question.flops
    )
    rates = exchange_rates(law, question.unique, question.flops, question.treatment, beyond, question.machine)
    even = break_even(law, question.unique, question.flops, question.treatment, beyond, question.cost_now)
    price = (even[0] * question.unit, even[1] * question.unit, even[2] * question.unit)
    return Plan(
        verdict=verdict,
        sentence=sentence(
            verdict, question, arms, probability, price, abstentions, pilot, split, 1 - expected[0] / now["loss"]
        ),
        probability=probability,
        break_even_price=price,
        split=split,
        exchange=rates,
        arms=arms,
        best={**after, "unique": best_point.unique, "compute": best_point.flops},
        now={**now, "unique": question.unique, "compute": question.flops},
        expected=expected,
        extrapolation=float(beyond.max()),
        beyond=beyond,
        next_pilot=pilot if abstentions or not law.discrepancy.calibrated else None,
        abstentions=abstentions,
        warnings=(*notes, *_reach_warnings(law, after, float(beyond.max())), *law.warnings),
        question=question,
        law=law,
    )


def _law_of(given: Any, form: str, seed: int) -> Law:
    if isinstance(given, Law):
        return given
    known = _study_of(given)
    if known is not None:
        if known.law is None:
            why = known.why_no_law.partition("\n")[0]
            raise PlanError("a plan needs a study with a law", f"none: {why}", "add cells and run it again")
        return known.law
    if isinstance(given, str | Path):
        path = Path(given)
        if path.is_dir() and (path / "law.json").is_file():
            return Law.open(path)
        if path.is_dir() and (path / "cells.jsonl").is_file():
            return fit_law(path / "cells.jsonl", form, NUM_DRAWS, seed)
        if path.suffix == ".json":
            return Law.open(path)
        if path.is_dir():
            raise PlanError("a study's folder holds cells.jsonl or law.json", str(path), "run the study first")
    return fit_law(given, form, NUM_DRAWS, seed)


def _study_of(given: Any) -> Study | None:
    """A study, or what lies in a study's folder; None for anything else, without importing what studies need."""
    if hasattr(given, "why_no_law"):
        return given  # type: ignore[no-any-return]
    if isinstance(given, str | Path) and (Path(given) / "study.json").is_file():
        from motherlode.studies.study import Study

        return Study.open(given)
    return None


def _study_prices(given: Any, law: Law, treatment: str | None) -> dict[str, Any]:
    """Prices that a study names, by the names of `plan`'s arguments."""
    known = _study_of(given)
    if known is None:
        return {}
    prices = known.options.prices
    current = law.treatments[law.group_of(treatment)]
    cleaning = {
        name: item.price
        for name, item in known.options.treatments.items()
        if item.price is not None and name != current and name in law.treatments
    }
    named = {"gpu_hour": prices.gpu_hour, "data_price": prices.data, "currency": prices.currency}
    return {**named, **({"clean_price": cleaning} if cleaning else {})}


def _ask(
    law: Law, budget: float | None, gpu_hour: Any, data_price: Any, unique: float | None, compute: float | None,
    treatment: str | None, clean_price: Any, unit: float, peak_flops: float | None, utilisation: float | None,
    currency: str, worth: float,
) -> tuple[Question, list[str]]:  # fmt: skip
    """Check what was asked, and fill in what one has now."""
    if budget is None or not isfinite(budget) or budget <= 0:
        raise PriceError("a plan needs a budget above 0", budget, f"give budget=, for example 10000 ({currency})")
    notes = []
    owned = float(law.runs.U.max()) if unique is None else float(unique)
    held = float(law.runs.flops.max()) if compute is None else float(compute)
    for name, given in (("unique", owned), ("compute", held), ("data_unit", unit)):
        if not isfinite(given) or given <= 0:
            raise PlanError(f"{name} must be a positive count", given, "unique samples owned; FLOPs at hand")
    if unique is None or compute is None:
        notes.append(
            f"assumed that you now own {owned:.3g} unique samples and {held:.3g} FLOPs, as in the largest pilots; "
            "say so with unique= and compute="
        )
    law.group_of(treatment)
    machine = machine_of(law.runs, peak_flops, utilisation)
    if not machine.measured:
        notes.append(
            f"a GPU-hour is taken as {machine.source}; a column `seconds` in the runs, or peak_flops= and "
            "utilisation=, make it yours"
        )
    question = Question(
        budget=float(budget),
        unique=owned,
        flops=held,
        treatment=treatment,
        data=read_price(data_price, "data_price", unit),
        hour=read_price(gpu_hour, "gpu_hour", 1.0),
        cleaning=_cleaning(law, clean_price, treatment, unit),
        machine=machine,
        currency=currency,
        unit=unit,
        worth=worth,
    )
    if question.data.unit == 0 or question.hour.unit == 0:
        raise PriceError("data and GPU-hours must cost something for a choice to exist", 0.0, "buy what is free first")
    return question, notes


def _cleaning(law: Law, given: Any, treatment: str | None, unit: float) -> dict[str, PriceCurve]:
    current = law.treatments[law.group_of(treatment)]
    others = [name for name in law.treatments if name != current]
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        if len(others) != 1:
            raise PriceError(
                "one price of cleaning needs pilots of exactly one further treatment",
                f"treatments: {', '.join(law.treatments)}",
                "add cells with a column `treatment`, or give a mapping of treatment → price",
            )
        given = {others[0]: given}
    for name in given:
        law.group_of(name)
    return {str(name): read_price(price, f"clean_price[{name}]", unit) for name, price in given.items()}


def _reach(law: Law, question: Question) -> tuple[Floats, tuple[Arm, ...]]:
    """The arms, and the decades beyond the pilots, and beyond their passes, that their best runs reach."""
    money = question.budget
    bought = question.data.quantity(money)
    hours = question.hour.quantity(money)
    arms = [
        Arm("data", "data", question.data.cost(bought), question.unique + bought, question.flops, question.treatment),
        Arm(
            "compute", "compute", question.hour.cost(hours), question.unique,
            question.flops + hours * question.machine.flops_per_hour, question.treatment,
        ),
    ]  # fmt: skip
    for name, curve in question.cleaning.items():
        share = min(curve.quantity(money) / question.unique, 1.0)
        spent = curve.cost(share * question.unique)
        arms.append(Arm(name, "treatment", spent, question.unique, question.flops, name, share))
    furthest = INSIDE
    for arm in arms:
        run = best_run(law, arm.unique, arm.flops, treatment=arm.treatment)
        seen = min(arm.unique, run["num_samples"])
        table = np.log([[run["num_parameters"], run["num_samples"], seen]])
        furthest = np.maximum(furthest, horizon(law.runs, table, np.asarray([run["flops"]]))[0])
    return furthest, tuple(arms)


def _vote(
    law: Law, question: Question, arms: tuple[Arm, ...], beyond: Floats, seed: int
) -> tuple[Floats, Floats, Floats]:
    """Log V of today and of every arm; (estimate (1 + A,), wins (A,), gains (B, A))."""
    points = [Arm("now", "now", 0.0, question.unique, question.flops, question.treatment), *arms]
    found = [value(law, p.unique, p.flops, treatment=p.treatment, share=p.share, beyond=beyond) for p in points]
    estimate = np.asarray([v.log_loss[0] for v in found])
    draws = np.column_stack([v.draws[:, 0] for v in found])
    if not len(draws):
        draws = np.repeat(estimate[None], NUM_DRAWS, axis=0)
    rng = numpy_generator(seed, "plan discrepancy")
    steps = np.asarray([0.0, *(_step(question, arm) for arm in arms)])
    error = np.hypot(law.discrepancy.local, law.discrepancy.error(np.minimum(steps[:, None], beyond)))
    noisy = draws + rng.standard_normal(draws.shape) * error
    gains = noisy[:, :1] - noisy[:, 1:]
    leader = np.where(gains.max(axis=1) < question.worth, -1, gains.argmax(axis=1))
    wins = np.asarray([(leader == i).mean() for i in range(len(arms))])
    return estimate, wins, gains


def _step(question: Question, arm: Arm) -> float:
    """Decades between today and an arm, on the axis it moves."""
    return max(log(arm.unique / question.unique), log(arm.flops / question.flops)) / log(10.0)


def _measured(
    law: Law, arms: tuple[Arm, ...], estimate: Floats, wins: Floats, gains: Floats, beyond: Floats
) -> tuple[Arm, ...]:
    out = []
    z90, noise = z_of(0.9), law.discrepancy.noise
    spread = z90 * float(np.hypot(noise, law.discrepancy.error(beyond)))
    for i, arm in enumerate(arms):
        low, high = np.quantile(gains[:, i], [0.05, 0.95])
        half = float(np.hypot(spread, 0.5 * (high - low)))
        centre = float(estimate[1 + i])
        gain = float(estimate[0]) - centre
        less, more = np.hypot([gain - low, high - gain], np.sqrt(2.0) * z90 * noise)  # a run then, and one today
        out.append(
            replace(
                arm,
                loss=(exp(centre), exp(centre - half), exp(centre + half)),
                gain=(1 - exp(-gain), 1 - exp(float(less) - gain), 1 - exp(-float(more) - gain)),
                wins=float(wins[i]),
            )
        )
    return tuple(out)


def _split(law: Law, question: Question, beyond: Floats) -> tuple[dict[str, Triple], Arm, Values]:
    """The best division of the budget over data, compute and treatment, and its spread over the draws."""
    points: list[tuple[float, float, Arm]] = []
    for name, curve in [(question.treatment, None), *question.cleaning.items()]:
        fixed = 0.0 if curve is None else curve.cost(question.unique)
        if fixed > question.budget:
            continue
        data = question.data if curve is None else question.data.plus(curve)
        for share in _SHARES:
            money = (question.budget - fixed) * float(share)
            unique = question.unique + data.quantity(money)
            flops = question.flops + question.flops_for(question.budget - fixed - money)
            points.append((money / question.budget, fixed / question.budget, Arm("", "", 0.0, unique, flops, name)))
    parts = []
    for treatment in dict.fromkeys(point.treatment for _, _, point in points):
        chosen = [point for _, _, point in points if point.treatment == treatment]
        parts.append(
            value(law, [p.unique for p in chosen], [p.flops for p in chosen], treatment=treatment, beyond=beyond)
        )
    log_loss = np.concatenate([part.log_loss for part in parts])
    draws = np.concatenate([part.draws for part in parts], axis=1)
    mean = log_loss if not len(draws) else draws.mean(axis=0)
    lead = int(np.argmin(mean))
    picks = np.argmin(draws, axis=1) if len(draws) else np.asarray([lead])
    columns = {
        "data": np.asarray([money for money, _, _ in points]),
        "treatment": np.asarray([fixed for _, fixed, _ in points]),
    }
    columns["compute"] = 1.0 - columns["data"] - columns["treatment"]
    split = {
        name: (float(shares[lead]), float(np.quantile(shares[picks], 0.05)), float(np.quantile(shares[picks], 0.95)))
        for name, shares in columns.items()
    }
    keep = slice(lead, lead + 1)
    chosen_values = Values(log_loss[keep], draws[:, keep], np.zeros(1), np.zeros(1))
    return split, points[lead][2], chosen_values


def _interval(law: Law, found: Values, beyond: Floats) -> Triple:
    """Quality of one further run at V: (estimate, low, high) at 90 %."""
    centre = float(found.log_loss[0])
    spread = float(np.ptp(np.quantile(found.draws[:, 0], [0.05, 0.95]))) / 2 if len(found.draws) else 0.0
    other = z_of(0.9) * float(np.hypot(law.discrepancy.noise, law.discrepancy.error(beyond)))
    half = float(np.hypot(spread, other))
    return exp(centre), exp(centre - half), exp(centre + half)


def _reach_warnings(law: Law, after: dict[str, float], beyond: float) -> list[str]:
    found = []
    if beyond > 0.3:
        found.append(f"the plan lies {beyond:.1f} decades beyond the pilots; the intervals have been widened for it")
    most = float(law.runs.epochs.max())
    if after["passes"] > 1.05 * most:
        found.append(
            f"the best run would see its data {after['passes']:.0f} times, no pilot more than {most:.0f}: "
            "what repetition costs there is a guess"
        )
    return found


def _finite(held: Any) -> Any:
    """The same values with infinities and NaN as null, tuples as lists."""
    if isinstance(held, dict):
        return {str(name): _finite(inner) for name, inner in held.items()}
    if isinstance(held, list | tuple):
        return [_finite(inner) for inner in held]
    if isinstance(held, float | np.floating):
        return float(held) if isfinite(held) else None
    return held
