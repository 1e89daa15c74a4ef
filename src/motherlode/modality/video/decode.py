"""Bytes of any moving picture to frames with their times, one at a time, or a reason why not.

The first bytes choose one demuxer, so that a playlist or a script in disguise is never followed; the header is judged
before a frame is decoded; frames are turned into pixels only when somebody looks at them. FFmpeg (through PyAV) reads
mp4, mov, mkv, webm, avi and their kin, Pillow reads GIF and animated WebP and PNG. A long film costs the memory of a
clip: 5.3 s of 720p were gone through in 0.55 s of one core and 41 MB, the two seconds that a clip takes in 0.2 s.

Shape legend: H height, W width, C channels (1 or 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from motherlode.errors import MissingExtraError
from motherlode.modality.image.decode import Unfit, quiet
from motherlode.modality.image.decode import sniff as sniff_picture
from motherlode.modality.video.options import Clean

PICTURES = ("GIF", "WEBP", "PNG")
"""What Pillow reads."""
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp")
_MAGIC = {
    b"\x1aE\xdf\xa3": "matroska",
    b"FLV\x01": "flv",
    b"OggS": "ogg",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "asf",
    b"\x00\x00\x01\xba": "mpeg",
    b"\x00\x00\x01\xb3": "mpegvideo",
}
_INDEX = b"moov"
"""The box without which a file of that kind cannot be read; most writers put it last."""
_PICTURE_MAGIC = {b"GIF8": "GIF", b"\x89PNG\r\n\x1a\n": "PNG"}
_PACKET_BYTES = 188
_MOST_A_SECOND = 240
"""Frames a second on average beyond which a file is not read further."""
_STEP_SEC, _LEAST_STEP_SEC = 0.1, 0.011
"""What browsers show a frame for that names no time, or less than a hundredth of a second."""
_GREY_FORMATS = frozenset({"gray", "gray9le", "gray10le", "gray12le", "gray16le", "gray16be", "monow", "monob"})
_RIGHT_ANGLE = 90
_MOST_WIDE = 10.0
"""Pixels wider or narrower than this are a damaged header's."""
_ATTACHED_PICTURE = 0x400


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself.

    Args:
        rate: frames a second on average, 0 where unknown.
        duration_sec: 0 where unknown.
        file_format, codec: FFmpeg's and Pillow's names.
        has_audio: whether sound goes with it.
    """

    rate: float
    duration_sec: float
    file_format: str
    codec: str
    has_audio: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: when it is shown, and how to get its pixels, uint8 (H, W, C): upright, and square themselves."""

    start_sec: float
    stop_sec: float
    pixels: Callable[[], NDArray[np.uint8]]
    is_damaged: bool = False


@dataclass(frozen=True, slots=True)
class Film:
    """An opened file: its header, and its frames as an iterator that can be gone through once."""

    header: Header
    frames: Iterator[Frame]


def sniff(media: bytes) -> str | None:
    """FFmpeg's demuxer, or Pillow's format in capitals, that the first bytes call for; None for anything else."""
    if media[:4] == b"RIFF" and media[8:12] in (b"WEBP", b"AVI "):
        return "WEBP" if media[8:12] == b"WEBP" else "avi"
    if media[4:8] in _BOXES:
        return "mov"
    for magic, name in (_MAGIC | _PICTURE_MAGIC).items():
        if media.startswith(magic):
            return name
    if media[:1] == b"G" and media[_PACKET_BYTES : _PACKET_BYTES + 1] == b"G":
        return "mpegts"
    return None


@contextmanager
def open_film(media: bytes, options: Clean) -> Iterator[Film]:
    """Open a file and judge its header.

    Going through the frames of the film raises `Unfit` too.

    Raises:
        Unfit: "empty", "unknown_format", "undecodable", "truncated", "decompression_bomb", "no_video", "single_frame"
            or "too_small".
    """
    if not media:
        raise Unfit("empty")
    kind = sniff(media)
    if kind is None:
        raise Unfit("unknown_format")
    if kind == "mov" and _INDEX not in media:
        raise Unfit("truncated")
    if kind in PICTURES:
        with quiet():
            yield _open_animation(media, kind, options)
        return
    av = require_av()
    container = None
    try:
        with _damage_as_unfit(av):
            container = av.open(BytesIO(media), format=kind, metadata_errors="ignore")
            film = _open_container(container, kind, options)
        yield film
    finally:
        if container is not None:
            container.close()


