"""An XMP packet inside moving pictures: a chunk of a WebP, a box of an MP4; frames are untouched.

WebP: the chunk `XMP ` behind all others, and its flag in `VP8X` (WebP container specification). MP4: a top-level `uuid`
box of XMP's number behind all others (XMP specification, part 3, section 1.1.4), which players pass over.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_HAS_XMP = 0x04
_EXTENDED = b"VP8X"
_CHUNK = b"XMP "


def put_xmp(media: bytes, packet: bytes) -> bytes:
    """An animated WebP or MP4 file with a packet in it; other files as they are."""
    if _is_webp(media):
        return _put_in_webp(media, packet)
    if media[4:8] == b"ftyp":
        return media + struct.pack(">I", 24 + len(packet)) + b"uuid" + _XMP_UUID + packet
    return media


def xmp_of(media: bytes) -> bytes:
    """The packet in a WebP or MP4 file, the last one where there are several; empty where it has none or is damaged."""
    found = b""
    try:
        if _is_webp(media):
            for name, start, end in _chunks(media):
                found = media[start:end] if name == _CHUNK else found
        elif media[4:8] == b"ftyp":
            for name, start, end in _boxes(media):
                if name == b"uuid" and media[start : start + 16] == _XMP_UUID:
                    found = media[start + 16 : end]
    except struct.error:
        return b""
    return found


def _is_webp(media: bytes) -> bool:
    """Whether it is a WebP that has room for flags, as every animated one has."""
    return media[:4] == b"RIFF" and media[8:12] == b"WEBP" and media[12:16] == _EXTENDED


def _put_in_webp(media: bytes, packet: bytes) -> bytes:
    body = b"".join(media[start - 8 : end + (end - start) % 2] for name, start, end in _chunks(media) if name != _CHUNK)
    flags = bytes([body[8] | _HAS_XMP])
    body = body[:8] + flags + body[9:] + _CHUNK + struct.pack("<I", len(packet)) + packet + b"\0" * (len(packet) % 2)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _chunks(media: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end) of the content of each whole chunk of a RIFF file."""
    place = 12
    while place + 8 <= len(media):
        (size,) = struct.unpack_from("<I", media, place + 4)
        if place + 8 + size > len(media):
            return
        yield media[place : place + 4], place + 8, place + 8 + size
        place += 8 + size + size % 2


def _boxes(media: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, start, end) of the content of each whole top-level box."""
    place = 0
    while place + 8 <= len(media):
        (size,) = struct.unpack_from(">I", media, place)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", media, place + 8)
            header = 16
        size = size or len(media) - place
        if size < header or place + size > len(media):
            return
        yield media[place + 4 : place + 8], place + header, place + size
        place += size
