"""The normal form, arrays in and out, measures, fingerprints, and pictures for people."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from motherlode.errors import DatasetError
from motherlode.modality import SampleSpec
from motherlode.modality.image import MODALITY, kernels, normal, png
from motherlode.modality.image.fingerprint import fingerprints, similarity
from motherlode.modality.image.options import Clean

OPTIONS = Clean()


def photo(seed: int = 0, width: int = 160, height: int = 120) -> Image.Image:
    """Noise of a falling spectrum with shapes on it: what compresses and shrinks like a photograph."""
    rng = np.random.default_rng(seed)
    canvas = np.zeros((height, width, 3), np.float32)
    for cells in (3, 6, 12, 24, 48):
        layer = rng.normal(0, 1, (cells, cells, 3)).astype(np.float32)
        for c in range(3):
            large = Image.fromarray(layer[:, :, c]).resize((width, height), Image.Resampling.BICUBIC)
            canvas[:, :, c] += np.asarray(large) * 70 / cells**0.5
    picture = Image.fromarray(np.clip(canvas + 120, 0, 255).astype(np.uint8))
    for _ in range(4):
        x, y = int(rng.integers(0, width - 40)), int(rng.integers(0, height - 40))
        colour = tuple(rng.integers(0, 256, 3).tolist())
        picture.paste(colour, (x, y, x + int(rng.integers(10, 40)), y + int(rng.integers(10, 40))))
    return picture


def save(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def pixels(media: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(BytesIO(media)))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([1, 2, 3, 4]), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_png_writer_and_reader_agree_with_pillow(channels: int, height: int, width: int, seed: int) -> None:
    array = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    media = png.write(array)
    assert np.array_equal(pixels(media).reshape(array.shape), array)
    if channels in (1, 3):
        again = normal.read_tiny(save(Image.fromarray(array[:, :, 0] if channels == 1 else array)))
        assert again is not None
        assert np.array_equal(again, array)


def test_every_png_filter_is_undone() -> None:
    import zlib

    array = np.asarray(photo().resize((20, 15)))
    rows = np.zeros((15, 61), np.uint8)
    flat = array.reshape(15, 60).astype(int)
    for y in range(15):
        kind = y % 5
        left = np.concatenate([np.zeros(3, int), flat[y, :-3]])
        up = flat[y - 1] if y else np.zeros(60, int)
        corner = np.concatenate([np.zeros(3, int), up[:-3]])
        near = np.stack([left, up, corner])
        paeth = np.take_along_axis(near, np.abs(left + up - corner - near).argmin(axis=0)[None], axis=0)[0]
        guess = [0 * up, left, up, (left + up) // 2, paeth][kind]
        rows[y] = np.concatenate([[kind], (flat[y] - guess) % 256])
    media = png.write(array).split(b"IDAT")[0][:-4]
    body = zlib.compress(rows.tobytes())
    chunk = len(body).to_bytes(4, "big") + b"IDAT" + body + zlib.crc32(b"IDAT" + body).to_bytes(4, "big")
    whole = media + chunk + bytes(4) + b"IEND" + zlib.crc32(b"IEND").to_bytes(4, "big")
    assert np.array_equal(pixels(whole), array)
    tiny = normal.read_tiny(whole)
    assert tiny is not None
    assert np.array_equal(tiny, array)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [8, 28, 200])
def test_encode_then_decode_is_exact(channels: int, size: int) -> None:
    sample = np.random.default_rng(0).integers(0, 256, (channels, size, size), np.uint8)
    spec = SampleSpec("image", (channels, size, size))
    again = MODALITY.decode(MODALITY.encode(sample), spec)
    if channels == 4:
        assert again.shape == sample.shape, "transparency is composited before anything else"
    else:
        assert np.array_equal(again, sample)


def test_normalise_round_trip_is_exact() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    floats = MODALITY.normalise(every)
    assert floats.dtype == torch.float32
    assert (float(floats.min()), float(floats.max())) == (-1.0, 1.0)
    assert torch.equal(MODALITY.denormalise(floats), every)
    assert MODALITY.denormalise(torch.tensor([-9.0, 9.0])).tolist() == [0, 255]


def test_decode_pads_the_nearly_right_and_scales_the_rest() -> None:
    sample = np.zeros((1, 28, 28), np.uint8)
    sample[0, 5:20, 5:20] = np.arange(15) * 17
    media = MODALITY.encode(sample)
    padded = MODALITY.decode(media, SampleSpec("image", (1, 32, 32)))
    assert np.array_equal(padded[:, 2:30, 2:30], sample)
    assert padded[0, 0].sum() == 0
    for shape in ((3, 64, 64), (1, 16, 16), (3, 20, 40), (4, 28, 28)):
        assert MODALITY.decode(media, SampleSpec("image", shape)).shape == shape
    wide = photo(width=200, height=100)
    middle = MODALITY.decode(save(wide), SampleSpec("image", (3, 100, 100)))
    assert np.array_equal(middle.transpose(1, 2, 0), np.asarray(wide)[:, 50:150])


def test_decode_refuses_what_it_cannot_read() -> None:
    with pytest.raises(DatasetError):
        MODALITY.decode(b"nothing", SampleSpec("image", (3, 8, 8)))
    with pytest.raises(DatasetError, match="1, 3 or 4"):
        MODALITY.decode(save(photo()), SampleSpec("image", (2, 8, 8)))


@pytest.mark.parametrize(("fit", "corner"), [("crop", None), ("pad", (1, 2, 3)), ("stretch", None)])
def test_exact_size(fit: str, corner: tuple[int, int, int] | None) -> None:
    found = MODALITY.examine([save(photo()), save(photo(1), "JPEG")], Clean(size=64, fit=fit, background=(1, 2, 3)))
    assert found.reasons == [None, None]
    assert [pixels(item).shape for item in found.media] == [(64, 64, 3)] * 2
    assert [Image.open(BytesIO(item)).format for item in found.media] == ["PNG", "JPEG"]
    assert found.columns["width"].tolist() == [64, 64]
    assert found.columns["original_width"].tolist() == [160, 160]
    if corner:
        assert tuple(pixels(found.media[0])[0, 0]) == corner
    if fit == "stretch":
        expected = photo().resize((64, 64), Image.Resampling.BICUBIC)
        assert np.abs(pixels(found.media[0]).astype(float) - np.asarray(expected)).mean() < 1.5


def test_longer_side_and_colour_and_format() -> None:
    media = save(photo())
    found = MODALITY.examine([media], Clean(max_side=80, colour="grey", encode="webp"))
    image = Image.open(BytesIO(found.media[0]))
    assert (image.size, image.format) == ((80, 60), "WEBP")
    assert found.columns["mode"][0] == "L"
    assert MODALITY.examine([media], Clean(max_side=160)).media[0] is media
    small = save(photo().resize((28, 28)))
    assert pixels(MODALITY.examine([small], Clean(colour="grey")).media[0]).ndim == 2
    assert pixels(MODALITY.examine([small], Clean(size=40)).media[0]).shape == (40, 40, 3)


def test_large_jpeg_is_decoded_at_reduced_scale_with_equal_measures() -> None:
    large = photo(width=640, height=480)
    found = MODALITY.examine([save(large, "JPEG", quality=95), save(large)], OPTIONS)
    for name in ("brightness", "contrast", "colourfulness", "entropy"):
        first, second = found.columns[name].tolist()
        assert first == pytest.approx(second, rel=0.06), name
    assert float(similarity(found.thumbs_NT[:1], found.thumbs_NT[1:])[0]) > 0.98


def test_measures_are_numpys() -> None:
    grey = np.asarray(photo().convert("L"))
    found = MODALITY.examine([save(Image.fromarray(grey)), save(photo())], OPTIONS)
    assert found.columns["brightness"][0] == pytest.approx(grey.mean(), abs=1e-3)
    assert found.columns["contrast"][0] == pytest.approx(grey.std(), abs=1e-3)
    shares = np.bincount(grey.ravel(), minlength=256) / grey.size
    assert found.columns["entropy"][0] == pytest.approx(
        -(shares[shares > 0] * np.log2(shares[shares > 0])).sum(), abs=1e-3
    )
    red, green, blue = np.moveaxis(np.asarray(photo()).astype(float), 2, 0)
    first, second = red - green, (red + green) / 2 - blue
    expected = np.hypot(first.std(), second.std()) + 0.3 * np.hypot(first.mean(), second.mean())
    assert found.columns["colourfulness"][1] == pytest.approx(expected, rel=1e-3)
    assert found.columns["colourfulness"][0] == 0


def test_thumbnail_is_pillows_triangle_filter() -> None:
    grey = photo().convert("L")
    thumb = MODALITY.examine([save(grey)], OPTIONS).thumbs_NT[0, : kernels.NUM_LUMA].reshape(32, 32)
    expected = np.asarray(grey.resize((32, 32), Image.Resampling.BILINEAR))
    assert np.abs(thumb.astype(int) - expected).max() <= 1


def test_poor_pictures_get_their_reason() -> None:
    clear = photo()
    dark = Image.fromarray((np.asarray(clear) // 12).astype(np.uint8))
    bright = Image.fromarray((235 + np.asarray(clear) // 13).astype(np.uint8))
    blurred = clear.filter(ImageFilter.GaussianBlur(12))
    flat = Image.new("L", (64, 64), 77)
    found = MODALITY.examine([save(item) for item in (clear, dark, bright, blurred, flat)], OPTIONS)
    assert found.reasons == [None, "underexposed", "overexposed", "blurred", "near_constant"]
    off = Clean(min_contrast=0, min_light=0, max_dark=255, min_sharpness=0)
    assert set(MODALITY.examine([save(item) for item in (dark, bright, blurred, flat)], off).reasons) == {None}


def planted(image: Image.Image, kind: str) -> bytes:
    width, height = image.size
    if kind == "resize":
        return save(image.resize((width * 2 // 3, height * 2 // 3), Image.Resampling.BICUBIC))
    if kind == "jpeg30":
        return save(image, "JPEG", quality=30)
    if kind == "crop":
        return save(image.crop((width // 40, height // 40, width - width // 40, height - height // 40)))
    if kind == "flip":
        return save(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    return save(ImageEnhance.Brightness(image).enhance(0.75))


@pytest.mark.parametrize("kind", ["resize", "jpeg30", "crop", "flip", "darker"])
def test_copies_are_near_and_others_far(kind: str) -> None:
    originals = [photo(seed) for seed in range(60)]
    first = MODALITY.examine([save(item) for item in originals], OPTIONS)
    second = MODALITY.examine([planted(item, kind) for item in originals], OPTIONS)
    own = np.bitwise_count(second.fingerprints_NK[:, :1] ^ first.fingerprints_NK).min(axis=1)
    assert (own <= MODALITY.max_bits).mean() >= 0.95
    alike = similarity(first.thumbs_NT, second.thumbs_NT)
    assert (alike >= MODALITY.similar).mean() >= 0.95
    apart = similarity(first.thumbs_NT, np.roll(second.thumbs_NT, 1, axis=0))
    assert (apart < MODALITY.similar).all()


def test_fingerprint_columns_are_picture_mirror_and_their_middles() -> None:
    thumbs = MODALITY.examine([save(photo()), planted(photo(), "flip")], OPTIONS).thumbs_NT
    codes = fingerprints(thumbs)
    assert codes.shape == (2, 4)
    assert np.bitwise_count(codes[0, 0] ^ codes[1, 1]) <= 1
    assert np.bitwise_count(codes[0, 2] ^ codes[1, 3]) <= 1
    assert float(similarity(thumbs[:1], thumbs[:1])[0]) == pytest.approx(1.0, abs=1e-3)


def test_colour_variants_are_not_copies() -> None:
    picture = photo()
    swapped = Image.merge("RGB", picture.split()[::-1])
    thumbs = MODALITY.examine([save(picture), save(swapped)], OPTIONS).thumbs_NT
    assert float(similarity(thumbs[:1], thumbs[1:])[0]) < MODALITY.similar


def test_spec_follows_the_data() -> None:
    def columns(sides: list[tuple[int, int]], mode: str) -> dict[str, NDArray[np.generic]]:
        width, height = np.array(sides).T
        return {"width": width, "height": height, "mode": np.array([mode] * len(sides))}

    assert MODALITY.spec(columns([(28, 28)] * 3, "L"), resolution=None, channels=None).shape == (1, 28, 28)
    assert MODALITY.spec(columns([(640, 480), (300, 200)], "RGB"), resolution=None, channels=None).shape == (
        3,
        128,
        128,
    )
    assert MODALITY.spec(columns([(640, 480)], "L"), resolution=48, channels=3).shape == (3, 48, 48)


def test_preview_is_a_grid_of_exact_pixels(tmp_path: Path) -> None:
    samples = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    MODALITY.preview(MODALITY.normalise(samples), tmp_path / "grid.png", columns=3)
    grid = pixels((tmp_path / "grid.png").read_bytes())
    assert grid.shape == (2 * 66 + 2, 3 * 66 + 2, 3)
    assert np.array_equal(grid[68 : 68 + 64 : 4, 134 : 134 + 64 : 4], samples[5].permute(1, 2, 0).numpy())
    MODALITY.preview(MODALITY.normalise(samples[:, :1]), tmp_path / "grey.png")


def test_contact_sheet_shows_broken_files(tmp_path: Path) -> None:
    media = [save(photo()), b"broken", save(Image.new("L", (8, 8), 9)), save(photo(1), "JPEG")]
    MODALITY.contact_sheet(media, tmp_path / "sheet.png", captions=["one", "a very long caption " * 9])
    sheet = pixels((tmp_path / "sheet.png").read_bytes())
    assert sheet.ndim == 3
    assert (sheet == (196, 70, 60)).all(axis=2).any(), "the crossed box"
    MODALITY.contact_sheet([], tmp_path / "empty.png")
