"""Every kind of file and encoding in, UTF-8 text or a reason out; hostile ones end soon and take little memory."""

from __future__ import annotations

import gzip
import os
import struct
import time
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_samples import CHINESE, DECLARATION, ENGLISH, POEMS

from motherlode.modality.text import MODALITY, options
from motherlode.modality.text.encoding import decode as decode_bytes
from motherlode.modality.text.options import REASONS, Clean

LENIENT = Clean(
    min_words=0, max_symbols=1, max_digits=1, min_word_length=0, max_word_length=0, min_stop_words=0, max_bullets=1,
    max_ellipses=1, max_repeated_lines=1, max_repeated_paragraphs=1, max_top_phrase=0, max_repeated_phrases=1,
    personal="off",
)  # fmt: skip


def look(media: bytes, options: Clean = LENIENT) -> tuple[str | None, str, dict[str, int]]:
    found = MODALITY.examine([media], options)
    text = found.media[0].decode("utf-8", errors="replace")
    return found.reasons[0], text, found.notes


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (POEMS, "gb18030"),
        (POEMS, "utf-16"),
        (POEMS, "utf-8-sig"),
        (CHINESE, "gbk"),
        (DECLARATION["de"] * 2, "cp1252"),
        (DECLARATION["fr"] * 2, "iso8859-1"),
        (DECLARATION["pl"] * 2, "iso8859-2"),
        (DECLARATION["ru"], "koi8-r"),
        (DECLARATION["ru"], "cp1251"),
        (DECLARATION["ja"], "shift_jis"),
        (DECLARATION["ja"], "euc-jp"),
        (ENGLISH, "utf-16-le"),
        (ENGLISH, "utf-16-be"),
        (ENGLISH, "utf-32"),
    ],
)
def test_text_is_read_in_any_encoding(text: str, encoding: str) -> None:
    reason, found, notes = look(text.encode(encoding))
    assert reason is None
    assert found == text.rstrip()
    assert [name for name in notes if name.startswith("decoded_")] or encoding == "utf-8-sig"


def test_terminal_colours_do_not_hide_chinese() -> None:
    coloured = "\n".join(f"\x1b[32m{line}\x1b[m" for line in POEMS.splitlines()).encode("gb18030")
    assert look(coloured)[1] == POEMS.rstrip()


def test_a_long_line_of_ascii_before_other_bytes_is_passed_over_at_once() -> None:
    """A search that began anew at each of its bytes took 6.7 s for 40 kB, and would take an hour for a megabyte."""
    start = time.process_time()
    text, name = decode_bytes(b"a" * 1_000_000 + "\ncafé naïve".encode("cp1252"), num_wide=0, num_invalid=2)
    assert text.endswith("\ncafé naïve")
    assert name in ("iso8859-1", "cp1252")
    assert time.process_time() - start < 5


def test_utf8_with_a_few_broken_bytes_keeps_the_rest() -> None:
    damaged = bytearray(CHINESE.encode() * 3)
    damaged[100] = 0xFF
    reason, found, notes = look(bytes(damaged))
    assert reason is None
    assert found.count("\ufffd") <= 3
    assert len(found) > 3 * len(CHINESE) - 8
    assert notes["lost_bytes"] == 1
    assert look(CHINESE.encode()[:-1])[0] is None


def test_text_with_much_lost_is_dropped() -> None:
    assert look((ENGLISH[:300] + "\ufffd" * 10).encode())[0] == "undecodable"


@pytest.mark.parametrize(
    "media",
    [
        bytes(range(256)) * 8,
        b"\x7fELF" + bytes(200),
        b"\x89PNG\r\n\x1a\n" + zlib.compress(os.urandom(1000)),
        gzip.compress(b"hello " * 1000),
        b"GIF89a" + struct.pack("<HH", 9, 9) + bytes(50),
        b"text\x01\x02\x03\x04\x05\x06" * 50,
    ],
    ids=["all", "elf", "png", "gzip", "gif", "controls"],
)
def test_binary_files_are_no_text(media: bytes) -> None:
    assert look(media)[0] in ("binary", "undecodable")


