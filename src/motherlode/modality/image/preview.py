"""Pictures for people: sample grids and contact sheets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from motherlode import storage
from motherlode.modality.image.decode import Unfit, decode, open_picture, quiet
from motherlode.modality.image.options import Clean

if TYPE_CHECKING:
    import torch

_GUTTER = 2
_PAPER = (246, 246, 244)
_INK = (90, 90, 96)
_BROKEN = (196, 70, 60)
_TILE = 112
_CAPTION_HEIGHT = 16
_LEAST_TILE = 64
_LENIENT = Clean(min_side=1, max_aspect=1e9)


def grid(samples: torch.Tensor, path: Path, columns: int) -> None:
    """See `Modality.preview`."""
    from motherlode.modality.image.tensors import denormalise

    pixels_NCHW = denormalise(samples.detach().float().cpu()).numpy()
    num, channels, height, width = pixels_NCHW.shape
    columns = columns or max(1, math.ceil(math.sqrt(num)))
    zoom = max(1, round(_LEAST_TILE / max(height, width)))
    step_y, step_x = height * zoom + _GUTTER, width * zoom + _GUTTER
    rows = max(1, math.ceil(num / columns))
    canvas = np.empty((rows * step_y + _GUTTER, columns * step_x + _GUTTER, 3), np.uint8)
    canvas[:] = _PAPER
    for i in range(num):
        tile_HWC = pixels_NCHW[i, :3].transpose(1, 2, 0) if channels >= 3 else pixels_NCHW[i, 0][:, :, None]
        top, left = _GUTTER + i // columns * step_y, _GUTTER + i % columns * step_x
        canvas[top : top + height * zoom, left : left + width * zoom] = tile_HWC.repeat(zoom, 0).repeat(zoom, 1)
    save(Image.fromarray(canvas), path)


def contact_sheet(media: Sequence[bytes], path: Path, captions: Sequence[str], columns: int = 0) -> None:
    """See `Modality.contact_sheet`."""
    columns = columns or max(1, min(len(media), math.ceil(math.sqrt(len(media) * 1.6))))
    rows = max(1, math.ceil(len(media) / columns))
    step_x = _TILE + 2 * _GUTTER
    step_y = step_x + (_CAPTION_HEIGHT if any(captions) else 0)
    sheet = Image.new("RGB", (columns * step_x + _GUTTER, rows * step_y + _GUTTER), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(11)
    for i, item in enumerate(media):
        left, top = _GUTTER + i % columns * step_x, _GUTTER + i // columns * step_y
        tile = _tile(item)
        sheet.paste(tile, (left + (_TILE - tile.width) // 2, top + (_TILE - tile.height) // 2))
        if i < len(captions) and captions[i]:
            draw.text((left, top + _TILE + 1), _shorten(captions[i], font), fill=_INK, font=font)
    save(sheet, path)


def _tile(media: bytes) -> Image.Image:
    """The picture at most a tile large, tiny ones enlarged by a whole factor; a crossed box where it cannot be read."""
    try:
        with quiet():
            image, _ = decode(open_picture(media, _LENIENT), _LENIENT, _TILE)
    except Unfit:
        return _crossed()
    image = image.convert("RGB")
    longest = max(image.size)
    if longest > _TILE:
        image.thumbnail((_TILE, _TILE))
        return image
    zoom = max(1, _TILE // longest)
    return image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)


def _crossed() -> Image.Image:
    tile = Image.new("RGB", (_TILE, _TILE), _PAPER)
    draw = ImageDraw.Draw(tile)
    edge = _TILE - 1
    draw.rectangle((0, 0, edge, edge), outline=_BROKEN)
    draw.line((0, 0, edge, edge), fill=_BROKEN)
    draw.line((0, edge, edge, 0), fill=_BROKEN)
    return tile


def _shorten(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    text = " ".join(text.split())
    while text and font.getlength(text) > _TILE:
        text = text[:-2].rstrip() + "…" if len(text) > 2 else ""
    return text


def save(image: Image.Image, path: Path) -> None:
    """Write an image as PNG, atomically."""
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=False)
    with storage.atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
