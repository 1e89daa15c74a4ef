from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from motherlode.data.dataset import Dataset
from motherlode.data.prepare import prepare

FASHION = Path(__file__).parents[1] / "fixtures" / "fashion-500.parquet"


def pixels(seed: int, size: int = 32, channels: int = 3) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Coarse random blocks of one tint: sharp, bright and dark, and unlike those of any other seed."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (4, 4, 1)) * random.uniform(0.6, 1.0, channels)
    return blocks.astype(np.uint8).repeat(size // 4, 0).repeat(size // 4, 1)


def picture(seed: int, file_format: str = "PNG", size: int = 32) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(seed, size)).save(buffer, file_format)
    return buffer.getvalue()


def write_folder(folder: Path, labels: Mapping[str, int], first_seed: int = 0) -> Path:
    """A folder of labelled pictures: label → how many."""
    seed = first_seed
    for label, count in labels.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            (folder / label / f"{seed:04d}.png").write_bytes(picture(seed))
            seed += 1
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by relative path."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="session")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 pictures of two labels."""
    return write_folder(tmp_path_factory.mktemp("raw") / "pets", {"cat": 70, "dog": 50})


@pytest.fixture(scope="session")
def prepared(pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The pets, prepared; shared by all tests, so none may write to it."""
    return prepare(pets, out=tmp_path_factory.mktemp("sets") / "pets", workers=1)


@pytest.fixture
def is_root() -> bool:
    return os.geteuid() == 0
