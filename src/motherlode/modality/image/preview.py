"""Pictures for people: sample grids and contact sheets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from motherlode.modality._sheet import TILE, crossed, lay_out, save
from motherlode.modality.image.decode import Unfit, decode, open_picture, quiet
from motherlode.modality.image.options import Clean

if TYPE_CHECKING:
    import torch

_GUTTER = 2
_PAPER = (246, 246, 244)
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
    lay_out([_tile(item) for item in media], path, captions, columns)


def _tile(media: bytes) -> Image.Image:
    """The picture at most a tile large, tiny ones enlarged by a whole factor; a crossed box where it cannot be read."""
    try:
        with quiet():
            image, _ = decode(open_picture(media, _LENIENT), _LENIENT, TILE)
    except Unfit:
        return crossed()
    image = image.convert("RGB")
    longest = max(image.size)
    if longest > TILE:
        image.thumbnail((TILE, TILE))
        return image
    zoom = max(1, TILE // longest)
    return image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
