"""The oracle is Python's own decoder on all bytes at once; cuts between tokens are made where they hurt."""

from __future__ import annotations

import random

import pytest

from motherlode.generation.streaming import TextStream
from motherlode.tokenizer import Tokenizer

SIGNS = "abc 春眠不觉晓é–🙂👨‍👩‍👧🇨🇳\u0301\n\t{}\x00"


def parts(data: bytes, rng: random.Random) -> list[bytes]:
    """Cut anywhere, also inside characters; now and then into nothing."""
    places = sorted(rng.choices(range(len(data) + 1), k=rng.randrange(len(data) + 1)))
    return [data[start:stop] for start, stop in zip([0, *places], [*places, len(data)])]


def streamed(pieces: list[bytes], stops: tuple[str, ...] = ()) -> tuple[str, list[str]]:
    stream = TextStream(stops)
    shown = [stream.feed(piece) for piece in pieces]
    shown.append(stream.finish())
    return "".join(shown), shown


@pytest.mark.parametrize("seed", range(200))
def test_any_cuts_give_the_whole_text_and_no_broken_character(seed: int) -> None:
    rng = random.Random(seed)
    text = "".join(rng.choices(SIGNS, k=rng.randrange(60)))
    found, shown = streamed(parts(text.encode(), rng))
    assert found == text
    assert not any("\ufffd" in piece for piece in shown)


@pytest.mark.parametrize("seed", range(200))
def test_stop_strings_cut_exactly_whatever_the_cuts(seed: int) -> None:
    rng = random.Random(seed)
    text = "".join(rng.choices("ab春眠🙂\n", k=rng.randrange(40)))
    stops = tuple("".join(rng.choices("ab春眠🙂\n", k=rng.randrange(1, 5))) for _ in range(rng.randrange(1, 4)))
    found, _ = streamed(parts(text.encode(), rng), stops)
    ends = [text.find(stop) for stop in stops if stop in text]
    assert found == (text[: min(ends)] if ends else text)


@pytest.mark.parametrize("seed", range(100))
def test_bytes_that_are_no_text_are_shown_as_python_shows_them(seed: int) -> None:
    rng = random.Random(seed)
    data = bytes(rng.choices([0x61, 0xE6, 0x98, 0xA5, 0xF0, 0x9F, 0xFF, 0xC3], k=40)) + b"."
    assert streamed(parts(data, rng))[0] == data.decode("utf-8", errors="replace")


def test_text_comes_as_soon_as_it_is_certain() -> None:
    stream = TextStream(("END",))
    assert [stream.feed(piece) for piece in (b"a", b"E", b"N", b"x", b"\xe6", b"\x98", b"\xa5", b"EN")] == [
        "a",
        "",
        "",
        "ENx",
        "",
        "",
        "春",
        "",
    ]
    assert stream.finish() == "EN"
    stream = TextStream(("END",))
    assert stream.feed(b"one END two") == "one "
    assert stream.is_stopped
    assert stream.feed(b"more") == ""
    assert stream.finish() == ""


def test_what_a_stop_string_interrupts_was_no_character() -> None:
    assert streamed([b"a\xe6\x98", b"END"], ("END",))[0] == b"a\xe6\x98".decode(errors="replace")


def test_a_character_that_never_came_whole_is_left_out() -> None:
    assert streamed(["春眠".encode()[:-1]])[0] == "春"
    assert streamed([b"a\xf0\x9f\x99"])[0] == "a"


def test_a_tokenizers_tokens_give_back_its_text(words: Tokenizer) -> None:
    rng = random.Random(0)
    for _ in range(100):
        text = "".join(rng.choices(SIGNS, k=rng.randrange(1, 40)))
        (ids,) = words.encode([text])
        assert streamed([words.token_bytes[number] for number in ids])[0] == text
