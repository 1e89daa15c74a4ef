"""What each character is to a compiled loop: flags and a class for each code point, from Python's own Unicode tables.

Building the two tables takes 0.2 s, so they are kept in the cache folder; kernels take them as arguments.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode import storage

LETTER, DIGIT, UNSPACED, SPACE, NOT_COMPOSED, DROPPED, NEWLINE, MARK = 1, 2, 4, 8, 16, 32, 64, 128
"""Flags: part of a word; a digit (of a word too); a word by itself (scripts without spaces); to become a space; perhaps
not in Normalisation Form C; to be removed; to become a line feed; a mark on the letter before it."""
NUM_CODES = 0x30000
"""Code points at or above this are not looked up: rare Han (words by themselves below 0x323B0), tags, private use."""
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # radicals
    (0x3005, 0x3007),
    (0x3021, 0x30FF),  # Hiragana, Katakana
    (0x3105, 0x312F),  # Bopomofo
    (0x31A0, 0x31FF),
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),
    (0xA000, 0xA4CF),  # Yi
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9D),  # half-width Katakana
    (0x1B000, 0x1B2FF),
    (0x20000, 0x2FFFF),
)
# Joiners (U+200C, U+200D) and variation selectors change what is read in Persian, Hindi and emoji: they stay.
_DROPPED = (
    *(0x00AD, 0x061C, 0x180E, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF),
    *(*range(0xFFF9, 0xFFFC), *range(0xFDD0, 0xFDF0)),
    *(plane + last for plane in range(0, NUM_CODES, 0x10000) for last in (0xFFFE, 0xFFFF)),
)
_SPACES = (0x00A0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F)
_NEWLINES = (0x000B, 0x000C, 0x0085, 0x2028, 0x2029)
_HANGUL_VOWELS_AND_TAILS = range(0x1161, 0x11C3)


ALONE = np.uint32(1 << 31)
"""Set in the class of a character that is a token by itself."""
NUM_CLASSES = 0x20000
"""Code points with a class of their own; above lie ideographs, and nothing of use."""
_TOKENS_ALONE = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x3100, 0x312F), (0x31A0, 0x31FF),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9D),
)  # fmt: skip
"""Thai and Lao, Burmese, Khmer, kana, Bopomofo and ideographs."""


def flags() -> NDArray[np.uint8]:
    """The flags of every code point below `NUM_CODES`, uint8."""
    return _tables()["flags"]


def classes() -> NDArray[np.uint32]:
    """What each code point is to a token: 0 separates; else its lower case, with `ALONE` set where it is one."""
    return _tables()["classes"]


@lru_cache(maxsize=1)
def _tables() -> dict[str, NDArray[Any]]:
    name = f"characters-{storage.hash_file(Path(__file__))}-{unicodedata.unidata_version}"
    tables = storage.cached_arrays(name, lambda: {"flags": _make_flags(), "classes": _make_classes()})
    for table in tables.values():
        table.flags.writeable = False
    return tables


def _make_classes() -> NDArray[np.uint32]:
    table = np.zeros(NUM_CLASSES, np.uint32)
    for code in range(NUM_CLASSES):
        sign = chr(code)
        if sign.isalnum() or unicodedata.category(sign)[0] == "M":
            table[code] = ord(sign.lower()[0])
    for first, last in _TOKENS_ALONE:
        block = table[first : last + 1]
        block[block > 0] |= ALONE
    return table


def _make_flags() -> NDArray[np.uint8]:
    table = np.zeros(NUM_CODES, np.uint8)
    second = set()
    for code in range(NUM_CODES):
        sign = chr(code)
        category = unicodedata.category(sign)
        if category == "Nd":
            table[code] = LETTER | DIGIT
        elif category[0] in "LN":
            table[code] = LETTER
        elif category[0] == "M":
            table[code] = MARK
        parts = unicodedata.decomposition(sign).split()
        if parts and parts[0][0] != "<":
            if len(parts) == 2:
                second.add(int(parts[1], 16))
            if unicodedata.normalize("NFC", sign) != sign:
                table[code] |= NOT_COMPOSED
        if unicodedata.combining(sign):
            table[code] |= NOT_COMPOSED
    table[[*second, *_HANGUL_VOWELS_AND_TAILS]] |= NOT_COMPOSED
    for first, last in _UNSPACED:
        block = table[first : last + 1]
        block[(block & (LETTER | DIGIT)) == LETTER] |= UNSPACED
    table[ord("_")] |= LETTER
    table[list(_SPACES)] = SPACE
    table[list(_NEWLINES)] = NEWLINE
    table[[code for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (9, 10, *_NEWLINES)]] = DROPPED
    table[list(_DROPPED)] = DROPPED
    return table
