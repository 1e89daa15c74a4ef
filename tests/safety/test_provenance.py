from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from motherlode.safety import provenance

FACTS: dict[str, Any] = {"motherlode": "0.1.0", "run": "földer \U0001f5bc", "seed": 3, "recipe": "ab" * 16, "index": 7}


def picture(kind: str = "PNG") -> bytes:
    pixels = np.arange(12 * 10 * 3, dtype=np.uint8).reshape(12, 10, 3)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def test_a_stamped_png_says_where_it_came_from_and_keeps_its_pixels() -> None:
    stamped = provenance.stamp(picture(), FACTS)
    assert provenance.read(stamped) == FACTS
    with Image.open(io.BytesIO(stamped)) as image, Image.open(io.BytesIO(picture())) as plain:
        assert np.array_equal(np.asarray(image), np.asarray(plain))
        assert image.text["Software"] == "Motherlode 0.1.0"  # type: ignore[attr-defined]
        assert provenance.TRAINED_MEDIA in image.text["XML:com.adobe.xmp"]  # type: ignore[attr-defined]


def test_the_xmp_packet_is_well_formed() -> None:
    import xml.etree.ElementTree as ET

    with Image.open(io.BytesIO(provenance.stamp(picture(), FACTS))) as image:
        packet = image.text["XML:com.adobe.xmp"]  # type: ignore[attr-defined]
    body = packet[packet.index("<x:xmpmeta") : packet.index("<?xpacket end")]
    (description,) = ET.fromstring(body).iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    key = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert description.attrib[key] == provenance.TRAINED_MEDIA


@pytest.mark.parametrize("kind", ["JPEG", "GIF"])
def test_other_formats_are_left_as_they_are(kind: str) -> None:
    assert provenance.stamp(picture(kind), FACTS) == picture(kind)
    assert provenance.read(picture(kind)) is None


def test_an_unstamped_or_foreign_png_has_no_facts() -> None:
    assert provenance.read(picture()) is None


@given(st.binary(max_size=200))
def test_reading_never_raises_on_what_is_not_a_png(data: bytes) -> None:
    assert provenance.read(data) is None


@given(st.integers(8, 400))
def test_reading_a_cut_png_finds_all_or_nothing(length: int) -> None:
    assert provenance.read(provenance.stamp(picture(), FACTS)[:length]) in (None, FACTS)


@pytest.mark.parametrize(
    ("media", "ending"),
    [
        (picture(), ".png"),
        (picture("JPEG"), ".jpg"),
        (b"RIFF1234WAVE", ".wav"),
        ("né".encode(), ".txt"),
        (b"\xff\x00", ".bin"),
    ],
)
def test_names_end_as_the_bytes_ask(media: bytes, ending: str) -> None:
    assert provenance.suffix(media) == ending


def test_the_record_is_honest_about_not_being_signed() -> None:
    record = provenance.record(FACTS, 5)
    assert record["signed"] is False
    assert [assertion["label"] for assertion in record["assertions"]] == ["c2pa.actions", "motherlode.run"]
    assert record["assertions"][0]["data"]["actions"][0]["digitalSourceType"] == provenance.TRAINED_MEDIA
