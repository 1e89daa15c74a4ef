"""Bytes of any sound file to float samples, or a reason why not.

libsndfile reads wav, flac, ogg, opus, mp3, aiff and more; what it does not know is tried with PyAV where that is
installed (m4a, webm, wma). Headers are checked first, for libsndfile reads on quietly where a file ends early and takes
any rate: a file that promises more than it holds is `truncated`, and no more than `max_sec` is ever decoded. An mp3
without a header of its length cannot be told to be cut, and is read as far as it goes.

Shape legend: T values of a channel, C channels.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from motherlode.modality.audio.options import LEAST_RATE, MOST_RATE, Clean

_UNKNOWN_BYTES = 0xFFFFFF00
"""A data chunk that claims more than this was written by a program that could not know."""
_OGG_END = 4
_MP3_BITRATE_HEADERS = (b"Xing", b"Info")
_MOST_CHANNELS = 64


class Unfit(Exception):  # noqa: N818 - a sample is unfit; nothing is in error
    """A sample must be dropped; the message is the reason."""

    @property
    def reason(self) -> str:
        """The reason, one word."""
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Sound:
    """A decoded file.

    Args:
        samples_TC: float32, full scale ±1.
        rate: values a second.
        file_format: "WAV", "FLAC", "OGG", "MP3", …
        is_pcm16: whether the file holds 16-bit values.
    """

    samples_TC: NDArray[np.float32]
    rate: int
    file_format: str
    is_pcm16: bool


def decode(media: bytes, options: Clean) -> Sound:
    """Read a whole file.

    Raises:
        Unfit: with the reason.
    """
    if not media:
        raise Unfit("empty")
    _check_header(media)
    try:
        with soundfile.SoundFile(BytesIO(media)) as file:
            sound = _read(file, options)
    except soundfile.LibsndfileError as error:
        if _is_known(media):
            raise Unfit("undecodable") from error
        sound = _read_with_av(media, options)
    if not np.isfinite(sound.samples_TC).all():
        raise Unfit("non_finite")
    return sound


def _read(file: soundfile.SoundFile, options: Clean) -> Sound:
    rate, claimed = int(file.samplerate), int(file.frames)
    _check_rate(rate)
    most = int(options.max_sec * rate) + 1
    if claimed > most:
        raise Unfit("too_long")
    try:
        samples_TC = file.read(min(claimed, most), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise Unfit("truncated") from error
    if len(samples_TC) < claimed and file.format != "MP3":
        raise Unfit("truncated")
    if not len(samples_TC):
        raise Unfit("too_short")
    return Sound(samples_TC, rate, str(file.format), file.subtype == "PCM_16")


def _check_rate(rate: int) -> None:
    if not LEAST_RATE <= rate <= MOST_RATE:
        raise Unfit("absurd_rate")


def _is_known(media: bytes) -> bool:
    return media[:4] in (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM") or media[:3] == b"ID3"


def _check_header(media: bytes) -> None:
    """Refuse what the header condemns and libsndfile would let pass."""
    if media[:4] == b"RIFF" and media[8:12] == b"WAVE":
        _check_wav(media)
    elif media[:4] == b"fLaC":
        _check_flac(media)
    elif media[:4] == b"OggS":
        _check_ogg(media)
    elif media[:3] == b"ID3" or (media[:1] == b"\xff" and media[1:2] >= b"\xe0"):
        _check_mp3(media)


def chunks(media: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, place of its content, size it claims) of each chunk of a RIFF file that begins within it."""
    place = 12
    while place + 8 <= len(media):
        name, size = media[place : place + 4], struct.unpack_from("<I", media, place + 4)[0]
        yield name, place + 8, size
        place += 8 + size + size % 2


def _check_wav(media: bytes) -> None:
    """RIFF (Microsoft and IBM 1991): `fmt ` gives channels and rate, `data` the samples."""
    has_format = False
    for name, place, size in chunks(media):
        if name == b"fmt " and place + 16 <= len(media):
            channels, rate = struct.unpack_from("<HI", media, place + 2)
            has_format = True
            _check_rate(rate)
            if not 1 <= channels <= _MOST_CHANNELS:
                raise Unfit("undecodable")
        if name == b"data":
            if size < _UNKNOWN_BYTES and place + size > len(media):
                raise Unfit("truncated")
            return
    raise Unfit("truncated" if has_format or len(media) < 44 else "undecodable")


def _check_flac(media: bytes) -> None:
    """STREAMINFO (RFC 9639, section 8.2): 20 bits of rate after ten bytes of sizes."""
    if len(media) < 42:
        raise Unfit("truncated")
    _check_rate(int.from_bytes(media[18:21], "big") >> 4)


def _check_ogg(media: bytes) -> None:
    """The last page (RFC 3533) must be whole and say that it is the last."""
    last = media.rfind(b"OggS")
    if last + 27 > len(media) or not media[last + 5] & _OGG_END:
        raise Unfit("truncated")
    sizes = media[last + 27 : last + 27 + media[last + 26]]
    if last + 27 + len(sizes) + sum(sizes) > len(media):
        raise Unfit("truncated")


def _check_mp3(media: bytes) -> None:
    """The header of encoders that know the length: flags, then frames, then bytes of the stream (Xing)."""
    start = media[:4096].find(b"\xff", _id3_bytes(media))
    for name in _MP3_BITRATE_HEADERS:
        place = media.find(name, start, start + 200) if start >= 0 else -1
        if place < 0 or place + 16 > len(media):
            continue
        flags = int.from_bytes(media[place + 4 : place + 8], "big")
        if flags & 3 == 3:
            claimed = int.from_bytes(media[place + 12 : place + 16], "big")
            if start + claimed > len(media):
                raise Unfit("truncated")


def _id3_bytes(media: bytes) -> int:
    """Size of the tag in front: four bytes of seven bits each (ID3v2, section 3.1)."""
    if media[:3] != b"ID3" or len(media) < 10:
        return 0
    return 10 + sum((media[6 + index] & 0x7F) << 7 * (3 - index) for index in range(4))


def _read_with_av(media: bytes, options: Clean) -> Sound:
    """Containers that libsndfile does not know."""
    try:
        import av
    except ImportError as error:
        raise Unfit("unknown_format") from error
    try:
        with av.open(BytesIO(media)) as container:
            if not container.streams.audio:
                raise Unfit("unknown_format")
            stream = container.streams.audio[0]
            rate = int(stream.rate or 0)
            _check_rate(rate)
            samples_TC = _decoded(container, stream, int(options.max_sec * rate))
            return Sound(samples_TC, rate, str(container.format.name).split(",")[0].upper(), False)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Unfit("unknown_format") from error


def _decoded(container: Any, stream: Any, most: int) -> NDArray[np.float32]:
    import av

    resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
    pieces: list[NDArray[np.float32]] = []
    num = 0
    try:
        for frame in container.decode(stream):
            for part in resampler.resample(frame):
                pieces.append(np.asarray(part.to_ndarray().T, np.float32))
                num += len(pieces[-1])
            if num > most:
                raise Unfit("too_long")
    except av.FFmpegError as error:
        raise Unfit("truncated" if pieces else "undecodable") from error
    if not num:
        raise Unfit("too_short")
    return np.ascontiguousarray(np.concatenate(pieces), np.float32)
