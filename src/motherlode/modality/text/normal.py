"""The normal form of text: what was decoded wrongly mended, Unicode's Form C, one kind of line end and space.

Mojibake is mended by ftfy (Apache-2.0), line by line, and only in documents where the survey saw a pair of characters
that wrong decoding makes. Everything but composition is one compiled pass.

Shape legend: N documents (offsets have N + 1).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import MissingExtraError
from motherlode.modality.text import characters, encoding, kernels

_MOST_ROUNDS, _MOST_FAILURES = 8, 8
"""Times round; bad lines for each mended one after which a document is given up: ftfy takes 1 ms for each."""
_PUNCTUATION = "\u2013-\u2039\u20ac\u2122"
_SUSPECT = re.compile(
    f"[\xc0-\xff]{{3}}|[\xc2-\xf4][\x80-\xbf\u0152-\u0192\u02c6\u02dc{_PUNCTUATION}]|\xe2[\xc4\xc5]|\u0393\xc7"
    f"|[\u0420\u0421][\xa0-\xbf\u0402-\u040f\u0452-\u045f{_PUNCTUATION}]"
)
"""What `kernels.survey` counts as signs of a wrong encoding."""
_YAML = re.compile(rb"\A(?:\xef\xbb\xbf)?---[ \t]*\r?\n(?:[^\n]{0,2000}\n){0,200}?(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)")
_TOML = re.compile(rb"\A(?:\xef\xbb\xbf)?\+\+\+[ \t]*\r?\n(?:[^\n]{0,2000}\n){0,200}?\+\+\+[ \t]*(?:\r?\n|\Z)")
_YAML_LINE = re.compile(rb"\s*(?:[\w\"'.-][\w\"' ./-]{0,60}:(?:\s|$)|- |#|\]|\}|\s{2,}\S|$)")
_TOML_LINE = re.compile(rb"\s*(?:[\w\"'.-]{1,60}\s*=|\[|\]|#|\"|$)")


def without_front_matter(text: bytes) -> bytes:
    """A Markdown document without the block of YAML (---) or TOML (+++) keys it opens with, if it has one."""
    for block, line in ((_YAML, _YAML_LINE), (_TOML, _TOML_LINE)):
        match = block.match(text)
        if match:
            lines = match[0].splitlines()[1:-1]
            if lines and all(line.match(item) for item in lines) and any(item.strip() for item in lines):
                return text[match.end() :]
    return text


def join(texts: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Documents one after another, uint8, and where each begins and the last ends, int64 (N + 1,)."""
    offsets_N = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets_N[1:])
    return np.frombuffer(b"".join(texts), np.uint8), offsets_N


def survey(buffer: NDArray[np.uint8], offsets_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """What is in raw bytes: int64 (N, F), see `kernels.survey`."""
    found_NF = np.zeros((len(offsets_N) - 1, kernels.NUM_FACTS), np.int64)
    kernels.survey(buffer, offsets_N, characters.flags(), found_NF)
    return found_NF


def compact(
    buffer: NDArray[np.uint8], offsets_N: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """The compiled part of the normal form: (buffer, offsets, changes); see `kernels.normalise`."""
    out, out_offsets_N = np.empty(len(buffer), np.uint8), np.zeros_like(offsets_N)
    changes_NC = np.zeros((len(offsets_N) - 1, kernels.NUM_CHANGES), np.int64)
    kernels.normalise(buffer, offsets_N, characters.flags(), out, out_offsets_N, changes_NC)
    return out[: out_offsets_N[-1]], out_offsets_N, changes_NC


def normalise(text: str, *, repair: bool = True) -> str:
    """The normal form of one text; the normal form of the result is itself."""
    return settle(text.encode("utf-8", "replace"), repair, Counter()).decode()


def settle(text: bytes, repair: bool, notes: Counter[str]) -> bytes:
    """The normal form of valid UTF-8 that a single compiled pass may not reach.

    Removing an invisible character can bring two together that compose, and mending can uncover what needs mending, so
    it goes round until nothing changes.

    Args:
        text: one document.
        repair: whether to mend mojibake.
        notes: gains `repaired_mojibake` and `composed` where that changed the text.
    """
    changed: Counter[str] = Counter()
    for _ in range(_MOST_ROUNDS):
        before = text
        whole = text.decode()
        mended = _mend(whole) if repair else whole
        composed = unicodedata.normalize("NFC", mended)
        changed["repaired_mojibake"] |= mended != whole
        changed["composed"] |= composed != mended
        buffer, _, _ = compact(*join([composed.encode()]))
        text = buffer.tobytes()
        if text == before:
            break
    notes.update({name: 1 for name, is_changed in changed.items() if is_changed})
    return text


def _mend(text: str) -> str:
    """Text of another script read as Latin-1 read anew; of other text, lines that ftfy finds bad and makes good."""
    lines = text.split("\n")
    # Most lines are ASCII even here, and Python knows that of each without looking.
    suspects = [k for k, line in enumerate(lines) if not line.isascii() and _SUSPECT.search(line)]
    if not suspects:
        return text
    redecoded = encoding.redecode(text)
    if redecoded is not None:
        return redecoded
    try:
        from ftfy import fix_encoding
        from ftfy.badness import is_bad
    except ImportError as error:
        raise MissingExtraError("mending mojibake (clean.mojibake: repair)", "text") from error
    num_mended = num_failed = 0
    for k in suspects:
        line = lines[k]
        if is_bad(line):
            mended = fix_encoding(line).replace("\r", "").replace("\n", " ")
            if mended != line and not is_bad(mended):
                lines[k] = mended
                num_mended += 1
            else:
                num_failed += 1
            if num_failed > _MOST_FAILURES * (1 + num_mended):
                break
    return "\n".join(lines)
