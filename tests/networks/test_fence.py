"""bf16 convolutions on this processor are near float32's, those that torch gets wrong among them."""

from __future__ import annotations

import itertools

import pytest
import torch

from motherlode.networks import fence
from motherlode.networks.blocks import convolution, transposed

FORMS = [(8, 4, 2), (16, 8, 4), (12, 6, 3), (8, 8, 0), (4, 4, 0), (3, 1, 1), (10, 5, 3)]
"""Kernel, stride, padding."""


@pytest.mark.parametrize(("kernel", "stride", "padding"), FORMS)
@pytest.mark.parametrize("dims", [1, 2])
def test_layers_of_few_channels_are_right_in_bf16(dims: int, kernel: int, stride: int, padding: int) -> None:
    torch.manual_seed(0)
    for thin, make in itertools.product((8, 12, 16, 24), (convolution, transposed)):
        wide = 32
        layer = make(
            dims, *((thin, wide) if make is convolution else (wide, thin)), kernel, stride=stride, padding=padding
        )
        side = 40 if make is convolution else 40 // stride
        samples = torch.randn(2, thin if make is convolution else wide, *[side] * dims, requires_grad=True)
        exact = layer(samples)
        with torch.autocast("cpu", torch.bfloat16):
            rough = layer(samples)
        slope = torch.randn_like(exact)
        leaves = [samples, *layer.parameters()]
        pairs = [(exact, rough)]
        pairs += zip(
            torch.autograd.grad(exact, leaves, slope), torch.autograd.grad(rough, leaves, slope.to(rough.dtype))
        )
        for right, found in pairs:
            assert (found.float() - right).norm() < 0.02 * right.norm(), (thin, make)


def test_only_what_may_be_wrong_is_fenced() -> None:
    samples = torch.zeros(1)
    assert not fence.is_wrong(samples, 8, (8,), (4,))
    with torch.autocast("cpu", torch.bfloat16):
        assert fence.is_wrong(samples, 8, (8,), (4,))
        for channels, kernel, stride in ((32, 8, 4), (9, 8, 4), (8, 4, 2), (8, 3, 1), (8, 10, 5)):
            assert not fence.is_wrong(samples, channels, (kernel,), (stride,))
