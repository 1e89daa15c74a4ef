"""Augmentation is deterministic, differentiable twice, neutral at strength 0, and does what its names say."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor

from motherlode.errors import RecipeError
from motherlode.modality.image import MODALITY
from motherlode.modality.image.augment import GROUPS, names, resolve

ALL = sorted(set(names()) - set(GROUPS))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(
    num: int = 4, channels: int = 3, height: int = 8, width: int = 8, dtype: torch.dtype = torch.float32
) -> Tensor:
    noise = torch.rand(num, channels, height, width, generator=generator(7), dtype=torch.float64)
    return (noise * 2 - 1).to(dtype)


@pytest.mark.parametrize("name", [*ALL, *GROUPS])
@pytest.mark.parametrize(("channels", "height", "width"), [(1, 8, 8), (3, 8, 8), (4, 6, 10)])
def test_shape_and_determinism(name: str, channels: int, height: int, width: int) -> None:
    samples = batch(5, channels, height, width)
    first = MODALITY.augment(samples, [name], 0.7, generator())
    again = MODALITY.augment(samples, [name], 0.7, generator())
    assert first.shape == samples.shape
    assert first.dtype == samples.dtype
    assert torch.isfinite(first).all()
    assert torch.equal(first, again)


def test_neutral_at_strength_zero_and_without_policy() -> None:
    samples = batch()
    assert MODALITY.augment(samples, ALL, 0.0, generator()) is samples
    assert MODALITY.augment(samples, [], 1.0, generator()) is samples


@pytest.mark.parametrize("name", ALL)
def test_gradients_once_and_twice(name: str) -> None:
    samples = batch(2, 3, 5, 5, torch.float64).requires_grad_()

    def apply(x: Tensor) -> Tensor:
        return MODALITY.augment(x, [name], 1.0, generator(3))

    assert torch.autograd.gradcheck(apply, (samples,))
    assert torch.autograd.gradgradcheck(apply, (samples,))


def test_gradient_penalty_through_resampling() -> None:
    """R1 taken with respect to pictures before augmentation: its gradient reaches the critic's weights."""
    samples = batch().requires_grad_()
    weight = torch.ones(1, 3, 8, 8, requires_grad=True)
    score = (MODALITY.augment(samples, ["ada"], 1.0, generator()) * weight).pow(2).sum()
    (slope,) = torch.autograd.grad(score, samples, create_graph=True)
    slope.pow(2).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", [*GROUPS, "noise", "crop"])
def test_memory_format_and_bfloat16_are_kept(name: str) -> None:
    samples = batch(4, 3, 8, 8, torch.bfloat16).contiguous(memory_format=torch.channels_last)
    result = MODALITY.augment(samples, [name], 1.0, generator())
    assert result.dtype == torch.bfloat16
    assert result.is_contiguous(memory_format=torch.channels_last)


def changed(name: str, strength: float, num: int = 2000) -> float:
    samples = batch(1, 3, 8, 8).expand(num, -1, -1, -1)
    result = MODALITY.augment(samples, [name], strength, generator(1))
    return float(((result - samples).abs().amax(dim=(1, 2, 3)) > 1e-4).float().mean())


@pytest.mark.parametrize("strength", [0.3, 0.8])
@pytest.mark.parametrize(
    ("name", "share"),
    [("flip", 0.5), ("rotate90", 0.75), ("luma_flip", 0.5), ("brightness", 1.0), ("contrast", 1.0), ("hue", 1.0),
     ("saturation", 1.0), ("scale", 1.0), ("rotate", 1.0), ("spin", 1.0), ("stretch", 1.0), ("crop", 1.0),
     ("translate", 8 / 9), ("translation", 8 / 9), ("cutout", 1.0), ("noise", 1.0)],
)  # fmt: skip
def test_strength_is_the_probability(name: str, share: float, strength: float) -> None:
    """Translations by up to one pixel of eight stay in place one time in nine, or one in four where steps round."""
    if name == "translate":
        share = 3 / 4
    assert changed(name, strength) == pytest.approx(strength * share, abs=0.05)


