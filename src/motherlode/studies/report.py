"""Makes `plan.html`: the verdict, four pictures, the arms, the warnings, in one file without script or network.

About 200 kB for a 200-row table, most of it the map's contours.
"""

from __future__ import annotations

from typing import Any

from motherlode.studies import pictures
from motherlode.studies.law import Law
from motherlode.studies.laws import find_form
from motherlode.studies.plan import Arm, Plan
from motherlode.studies.words import amount, capped, mixture, money, price_range

_HEADLINES = {
    "data": "Buy data.",
    "compute": "Buy GPU-hours.",
    "neither": "Keep the money.",
    "abstain": "The pilots cannot tell.",
}


def render(plan: Plan) -> str:
    """The page as text."""
    page: str = template("plan.html.j2").render(
        headline=_headline(plan),
        sentence=plan.sentence,
        votes=pictures.probability_bar(plan),
        tiles=_tiles(plan),
        abstentions=plan.abstentions,
        map=pictures.isoquant_map(plan),
        money=pictures.what_money_buys(plan),
        held_back=pictures.held_back(plan.law),
        facets=pictures.pilots_and_curves(plan.law),
        budget=money(plan.question.budget, plan.question.currency),
        arms=[_arm(plan, arm) for arm in plan.arms],
        rates=[{"text": rate.text, "range": rate.range} for rate in plan.exchange],
        warnings=plan.warnings,
        method=_method(plan),
    )
    return page


def template(name: str) -> Any:
    """One of the studies' page templates; a variable that is not given is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("motherlode.studies"),
        autoescape=select_autoescape(("html", "j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _headline(plan: Plan) -> str:
    if plan.verdict == "treatment":
        best = max((arm for arm in plan.arms if arm.kind == "treatment"), key=lambda arm: arm.wins)
        return f"Better the data: {best.name}."
    return _HEADLINES[plan.verdict]


def _tiles(plan: Plan) -> list[dict[str, str]]:
    asked, best, now = plan.question, plan.best, plan.now
    data = plan.split["data"]
    return [
        {
            "title": "next doubling: data pay up to",
            "value": capped(plan.break_even_price[0], asked),
            "detail": price_range(plan.break_even_price, asked).removeprefix(capped(plan.break_even_price[0], asked)),
        },
        {
            "title": f"best split of {money(asked.budget, asked.currency)}",
            "value": mixture(plan.split),
            "detail": f"data's share 90 %: {data[1]:.0%} to {data[2]:.0%}",
        },
        {
            "title": "expected loss after it",
            "value": f"{plan.expected[0]:.4g}",
            "detail": f"90 %: {plan.expected[1]:.4g} to {plan.expected[2]:.4g}; today's best {now['loss']:.4g}",
        },
        {
            "title": "best run then",
            "value": f"{amount(best['num_parameters'])} parameters",
            "detail": f"{best['passes']:.3g} passes over {amount(min(best['unique'], best['num_samples']))} samples; "
            f"today {now['passes']:.3g}",
        },
        {
            "title": "extrapolation",
            "value": f"{plan.extrapolation:.1f} decades",
            "detail": "beyond the pilots" if plan.extrapolation > 0 else "inside what the pilots cover",
        },
    ]


def _arm(plan: Plan, arm: Arm) -> dict[str, str]:
    have = {
        "data": f"{amount(arm.unique)} unique samples",
        "compute": f"{arm.flops:.3g} FLOPs",
        "treatment": f"{arm.share:.0%} treated ({money(arm.spent, plan.question.currency)})",
    }
    names = {"data": "data", "compute": "GPU-hours", "treatment": arm.name}
    return {
        "name": names[arm.kind],
        "have": have[arm.kind],
        "loss": f"{arm.loss[0]:.4g} ({arm.loss[1]:.4g} to {arm.loss[2]:.4g})",
        "gain": f"{arm.gain[0]:z.1%} ({arm.gain[1]:z.1%} to {arm.gain[2]:z.1%})",
        "wins": f"{arm.wins:.0%}",
    }


def _method(plan: Plan) -> list[tuple[str, Any]]:
    law, asked = plan.law, plan.question
    rows: list[tuple[str, Any]] = [
        (
            "pilots",
            f"{len(law.runs)} runs, {law.runs.num_distinct()} distinct; treatments: {', '.join(law.treatments)}",
        ),
        ("you have", f"{amount(asked.unique)} unique samples, {asked.flops:.3g} FLOPs"),
        ("a GPU-hour", f"{asked.machine.source}; {asked.machine.flops_per_hour:.3g} FLOPs"),
        *behind(law, "pilots"),
    ]
    return rows


def behind(law: Law, measured: str) -> list[tuple[str, Any]]:
    """What stands behind a law, for its page: its errors, and each form with its weights and parameters."""
    doubt = law.discrepancy
    rows: list[tuple[str, Any]] = [
        (
            "error of the law",
            f"{doubt.noise:.1%} noise a run, {doubt.local:.1%} in a step between neighbours, {doubt.rate:.1%} a decade "
            f"beyond the {measured}"
            + ("" if doubt.calibrated else " (assumed)")
            + f", {doubt.passes_rate:.1%} a decade "
            "beyond their passes",
        )
    ]
    for member in law.members:
        form = find_form(member.form)
        values = ", ".join(f"{name} {number:.4g}" for name, number in member.natural.items())
        weights = (
            f"{member.near:.0%} between {measured}, {member.far:.0%} beyond, {member.worn:.0%} beyond their passes"
        )
        rows.append((f"{member.form} ({weights})", f"{form.equation}: {values}"))
    return rows
