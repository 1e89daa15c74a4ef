from __future__ import annotations

import pytest

from motherlode.cli import console
from motherlode.cli.progress import Bar


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (42.4, "42 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (18_420, "5 h 07 min"),
    ],
)
def test_durations_as_a_person_says_them(seconds: float, words: str) -> None:
    assert console.duration(seconds) == words


def test_quantities_carry_their_units() -> None:
    assert console.size(5_093_948) == "5.09 MB"
    assert console.flops(3.2e14) == "320 TFLOP"
    assert console.flops(9e21) == "9e+03 EFLOP"
    assert console.count(1234567.8) == "1,234,568"
    assert console.money(12.5, "EUR") == "12.50 EUR"
    assert console.money(0.00123, "EUR") == "0.0012 EUR"
    assert console.money(0, "EUR") == "0.00 EUR"


def test_a_log_has_a_line_at_most_every_two_seconds(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with Bar("reading", 100, "files") as bar:
        for number in range(1, 101):
            clock[0] += 0.125
            bar.update(number, note="3 broken" if number > 50 else "")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 7
    assert lines[0] == "reading: 16 of 100 files  8 files/s  10 s left"
    assert lines[-1] == "reading: 100 of 100 files  8 files/s  in 12 s  3 broken"


def test_quick_work_leaves_no_line(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with Bar("reading", 3) as bar:
        clock[0] += 0.5
        bar.update(3)
    assert capsys.readouterr().err == ""


def test_work_of_unknown_size_says_how_much_is_done(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with Bar("reading", unit="rows") as bar:
        for _ in range(4):
            clock[0] += 20.0
            bar.advance(1000)
    assert capsys.readouterr().err.splitlines()[0] == "reading: 2,000 rows  50 rows/s"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time as the progress bars see it; add to its one element to let it pass."""
    now = [100.0]
    monkeypatch.setattr("motherlode.cli.progress.monotonic", lambda: now[0])
    return now
