"""Drawings with captions, out of Debian's openclipart packages: one Parquet file that `lode prepare` reads.

    python bench/make_clipart.py PNG_FOLDER SVG_FOLDER OUT.parquet [--side 64]

An SVG's RDF names title, keywords and licence; the picture is the PNG of the same name, on white, at `--side` pixels.
Only what its author has put into the public domain is taken. Each drawing is four rows, so that it can be asked for in
four ways: by its title and the keywords that say more, mirrored and by its title, by one of its words, and by two. They
lie in a folder of their own, so that `heldout_by: folder`, with `exact_duplicates: report`, `near_duplicates: report`
and `outliers: off`, keeps the four on one side of the split, and what looks alike with them.

Titles that name a file, a number or a drawing program are junk, and so are those of more than four drawings, which
name a collection: the words of the file's name stand in for them. Collections of more than two hundred (variations of
one star, sets of icons) are left out, for they would be a third of everything, and so is a drawing without any word.
Counts of each case are printed.
"""

from __future__ import annotations

import argparse
import io
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DC = "{http://purl.org/dc/elements/1.1/}"
FREE = "publicdomain"
_JUNK = (
    "unsorted clip art clipart openclipart image svg untitled drawing inkscape adobe illustrator vector new document"
    " title na png remix the of and with hash color colour outline silhouette contour icon by externalsource public"
    " domain architetto francesco rollandin archite jon phillips nicu buculei gramastar ftv grama gerald"
    " for left right leftwards rightwards facing member united nations"
)
JUNK_WORDS = frozenset(_JUNK.split())
"""Words that say nothing about what is seen, and those that a mirrored copy would make untrue."""
MOST_KEYWORDS = 3
MOST_SHARED = 4
"""Drawings that a title may name before it is taken for that of a collection."""
LARGEST_COLLECTION = 200


def words_of(text: str) -> list[str]:
    """Lower-case words of letters, at least two letters long, junk left out."""
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", text)
    return [word for word in re.findall(r"[a-zà-ÿ]{2,}", spaced.lower()) if word not in JUNK_WORDS]


def described(svg: Path) -> tuple[str, list[str], str]:
    """Title, keywords and licence in an SVG's RDF; empty where there are none, or the file is no XML."""
    try:
        root = ET.parse(svg).getroot()
    except (ET.ParseError, OSError, ValueError):
        return "", [], ""
    work = next((found for found in root.iter() if found.tag.endswith("}Work")), None)
    if work is None:
        return "", [], ""
    title = (work.findtext(f"{DC}title") or "").strip()
    keywords = [item.text.strip() for item in work.iter(f"{RDF}li") if item.text and item.text.strip()]
    licence = next((item.get(f"{RDF}resource") or "" for item in work.iter() if item.tag.endswith("}license")), "")
    return title, keywords, licence


def named(
    title: str, keywords: list[str], stem: str, is_shared: bool, seen: Counter[str]
) -> tuple[list[str], list[str]]:
    """Words of a drawing's name, and of its keywords; counts in `seen` where they come from."""
    is_file_name = bool(re.search(r"\.(svg|png|ai|eps)$|[\\/]|^\d+$|^(layer|path|g)\d*$", title.lower()))
    words = [] if is_file_name or is_shared else words_of(title)
    seen["titles of collections"] += is_shared
    seen["junk titles"] += bool(title) and not words and not is_shared
    more = [word for keyword in keywords for word in words_of(keyword)]
    seen["captions from titles"] += bool(words)
    if not words:
        words = words_of(stem.replace("_", " "))
        seen["captions from file names" if words else "captions from keywords" if more else "without a word"] += 1
    return words, more


def rows_for(picture: bytes, words: list[str], more: list[str], name: str, licence: str) -> Iterator[dict[str, Any]]:
    """Four rows of a drawing: title and keywords, the title beside a mirrored copy, one of its words, two of them.

    Args:
        picture: PNG.
        words, more: of its title, and of its keywords; at least one in all.
        name: of the drawing; a folder of this name holds its rows.
        licence: of it.
    """
    title = list(dict.fromkeys(words[:8]))
    further = [word for word in dict.fromkeys(more) if word not in title][:MOST_KEYWORDS]
    every = [*title, *further]
    mirrored = png_of(Image.open(io.BytesIO(picture)).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    drawn = sorted(every, key=lambda word: crc32(f"{name} {word}".encode()))
    for row, content, text in (
        ("all", picture, every),
        ("mirrored", mirrored, title or further),
        ("word", picture, drawn[:1]),
        ("words", mirrored, sorted(drawn[-2:], key=every[::-1].index)),
    ):
        path = f"{name}/{row}.png"
        yield {"image": {"bytes": content, "path": path}, "caption": " ".join(text), "licence": licence}


def png_of(image: Image.Image) -> bytes:
    """A picture as the bytes of a PNG."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def drawing_of(source: Path | bytes, side: int) -> bytes | None:
    """The drawing in a file as PNG on white, square, `side` pixels; None where nothing is seen."""
    try:
        image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source).convert("RGBA")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    box = image.getchannel("A").getbbox()
    if box is None:
        return None
    image = image.crop(box)
    whole = max(image.size)
    square = Image.new("RGBA", (whole, whole), "white")
    square.alpha_composite(image, ((whole - image.width) // 2, (whole - image.height) // 2))
    return png_of(square.convert("RGB").resize((side, side), Image.Resampling.LANCZOS))


def rows_of(pngs: Path, svgs: Path, side: int, seen: Counter[str]) -> Iterator[dict[str, Any]]:
    """The rows of every drawing in the public domain."""
    told = {svg: described(svg) for svg in sorted(svgs.rglob("*.svg"))}
    titles = Counter(title for title, _, _ in told.values())
    for svg, (title, keywords, licence) in told.items():
        seen["drawings"] += 1
        if FREE not in licence.lower():
            seen["not known to be in the public domain"] += 1
            continue
        if titles[title] > LARGEST_COLLECTION:
            seen["of large collections"] += 1
            continue
        png = (pngs / svg.relative_to(svgs)).with_suffix(".png")
        picture = drawing_of(png, side)
        if picture is None:
            seen["without a picture"] += 1
            continue
        words, more = named(title, keywords, svg.stem, titles[title] > MOST_SHARED, seen)
        if words or more:
            name = "-".join(svg.relative_to(svgs).with_suffix("").parts)
            yield from rows_for(picture, words, more, name, "public domain")


def write(rows: list[dict[str, Any]], out: Path, seen: Counter[str]) -> None:
    """Write the table; print counts."""
    media = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    texts = [(name, pa.string()) for name in ("caption", "licence")]
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, pa.schema([("image", media), *texts])), out)
    print(f"{len(rows):,} rows in {out}")
    for reason, count in seen.most_common():
        print(f"  {reason}: {count:,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pngs", type=Path)
    parser.add_argument("svgs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", type=int, default=64)
    asked = parser.parse_args()
    seen: Counter[str] = Counter()
    rows = list(rows_of(asked.pngs, asked.svgs, asked.side, seen))
    write(rows, asked.out, seen)


if __name__ == "__main__":
    main()
