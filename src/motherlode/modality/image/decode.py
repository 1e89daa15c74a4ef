"""Bytes of any picture file to 8-bit grey or colour pixels, or a reason why not.

The header is read first: a decompression bomb costs its header and nothing else. Files are then decoded once, large
JPEGs at a reduced scale (their entropy code is still read to the end, so a cut is found). Whatever a file holds
(orientation, CMYK, palette, 16 bits, alpha, frames, a colour profile) becomes plain grey or sRGB colour. Each step
that changes the pixels is counted in the notes. Nothing here raises anything but `Unfit` for a bad file.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, ImageOps, UnidentifiedImageError

from motherlode.modality.image import png
from motherlode.modality.image.options import Clean

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""What is read (JPEG includes MPO). Formats that run programs or hide others (EPS, ICO) are left out on purpose."""
WORK_SIDE = 96
"""Measures are taken on a picture reduced by a whole factor so that its shorter side is at least this long."""
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)
_DEPTHS = (1023, 4095, 16383, 65535)
_LOSSY = frozenset({"JPEG", "MPO", "AVIF", "JPEG2000", "HEIF"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"})


class Unfit(Exception):  # noqa: N818 - a sample is unfit; nothing is in error
    """A sample must be dropped; the message is the reason."""

    @property
    def reason(self) -> str:
        """The reason, one word."""
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Picture:
    """An opened file: header known, pixels perhaps not yet decoded."""

    image: Image.Image
    width: int
    """As it should be seen, orientation applied."""
    height: int
    file_format: str
    num_frames: int


@contextmanager
def quiet() -> Iterator[None]:
    """Pillow warns about files that are odd or large, which here are reasons or notes; and no file is half loaded.

    A program around us may have asked Pillow to fill up truncated files: inside, they are refused all the same.
    """
    lenient = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = lenient


def check_header(media: bytes, options: Clean) -> None:
    """Refuse what the first bytes already condemn, before Pillow reserves anything.

    Raises:
        Unfit: "empty", "decompression_bomb", "truncated" or "undecodable".
    """
    if not media:
        raise Unfit("empty")
    dimensions = sniff(media)
    if dimensions is not None and dimensions[0] * dimensions[1] > options.max_pixels:
        raise Unfit("decompression_bomb")


def sniff(media: bytes) -> tuple[int, int] | None:
    """Width and height of formats whose Pillow reader reserves memory by the header, or None for the rest."""
    if media.startswith(png.SIGNATURE):
        try:
            return png.size(media)
        except png.PngError as error:
            raise Unfit(error.reason) from error
    if media[:4] == b"RIFF" and media[8:12] == b"WEBP" and len(media) >= 30:
        return _webp_size(media)
    if media[:3] == b"GIF" and len(media) >= 10:
        width, height = struct.unpack_from("<HH", media, 6)
        return width, height
    if media[:2] == b"BM" and len(media) >= 26 and struct.unpack_from("<I", media, 14)[0] >= 40:
        width, height = struct.unpack_from("<ii", media, 18)
        return abs(width), abs(height)
    return None


def _webp_size(media: bytes) -> tuple[int, int] | None:
    if media[12:16] == b"VP8X":
        return 1 + int.from_bytes(media[24:27], "little"), 1 + int.from_bytes(media[27:30], "little")
    if media[12:16] == b"VP8L":
        packed = int.from_bytes(media[21:25], "little")
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    if media[12:16] == b"VP8 ":
        width, height = struct.unpack_from("<HH", media, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def open_picture(media: bytes, options: Clean) -> Picture:
    """Read the header with Pillow and judge it; no pixel is decoded.

    Raises:
        Unfit: "unknown_format", "no_heic_reader", "undecodable", "truncated", "decompression_bomb", "too_small" or
            "extreme_aspect".
    """
    check_header(media, options)
    is_heif = _is_heif(media)
    if is_heif and not _reads_heif():
        raise Unfit("no_heic_reader")
    try:
        image = Image.open(BytesIO(media), formats=("HEIF",) if is_heif else FORMATS)
        turned = _is_turned(image)
        num_frames = int(getattr(image, "n_frames", 1))
        if num_frames > 1:
            image.seek(0)
    except UnidentifiedImageError as error:
        raise Unfit("undecodable" if _is_known(media) else "unknown_format") from error
    except Image.DecompressionBombError as error:
        raise Unfit("decompression_bomb") from error
    except Exception as error:  # Pillow's readers raise nearly anything on damaged headers
        raise Unfit("undecodable") from error
    width, height = image.size[::-1] if turned else image.size
    check_shape(width, height, options)
    return Picture(image, width, height, str(image.format), num_frames)


def check_shape(width: int, height: int, options: Clean) -> None:
    """Judge the dimensions alone.

    Raises:
        Unfit: "decompression_bomb", "too_small" or "extreme_aspect".
    """
    if width * height > options.max_pixels:
        raise Unfit("decompression_bomb")
    if min(width, height) < options.min_side:
        raise Unfit("too_small")
    if max(width, height) > options.max_aspect * min(width, height):
        raise Unfit("extreme_aspect")


def _is_turned(image: Image.Image) -> bool:
    return "exif" in image.info and image.getexif().get(_ORIENTATION) in _TURNED


def _is_heif(media: bytes) -> bool:
    """Whether the first box says HEIC, as phones write it; AVIF, its sibling, is Pillow's own."""
    if media[4:8] != b"ftyp":
        return False
    size = int.from_bytes(media[:4], "big")
    brands = {media[8:12], *(media[place : place + 4] for place in range(16, min(size, 256), 4))}
    return not brands.isdisjoint(_HEIF_BRANDS)


@lru_cache(maxsize=1)
def _reads_heif() -> bool:
    """Whether Pillow can be taught to read HEIC."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _is_known(media: bytes) -> bool:
    """Whether the first bytes name a format we read, so that its being unreadable is damage."""
    return media.startswith((png.SIGNATURE, b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*")) or (
        media[:4] == b"RIFF" and media[8:12] == b"WEBP"
    )


def decode(picture: Picture, options: Clean, least_side: int = 0) -> tuple[Image.Image, list[str]]:
    """Decode to an upright image of mode "L" or "RGB", and the names of what had to be changed on the way.

    Args:
        picture: from `open_picture`.
        options: for the background behind transparent pixels.
        least_side: a JPEG may be decoded at a smaller scale whose shorter side is at least this; 0: at full scale.

    Raises:
        Unfit: "truncated" or "undecodable".
    """
    image = picture.image
    try:
        if least_side:
            image.draft(None, _at_least(image.size, least_side))
        image.load()
        return _flatten(image, picture, options)
    except Unfit:
        raise
    except Exception as error:
        raise Unfit("truncated" if _speaks_of_an_end(error) else "undecodable") from error


def _at_least(size: tuple[int, int], least_side: int) -> tuple[int, int]:
    factor = min(size) / least_side
    return max(1, int(size[0] / factor)), max(1, int(size[1] / factor))


def _speaks_of_an_end(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, EOFError) or any(
        word in text for word in ("truncated", "end of file", "not enough", "eof")
    )


def _flatten(image: Image.Image, picture: Picture, options: Clean) -> tuple[Image.Image, list[str]]:
    notes = ["animation"] if picture.num_frames > 1 else []
    info = dict(image.info)
    if "exif" in info and image.getexif().get(_ORIENTATION, 1) != 1:
        notes.append("orientation")
        image = ImageOps.exif_transpose(image)
    if image.mode not in ("L", "RGB") or "transparency" in info:
        notes.append(_name_of(image.mode, "transparency" in info))
        image = _plain(image, info, options.background)
    profile = info.get("icc_profile")
    if profile and image.mode == "RGB" and "cmyk" not in notes and not _is_srgb(profile):
        transform = _to_srgb(profile, "RGB")
        if transform is not None:
            notes.append("colour_profile")
            image = ImageCms.applyTransform(image, transform) or image
    return image, notes


def _name_of(mode: str, transparency: bool) -> str:
    if transparency or mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        return "alpha"
    return {"CMYK": "cmyk", "P": "palette", "1": "one_bit", "LAB": "lab", "YCbCr": "ycbcr"}.get(mode, "deep")


def _plain(image: Image.Image, info: dict[Any, Any], background: tuple[int, int, int]) -> Image.Image:
    """Any mode to "L" or "RGB"."""
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep(np.asarray(image))
    if image.mode == "CMYK":
        transform = _to_srgb(info["icc_profile"], "CMYK") if info.get("icc_profile") else None
        return (ImageCms.applyTransform(image, transform) if transform else None) or image.convert("RGB")
    if image.mode == "LAB":
        transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        return ImageCms.applyTransform(image, transform) or image.convert("RGB")
    if image.mode in ("LA", "La") or (image.mode in ("L", "1") and "transparency" in info):
        return _over(image.convert("LA"), "L", background)
    if image.mode in ("RGBA", "RGBa", "PA") or "transparency" in info:
        return _over(image.convert("RGBA"), "RGB", background)
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "P":
        return image.convert("L" if _is_grey_palette(image) else "RGB")
    return image.convert("RGB")


def _over(image: Image.Image, mode: str, background: tuple[int, int, int]) -> Image.Image:
    """Composite on the background."""
    colour: Any = background if mode == "RGB" else Image.new("RGB", (1, 1), background).convert("L").getpixel((0, 0))
    canvas = Image.new(mode, image.size, colour)
    canvas.paste(image.convert(mode), mask=image.getchannel("A"))
    return canvas


def _is_grey_palette(image: Image.Image) -> bool:
    palette = np.frombuffer(bytes(image.palette.getdata()[1]) if image.palette else b"", np.uint8)
    if image.palette is None or image.palette.mode != "RGB" or palette.size % 3:
        return False
    colours = palette.reshape(-1, 3)
    return bool((colours == colours[:, :1]).all())


def _from_deep(values_HW: NDArray[Any]) -> Image.Image:
    """More than 8 bits a pixel to 8: by the least common depth that holds the brightest; floats by their range.

    A camera that writes 12 bits into 16 would look black under division by 65535; a person sees the same picture.
    """
    if values_HW.dtype.kind == "f":
        values_HW = np.nan_to_num(values_HW.astype(np.float64))
        low, high = float(values_HW.min()), float(values_HW.max())
    else:
        low = min(0.0, float(values_HW.min()))
        brightest = float(values_HW.max())
        high = next((float(depth) for depth in _DEPTHS if brightest <= depth), brightest)
    scaled = (values_HW.astype(np.float32) - low) * (255.0 / max(high - low, 1e-12))
    return Image.fromarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8), "L")


def _is_srgb(profile: bytes) -> bool:
    return b"sRGB" in profile[:4096] or b"s\x00R\x00G\x00B" in profile[:4096]


@lru_cache(maxsize=64)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The transform from an embedded profile, or None where the profile is damaged or of another colour space."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def is_lossy(picture: Picture) -> bool:
    """Whether the file lost detail when it was written, so that encoding it as JPEG again is no new kind of loss."""
    return picture.file_format in _LOSSY
