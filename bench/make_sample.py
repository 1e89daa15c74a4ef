"""Makes the image sample that ships in `examples/data`: 10,000 Fashion-MNIST images, and dirt whose truth is known.

    python bench/make_sample.py --idx /usr/share/datasets/fashion-mnist

The sample is what a folder looks like before anyone has cleaned it: copies, re-encoded near-copies, broken files,
blank frames, wrong labels, odd formats. Every planted row is written to the truth table beside the Parquet, so that
precision and recall of each cleaning step can be counted instead of guessed. The same arguments give the same rows;
the bytes also depend on Pillow's encoders, so the committed file is the reference. It takes 4 s and writes 5.3 MB.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

CLASSES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
Picture = NDArray[np.uint8]
Random = np.random.Generator


@dataclass(frozen=True)
class Row:
    """One raw sample, and, where it was planted, what it is and which row it was made from."""

    media: bytes
    path: str
    label: str
    plant: str = ""
    origin: str = ""
    true_label: str = ""


def png(picture: Picture | Image.Image, **options: object) -> bytes:
    """PNG bytes of a picture."""
    return encoded(picture, "PNG", optimize=True, **options)


def encoded(picture: Picture | Image.Image, kind: str, **options: object) -> bytes:
    """File bytes of a picture in any format Pillow writes."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def scaled(picture: Picture, factor: float, offset: float = 0.0) -> Picture:
    """Brightness: `offset + factor · picture`, clipped."""
    return np.clip(offset + factor * picture.astype(np.float32), 0, 255).astype(np.uint8)


def cropped(picture: Picture, rng: Random) -> Picture:
    """5 % off each side length, from a random edge."""
    top, left = rng.integers(0, 2, 2)
    return np.ascontiguousarray(picture[top : top + 27, left : left + 27])


def coloured(picture: Picture, rng: Random) -> Image.Image:
    """The picture tinted, in RGB: what the odd formats below start from."""
    tint = rng.uniform(0.6, 1.0, 3)
    return Image.fromarray((picture[..., None] * tint).astype(np.uint8))


def oriented(picture: Picture) -> bytes:
    """A JPEG lying on its side, with the EXIF flag that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.fromarray(np.ascontiguousarray(np.rot90(picture))), "JPEG", quality=95, exif=exif)


def animated(picture: Picture) -> bytes:
    """A GIF of three frames: the picture, its mirror image, the picture."""
    frames = [Image.fromarray(frame) for frame in (picture, picture[:, ::-1], picture)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)


def bomb(side: int = 60_000) -> bytes:
    """A PNG of 90 bytes whose header promises 3.6 gigapixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def truncated(picture: Picture, rng: Random) -> bytes:
    """A PNG or JPEG that stops between a third and nine tenths of the way."""
    whole = png(picture) if rng.random() < 0.5 else encoded(picture, "JPEG", quality=90)
    return whole[: int(len(whole) * rng.uniform(0.35, 0.9))]


def corrupt(picture: Picture, rng: Random) -> bytes:
    """Not an image: noise, an error page saved as one, nothing at all, or a PNG with its middle overwritten."""
    whole = bytearray(png(picture))
    middle = len(whole) // 2
    whole[middle : middle + 24] = rng.bytes(24)
    page = b"<!DOCTYPE html><html><title>404</title><p>The requested picture was not found.</p></html>"
    return (rng.bytes(400), page, b"", bytes(whole))[rng.integers(4)]


def extreme(picture: Picture) -> Picture:
    """One row of the picture drawn out to 4 x 224."""
    return np.repeat(np.repeat(picture[14:15], 4, 0), 8, 1)


# What is planted, how often, and how it is made from a picture that is NOT otherwise in the sample.
DIRT: dict[str, tuple[int, Callable[[Picture, Random], bytes]]] = {
    "truncated": (40, truncated),
    "corrupt": (40, corrupt),
    "blank": (40, lambda _, rng: png(np.full((28, 28), rng.integers(256), np.uint8))),
    "near_constant": (20, lambda _, rng: png(rng.integers(100, 103, (28, 28)).astype(np.uint8))),
    "underexposed": (40, lambda picture, _: png(scaled(picture, 0.05))),
    "overexposed": (40, lambda picture, _: png(scaled(picture, 0.08, 235))),
    "too_small": (6, lambda picture, _: png(np.ascontiguousarray(picture[::9, ::9]))),
    "extreme_aspect": (6, lambda picture, _: png(extreme(picture))),
    "bomb": (2, lambda _, __: bomb()),
}
# Odd but good: these must be kept.
ODD: dict[str, tuple[int, Callable[[Picture, Random], bytes]]] = {
    "palette": (10, lambda picture, rng: png(coloured(picture, rng).convert("P"))),
    "alpha": (10, lambda picture, rng: png(coloured(picture, rng).convert("RGBA"))),
    "sixteen_bit": (10, lambda picture, _: png(picture.astype(np.uint16) * 257)),
    "exif_rotated": (10, lambda picture, _: oriented(picture)),
    "cmyk": (6, lambda picture, rng: encoded(coloured(picture, rng).convert("CMYK"), "JPEG", quality=95)),
    "animated": (6, lambda picture, _: animated(picture)),
}
# Copies of rows that ARE in the sample.
COPIES: dict[str, tuple[int, Callable[[Picture, Random], bytes]]] = {
    "exact_copy": (200, lambda picture, _: png(picture)),
    "reencoded": (50, lambda picture, _: encoded(picture, "BMP")),
    "near_jpeg30": (60, lambda picture, _: encoded(picture, "JPEG", quality=30)),
    "near_resize": (60, lambda picture, _: png(Image.fromarray(picture).resize((40, 40), Image.Resampling.BICUBIC))),
    "near_crop": (60, lambda picture, rng: png(cropped(picture, rng))),
    "near_flip": (60, lambda picture, _: png(np.ascontiguousarray(picture[:, ::-1]))),
    "near_brightness": (60, lambda picture, _: png(ImageEnhance.Brightness(Image.fromarray(picture)).enhance(0.8))),
}
NUM_WRONG_LABELS = 60


