"""Encoder, decoder and sampler of autoencoders leave a run as files that compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from motherlode.generation.export import export, load
from motherlode.modality import SampleSpec
from motherlode.randomness import torch_generator
from motherlode.recipe import Recipe, parse
from motherlode.training.run import Run, train

onnxruntime = pytest.importorskip("onnxruntime")


def trained(dataset: Path, out: Path, **model: Any) -> Run:
    content = {
        "name": "tiny",
        "out": str(out),
        "data": {"path": str(dataset), "resolution": 16},
        "model": {"family": "autoencoder", "width": 8, "blocks": 0, **model},
        "train": {"batch": 16, "budget": {"steps": 8}, "sample_every": 1, "checkpoint_every": 1, "precision": "fp32"},
    }
    return train(parse(Recipe, content))


def some(num: int) -> torch.Tensor:
    return torch.rand(num, 1, 16, 16, generator=torch_generator(0, "some")) * 2 - 1


def test_a_codec_exports_encoder_and_decoder(fashion: Path, tmp_path: Path) -> None:
    run = trained(fashion, tmp_path, kind="vq", codebook={"codes": 16, "start_steps": 2})
    folder = export(run, tmp_path / "out", formats=["safetensors", "onnx"])
    family = run.load()
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "config.json", "decoder.onnx", "encoder.onnx", "manifest.json", "model.safetensors",
    ]  # fmt: skip
    codes = family.codes(some(5))
    coders = load(folder)
    assert isinstance(coders, torch.nn.ModuleDict)
    assert torch.equal(coders["encoder"](some(5)), codes)
    assert torch.allclose(coders["decoder"](codes), family.from_codes(codes), atol=1e-6)
    encoder, decoder = (onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in ("encoder", "decoder"))
    (encoded,) = encoder.run(None, {"samples": some(5).numpy()})
    assert (encoded == codes.numpy()).mean() > 0.98
    (restored,) = decoder.run(None, {"encoded": codes.numpy()})
    assert np.abs(restored - family.from_codes(codes).numpy()).max() < 1e-4
    assert 'coders["decoder"]' in (folder / "README.md").read_text()


def test_a_vae_exports_its_sampler_too(fashion: Path, tmp_path: Path) -> None:
    run = trained(fashion, tmp_path, kind="vae", latent=4, mixture=2)
    folder = export(run, tmp_path / "out", formats=["safetensors", "onnx"], variant="mixture")
    family = run.load()
    noise = torch.randn(3, 5, generator=torch_generator(0, "noise"))
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (samples,) = session.run(None, {"noise": noise.numpy()})
    assert np.abs(samples - load(folder)(noise).numpy()).max() < 1e-4
    encoder, decoder = (onnxruntime.InferenceSession(folder / f"{name}.onnx") for name in ("encoder", "decoder"))
    (encoded,) = encoder.run(None, {"samples": some(3).numpy()})
    assert encoded.shape == (3, 4)
    (restored,) = decoder.run(None, {"encoded": encoded})
    assert np.abs(restored - family.reconstruct(some(3)).numpy()).max() < 1e-3  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 320), {"kind": "rvq", "activation": "snake", "codebook": {"codes": 16, "quantisers": 3}}),
        ((1, 4, 16, 16), {"kind": "fsq", "codebook": {"codes": 256}}),
        ((3, 16, 16), {"kind": "plain", "up": "nearest", "norm": "group"}),
    ],
)
def test_every_kind_and_dimension_exports_to_onnx(tmp_path: Path, shape: tuple[int, ...], options: Any) -> None:
    from motherlode.families.autoencoder import FAMILY, Options
    from motherlode.generation import onnx

    family = FAMILY.build(parse(Options, {"width": 8, **options}), SampleSpec("image", shape), 0)
    found = onnx.write_coders(family.coders(), tmp_path, shape, {})
    assert found["decoder"]["largest_difference"] < onnx.TOLERANCE
