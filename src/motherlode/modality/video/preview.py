"""Clips for people: grids that move, and strips of frames for paper, pages and TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from motherlode import storage
from motherlode.modality._sheet import PAPER, TILE, crossed, lay_out, save, tiled
from motherlode.modality.image.decode import Unfit
from motherlode.modality.video.decode import as_image, open_film
from motherlode.modality.video.files import animation, write_mp4
from motherlode.modality.video.options import Clean
from motherlode.modality.video.shots import choose

if TYPE_CHECKING:
    import torch

_QUALITY = 18
_STRIP_CLIPS, _STRIP_FRAMES = 16, 8
_SHEET_FRAMES = 4
"""Frames of a clip on a contact sheet, two by two."""
_LENIENT = Clean(min_side=1, min_frames=2, frames=_SHEET_FRAMES, rate=4.0, cut=False, min_light=0.0, min_motion=0.0)


def grid(samples: torch.Tensor, path: Path, columns: int, rate: float) -> Path:
    """See `Modality.preview`: an animated WebP, beside it the same as MP4, and a film strip as PNG."""
    from motherlode.modality.image.tensors import denormalise

    clips_NCFHW = denormalise(samples.detach().float().cpu()).numpy()
    canvas_FHWC = tiled(clips_NCFHW, columns)
    path = path.with_suffix(".webp")
    _write(path, animation([Image.fromarray(frame) for frame in canvas_FHWC], rate, lossless=False))
    _write(path.with_suffix(".mp4"), write_mp4(canvas_FHWC, rate, quality=_QUALITY))
    save(strips(clips_NCFHW[:_STRIP_CLIPS]), path.with_suffix(".png"))
    return path


def _write(path: Path, media: bytes) -> None:
    with storage.atomic_path(path) as temporary:
        temporary.write_bytes(media)


def strips(clips_NCFHW: NDArray[np.uint8], most: int = _STRIP_FRAMES) -> Image.Image:
    """A row a clip: at most so many of its frames, evenly spaced."""
    channels, frames, height, width = clips_NCFHW.shape[1:]
    places = np.linspace(0, frames - 1, min(frames, most)).round().astype(np.int64)
    pictures = clips_NCFHW[:, :, places].swapaxes(1, 2).reshape(-1, channels, 1, height, width)
    return Image.fromarray(tiled(pictures, len(places))[0])


def contact_sheet(media: Sequence[bytes], path: Path, captions: Sequence[str], columns: int = 0) -> None:
    """See `Modality.contact_sheet`."""
    lay_out([_tile(item) for item in media], path, captions, columns)


def _tile(media: bytes) -> Image.Image:
    """Four frames of a clip, two by two; a crossed box where it cannot be read."""
    try:
        with open_film(media, _LENIENT) as film:
            clip = choose(film, _LENIENT, lambda pixels_HWC: pixels_HWC)
    except Unfit:
        return crossed()
    half = TILE // 2
    tile = Image.new("RGB", (TILE, TILE), PAPER)
    for number, frame_HWC in enumerate(clip.frames[:_SHEET_FRAMES]):
        image = as_image(frame_HWC).convert("RGB")
        zoom = min(half / image.width, half / image.height)
        image = image.resize((max(1, round(image.width * zoom)), max(1, round(image.height * zoom))))
        left, top = number % 2 * half, number // 2 * half
        tile.paste(image, (left + (half - image.width) // 2, top + (half - image.height) // 2))
    return tile