def test_flip_is_exact() -> None:
    samples = batch(200)
    result = MODALITY.augment(samples, ["flip"], 1.0, generator())
    is_flipped = (result == samples.flip(-1)).all(dim=(1, 2, 3))
    is_same = (result == samples).all(dim=(1, 2, 3))
    assert bool((is_flipped | is_same).all())
    assert 60 < int(is_flipped.sum()) < 140


def test_whole_pixel_moves_keep_values() -> None:
    samples = batch(50, 1, 16, 16)
    result = MODALITY.augment(samples, ["translate"], 1.0, generator())
    inner = result[:, :, 3:-3, 3:-3]
    shifts = [
        (inner - samples[:, :, 3 + y : 13 + y, 3 + x : 13 + x]).abs().amax(dim=(1, 2, 3))
        for y in range(-2, 3)
        for x in range(-2, 3)
    ]
    assert float(torch.stack(shifts).amin(dim=0).max()) < 1e-4


def test_translation_brings_in_mid_grey_and_cutout_a_quarter() -> None:
    ones = torch.ones(400, 1, 16, 16)
    moved = MODALITY.augment(ones, ["translation"], 1.0, generator())
    assert set(moved.round(decimals=4).unique().tolist()) == {0.0, 1.0}
    assert 0.05 < float((moved < 0.5).float().mean()) < 0.3
    cut = MODALITY.augment(ones, ["cutout"], 1.0, generator())
    hidden = (cut == 0).float().mean(dim=(1, 2, 3))
    assert float(hidden.max()) == pytest.approx(0.25, abs=1e-6)
    assert float(hidden.min()) >= 0.25 / 4 - 1e-6


def test_colour_statistics() -> None:
    """ADA's spreads: 0.2 for brightness, 0.5 octaves for contrast, 1 octave for saturation; hue keeps luma."""
    flat = torch.zeros(4000, 3, 1, 1)
    brightness = MODALITY.augment(flat, ["brightness"], 1.0, generator())[:, 0, 0, 0]
    assert float(brightness.std()) == pytest.approx(0.2, rel=0.06)
    ones = torch.ones(4000, 1, 1, 1)
    assert float(MODALITY.augment(ones, ["contrast"], 1.0, generator()).log2().std()) == pytest.approx(0.5, rel=0.06)
    red = torch.tensor([1.0, -0.5, -0.5]).view(1, 3, 1, 1).expand(4000, -1, -1, -1)
    saturated = MODALITY.augment(red, ["saturation"], 1.0, generator())
    assert float(saturated[:, 0].log2().std()) == pytest.approx(1.0, rel=0.06)
    turned = MODALITY.augment(batch(100), ["hue"], 1.0, generator())
    assert torch.allclose(turned.mean(dim=1), batch(100).mean(dim=1), atol=1e-5)
    assert torch.allclose(turned.square().sum(dim=1), batch(100).square().sum(dim=1), atol=1e-4)


def test_rotation_of_a_disc_changes_nothing_and_of_a_bar_its_direction() -> None:
    axis = torch.linspace(-1, 1, 33)
    disc = ((axis[:, None] ** 2 + axis[None] ** 2) < 0.4).float().view(1, 1, 33, 33).expand(20, -1, -1, -1)
    spun = MODALITY.augment(disc, ["spin"], 1.0, generator())
    assert float((spun - disc).abs().mean()) < 0.03
    quarter = MODALITY.augment(batch(100, 1, 6, 6), ["rotate90"], 1.0, generator())
    assert torch.allclose(quarter.sum(dim=(1, 2, 3)), batch(100, 1, 6, 6).sum(dim=(1, 2, 3)), atol=1e-4)


def test_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'cutout'"):
        MODALITY.augment(batch(), ["cutuot"], 1.0, generator())
    with pytest.raises(RecipeError, match="probability"):
        MODALITY.augment(batch(), ["flip"], 1.5, generator())
    with pytest.raises(RecipeError):
        resolve([cast("str", "flipp")])
    assert resolve(["diffaugment", "color", "flip"]) == ("color", "translation", "cutout", "flip")
