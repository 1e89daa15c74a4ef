"""Pictures, captions and human speech that belong together, out of Debian's tuxpaint-stamps-default.

    python bench/make_stamps.py STAMPS_FOLDER OUT_FOLDER [--language fr] [--side 64] [--most-sec 3]

Writes `images.parquet` and `speech.parquet`, whose rows belong together where the stems of their paths are the same. A
stamp counts where it has a PNG, a caption of the language in its .txt, and a recording of that language; the others are
counted. The picture is put on white and made square. The stamps are under GPL-2: for use here, not for shipping.
"""

from __future__ import annotations

import argparse
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from make_clipart import drawing_of


def caption_in(path: Path, language: str) -> str:
    """The caption of a language in a stamp's .txt, whose first line is English."""
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if language == "en":
        return lines[0].strip() if lines else ""
    found = (line.partition("=")[2] for line in lines if line.startswith(f"{language}.utf8="))
    return next(found, "").strip()


def stamps_of(root: Path, language: str, side: int, most_sec: float, seen: Counter[str]) -> Iterator[dict[str, Any]]:
    """Every stamp that has all three."""
    for clip in sorted(root.rglob(f"*_desc_{language}.ogg")):
        seen["recordings"] += 1
        stem = clip.name.removesuffix(f"_desc_{language}.ogg")
        caption = caption_in(clip.parent / f"{stem}.txt", language)
        picture = drawing_of(clip.parent / f"{stem}.png", side)
        if not caption or picture is None:
            seen["without a caption" if not caption else "without a picture"] += 1
            continue
        content = clip.read_bytes()
        if soundfile.info(io.BytesIO(content)).duration > most_sec:
            seen["too long"] += 1
            continue
        name = "-".join((clip.parent / stem).relative_to(root).parts)
        yield {"name": name, "caption": caption, "image": picture, "audio": content}


def write(rows: list[dict[str, Any]], column: str, suffix: str, path: Path) -> None:
    """A table of one kind of media with captions."""
    media = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([(column, media), ("caption", pa.string())])
    content = [
        {column: {"bytes": row[column], "path": f"{row['name']}{suffix}"}, "caption": row["caption"]} for row in rows
    ]
    pq.write_table(pa.Table.from_pylist(content, schema), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stamps", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--language", default="fr")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--most-sec", type=float, default=3.0)
    asked = parser.parse_args()
    seen: Counter[str] = Counter()
    rows = list(stamps_of(asked.stamps, asked.language, asked.side, asked.most_sec, seen))
    asked.out.mkdir(parents=True, exist_ok=True)
    write(rows, "image", ".png", asked.out / "images.parquet")
    write(rows, "audio", ".ogg", asked.out / "speech.parquet")
    print(f"{len(rows):,} stamps in {asked.out}")
    for reason, count in seen.most_common():
        print(f"  {reason}: {count:,}")


if __name__ == "__main__":
    main()
