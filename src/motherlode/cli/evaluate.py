"""`lode evaluate`: what came out of a run, measured against held-out data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from motherlode.measures.report import Report

EXAMPLES = (
    "lode evaluate runs/photos",
    "lode evaluate runs/photos --num 50000 --extractor weights/inception.safetensors",
)


def command(
    run: Path = typer.Argument(help="A run's folder."),
    num: int | None = typer.Option(
        None, "--num", "-n", min=2, help="Samples to generate.", show_default="the recipe's"
    ),
    extractor: str | None = typer.Option(
        None, help="Features to compare by: auto, a name, or a path to weights.", show_default="the recipe's"
    ),
) -> None:
    """Measure a run's samples against held-out data."""
    from motherlode.cli import console
    from motherlode.training.evaluate import evaluate
    from motherlode.training.run import Run

    opened = Run.open(run)
    options: dict[str, Any] = {"num_samples": num, "extractor": extractor}
    with console.working("measuring"):
        report = evaluate(opened, **{name: value for name, value in options.items() if value is not None})
    show(report)
    console.done(f"report in {opened.path / 'report.html'}")


def show(report: Report) -> None:
    """Print a report's measures with their intervals, and what they were taken with."""
    from motherlode.cli import console

    rows = []
    for name, measure in report.items():
        better = {"lower": "↓", "higher": "↑"}.get(measure.direction, "")
        interval = f"{measure.low:.4g} to {measure.high:.4g}"
        samples = f"{console.count(measure.num_samples)} / {console.count(measure.num_reference)}"
        rows.append((f"{name} {better}", f"{measure.value:.4g}", interval, measure.extractor or "-", samples))
    console.table(("measure", "value", "interval", "extractor", "samples / reference"), rows)
