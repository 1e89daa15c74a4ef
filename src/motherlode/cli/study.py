"""`lode study`: a grid of runs over data, treatment, model size and compute, and the law fitted to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from motherlode.studies.outlook import Outlook
    from motherlode.studies.study import Study

EXAMPLES = (
    "lode study poems.yaml --look   (what it would take, and what it could tell; trains nothing)",
    "lode study poems.yaml",
    "lode study poems.yaml --set 'seeds=[0, 1]' --workers 4",
    "lode plan studies/poems --budget 500",
)
_MOST_FAILED = 6


def command(
    study: Path = typer.Argument(help="A study.yaml: a recipe and the axes along which its runs differ."),
    changes: list[str] | None = typer.Option(None, "--set", help="Change a key: 'passes=[1, 8, 64]'. Repeatable."),
    look: bool = typer.Option(False, "--look", help="Say what it would take and could tell, and stop there."),
    workers: int | None = typer.Option(
        None, min=1, max=1024, help="Strands of cells at once.", show_default="one a core, each on one thread"
    ),
    on: str = typer.Option("local", "--on", help="Where cells run: local or ray."),
) -> None:
    """Train a grid of small runs and fit a scaling law; run it again to go on or to grow."""
    from typing import get_args

    from motherlode.cli import console
    from motherlode.errors import RecipeError
    from motherlode.execute import Place
    from motherlode.studies.options import StudyOptions

    if on not in get_args(Place):
        raise RecipeError("`--on` must be a place where cells can run", on, f"one of: {', '.join(get_args(Place))}")
    options = StudyOptions.load(study, tuple(changes or ()))
    if look:
        from motherlode.studies.study import outlook

        with console.working("measuring the models"):
            found = outlook(options, workers=workers)
        show_outlook(found)
        return
    done = _followed(options, on, workers)
    show(done)
    if not done.complete:
        raise typer.Exit(130)
    then = console.command("lode", "plan", done.folder, "--budget", "MONEY")
    console.done(f"{done.folder / 'report.html'}" + (f": next  {then}" if done.law is not None else ""))


def _followed(options: object, on: object, workers: int | None) -> Study:
    from motherlode.cli.cells import Cells
    from motherlode.studies.study import study

    with Cells(show_outlook) as follower:
        return study(options, on=on, workers=workers, follower=follower)  # type: ignore[arg-type]


def show_outlook(found: Outlook) -> None:
    """What a study would take and could tell."""
    from motherlode.cli import console

    console.facts(found.rows())
    console.results.print()


def show(study: Study) -> None:
    """What became of the cells, and the law."""
    from motherlode.cli import console
    from motherlode.studies.laws import find_form

    counts = study.counts()
    law = study.law
    rows = [("cells", ", ".join(f"{number} {status}" for status, number in counts.items() if number) or "none")]
    if law is not None:
        doubt = law.discrepancy
        rows += [
            (f"{member.form} {member.near:.0%}", find_form(member.form).equation + ": " + _numbers(member.natural))
            for member in law.members
        ]
        rows += [
            (name, f"worth {data:.2f} times the data, and {level - 1:+.1%} loss")
            for name, (data, level) in law.treatment_effects().items()
        ]
        beyond = f"{doubt.rate:.1%} a decade beyond the cells, {doubt.passes_rate:.1%} beyond their passes"
        rows.append(("error", f"{doubt.noise:.1%} a run, {beyond}"))
    console.facts(rows)
    failed = [record for record in study.records if record["status"] != "finished"]
    for record in failed[:_MOST_FAILED]:
        console.warn(
            f"{record['treatment']}, {record['size']}, {record['unique']} rows, {record['steps']} steps "
            f"{record['status']}: {record.get('error', '')}"
        )
    if failed[_MOST_FAILED:]:
        console.warn(f"{len(failed) - _MOST_FAILED} more cells did not finish: cells.jsonl says why")
    for warning in law.warnings if law is not None else ():
        console.warn(warning)
    if study.why_no_law:
        console.warn(f"no law: {study.why_no_law}")


def _numbers(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())
