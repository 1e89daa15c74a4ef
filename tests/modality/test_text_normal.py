"""The normal form: what it mends, what it leaves, that it is one (idempotent); the compiled survey against Python."""

from __future__ import annotations

import unicodedata

import ftfy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_samples import CHINESE, DECLARATION, ENGLISH, POEMS

from motherlode.modality.text import MODALITY, characters, encoding, kernels, normal
from motherlode.modality.text.normal import normalise
from motherlode.modality.text.options import Clean

ODD = st.text(
    st.one_of(
        st.characters(codec="utf-8"),
        st.sampled_from("aeÃ©Â â€™ä½å¥½РџСЂÏðè\u0301\u0308\u200b\u200d\u00ad\ufeff\u2028\u00a0\u3000\u2000"),
        st.sampled_from("\x1b[0m\x08\r\n\t \x0c\u0085\u1161가"),
    ),
    max_size=60,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\r\ntwo\rthree\u2028four\x0cfive\x0bsix\u0085seven", "one\ntwo\nthree\nfour\nfive\nsix\nseven"),
        ("trailing  \t\nspaces\u3000\n\n\n\n\n\nand lines\n\n", "trailing\nspaces\n\n\nand lines"),
        ("\n \n\tindent stays", "\tindent stays"),
        ("a\u00a0b\u2003c\u202fd", "a b c d"),
        ("\u3000\u3000段落", "\u3000\u3000段落"),
        ("zero\u200bwidth\u2060joiner\ufeffs and so\u00adft", "zerowidthjoiners and soft"),
        ("left\u202eright\u2066x\u2069", "leftrightx"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d💻 ❤\ufe0f", "👩\u200d💻 ❤\ufe0f"),
        ("bell\x07 nul\x00 del\x7f c1\x81", "bell nul del c1"),
        ("\x1b[1;31mred\x1b[0m \x1b[2Kline", "red line"),
        ("N\x08NA\x08AM\x08ME\x08E _\x08u_\x08n", "NAME un"),
        ("lone escape \x1b and [0m", "lone escape  and [0m"),
        ("cafe\u0301 \u1112\u1161\u11ab \u212b", "café 한 Å"),
        ("e\u200b\u0301", "é"),
        ("\U0001f600 \U00020000", "\U0001f600 \U00020000"),
    ],
)
def test_normal_form(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("schÃ¶n und gut", "schön und gut"),
        ("It wasnâ€™t â€œgoodâ€\x9d", "It wasn’t “good”"),
        ("Ã©tÃ© Ã\xa0 la mer", "été à la mer"),
        ("РџСЂРёРІРµС‚ РјРёСЂ, РєР°Рє РґРµР»Р°", "Привет мир, как дела"),
        (CHINESE.strip().encode().decode("latin-1"), CHINESE.strip()),
        (POEMS.strip().encode("gb18030").decode("latin-1"), POEMS.strip()),
        (DECLARATION["ru"].encode("koi8-r").decode("latin-1"), DECLARATION["ru"]),
        (DECLARATION["ja"].encode("euc-jp").decode("latin-1"), DECLARATION["ja"]),
        ("Fine line.\nschÃ¶n\nFine é line.", "Fine line.\nschön\nFine é line."),
    ],
)
def test_mojibake_is_mended(wrong: str, right: str) -> None:
    assert normalise(wrong) == right
    assert normalise(wrong, repair=False) != right


@pytest.mark.parametrize(
    "text",
    [
        ENGLISH, CHINESE, POEMS, *DECLARATION.values(),
        "L’été, c’est « beau » à la mer: 50 €.", "Příští zastávka, íšáž “ďábel” ‘ť’", "SÃO PAULO e ÂNGELA",
        "Ïle, Ñandú, ÀÉÎ", "éééé ÁÉÍÓÚ", "naïve café’s ½ cup ±5 °C ©®", "Р. С. Т. «СССР» и Россия», РСФСР“",
    ],
)  # fmt: skip
def test_good_text_is_left_alone(text: str) -> None:
    assert normalise(text) == unicodedata.normalize("NFC", text.rstrip())
    assert encoding.redecode(text) is None


