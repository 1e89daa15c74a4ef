"""The page of samples: every kind of file inside it, nothing that runs, and no more bytes than it may have."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from motherlode.generation import showing
from motherlode.generation.showing import Card, page

PNG, WAV, MP4 = b"\x89PNG\r\n\x1a\nx", b"RIFF....WAVEx", b"\0\0\0\x18ftypisom"


class Elements(HTMLParser):
    """Counts elements, and keeps all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            if name == "src":
                assert (value or "").startswith("data:")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_each_kind_of_file_has_its_element() -> None:
    files = {"image": ("0.image.png", PNG), "speech": ("0.speech.wav", WAV), "clip": ("0.clip.mp4", MP4)}
    card = Card(0, {"caption": "a <script>boot</script>"}, {**files, "name": ("0.name.txt", b"<i>Boot</i>")})
    found = Elements(page([card], {"run": "<b>", "task": "draw"}))
    assert [tag for tag in found.found if tag in ("img", "audio", "video")] == ["img", "audio", "video"]
    assert not {"script", "i", "b"} & set(found.found)
    assert "a <script>boot</script>" in found.text
    assert "<i>Boot</i>" in found.text


def test_files_that_do_not_fit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "_MOST_BYTES", 20)
    cards = [Card(number, {}, {"image": (f"{number}.png", PNG)}) for number in range(4)]
    found = Elements(page(cards, {}))
    assert found.found.count("img") == 2
    assert "3.png" in found.text


def test_unknown_files_are_named() -> None:
    found = Elements(page([Card(0, {}, {"thing": ("0.thing.bin", b"\xff\xfe\x00")})], {}))
    assert "0.thing.bin" in found.text
