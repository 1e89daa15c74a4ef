"""Pictures for people: sample grids and contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from motherlode.modality._sheet import TILE, crossed, lay_out, save, tiled
from motherlode.modality.image.decode import Unfit, decode, open_picture, quiet
from motherlode.modality.image.options import Clean

if TYPE_CHECKING:
    import torch

_LENIENT = Clean(min_side=1, max_aspect=1e9)


def grid(samples: torch.Tensor, path: Path, columns: int) -> None:
    """See `Modality.preview`."""
    from motherlode.modality.image.tensors import denormalise

    pixels_NCHW = denormalise(samples.detach().float().cpu()).numpy()
    save(Image.fromarray(tiled(pixels_NCHW[:, :, None], columns)[0]), path)


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
