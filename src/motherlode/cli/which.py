"""Which checkpoint a verb takes, and what it says where that is not the last: an overfitted run went past its best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from motherlode.training.run import Run

CHECKPOINT = typer.Option(
    "best", help="Which checkpoint: best (on held-out data: an early one where a run overfits), last or step-N."
)


def say_if_early(run: Run, which: str = "best") -> None:
    """Say that the checkpoint taken is not the run's last."""
    from motherlode.cli import console

    taken, last = run.checkpoint(which).name, run.checkpoint("last").name
    if which == "best" and taken != last:
        console.results.print(
            f"[dim]note:[/] {taken} scored best on held-out data and is what is taken; --checkpoint last takes {last}",
            soft_wrap=True,
        )
