"""Clips convolved frame by frame are torch's 3-d convolutions, with their gradients."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from motherlode.networks import frames
from motherlode.networks.blocks import convolution, transposed
from motherlode.networks.strided import Double, Halve

FORMS = [
    ((4, 4, 4), (2, 2, 2), (1, 1, 1), (0, 0, 0)),
    ((3, 3, 3), (1, 1, 1), (1, 1, 1), (0, 0, 0)),
    ((8, 8, 8), (4, 4, 4), (2, 2, 2), (0, 0, 0)),
    ((3, 4, 4), (1, 2, 2), (1, 1, 1), (0, 0, 0)),
    ((6, 10, 6), (3, 5, 3), (2, 3, 2), (1, 1, 1)),
]
"""Kernel, stride, padding, output padding."""


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def same(made: Tensor, expected: Tensor, leaves: list[Tensor]) -> None:
    assert torch.allclose(made, expected)
    slope = torch.randn_like(expected)
    for one, other in zip(torch.autograd.grad(made, leaves, slope), torch.autograd.grad(expected, leaves, slope)):
        assert torch.allclose(one, other)


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast's precision is float64: what is computed can be held to the last digit."""
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda _: torch.float64)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize(("kernel", "stride", "padding", "beyond"), FORMS)
def test_clips_frame_by_frame_are_torchs_convolutions(
    kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...], beyond: tuple[int, ...]
) -> None:
    samples, weight, bias = leaf(2, 3, 9, 10, 9), leaf(5, 3, *kernel), leaf(5)
    made = frames.convolve(samples, weight, bias, stride=stride, padding=padding)
    same(made, functional.conv3d(samples, weight, bias, stride, padding), [samples, weight, bias])
    places, bias = leaf(2, 5, 2, 3, 2), leaf(3)
    made = frames.convolve_transposed(places, weight, bias, stride=stride, padding=padding, output_padding=beyond)
    expected = functional.conv_transpose3d(places, weight, bias, stride, padding, beyond)
    same(made, expected, [places, weight, bias])


@pytest.mark.usefixtures("exact")
def test_they_can_be_differentiated_twice() -> None:
    form = {"stride": (2, 1, 1), "padding": (1, 1, 1)}
    samples, weight = leaf(1, 1, 4, 2, 2), leaf(1, 1, 4, 3, 3)
    assert torch.autograd.gradgradcheck(lambda x, w: frames.convolve(x, w, None, **form), (samples, weight))
    assert torch.autograd.gradgradcheck(lambda x, w: frames.convolve_transposed(x, w, None, **form), (samples, weight))


FORM = {"stride": (4, 4, 4), "padding": (2, 2, 2)}


@pytest.mark.parametrize(
    ("layer", "num_in"),
    [
        (Halve(3, 1, 8, bias=True), 1),
        (Double(3, 8, 1, bias=True), 8),
        (convolution(3, 1, 8, (8, 8, 8), **FORM), 1),
        (transposed(3, 8, 1, (8, 8, 8), **FORM), 8),
    ],
)
def test_thin_ends_are_computed_here_in_bf16_and_stay_near_float32(
    layer: torch.nn.Module, num_in: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = torch.randn(4, num_in, 8, 16, 16)
    expected = layer(samples)
    for name in ("conv3d", "conv_transpose3d"):
        monkeypatch.delattr(functional, name)
    with torch.autocast("cpu", torch.bfloat16):
        made = layer(samples)
    assert made.dtype == torch.bfloat16
    assert made.shape == expected.shape
    assert (made.float() - expected).abs().max() < 0.02 * expected.abs().max()
    rough = torch.autograd.grad(made.float().sigmoid().sum(), list(layer.parameters()))
    exact = torch.autograd.grad(expected.sigmoid().sum(), list(layer.parameters()))
    for one, other in zip(rough, exact):
        assert one.dtype == torch.float32
        assert functional.cosine_similarity(one.flatten(), other.flatten(), 0) > 0.999
