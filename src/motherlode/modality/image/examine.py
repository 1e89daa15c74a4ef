"""A batch of files to normal form, measures, fingerprints and thumbnails, decoding each file once.

Small plain PNGs never meet Pillow: they are inflated one by one and unfiltered, measured and shrunk in one compiled
call a batch. Everything else is decoded by Pillow, JPEGs at reduced scale where the normal form allows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from motherlode.modality import Examination
from motherlode.modality.image import fingerprint, kernels, normal, png, quality
from motherlode.modality.image.decode import (
    WORK_SIDE,
    Unfit,
    check_header,
    check_shape,
    decode,
    is_lossy,
    open_picture,
    quiet,
)
from motherlode.modality.image.options import Clean

_TINY_BYTES = 1 << 16
_TINY_SIDE = 128


@dataclass(slots=True)
class _Seen:
    """What is known of one file once it has been opened; pixels are at working scale."""

    media: bytes
    reason: str | None = None
    rows: bytes | None = None
    """PNG rows still filtered, for the compiled reader."""
    pixels: NDArray[np.uint8] | None = None
    shape: tuple[int, int, int] = (0, 0, 0)
    width: int = 0
    height: int = 0
    original_width: int = 0
    original_height: int = 0
    mode: str = ""
    original_mode: str = ""
    original_format: str = ""
    num_frames: int = 0


def examine(media: Sequence[bytes], options: Clean) -> Examination:
    """See `Modality.examine`."""
    notes: Counter[str] = Counter()
    with quiet():
        seen = [_look(item, options, notes) for item in media]
    measures_NM, thumbs_NT = _measure(seen)
    judged = quality.judge(measures_NM, options)
    reasons = [item.reason or verdict for item, verdict in zip(seen, judged, strict=True)]
    return Examination(
        media=[
            item.media if reason is None else received
            for item, reason, received in zip(seen, reasons, media, strict=True)
        ],
        reasons=reasons,
        columns=_columns(seen) | quality.columns(measures_NM),
        fingerprints_NK=fingerprint.fingerprints(thumbs_NT),
        thumbs_NT=thumbs_NT,
        notes=dict(notes),
    )


def _look(media: bytes, options: Clean, notes: Counter[str]) -> _Seen:
    seen = _Seen(media)
    try:
        check_header(media, options)
        if not (media.startswith(png.SIGNATURE) and _look_at_png(seen, options)):
            _look_with_pillow(seen, options, notes)
    except Unfit as unfit:
        seen.reason = unfit.reason
        seen.rows = seen.pixels = None
    except png.PngError as error:
        seen.reason = error.reason
        seen.rows = seen.pixels = None
    return seen


def _look_at_png(seen: _Seen, options: Clean) -> bool:
    """Check the chunks of a PNG; take its rows where it is small, plain and already of normal form."""
    file = png.parse(seen.media)
    if not file.channels or file.width > _TINY_SIDE or file.height > _TINY_SIDE or len(seen.media) > _TINY_BYTES:
        return False
    mode = "L" if file.channels == 1 else "RGB"
    if options.colour != "keep" and mode != {"grey": "L", "rgb": "RGB"}[options.colour]:
        return False
    if normal.target_size(file.width, file.height, options) != (file.width, file.height):
        return False
    check_shape(file.width, file.height, options)
    seen.rows = file.inflate()
    seen.shape = file.height, file.width, file.channels
    seen.width = seen.original_width = file.width
    seen.height = seen.original_height = file.height
    seen.mode = seen.original_mode = mode
    seen.original_format, seen.num_frames = "PNG", 1
    return True


def _look_with_pillow(seen: _Seen, options: Clean, notes: Counter[str]) -> None:
    picture = open_picture(seen.media, options)
    seen.original_width, seen.original_height = picture.width, picture.height
    seen.original_mode, seen.original_format = picture.image.mode, picture.file_format
    seen.num_frames = picture.num_frames
    size = normal.target_size(picture.width, picture.height, options)
    resized = size != (picture.width, picture.height)
    image, changes = decode(picture, options, _least_side(picture.width, picture.height, size))
    mode = {"keep": image.mode, "grey": "L", "rgb": "RGB"}[options.colour]
    if resized or changes or mode != image.mode or picture.file_format not in normal.KEPT_FORMATS:
        seen.media = normal.write(normal.shape(image, size, options), options, lossy=is_lossy(picture))
    notes.update(changes)
    seen.width, seen.height = size
    seen.mode = mode
    seen.pixels = _at_work_scale(image)
    seen.shape = *seen.pixels.shape[:2], 1 if seen.pixels.ndim == 2 else 3


def _least_side(width: int, height: int, size: tuple[int, int]) -> int:
    """Shorter side down to which a JPEG may be decoded at reduced scale."""
    return WORK_SIDE if size == (width, height) else max(WORK_SIDE, *size)


def _at_work_scale(image: Image.Image) -> NDArray[np.uint8]:
    factor = min(image.size) // WORK_SIDE
    return np.asarray(image.reduce(factor) if factor > 1 else image)


def _measure(seen: Sequence[_Seen]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Measures and thumbnails; zero where there are no pixels. Files with unknown PNG filters get their reason here."""
    measures_NM = np.zeros((len(seen), kernels.NUM_MEASURES), np.float32)
    thumbs_NT = np.zeros((len(seen), kernels.NUM_THUMB_BYTES), np.uint8)
    places = [i for i, item in enumerate(seen) if item.reason is None]
    if not places:
        return measures_NM, thumbs_NT
    shapes_N3 = np.array([seen[i].shape for i in places], np.int64)
    offsets_N = _starts(shapes_N3.prod(axis=1))
    pixels = np.empty(int(offsets_N[-1]), np.uint8)
    tiny = []
    for k, i in enumerate(places):
        item = seen[i]
        if item.pixels is None:
            tiny.append(k)
        else:
            pixels[offsets_N[k] : offsets_N[k + 1]] = item.pixels.ravel()
            item.pixels = None
    if tiny:
        _unfilter([seen[places[k]] for k in tiny], shapes_N3[tiny], offsets_N[:-1][tiny], pixels)
    found_NM = np.zeros((len(places), kernels.NUM_MEASURES), np.float32)
    small_NT = np.zeros((len(places), kernels.NUM_THUMB_BYTES), np.uint8)
    kernels.measure(pixels, offsets_N[:-1], shapes_N3, found_NM, small_NT)
    measures_NM[places], thumbs_NT[places] = found_NM, small_NT
    return measures_NM, thumbs_NT