def sample_rows(pictures_NHW: Picture, labels_N: Picture, num_clean: int, share: float, rng: Random) -> list[Row]:
    """Clean rows and planted ones, shuffled together.

    Args:
        pictures_NHW: uint8 (N, 28, 28).
        labels_N: uint8 (N,), indices of `CLASSES`.
        num_clean: rows without a fault.
        share: multiplies every count of planted rows, with at least one each.
        rng: where the choices come from.
    """
    order = iter(rng.permutation(len(pictures_NHW)).tolist())

    def count(number: int) -> int:
        return max(1, round(number * share))

    clean = [next(order) for _ in range(num_clean)]
    names = {index: f"shop/{index:05d}.png" for index in clean}
    mislabelled = set(clean[: count(NUM_WRONG_LABELS)])
    rows = []
    for index in clean:
        true = CLASSES[labels_N[index]]
        if index in mislabelled:
            wrong = CLASSES[(labels_N[index] + rng.integers(1, len(CLASSES))) % len(CLASSES)]
            rows.append(Row(png(pictures_NHW[index]), names[index], wrong, "wrong_label", true_label=true))
        else:
            rows.append(Row(png(pictures_NHW[index]), names[index], true))
    copied = iter(clean[len(mislabelled) :])
    for kind, (number, make) in COPIES.items():
        for position in range(count(number)):
            index = next(copied)
            label, path = CLASSES[labels_N[index]], f"import/{kind}-{position:03d}.png"
            rows.append(Row(make(pictures_NHW[index], rng), path, label, kind, origin=names[index]))
    for kind, (number, make) in {**DIRT, **ODD}.items():
        for position in range(count(number)):
            index = next(order)
            path = f"import/{kind}-{position:03d}.png"
            rows.append(Row(make(pictures_NHW[index], rng), path, CLASSES[labels_N[index]], kind))
    return [rows[place] for place in rng.permutation(len(rows)).tolist()]


def write(rows: list[Row], path: Path) -> None:
    """`path`: image {bytes, path}, label, licence; beside it `.truth.csv`: row, path, plant, origin, true label."""
    table = pa.table(
        {
            "image": pa.array([{"bytes": row.media, "path": row.path} for row in rows]),
            "label": pa.array([row.label for row in rows]),
            "licence": pa.array(["MIT, © 2017 Zalando SE"] * len(rows)),
        }
    )
    pq.write_table(table, path, compression="zstd", row_group_size=1024)
    with path.with_suffix(".truth.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["row", "path", "plant", "origin", "true_label"])
        for number, row in enumerate(rows):
            if row.plant:
                writer.writerow([number, row.path, row.plant, row.origin, row.true_label])


def read_idx(folder: Path) -> tuple[Picture, Picture]:
    """The 60,000 training pictures (N, 28, 28) and labels (N,) of an idx folder."""
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
        pictures = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / "train-labels-idx1-ubyte.gz") as file:
        return pictures, np.frombuffer(file.read(), np.uint8, offset=8)


def main() -> None:
    """Write the full sample and the small one the tests use."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idx", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    root = Path(__file__).resolve().parents[1]
    pictures, labels = read_idx(parser.parse_args().idx)
    for path, num_clean, share in (
        (root / "examples/data/fashion-11k.parquet", 10_000, 1.0),
        (root / "tests/fixtures/fashion-500.parquet", 430, 0.08),
    ):
        rows = sample_rows(pictures, labels, num_clean, share, np.random.Generator(np.random.PCG64(20_261_123)))
        write(rows, path)
        num_planted = sum(bool(row.plant) for row in rows)
        print(f"{path}: {len(rows)} rows, {num_planted} planted, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
