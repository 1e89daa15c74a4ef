"""Text inside sound files: a FLAC's comments and a WAV's INFO list; the samples are untouched.

FLAC: one VORBIS_COMMENT block (RFC 9639, section 8.6), which replaces the one that was there. WAV: a LIST chunk of type
INFO behind the samples, with the software in ISFT and the rest as JSON in ICMT (Microsoft and IBM 1991).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

FLAC, RIFF = b"fLaC", b"RIFF"
_COMMENT_BLOCK, _LAST = 4, 0x80
_INFO = {"SOFTWARE": b"ISFT", "COMMENT": b"ICMT"}


def mark(media: bytes, texts: Mapping[str, str]) -> bytes:
    """A FLAC or WAV file with texts in it by name; other files as they are."""
    if media.startswith(FLAC):
        return _mark_flac(media, texts)
    if media.startswith(RIFF) and media[8:12] == b"WAVE":
        return _mark_wav(media, texts)
    return media


def marks(media: bytes) -> dict[str, str]:
    """The texts in a FLAC or WAV file by name; none where it has none or is damaged."""
    try:
        if media.startswith(FLAC):
            return dict(_flac_comments(media))
        if media.startswith(RIFF) and media[8:12] == b"WAVE":
            return dict(_info_texts(media))
    except (IndexError, struct.error, ValueError):
        pass
    return {}


def _blocks(media: bytes) -> Iterator[tuple[int, int, int]]:
    """(type, place of its header, end) of each metadata block of a FLAC."""
    place, is_last = len(FLAC), False
    while not is_last:
        kind, size = media[place], int.from_bytes(media[place + 1 : place + 4], "big")
        is_last = bool(kind & _LAST)
        yield kind & ~_LAST, place, place + 4 + size
        place += 4 + size


def _mark_flac(media: bytes, texts: Mapping[str, str]) -> bytes:
    body = struct.pack("<I", 10) + b"Motherlode" + struct.pack("<I", len(texts))
    for name, text in texts.items():
        entry = f"{name}={text}".encode()
        body += struct.pack("<I", len(entry)) + entry
    kept = [(kind, media[start + 4 : end]) for kind, start, end in _blocks(media) if kind != _COMMENT_BLOCK]
    end = max(end for _, _, end in _blocks(media))
    blocks = [*kept, (_COMMENT_BLOCK, body)]
    headers = b"".join(
        bytes([kind | (_LAST if number == len(blocks) - 1 else 0)]) + len(content).to_bytes(3, "big") + content
        for number, (kind, content) in enumerate(blocks)
    )
    return FLAC + headers + media[end:]


def _flac_comments(media: bytes) -> Iterator[tuple[str, str]]:
    for kind, start, end in _blocks(media):
        if kind != _COMMENT_BLOCK:
            continue
        body = media[start + 4 : end]
        place = 4 + struct.unpack_from("<I", body)[0]
        (num,) = struct.unpack_from("<I", body, place)
        place += 4
        for _ in range(num):
            (size,) = struct.unpack_from("<I", body, place)
            name, _, text = body[place + 4 : place + 4 + size].decode().partition("=")
            place += 4 + size
            yield name, text


def _mark_wav(media: bytes, texts: Mapping[str, str]) -> bytes:
    entries = b"INFO"
    for name, text in texts.items():
        content = (text if name in _INFO else f"{name}={text}").encode() + b"\0"
        entries += _INFO.get(name, b"ICMT") + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
    whole = media + b"\0" * (len(media) % 2) + b"LIST" + struct.pack("<I", len(entries)) + entries
    return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]


def _info_texts(media: bytes) -> Iterator[tuple[str, str]]:
    place = 12
    while place + 8 <= len(media):
        (size,) = struct.unpack_from("<I", media, place + 4)
        if media[place : place + 4] == b"LIST" and media[place + 8 : place + 12] == b"INFO":
            yield from _entries(media[place + 12 : place + 8 + size])
        place += 8 + size + size % 2


def _entries(body: bytes) -> Iterator[tuple[str, str]]:
    place = 0
    while place + 8 <= len(body):
        (size,) = struct.unpack_from("<I", body, place + 4)
        text = body[place + 8 : place + 8 + size].rstrip(b"\0").decode()
        if body[place : place + 4] == b"ISFT":
            yield "SOFTWARE", text
        else:
            name, _, rest = text.partition("=")
            yield name, rest
        place += 8 + size + size % 2
