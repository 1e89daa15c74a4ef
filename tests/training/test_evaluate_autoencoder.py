"""`evaluate` on tiny autoencoders: reconstructions, codes, and samples where there are any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motherlode.errors import MeasureError
from motherlode.recipe import Recipe, parse
from motherlode.training.evaluate import evaluate
from motherlode.training.run import Run, train

EXTRACTOR = "raw-pixels?resize=6"


pytestmark = pytest.mark.usefixtures("cache")


def trained(dataset: Path, out: Path, steps: int = 30, **model: Any) -> Run:
    content = {
        "name": str(model["kind"]),
        "out": str(out),
        "data": {"path": str(dataset), "resolution": 16},
        "model": {"family": "autoencoder", "width": 8, "blocks": 0, **model},
        "train": {
            "batch": 16,
            "budget": {"steps": steps},
            "sample_every": 0.5,
            "checkpoint_every": 0.5,
            "precision": "fp32",
        },
        "evaluate": {"extractor": EXTRACTOR, "num_samples": 1000},
    }
    return train(parse(Recipe, content))


def test_a_codec_is_measured_by_what_comes_back(fashion: Path, tmp_path: Path) -> None:
    run = trained(fashion, tmp_path, kind="vq", codebook={"codes": 16, "start_steps": 3})
    report = evaluate(run)
    assert set(report) == {"reconstruction_error", "psnr", "reconstruction_frechet", "codebook_use", "code_perplexity"}
    assert any("perceptual" in note for note in report.facts["notes"])
    family = run.load()
    real = evaluate_rows(run)
    made = run.modality.denormalise(family.reconstruct(run.modality.normalise(real))).numpy()  # type: ignore[arg-type]
    error = np.abs(made.astype(float) - real.numpy()).mean() / 255
    assert report["reconstruction_error"].value == pytest.approx(error, rel=1e-4)
    assert report["psnr"].low < report["psnr"].value < report["psnr"].high
    used = len(family.codes(run.modality.normalise(real)).unique()) / 16
    assert report["codebook_use"].value == pytest.approx(used)
    titles = [caption.partition(":")[0] for caption in report.pictures]
    assert titles == ["Real", "Reconstructed", "Between"]
    assert "Codes in use" in (run.path / "report.html").read_text(encoding="utf-8")
    with pytest.raises(MeasureError, match="GPT"):
        evaluate(run, measures=("frechet",))


def evaluate_rows(run: Run) -> Any:
    import torch

    from motherlode.data.loader import Loader

    loader = Loader(run.dataset, "heldout", run.spec, seed=run.recipe.seed, batch=1)
    return torch.from_numpy(np.array(loader.take(loader.rows)[0]))


def test_a_vae_is_measured_by_both(fashion: Path, tmp_path: Path) -> None:
    run = trained(fashion, tmp_path, kind="vae", latent=4)
    report = evaluate(run, measures=("frechet", "reconstruction"))
    assert {"frechet", "psnr", "reconstruction_frechet"} <= set(report)
    assert report.facts["variant"] in ("mixture", "normal")
    assert set(report.facts["variant_scores"]) == {"mixture", "normal"}
