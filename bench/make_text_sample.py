"""Makes the text samples that ship in `examples/data`: a book with dirt whose truth is known, and Chinese poems.

    bible -f gen1:1-rev22:21 > kjv.txt                   # Debian's bible-kjv; text of 1611, out of copyright
    python bench/make_text_sample.py --book kjv.txt --poems chinese-poetry/dist/quantangshi

The book is what a folder of text looks like before anyone has cleaned it: 1,189 chapters, and 320 planted documents,
each named in the column `plant`, so that what each cleaning step catches can be counted instead of guessed. The same
arguments give the same bytes. It takes 2 s and writes 2.0 MB.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

Random = np.random.Generator
_VERSE = re.compile(r"([0-9]?[A-Z][A-Za-z]+)(\d+):(\d+) (.*)")
_NUM_POEMS = 3000
_FILLER = "Home | About | Contact | Privacy | Terms | Sign in | Subscribe to our newsletter"
_NAMES = ("ann", "bo", "chidi", "dana", "elif", "farid", "grace", "hugo")


def chapters(book: Path) -> list[tuple[str, str, str]]:
    """(book, name, text) of each chapter, a verse a line."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in book.read_text(encoding="latin-1").splitlines():
        match = _VERSE.fullmatch(line.strip())
        if match:
            found.setdefault((match[1], match[2]), []).append(match[4])
    return [(name, f"{name} {number}", "\n".join(verses)) for (name, number), verses in found.items()]


def exact_copy(text: str, rng: Random) -> str:
    """The same text."""
    return text


def near_words(text: str, rng: Random) -> str:
    """One word in eighty is another."""
    words = text.split(" ")
    for place in rng.choice(len(words), max(1, len(words) // 80), replace=False):
        words[place] = "selah"
    return " ".join(words)


def near_header(text: str, rng: Random) -> str:
    """The same text with a heading and a last line of another edition."""
    return f"EDITION {rng.integers(2, 99)}\n\n{text}\n\nHere endeth the chapter."


def near_cut(text: str, rng: Random) -> str:
    """Without its last tenth."""
    return text[: int(len(text) * 0.9)]


def mojibake(text: str, rng: Random) -> str:
    """Typographic quotes, saved as UTF-8 and read as Latin: repairable."""
    quoted = f"\u201c{text[:400]}\u201d \u2014 it\u2019s written \u2026"
    return quoted.encode("utf-8").decode("cp1252", errors="replace")


def symbols(text: str, rng: Random) -> str:
    """A table of signs that nobody would read aloud."""
    return "\n".join("|".join(rng.choice(list("#@*+=~^%$<>{}[]"), 40)) for _ in range(30))


def repeated(text: str, rng: Random) -> str:
    """One sentence, over and over."""
    return (text.split("\n", maxsplit=1)[0] + "\n") * 40


def too_short(text: str, rng: Random) -> str:
    """A few words."""
    return " ".join(text.split(" ")[:3])


def navigation(text: str, rng: Random) -> str:
    """What is around a web page, and no page."""
    return "\n".join([_FILLER] * 3 + ["» Next", "« Previous", "© 2024", "Share | Tweet | Pin"] * 6)


def personal(text: str, rng: Random) -> str:
    """A text in which somebody left an address, a card and a key: to be masked."""
    name = _NAMES[rng.integers(len(_NAMES))]
    card = "4111 1111 1111 1111"
    middle = f"\nWrite to {name}.{rng.integers(10, 99)}@example.com or call +1 (212) 555-01{rng.integers(10, 99)}.\n"
    return text[:900] + middle + f"Card {card}, key AKIA{'ABCDEFGHIJKLMNOP'}, host 10.2.{rng.integers(255)}.7.\n"


def numbers(text: str, rng: Random) -> str:
    """A log of measurements."""
    return "\n".join(" ".join(f"{value:.3f}" for value in rng.random(12)) for _ in range(40))


PLANTS: dict[str, tuple[Callable[[str, Random], str], int]] = {
    "exact_copy": (exact_copy, 60),
    "near_words": (near_words, 50),
    "near_header": (near_header, 40),
    "near_cut": (near_cut, 40),
    "mojibake": (mojibake, 20),
    "symbols": (symbols, 20),
    "repeated": (repeated, 20),
    "too_short": (too_short, 10),
    "navigation": (navigation, 20),
    "personal": (personal, 20),
    "numbers": (numbers, 20),
}
"""What is planted, and how often. Mojibake and personal data are to be mended, the rest to be dropped."""


def poems(folder: Path) -> Iterator[dict[str, str]]:
    """Tang poems in their order: title, author and lines as one text."""
    files = sorted(folder.glob("poet.tang.*.json"), key=lambda path: int(path.stem.rsplit(".", 1)[1]))
    for path in files:
        for poem in json.loads(path.read_text(encoding="utf-8")):
            lines = [line for line in poem["paragraphs"] if "□" not in line]
            if len(lines) >= 2 and poem["title"]:
                yield {"text": f"《{poem['title']}》{poem['author']}\n" + "\n".join(lines), "author": poem["author"]}


def book_rows(book: Path) -> Iterator[dict[str, str]]:
    """Every chapter and every planted document, shuffled."""
    rng = np.random.default_rng(0)
    whole = chapters(book)
    rows = [{"text": text, "book": name, "name": chapter, "plant": "", "origin": ""} for name, chapter, text in whole]
    long = [place for place, (_, _, text) in enumerate(whole) if len(text) > 1500]
    for kind, (make, count) in PLANTS.items():
        for number, place in enumerate(rng.choice(long, count, replace=False)):
            name, chapter, text = whole[place]
            row = {"text": make(text, rng), "book": name, "name": f"{kind} {number}", "plant": kind, "origin": chapter}
            rows.append(row)
    return iter([rows[place] for place in rng.permutation(len(rows))])


def write(path: Path, rows: Iterator[dict[str, str]]) -> None:
    """JSON lines, compressed without a time stamp."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as file:
        file.write(text.encode())
    print(f"{path}: {text.count(chr(10)):,} rows, {len(text.encode()):,} bytes, {path.stat().st_size:,} compressed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--book", type=Path, required=True, help="what `bible -f gen1:1-rev22:21` prints")
    parser.add_argument("--poems", type=Path, required=True, help="the folder `quantangshi` of chinese-poetry")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "examples" / "data")
    given = parser.parse_args()
    write(given.out / "book.jsonl.gz", book_rows(given.book))
    chosen = list(poems(given.poems))
    order = np.random.default_rng(0).permutation(len(chosen))[:_NUM_POEMS]
    write(given.out / "poems.jsonl.gz", iter([chosen[place] for place in sorted(order)]))


if __name__ == "__main__":
    main()
