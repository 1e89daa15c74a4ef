"""Every family trains and generates on a device that is not the CPU, with nothing left behind on the CPU.

No machine of ours has a GPU; a tensor made on the wrong device would be found by the first user who has one. So torch
is given a second device (`other_device/device.cpp`) whose arithmetic is the CPU's and which refuses to mix.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch.utils import cpp_extension

from motherlode.data.prepare import prepare

HERE = Path(__file__).parent / "other_device"
EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "data"
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled device, about fifteen seconds of g++."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++ to compile a second device")
    out = tmp_path_factory.mktemp("device") / "device.so"
    include = [f"-I{path}" for path in cpp_extension.include_paths()]
    linked = [f"-L{path}" for path in cpp_extension.library_paths()]
    options = ["-std=c++20", "-O0", "-w", "-shared", "-fPIC", *include, *linked, "-lc10", "-ltorch_cpu", "-ltorch"]
    subprocess.run([compiler, str(HERE / "device.cpp"), *options, "-o", str(out)], check=True, timeout=280)
    return out


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("datasets") / "pictures"
    prepare(FIXTURES / "fashion-500.parquet", modality="image", out=out, heldout=0.2, outliers="off", workers=1)
    return out


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("datasets") / "poems"
    prepare(EXAMPLES / "poems.jsonl.gz", modality="text", out=out, near_duplicates="off", workers=1)
    return out


def train(library: Path, folder: Path, recipes: dict[str, dict[str, Any]]) -> None:
    """Four steps of each, one after another, in a process of their own."""
    for name, recipe in recipes.items():
        options = {"device": "other", "precision": "fp32", "layout": "contiguous", "compile": "off", "batch": 4}
        train_section = {**options, "budget": {"steps": 4}, "sample_every": 0.5, **recipe.pop("train", {})}
        content = {"name": name, "out": str(folder), **recipe, "train": train_section}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    paths = [str(folder / f"{name}.yaml") for name in recipes]
    command = [sys.executable, str(HERE / "train.py"), str(library), *paths]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-6000:]


def test_gans_of_pictures(library: Path, pictures: Path, tmp_path: Path) -> None:
    data = {"path": str(pictures), "resolution": 16}
    seen = {"policy": ["flip", "rotate", "crop", "brightness", "contrast"], "strength": 0.5}
    slope = {"r1": 1.0, "form": "difference"}
    relativistic = {"network": "resnet", "width": 4, "loss": "relativistic", "penalty": slope, "conditional": True}
    wasserstein = {"network": "mlp", "width": 8, "loss": "wasserstein"}
    models = {"augmented": {"width": 4, "augment": seen}, "relativistic": relativistic, "wasserstein": wasserstein}
    recipes = {name: {"data": data, "model": {"family": "gan", **model}} for name, model in models.items()}
    train(library, tmp_path, recipes)


def test_autoencoders_and_a_gpt_over_their_codes(library: Path, pictures: Path, tmp_path: Path) -> None:
    data = {"path": str(pictures), "resolution": 16}
    critic = {"kind": "patch", "samples": True, "weight": 0.1, "feature_weight": 1.0}
    codes = {"codes": 16, "start_steps": 2}
    fields = {"label": {}, "image": {"codec": str(tmp_path / "vq")}}
    tasks = {"draw": {"given": ["label"], "make": ["image"]}, "name": {"given": ["image"], "make": ["label"]}}
    recipes: dict[str, dict[str, Any]] = {
        "vae-gan": {"data": data, "model": {"family": "autoencoder", "kind": "vae", "width": 4, "critic": critic}},
        "vq": {"data": data, "model": {"family": "autoencoder", "kind": "vq", "width": 4, "codebook": codes}},
        "fields": {
            "data": {"path": str(pictures), "length": 32, "fields": fields, "tasks": tasks},
            "model": {"family": "gpt", "width": 32, "depth": 2, "heads": 2},
        },
    }
    train(library, tmp_path, recipes)


def test_sound_and_moving_pictures(library: Path, sounds: Path, clips: Path, tmp_path: Path) -> None:
    codes = {"codes": 16, "quantisers": 2, "start_steps": 2}
    codec = {"family": "autoencoder", "kind": "rvq", "width": 4, "strides": [4, 4], "latent": 8, "codebook": codes}
    heard = {"path": str(sounds), "seconds": 0.2, "augment": ["noise", "speed", "reverb"]}
    moving = {"path": str(clips), "resolution": 16, "augment": ["flip", "crop", "brightness", "contrast"]}
    recipes: dict[str, dict[str, Any]] = {
        "codec": {"data": heard, "model": {**codec, "spectral": {"weight": 0.5}}},
        "clips": {"data": moving, "model": {"family": "gan", "width": 4}},
    }
    train(library, tmp_path, recipes)


def test_texts(library: Path, texts: Path, tmp_path: Path) -> None:
    data = {"path": str(texts), "length": 48, "vocabulary": 512}
    shape = {"width": 32, "depth": 2, "heads": 2}
    models = {
        "gpt": {"family": "gpt"},
        "bert": {"family": "bert"},
        "diffusion": {"family": "bert", "mask_rate": "uniform"},
    }
    recipes = {name: {"data": data, "model": {**model, **shape}} for name, model in models.items()}
    train(library, tmp_path, recipes)
