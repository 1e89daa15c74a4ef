"""The lapped transform gives back what it took, and is what a coder begins as."""

from __future__ import annotations

import pytest
import torch

from motherlode.networks.coder import Decoder, Encoder, Plan
from motherlode.networks.lapped import Analysis, Synthesis
from motherlode.randomness import torch_generator


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch_generator(0, "lapped"))


@torch.no_grad()
@pytest.mark.parametrize(("stride", "num_channels"), [(20, 1), (5, 1), (8, 2)])
def test_as_many_numbers_as_values_give_them_back(stride: int, num_channels: int) -> None:
    samples = noise(2, num_channels, 9 * stride)
    features = Analysis(stride * num_channels, num_channels, stride)(samples)
    assert features.shape == (2, stride * num_channels, 9)
    again = Synthesis(stride * num_channels, num_channels, stride)(features)
    within = slice(stride, -stride)  # an end has one neighbour only
    torch.testing.assert_close(again[..., within], samples[..., within], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_numbers_beyond_those_are_not_used() -> None:
    features = Analysis(23, 1, 20)(noise(2, 1, 180))
    assert features[:, :20].abs().amin() > 0
    assert not features[:, 20:].any()


@torch.no_grad()
def test_fewer_numbers_keep_low_frequencies() -> None:
    time = torch.arange(40 * 20) / 20
    low, high = (torch.sin(torch.pi * share * 20 * time)[None, None] for share in (0.1, 0.8))
    through = Synthesis(8, 1, 20)(Analysis(8, 1, 20)(low + high))[..., 20:-20]
    assert (through - low[..., 20:-20]).square().mean() < 0.01
    assert (through - (low + high)[..., 20:-20]).square().mean() > 0.45


@torch.no_grad()
def test_a_coder_is_the_transform_at_first() -> None:
    for stem in (0, 4):
        plan = Plan(1, ((4,), (5,)), 8, stem=stem, lapped=True)
        encoder, decoder = Encoder(plan, 1, 20), Decoder(plan, 20, 1)
        samples = noise(2, 1, 180)
        torch.testing.assert_close(encoder(samples), Analysis(20, 1, 20)(samples))
        torch.testing.assert_close(decoder(encoder(samples))[..., 20:-20], samples[..., 20:-20], rtol=1e-3, atol=1e-4)
