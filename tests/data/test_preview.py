from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from motherlode.data import preview as module
from motherlode.data import source
from motherlode.data.prepare import parse_options
from motherlode.data.preview import preview
from motherlode.data.step import wilson
from motherlode.errors import SourceError

from .conftest import FASHION, write_folder


def test_a_small_source_is_counted_exactly(pets: Path, tmp_path: Path) -> None:
    found = preview(parse_options(pets, out=tmp_path / "d"))
    assert (found.num_sampled, found.num_rows) == (120, 120)
    assert all(item.low == item.estimate == item.high == 1.0 for item in found.steps)
    assert not any(item.is_bound for item in found.steps)
    assert not list(tmp_path.iterdir())


def test_a_sample_brackets_the_yield(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = write_folder(tmp_path / "raw", {"a": 100})
    for number in range(100):
        (raw / "a" / f"{number:04d}-bad.png").write_bytes(b"junk" * (number + 1))
    monkeypatch.setattr(module, "NUM_SLICES", 8)
    monkeypatch.setattr(module, "SLICE_ROWS", 8)
    monkeypatch.setattr(source, "PARTITION_ROWS", 20)
    estimates, covered = [], 0
    for seed in range(8):
        found = preview(parse_options(raw, out=tmp_path / "d", seed=seed, near_duplicates=False, outliers=False))
        assert (found.num_sampled, found.num_rows) == (64, 200)
        clean = next(item for item in found.steps if item.count.name == "clean")
        assert clean.low <= clean.estimate <= clean.high
        estimates.append(clean.estimate)
        covered += clean.low <= 0.5 <= clean.high
    assert abs(np.mean(estimates) - 0.5) < 0.07
    assert covered >= 5
    assert "step clean dropped" in found.warnings[0]
    text = str(found)
    assert "Sampled 64 of 200 rows" in text
    assert "at most" in text
    assert not (tmp_path / "d").exists()


def test_parquet_is_sampled_across_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NUM_SLICES", 4)
    monkeypatch.setattr(module, "SLICE_ROWS", 16)
    first, again = (preview(parse_options(FASHION, out=tmp_path / "d")) for _ in range(2))
    assert str(first) == str(again)
    assert (first.num_sampled, first.num_rows) == (64, 501)
    other = preview(parse_options(FASHION, out=tmp_path / "d", seed=1))
    assert other.num_sampled == 64


def test_a_missing_source_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="must exist"):
        preview(parse_options(tmp_path / "none", out=tmp_path / "d"))


def test_wilson_covers() -> None:
    random = np.random.default_rng(0)
    for share in (0.02, 0.5, 0.97):
        hits = random.binomial(80, share, 2000)
        covered = np.mean([low <= share <= high for low, high in (wilson(int(h), 80) for h in hits)])
        assert 0.85 < covered < 0.97
    assert wilson(0, 0) == (0.0, 1.0)
