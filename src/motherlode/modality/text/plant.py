"""Copies as they come about in the wild, planted to see whether the duplicate finder finds them.

Each alteration is small enough to leave at least three quarters of a document's 5-grams: of a long one a few words, one
paragraph, a header. Randomness is a function of the text alone.
"""

from __future__ import annotations

import re

import numpy as np

from motherlode import storage

_WORDS_A_CHANGE = 60
_LONGEST_PART = 0.12
_WORD = re.compile(r"[^\W\d_]{4,}")
_HEADER = "Home > Archive > Article\nPosted by the editors. Print this page.\n\n"
_FOOTER = "\n\nAll rights reserved. Back to the top of the page."
_MOST_ADDED = 0.1


def plant(media: bytes) -> dict[str, bytes]:
    """One altered copy of a document of normal form for each way of altering."""
    text = media.decode()
    rng = np.random.Generator(np.random.Philox(key=int(storage.hash_bytes(media)[:16], 16)))
    altered = {
        "words": _change_words(text, rng),
        "paragraph": _drop_paragraph(text),
        "frame": _frame(text),
        "case": text.upper(),
        "whitespace": _rewrap(text),
    }
    return {kind: copy.encode() for kind, copy in altered.items()}


def _change_words(text: str, rng: np.random.Generator) -> str:
    """One word of sixty swapped with another of the same text; a character of sixty where words have no spaces."""
    pieces = list(_WORD.finditer(text))
    if len(pieces) < 2:
        place = int(rng.integers(max(len(text), 1)))
        return text[:place] + text[place + 1 :]
    chosen = rng.choice(len(pieces), max(1, len(pieces) // _WORDS_A_CHANGE), replace=False)
    parts, place = [], 0
    for number in sorted(chosen.tolist()):
        other = pieces[(number + 1) % len(pieces)][0]
        parts += [text[place : pieces[number].start()], other]
        place = pieces[number].end()
    return "".join([*parts, text[place:]])


def _drop_paragraph(text: str) -> str:
    """Without the longest paragraph that is at most an eighth of the text; a sentence's worth where there is none."""
    paragraphs = text.split("\n\n")
    short = [k for k, part in enumerate(paragraphs) if 0 < len(part) <= _LONGEST_PART * len(text)]
    if short:
        longest = max(short, key=lambda k: len(paragraphs[k]))
        return "\n\n".join(paragraphs[:longest] + paragraphs[longest + 1 :])
    return text[: len(text) - int(len(text) * _LONGEST_PART / 2)]


def _frame(text: str) -> str:
    """With a site's header and footer, or as much of them as a short text bears."""
    room = int(len(text) * _MOST_ADDED)
    return _HEADER[: max(room // 2, 0)] + text + _FOOTER[: max(room // 2, 0)]


def _rewrap(text: str) -> str:
    """The same words on lines of another length."""
    return "\n\n".join(re.sub(r"\s+", " ", part) for part in text.split("\n\n"))
