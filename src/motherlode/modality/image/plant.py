"""Copies as they come about in the wild, planted to see whether the duplicate finder finds them."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

from PIL import Image, ImageEnhance

CROP = 0.05
"""Share of each side that a crop takes away."""
RESIZE = 0.75
BRIGHTNESS = 1.2
_JPEG = 30
_QUALITY = 92


def plant(media: bytes) -> dict[str, bytes]:
    """One altered copy of a picture of normal form for each way of altering."""
    with Image.open(BytesIO(media)) as opened:
        lossy = opened.format != "PNG"
        image = opened.convert("L" if opened.mode == "L" else "RGB")
    return {name: _save(change(image), name, lossy) for name, change in _CHANGES.items()}


def _resize(image: Image.Image) -> Image.Image:
    return image.resize((max(1, round(image.width * RESIZE)), max(1, round(image.height * RESIZE))))


def _crop(image: Image.Image) -> Image.Image:
    left, top = max(1, round(image.width * CROP / 2)), max(1, round(image.height * CROP / 2))
    return image.crop((left, top, image.width - left, image.height - top))


_CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "resized to 3/4": _resize,
    "JPEG at quality 30": lambda image: image,
    "cropped by 5 %": _crop,
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "brightened by 20 %": lambda image: ImageEnhance.Brightness(image).enhance(BRIGHTNESS),
}


def _save(image: Image.Image, name: str, lossy: bool) -> bytes:
    buffer = BytesIO()
    if name.startswith("JPEG"):
        image.save(buffer, "JPEG", quality=_JPEG)
    elif lossy:
        image.save(buffer, "JPEG", quality=_QUALITY)
    else:
        image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
