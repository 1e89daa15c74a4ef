"""Makes moving Fashion-MNIST: real items that glide over a black canvas, one direction a clip, with captions.

    python bench/make_video_sample.py --num 10000 --out datasets/raw/moving-fashion.parquet
    python bench/make_video_sample.py --num 240 --part t10k --out examples/data/moving-fashion.parquet

Each clip is 16 frames of 32x32 at 8 a second, H.264 in MP4: an item of Fashion-MNIST, shrunk to 20x20, moves left,
right, up or down all the way across, at any height or breadth. Columns: `video` (bytes and path), `label` (the item),
`caption` ("a sneaker moves left"). The file is the same wherever it is made, up to the encoder's version.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fashion import images, labels
from motherlode.modality.video.files import write_mp4
from motherlode.randomness import numpy_generator

ITEMS = ("t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
DIRECTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
CANVAS, ITEM, FRAMES, RATE = 32, 20, 16, 8.0
NUM = 10_000
"""Clips, of as many different items; those of the judge in `video_text.py` are none of them."""
QUALITY = 10
"""Constant rate factor: no loss that an eye sees."""


def caption_of(item: str, direction: str) -> str:
    """ "a sneaker moves left" """
    if item == "trousers":
        return f"trousers move {direction}"
    return f"{'an' if item[0] in 'aeiou' else 'a'} {item} moves {direction}"


def shrunk(item_HW: NDArray[np.uint8]) -> Image.Image:
    """An item at the size it has in clips."""
    return Image.fromarray(item_HW).resize((ITEM, ITEM), Image.Resampling.BICUBIC)


def clip_of(item_HW: NDArray[np.uint8], direction: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """uint8 (F, H, W, 1): the item moves all the way, smoothly, by parts of a pixel."""
    small, room = shrunk(item_HW), CANVAS - ITEM
    step_y, step_x = DIRECTIONS[direction]
    place = rng.uniform(0, room, 2)
    ends = rng.uniform(0, 0.15 * room), rng.uniform(0.85 * room, room)
    frames = []
    for share in np.linspace(0.0, 1.0, FRAMES):
        along = ends[0] + (ends[1] - ends[0]) * share
        top = place[0] if not step_y else (along if step_y > 0 else room - along)
        left = place[1] if not step_x else (along if step_x > 0 else room - along)
        frames.append(frame_of(small, top, left))
    return np.stack(frames)[..., None]


def frame_of(small: Image.Image, top: float, left: float) -> NDArray[np.uint8]:
    """uint8 (H, W): an item at a place, which may be between pixels."""
    matrix = (1.0, 0.0, -left, 0.0, 1.0, -top)
    return np.asarray(small.transform((CANVAS, CANVAS), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR))


def order_of(num: int, seed: int) -> NDArray[np.int64]:
    """In which order so many pictures become clips."""
    order: NDArray[np.int64] = numpy_generator(seed, "moving items").permutation(num)
    return order


def rows(part: str, num: int, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of the table, in random order of items."""
    pictures, numbers = images(part, 28).numpy()[:, 0], labels(part).numpy()
    order = order_of(len(pictures), seed)
    for number in range(num):
        rng = numpy_generator(seed, "moving clip", number)
        item = order[number % len(order)]
        name = ITEMS[int(numbers[item])]
        direction = list(DIRECTIONS)[int(rng.integers(len(DIRECTIONS)))]
        media = write_mp4(clip_of(pictures[item], direction, rng), RATE, quality=QUALITY)
        video = {"bytes": media, "path": f"{number:05d}.mp4"}
        yield {"video": video, "label": name, "caption": caption_of(name, direction)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num", type=int, default=NUM)
    parser.add_argument("--part", choices=("train", "t10k"), default="train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()

    import pyarrow as pa
    import pyarrow.parquet as pq

    media = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    schema = pa.schema({"video": media, "label": pa.string(), "caption": pa.string()})
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(rows(chosen.part, chosen.num, chosen.seed)), schema=schema)
    pq.write_table(table, chosen.out, row_group_size=256, compression="zstd")
    print(f"{chosen.num:,} clips, {chosen.out.stat().st_size:,} bytes: {chosen.out}")


if __name__ == "__main__":
    main()
