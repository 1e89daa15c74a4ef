from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from motherlode.modality.text import lines

NOTICE = "All rights reserved by the makers of this manual"


def joined(texts: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    encoded = [text.encode() for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(item) for item in encoded], dtype=np.int64)])
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def counts(line: bytes) -> bool:
    """The definition: enough bytes of ASCII letters and digits, and of characters beyond ASCII."""
    return sum(byte >= 128 or chr(byte).isalnum() for byte in line) >= lines.LEAST_LETTERS


def distinct_lines(text: str) -> set[bytes]:
    return {line.lstrip(b" \t") for line in text.encode().split(b"\n") if counts(line)}


def hashes_of(text: str) -> NDArray[np.uint64]:
    return lines.line_hashes(*joined([text]))[0]


def test_lines_are_counted_once_a_text_and_only_where_they_are_long_enough() -> None:
    text = f"{NOTICE}\n==========================================\n  {NOTICE}\nshort line\n\n七個字的中文行就夠了\n"
    hashes, starts = lines.line_hashes(*joined([text, "", NOTICE]))
    assert np.diff(starts).tolist() == [2, 0, 1]
    assert hashes[2] in hashes[:2], "spaces before a line make no other line of it"
    assert (np.diff(hashes[:2].astype(object)) > 0).all()


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text("aZ9 é中\t\n-" + "x" * 8, max_size=120), min_size=1, max_size=4), st.data())
def test_texts_lose_just_the_unwanted_lines(texts: list[str], data: st.DataObject) -> None:
    every = sorted(set().union(*(distinct_lines(text) for text in texts)))
    unwanted = data.draw(st.sets(st.sampled_from(every))) if every else set()
    hashes = {line: int(hashes_of(line.decode())[0]) for line in every}
    assert len(set(hashes.values())) == len(every)
    found, starts = lines.line_hashes(*joined(texts))
    for i, text in enumerate(texts):
        assert found[starts[i] : starts[i + 1]].tolist() == sorted(hashes[line] for line in distinct_lines(text))
    chosen = np.array(sorted(hashes[line] for line in unwanted), np.uint64)
    buffer, offsets = lines.without_lines(*joined(texts), chosen)
    for i, text in enumerate(texts):
        pieces = text.encode().split(b"\n")
        ended = [piece + b"\n" for piece in pieces[:-1]] + [pieces[-1]]
        kept = [p for p in ended if not counts(p) or p.removesuffix(b"\n").lstrip(b" \t") not in unwanted]
        assert bytes(buffer[offsets[i] : offsets[i + 1]]) == b"".join(kept)
    shown = lines.find_lines(*joined(texts), chosen)
    assert shown == {hashes[line]: line.decode().strip() for line in unwanted}
