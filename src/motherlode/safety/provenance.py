"""Generated files say so: where they came from travels inside them, and beside them.

A PNG carries two text chunks: an XMP packet with IPTC's `DigitalSourceType`, the field that search engines and social
networks read, and our own JSON naming the run, the weights, the recipe and the seed; a FLAC and a WAV carry the same as
comments (`sound_marks`); an animated WebP and an MP4 have both in their XMP packet (`film_marks`). The record beside
the files speaks C2PA's vocabulary (actions, assertions) but is NOT signed: it tells an honest reader, and stops no
forger. Stamping costs about 1.1 kB a file; other formats, text among them, are left as they are and rely on the record.
"""

from __future__ import annotations

import html
import json
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from motherlode.safety.film_marks import put_xmp, xmp_of
from motherlode.safety.sound_marks import mark, marks

TRAINED_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
KEYWORD = "Motherlode"
RECORD = "provenance.json"

_PNG = b"\x89PNG\r\n\x1a\n"
_SUFFIXES = (
    (0, _PNG, ".png"),
    (0, b"\xff\xd8\xff", ".jpg"),
    (8, b"WEBP", ".webp"),
    (0, b"RIFF", ".wav"),
    (0, b"fLaC", ".flac"),
    (0, b"OggS", ".ogg"),
    (4, b"ftyp", ".mp4"),
    (0, b"\x1aE\xdf\xa3", ".mkv"),
)
"""(place, bytes there, the file name ending they call for); the first that fits counts."""
_XMP_KEYWORD = "XML:com.adobe.xmp"
_XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    'Iptc4xmpExt:DigitalSourceType="{source}" xmp:CreatorTool="{tool}"{more}/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)
_XMP_FACTS = ' xmlns:lode="https://motherlode.invalid/ns/" lode:facts="{facts}"'
_FACTS = re.compile(rb'lode:facts="([^"]*)"')


def stamp(media: bytes, facts: Mapping[str, Any]) -> bytes:
    """`media` with `facts` inside it, where its format has a place for them (PNG, FLAC, WAV, WebP, MP4)."""
    tool = f"Motherlode {facts.get('motherlode', '')}".strip()
    text = json.dumps(dict(facts), ensure_ascii=False, sort_keys=True)
    if not media.startswith(_PNG):
        packet = _XMP.format(source=TRAINED_MEDIA, tool=tool, more=_XMP_FACTS.format(facts=html.escape(text)))
        marked = put_xmp(media, packet.encode())
        return mark(marked, {"SOFTWARE": tool, KEYWORD.upper(): text, "DIGITALSOURCETYPE": TRAINED_MEDIA})
    packet = _XMP.format(source=TRAINED_MEDIA, tool=tool, more="")
    header_end = len(_PNG) + 25
    stamps = _text_chunk("Software", tool) + _text_chunk(KEYWORD, text) + _text_chunk(_XMP_KEYWORD, packet)
    return media[:header_end] + stamps + media[header_end:]


def read(media: bytes) -> dict[str, Any] | None:
    """The facts stamped into `media`, or None where there are none."""
    for keyword, text in (*_texts(media), *marks(media).items(), *_packet_texts(media)):
        if keyword in (KEYWORD, KEYWORD.upper()):
            try:
                facts = json.loads(text)
            except ValueError:
                continue
            return facts if isinstance(facts, dict) else None
    return None


def suffix(media: bytes) -> str:
    """The file name ending that the first bytes of `media` call for; ".txt" for text, ".bin" for the unknown."""
    for place, magic, ending in _SUFFIXES:
        if media[place : place + len(magic)] == magic:
            return ending
    try:
        media.decode("utf-8")
    except UnicodeDecodeError:
        return ".bin"
    return ".txt"


def record(facts: Mapping[str, Any], num: int) -> dict[str, Any]:
    """What lies beside `num` generated files: a C2PA-like manifest, unsigned."""
    return {
        "claim_generator": f"Motherlode/{facts.get('motherlode', '')}",
        "signed": False,
        "title": f"{num} generated samples",
        "assertions": [
            {
                "label": "c2pa.actions",
                "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": TRAINED_MEDIA}]},
            },
            {"label": "motherlode.run", "data": dict(facts)},
        ],
    }


def _packet_texts(media: bytes) -> Iterator[tuple[str, str]]:
    """The facts in an XMP packet of a WebP or MP4."""
    found = _FACTS.search(xmp_of(media))
    if found is not None:
        yield KEYWORD, html.unescape(found[1].decode("utf-8", errors="replace"))


def _text_chunk(keyword: str, text: str) -> bytes:
    """PNG's iTXt chunk, uncompressed (PNG 1.2, section 4.2.3.3)."""
    body = b"iTXt" + keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode("utf-8")
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def _texts(media: bytes) -> Iterator[tuple[str, str]]:
    """Every whole, uncompressed iTXt chunk of a PNG whose checksum holds."""
    place = len(_PNG) if media.startswith(_PNG) else len(media)
    while place + 12 <= len(media):
        (num_bytes,) = struct.unpack_from(">I", media, place)
        end = place + 8 + num_bytes
        if media[place + 4 : place + 8] == b"iTXt" and end + 4 <= len(media):
            (checksum,) = struct.unpack_from(">I", media, end)
            parts = media[place + 8 : end].split(b"\0", 5)
            if checksum == zlib.crc32(media[place + 4 : end]) and len(parts) == 6 and not any(parts[1:5]):
                yield parts[0].decode("latin-1"), parts[5].decode("utf-8", errors="replace")
        place = end + 4
