"""What the verbs say and how: results on standard output, progress and errors on standard error.

On a terminal that is colour, bars and a live display; in a log it is plain lines, each whole, at a rate a person can
read. Numbers carry their units in both.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.table import Table

__all__ = [
    "command",
    "count",
    "counted",
    "done",
    "duration",
    "errors",
    "escape",
    "facts",
    "flops",
    "money",
    "results",
    "size",
    "table",
    "warn",
    "working",
]

LOG_WIDTH = 120


def _console(stderr: bool) -> Console:
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if terminal or "COLUMNS" in os.environ else LOG_WIDTH
    return Console(stderr=stderr, width=width, highlight=False)


results = _console(stderr=False)
errors = _console(stderr=True)


def facts(rows: Iterable[tuple[str, object]], title: str = "") -> None:
    """Print names and values in two aligned columns."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for name, value in rows:
        grid.add_row(escape(name), escape(str(value)))
    if title:
        results.print(f"[bold]{title}[/]")
    results.print(grid)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print a table; columns of numbers are aligned to the right."""
    content = [[str(cell) for cell in row] for row in rows]
    drawn = Table(title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for position, name in enumerate(columns):
        numeric = bool(content) and all(row[position][:1].isdigit() or row[position] in ("", "-") for row in content)
        drawn.add_column(name, justify="right" if numeric else "left", header_style="dim")
    for row in content:
        drawn.add_row(*(escape(cell) for cell in row))
    results.print(drawn)


def warn(text: str) -> None:
    """Print a warning."""
    errors.print(f"[yellow]warning:[/] {escape(text)}", soft_wrap=True)


def done(text: str) -> None:
    """Print where the result is."""
    results.print(f"[green]✓[/] {escape(text)}", soft_wrap=True)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that something of unknown length is under way: a spinner on a terminal, a line in a log."""
    if errors.is_terminal:
        with errors.status(f"{what} …"):
            yield
    else:
        errors.print(f"{what} …")
        yield


def count(number: float) -> str:
    """12345 → "12,345"."""
    return f"{number:,.0f}"


def counted(number: int, noun: str) -> str:
    """A number of things: "1 row", "12,345 rows"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def command(*words: object) -> str:
    """A command a person can paste into a shell, whatever its paths hold."""
    return shlex.join(str(word) for word in words)


def size(num_bytes: float) -> str:
    """Bytes in the unit that leaves one to three digits before the point."""
    return _scaled(num_bytes, ("B", "kB", "MB", "GB", "TB"))


def flops(number: float) -> str:
    """Floating-point operations, with their prefix: "3.21 TFLOP"."""
    return _scaled(number, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"))


def duration(seconds: float) -> str:
    """Seconds as a person would say them: "42 s", "3 min 20 s", "5 h 07 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def money(amount: float, currency: str) -> str:
    """An amount with its currency; small amounts keep two digits that count."""
    return f"{amount:,.2f} {currency}" if amount >= 0.1 or amount == 0 else f"{amount:.2g} {currency}"


def _scaled(number: float, units: Sequence[str]) -> str:
    for unit in units[:-1]:
        if abs(number) < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} {units[-1]}"
