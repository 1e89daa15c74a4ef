"""Every frame of a clip is altered alike; time goes backwards or at another speed; gradients come through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import video_samples as samples
from PIL import Image

from motherlode.errors import RecipeError
from motherlode.modality import SampleSpec
from motherlode.modality.video import MODALITY
from motherlode.modality.video.augment import names


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def still(num: int = 8) -> torch.Tensor:
    """Clips in which nothing moves: whatever is done alike to all frames leaves them so."""
    pictures = torch.rand(num, 3, 1, 16, 16, generator=rng()) * 2 - 1
    return pictures.expand(-1, -1, 5, -1, -1).contiguous()


@pytest.mark.parametrize("name", [name for name in names() if name != "noise"])
def test_frames_of_a_clip_are_altered_alike(name: str) -> None:
    altered = MODALITY.augment(still(), [name], 1.0, rng(1))
    assert altered.shape == (8, 3, 5, 16, 16)
    assert torch.allclose(altered, altered[:, :, :1].expand_as(altered), atol=1e-4)


def test_something_happens_and_randomness_is_the_generators() -> None:
    clips = torch.from_numpy(np.stack([samples.scene(seed, 8, 32, 32) for seed in range(6)])).permute(0, 4, 1, 2, 3)
    normal = MODALITY.normalise(clips)
    for name in ("flip", "crop", "brightness", "contrast", "reverse", "speed", "hue"):
        once, again = (MODALITY.augment(normal, [name], 1.0, rng(2)) for _ in range(2))
        assert torch.equal(once, again)
        assert not torch.equal(once, normal)
    assert torch.equal(MODALITY.augment(normal, ["flip"], 0.0, rng()), normal)


def test_reversal_and_speed_show_whole_frames() -> None:
    time = torch.arange(9.0).view(1, 1, 9, 1, 1).expand(64, 1, 9, 2, 2) / 8
    turned = MODALITY.augment(time, ["reverse"], 1.0, rng(3))[:, 0, :, 0, 0]
    forward = time[0, 0, :, 0, 0].tolist()
    assert {tuple(row.tolist()) for row in turned} == {tuple(forward), tuple(forward[::-1])}
    sped = MODALITY.augment(time, ["speed"], 1.0, rng(4))[:, 0, :, 0, 0] * 8
    assert torch.equal(sped, sped.round())
    assert sped.diff(dim=1).abs().max() <= 2
    assert sped.min() >= 0
    assert sped.max() <= 8


def test_gradients_pass() -> None:
    clips = still(3).double().requires_grad_()
    policy = ["flip", "crop", "brightness", "contrast", "reverse", "speed"]
    MODALITY.augment(clips, policy, 1.0, rng(5)).square().sum().backward()
    assert clips.grad is not None
    assert clips.grad.abs().sum() > 0


def test_faults() -> None:
    with pytest.raises(RecipeError, match="augmentation of this name"):
        MODALITY.augment(still(), ["revers"], 1.0, rng())
    with pytest.raises(RecipeError, match="probability"):
        MODALITY.augment(still(), ["reverse"], 1.5, rng())


def test_a_preview_moves_and_has_a_strip_beside_it(tmp_path: Path) -> None:
    import av

    clips = torch.from_numpy(np.stack([samples.scene(seed, 8, 32, 32) for seed in range(5)])).permute(0, 4, 1, 2, 3)
    spec = SampleSpec("video", (3, 8, 32, 32), rate=4.0)
    path = MODALITY.preview(MODALITY.normalise(clips), tmp_path / "grid.png", columns=3, spec=spec)
    assert path == tmp_path / "grid.webp"
    with Image.open(path) as image:
        assert image.n_frames == 8
        image.seek(1)
        image.load()
        assert image.info["duration"] == 250
        size = image.size
    assert size == (3 * 66 + 2, 2 * 66 + 2)
    with av.open(str(path.with_suffix(".mp4"))) as film:
        assert len(list(film.decode(video=0))) == 8
    with Image.open(path.with_suffix(".png")) as strip:
        assert strip.size == (8 * 66 + 2, 5 * 66 + 2)


def test_a_contact_sheet_shows_broken_files_as_such(tmp_path: Path) -> None:
    media = [samples.mp4(samples.scene(6)), b"", b"text", samples.alpha_gif()]
    MODALITY.contact_sheet(media, tmp_path / "sheet.png", captions=["a", "b", "c", "d"])
    with Image.open(tmp_path / "sheet.png") as image:
        assert np.asarray(image).std() > 10


def test_specs() -> None:
    columns = {
        "width": np.array([64] * 20), "height": np.array([64] * 20), "mode": np.array(["L"] * 20),
        "frames": np.array([16] * 18 + [12, 13]), "rate": np.array([8.0] * 20, np.float32),
    }  # fmt: skip
    assert MODALITY.spec(columns, resolution=None, channels=None) == SampleSpec("video", (1, 16, 64, 64), rate=8.0)
    chosen = MODALITY.spec(columns, resolution=32, channels=3, seconds=0.5)
    assert chosen == SampleSpec("video", (3, 4, 32, 32), rate=8.0)
    assert MODALITY.shapes(columns)[-1] == (1, 13, 64, 64)
