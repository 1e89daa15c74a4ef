from __future__ import annotations

from motherlode.data.dataset import Dataset


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
