"""EPUB to text: the pages of its spine in reading order, each read as a web page.

An EPUB is a ZIP archive: its directory is checked before anything is unpacked, and nothing is unpacked beyond a limit.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from io import BytesIO
from urllib.parse import unquote

from motherlode.modality.text import webpage
from motherlode.modality.text.unfit import Unfit

MAGIC = b"PK\x03\x04"
_TYPE = b"mimetypeapplication/epub+zip"
_CONTAINER, _LICENCE, _ENCRYPTION = "META-INF/container.xml", "META-INF/license.lcpl", "META-INF/encryption.xml"
MOST_BYTES = 256 << 20
"""Unpacked pages of one book beyond this: decompression_bomb."""
_MOST_MEMBERS = 65_536
_ROOT = re.compile(r"<(?:\w+:)?rootfile\b[^>]{0,2000}?\bfull-path\s*=\s*[\"']([^\"']+)[\"']")
_ITEM = re.compile(r"<(?:\w+:)?item\b([^>]{0,4000})>")
_REFERENCE = re.compile(r"<(?:\w+:)?itemref\b([^>]{0,2000})>")
_ATTRIBUTE = re.compile(r"([\w:-]+)\s*=\s*[\"']([^\"']*)[\"']")
_LOCKS = re.compile(r"Algorithm\s*=\s*[\"'](?!http://www\.idpf\.org/2008/embedding|http://ns\.adobe\.com/pdf/enc#RC)")
_DAMAGE = (zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


def is_book(media: bytes) -> bool:
    """Whether a ZIP archive is an EPUB: its first member says so, or it has the container file of one."""
    return _TYPE in media[:256] or _CONTAINER.encode() in media[-(1 << 20) :]


def extract(media: bytes, *, only_main: bool = False) -> str:
    """The text of the pages, a blank line between them.

    Raises:
        Unfit: "damaged", "encrypted" or "decompression_bomb".
    """
    try:
        with zipfile.ZipFile(BytesIO(media)) as archive:
            return _read(archive, only_main)
    except _DAMAGE as error:
        raise Unfit("damaged") from error


def _read(archive: zipfile.ZipFile, only_main: bool) -> str:
    members = {info.filename: info for info in archive.infolist()}
    if len(members) > _MOST_MEMBERS:
        raise Unfit("decompression_bomb")
    if _LICENCE in members or (_ENCRYPTION in members and _LOCKS.search(_xml(archive, members[_ENCRYPTION]))):
        raise Unfit("encrypted")
    root = _ROOT.search(_xml(archive, members[_CONTAINER]))
    if root is None:
        raise Unfit("damaged")
    package = _xml(archive, members[root[1]])
    folder = posixpath.dirname(root[1])
    items = [dict(_ATTRIBUTE.findall(match)) for match in _ITEM.findall(package)]
    hrefs = {item["id"]: item["href"] for item in items if "id" in item and "href" in item}
    order = [dict(_ATTRIBUTE.findall(match)).get("idref", "") for match in _REFERENCE.findall(package)]
    names = [posixpath.normpath(posixpath.join(folder, unquote(hrefs[name]))) for name in order if name in hrefs]
    pages = [members[name] for name in dict.fromkeys(names) if name in members]
    if sum(page.file_size for page in pages) > MOST_BYTES:
        raise Unfit("decompression_bomb")
    texts = []
    for page in pages:
        media = _unpack(archive, page)
        declared = webpage.declared_encoding(media) or "utf-8"
        try:
            whole = media.decode(declared)
        except (LookupError, UnicodeDecodeError):
            whole = media.decode("utf-8", errors="replace")
        texts.append(webpage.extract(whole, only_main=only_main)[0].strip())
    return "\n\n".join(text for text in texts if text)


def _xml(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """A small file of the archive as text; read with patterns, so that no entity of it can expand."""
    return _unpack(archive, info, 8 << 20).decode("utf-8", errors="replace")


def _unpack(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int = MOST_BYTES) -> bytes:
    """A member's bytes, no more than it declares: a directory that lies is no way round the limit."""
    if info.file_size > most:
        raise Unfit("decompression_bomb")
    if info.flag_bits & 1:
        raise Unfit("encrypted")
    with archive.open(info) as file:
        return file.read(info.file_size)
