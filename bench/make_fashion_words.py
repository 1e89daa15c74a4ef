"""Fashion-MNIST with a label and a caption: "an ankle boot", "a picture of a dress", a few ways to say each class.

    python bench/make_fashion_words.py --out datasets/raw/fashion-words.parquet
    lode prepare datasets/raw/fashion-words.parquet --out datasets/fashion

Columns: `image` (PNG and path), `label` (the class's name), `caption`. All 70,000 pictures; what is held out is
`lode prepare`'s to decide. One way to say a class is drawn for each picture; the same file wherever it is made.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fashion import images, labels
from make_sample import CLASSES, png
from motherlode.randomness import numpy_generator

NOUNS = (
    ("a t-shirt", "a t-shirt top"),
    ("trousers", "a pair of trousers"),
    ("a pullover", "a jumper"),
    ("a dress", "a lady's dress"),
    ("a coat", "a warm coat"),
    ("a sandal", "an open sandal"),
    ("a shirt", "a buttoned shirt"),
    ("a sneaker", "a running shoe"),
    ("a bag", "a handbag"),
    ("an ankle boot", "a boot"),
)
"""Two ways to name each class, the classes in the order of their numbers."""
FRAMES = ("{}", "a picture of {}", "a photo of {}", "{} on a black ground")
"""What stands around a name."""


def captions_of(label: int) -> list[str]:
    """All ways to ask for a class."""
    return [frame.format(noun) for noun in NOUNS[label] for frame in FRAMES]


def rows() -> Iterator[dict[str, Any]]:
    """Rows of the table."""
    for part in ("train", "t10k"):
        for number, (picture, label) in enumerate(zip(images(part, 28).numpy()[:, 0], labels(part).tolist())):
            ways = captions_of(label)
            caption = ways[int(numpy_generator(0, f"fashion words {part}", number).integers(len(ways)))]
            media = {"bytes": png(picture), "path": f"{part}-{number:05d}.png"}
            yield {"image": media, "label": CLASSES[label], "caption": caption}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    media = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    schema = pa.schema({"image": media, "label": pa.string(), "caption": pa.string()})
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(rows()), schema=schema)
    pq.write_table(table, chosen.out, row_group_size=4096, compression="zstd")
    print(f"{len(table):,} pictures, {chosen.out.stat().st_size:,} bytes: {chosen.out}")


if __name__ == "__main__":
    main()
