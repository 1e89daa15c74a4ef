from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "modality"))
sys.path.insert(0, str(Path(__file__).parent.parent / "data"))

import doubles
from audio_samples import file, voice
from texts import prose, write_texts

from motherlode import registry
from motherlode.data.prepare import prepare
from motherlode.training.assembly import Assembly


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`train` uses the tiny doubles for this test."""
    monkeypatch.setattr(registry, "find", registry.find)
    monkeypatch.setattr(Assembly, "of", Assembly.of)
    doubles.install()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Features that measures keep lie in a folder of the module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOTHERLODE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset of about 230 moving pictures; tests must not write to it."""
    sample = Path(__file__).resolve().parents[2] / "examples" / "data" / "moving-fashion.parquet"
    out = tmp_path_factory.mktemp("datasets") / "moving"
    prepare(sample, modality="video", out=out, heldout=0.4, near_duplicates="off", outliers="off", workers=1)
    return out


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of sixty short texts, one held out; tests must not change it."""
    folder = tmp_path_factory.mktemp("stories") / "data"
    write_texts(folder, {"prose": [prose(number, 40) for number in range(60)]}, [prose(99, 400)])
    return folder


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset of some forty sounds of 0.3 s at 8 kHz; tests must not write to it."""
    root = tmp_path_factory.mktemp("audio")
    source = root / "source"
    source.mkdir()
    for seed in range(40):
        (source / f"{seed}.wav").write_bytes(file(voice(0.3, 8000, seed=seed, pitch=90 + 5 * seed), 8000))
    prepare(source, modality="audio", out=root / "dataset", heldout=0.2)
    return root / "dataset"