def test_other_archives_are_binary() -> None:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("word/document.xml", "<w:document/>")
    assert look(buffer.getvalue())[0] == "binary"


@pytest.mark.parametrize("media", [b"", b" \n\t\r\n ", "\ufeff\u200b\u2060".encode(), b"\x1b[0m", "\u3000\n".encode()])
def test_nothing_is_empty(media: bytes) -> None:
    assert look(media)[0] == "empty"


PAGE = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>Mounting</title><script>var x = "<p>no</p>";</script></head>
<body><nav><ul><li><a href="/">Home</a></li><li><a href="/about">About us</a></li></ul></nav>
<main><article><h1>Mounting</h1><p>{0}</p><pre>mount -t ext4 /dev/sda1 /mnt</pre></article></main>
<footer>Copyright, all rights reserved, privacy, terms</footer></body></html>"""


def test_a_page_gives_its_main_text() -> None:
    reason, text, notes = look(PAGE.format(ENGLISH).encode())
    assert reason is None
    assert "attaches the filesystem" in text
    assert "mount -t ext4" in text
    assert "About us" not in text
    assert "rights reserved" not in text
    assert "var x" not in text
    assert notes["html"] == 1
    assert "About us" in look(PAGE.format(ENGLISH).encode(), LENIENT.model_copy(update={"html": "all"}))[1]


def test_a_page_is_read_in_the_encoding_it_declares() -> None:
    page = PAGE.replace("utf-8", "gb2312").format(CHINESE.replace("\n", " ")).encode("gb18030")
    assert "挂载命令把设备上的文件系统" in look(page)[1]
    sixteen = PAGE.format(ENGLISH).encode("utf-16")
    assert "attaches the filesystem" in look(sixteen)[1]


def test_a_page_without_a_main_part_gives_all_but_menus() -> None:
    page = (
        b"<html><body><nav>Menu menu</nav><ul>" + b"<li>an item of the list of things</li>" * 9 + b"</ul></body></html>"
    )
    reason, text, _ = look(page)
    assert reason is None
    assert "item of the list" in text
    assert "Menu" not in text


@pytest.mark.parametrize(
    "text",
    [
        '<p align="center"><img src="logo.png"></p>\n\n# A project\n\nIt has <b>tags</b> in it.\n',
        'const page = "<!doctype html><html><body>x</body></html>";\nconsole.log(page);\n',
        "#include <stdio.h>\nint main(void) { return 0; }\n",
        "<div>A fragment of Markdown</div>\n\nwith words.\n",
        '<?xml version="1.0"?>\n<note><to>x</to></note>\n',
    ],
)
def test_tags_alone_make_no_page(text: str) -> None:
    reason, found, notes = look(text.encode())
    assert reason is None
    assert found == text.rstrip()
    assert "html" not in notes


@pytest.mark.parametrize(
    "page",
    [
        b"<html><body>" + b"<div>" * 300_000 + b"text",
        b"<html><body><p " + b" ".join(b"a%d=x" % i for i in range(100_000)) + b">hi</p></body></html>",
    ],
    ids=["depth", "attributes"],
)
def test_markup_that_would_take_minutes_is_refused(page: bytes) -> None:
    assert look(page)[0] == "damaged"


@pytest.mark.parametrize(
    "page",
    [
        b"<html><body>" + b"<b><i>" * 20_000 + b"text",
        b"<html><!--" + b"x" * 1_000_000,
        b"<html><body>" + b"&#x10FFFF;&#0;&#xD800;&#99999999;&lt;" * 1000,
        b"<html><body>\0<p>a b</p><p>" + b"some more words of text here" * 40,
        b"<html" + b"<" * 100_000,
        b'<html><body><a href="' + b"x" * 1_000_000,
        b"<!doctype html>" + bytes(range(256)) * 20,
    ],
)
def test_odd_markup_ends_well(page: bytes) -> None:
    reason, text, _ = look(page)
    assert reason is None or reason in REASONS
    assert reason or "\0" not in text


def pdf(lines: list[str], pages: int = 1, compress: bool = False) -> bytes:
    """A valid PDF with the same lines on each page."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for number in range(pages):
        shown = " T* ".join(f"({line.replace('#', str(number + 1))}) Tj" for line in lines)
        stream = f"BT /F1 11 Tf 14 TL 50 750 Td {shown} ET".encode()
        filters = b""
        if compress:
            stream, filters = zlib.compress(stream), b"/Filter /FlateDecode "
        objects.append(b"<< %s/Length %d >>\nstream\n%s\nendstream" % (filters, len(stream), stream))
        kids.append(len(objects) + 1)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(b"%d 0 R" % kid for kid in kids), pages)
    out, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + (
        b"xref\n0 %d\n0000000000 65535 f \n%strailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF"
        % (len(objects) + 1, table, len(objects) + 1, len(out))
    )


