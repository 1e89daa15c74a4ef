"""Runs the real command in this process: importing torch once is what makes a hundred of these tests affordable."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

Lode = Callable[..., Result]
FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "fashion-500.parquet"


@pytest.fixture
def lode() -> Lode:
    """Runs `lode WORDS…`; the result holds exit_code, stdout, stderr and output (both)."""
    from motherlode.cli import app

    def run(*words: object) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words], prog_name="lode")

    return run


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """An empty working directory."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def assert_one_clear_error(result: Result, *words: str) -> None:
    """Exit code 2, one message that holds all words, no traceback."""
    assert result.exit_code == 2, result.output
    said = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1, result.output
    text = " ".join(result.stderr[result.stderr.index("error: ") :].split())
    assert "Traceback" not in result.output
    for word in words:
        assert word in text, text