@settings(max_examples=1500, deadline=None)
@given(ODD, st.booleans())
def test_normal_form_of_a_normal_form_is_itself(text: str, repair: bool) -> None:
    once = normalise(text, repair=repair)
    assert normalise(once, repair=repair) == once
    assert unicodedata.is_normalized("NFC", once)
    assert not any(unicodedata.category(sign) == "Cc" for sign in once if sign not in "\n\t")
    assert once == once.strip("\n")


@settings(max_examples=300, deadline=None)
@given(st.lists(ODD, max_size=6))
def test_a_batch_gives_what_each_alone_gives(texts: list[str]) -> None:
    options = Clean(personal="off")
    found = MODALITY.examine([text.encode() for text in texts], options)
    again = MODALITY.examine(found.media, options)
    for text, media, twice, reason in zip(texts, found.media, again.media, found.reasons, strict=True):
        if reason not in ("binary", "empty", "undecodable") and not text.startswith(
            ("%PDF-", "PK", "\ufeff", "---", "+++")
        ):
            assert media.decode() == normalise(text)
            assert twice == media


def test_what_had_not_to_change_is_the_object_received() -> None:
    media = [ENGLISH.rstrip().encode(), POEMS.rstrip().encode()]
    found = MODALITY.examine(media, Clean())
    assert all(a is b for a, b in zip(found.media, media, strict=True))
    assert found.notes == {}


def test_changes_are_counted_in_documents() -> None:
    texts = [ENGLISH + end for end in ("x\u200by", "a\u200bb\x01\u200b", "schÃ¶n", "e\u0301", "a\u00a0b", "a\r\nb")]
    notes = MODALITY.examine([text.encode() for text in texts], Clean()).notes
    assert notes == {
        "zero_width": 2, "control_characters": 1, "repaired_mojibake": 1, "composed": 1, "odd_spaces": 1,
        "line_ends": 1,
    }  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=120) | ODD.map(str.encode))
def test_survey_agrees_with_python(media: bytes) -> None:
    found_F = normal.survey(*normal.join([b"", media]))[1]
    text = media.decode("utf-8", errors="surrogateescape")
    broken = sum(0xDC80 <= ord(sign) <= 0xDCFF for sign in text)
    assert found_F[kernels.INVALID] == broken
    assert found_F[kernels.CHARACTERS] == len(text) - broken
    assert found_F[kernels.NULS] == text.count("\0")
    assert found_F[kernels.LOST] == text.count("\ufffd")
    assert found_F[kernels.WIDE] == sum(ord(sign) >= 128 for sign in text) - broken
    if not broken and not unicodedata.is_normalized("NFC", text.replace("\u2000", "").replace("\u2001", "")):
        assert found_F[kernels.UNCOMPOSED] > 0
    if not broken:
        assert (found_F[kernels.MOJIBAKE] > 0) == bool(normal._SUSPECT.search(text))


def test_every_pair_that_composes_is_flagged() -> None:
    table = characters.flags()
    rng = np.random.default_rng(0)
    signs = [chr(code) for code in range(0x20, characters.NUM_CODES) if not 0xD800 <= code < 0xE000]
    replaced = characters.SPACE | characters.DROPPED | characters.NEWLINE
    singles = {sign for sign in signs if unicodedata.normalize("NFC", sign) != sign}
    assert all(table[ord(sign)] & (characters.NOT_COMPOSED | replaced) for sign in singles)
    for _ in range(20_000):
        first, second = (signs[int(k)] for k in rng.integers(0, len(signs), 2))
        pair = first + second
        if not {first, second} & singles and unicodedata.normalize("NFC", pair) != pair:
            assert table[ord(first)] & characters.NOT_COMPOSED or table[ord(second)] & characters.NOT_COMPOSED


def test_bad_lines_that_cannot_be_mended_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(ftfy, "fix_encoding", lambda line: tried.append(line) or line)
    lines = "ÆÄÀÏÀÇ À§Ä¡´Â ÄÄÆÄÀÏ½Ã, plain words\n" * 4000 + "€\n" + ENGLISH * 200
    assert normalise(lines) == normalise(lines, repair=False)
    assert 0 < len(tried) < 50
