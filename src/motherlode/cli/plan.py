"""`lode plan`: should the next dollar buy data, better data or GPU-hours?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from motherlode.studies.plan import Plan

EXAMPLES = (
    "lode plan --runs runs.csv --budget 10000 --gpu-hour 2.5 --data-price 3.0",
    "lode plan studies/poems --budget 800 --gpu-hour '2.5 by 24' --data-price '3/M, 2/M from 100M' --clean-price 0.4",
)


def command(
    study: Path | None = typer.Argument(None, help="A study's folder, or a law.json."),
    runs: Path | None = typer.Option(None, "--runs", help="A CSV of finished runs: N, D, loss; U, compute, treatment."),
    budget: float | None = typer.Option(None, help="Money to spend."),
    gpu_hour: str | None = typer.Option(None, help="Price of a GPU-hour: 2.5, or '2.5 by 24' for whole days."),
    data_price: str | None = typer.Option(
        None, help="Price of more unique data: 3.0 (a million), '0.05/each', '3/M, 2/M from 100M'."
    ),
    clean_price: list[str] | None = typer.Option(
        None, help="Price of a treatment, e.g. 0.4 or cleaned=0.4/M. Repeatable."
    ),
    unique: str | None = typer.Option(None, help="Unique samples owned, e.g. 8M.", show_default="the most a pilot had"),
    compute: str | None = typer.Option(None, help="FLOPs at hand, e.g. 5e15.", show_default="the most a pilot used"),
    treatment: str | None = typer.Option(None, help="What your data have had.", show_default="the baseline"),
    peak_flops: float | None = typer.Option(None, help="FLOP/s on the data sheet.", show_default="measured, or 312e12"),
    utilisation: float | None = typer.Option(None, help="Share of the peak reached.", show_default="measured, or 0.4"),
    currency: str | None = typer.Option(None, help="A label.", show_default="the study's, or USD"),
    form: str = typer.Option("auto", help="Form of the law."),
    next_pilot: bool = typer.Option(
        False, "--next", help="The next pilot worth running (refused until a rule beats chance)."
    ),
    out: Path = typer.Option(Path("plan"), "--out", "-o", help="Folder for plan.json and plan.html."),
) -> None:
    """Say what to buy next, how sure that is, and what would change it."""
    from motherlode.cli import console
    from motherlode.errors import RecipeError
    from motherlode.studies.plan import plan
    from motherlode.studies.words import read_amount

    if (study is None) == (runs is None):
        raise RecipeError("give a study's folder or --runs, one of the two", None, "lode plan --runs runs.csv ...")
    if next_pilot:
        from motherlode.studies.backtest import refuse_next

        refuse_next()
    owned, held = (None if given is None else read_amount(given) for given in (unique, compute))
    found = plan(
        runs or study, budget, gpu_hour, data_price, unique=owned, compute=held, treatment=treatment,
        clean_price=_prices(clean_price), peak_flops=peak_flops, utilisation=utilisation, currency=currency,
        form=form,
    )  # fmt: skip
    page = found.save(out)
    show(found)
    console.done(f"{page} and {page.with_suffix('.json').name}")


def _prices(given: list[str] | None) -> str | dict[str, str] | None:
    """One bare price, or name=price pairs."""
    if not given:
        return None
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    from motherlode.studies.prices import PriceError

    pairs = [text.partition("=") for text in given]
    if any(not sign for _, sign, _ in pairs):
        raise PriceError(
            "several prices of treatment need names", given, "--clean-price cleaned=0.4 --clean-price augmented=0"
        )
    return {name.strip(): price.strip() for name, _, price in pairs}


def show(found: Plan) -> None:
    """The sentence, the arms, what things are worth, and the warnings."""
    from motherlode.cli import console
    from motherlode.studies.words import amount, money, price_range

    asked = found.question
    console.results.print(f"\n[bold]{found.sentence}[/]\n", soft_wrap=True)
    names = {"data": "data", "compute": "GPU-hours"}
    console.table(
        ("spend it all on", "chance best", "loss", "90 %", "better by", "90 %"),
        [
            (
                names.get(arm.kind, arm.name),
                f"{arm.wins:.0%}",
                f"{arm.loss[0]:.4g}",
                f"{arm.loss[1]:.4g} to {arm.loss[2]:.4g}",
                f"{arm.gain[0]:z.1%}",
                f"{arm.gain[1]:z.1%} to {arm.gain[2]:z.1%}",
            )
            for arm in found.arms
        ],
    )
    split = ", ".join(
        f"{share[0]:.0%} {names.get(name, 'better data')} ({share[1]:.0%} to {share[2]:.0%})"
        for name, share in found.split.items()
        if share[2] > 0
    )
    best, now, expected = found.best, found.now, found.expected
    passes = f"{best['passes']:.3g} passes (today {now['passes']:.3g})"
    reach = f"{expected[0]:.4g} (90 %: {expected[1]:.4g} to {expected[2]:.4g}), today {now['loss']:.4g}"
    facts = [
        ("next doubling: data pay up to", price_range(found.break_even_price, asked)),
        ("best split", split),
        ("best run then", f"{amount(best['num_parameters'])} parameters, {passes}"),
        ("expected loss", reach),
        *((rate.name.replace("_", " "), f"{rate.text} ({rate.range})") for rate in found.exchange),
        ("extrapolation", f"{found.extrapolation:.1f} decades beyond the pilots"),
    ]
    if found.next_pilot is not None:
        facts.append(("next pilot", found.next_pilot.text(money(found.next_pilot.cost, asked.currency))))
    console.results.print()
    console.facts(facts)
    console.results.print()
    for reason in found.abstentions:
        console.warn(f"abstains because {reason}")
    for warning in found.warnings:
        console.warn(warning)
