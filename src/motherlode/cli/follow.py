"""Follows a training: a live display on a terminal, sparse whole lines in a log.

Both show losses, rate, time left, cost so far and where the latest sample grid is. What must be read later (warnings,
where it resumed, where it stopped) is printed above the display and stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from motherlode.cli.console import count, duration, errors, flops, money

if TYPE_CHECKING:
    from motherlode.training.monitor import Event, Progress

_LOG_SEC = 30.0
_LOG_SHARE = 0.1
_LEAST_SEC = 2.0
_QUIET = ("sample", "checkpoint", "finished")


class Follower:
    """Draws one training; a listener of `train`, and a context."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._grid: Path | None = None
        self._saved = ""
        self._logged_at = monotonic()
        self._logged_step = 0
        self._live = Live(console=errors, refresh_per_second=8, transient=True) if errors.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if self._progress is not None and self._logged_step != self._progress.step:
            self._log(self._progress)

    def update(self, progress: Progress) -> None:
        """Show how far the training is."""
        self._progress = progress
        if self._live is not None:
            self._live.update(self._drawing(progress))
        elif self._is_due(progress):
            self._log(progress)

    def event(self, kind: Event, message: str, path: Path | None = None) -> None:
        """Show that something happened; grids and checkpoints only change what the display says."""
        if kind == "sample":
            self._grid = path
        elif kind == "checkpoint":
            self._saved = message
        if kind == "warning":
            errors.print(f"[yellow]warning:[/] {escape(message)}", soft_wrap=True)
        elif kind not in _QUIET:
            errors.print(f"[dim]{kind}:[/] {escape(message)}", soft_wrap=True)

    def _is_due(self, progress: Progress) -> bool:
        if progress.step >= progress.total:
            return True
        waited = monotonic() - self._logged_at
        share = (progress.step - self._logged_step) / progress.total
        return waited >= _LOG_SEC or (waited >= _LEAST_SEC and share >= _LOG_SHARE)

    def _log(self, progress: Progress) -> None:
        parts = [
            f"step {count(progress.step)}/{count(progress.total)}{'' if progress.fixed else '~'}",
            losses(progress.scalars),
            rate(progress),
            f"{duration(progress.seconds_left)} left" if progress.step < progress.total else duration(progress.seconds),
            spent(progress),
            str(self._grid or ""),
        ]
        errors.print("  ".join(part for part in parts if part), soft_wrap=True)
        self._logged_at, self._logged_step = monotonic(), progress.step

    def _drawing(self, progress: Progress) -> Group:
        head = Table.grid(padding=(0, 1), expand=True)
        head.add_column(no_wrap=True)
        head.add_column(ratio=1)
        head.add_column(no_wrap=True, justify="right")
        about = "" if progress.fixed else " (estimated)"
        head.add_row(
            f"[bold]training[/] {count(progress.step)}/{count(progress.total)}{about}",
            ProgressBar(total=progress.total, completed=progress.step),
            f"{duration(progress.seconds_left)} left",
        )
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="dim", no_wrap=True)
        rows.add_column()
        rows.add_row("losses", losses(progress.scalars))
        rows.add_row("rate", f"{rate(progress)}, {count(progress.samples * progress.counted_in[1])} seen")
        rows.add_row("so far", f"{duration(progress.seconds)}, {spent(progress)}")
        if self._grid is not None:
            rows.add_row("samples", Text(str(self._grid), overflow="fold"))
        if self._saved:
            rows.add_row("saved", f"{self._saved}; Ctrl-C stops and saves, the same command goes on")
        return Group(head, rows)


def losses(scalars: Mapping[str, float]) -> str:
    """The loss of each turn: "critic 0.53  generator 1.92"."""
    found = ((name.removesuffix("/loss"), value) for name, value in scalars.items() if name.endswith("/loss"))
    return "  ".join(f"{name} {value:.3g}" for name, value in found)


def rate(progress: Progress) -> str:
    """Recent speed, in what a person counts: "850 samples/s", "5,420 tokens/s"."""
    unit, per_sample = progress.counted_in
    return f"{count(progress.samples_per_sec * per_sample)} {unit}/s"


def spent(progress: Progress) -> str:
    """Operations and energy so far, and money where the recipe names prices."""
    parts = [flops(progress.flops), f"~{1000 * progress.kwh:.2g} Wh"]
    if progress.money:
        parts.append(money(progress.money, progress.currency))
    return ", ".join(parts)
