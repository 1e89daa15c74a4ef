"""What is stamped into moving pictures comes back; frames and players are undisturbed."""

from __future__ import annotations

from io import BytesIO

import av
import numpy as np
import pytest
from PIL import Image

from motherlode.modality import SampleSpec
from motherlode.modality.video import MODALITY
from motherlode.modality.video.files import write_ffv1, write_mp4
from motherlode.safety import provenance
from motherlode.safety.film_marks import put_xmp, xmp_of

SPEC = SampleSpec("video", (3, 6, 16, 24), rate=8.0)
FACTS = {"motherlode": "1.0", "run": 'fröhlich & <quoted> "it\'s"', "index": 3}


def clip() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, SPEC.shape).astype(np.uint8)


def test_webp_carries_its_origin() -> None:
    media = MODALITY.encode(clip(), SPEC)
    stamped = provenance.stamp(media, FACTS)
    assert provenance.read(stamped) == FACTS
    assert provenance.read(media) is None
    assert provenance.suffix(stamped) == ".webp"
    assert np.array_equal(MODALITY.decode(stamped, SPEC), clip())
    with Image.open(BytesIO(stamped)) as image:
        assert provenance.TRAINED_MEDIA in image.info["xmp"].decode()


def test_mp4_carries_its_origin() -> None:
    media = write_mp4(clip().transpose(1, 2, 3, 0), 8.0)
    stamped = provenance.stamp(media, FACTS)
    assert provenance.read(stamped) == FACTS
    assert provenance.suffix(stamped) == ".mp4"
    with av.open(BytesIO(stamped)) as film:
        assert len(list(film.decode(video=0))) == 6


def test_a_second_stamp_counts() -> None:
    for media in (MODALITY.encode(clip(), SPEC), write_mp4(clip().transpose(1, 2, 3, 0), 8.0)):
        twice = provenance.stamp(provenance.stamp(media, FACTS), {"run": "second"})
        assert provenance.read(twice) == {"run": "second"}


def test_other_files_are_left_alone() -> None:
    kept = write_ffv1(clip().transpose(1, 2, 3, 0), 8.0)
    assert provenance.stamp(kept, FACTS) == kept
    assert provenance.suffix(kept) == ".mkv"
    assert put_xmp(b"RIFF\x00\x00\x00\x00WEBPVP8L", b"x") == b"RIFF\x00\x00\x00\x00WEBPVP8L"


@pytest.mark.parametrize(
    "make", [lambda: MODALITY.encode(clip(), SPEC), lambda: write_mp4(clip().transpose(1, 2, 3, 0), 8.0)]
)
def test_damage_is_read_as_nothing(make: object) -> None:
    stamped = bytearray(provenance.stamp(make(), FACTS))  # type: ignore[operator]
    for size in range(0, len(stamped), 37):
        found = provenance.read(bytes(stamped[:size]))
        assert found is None or found == FACTS
    rng = np.random.default_rng(1)
    for _ in range(200):
        broken = bytearray(stamped)
        broken[rng.integers(len(broken))] = rng.integers(256)
        xmp_of(bytes(broken))
        provenance.read(bytes(broken))
