"""Emoji with captions, out of Iconify's packages: the same thing drawn in several styles, for `lode prepare`.

    npm pack @iconify-json/noto @iconify-json/twemoji … emojilib    # and unpack each
    python bench/make_emoji.py OUT.parquet KEYWORDS.json SET_FOLDER… [--side 64]

Needs resvg_py from PyPI. KEYWORDS.json is emojilib's `emoji-en-US.json`. A set's folder holds icons.json and info.json
of a package `@iconify-json/<set>`: names, drawings as SVG, and the licence, which becomes a column. The title is the
drawing's name; names that are glued together ("alarmclock") are taken apart by emojilib's. Tones of skin, buttons of
letters, and names that end in numbers are left out. Counts are printed.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from make_clipart import drawing_of, rows_for, words_of, write

SKIPPED = re.compile(
    r"skin-tone|-(light|dark|medium)$|^keycap|letter|regional-indicator|^input-|-button$|ideograph|^\d+$|-low$|stencil"
    r"|facing-right|right-facing|zodiac"
)


def known(path: Path) -> dict[str, tuple[list[str], list[str]]]:
    """Words of the name, and keywords, of each emoji by its name without anything between the words."""
    found = {}
    for name, *keywords in json.loads(path.read_text(encoding="utf-8")).values():
        words = words_of(name.replace("_", " "))
        more = [word for keyword in keywords for word in words_of(keyword.replace("_", " "))]
        found["".join(words)] = words, more
    return found


def emoji_of(
    folder: Path, names: dict[str, tuple[list[str], list[str]]], side: int, seen: Counter[str]
) -> Iterator[Any]:
    """The rows of every drawing of a set; see `rows_for`."""
    import resvg_py

    content = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
    facts = json.loads((folder / "info.json").read_text(encoding="utf-8"))
    for name, icon in sorted(content["icons"].items()):
        seen["drawings"] += 1
        if SKIPPED.search(name) or icon.get("hidden"):
            seen["tones of skin, letters, buttons"] += 1
            continue
        words = words_of(re.sub(r"-\d+$", "", name).replace("-", " "))
        own, keywords = names.get("".join(words), (words, []))
        width, height = (icon.get(key, content.get(key, 16)) for key in ("width", "height"))
        box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}">{icon["body"]}</svg>'
        try:
            picture = drawing_of(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=2 * side, height=2 * side)), side)
        except ValueError:
            picture = None
        if picture is None or not own or (own is words and len(words) == 1 and len(words[0]) > 12):
            seen["without a picture" if picture is None else "without words"] += 1
            continue
        seen["with keywords"] += bool(keywords)
        yield from rows_for(picture, own, keywords, f"{content['prefix']}-{name}", facts["license"]["title"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("keywords", type=Path)
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--side", type=int, default=64)
    asked = parser.parse_args()
    seen: Counter[str] = Counter()
    names = known(asked.keywords)
    rows = [row for folder in asked.sets for row in emoji_of(folder, names, asked.side, seen)]
    write(rows, asked.out, seen)


if __name__ == "__main__":
    main()
