from __future__ import annotations

from pathlib import Path

from motherlode.data.dataset import Dataset
from motherlode.data.prepare import prepare

from .conftest import write_folder


def test_too_few_rows_tell_nothing(tmp_path: Path) -> None:
    dataset = prepare(write_folder(tmp_path / "raw", {"": 19}), out=tmp_path / "d", workers=1)
    assert dataset.facts["findings"]["planted"] == {}
    for name in ("card.html", "card.md"):
        assert "Too few rows to tell" in (dataset.path / name).read_text()


def test_planted_copies_are_searched_for_and_left_out(prepared: Dataset) -> None:
    planted = prepared.facts["findings"]["planted"]
    assert (planted["originals"], planted["among"]) == (20, 120)
    assert set(planted["recall"]) == {
        "resized to 3/4",
        "JPEG at quality 30",
        "cropped by 5 %",
        "mirrored",
        "brightened by 20 %",
    }
    for found in planted["recall"].values():
        assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
    assert planted["recall"]["mirrored"]["value"] > 0.8
    assert planted["precision"] > 0.8
    assert len(prepared) == 120
    for name in ("card.html", "card.md"):
        assert "brightened by 20 %" in (prepared.path / name).read_text()