def _unfilter(
    seen: Sequence[_Seen], shapes_N3: NDArray[np.int64], offsets_N: NDArray[np.int64], pixels: NDArray[np.uint8]
) -> None:
    blobs = [item.rows or b"" for item in seen]
    starts_N = _starts(np.array([len(blob) for blob in blobs], np.int64))
    is_good_N = np.zeros(len(seen), np.bool_)
    rows = np.frombuffer(b"".join(blobs), np.uint8)
    kernels.unfilter_all(rows, starts_N[:-1], shapes_N3, pixels, offsets_N, is_good_N)
    for item, good in zip(seen, is_good_N.tolist(), strict=True):
        item.rows = None
        if not good:
            item.reason = "undecodable"


def _starts(lengths_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 and the running sums."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths_N)])


def _columns(seen: Sequence[_Seen]) -> dict[str, NDArray[np.generic]]:
    return {
        "width": np.array([item.width for item in seen], np.int32),
        "height": np.array([item.height for item in seen], np.int32),
        "mode": np.array([item.mode for item in seen], np.str_),
        "original_width": np.array([item.original_width for item in seen], np.int32),
        "original_height": np.array([item.original_height for item in seen], np.int32),
        "original_mode": np.array([item.original_mode for item in seen], np.str_),
        "original_format": np.array([item.original_format for item in seen], np.str_),
        "num_frames": np.array([item.num_frames for item in seen], np.int32),
    }
