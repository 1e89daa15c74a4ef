"""Units and n-grams: any script, closed forms, and counts taken by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motherlode.measures.language_units import grams, numbered, units


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world!", ["Hello", ",", "world", "!"]),
        ("x_1 += 3.14", ["x_1", "+", "=", "3", ".", "14"]),
        ("床前明月光。", ["床", "前", "明", "月", "光", "。"]),
        ("GPT 模型2号", ["GPT", "模", "型", "2", "号"]),
        ("こんにちは", list("こんにちは")),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("naïve café", ["naïve", "café"]),
        ("", []),
        (" \n\t\u3000", []),
    ],
)
def test_units_of_any_script(text: str, expected: list[str]) -> None:
    assert units(text) == expected


@given(st.text())
def test_nothing_but_space_is_lost(text: str) -> None:
    assert "".join(units(text)) == "".join(text.split())


@given(st.lists(st.lists(st.integers(0, 5), max_size=12), max_size=6), st.integers(1, 5))
def test_grams_agree_with_a_plain_count(texts: list[list[int]], order: int) -> None:
    found = grams([np.array(text, np.int64) for text in texts], order)
    plain = [tuple(text[i : i + order]) for text in texts for i in range(len(text) - order + 1)]
    owners = [number for number, text in enumerate(texts) for _ in range(len(text) - order + 1)]
    assert found.text_M.tolist() == owners
    assert found.num_unlike == len(set(plain))
    assert found.num_texts == len(texts)
    assert sorted(Counter(found.gram_M.tolist()).values()) == sorted(Counter(plain).values())
    same = {(a, b) for a, b in zip(plain, found.gram_M.tolist())}
    assert len(same) == found.num_unlike


def test_numbers_are_shared_between_sets() -> None:
    known: dict[str, int] = {}
    first = numbered([["a", "b"]], known)
    second = numbered([["b", "c"], []], known)
    assert [part.tolist() for part in (*first, *second)] == [[0, 1], [1, 2], []]
