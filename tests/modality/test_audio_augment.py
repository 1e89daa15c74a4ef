"""Augmentations of sound: deterministic, differentiable, and what their names say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from audio_samples import RATE, file, voice

from motherlode.errors import RecipeError
from motherlode.modality import SampleSpec
from motherlode.modality.audio import MODALITY
from motherlode.modality.audio.augment import augment, names


def batch(num: int = 3, channels: int = 1) -> torch.Tensor:
    sounds = np.stack([np.stack([voice(0.5, seed=seed)] * channels) for seed in range(num)])
    return torch.from_numpy(sounds).float()


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", names())
def test_each_is_a_function_of_its_generator_keeps_the_shape_and_carries_gradients(name: str) -> None:
    samples = batch(channels=2).requires_grad_()
    once, again = (augment(samples, [name], 1.0, rng()) for _ in range(2))
    assert once.shape == samples.shape
    assert torch.equal(once, again)
    other = (augment(batch(16), [name], 0.5, rng(seed)) for seed in (1, 2))
    assert not torch.equal(*other)
    once.square().sum().backward()
    assert samples.grad is not None
    assert bool(torch.isfinite(samples.grad).all())
    assert bool((samples.grad != 0).any())


@pytest.mark.parametrize("name", names())
def test_strength_zero_changes_nothing(name: str) -> None:
    samples = batch()
    assert torch.equal(augment(samples, [name], 0.0, rng()), samples)


def peak_hz(samples: torch.Tensor) -> torch.Tensor:
    return torch.fft.rfft(samples * torch.hann_window(samples.shape[-1])).abs().argmax(-1) * RATE / samples.shape[-1]


def test_pitch_moves_a_tone_and_not_its_length_and_speed_moves_both() -> None:
    time = torch.arange(RATE) / RATE
    tone = torch.sin(2 * torch.pi * 440 * time).expand(16, 1, -1) * (time < 0.5)
    for name in ("pitch", "speed"):
        moved = augment(tone, [name], 1.0, rng())
        ratio = peak_hz(moved[..., : RATE // 4]).squeeze(1) / 440
        assert float(ratio.std()) > 0.03
        loud = (moved.squeeze(1).abs() > 0.1).float()
        seconds = (loud * torch.arange(RATE)).amax(1) / RATE
        expected = 0.5 / ratio if name == "speed" else torch.full((16,), 0.5)
        assert float((seconds - expected).abs().max()) < 0.04, name


def test_noise_lies_as_far_below_as_it_says() -> None:
    samples = batch(8)
    noise = augment(samples, ["noise"], 1.0, rng()) - samples
    below = 10 * torch.log10(samples.square().mean((1, 2)) / noise.square().mean((1, 2)))
    assert 14.5 < float(below.min()) < float(below.max()) < 40.5


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="pitch"):
        augment(batch(), ["pich"], 1.0, rng())


def test_a_preview_is_a_picture_with_a_file_to_listen_to(tmp_path: Path) -> None:
    import soundfile
    from PIL import Image

    path = MODALITY.preview(batch(5), tmp_path / "grid.webp", spec=SampleSpec("audio", (1, 8000), rate=RATE))
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert len(np.unique(np.asarray(image))) > 50
    heard, rate = soundfile.read(path.with_suffix(".wav"))
    assert rate == RATE
    assert len(heard) == 5 * (8000 + RATE // 4)


def test_a_contact_sheet_shows_broken_files_too(tmp_path: Path) -> None:
    from PIL import Image

    MODALITY.contact_sheet([file(voice()), b"", b"text"], tmp_path / "sheet.png", captions=["one", "empty", "text"])
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.width > image.height
