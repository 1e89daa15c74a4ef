from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from motherlode import execute, modality, registry
from motherlode.data import workers


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the server was told to import, each time it was started."""
    found: list[Any] = []
    monkeypatch.setattr(execute, "start_server", found.append)
    monkeypatch.setattr(execute, "num_cores", lambda: 2)
    return found


def write(path: Path, num_bytes: int) -> str:
    path.write_bytes(b"x" * num_bytes)
    return str(path)


def test_the_server_starts_ahead_for_much_text_alone(tmp_path: Path, started: list[Any]) -> None:
    large, small = write(tmp_path / "a.jsonl", workers.ALONE_BYTES + 1), write(tmp_path / "b.jsonl", 100)
    table = write(tmp_path / "c.csv", workers.ALONE_BYTES + 1)
    workers.start_ahead([small], None, None)
    workers.start_ahead([large], None, 1)
    workers.start_ahead([large], "image", None)
    workers.start_ahead([table], None, None)
    workers.start_ahead([large, table], None, None)
    workers.start_ahead(["https://a.b/c.jsonl", str(tmp_path / "absent")], "text", None)
    assert not started
    workers.start_ahead([large], None, None)
    workers.start_ahead([small, table], "text", None)
    assert len(started) == 2
    assert "motherlode.modality.text.ready" in started[0]


def test_what_starts_ahead_is_what_workers_of_the_modality_load() -> None:
    for path in Path(modality.__file__).parent.glob("*/ahead.json"):
        assert tuple(json.loads(path.read_text())["preload"]) == registry.find("modality", path.parent.name).preload


def test_a_folder_is_judged_by_the_files_in_it(tmp_path: Path, started: list[Any]) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "dangling.txt").symlink_to(tmp_path / "absent")
    for number in range(3):
        write(tmp_path / "below" / f"{number}.txt", workers.ALONE_BYTES // 3 + 1)
    workers.start_ahead([str(tmp_path)], None, None)
    assert len(started) == 1
    write(tmp_path / "d.png", 10)
    workers.start_ahead([str(tmp_path)], None, None)
    assert len(started) == 1


def test_nothing_heavy_is_imported_before_the_server_starts() -> None:
    heavy = {"numpy", "pydantic", "pyarrow", "numba"}
    code = f"import sys, motherlode.data.workers; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
