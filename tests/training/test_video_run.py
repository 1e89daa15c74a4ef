"""Clips from end to end: train, look, evaluate, generate, export; with a GAN and with codes."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

import motherlode as ml
from motherlode.generation.export import export
from motherlode.modality.video import MODALITY
from motherlode.recipe import Recipe, parse
from motherlode.safety import provenance
from motherlode.training.run import Run


def recipe(clips: Path, out: Path, model: dict[str, object], **data: object) -> Recipe:
    content = {
        "name": str(model["family"]),
        "out": str(out),
        "data": {"path": str(clips), "resolution": 16, **data},
        "model": model,
        "train": {"batch": 8, "budget": {"steps": 4}, "sample_every": 0.5, "checkpoint_every": 0.5},
        "evaluate": {"num_samples": 64, "extractor": "raw-pixels"},
    }
    return parse(Recipe, content)


@pytest.fixture(scope="module")
def gan(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    model = {"family": "gan", "network": "dcgan", "width": 4, "noise": 8, "conditional": True}
    return ml.train(recipe(clips, tmp_path_factory.mktemp("runs"), model))


def test_a_gan_of_clips(gan: Run) -> None:
    assert gan.spec.shape == (1, 16, 16, 16)
    assert gan.spec.rate == 8.0
    looks = sorted((gan.path / "samples").glob("*.webp"))
    assert looks
    with av.open(str(looks[-1].with_suffix(".mp4"))) as film:
        assert len(list(film.decode(video=0))) == 16
    report = ml.evaluate(gan, measures=("frechet", "motion", "flicker"))
    assert {"frechet", "frechet_motion", "frechet_motion_floor", "flicker", "flicker_real"} <= set(report)
    assert report["frechet"].extractor == "frames-raw-pixels"
    assert "data:image/webp" in (gan.path / "report.html").read_text()


def test_generated_clips_are_files_that_say_so(gan: Run, tmp_path: Path) -> None:
    made = ml.generate(gan, num=3, seed=1, condition="sneaker", out=tmp_path / "made")
    assert tuple(made.shape) == (3, 1, 16, 16, 16)
    files = sorted((tmp_path / "made").glob("[0-9]*.webp"))
    assert len(files) == 3
    for file, clip in zip(files, made.numpy()):
        facts = provenance.read(file.read_bytes())
        assert facts is not None
        assert facts["label"] == "sneaker"
        assert np.array_equal(MODALITY.decode(file.read_bytes(), gan.spec), clip)
    assert (tmp_path / "made" / "grid.webp").is_file()
    assert (tmp_path / "made" / "grid.mp4").is_file()


def test_folders_of_clips_are_compared(gan: Run, clips: Path, tmp_path: Path) -> None:
    ml.generate(gan, num=12, seed=1, out=tmp_path / "made")
    for name in ("grid.webp", "grid.png"):
        (tmp_path / "made" / name).unlink()
    (tmp_path / "made" / "grid.mp4").unlink()
    found = ml.evaluate(
        samples=tmp_path / "made", reference=clips, extractor="raw-pixels", measures=("motion",), modality="video"
    )
    assert found["frechet_motion"].num_samples == 12


def test_export_of_a_gan_of_clips(gan: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert (export(gan, tmp_path / "export", formats=("safetensors", "onnx")) / "model.onnx").is_file()


def test_codes_of_clips(clips: Path, tmp_path: Path) -> None:
    model = {
        "family": "autoencoder",
        "kind": "vq",
        "width": 8,
        "strides": [[2, 4, 4], [2, 1, 1]],
        "codebook": {"codes": 16},
    }
    run = ml.train(recipe(clips, tmp_path, model, seconds=1.0))
    assert run.spec.shape == (1, 8, 16, 16)
    family = run.load("best")
    rows = ml.Dataset.open(clips).split("heldout").rows()
    media = [row["video"]["bytes"] for row, _ in zip(rows, range(3))]
    import torch

    normal = MODALITY.normalise(torch.from_numpy(np.stack([MODALITY.decode(item, run.spec) for item in media])))
    codes = family.codes(normal)
    assert tuple(codes.shape) == (3, 2, 4, 4, 1)
    assert tuple(family.from_codes(codes).shape) == (3, 1, 8, 16, 16)
    report = ml.evaluate(run)
    assert "psnr" in report
    assert report["psnr"].num_samples > 50
