"""Features of clips: what frames look like, and how they move. They carry the names that every number must show.

| name | of what | features |
|---|---|---|
| `frames-NAME` | a picture extractor's features, their mean over frames | NAME's |
| `motion` | where 8x8 blocks of a 32x32 clip went, how much changed, and how unevenly: ours, always there | 96 |

`frames-efficientnet-lite0?frames=16` looks at 16 frames of a clip (default: 4). Motion is found by block matching, the
oldest of its kind: each block is sought within three pixels in the next frame, the least sum of absolute differences
wins, and of equals the shortest move. It sees that things move and whither; frames see what they are, in any order.

Shape legend: N clips, C channels, F frames, H height, W width, B blocks, S shifts, D features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from motherlode import storage
from motherlode.errors import MeasureError
from motherlode.measures.features import Extractor, Features, as_bytes, find_extractor, workers

FRAMES = 4
SIDE = 32
BLOCK = 8
REACH = 3
"""Pixels of 32 that a block is sought within, each way."""
PENALTY = 0.05
"""Grey levels a pixel of a move costs, so that what is flat stays where it is."""
LEVELS_A_PIXEL = 16.0
"""A change by all of black to white weighs as much as a move of so many pixels."""
_LUMA = (0.299, 0.587, 0.114)
_BATCH = 64
_NUM_MOTION = 96


def as_clips(samples: Any) -> Tensor:
    """uint8 (N, C, F, H, W) as a tensor; see `features.as_bytes`."""
    return as_bytes(samples, "clips", "N, C, F, H, W")


class FrameExtractor:
    """The mean over frames of a picture extractor's features; see `measures.features.Extractor`.

    Args:
        pictures: extracts the features of frames.
        num_frames: frames of a clip that are looked at, at an even step; all where it has no more.
    """

    published = False

    def __init__(self, pictures: Extractor, num_frames: int = FRAMES) -> None:
        self.pictures, self.num_frames = pictures, num_frames
        self.name = f"frames-{pictures.name}"
        self.dtype, self.resize = pictures.dtype, pictures.resize
        self.num_features = pictures.num_features
        self.fingerprint = storage.hash_bytes(f"{self.name} {num_frames} {pictures.fingerprint}".encode())

    def __call__(self, samples: Any) -> Features:
        """Features of uint8 clips (N, C, F, H, W)."""
        clips = as_clips(samples)
        num, frames = clips.shape[0], clips.shape[2]
        places = torch.linspace(0, frames - 1, min(self.num_frames, frames)).round().long()
        pictures = clips[:, :, places].transpose(1, 2).flatten(0, 1)
        features_ND = self.pictures(pictures).features_ND
        self.num_features = features_ND.shape[1]
        return Features(features_ND.reshape(num, len(places), -1).mean(axis=1), None)

    def layers(self, samples: Any) -> list[Tensor]:
        """None: there is no perceptual distance of clips here."""
        return []


class MotionExtractor:
    """Where blocks go, how much changes, and how unevenly; see `measures.features.Extractor`."""

    name, dtype, resize, published = "motion", "float32", f"area {SIDE}", False
    num_features = _NUM_MOTION

    def __init__(self) -> None:
        settings = f"{self.name} 1 {SIDE} {BLOCK} {REACH} {PENALTY}"
        self.fingerprint = storage.hash_bytes(settings.encode())

    def __call__(self, samples: Any) -> Features:
        """Features of uint8 clips (N, C, F, H, W), 64 at a time."""
        clips = as_clips(samples)
        batches = torch.split(clips, _BATCH) if len(clips) else ()
        if not batches:
            raise MeasureError("an extractor needs at least one sample", 0, "give more samples")
        with workers(torch.device("cpu"), len(batches)) as each:
            return Features(np.concatenate([part.numpy() for part in each(_motion, batches)]), None)

    def layers(self, samples: Any) -> list[Tensor]:
        """None: there is no perceptual distance of clips here."""
        return []


def find_video_extractor(source: Any = "auto") -> Extractor:
    """The extractor of clips that a recipe or a user means.

    Args:
        source: what `find_extractor` takes, with or without "frames-" before it; its option `frames`; or "motion".

    Raises:
        MeasureError: unknown name or option.
    """
    if isinstance(source, FrameExtractor | MotionExtractor):
        return source
    if source == MotionExtractor.name:
        return MotionExtractor()
    if not isinstance(source, str):
        return FrameExtractor(find_extractor(source))
    name, mark, query = source.removeprefix("frames-").partition("?")
    options = [part for part in query.split("&") if part]
    frames = [part.partition("=")[2] for part in options if part.startswith("frames=")]
    others = "&".join(part for part in options if not part.startswith("frames="))
    if frames and not (frames[-1].isdecimal() and int(frames[-1])):
        raise MeasureError("`frames` is how many frames of a clip are looked at", frames[-1], "e.g. frames=16")
    pictures = find_extractor(name + mark + others if others else name)
    return FrameExtractor(pictures, int(frames[-1]) if frames else FRAMES)


@torch.inference_mode()
def _motion(clips: Tensor) -> Tensor:
    luma_NFHW = luma_of(clips)
    num, frames = luma_NFHW.shape[:2]
    if frames < 2:
        return torch.zeros(num, _NUM_MOTION)
    flow_NF2B = flow_of(luma_NFHW)
    spread = flow_NF2B.std(dim=1, correction=0)
    change = _mapped(luma_NFHW.diff(dim=1).abs())
    uneven = _mapped(luma_NFHW.diff(n=2, dim=1).abs()) if frames > 2 else torch.zeros_like(change)
    scale = LEVELS_A_PIXEL / 255.0
    return torch.cat([flow_NF2B.mean(dim=1).flatten(1), spread.flatten(1), change * scale, uneven * scale], dim=1)


def luma_of(clips: Tensor) -> Tensor:
    """Luma of uint8 clips at 32x32, float32 (N, F, 32, 32) in grey levels."""
    num, channels, frames = clips.shape[:3]
    weights = torch.tensor(_LUMA if channels >= 3 else (1.0,)).view(1, -1, 1, 1, 1)
    luma = (clips[:, : weights.shape[1]].float() * weights).sum(dim=1)
    flat = luma.view(num * frames, 1, *luma.shape[-2:])
    if min(flat.shape[-2:]) >= SIDE:
        flat = functional.adaptive_avg_pool2d(flat, SIDE)
    else:
        flat = functional.interpolate(flat, (SIDE, SIDE), mode="bilinear", align_corners=False)
    return flat.view(num, frames, SIDE, SIDE)


def flow_of(luma_NFHW: Tensor) -> Tensor:
    """Where each block of a frame lies in the next one: (N, F - 1, 2, B), rows and columns, in pixels of 32.

    Args:
        luma_NFHW: from `luma_of`.
    """
    num, frames = luma_NFHW.shape[:2]
    now = luma_NFHW[:, :-1].reshape(-1, 1, SIDE, SIDE)
    later = functional.pad(luma_NFHW[:, 1:].reshape(-1, 1, SIDE, SIDE), [REACH] * 4, mode="replicate")
    steps = range(-REACH, REACH + 1)
    shifts = sorted(((y, x) for y in steps for x in steps), key=lambda shift: shift[0] ** 2 + shift[1] ** 2)
    costs = []
    for y, x in shifts:
        moved = later[:, :, REACH + y : REACH + y + SIDE, REACH + x : REACH + x + SIDE]
        cost = functional.avg_pool2d((moved - now).abs(), BLOCK)
        costs.append(cost.flatten(1) + PENALTY * (y * y + x * x) ** 0.5)
    best_MB = torch.stack(costs).argmin(dim=0)
    flow_MB2 = torch.tensor(shifts, dtype=torch.float32)[best_MB]
    return flow_MB2.transpose(1, 2).reshape(num, frames - 1, 2, -1)


def _mapped(values_NFHW: Tensor) -> Tensor:
    """Mean over time of what happens in each block, (N, B)."""
    return functional.avg_pool2d(values_NFHW.mean(dim=1, keepdim=True), BLOCK).flatten(1)


def flicker_of(samples: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """How unevenly each clip changes: mean |x(t+1) − 2 x(t) + x(t−1)| over its values, in grey levels; float64 (N,).

    0 where nothing changes or all changes steadily; 4a where values alternate by ± a; σ √(12/π) for noise of
    deviation σ.
    """
    clips = as_clips(samples).to(torch.int16)
    if clips.shape[2] < 3:
        return np.zeros(len(clips))
    bend = clips[:, :, 2:] - 2 * clips[:, :, 1:-1] + clips[:, :, :-2]
    found: np.ndarray[Any, np.dtype[np.float64]] = bend.abs().double().mean(dim=(1, 2, 3, 4)).numpy()
    return found
