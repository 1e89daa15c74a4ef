"""Bytes of unknown encoding to text.

Valid UTF-8 never comes here. Marks and NUL patterns tell UTF-16 and UTF-32; uchardet (in resiliparse, Apache-2.0) tells
the rest from a sample of the lines that are not ASCII. On 640 texts in 17 encodings it was right for 98 %, in 0.2 ms;
charset-normalizer for 70 %, in 1.6 ms (2 % of Czech in ISO 8859-2, no Chinese with terminal colours in it).
"""

from __future__ import annotations

import codecs
import re

from motherlode.errors import MissingExtraError
from motherlode.modality.text.unfit import Unfit

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_SAMPLE_BYTES = 16_384
_LEAST_NULS = 0.2
"""Share of NULs above which bytes may be ASCII in UTF-16; Chinese in it has few, and is told by its mark alone."""
_MOST_HIGH = 0.4
"""Share of bytes above 127 below which text of unknown encoding may be of Western Europe."""
_SOUND_FOR_EACH_BROKEN = 8
_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f]")
_ODD_LINES = re.compile(rb"[^\n]*[\x80-\xff][^\n]*\n?")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def has_mark(media: bytes) -> bool:
    """Whether a byte order mark says what the encoding is."""
    return media.startswith(tuple(mark for mark, _ in _MARKS))


def decode(media: bytes, *, num_wide: int, num_invalid: int, declared: str = "") -> tuple[str, str]:
    """(text, name of the encoding); bytes that make no sense in it become U+FFFD.

    Args:
        media: not valid UTF-8, or marked.
        num_wide: sound UTF-8 characters of several bytes in it.
        num_invalid: bytes that are no UTF-8.
        declared: an encoding the document itself names.

    Raises:
        Unfit: "binary" or "undecodable".
    """
    for mark, name in _MARKS:
        if media.startswith(mark):
            return media[len(mark) if name == "utf-8" else 0 :].decode(name, errors="replace").lstrip("\ufeff"), name
    if b"\0" in media:
        return _decode_wide(media)
    if num_wide >= _SOUND_FOR_EACH_BROKEN * num_invalid or _is_cut(media, num_invalid):
        return media.decode("utf-8", errors="replace"), "utf-8"
    for name in (declared, *_guesses(media)):
        text = _try(media, name)
        if text is not None:
            return text, name
    raise Unfit("undecodable")


def _is_cut(media: bytes, num_invalid: int) -> bool:
    """Whether all that is wrong with UTF-8 is a character cut off at the end."""
    return 1 <= num_invalid <= 3 and media[-num_invalid] >= 0xC0


def _decode_wide(media: bytes) -> tuple[str, str]:
    if media.count(b"\0") >= _LEAST_NULS * len(media):
        for name in _WIDE:
            text = _try(media, name)
            if text is not None and not _CONTROLS.search(text):
                return text, name
    raise Unfit("binary")


def _guesses(media: bytes) -> list[str]:
    """Encodings to try, likeliest first."""
    try:
        from resiliparse.parse.encoding import detect_encoding
    except ImportError as error:
        raise MissingExtraError("text that is not UTF-8", "text") from error
    sample, size = [], 0
    for match in _ODD_LINES.finditer(_ESCAPES.sub(b"", media[: 64 * _SAMPLE_BYTES])):
        sample.append(match[0][:_SAMPLE_BYTES])
        size += len(sample[-1])
        if size >= _SAMPLE_BYTES:
            break
    odd = b"".join(sample)
    found = detect_encoding(odd, max_len=2 * _SAMPLE_BYTES, html5_compatible=False)
    guesses = [found.lower()] if found else []
    num_high = len(odd) - len(odd.translate(None, bytes(range(128, 256))))
    if all(0xA1 <= byte <= 0xFE for byte in odd if byte >= 128) and num_high % 2 == 0:
        guesses.append("gb18030")
    if num_high < _MOST_HIGH * len(odd):
        guesses.append("cp1252")
    return [name for name in guesses if name not in ("utf-8", "ascii")]


def _try(media: bytes, name: str) -> str | None:
    """The text, or None where the encoding is unknown here or does not fit."""
    if not name:
        return None
    try:
        return media.decode(name)
    except (UnicodeDecodeError, LookupError):
        return None
