"""Copies as they come about in the wild, planted to see whether the duplicate finder finds them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality.video.decode import as_image, as_pixels, open_film
from motherlode.modality.video.files import write_ffv1, write_mp4
from motherlode.modality.video.normal import DEFAULT_RATE
from motherlode.modality.video.options import Clean

RESIZE = 0.75
TRIM = 1 / 8
BRIGHTNESS = 1.2
_QUALITY = 30
"""H.264's constant rate factor: visibly lossy."""
_ANYTHING = Clean(min_side=1)


def plant(media: bytes) -> dict[str, bytes]:
    """One altered copy of a clip of normal form for each way of altering."""
    with open_film(media, _ANYTHING) as film:
        rate = film.header.rate or DEFAULT_RATE
        clip_FHWC = np.stack([frame.pixels() for frame in film.frames])
    cut = max(1, round(len(clip_FHWC) * TRIM))
    brighter = np.clip(np.rint(clip_FHWC * BRIGHTNESS), 0, 255).astype(np.uint8)
    return {
        "re-encoded as H.264": write_mp4(clip_FHWC, rate, quality=_QUALITY),
        "resized to 3/4": write_ffv1(_resized(clip_FHWC), rate),
        "trimmed by an eighth": write_ffv1(clip_FHWC[cut:], rate),
        "mirrored": write_ffv1(np.ascontiguousarray(clip_FHWC[:, :, ::-1]), rate),
        "brightened by 20 %": write_ffv1(brighter, rate),
    }


def _resized(clip_FHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = (max(1, round(side * RESIZE)) for side in clip_FHWC.shape[1:3])
    return np.stack([as_pixels(as_image(frame).resize((width, height))) for frame in clip_FHWC])
