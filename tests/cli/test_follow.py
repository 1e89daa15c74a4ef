from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from motherlode.cli import follow
from motherlode.training.monitor import Progress


def progress(step: int, **changes: object) -> Progress:
    values: dict[str, object] = {
        "step": step,
        "total": 100,
        "samples": step * 32,
        "samples_per_sec": 812.3,
        "seconds": 2.0 * step,
        "seconds_left": 2.0 * (100 - step),
        "flops": 1e12 * step,
        "kwh": 1e-4 * step,
        "scalars": {"critic/loss": 0.5123, "critic/gradient_norm": 3.0, "generator/loss": 1.25},
    }
    return Progress(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(follow, "monotonic", lambda: now[0])
    return now


def test_a_log_holds_a_line_a_tenth_and_the_last_one(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with follow.Follower() as follower:
        for step in range(1, 101):
            clock[0] += 2.0
            if step == 50:
                follower.event("sample", "grid", Path("runs/a/samples/step-50.png"))
            follower.update(progress(step))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[4].startswith("step 50/100  critic 0.512  generator 1.25  812 samples/s  1 min 40 s left  50 TFLOP")
    assert lines[4].endswith("runs/a/samples/step-50.png")
    assert lines[-1].startswith("step 100/100  critic 0.512")
    assert "3 min 20 s" in lines[-1]


def test_what_must_be_read_later_is_printed_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with follow.Follower() as follower:
        follower.event("resumed", "goes on from step 3 of 9")
        follower.event("warning", "collapsing: raise [r1]")
        follower.event("checkpoint", "step 3 saved")
        follower.event("note", "trains in bf16")
    assert capsys.readouterr().err.splitlines() == [
        "resumed: goes on from step 3 of 9",
        "warning: collapsing: raise [r1]",
        "note: trains in bf16",
    ]


def test_money_and_doubt_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with follow.Follower() as follower:
        follower.update(progress(100, money=0.034, currency="EUR", fixed=False))
    (line,) = capsys.readouterr().err.splitlines()
    assert "0.034 EUR" in line
    assert "100/100~" in line


def test_a_terminal_shows_it_live(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(force_terminal=True, width=100, record=True, file=StringIO())
    monkeypatch.setattr(follow, "errors", console)
    with follow.Follower() as follower:
        follower.event("sample", "grid", Path("runs/a/samples/step-50.png"))
        follower.event("checkpoint", "step 50 saved")
        follower.update(progress(50))
        drawn = Console(width=100, record=True, file=StringIO())
        drawn.print(follower._drawing(progress(50)))
    text = drawn.export_text()
    for word in ("training 50/100", "1 min 40 s left", "critic 0.512  generator 1.25", "812 samples/s, 1,600 seen"):
        assert word in text
    for word in ("50 TFLOP", "step-50.png", "step 50 saved", "Ctrl-C"):
        assert word in text
