"""Grids, and contact sheets: small pictures in rows, each with a caption, whatever the samples are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from motherlode import storage

TILE = 112
"""Longest side of a picture on a sheet, in pixels."""
_GUTTER = 2
_LEAST_TILE = 64
PAPER = (246, 246, 244)
_INK = (90, 90, 96)
_BROKEN = (196, 70, 60)
_CAPTION_HEIGHT = 16


def tiled(clips_NCFHW: NDArray[np.uint8], columns: int = 0) -> NDArray[np.uint8]:
    """Clips side by side, (F, H, W, 3); small ones enlarged by a whole factor; a picture is a clip of one frame."""
    num, channels, frames, height, width = clips_NCFHW.shape
    columns = columns or max(1, math.ceil(math.sqrt(num)))
    zoom = max(1, round(_LEAST_TILE / max(height, width)))
    step_y, step_x = height * zoom + _GUTTER, width * zoom + _GUTTER
    rows = max(1, math.ceil(num / columns))
    canvas = np.empty((frames, rows * step_y + _GUTTER, columns * step_x + _GUTTER, 3), np.uint8)
    canvas[:] = PAPER
    for i in range(num):
        tile_FHWC = clips_NCFHW[i, : 3 if channels >= 3 else 1].transpose(1, 2, 3, 0)
        top, left = _GUTTER + i // columns * step_y, _GUTTER + i % columns * step_x
        canvas[:, top : top + height * zoom, left : left + width * zoom] = tile_FHWC.repeat(zoom, 1).repeat(zoom, 2)
    return canvas


def lay_out(tiles: Sequence[Image.Image], path: Path, captions: Sequence[str], columns: int = 0) -> None:
    """Write tiles, none larger than `TILE`, in rows as one PNG."""
    columns = columns or max(1, min(len(tiles), math.ceil(math.sqrt(len(tiles) * 1.6))))
    rows = max(1, math.ceil(len(tiles) / columns))
    step_x = TILE + 2 * _GUTTER
    step_y = step_x + (_CAPTION_HEIGHT if any(captions) else 0)
    sheet = Image.new("RGB", (columns * step_x + _GUTTER, rows * step_y + _GUTTER), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(11)
    for i, tile in enumerate(tiles):
        left, top = _GUTTER + i % columns * step_x, _GUTTER + i // columns * step_y
        sheet.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
        if i < len(captions) and captions[i]:
            draw.text((left, top + TILE + 1), _shorten(captions[i], font), fill=_INK, font=font)
    save(sheet, path)


def crossed() -> Image.Image:
    """What stands for a sample that cannot be shown: a crossed box."""
    tile = Image.new("RGB", (TILE, TILE), PAPER)
    draw = ImageDraw.Draw(tile)
    edge = TILE - 1
    draw.rectangle((0, 0, edge, edge), outline=_BROKEN)
    draw.line((0, 0, edge, edge), fill=_BROKEN)
    draw.line((0, edge, edge, 0), fill=_BROKEN)
    return tile


def _shorten(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> str:
    text = " ".join(text.split())
    while text and font.getlength(text) > TILE:
        text = text[:-2].rstrip() + "…" if len(text) > 2 else ""
    return text


def save(image: Image.Image, path: Path) -> None:
    """Write an image as PNG, atomically."""
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=False)
    with storage.atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
