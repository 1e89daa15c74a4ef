"""Text for people: samples in a file with rulers between them, and short excerpts that are safe to print anywhere."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motherlode import storage

_RULE = "─" * 72
_CONTROLS = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_SHOWN = frozenset("\n\t")


def snippet(media: bytes, limit: int = 400) -> str:
    """A printable excerpt of at most `limit` characters: whole lines where that loses little, … where it is cut.

    What cannot be decoded or printed becomes U+FFFD; bidirectional and other invisible controls, which could make a
    page read as what it is not, are among it. The caller escapes markup.
    """
    text = media[: 4 * limit + 4].decode("utf-8", errors="replace")
    is_cut = len(text) > limit or len(media) > 4 * limit + 4
    text = text[:limit]
    if is_cut:
        line_end = text.rfind("\n")
        text = text[: line_end if line_end > 0.8 * limit else limit - 1].rstrip() + "…"
    return "".join(sign if sign in _SHOWN or unicodedata.category(sign) not in _CONTROLS else "\ufffd" for sign in text)


def write(texts: Sequence[str], path: Path) -> Path:
    """Write samples to a UTF-8 file, a numbered ruler before each; returns where: `path` with the ending .txt."""
    path = path.with_suffix(".txt")
    parts = [f"{_RULE} {number}\n{text.rstrip()}\n" for number, text in enumerate(texts, start=1)]
    storage.write_text(path, "\n".join(parts) + "\n" if parts else "")
    return path


def contact_sheet(media: Sequence[bytes], path: Path, captions: Sequence[str]) -> Path:
    """Excerpts with their captions as a text file: what a picture is to other modalities."""
    titles = [*captions, *[""] * (len(media) - len(captions))]
    texts = [f"{title}\n{snippet(item)}" if title else snippet(item) for item, title in zip(media, titles)]
    return write(texts, path)


def cut(ids: Sequence[int] | NDArray[np.integer], length: int, pad: int) -> NDArray[np.int32]:
    """Token ids as int32 (length,): cut at the end, or filled with `pad`."""
    row = np.full(length, pad, np.int32)
    row[: min(len(ids), length)] = np.asarray(ids, np.int32)[:length]
    return row
