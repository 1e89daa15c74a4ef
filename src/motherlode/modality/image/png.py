"""A PNG reader's first half and a small PNG writer: what Pillow spends on a 28x28 picture is mostly its own overhead.

`parse` walks the chunks of any PNG, checks every checksum, and hands back the header and the compressed pixels without
inflating them, so a bomb, a cut and a flipped bit are all found before memory is spent. `write` makes the smallest
legal file for grey and colour arrays. Interlace, palettes and other depths are left to Pillow.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
_HEADER = struct.Struct(">IIBBBBB")
_LENGTH_NAME = struct.Struct(">I4s")
_CRC = struct.Struct(">I")
_PLAIN = frozenset({b"IHDR", b"IDAT", b"IEND", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"pHYs", b"sRGB", b"bKGD", b"sBIT"})
_END_BYTES = 12


class PngError(ValueError):
    """The file is not a whole PNG; `reason` is "truncated" or "undecodable"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Png:
    """What a PNG says about itself, and its pixels still compressed."""

    width: int
    height: int
    channels: int
    """1 or 3 where the pixels are plain 8-bit grey or colour in rows, 0 where only Pillow should read them."""
    compressed: bytes

    @property
    def num_row_bytes(self) -> int:
        """Bytes of a row of plain pixels with its filter byte."""
        return 1 + self.width * self.channels

    def inflate(self) -> bytes:
        """The filtered rows, exactly height * num_row_bytes long; never inflates further than that.

        Raises:
            PngError: the stream ends early, is damaged, or holds more than the header says.
        """
        num_bytes = self.height * self.num_row_bytes
        stream = zlib.decompressobj()
        try:
            rows = stream.decompress(self.compressed, num_bytes + 1)
        except zlib.error as error:
            raise PngError("undecodable") from error
        if len(rows) != num_bytes or not stream.eof:
            raise PngError("truncated" if len(rows) < num_bytes else "undecodable")
        return rows


def size(media: bytes) -> tuple[int, int]:
    """Width and height from the first 24 bytes.

    Raises:
        PngError: they are not there.
    """
    if len(media) < 24 or media[12:16] != b"IHDR":
        raise PngError("truncated" if len(media) < 24 else "undecodable")
    width, height = struct.unpack_from(">II", media, 16)
    if not width or not height:
        raise PngError("undecodable")
    return width, height


def parse(media: bytes) -> Png:
    """Walk the chunks, checking order and checksums.

    Raises:
        PngError: a chunk runs past the end, a checksum does not hold, or the end chunk is missing.
    """
    width, height = size(media)
    depth, colour, _, _, interlace = media[24:29] if len(media) >= 29 else bytes(5)
    plain = depth == 8 and colour in (0, 2) and not interlace
    compressed: list[bytes] = []
    place, end = len(SIGNATURE), len(media)
    while True:
        if place + _END_BYTES > end:
            raise PngError("truncated")
        num_bytes, name = _LENGTH_NAME.unpack_from(media, place)
        after = place + 8 + num_bytes
        if after + 4 > end:
            raise PngError("truncated")
        if zlib.crc32(media[place + 4 : after]) != _CRC.unpack_from(media, after)[0]:
            raise PngError("undecodable")
        if name == b"IDAT":
            compressed.append(media[place + 8 : after])
        elif name == b"IEND":
            break
        elif name not in _PLAIN:
            plain = False
        place = after + 4
    if not compressed:
        raise PngError("undecodable")
    channels = (3 if colour == 2 else 1) if plain else 0
    return Png(width, height, channels, compressed[0] if len(compressed) == 1 else b"".join(compressed))


def write(pixels_HWC: NDArray[np.uint8], level: int = 3) -> bytes:
    """A PNG of uint8 (H, W, C), C being 1 grey, 2 grey + alpha, 3 colour or 4 colour + alpha; rows unfiltered."""
    height, width, channels = pixels_HWC.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)
    rows[:, 1:] = pixels_HWC.reshape(height, width * channels)
    header = _HEADER.pack(width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    return b"".join(
        (SIGNATURE, _chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(rows.data, level)), _chunk(b"IEND", b""))
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    return b"".join((struct.pack(">I", len(content)), name, content, _CRC.pack(zlib.crc32(content, zlib.crc32(name)))))
