"""How far a verb is: a bar on a terminal, sparse whole lines in a log.

Both say the rate and the time left. A log line appears at the first of a tenth of the work or 30 seconds, and two
seconds apart at least, so that an hour of work is a screenful; what took less than a second leaves no line.
"""

from __future__ import annotations

from time import monotonic
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from motherlode.cli.console import count, duration, errors

_LOG_SEC = 30.0
_LOG_SHARE = 0.1
_LEAST_SEC = 2.0
_WORTH_SEC = 1.0


class Bar:
    """Progress of one kind of work; use it as a context.

    Args:
        what: a verb: "generating".
        total: how much there is; 0 when it is not known.
        unit: of what: "samples"; "" shows no rate.
    """

    def __init__(self, what: str, total: int = 0, unit: str = "") -> None:
        self._what = what
        self._total = total
        self._unit = unit
        self._done = 0
        self._note = ""
        self._start = self._logged_at = monotonic()
        self._logged = 0
        self._rich: Progress | None = None
        if errors.is_terminal:
            self._rich = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("[dim]{task.fields[note]}"),
                console=errors,
                transient=True,
            )
            self._task = self._rich.add_task(what, total=total or None, rate="", note="")

    def __enter__(self) -> Self:
        if self._rich is not None:
            self._rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rich is not None:
            self._rich.stop()
        if kind is None and monotonic() - self._start >= _WORTH_SEC:
            self._log(final=True)

    def advance(self, by: int = 1, note: str | None = None) -> None:
        """Count `by` more as done; `note` replaces what stands beside the bar."""
        self.update(self._done + by, note=note)

    def update(self, done: int, total: int | None = None, note: str | None = None) -> None:
        """Set how much is done, of how much."""
        self._done = done
        self._total = self._total if total is None else total
        self._note = self._note if note is None else note
        if self._rich is not None:
            self._rich.update(self._task, completed=done, total=self._total or None, rate=self._rate(), note=self._note)
        elif self._is_due():
            self._log()

    def _is_due(self) -> bool:
        share = (self._done - self._logged) / self._total if self._total else 0.0
        waited = monotonic() - self._logged_at
        return self._done != self._total and (waited >= _LOG_SEC or (share >= _LOG_SHARE and waited >= _LEAST_SEC))

    def _rate(self) -> str:
        if not self._unit:
            return ""
        return f"{self._done / max(monotonic() - self._start, 1e-3):,.0f} {self._unit}/s"

    def _log(self, final: bool = False) -> None:
        spent = monotonic() - self._start
        whole = f" of {count(self._total)}" if self._total else ""
        # What is done in one piece has no count worth saying.
        so_far = "" if self._total == 1 else f"{count(self._done)}{whole} {self._unit}".rstrip()
        parts = [f"{self._what}: {so_far}".rstrip(": "), self._rate()]
        if final:
            parts.append(f"in {duration(spent)}")
        elif self._total and self._done:
            parts.append(f"{duration(spent * (self._total - self._done) / self._done)} left")
        if self._note:
            parts.append(self._note)
        errors.print("  ".join(part for part in parts if part), soft_wrap=True)
        self._logged, self._logged_at = self._done, monotonic()


class Shares:
    """Follows work that says what it is doing and which share of the whole is done; use it as a context."""

    def __init__(self) -> None:
        self._bar = Bar("measuring", 100)

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def __call__(self, what: str, share: float) -> None:
        """Show what is being done, and the share in [0, 1] that is done."""
        self._bar.update(round(100 * share), note=what)
