"""Emoji with captions, out of Iconify's packages: the same thing drawn in several styles, for `lode prepare`.

    npm pack @iconify-json/noto @iconify-json/twemoji … emojilib    # and unpack each
    python bench/make_emoji.py OUT.parquet KEYWORDS.json SET_FOLDER… [--least 5] [--only [WORD…]]

Needs resvg_py from PyPI. KEYWORDS.json is emojilib's `emoji-en-US.json`. A set's folder holds icons.json and info.json
of a package `@iconify-json/<set>`: names, drawings as SVG, and the licence, which becomes a column. The title is the
drawing's name; names that are glued together ("alarmclock") are taken apart by emojilib's. Of emojilib's keywords those
are kept that stand in other names, for they say what kind of thing it is (a rose is a flower) where the rest say what
one may think of (romance). Left out are people (they differ in what 32 pixels do not show), tones of skin, buttons of
letters, names that end in numbers, and what fewer than `--least` sets draw. With `--only heart car …` only drawings are
taken whose name, or one of the first two of those keywords, is such a word; `--only` alone means some hundred common
things. Counts are printed. Prepare it as `make_clipart.py` says.
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
_COMMON = (
    "flag heart arrow hand cat tree moon star bird car clock book house flower fish cloud umbrella dog ball hat "
    "apple sun banana cherries grapes watermelon strawberry lemon pizza hamburger cake bread egg cheese mushroom "
    "carrot bus train airplane rocket ship boat bicycle truck tractor pig cow horse mouse rabbit bear panda "
    "monkey elephant snake turtle frog butterfly bee spider lion fox owl penguin duck key bell gift scissors "
    "pencil telephone camera guitar crown glasses shoe shirt dress bottle candle fire drop droplet snowflake "
    "rainbow mountain ghost skull robot diamond circle square envelope trophy balloon smiling cup castle anchor "
    "hammer cactus snowman"
)
COMMON = frozenset(_COMMON.split())
"""What `--only` without words takes."""
PEOPLE = re.compile(r"(^|-)(man|men|woman|women|person|people|family|couple|boy|girl|kiss)(-|$)")

Name = tuple[list[str], list[str]]
"""Words of a drawing's name, and keywords."""


def known(path: Path) -> dict[str, Name]:
    """Words of the name, and keywords of kind, of each emoji by its name without anything between the words."""
    entries = [
        (words_of(name.replace("_", " ")), [word for keyword in more for word in words_of(keyword.replace("_", " "))])
        for name, *more in json.loads(path.read_text(encoding="utf-8")).values()
    ]
    kinds = {word for words, _ in entries for word in words}
    return {"".join(words): (words, [word for word in more if word in kinds]) for words, more in entries}


def named(name: str, names: dict[str, Name]) -> Name:
    """Words and keywords of an icon by its name in its set."""
    words = words_of(re.sub(r"-\d+$", "", name).replace("-", " "))
    return names.get("".join(words), (words, []))


def icons_of(content: dict[str, Any], names: dict[str, Name], seen: Counter[str]) -> dict[str, Name]:
    """Words and keywords of those of a set's icons that are wanted, by name."""
    found = {}
    for name, icon in sorted(content["icons"].items()):
        seen["drawings"] += 1
        own, keywords = named(name, names)
        if SKIPPED.search(name) or PEOPLE.search(name) or icon.get("hidden"):
            seen["tones of skin, letters, buttons, people"] += 1
        elif "square" in keywords and "square" not in own:
            seen["signs on a square"] += 1
        elif not own or (not keywords and len(own) == 1 and len(own[0]) > 12):
            seen["without words"] += 1
        else:
            found[name] = own, keywords
    return found


def drawn(content: dict[str, Any], name: str, side: int) -> bytes | None:
    """PNG of an icon of a set; None where nothing is seen."""
    import resvg_py

    icon = content["icons"][name]
    width, height = (icon.get(key, content.get(key, 16)) for key in ("width", "height"))
    box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}">{icon["body"]}</svg>'
    try:
        return drawing_of(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=2 * side, height=2 * side)), side)
    except ValueError:
        return None


def rows_of(asked: argparse.Namespace, names: dict[str, Name], seen: Counter[str]) -> Iterator[Any]:
    """The rows of all sets' drawings of what is asked for and enough sets draw; see `rows_for`."""
    sets = [json.loads((folder / "icons.json").read_text(encoding="utf-8")) for folder in asked.sets]
    wanted = [icons_of(content, names, seen) for content in sets]
    drawers = Counter(title for found in wanted for title in {tuple(words) for words, _ in found.values()})
    for folder, content, found in zip(asked.sets, sets, wanted):
        licence = json.loads((folder / "info.json").read_text(encoding="utf-8"))["license"]["title"]
        for name, (words, keywords) in found.items():
            if drawers[tuple(words)] < asked.least:
                seen["what too few sets draw"] += 1
                continue
            if asked.only and not {*words, *keywords[:2]} & asked.only:
                seen["of other words"] += 1
                continue
            picture = drawn(content, name, asked.side)
            if picture is None:
                seen["without a picture"] += 1
                continue
            seen["taken"] += 1
            yield from rows_for(picture, words, keywords, f"{content['prefix']}-{name}", licence)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("keywords", type=Path)
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--least", type=int, default=5)
    parser.add_argument("--only", nargs="*")
    asked = parser.parse_args()
    asked.only = COMMON if asked.only == [] else frozenset(asked.only or ())
    seen: Counter[str] = Counter()
    rows = list(rows_of(asked, known(asked.keywords), seen))
    write(rows, asked.out, seen)


if __name__ == "__main__":
    main()
