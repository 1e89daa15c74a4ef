"""Shapes and types are executable in tests: jaxtyping annotations are checked by beartype here and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jaxtyping import install_import_hook

if TYPE_CHECKING:
    from motherlode.recipe import Recipe

install_import_hook(["motherlode.networks", "motherlode.families", "motherlode.measures"], "beartype.beartype")

SAMPLE = Path(__file__).parent / "fixtures" / "fashion-500.parquet"
REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference" / "scaling"


@pytest.fixture
def reference_tables() -> Path:
    """Folder of published scaling tables; tests that need it skip where it is absent."""
    if not REFERENCE.is_dir():
        pytest.skip(f"the published tables are not at {REFERENCE}")
    return REFERENCE


@pytest.fixture(scope="session")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared dataset of about 400 small pictures with ten labels; tests must not write to it."""
    from motherlode.data.prepare import prepare

    out = tmp_path_factory.mktemp("datasets") / "fashion"
    prepare(SAMPLE, out=out, heldout=0.2, outliers="off", near_duplicates="off", workers=1)
    return out


def tiny_recipe(dataset: Path, out: Path, name: str, **model: object) -> Recipe:
    """A GAN that trains for six steps in about a second."""
    from motherlode.recipe import Recipe, parse

    content = {
        "name": name,
        "out": str(out),
        "data": {"path": str(dataset), "resolution": 16, "channels": 1},
        "model": {"family": "gan", "network": "mlp", "width": 16, "noise": 8, **model},
        # A high rate, so that six steps move the weights further than their average.
        "train": {
            "batch": 16,
            "optimizer": {"lr": 1e-2},
            "budget": {"steps": 6},
            "sample_every": 0.5,
            "checkpoint_every": 0.5,
        },
        "evaluate": {"num_samples": 64, "extractor": "raw-pixels"},
    }
    return parse(Recipe, content)


@pytest.fixture(scope="session")
def tiny_run(fashion: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run without labels; copy it before writing to it."""
    from motherlode.training.run import train

    return train(tiny_recipe(fashion, tmp_path_factory.mktemp("runs"), "tiny")).path


@pytest.fixture(scope="session")
def labelled_run(fashion: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run that can be asked for labels; copy it before writing to it."""
    from motherlode.training.run import train

    return train(tiny_recipe(fashion, tmp_path_factory.mktemp("runs"), "labelled", conditional=True)).path
