import pytest
import torch
from torch import Tensor
from torch.nn import functional

from motherlode.networks import strided
from motherlode.networks.strided import Double, Halve

SIDES = [(4, 4), (8, 8), (16, 12)]


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("channels", [1, 3])
def test_halving_and_doubling_are_torchs_convolutions_with_their_gradients(
    sides: tuple[int, int], channels: int
) -> None:
    weight = leaf(6, channels, 4, 4)
    for ours, theirs, samples in (
        (strided._halving, functional.conv2d, leaf(2, channels, *sides)),
        (strided._doubling, functional.conv_transpose2d, leaf(2, 6, *sides)),
    ):
        made, expected = ours(samples, weight), theirs(samples, weight, stride=2, padding=1)
        assert torch.allclose(made, expected)
        slope = torch.randn_like(made)
        for one, other in zip(
            torch.autograd.grad(made, [samples, weight], slope), torch.autograd.grad(expected, [samples, weight], slope)
        ):
            assert torch.allclose(one, other)


@pytest.mark.parametrize("function", [strided._halving, strided._doubling])
def test_they_can_be_differentiated_twice(function: object) -> None:
    samples = leaf(1, 1, 4, 4) if function is strided._halving else leaf(1, 2, 2, 2)
    assert torch.autograd.gradcheck(function, (samples, leaf(2, 1, 4, 4)))
    assert torch.autograd.gradgradcheck(function, (samples, leaf(2, 1, 4, 4)))


@pytest.mark.parametrize("layer", [Halve(2, 8, 16, bias=True), Double(2, 8, 1, bias=True), Double(2, 8, 16)])
def test_autocast_takes_the_written_path_and_stays_near_float32(layer: Halve | Double) -> None:
    samples = torch.randn(4, 8, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        made = layer(samples)
    expected = layer(samples)
    assert made.dtype == torch.bfloat16
    assert made.is_contiguous(memory_format=torch.channels_last)
    assert (made.float() - expected).abs().max() < 0.02 * expected.abs().max()
    rough = torch.autograd.grad(made.float().square().sum(), list(layer.parameters()))
    exact = torch.autograd.grad(expected.square().sum(), list(layer.parameters()))
    for one, other in zip(rough, exact):
        assert one.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), 0) > 0.999


def test_grey_pictures_leave_the_first_layer_with_channels_last_strides() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert Halve(2, 1, 8)(torch.randn(2, 1, 16, 16)).stride()[1] == 1


@pytest.mark.parametrize("dims", [1, 3])
def test_other_dims_halve_and_double(dims: int) -> None:
    samples = torch.randn(2, 3, *[8] * dims)
    halved = Halve(dims, 3, 5)(samples)
    assert halved.shape == (2, 5, *[4] * dims)
    assert Double(dims, 5, 3)(halved).shape == samples.shape


def test_a_side_of_a_clip_may_keep_its_length() -> None:
    clips = torch.randn(2, 3, 4, 8, 8)
    halved = Halve(3, 3, 5, stride=(1, 2, 2))(clips)
    assert halved.shape == (2, 5, 4, 4, 4)
    assert Double(3, 5, 3, stride=(1, 2, 2))(halved).shape == clips.shape
