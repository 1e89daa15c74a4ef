"""`lode evaluate`: what came out of a run, measured against held-out data."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from motherlode.cli.which import CHECKPOINT, say_if_early

if TYPE_CHECKING:
    from motherlode.measures.report import Measure, Report

EXAMPLES = (
    "lode evaluate runs/photos",
    "lode evaluate runs/photos --num 50000 --extractor weights/inception.safetensors",
    "lode evaluate runs/photos --against runs/older   (how each measure moved)",
    "lode evaluate runs/poems --measure likelihood --harness arc_easy --harness own/task.yaml",
    "lode evaluate --samples generated/ --reference datasets/photos --out compared",
)
_ARROWS = {"lower": "↓", "higher": "↑"}


def command(
    run: Path | None = typer.Argument(None, help="A run's folder."),
    num: int | None = typer.Option(
        None, "--num", "-n", min=2, help="Samples to generate; documents to score.", show_default="the recipe's"
    ),
    extractor: str | None = typer.Option(
        None, help="Features to compare by: auto, a name, or a path to weights.", show_default="the recipe's"
    ),
    measures: list[str] | None = typer.Option(
        None, "--measure", "-m", help="Take only this measure or group; repeatable.", show_default="the recipe's"
    ),
    against: Path | None = typer.Option(None, help="A run or report to compare with; refused unless taken alike."),
    samples: Path | None = typer.Option(None, help="Instead of a run: a folder of samples, whoever made them."),
    reference: Path | None = typer.Option(None, help="Real samples: a folder or a dataset.", show_default="held-out"),
    train: Path | None = typer.Option(None, help="What the samples were made from, to look for copies in."),
    stride: int | None = typer.Option(
        None, min=1, help="Tokens each further window of a document scores.", show_default="half a window"
    ),
    harness: list[str] | None = typer.Option(
        None, help="Run a task of EleutherAI's harness too: its name or its YAML file; repeatable."
    ),
    harness_limit: int | None = typer.Option(None, min=1, help="Documents of each such task at most."),
    checkpoint: str = CHECKPOINT,
    out: Path | None = typer.Option(None, "--out", "-o", help="Folder of the report.", show_default="the run's"),
) -> None:
    """Measure samples against held-out data, with intervals."""
    from motherlode.cli import console
    from motherlode.cli.progress import Shares
    from motherlode.errors import MeasureError
    from motherlode.measures.report import Report
    from motherlode.training.evaluate import evaluate
    from motherlode.training.run import Run

    if samples is not None and out is None:
        raise MeasureError("a report on a folder of samples needs a place", None, "add --out FOLDER")
    older = None if against is None else Report.open(against)
    options: dict[str, Any] = {
        "num_samples": num,
        "extractor": extractor,
        "measures": tuple(measures) if measures else None,
        "samples": samples,
        "reference": reference,
        "train": train,
        "stride": stride,
        "harness": tuple(harness or ()),
        "harness_limit": harness_limit,
        "which": checkpoint,
        "out": out,
    }
    opened = None if run is None else Run.open(run)
    if opened is not None:
        say_if_early(opened, checkpoint)
    with Shares() as shares:
        report = evaluate(opened, progress=shares, **options)
    show(report)
    for note in report.facts.get("notes", []):
        console.results.print(f"[dim]note:[/] {console.escape(note)}", soft_wrap=True)
    if older is not None:
        _compare(report, older)
    console.done(f"report in {(out or run or Path()) / 'report.html'}")


def show(report: Report) -> None:
    """Print a report's measures with their intervals, and what they were taken with."""
    from motherlode.cli import console

    rows = []
    for measure in report.values():
        samples = console.count(measure.num_samples)
        if measure.num_reference:
            samples += f" / {console.count(measure.num_reference)}"
        label = f"{measure.label} {_ARROWS.get(measure.direction, '')}"
        rows.append((label, f"{measure.value:.4g}", _interval(measure), samples))
    level = next((f"{measure.level:.0%} interval" for measure in report.values()), "interval")
    console.table(("measure", "value", level, "samples / real"), rows)


def _interval(measure: Measure) -> str:
    return "" if math.isnan(measure.low) else f"{measure.low:.4g} to {measure.high:.4g}"


def _compare(report: Report, older: Report) -> None:
    from motherlode.cli import console

    rows = []
    for found in report.compare(older):
        change = f"{found.change.value:+.4g}"
        if not math.isnan(found.change.low):
            change += f" ({found.change.low:+.4g} to {found.change.high:+.4g})"
        rows.append((found.after.label, f"{found.before.value:.4g}", f"{found.after.value:.4g}", change, found.verdict))
    console.table(("measure", "before", "after", "change", "verdict"), rows, title="\nAgainst the older report")
    for error in report.unlike(older).values():
        console.results.print(
            f"[dim]not compared:[/] {console.escape(f'{error.invariant} ({error.received})')}", soft_wrap=True
        )