def test_pdf_gives_its_text_without_running_headers() -> None:
    lines = ["A manual, release 3", "The mount command attaches the filesystem on page #.", "Page # of 6"]
    reason, text, notes = look(pdf(lines, pages=6, compress=True))
    assert reason is None
    assert text.count("attaches the filesystem") == 6
    assert "release 3" not in text
    assert "of 6" not in text
    assert notes["pdf"] == 1


@pytest.mark.parametrize("media", [b"%PDF-1.4\n", b"%PDF-1.7\n" + b"garbage " * 1000, pdf(["a b c"] * 3)[:120]])
def test_broken_pdf_is_damaged(media: bytes) -> None:
    assert look(media)[0] == "damaged"


def test_pdf_of_pictures_alone_is_empty() -> None:
    assert look(pdf([]))[0] == "empty"


CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)
PACKAGE = (
    '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="two" href="b%20b.xhtml"/>'
    '<item id="one" href="a.xhtml"/><item href="c.css" id="style"/></manifest>'
    '<spine><itemref idref="one"/><itemref idref="two"/><itemref idref="none"/></spine></package>'
)


LOCK = '<enc:EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes128-cbc"/>'


def epub(chapters: dict[str, str | bytes], **more: str | bytes) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("mimetype"), "application/epub+zip")
        content = {"META-INF/container.xml": CONTAINER, "OEBPS/content.opf": PACKAGE}
        for name, data in (content | {f"OEBPS/{name}": text for name, text in chapters.items()} | more).items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_epub_is_read_in_the_order_of_its_spine() -> None:
    book = epub(
        {
            "b b.xhtml": f"<html><body><h1>Second</h1><p>{DECLARATION['de']}</p></body></html>",
            "a.xhtml": f"<html><body><h1>First</h1><p>{DECLARATION['en']}</p></body></html>",
            "c.css": "p { color: red }",
        }
    )
    reason, text, notes = look(book)
    assert reason is None
    assert text.index("First") < text.index("human beings") < text.index("Second") < text.index("Menschen")
    assert "color" not in text
    assert notes["epub"] == 1


def test_zip_bomb_in_an_epub_is_refused_unopened() -> None:
    bomb = epub({"a.xhtml": b"<html><body>" + bytes(300 << 20)})
    process = psutil.Process()
    before = process.memory_info().rss
    assert len(bomb) < 1 << 20
    assert look(bomb)[0] == "decompression_bomb"
    assert process.memory_info().rss - before < 64 << 20


def test_directory_that_lies_about_sizes_is_no_way_round() -> None:
    book = epub({"a.xhtml": b"<html><body><p>" + b"word " * 1_000_000})
    lying = book.replace(struct.pack("<I", 15 + 5_000_000), struct.pack("<I", 4096))
    assert look(lying)[0] in ("damaged", "empty", None)


