"""Clips to file bytes: the lossless form that a dataset keeps, what `generate` writes, and what everybody can play.

Shape legend: C channels, F frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from motherlode.modality.video.decode import as_image, require_av

_MOST_RATE = 1000


def write_ffv1(clip_FHWC: NDArray[np.uint8], rate: float) -> bytes:
    """FFV1 in Matroska of uint8 (F, H, W, C); the same bytes for the same clip."""
    av = require_av()
    grey = clip_FHWC.shape[3] == 1
    buffer = BytesIO()
    with av.open(buffer, "w", format="matroska", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("ffv1", rate=_fraction(rate))
        stream.height, stream.width = clip_FHWC.shape[1:3]
        stream.pix_fmt = "gray" if grey else "bgr0"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"level": "3", "g": str(len(clip_FHWC)), "slicecrc": "0", "flags": "+bitexact"}
        for pixels_HWC in clip_FHWC:
            values = np.ascontiguousarray(pixels_HWC[:, :, 0] if grey else pixels_HWC)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(values, format="gray" if grey else "rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def _fraction(rate: float) -> Fraction:
    return Fraction(rate).limit_denominator(_MOST_RATE)


def encode(sample: NDArray[np.uint8], rate: float) -> bytes:
    """Lossless animated WebP of one uint8 sample (C, F, H, W)."""
    frames = [as_image(np.ascontiguousarray(frame.transpose(1, 2, 0))) for frame in sample.transpose(1, 0, 2, 3)]
    return animation(frames, rate, lossless=True)


def animation(frames: Sequence[Image.Image], rate: float, *, lossless: bool, quality: int = 80) -> bytes:
    """An endless animated WebP; the lengths of frames are whole milliseconds, their sum is not rounded."""
    ends = [round(1000 * (number + 1) / rate) for number in range(len(frames))]
    durations = [end - start for start, end in zip([0, *ends], ends)]
    buffer = BytesIO()
    first, *others = frames
    options: dict[str, Any] = {"lossless": True, "method": 2} if lossless else {"quality": quality, "method": 4}
    first.save(buffer, "WEBP", save_all=True, append_images=others, duration=durations, loop=0, exact=True, **options)
    return buffer.getvalue()


def write_mp4(clip_FHWC: NDArray[np.uint8], rate: float, *, quality: int = 23) -> bytes:
    """H.264 in MP4, as everybody sends it: YUV at a quarter of the colours; sides are made even by repeating an edge.

    Args:
        clip_FHWC: uint8.
        rate: frames a second.
        quality: constant rate factor, 0 (best) to 51.
    """
    av = require_av()
    height, width = (side + side % 2 for side in clip_FHWC.shape[1:3])
    margins = ((0, 0), (0, height - clip_FHWC.shape[1]), (0, width - clip_FHWC.shape[2]), (0, 0))
    clip_FHWC = np.pad(clip_FHWC, margins, "edge")
    buffer = BytesIO()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=_fraction(rate))
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"crf": str(quality), "preset": "medium"}
        for pixels_HWC in clip_FHWC:
            values = np.ascontiguousarray(np.broadcast_to(pixels_HWC, (height, width, 3)))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(values, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()
