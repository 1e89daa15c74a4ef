"""`lode plan` as a user meets it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Lode, assert_one_clear_error

PRICES = ("--budget", 60, "--gpu-hour", 2.5, "--data-price", "2/M")
OWNED = ("--unique", 8e6, "--compute", 5e15, "--peak-flops", 1e13, "--utilisation", 0.2)


@pytest.fixture
def runs(here: Path) -> Path:
    """48 invented pilots with a penalty for repetition."""
    path = here / "runs.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["N", "D", "U", "loss"])
        for unique in (1e6, 4e6, 16e6, 64e6):
            for size in (2e5, 8e5, 3.2e6, 12.8e6):
                for passes in (1, 8, 64):
                    seen = unique * passes
                    worn = 0.02 * (passes - 1) ** 0.9 * (size / unique) ** 0.5
                    table.writerow([size, seen, unique, 1.9 + 120 * size**-0.33 + 900 * seen**-0.4 + worn])
    return path


def test_it_says_what_to_buy_and_writes_it(lode: Lode, runs: Path) -> None:
    result = lode("plan", "--runs", runs, *PRICES, *OWNED, "--out", "answer")
    assert result.exit_code == 0, result.output
    assert "with probability" in result.stdout
    assert "next doubling: data pay up to" in result.stdout
    assert json.loads(Path("answer/plan.json").read_text())["verdict"] in {"data", "compute", "neither", "abstain"}
    assert Path("answer/plan.html").read_text().startswith("<!doctype html>")


def test_counts_may_be_written_as_people_say_them(lode: Lode, runs: Path) -> None:
    machine = ("--peak-flops", 1e13, "--utilisation", 0.2)
    for name, owned in (("plain", OWNED), ("said", ("--unique", "8M", "--compute", "5000T", *machine))):
        assert lode("plan", "--runs", runs, *PRICES, *owned, "--out", name).exit_code == 0
    assert Path("plain/plan.json").read_bytes() == Path("said/plan.json").read_bytes()


def test_warnings_go_to_standard_error(lode: Lode, runs: Path) -> None:
    result = lode("plan", "--runs", runs, *PRICES)
    assert "assumed that you now own" in " ".join(result.stderr.split())
    assert "assumed" not in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--runs", "runs.csv"), ("budget",)),
        (("--runs", "runs.csv", "--budget", 5, "--data-price", 1), ("gpu_hour",)),
        (("--runs", "runs.csv", "--budget", 5, "--gpu-hour", "-2", "--data-price", 1), ("negative", "gpu_hour")),
        (("--runs", "runs.csv", *PRICES, "--form", "chinchila"), ("chinchilla",)),
        (("--runs", "runs.csv", *PRICES, "--clean-price", 1), ("further treatment",)),
        (("--runs", "runs.csv", *PRICES, "--clean-price", "a=1", "--clean-price", "2"), ("names",)),
        (("--runs", "runs.csv", *PRICES, "--next"), ("--next", "backtest")),
        (("--runs", "runs.csv", *PRICES, "--unique", "lots"), ("lots", "8M")),
        (("--runs", "nowhere.csv", *PRICES), ("nowhere.csv",)),
        (PRICES, ("--runs",)),
    ],
)
def test_mistakes_end_in_one_message(lode: Lode, runs: Path, words: tuple[object, ...], said: tuple[str, ...]) -> None:
    assert_one_clear_error(lode("plan", *words), *said)
    assert not Path("plan").exists()


def test_planning_needs_no_torch(runs: Path) -> None:
    words = ["plan", "--runs", str(runs), *map(str, PRICES)]
    code = f"import sys\nfrom motherlode.cli import main\ntry:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
    heavy = "assert not {'torch', 'pandas', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code + heavy], check=True, capture_output=True)
