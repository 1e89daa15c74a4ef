"""The form in which a picture is kept, and the arrays a model sees.

A file that needs no change is kept as the very bytes that came in. Otherwise it is written once: lossless files as PNG,
lossy ones as JPEG of the chosen quality.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from motherlode.errors import DatasetError
from motherlode.modality import SampleSpec
from motherlode.modality.image import png
from motherlode.modality.image.decode import Unfit, decode, open_picture, quiet
from motherlode.modality.image.options import Clean

KEPT_FORMATS = frozenset({"PNG", "JPEG", "WEBP"})
"""Formats every reader of datasets knows; others are written anew."""
MAX_PAD = 1.25
"""A picture at most this much smaller than what the model sees is padded, its pixels kept; else it is resized."""
_ANYTHING = Clean(max_pixels=178_956_970, min_side=1, max_aspect=1e9)
_TINY_PIXELS = 128 * 128
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def target_size(width: int, height: int, options: Clean) -> tuple[int, int]:
    """Width and height of the normal form of a picture of this size."""
    if options.size is not None:
        return options.size, options.size
    longest = max(width, height)
    if options.max_side is None or longest <= options.max_side:
        return width, height
    scale = options.max_side / longest
    return max(1, round(width * scale)), max(1, round(height * scale))


def shape(image: Image.Image, size: tuple[int, int], options: Clean) -> Image.Image:
    """Resize with antialiasing, cut or pad as `fit` says, and change the colour mode as `colour` says."""
    if image.size != size:
        if options.size is None or options.fit == "stretch":
            image = image.resize(size, Image.Resampling.BICUBIC)
        elif options.fit == "crop":
            image = image.resize(size, Image.Resampling.BICUBIC, box=middle(image.size, size))
        else:
            image = _letterbox(image, size, options.background)
    mode = {"keep": image.mode, "grey": "L", "rgb": "RGB"}[options.colour]
    return image if image.mode == mode else image.convert(mode)


def middle(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred box of the aspect of `wanted`."""
    scale = min(size[0] / wanted[0], size[1] / wanted[1])
    width, height = wanted[0] * scale, wanted[1] * scale
    left, top = (size[0] - width) / 2, (size[1] - height) / 2
    return left, top, left + width, top + height


def _letterbox(image: Image.Image, size: tuple[int, int], background: tuple[int, int, int]) -> Image.Image:
    scale = min(size[0] / image.width, size[1] / image.height)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    canvas = Image.new("RGB", size, background).convert(image.mode)
    canvas.paste(
        image.resize(inner, Image.Resampling.BICUBIC),
        ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2),
    )
    return canvas


def write(image: Image.Image, options: Clean, *, lossy: bool) -> bytes:
    """File bytes of an "L" or "RGB" image."""
    chosen = options.encode if options.encode != "auto" else ("jpeg" if lossy else "png")
    buffer = BytesIO()
    if chosen == "png":
        if image.width * image.height <= _TINY_PIXELS:
            return png.write(np.asarray(image).reshape(image.height, image.width, -1))
        image.save(buffer, "PNG")
    elif chosen == "jpeg":
        subsampling = 0 if options.quality >= 90 else 2
        image.save(buffer, "JPEG", quality=options.quality, subsampling=subsampling)
    else:
        image.save(buffer, "WEBP", quality=options.quality)
    return buffer.getvalue()


def encode(sample: NDArray[np.uint8]) -> bytes:
    """A lossless PNG of one uint8 sample (C, H, W)."""
    pixels_HWC = np.ascontiguousarray(sample.transpose(1, 2, 0))
    if pixels_HWC.shape[0] * pixels_HWC.shape[1] <= _TINY_PIXELS:
        return png.write(pixels_HWC)
    buffer = BytesIO()
    Image.fromarray(pixels_HWC[:, :, 0] if pixels_HWC.shape[2] == 1 else pixels_HWC).save(buffer, "PNG")
    return buffer.getvalue()


def read(media: bytes, spec: SampleSpec) -> NDArray[np.uint8]:
    """One file as uint8 (C, H, W) of `spec.shape`.

    A picture of the size asked for comes out as it is; one at most a quarter smaller is padded with the colour of its
    corners; any other is scaled to cover and its middle kept.

    Raises:
        DatasetError: the bytes are not a picture that can be read.
    """
    channels, height, width = spec.shape
    if channels not in _MODES:
        raise DatasetError("a picture has 1, 3 or 4 channels", channels, "set `data.channels` to 1 or 3")
    pixels_HWC = _pixels(media, channels, min(height, width))
    if pixels_HWC.shape[:2] != (height, width):
        pixels_HWC = _fit(pixels_HWC, height, width)
    return np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1))


def _pixels(media: bytes, channels: int, least_side: int) -> NDArray[np.uint8]:
    try:
        tiny = read_tiny(media)
        if tiny is not None and tiny.shape[2] == channels:
            return tiny
        with quiet():
            image, _ = decode(open_picture(media, _ANYTHING), _ANYTHING, least_side)
    except (Unfit, png.PngError) as error:
        raise DatasetError("a dataset's pictures must be readable", str(error), "prepare the dataset again") from error
    if image.mode != _MODES[channels]:
        image = image.convert(_MODES[channels])
    return np.asarray(image).reshape(image.height, image.width, channels)


def read_tiny(media: bytes) -> NDArray[np.uint8] | None:
    """Pixels (H, W, C) of a small plain PNG without Pillow, or None where Pillow should read it."""
    if not media.startswith(png.SIGNATURE) or len(media) > 4 * _TINY_PIXELS:
        return None
    file = png.parse(media)
    if not file.channels or file.width * file.height > _TINY_PIXELS:
        return None
    from motherlode.modality.image import kernels

    pixels = np.empty(file.height * file.width * file.channels, np.uint8)
    rows = np.frombuffer(file.inflate(), np.uint8)
    if not kernels.unfilter(rows, file.height, file.width, file.channels, pixels):
        raise png.PngError("undecodable")
    return pixels.reshape(file.height, file.width, file.channels)


def _fit(pixels_HWC: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    have_y, have_x, channels = pixels_HWC.shape
    if have_y <= height <= have_y * MAX_PAD and have_x <= width <= have_x * MAX_PAD:
        corners_4C = pixels_HWC[[0, 0, -1, -1], [0, -1, 0, -1]]
        canvas = np.empty((height, width, channels), np.uint8)
        canvas[:] = np.median(corners_4C, axis=0).astype(np.uint8)
        top, left = (height - have_y) // 2, (width - have_x) // 2
        canvas[top : top + have_y, left : left + have_x] = pixels_HWC
        return canvas
    image = Image.fromarray(pixels_HWC[:, :, 0] if channels == 1 else pixels_HWC)
    resized = image.resize((width, height), Image.Resampling.BICUBIC, box=middle(image.size, (width, height)))
    return np.asarray(resized).reshape(height, width, channels)
