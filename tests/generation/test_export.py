from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from motherlode import registry, storage
from motherlode.errors import CorruptError, MeasureError, MissingExtraError, RecipeError, StorageError
from motherlode.generation import onnx
from motherlode.generation.export import export, load
from motherlode.modality import SampleSpec
from motherlode.randomness import torch_generator
from motherlode.training.run import Run

onnxruntime = pytest.importorskip("onnxruntime")


def noise(num: int, size: int) -> Tensor:
    return torch.randn(num, size, generator=torch_generator(0, "test"))


@pytest.mark.parametrize("variant", ["ema", "raw"])
def test_an_export_loads_without_its_run(labelled_run: Path, tmp_path: Path, variant: str) -> None:
    folder = export(labelled_run, tmp_path / "out", variant=variant)
    labels = torch.arange(8)
    expected = Run.open(labelled_run).load("best").sampler(variant)(noise(8, 8), labels)
    assert torch.equal(load(folder)(noise(8, 8), labels), expected)
    config = json.loads((folder / "config.json").read_text())
    assert config["labels"] == Run.open(labelled_run).labels
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata()["variant"] == variant
    storage.verify_manifest(folder)


def test_onnx_computes_what_the_network_computes_at_any_batch(labelled_run: Path, tmp_path: Path) -> None:
    folder = export(labelled_run, tmp_path / "out", formats=["onnx", "safetensors"])
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    assert [given.name for given in session.get_inputs()] == ["noise", "labels"]
    sampler = load(folder)
    for size in (1, 2, 17, 100):
        labels = torch.arange(size) % 10
        (samples,) = session.run(None, {"noise": noise(size, 8).numpy(), "labels": labels.numpy()})
        with torch.no_grad():
            assert np.abs(samples - sampler(noise(size, 8), labels).numpy()).max() < 1e-4
    assert session.get_modelmeta().custom_metadata_map["run"] == "labelled"
    config = json.loads((folder / "config.json").read_text())
    assert 0 <= config["onnx"]["largest_difference"] < onnx.TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("network", ["mlp", "dcgan", "resnet"])
def test_every_network_exports_to_onnx(tmp_path: Path, network: str, conditional: bool) -> None:
    family = registry.find("family", "gan")
    options = family.Options(network=network, width=8, conditional=conditional)
    model = family.build(options, SampleSpec("image", (3, 32, 32), 4), 0)
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch_generator(0, name))
    sampler = model.sampler("ema").eval()
    path = tmp_path / "model.onnx"
    found = onnx.write(sampler, path, num_noise=model.num_noise, num_labels=model.num_labels, facts={})
    assert found["largest_difference"] < onnx.TOLERANCE
    assert path.is_file()


class Wrong:
    """A session that computes something else."""

    def __init__(self, change: Any) -> None:
        self.change = change

    def run(self, names: list[str], inputs: dict[str, Any]) -> list[Any]:
        return [self.change(inputs["noise"])]


@pytest.mark.parametrize(
    "change", [lambda x: x + 2e-3, lambda x: x[:1], lambda x: x * np.nan], ids=["shifted", "batch of one", "not finite"]
)
def test_a_file_that_computes_something_else_is_deleted(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"wrong")
    with pytest.raises(MeasureError, match="must compute what the network computes"):
        onnx.check(nn.Identity(), Wrong(change), lambda size: {"noise": noise(size, 4)}, "samples", path)
    assert not path.exists()


def test_without_the_extra_onnx_says_how_to_install_it(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"motherlode\[export\]"):
        export(tiny_run, tmp_path / "out", formats=["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_wrong_formats_weights_and_folders_are_refused(tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'onnx'"):
        export(tiny_run, tmp_path / "out", formats=["onx"])
    with pytest.raises(RecipeError, match="did you mean 'raw'"):
        export(tiny_run, tmp_path / "out", variant="row")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(StorageError, match="choose another"):
        export(tiny_run, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine"
    with pytest.raises(StorageError, match="lode export"):
        load(tmp_path / "mine")


def test_an_altered_export_is_found_when_it_is_loaded(tiny_run: Path, tmp_path: Path) -> None:
    folder = export(tiny_run, tmp_path / "out")
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(CorruptError, match=r"model\.safetensors"):
        load(folder)


def test_the_card_states_the_facts_of_the_run(labelled_run: Path, tmp_path: Path) -> None:
    folder = export(labelled_run, tmp_path / "out", formats=["safetensors"])
    text = (folder / "README.md").read_text()
    run = Run.open(labelled_run)
    for fact in (
        run.facts["dataset"],
        run.recipe.digest(),
        "6 of 6 (finished)",
        "MIT, © 2017 Zalando SE",
        "Ankle boot",
    ):
        assert fact in text
    assert f"{run.facts['flops']:.3g} FLOP" in text
    assert "Nothing was measured" in text
    assert "model.onnx" not in text


def test_the_card_of_a_run_whose_dataset_is_gone_says_so(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    recipe = (tmp_path / "run" / "recipe.yaml").read_text()
    (tmp_path / "run" / "recipe.yaml").write_text(recipe.replace(Run.open(tiny_run).recipe.data.path, "/nowhere"))
    text = (export(tmp_path / "run") / "README.md").read_text()
    assert "no longer at hand" in text


def test_the_code_on_the_card_runs(labelled_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = export(labelled_run, tmp_path / "out", formats=["safetensors", "onnx"])
    monkeypatch.chdir(folder)
    blocks = (folder / "README.md").read_text().split("```python\n")[1:]
    assert len(blocks) == 2
    for block in blocks:
        names: dict[str, Any] = {}
        exec(compile(block.partition("```")[0], "card", "exec"), names)
        assert names["samples"].shape == (4, 1, 16, 16)