@pytest.mark.parametrize(
    ("media", "reason"),
    [
        (epub({"a.xhtml": "<html><body>text"})[:-40], "damaged"),
        (epub({}, **{"META-INF/license.lcpl": "{}"}), "encrypted"),
        (epub({}, **{"META-INF/encryption.xml": LOCK}), "encrypted"),
        (epub({}, **{"META-INF/container.xml": "<container/>"}), "damaged"),
        (epub({}), "empty"),
        (b"PK\x03\x04mimetypeapplication/epub+zip" + bytes(100), "damaged"),
    ],
)  # fmt: skip
def test_broken_and_locked_books(media: bytes, reason: str) -> None:
    assert look(media)[0] == reason


def test_entities_of_a_book_do_not_expand() -> None:
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha"}">' for i in range(10))
    package = f"<?xml version='1.0'?><!DOCTYPE p [{laughs}]>" + PACKAGE.replace("<manifest>", "<manifest>&l9;")
    book = epub({"a.xhtml": f"<html><body>{DECLARATION['en']}</body></html>"}, **{"OEBPS/content.opf": package})
    assert "human beings" in look(book)[1]


@pytest.mark.parametrize(
    ("block", "is_cut"),
    [
        ("---\ntitle: A page\ntags: [a, b]\ndraft: false\n---\n", True),
        ('+++\ntitle = "A page"\n\n[extra]\nx = 1\n+++\n', True),
        ("---\nNot keys but a line of prose, and then a ruler.\n---\n", False),
        ("---\n\n", False),
        ("---\ntitle: never closed\n", False),
    ],
)
def test_front_matter_goes_and_rulers_stay(block: str, is_cut: bool) -> None:
    text = block + "\n# A page\n\n" + ENGLISH
    found = look(text.encode())[1]
    assert found.startswith("# A page") == is_cut
    assert look(text.encode(), LENIENT.model_copy(update={"front_matter": "keep"}))[1] == text.rstrip()


def test_a_long_line_is_dropped_at_little_cost() -> None:
    line = b"word and another word " * (30_000_000 // 22)
    MODALITY.examine([b"warm"], LENIENT)
    process = psutil.Process()
    before = process.memory_info().rss
    assert MODALITY.examine([line], LENIENT).reasons == ["too_long"]
    assert process.memory_info().rss - before < 600 << 20


def test_a_limit_on_characters_holds_for_pdf_too() -> None:
    short = LENIENT.model_copy(update={"max_characters": 200})
    assert look(pdf(["words and more words"] * 40), short)[0] == "too_long"
    assert look(ENGLISH.encode(), short)[0] == "too_long"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_raise(media: bytes) -> None:
    found = MODALITY.examine([media, b"%PDF-" + media, b"PK\x03\x04" + media, b"<html>" + media], LENIENT)
    for reason, text in zip(found.reasons, found.media, strict=True):
        assert reason is None or reason in REASONS
        if reason is None:
            text.decode("utf-8")


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.integers(0, 20))
def test_damage_to_real_files_does_not_raise(noise: bytes, place: int) -> None:
    book = epub({"a.xhtml": f"<html><body>{DECLARATION['en']}</body></html>"})
    files = [pdf(["a line of text"] * 5), book, PAGE.format(ENGLISH).encode(), POEMS.encode("gb18030")]
    damaged = [file[: (at := len(file) * place // 20)] + noise + file[at + len(noise) :] for file in files]
    found = MODALITY.examine(damaged, LENIENT)
    assert all(reason is None or reason in REASONS for reason in found.reasons)


def test_every_reason_is_explained() -> None:
    source = "".join(path.read_text() for path in Path(options.__file__).parent.glob("*.py"))
    assert all(f'"{reason}"' in source.replace(f'"{reason}": ', "") for reason in REASONS if reason != "near_duplicate")


def test_decode_prefers_what_a_page_declares() -> None:
    text, name = decode_bytes("Grüße".encode("cp1252"), num_wide=0, num_invalid=2, declared="windows-1252")
    assert (text, name) == ("Grüße", "windows-1252")
