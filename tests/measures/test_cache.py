"""Reference features are made once, told apart by content, and made again when damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motherlode.measures.cache import cached_features
from motherlode.measures.features import find_extractor
from motherlode.randomness import numpy_generator


class Counter:
    """Gives samples and counts how often it was asked."""

    def __init__(self, seed: int = 0) -> None:
        self.asked = 0
        self.samples = numpy_generator(seed, "test images").integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)

    def __call__(self) -> Iterator[np.ndarray]:
        self.asked += 1
        yield from np.array_split(self.samples, 3)


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOTHERLODE_CACHE", str(tmp_path))
    return tmp_path / "features"


def test_made_once_and_mapped(where: Path) -> None:
    extractor, source, told = find_extractor("raw-pixels?resize=4"), Counter(), []
    key: dict[str, Any] = {"dataset": "abc", "rows": [0, 1]}
    first = cached_features(extractor, key, source, told.append)
    again = cached_features(extractor, key, source)
    assert source.asked == 1
    assert sum(told) == 20
    assert isinstance(again.features_ND, np.memmap)
    np.testing.assert_array_equal(first.features_ND, again.features_ND)
    np.testing.assert_array_equal(first.features_ND, extractor(source.samples).features_ND)


def test_anything_else_is_made_anew(where: Path) -> None:
    source = Counter()
    for extractor in ("raw-pixels?resize=4", "raw-pixels?resize=4&dtype=bfloat16", "raw-pixels?resize=2"):
        for key in ({"dataset": "abc"}, {"dataset": "abd"}):
            cached_features(find_extractor(extractor), key, source)
    assert source.asked == 6
    assert len(list(where.iterdir())) == 6


def test_a_damaged_file_is_made_again(where: Path) -> None:
    extractor, source = find_extractor("raw-pixels?resize=4"), Counter()
    first = cached_features(extractor, {"dataset": "abc"}, source)
    path = next(where.glob("*/features.npy"))
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 8
    path.write_bytes(damaged)
    again = cached_features(extractor, {"dataset": "abc"}, source)
    assert source.asked == 2
    np.testing.assert_array_equal(first.features_ND, again.features_ND)
    path.unlink()
    cached_features(extractor, {"dataset": "abc"}, source)
    assert source.asked == 3


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    source = Counter()
    found = cached_features(find_extractor("raw-pixels"), {}, source, folder=tmp_path / "file")
    assert found.features_ND.shape == (20, 256)
