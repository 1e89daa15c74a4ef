"""The documents that a data card shows: a few kept ones, and a few of each way to be dropped, as text to be read.

Rows are taken in the order of their content hash, which is a random order that any run agrees on. A document is shown
from its beginning; of two that resemble one another, the passages in which they differ are shown side by side. Signs
that could not be seen, or would turn the page around, are shown as signs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import chain
from typing import Any, NamedTuple

from motherlode.data.charts import short
from motherlode.data.parts import MEASURED
from motherlode.data.pictures import Reader, Sheet, wanted
from motherlode.data.step import Rows

NUM_EACH = 20
NUM_SIGNS = 700
_SAME = "dropped-exact_duplicate"
_CONTEXT_SIGNS = 70
_MOST_TOKENS = 1500
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]|\w+|\s+|.", re.DOTALL)
_UNSEEN = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {
    code: f"⟨U+{code:04X}⟩"
    for code in chain([0x7F, 0xFEFF], range(0x200E, 0x2010), range(0x202A, 0x202F), range(0x2066, 0x206A))
}


class Piece(NamedTuple):
    """A stretch of text: the "same" in both of two documents, only "here", or a "gap" where text is left out."""

    kind: str
    text: str


@dataclass(frozen=True)
class Excerpt:
    """One document as a card shows it.

    Args:
        pieces: what is shown of the text.
        name: where the document came from.
        facts: what was measured on it, as words.
        role: "kept" or "dropped" in a pair; else empty.
    """

    pieces: list[Piece]
    name: str
    facts: str
    role: str = ""

    @property
    def text(self) -> str:
        """What is shown, without marks."""
        return "".join(piece.text for piece in self.pieces)


@dataclass(frozen=True)
class Sample:
    """A heading and what stands below it: single documents, or pairs of them."""

    sheet: Sheet
    items: list[tuple[Excerpt, ...]]


def make_samples(rows: Rows, reader: Reader) -> list[Sample]:
    """The samples of a card in the order in which it shows them."""
    found = []
    for sheet, chosen in wanted(rows, NUM_EACH, NUM_EACH):
        if sheet.name == _SAME:
            # Each beside itself would be read twice: one of the two is shown, and where both lie.
            sheet = replace(sheet, text=sheet.text.partition(";")[0], group="dropped")
        found.append(Sample(sheet, list(_items(reader, sheet, chosen))))
    return found


def _items(reader: Reader, sheet: Sheet, chosen: Sequence[int]) -> Iterator[tuple[Excerpt, ...]]:
    found = [reader.columns(number, _is_shown) for number in chosen]
    texts = [row["media"].decode("utf-8", "replace") for row in found]
    if sheet.name == _SAME:
        for kept, copy, text in zip(found[::2], found[1::2], texts[1::2]):
            yield (Excerpt(beginning(text), copy["uri"], f"the same as {kept['uri']}"),)
        return
    if sheet.group != "doubles":
        for row, text in zip(found, texts):
            yield (Excerpt(beginning(text), row["uri"], _facts(row)),)
        return
    for place in range(0, len(found), 2):
        kept, copy = found[place : place + 2]
        pair = differences(texts[place], texts[place + 1])
        yield tuple(
            Excerpt(pieces, row["uri"], _facts(row), role)
            for pieces, row, role in zip(pair, (kept, copy), ("kept", "dropped"))
        )


def _is_shown(name: str) -> bool:
    return name in ("media", "uri", "detail") or name.startswith(MEASURED)


def _facts(row: dict[str, Any]) -> str:
    """What is known of a document, zero and empty values left out."""
    shown = [row["detail"]] if row["detail"] else []
    for name, value in row.items():
        if name.startswith(MEASURED) and value and value == value:
            plain = value if isinstance(value, str) else short(float(value))
            label = name.removeprefix(MEASURED).replace("_", " ")
            shown.append(plain if label == "language" else f"{label} {plain}")
    return " · ".join(shown)


def beginning(text: str) -> list[Piece]:
    """The first `NUM_SIGNS` signs."""
    more = [Piece("gap", f" … {len(text) - NUM_SIGNS:,} more")] if len(text) > NUM_SIGNS else []
    return [Piece("same", visible(text[:NUM_SIGNS])), *more]


def differences(first: str, second: str) -> tuple[list[Piece], list[Piece]]:
    """The passages in which two documents differ, each with a little of what lies around it.

    Words are compared, in scripts without spaces characters, up to `_MOST_TOKENS` from the first that differs.
    """
    if first == second:
        return beginning(first), beginning(second)
    a, b = _TOKEN.findall(first), _TOKEN.findall(second)
    start = next((n for n, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    same = "".join(a[:start])
    a, b = a[start : start + _MOST_TOKENS], b[start : start + _MOST_TOKENS]
    ours, theirs = [Piece("same", same)], [Piece("same", same)]
    for _, a_first, a_end, b_first, b_end in SequenceMatcher(None, a, b).get_opcodes():
        left, right = "".join(a[a_first:a_end]), "".join(b[b_first:b_end])
        if left == right:
            ours.append(Piece("same", left))
            theirs.append(Piece("same", right))
        else:
            ours.append(Piece("here", left))
            theirs.append(Piece("here", right))
    return _shortened(ours), _shortened(theirs)


def _shortened(pieces: list[Piece]) -> list[Piece]:
    """What is the same is left out but for its ends; what lies behind `NUM_SIGNS` too."""
    shown: list[Piece] = []
    room = NUM_SIGNS
    for place, (kind, text) in enumerate(pieces):
        if not text:
            continue
        if room <= 0:
            shown.append(Piece("gap", " …"))
            break
        if kind == "same" and len(text) > 2 * _CONTEXT_SIGNS:
            before = text[:_CONTEXT_SIGNS] if place else ""
            shown += [
                Piece("same", visible(before)),
                Piece("gap", " … "),
                Piece("same", visible(text[-_CONTEXT_SIGNS:])),
            ]
            room -= 2 * _CONTEXT_SIGNS
        else:
            shown.append(Piece(kind, visible(text[:room])))
            room -= len(text)
    return shown


def visible(text: str) -> str:
    """Control characters, and marks that turn the direction of what follows, as signs that can be seen."""
    return text.translate(_UNSEEN)
