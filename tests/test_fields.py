"""Fields: ranges do not meet, codes come back, and what is not whole is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from motherlode.errors import CorruptError, RecipeError
from motherlode.fields import FILE, Field, Layout, Task

END, TEXT = 5, 300


def layout() -> Layout:
    fields = [
        Field("caption", "text", 0, 0, (TEXT,), max_tokens=32),
        Field("label", "label", 0, 0, (3,), labels=("a", "b", "c")),
        Field("image", "codes", 0, 0, (16,), (2, 2), "image", max_tokens=4),
        Field("speech", "codes", 0, 0, (8, 4), (0,), "audio", max_tokens=40),
    ]
    tasks = [Task("draw", ("caption",), ("image", "speech")), Task("name", ("image",), ("label",), 0.5)]
    return Layout.build(fields, tasks, end=END, num_text_tokens=TEXT)


def test_ranges_are_apart_and_named() -> None:
    found = layout()
    assert [field.begin for field in found.fields] == [300, 301, 302, 303]
    assert found.field("label").first == 304
    assert found.field("image").first == 307
    assert found.field("speech").starts_Q.tolist() == [323, 331]
    assert found.num_tokens == 335 == TEXT + len(found.names)
    assert found.names[:5] == ["<|caption|>", "<|label|>", "<|image|>", "<|speech|>", "<|label:0:0|>"]
    assert found.names[-1] == "<|speech:1:3|>"


def test_codes_become_tokens_and_come_back() -> None:
    image, speech = layout().field("image"), layout().field("speech")
    codes = np.arange(4).reshape(2, 2, 1)
    assert image.tokens_of(codes).tolist() == [307, 308, 309, 310]
    assert (image.codes_of(image.tokens_of(codes)) == codes).all()
    codes = np.array([[7, 0], [1, 3], [2, 2]])
    assert speech.tokens_of(codes).tolist() == [330, 331, 324, 334, 325, 333]
    assert (speech.codes_of(speech.tokens_of(codes)) == codes).all()
    assert image.num_tokens == 4
    assert speech.num_tokens is None


@pytest.mark.parametrize("tokens", [[330], [331, 330], []])
def test_what_is_no_whole_place_is_refused(tokens: list[int]) -> None:
    with pytest.raises(RecipeError):
        layout().field("speech").codes_of(np.array(tokens))


def test_a_document_has_every_field_between_its_marks() -> None:
    found = layout()
    parts = {"caption": np.array([7, 8]), "image": np.array([307, 308, 309, 310])}
    assert found.document(0, parts, ("caption", "image")).tolist() == [
        0, 300, 7, 8, END, 302, 307, 308, 309, 310, END,
    ]  # fmt: skip
    assert found.document(0, {}, ("caption",)).tolist() == [0, 300, END]


def test_what_may_come_next() -> None:
    found, end = layout(), (END, END + 1)
    assert found.ranges("label", 0) == ((304, 307),)
    assert found.ranges("label", 1) == found.ranges("image", 4) == (end,)
    assert found.ranges("image", 3) == ((307, 323),)
    assert [found.ranges("speech", place) for place in range(3)] == [
        ((323, 331),), ((331, 335),), (end, (323, 331)),
    ]  # fmt: skip
    assert found.ranges("caption", 7) == ((0, TEXT),)


def test_it_is_kept_in_a_file(tmp_path: Path) -> None:
    assert Layout.load(tmp_path) is None
    (tmp_path / FILE).write_text(layout().to_json(), encoding="utf-8")
    assert Layout.load(tmp_path) == layout()
    (tmp_path / FILE).write_text('{"fields": 3}')
    with pytest.raises(CorruptError):
        Layout.load(tmp_path)


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(RecipeError, match="caption"):
        layout().field("captoin")
    with pytest.raises(RecipeError, match="draw"):
        layout().task("drow")
    with pytest.raises(RecipeError):
        Layout.build(layout().fields, [Task("x", ("nothing",), ())], end=END, num_text_tokens=TEXT)
    assert layout().task().name == "draw"