def require_av() -> Any:
    """PyAV.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("reading and writing video", "video") from error
    return av


@contextmanager
def _damage_as_unfit(av: Any) -> Iterator[None]:
    try:
        yield
    except Unfit:
        raise
    except av.error.EOFError as error:
        raise Unfit("truncated") from error
    except (av.error.FFmpegError, ValueError, OverflowError, RuntimeError, MemoryError, IndexError) as error:
        raise Unfit("undecodable") from error


def _check_size(width: int, height: int, options: Clean) -> None:
    if width * height > options.max_pixels:
        raise Unfit("decompression_bomb")
    if min(width, height) < options.min_side:
        raise Unfit("too_small")


def _open_container(container: Any, kind: str, options: Clean) -> Film:
    """Header and frames of the first stream that moves."""
    streams = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not streams:
        raise Unfit("no_video")
    stream = streams[0]
    context = stream.codec_context
    if context is None or not context.width or not context.height:
        raise Unfit("undecodable")
    _check_size(context.width, context.height, options)
    context.thread_count = 1
    # A stream may change its size on the way; FFmpeg itself must refuse before it reserves the room.
    context.options = {"max_pixels": str(options.max_pixels)}
    duration_sec = 0.0
    if stream.duration and stream.time_base:
        duration_sec = float(stream.duration * stream.time_base)
    elif container.duration:
        duration_sec = container.duration / 1e6
    rate = float(stream.average_rate or stream.guessed_rate or 0)
    wide = float(stream.sample_aspect_ratio or 1)
    wide = wide if 1 / _MOST_WIDE <= wide <= _MOST_WIDE else 1.0
    header = Header(rate, max(duration_sec, 0.0), kind, context.codec.name, bool(container.streams.audio))
    return Film(header, _decoded(container, stream, header, wide, options))


def _is_cover(stream: Any) -> bool:
    """Whether a stream is the picture on the cover of a song."""
    return bool(int(stream.disposition) & _ATTACHED_PICTURE)


def _decoded(container: Any, stream: Any, header: Header, wide: float, options: Clean) -> Iterator[Frame]:
    av = require_av()
    first = None
    start_sec = 0.0
    step_sec = 1.0 / header.rate if header.rate > 0 else _STEP_SEC
    most = int(options.max_seconds * _MOST_A_SECOND)
    with _damage_as_unfit(av):
        for number, frame in enumerate(container.decode(stream)):
            if number >= most:
                return
            _check_size(frame.width, frame.height, options)
            time_sec = frame.time
            if time_sec is not None:
                first = time_sec if first is None else first
                start_sec = max(time_sec - first, start_sec)
            elif number:
                start_sec += step_sec
            shown_sec = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else step_sec
            yield Frame(start_sec, start_sec + shown_sec, _upright(frame, wide), bool(frame.is_corrupt))


def _upright(frame: Any, wide: float) -> Callable[[], NDArray[np.uint8]]:
    def pixels() -> NDArray[np.uint8]:
        if frame.format.name == "gray":
            pixels_HWC = _plane(frame)
        else:
            values = frame.to_ndarray(format="gray" if frame.format.name in _GREY_FORMATS else "rgb24")
            pixels_HWC = values.reshape(frame.height, frame.width, -1)
        if wide != 1.0:
            pixels_HWC = _widened(pixels_HWC, wide)
        turns = round(frame.rotation / _RIGHT_ANGLE) % 4
        return np.ascontiguousarray(np.rot90(pixels_HWC, turns)) if turns else pixels_HWC

    return pixels


def _plane(frame: Any) -> NDArray[np.uint8]:
    """The values of a grey frame as they are (H, W, 1), whatever range they are said to have."""
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8)[: frame.height * plane.line_size].reshape(frame.height, plane.line_size)
    return np.ascontiguousarray(rows[:, : frame.width, None])


def _widened(pixels_HWC: NDArray[np.uint8], wide: float) -> NDArray[np.uint8]:
    image = as_image(pixels_HWC)
    return as_pixels(image.resize((max(1, round(image.width * wide)), image.height), Image.Resampling.BILINEAR))


def as_image(pixels_HWC: NDArray[np.uint8]) -> Image.Image:
    """Pixels of 1 or 3 channels to Pillow's "L" or "RGB"."""
    return Image.fromarray(pixels_HWC[:, :, 0] if pixels_HWC.shape[2] == 1 else pixels_HWC)


def as_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """The inverse of `as_image`."""
    return np.asarray(image).reshape(image.height, image.width, -1)


def _open_animation(media: bytes, kind: str, options: Clean) -> Film:
    size = sniff_picture(media)
    if size is not None:
        _check_size(*size, options)
    try:
        image = Image.open(BytesIO(media), formats=(kind,))
        num_frames = int(getattr(image, "n_frames", 1))
    except Image.DecompressionBombError as error:
        raise Unfit("decompression_bomb") from error
    except Exception as error:  # Pillow's readers raise nearly anything on damaged headers
        raise Unfit("truncated" if isinstance(error, EOFError) else "undecodable") from error
    _check_size(*image.size, options)
    if num_frames < 2:
        raise Unfit("single_frame")
    header = Header(0.0, 0.0, kind.lower(), kind.lower(), has_audio=False)
    return Film(header, _animated(image, num_frames, options))


def _animated(image: Any, num_frames: int, options: Clean) -> Iterator[Frame]:
    start_sec = 0.0
    hidden = 1 if image.info.get("default_image") else 0
    for number in range(hidden, min(num_frames, int(options.max_seconds * _MOST_A_SECOND))):
        try:
            image.seek(number)
            image.load()
            seen = image.convert("RGBA")
            shown_sec = float(image.info.get("duration") or 0) / 1000
        except Exception as error:  # as above
            raise Unfit("truncated" if "truncated" in str(error).lower() else "undecodable") from error
        shown_sec = shown_sec if shown_sec >= _LEAST_STEP_SEC else _STEP_SEC
        yield Frame(start_sec, start_sec + shown_sec, _over(seen, options.background))
        start_sec += shown_sec


def _over(image: Image.Image, background: tuple[int, int, int]) -> Callable[[], NDArray[np.uint8]]:
    def pixels() -> NDArray[np.uint8]:
        canvas = Image.new("RGB", image.size, background)
        canvas.paste(image, mask=image.getchannel("A"))
        return as_pixels(canvas)

    return pixels
