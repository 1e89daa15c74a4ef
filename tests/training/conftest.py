from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

import doubles

from motherlode import registry
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
