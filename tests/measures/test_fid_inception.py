"""The FID network: the published layers, its input rules, and loading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from motherlode.errors import CorruptError, MeasureError
from motherlode.measures.features import find_extractor
from motherlode.measures.fid_inception import FidInception, tensorflow_resize
from motherlode.measures.weights import sha256_file
from motherlode.randomness import torch_generator

# Layers of pt_inception-2015-12-05-6726825d.pth.
PUBLISHED = {
    "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
    "Conv2d_1a_3x3.bn.running_var": (32,),
    "Conv2d_2a_3x3.conv.weight": (32, 32, 3, 3),
    "Conv2d_2b_3x3.conv.weight": (64, 32, 3, 3),
    "Conv2d_3b_1x1.conv.weight": (80, 64, 1, 1),
    "Conv2d_4a_3x3.conv.weight": (192, 80, 3, 3),
    "Mixed_5b.branch5x5_2.conv.weight": (64, 48, 5, 5),
    "Mixed_5b.branch_pool.conv.weight": (32, 192, 1, 1),
    "Mixed_5c.branch_pool.conv.weight": (64, 256, 1, 1),
    "Mixed_5d.branch3x3dbl_3.conv.weight": (96, 96, 3, 3),
    "Mixed_6a.branch3x3.conv.weight": (384, 288, 3, 3),
    "Mixed_6b.branch7x7_2.conv.weight": (128, 128, 1, 7),
    "Mixed_6b.branch7x7_3.conv.weight": (192, 128, 7, 1),
    "Mixed_6c.branch7x7dbl_2.conv.weight": (160, 160, 7, 1),
    "Mixed_6e.branch7x7dbl_5.conv.weight": (192, 192, 1, 7),
    "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
    "Mixed_7b.branch3x3_2a.conv.weight": (384, 384, 1, 3),
    "Mixed_7b.branch1x1.conv.weight": (320, 1280, 1, 1),
    "Mixed_7c.branch3x3dbl_1.conv.weight": (448, 2048, 1, 1),
    "Mixed_7c.branch_pool.bn.bias": (192,),
    "fc.weight": (1008, 2048),
    "fc.bias": (1008,),
}


@pytest.fixture(scope="module")
def network() -> FidInception:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FidInception()


def images(num: int = 2, size: int = 32, channels: int = 3) -> torch.Tensor:
    rng = torch_generator(0, "test images")
    return torch.randint(0, 256, (num, channels, size, size), generator=rng, dtype=torch.uint8)


def test_has_the_published_layers(network: FidInception) -> None:
    state = network.state_dict()
    assert {name: tuple(state[name].shape) for name in PUBLISHED} == PUBLISHED
    # 94 convolutions, each with five tensors of batch norm (one a counter), and a linear layer of two.
    assert len(state) == 94 * 6 + 2
    assert sum(parameter.numel() for parameter in network.parameters()) == 23_850_960


def test_gives_2048_features_and_1008_logits(network: FidInception) -> None:
    features, logits = network(images())
    assert features.shape == (2, 2048)
    assert logits.shape == (2, 1008)
    assert features.dtype == logits.dtype == torch.float32
    torch.testing.assert_close(logits, network.fc(features))
    torch.testing.assert_close(
        network.logits_without_bias(logits), features @ network.fc.weight.T, rtol=1e-4, atol=1e-5
    )


def test_bytes_and_unit_floats_are_the_same_image(network: FidInception) -> None:
    x = images(1)
    torch.testing.assert_close(network(x).features, network(x.float() / 255).features, rtol=1e-3, atol=1e-4)


def test_grey_is_repeated(network: FidInception) -> None:
    grey = images(1, channels=1)
    torch.testing.assert_close(network(grey).features, network(grey.expand(-1, 3, -1, -1)).features)


@pytest.mark.parametrize(
    ("x", "told"),
    [
        (torch.full((1, 3, 8, 8), 1.5), r"lie in \[0, 1\]"),
        (torch.full((1, 3, 8, 8), float("nan")), r"lie in \[0, 1\]"),
        (torch.zeros(1, 2, 8, 8), "images must be"),
        (torch.zeros(3, 8, 8), "images must be"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), "uint8 or float"),
    ],
)
def test_bad_images_are_refused(network: FidInception, x: torch.Tensor, told: str) -> None:
    with pytest.raises(MeasureError, match=told):
        network(x)


def test_resize_reads_corner_aligned_pixels() -> None:
    """TensorFlow 1: output i lies at i · in/out, so doubling [0, 10] gives 0, 5, 10, 10 (and torch's own does not)."""
    row = torch.tensor([0.0, 10.0]).reshape(1, 1, 1, 2).expand(1, 1, 2, 2)
    expected = torch.tensor([0.0, 5.0, 10.0, 10.0]).expand(1, 1, 4, 4)
    torch.testing.assert_close(tensorflow_resize(row, 4), expected)
    column = row.transpose(2, 3)
    torch.testing.assert_close(tensorflow_resize(column, 4), expected.transpose(2, 3))


def test_resize_agrees_with_the_rule_pixel_by_pixel() -> None:
    x = images(1, 7).float()
    out = tensorflow_resize(x, 17)
    for i, j in ((0, 0), (3, 11), (16, 16), (9, 4)):
        y, z = i * 7 / 17, j * 7 / 17
        y0, z0 = int(y), int(z)
        y1, z1 = min(y0 + 1, 6), min(z0 + 1, 6)
        top = x[0, 0, y0, z0] * (1 - (z - z0)) + x[0, 0, y0, z1] * (z - z0)
        bottom = x[0, 0, y1, z0] * (1 - (z - z0)) + x[0, 0, y1, z1] * (z - z0)
        assert float(out[0, 0, i, j]) == pytest.approx(float(top * (1 - (y - y0)) + bottom * (y - y0)), abs=1e-3)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_load_by_name_and_hash(network: FidInception, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"inception{suffix}"
    # The published file has no `num_batches_tracked`.
    state = {key: value for key, value in network.state_dict().items() if "num_batches" not in key}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    digest = sha256_file(path)
    loaded = FidInception(path, sha256=digest)
    assert loaded.sha256 == digest
    x = images(1)
    torch.testing.assert_close(loaded(x).features, network(x).features)
    with pytest.raises(CorruptError, match="sha256"):
        FidInception(path, sha256="0" * 64)
    if suffix == ".pth":
        extractor = find_extractor(f"inception-v3?weights={path}&sha256={digest}")
        found = extractor(x.numpy())
        assert found.features_ND.shape == (1, 2048)
        assert found.logits_NK is not None
        np.testing.assert_allclose(
            found.logits_NK, network.logits_without_bias(network(x).logits), rtol=1e-3, atol=1e-4
        )
        assert extractor.resize == "tensorflow bilinear 299"
        assert find_extractor(path).fingerprint == extractor.fingerprint
        assert not extractor.published  # random weights never earn the name FID


def test_other_networks_are_refused(network: FidInception, tmp_path: Path) -> None:
    state = dict(network.state_dict())
    state["fc.weight"] = torch.zeros(1000, 2048)
    torch.save(state, tmp_path / "classes.pth")
    with pytest.raises(MeasureError, match=r"fc.weight: \(1000, 2048\), published \(1008, 2048\)"):
        FidInception(tmp_path / "classes.pth")
    state.pop("fc.weight")
    torch.save(state, tmp_path / "missing.pth")
    with pytest.raises(MeasureError, match=r"lacks layer 'fc.weight'"):
        FidInception(tmp_path / "missing.pth")
    torch.save({"state": [1, 2]}, tmp_path / "other.pth")
    with pytest.raises(MeasureError, match="state dict of tensors"):
        FidInception(tmp_path / "other.pth")
    (tmp_path / "noise.pth").write_bytes(b"not weights at all")
    with pytest.raises(MeasureError, match="state dict of tensors"):
        FidInception(tmp_path / "noise.pth")


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("unpickled",)


def test_nothing_is_unpickled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"fc.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(MeasureError, match="state dict of tensors"):
        FidInception(tmp_path / "evil.pth")
    assert "unpickled" not in capsys.readouterr().out


def test_places_of_weights(tmp_path: Path, network: FidInception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTHERLODE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MeasureError, match="must exist"):
        FidInception(tmp_path / "absent.pth")
    with pytest.raises(MeasureError, match="need their sha256"):
        FidInception("https://example.invalid/inception.pth")
    torch.save(network.state_dict(), tmp_path / "here.pth")
    digest = sha256_file(tmp_path / "here.pth")
    url = f"file://{tmp_path / 'here.pth'}"
    assert FidInception(url, sha256=digest).sha256 == digest
    (tmp_path / "here.pth").unlink()
    assert FidInception(url, sha256=digest).sha256 == digest  # from the cache
    with pytest.raises(MeasureError, match="readable"):
        FidInception(url, sha256="1" * 64)
