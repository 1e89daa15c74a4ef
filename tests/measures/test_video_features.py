"""Oracles: nothing, steady change, alternation, noise, known moves, shuffled time, known Gaussians."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from motherlode.errors import MeasureError
from motherlode.measures.features import find_extractor
from motherlode.measures.frechet import frechet_distance
from motherlode.measures.panels import extractor_of, panel_of
from motherlode.measures.video_features import (
    FrameExtractor,
    MotionExtractor,
    find_video_extractor,
    flicker_of,
    flow_of,
    luma_of,
)
from motherlode.measures.video_panel import VideoPanel
from motherlode.modality import SampleSpec

SPEC = SampleSpec("video", (1, 8, 32, 32), rate=8.0)


def moving(num: int, step: tuple[int, int] = (0, 1), seed: int = 0, frames: int = 8) -> np.ndarray:
    """uint8 (N, 1, F, 32, 32): random textures that move by whole pixels."""
    rng = np.random.default_rng(seed)
    wide = 32 + 3 * frames
    pictures = rng.integers(0, 256, (num, 2 * wide, 2 * wide)).astype(np.float32)
    smooth = (pictures + np.roll(pictures, 1, 1) + np.roll(pictures, 1, 2) + np.roll(pictures, (1, 1), (1, 2))) / 4
    clips = np.empty((num, 1, frames, 32, 32), np.uint8)
    for t in range(frames):
        top, left = wide - step[0] * t, wide - step[1] * t
        clips[:, 0, t] = smooth[:, top : top + 32, left : left + 32]
    return clips


class Rows:
    """A pool of clips in memory."""

    identity = None

    def __init__(self, clips: np.ndarray, description: str) -> None:
        self.clips, self.description = clips, description

    def __len__(self) -> int:
        return len(self.clips)

    def take(self, rows: np.ndarray) -> np.ndarray:
        return self.clips[rows]


@pytest.mark.parametrize("step", [(0, 0), (0, 1), (0, -2), (3, 0), (-1, 2)])
def test_blocks_are_found_where_they_went(step: tuple[int, int]) -> None:
    flow = flow_of(luma_of(torch.from_numpy(moving(4, step))))
    assert flow.shape == (4, 7, 2, 16)
    inner = flow[..., [5, 6, 9, 10]]  # of the others a part may have left the picture
    assert torch.equal(inner, torch.tensor(step).float().view(1, 1, 2, 1).expand_as(inner))


def test_flat_clips_do_not_move() -> None:
    flat = torch.full((2, 1, 5, 32, 32), 90, dtype=torch.uint8)
    assert not flow_of(luma_of(flat)).any()
    assert not MotionExtractor()(flat).features_ND.any()


def test_flicker_in_closed_form() -> None:
    rng = np.random.default_rng(0)
    time = np.arange(12).reshape(1, 1, 12, 1, 1)
    still = np.broadcast_to(np.uint8(80), (1, 3, 12, 16, 16))
    assert flicker_of(still.copy())[0] == 0
    assert flicker_of(np.broadcast_to((10 * time).astype(np.uint8), (1, 1, 12, 8, 8)).copy())[0] == 0
    assert flicker_of(np.broadcast_to((100 + 7 * (-1) ** time).astype(np.uint8), (1, 1, 12, 8, 8)).copy())[0] == 28
    noise = np.clip(np.rint(rng.normal(128, 20, (4, 1, 12, 64, 64))), 0, 255).astype(np.uint8)
    assert flicker_of(noise).mean() == pytest.approx(20 * math.sqrt(12 / math.pi), rel=0.01)
    assert flicker_of(noise[:, :, :2]).tolist() == [0, 0, 0, 0]


def test_identical_clips_are_at_distance_nothing() -> None:
    clips = moving(150)
    for extractor in (find_video_extractor("raw-pixels"), MotionExtractor()):
        features = extractor(clips).features_ND
        assert frechet_distance(features, features) == pytest.approx(0, abs=1e-6)


def test_shuffled_time_is_seen_by_motion_alone() -> None:
    """Frames and their means stay what they are; nothing moves as it did."""
    clips, others = moving(300), moving(300, seed=1)
    order = np.random.default_rng(2).permuted(np.tile(np.arange(8), (300, 1)), axis=1)
    shuffled = np.take_along_axis(others, order[:, None, :, None, None], axis=2)
    frames, motion = find_video_extractor("raw-pixels?frames=8"), MotionExtractor()
    assert np.allclose(frames(shuffled).features_ND, frames(others).features_ND, atol=1e-5)

    def distance(extractor: object, made: np.ndarray) -> float:
        return frechet_distance(extractor(made).features_ND, extractor(clips).features_ND)  # type: ignore[operator]

    assert distance(frames, shuffled) == pytest.approx(distance(frames, others), rel=1e-4)
    assert distance(motion, shuffled) > 20 * distance(motion, others)


def test_motion_tells_directions_apart() -> None:
    motion = MotionExtractor()
    left, right, again = (
        motion(moving(200, step, seed)).features_ND for step, seed in (((0, -1), 3), ((0, 1), 4), ((0, 1), 5))
    )
    # Two pixels apart in the mean of the columns of each of 16 blocks: 16 * 2² and a little for the edges.
    assert frechet_distance(left, right) == pytest.approx(64, rel=0.25)
    assert frechet_distance(right, again) < 1


def test_known_gaussians_through_frames() -> None:
    """Clips whose every pixel is a mean plus noise: the distance of the means is the distance."""
    rng = np.random.default_rng(6)

    def clips(mean: float) -> np.ndarray:
        level = rng.normal(mean, 10, (4000, 1, 1, 1, 1))
        return np.broadcast_to(np.clip(np.rint(level), 0, 255).astype(np.uint8), (4000, 1, 3, 2, 2)).copy()

    frames = find_video_extractor("raw-pixels?resize=2")
    found = frechet_distance(frames(clips(100)).features_ND, frames(clips(130)).features_ND)
    assert found == pytest.approx(4 * (30 / 127.5) ** 2, rel=0.06)


def test_names_and_faults() -> None:
    assert find_video_extractor("frames-raw-pixels?frames=2&resize=8").resize == "bilinear 8"
    assert find_video_extractor("raw-pixels").name == "frames-raw-pixels"
    assert find_video_extractor("motion").name == "motion"
    assert isinstance(find_video_extractor(find_extractor("raw-pixels")), FrameExtractor)
    assert isinstance(extractor_of("motion", SPEC), MotionExtractor)
    assert extractor_of("raw-pixels", SampleSpec("image", (1, 8, 8))).name == "raw-pixels"
    assert panel_of("video") is VideoPanel
    with pytest.raises(MeasureError, match="frames"):
        find_video_extractor("raw-pixels?frames=none")
    with pytest.raises(MeasureError, match="uint8"):
        MotionExtractor()(np.zeros((2, 1, 8, 8), np.uint8))
    two = find_video_extractor("raw-pixels?frames=2").fingerprint
    assert two != find_video_extractor("raw-pixels").fingerprint


def test_a_panel_of_clips() -> None:
    made, real, train = (
        Rows(moving(120, (0, 2), 7), "made"),
        Rows(moving(120, seed=8), "real"),
        Rows(moving(200, seed=9), "train"),
    )
    panel = VideoPanel(made, real, train, find_video_extractor("raw-pixels"), 120)
    found = panel.take()
    assert {"frechet", "frechet_motion", "frechet_motion_floor", "flicker", "flicker_real", "copies"} <= set(found)
    assert found["frechet_motion"].value > 10 * found["frechet_motion_floor"].value
    assert found["frechet_motion"].extractor == "motion"
    assert found["flicker"].low < found["flicker"].value < found["flicker"].high
    assert set(panel.take(("motion",))) == {"frechet_motion", "frechet_motion_floor"}
    with pytest.raises(MeasureError, match="not one of such data"):
        panel.take(("inception_score",))
