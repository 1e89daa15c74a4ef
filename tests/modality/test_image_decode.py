"""Every kind of file in, plain pixels or a reason out; and no bytes whatever make it raise."""

from __future__ import annotations

import os
import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile, ImageOps

from motherlode.modality import Examination
from motherlode.modality.image import MODALITY, decode, png
from motherlode.modality.image.options import Clean

OPTIONS = Clean()


def scene(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    """A colourful picture with edges and smooth parts."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 8, 3), np.uint8)
    picture = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
    picture.paste((230, 40, 30), (width // 8, height // 8, width // 3, height // 2))
    return picture


def save(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def examine_one(media: bytes, **options: Any) -> tuple[str | None, bytes, Examination]:
    found = MODALITY.examine([media], Clean(**options))
    return found.reasons[0], found.media[0], found


def pixels(media: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(media)))


def bomb(width: int, height: int) -> bytes:
    """A PNG of one colour, compressed as it is made, so that the test itself needs no memory."""
    row = bytes(1 + width)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row * 100) for _ in range(height // 100)) + packer.flush()

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return png.SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def webp_header(width: int, height: int) -> bytes:
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (width - 1).to_bytes(3, "little")
    body += (height - 1).to_bytes(3, "little") + bytes(64)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


@pytest.mark.parametrize(
    "media",
    [
        bomb(30_000, 30_000),
        png.SIGNATURE + struct.pack(">I", 13) + b"IHDR" + struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0),
        webp_header(16_000, 16_000),
        b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + bytes(32),
        b"BM" + bytes(12) + struct.pack("<Iii", 40, 100_000, -100_000) + bytes(28),
    ],
    ids=["png", "png_header", "webp", "gif", "bmp"],
)
def test_bomb_is_refused_by_its_header(media: bytes) -> None:
    process = psutil.Process(os.getpid())
    MODALITY.examine([save(scene())], OPTIONS)
    before_bytes = process.memory_info().rss
    reason, kept, _ = examine_one(media)
    assert reason == "decompression_bomb"
    assert kept is media
    assert process.memory_info().rss - before_bytes < 64e6


def test_jpeg_and_tiff_bombs_are_refused() -> None:
    jpeg = bytearray(save(scene(), "JPEG"))
    place = jpeg.index(b"\xff\xc0")
    jpeg[place + 5 : place + 9] = struct.pack(">HH", 60_000, 60_000)
    assert examine_one(bytes(jpeg))[0] == "decompression_bomb"
    tiff = bytearray(save(Image.new("L", (64, 64)), "TIFF"))
    assert examine_one(bytes(tiff), max_pixels=1000)[0] == "decompression_bomb"


@pytest.mark.parametrize(
    ("media", "reason"),
    [
        (b"", "empty"),
        (b"hello, this is text", "unknown_format"),
        (b"%PDF-1.4" + bytes(100), "unknown_format"),
        (png.SIGNATURE, "truncated"),
        (save(scene())[:-20], "truncated"),
        (save(scene())[:-1], "truncated"),
        (save(scene(), "JPEG")[:-40], "truncated"),
        (save(scene(), "JPEG")[:-2], "truncated"),
        (save(scene(400, 300), "JPEG")[:3000], "truncated"),
        (save(scene(), "BMP")[:-400], "truncated"),
        (save(scene(), "GIF")[:-300], "truncated"),
        (b"\xff\xd8\xff" + bytes(300), "undecodable"),
        (save(scene(12, 12)), "too_small"),
        (save(scene(400, 20)), "extreme_aspect"),
        (save(Image.new("RGB", (64, 64), (120, 130, 140))), "near_constant"),
    ],
)
def test_reasons(media: bytes, reason: str) -> None:
    found, kept, examination = examine_one(media)
    assert found == reason
    assert kept is media
    assert all(len(column) == 1 for column in examination.columns.values())


def test_pictures_of_phones_are_read_where_a_reader_is_installed() -> None:
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    media = save(scene(120, 80), "HEIF")
    found, kept, examination = examine_one(media)
    assert found is None
    assert kept[:3] == b"\xff\xd8\xff", "kept as JPEG, which every reader of datasets knows"
    assert (int(examination.columns["width"][0]), int(examination.columns["height"][0])) == (120, 80)
    assert examination.columns["original_format"][0] == "HEIF"
    assert examine_one(media, max_pixels=1000)[0] == "decompression_bomb"
    assert examine_one(media[: len(media) // 2])[0] in ("truncated", "undecodable")


def test_pictures_of_phones_are_named_where_none_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for brands in (b"heic", b"mif1\x00\x00\x00\x00mif1heic"):
        media = (8 + len(brands)).to_bytes(4, "big") + b"ftyp" + brands + bytes(100)
        monkeypatch.setattr(decode, "_reads_heif", lambda: False)
        assert examine_one(media)[0] == "no_heic_reader"
    assert examine_one(save(scene(), "AVIF"))[0] is None


def test_flipped_bit_in_png_is_found() -> None:
    media = bytearray(save(scene()))
    media[len(media) // 2] ^= 4
    assert examine_one(bytes(media))[0] == "undecodable"


def test_truncated_files_are_never_half_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert examine_one(save(scene(), "JPEG")[:-40])[0] == "truncated"
    assert ImageFile.LOAD_TRUNCATED_IMAGES, "the program's own setting is given back"


def test_untouched_file_is_the_same_object() -> None:
    for media in (save(scene()), save(scene(), "JPEG"), save(scene().convert("L")), save(scene(), "WEBP")):
        reason, kept, found = examine_one(media)
        assert reason is None
        assert kept is media
        assert found.notes == {}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    media = save(scene(), "PNG", exif=exif)
    reason, kept, found = examine_one(media)
    assert reason is None
    assert (pixels(kept) == np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(media))))).all()
    expected = (48, 64) if orientation >= 5 else (64, 48)
    assert (found.columns["width"][0], found.columns["height"][0]) == expected
    assert ("orientation" in found.notes) == (orientation != 1)


def lab(picture: Image.Image) -> Image.Image:
    srgb, wanted = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.profileToProfile(picture, srgb, wanted, outputMode="LAB")


def test_modes_become_plain() -> None:
    picture = scene()
    cases = {
        "cmyk": (save(picture.convert("CMYK"), "JPEG", quality=95), "cmyk", 12.0),
        "palette": (save(picture.quantize(256)), "palette", 12.0),
        "rgba": (save(picture.convert("RGBA")), "alpha", 0.0),
        "ycbcr": (save(picture.convert("YCbCr"), "TIFF"), "ycbcr", 2.0),
        "lab": (save(lab(picture), "TIFF"), "lab", 6.0),
    }  # fmt: skip
    for name, (media, note, tolerance) in cases.items():
        reason, kept, found = examine_one(media)
        assert reason is None, name
        assert found.notes == {note: 1}, name
        assert found.columns["mode"][0] == "RGB", name
        difference = np.abs(pixels(kept).astype(float) - np.asarray(picture))
        assert difference.mean() <= tolerance, name


def test_grey_palette_and_one_bit_become_grey() -> None:
    grey = scene().convert("L")
    palette = grey.quantize(16)
    for media in (save(palette), save(grey.convert("1"))):
        reason, _, found = examine_one(media)
        assert reason is None
        assert found.columns["mode"][0] == "L"


def test_sixteen_bits_are_scaled_by_their_depth() -> None:
    grey = np.asarray(scene().convert("L")).astype(np.uint16)
    for factor in (4, 16, 257):
        reason, kept, found = examine_one(save(Image.fromarray(grey * factor)))
        assert reason is None
        assert found.notes == {"deep": 1}
        assert np.abs(pixels(kept).astype(int) - grey).max() <= 1, factor


def test_floats_are_scaled_by_their_range() -> None:
    values = np.asarray(scene().convert("L")).astype(np.float32) / 50 - 3
    _, kept, _ = examine_one(save(Image.fromarray(values), "TIFF"))
    assert pixels(kept).min() == 0
    assert pixels(kept).max() == 255


def test_alpha_shows_the_background() -> None:
    picture = scene().convert("RGBA")
    picture.putalpha(Image.new("L", picture.size, 0))
    picture.paste((10, 20, 30, 255), (0, 0, 30, 48))
    _, kept, found = examine_one(save(picture), background=(0, 200, 0))
    assert found.notes == {"alpha": 1}
    assert tuple(pixels(kept)[0, 63]) == (0, 200, 0)
    assert tuple(pixels(kept)[0, 0]) == (10, 20, 30)
    grey = Image.merge("LA", (scene().convert("L"), Image.new("L", (64, 48), 128)))
    _, kept, found = examine_one(save(grey))
    assert found.columns["mode"][0] == "L"
    half = np.asarray(scene().convert("L")).astype(float) * 128 / 255 + 255 * 127 / 255
    assert np.abs(pixels(kept) - half).max() <= 1.5


def test_transparent_palette_is_composited() -> None:
    picture = scene().quantize(8)
    media = save(picture, "GIF", transparency=int(np.asarray(picture)[0, 0]))
    reason, kept, found = examine_one(media, background=(1, 2, 3))
    assert reason is None
    assert found.notes == {"alpha": 1}
    assert tuple(pixels(kept)[0, 0]) == (1, 2, 3)


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP"])
def test_animation_keeps_its_first_frame(file_format: str) -> None:
    frames = [scene(seed=seed) for seed in range(3)]
    options = {"lossless": True} if file_format == "WEBP" else {}
    media = save(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    reason, kept, found = examine_one(media)
    assert reason is None
    assert found.columns["num_frames"][0] == 3
    assert found.notes["animation"] == 1
    assert np.abs(pixels(kept).astype(float)[:, :, :3] - np.asarray(frames[0])).mean() < 12


def test_wide_gamut_profile_becomes_srgb() -> None:
    """Red and blue swapped by the profile, as a profile whose effect is known exactly would be hard to come by."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    reason, kept, _ = examine_one(save(scene(), "PNG", icc_profile=profile))
    assert reason is None, "a profile of another colour space is passed over"
    assert np.array_equal(pixels(kept), np.asarray(scene()))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    media = save(scene(), "PNG", icc_profile=srgb)
    assert examine_one(media)[1] is media
    assert examine_one(save(scene(), "PNG", icc_profile=b"not a profile"))[0] is None


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_never_raise(media: bytes) -> None:
    found = MODALITY.examine([media], OPTIONS)
    assert found.reasons[0] is not None


HEADS = {
    "PNG": save(scene()), "JPEG": save(scene(), "JPEG"), "GIF": save(scene(), "GIF"), "WEBP": save(scene(), "WEBP"),
    "BMP": save(scene(), "BMP"), "TIFF": save(scene(), "TIFF", compression="tiff_lzw"), "PPM": save(scene(), "PPM"),
    "AVIF": save(scene(), "AVIF"), "JPEG2000": save(scene(), "JPEG2000"),
}  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(HEADS)), st.data())
def test_damaged_files_never_raise(name: str, data: st.DataObject) -> None:
    media = bytearray(HEADS[name])
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(media) - 1))
        media[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del media[data.draw(st.integers(1, len(media) - 1)) :]
    found = MODALITY.examine([bytes(media), HEADS[name]], OPTIONS)
    assert found.reasons[1] is None, "a bad neighbour changes nothing"
    assert found.thumbs_NT.shape[0] == 2


@pytest.mark.parametrize("name", sorted(HEADS))
def test_every_format_is_read(name: str) -> None:
    reason, kept, found = examine_one(HEADS[name])
    assert reason is None
    assert found.columns["original_format"][0] == name
    assert np.abs(pixels(kept).astype(float) - np.asarray(scene())).mean() < 12
