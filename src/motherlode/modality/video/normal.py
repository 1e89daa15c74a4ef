"""The form in which a clip is kept, the arrays a model sees, and the file that `generate` writes.

Kept is FFV1 in Matroska: lossless, decoded to the same values everywhere, the archives' own format. Measured on clips
of 16 frames (bytes; milliseconds to write and to read, one core):

| clips | FFV1 | H.264, lossless | WebP, lossless, method 4 | animated PNG |
|---|---|---|---|---|
| real, 128x128 | 286,430; 15, 19 | 339,988; 55, 39 | 326,309; 258, 7 | 424,813; 64, 8 |
| real, 64x64 | 90,533; 5, 8 | 98,098; 15, 14 | 99,934; 85, 2 | 125,655; 10, 3 |
| a drawn item moving on black, 32x32 grey | 4,429; 1.8, .5 | 1,758; 1.3, .6 | 4,757; 2.4, .5 | 4,602; .9, .4 |

H.264 wins where still pictures are pushed about, and loses on what cameras film. WebP and PNG also merge equal frames.
What `generate` writes is lossless animated WebP, which every browser plays and which has room for provenance.

Shape legend: C channels, F frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from motherlode.errors import DatasetError
from motherlode.modality import SampleSpec
from motherlode.modality.image.decode import Unfit
from motherlode.modality.image.normal import middle
from motherlode.modality.video.decode import as_image, as_pixels, open_film
from motherlode.modality.video.options import Clean
from motherlode.modality.video.shots import at_rate

DEFAULT_RATE = 8.0
"""Frames a second of clips that say nothing of it."""
GREY_LEVELS = 3
"""A clip none of whose pixels has channels further apart is grey: so far a grey film strays through YUV and back."""
_ANYTHING = Clean(max_pixels=178_956_970, min_side=1, max_seconds=3600.0)
_CHANNELS = (1, 3)


def target_size(width: int, height: int, options: Clean) -> tuple[int, int]:
    """Width and height of the normal form of a frame of this size."""
    if options.resolution is not None:
        return options.resolution, options.resolution
    longest = max(width, height)
    if options.max_side is None or longest <= options.max_side:
        return width, height
    scale = options.max_side / longest
    return max(1, round(width * scale)), max(1, round(height * scale))


def shape(pixels_HWC: NDArray[np.uint8], options: Clean) -> NDArray[np.uint8]:
    """Resize with antialiasing, cut or pad as `fit` says, and change colour as `colour` says."""
    height, width = pixels_HWC.shape[:2]
    size = target_size(width, height, options)
    wanted = {"grey": "L", "rgb": "RGB"}.get(options.colour)
    if size == (width, height) and (wanted is None or wanted == ("L" if pixels_HWC.shape[2] == 1 else "RGB")):
        return pixels_HWC
    image = as_image(pixels_HWC)
    if size != image.size:
        image = _resized(image, size, options)
    return as_pixels(image if wanted is None or wanted == image.mode else image.convert(wanted))


def _resized(image: Image.Image, size: tuple[int, int], options: Clean) -> Image.Image:
    if options.resolution is None or options.fit == "stretch":
        return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    if options.fit == "crop":
        return image.resize(size, Image.Resampling.BICUBIC, box=middle(image.size, size), reducing_gap=3.0)
    scale = min(size[0] / image.width, size[1] / image.height)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    canvas = Image.new(image.mode, size)
    canvas.paste(
        image.resize(inner, Image.Resampling.BICUBIC, reducing_gap=3.0),
        ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2),
    )
    return canvas


def stack(frames: Sequence[NDArray[np.uint8]], options: Clean) -> NDArray[np.uint8]:
    """Frames (H, W, C) as one clip (F, H, W, C), grey where it is grey from end to end."""
    channels = max(frame.shape[2] for frame in frames)
    clip_FHWC = np.stack([np.broadcast_to(frame, (*frame.shape[:2], channels)) for frame in frames])
    if channels == 3 and options.colour == "keep" and _is_grey(clip_FHWC):
        return clip_FHWC[..., 1:2]
    return clip_FHWC


def _is_grey(clip_FHWC: NDArray[np.uint8]) -> bool:
    return bool((np.ptp(clip_FHWC, axis=3) <= GREY_LEVELS).all())


def read(media: bytes, spec: SampleSpec) -> NDArray[np.uint8]:
    """One file as uint8 (C, F, H, W) of `spec.shape`, at `spec.rate` frames a second.

    Of a longer clip the middle is taken; the last frame of a shorter one is held. Frames of another size are scaled to
    cover, and their middle kept.

    Raises:
        DatasetError: the bytes are no video that can be read, or the shape is none of a clip.
    """
    channels, num_frames, height, width = spec.shape
    if channels not in _CHANNELS:
        raise DatasetError("a clip has 1 or 3 channels", channels, "set `data.channels` to 1 or 3")
    try:
        with open_film(media, _ANYTHING) as film:
            rate = spec.rate or film.header.rate or DEFAULT_RATE
            shown = at_rate(film.frames, rate)
            frames = [_fitted(frame.pixels(), channels, height, width) for frame in islice(shown, _most(num_frames))]
    except Unfit as error:
        raise DatasetError("a dataset's clips must be readable", str(error), "prepare the dataset again") from error
    if not frames:
        raise DatasetError("a clip must have frames", "none", "prepare the dataset again")
    first = max(0, (len(frames) - num_frames) // 2)
    chosen = frames[first : first + num_frames]
    chosen += [chosen[-1]] * (num_frames - len(chosen))
    return np.ascontiguousarray(np.stack(chosen).transpose(3, 0, 1, 2))


def _most(num_frames: int) -> int:
    """Frames that are read to find the middle of a file: whole where it is a normal form, bounded where it is not."""
    return max(4 * num_frames, 1024)


def _fitted(pixels_HWC: NDArray[np.uint8], channels: int, height: int, width: int) -> NDArray[np.uint8]:
    if pixels_HWC.shape == (height, width, channels):
        return pixels_HWC
    image = as_image(pixels_HWC)
    if image.size != (width, height):
        box = middle(image.size, (width, height))
        image = image.resize((width, height), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    mode = "L" if channels == 1 else "RGB"
    return as_pixels(image if image.mode == mode else image.convert(mode))
