"""Sound from a folder to generated files: a GAN and a codec, end to end."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import torch

import motherlode as ml
from motherlode.recipe import Recipe
from motherlode.safety import provenance
from motherlode.training.run import Run

RATE = 8000


def trained(sounds: Path, folder: Path, model: dict[str, object]) -> Run:
    recipe = Recipe.model_validate(
        {
            "name": "run",
            "out": str(folder),
            "data": {"path": str(sounds), "seconds": 0.128},
            "model": model,
            "train": {"batch": 8, "budget": {"steps": 3}, "precision": "fp32", "compile": "off"},
        }
    )
    return ml.train(recipe)


def test_a_gan_of_sound_writes_files_that_say_where_they_are_from(sounds: Path, tmp_path: Path) -> None:
    run = trained(sounds, tmp_path, {"family": "gan", "width": 8})
    assert run.spec.rate == RATE
    made = ml.generate(run, num=3, out=tmp_path / "out")
    assert made.dtype == torch.int16
    assert made.shape == (3, 1, 1024)
    for number in range(3):
        media = (tmp_path / "out" / f"{number}.flac").read_bytes()
        samples, rate = soundfile.read(BytesIO(media), dtype="int16", always_2d=True)
        assert rate == RATE
        assert np.array_equal(samples.T, made[number].numpy())
        facts = provenance.read(media)
        assert facts is not None
        assert facts["run"] == "run"
    assert (tmp_path / "out" / "grid.wav").is_file()
    report = ml.evaluate(run, num_samples=8, measures=("frechet",))
    assert report["frechet"].label == "frechet[log-mel]"


def test_a_codec_of_sound_codes_clips_of_any_length(sounds: Path, tmp_path: Path) -> None:
    codebook = {"codes": 16, "quantisers": 2, "start_steps": 0}
    model = {"family": "autoencoder", "kind": "rvq", "strides": [8, 4], "width": 8, "stem": 0, "codebook": codebook}
    run = trained(sounds, tmp_path, model)
    family = run.load("last").eval()
    assert family.code_space is not None
    assert family.code_space.stride == (32,)
    for length in (32, 1024, 1600):
        samples = torch.rand(2, 1, length) - 0.5
        codes = family.codes(samples)
        assert codes.shape == (2, length // 32, 2)
        assert family.from_codes(codes).shape == samples.shape
    report = ml.evaluate(run, measures=("reconstruction",))
    assert report["mel_distance"].value > 0
    assert report["si_sdr"].direction == "higher"
