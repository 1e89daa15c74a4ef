"""The pages of the real studies say what today's code prints of their tables."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from motherlode.cli import app

ROOT = Path(__file__).resolve().parents[2]
_ASKED = re.compile(r"^\$ lode (plan .*)\n```\n\n((?:>.*\n)+)", re.MULTILINE)

_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")


@pytest.mark.parametrize("name", ["book", "fashion"])
def test_a_study_quotes_its_plans(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    asked = _ASKED.findall((ROOT / "docs" / "studies" / f"{name}.md").read_text(encoding="utf-8"))
    assert len(asked) >= 2
    for command, quote in asked:
        result = CliRunner().invoke(app, [*shlex.split(command), "--out", str(tmp_path)])
        assert result.exit_code == 0, result.output
        said = " ".join(line.removeprefix("> ") for line in quote.splitlines())
        printed = " ".join(result.stdout.split())
        assert _NUMBER.sub("#", printed).startswith(_NUMBER.sub("#", said))
        quoted = [float(number) for number in _NUMBER.findall(said)]
        shown = [float(number) for number in _NUMBER.findall(printed)[: len(quoted)]]
        assert quoted == pytest.approx(shown, rel=0.1, abs=0.3)  # another processor rounds otherwise
