"""Follows a study: on a terminal a live table of the latest cells over a chart of all of them; in a log a line a cell.

The chart is loss over samples seen, both logarithmic, a letter for each amount of unique data: where the letters part
company, data have run out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import log
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from motherlode.cli.console import duration, errors

if TYPE_CHECKING:
    from motherlode.studies.outlook import Outlook

_LATEST = 8
_WIDTH, _HEIGHT = 68, 14
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Cells:
    """Draws one study; a follower of `study`, and a context.

    Args:
        begin: told the outlook before anything is trained.
    """

    def __init__(self, begin: Callable[[Outlook], None]) -> None:
        self._begin = begin
        self._records: list[Mapping[str, Any]] = []
        self._total = 0
        self._cached = 0
        self._fresh = 0
        self._start = monotonic()
        self._live = Live(console=errors, transient=True, refresh_per_second=4) if errors.is_terminal else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, outlook: Outlook) -> None:
        """Show what is to come."""
        self._begin(outlook)
        self._cached = outlook.cached
        self._start = monotonic()
        if self._live is not None:
            self._live.start()

    def cell(self, record: Mapping[str, Any], done: int, total: int) -> None:
        """Show a cell that has ended."""
        self._records.append(record)
        self._total = total
        self._fresh = done - self._cached
        if self._live is not None:
            self._live.update(self._drawn(done))
        elif self._fresh > 0:
            errors.print(f"cell {done} of {total}: {in_words(record)}  {self._left(done)}", soft_wrap=True)

    def _left(self, done: int) -> str:
        if self._fresh < 1 or done == self._total:
            return ""
        each_sec = (monotonic() - self._start) / self._fresh
        return f"{duration(each_sec * (self._total - done))} left at the pace so far"

    def _drawn(self, done: int) -> Group:
        head = Table.grid(padding=(0, 1), expand=True)
        head.add_column(no_wrap=True)
        head.add_column(ratio=1)
        head.add_column(no_wrap=True, justify="right")
        head.add_row(
            f"[bold]cells[/] {done}/{self._total}", ProgressBar(total=self._total, completed=done), self._left(done)
        )
        rows = Table(box=None, pad_edge=False)
        for name in ("treatment", "size", "unique", "passes", "seed", "loss"):
            rows.add_column(name, header_style="dim", justify="left" if name in ("treatment", "size") else "right")
        for record in self._records[-_LATEST:]:
            rows.add_row(*_columns(record))
        return Group(head, rows, Text(chart(self._records)))


def in_words(record: Mapping[str, Any]) -> str:
    """A cell in one line."""
    treatment, size, unique, passes, seed, loss = _columns(record)
    return f"{treatment}, {size}, {unique} rows, {passes} passes, seed {seed}: {loss}"


def _columns(record: Mapping[str, Any]) -> tuple[str, ...]:
    loss = record["loss"]
    return (
        str(record["treatment"]),
        str(record["size"]),
        f"{record['unique']:,}",
        f"{record['D'] / record['U']:.3g}",
        str(record["seed"]),
        str(record["status"]) if loss is None else f"{loss:.4g}",
    )


def chart(records: Sequence[Mapping[str, Any]]) -> str:
    """Loss over samples seen as text; "" where there is nothing to draw yet."""
    shown = [record for record in records if record["loss"] is not None and record["loss"] > 0]
    if len(shown) < 2:
        return ""
    seen, losses = [log(record["D"]) for record in shown], [log(record["loss"]) for record in shown]
    amounts = sorted({record["unique"] for record in shown})
    lines = [[" "] * _WIDTH for _ in range(_HEIGHT)]
    for record, across, down in zip(shown, seen, losses):
        column = _scaled(across, min(seen), max(seen), _WIDTH - 1)
        row = _HEIGHT - 1 - _scaled(down, min(losses), max(losses), _HEIGHT - 1)
        lines[row][column] = _LETTERS[amounts.index(record["unique"]) % len(_LETTERS)]
    values = [record["loss"] for record in shown]
    margins = {0: f"{max(values):.4g}", _HEIGHT - 1: f"{min(values):.4g}"}
    drawn = [f"{margins.get(number, ''):>8} │{''.join(line)}" for number, line in enumerate(lines)]
    ends = [min(record["D"] for record in shown), max(record["D"] for record in shown)]
    axis = f"{'loss':>8} └{'─' * _WIDTH}"
    scale = f"{'':>10}{ends[0]:<.3g}{'samples seen':^{_WIDTH - 14}}{ends[1]:>.3g}"
    keys = "  ".join(f"{_LETTERS[number % 26]} {amount:,} unique" for number, amount in enumerate(amounts))
    return "\n".join([*drawn, axis, scale, f"{'':>10}{keys}"])


def _scaled(value: float, low: float, high: float, most: int) -> int:
    return round((value - low) / (high - low) * most) if high > low else most // 2
