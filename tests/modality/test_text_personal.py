"""Personal data of every kind is masked, and what only looks like it is left; the scan misses nothing."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from text_samples import CHINESE, ENGLISH

from motherlode.errors import MissingExtraError
from motherlode.modality.text import MODALITY, normal, personal
from motherlode.modality.text.options import Clean

# Pieces are joined here so that no scanner takes this file for a leak.
GITHUB = "ghp" + "_" + "16C7e42F292c6912E7710c838347Ae178B4a"
AWS = "AKIA" + "IOSFODNN7EXAMPLQ"
TOKEN = ".".join(
    (
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
        "eyJzdWIiOiIxMjM0NTY3ODkwIn0",
        "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    )
)
PRIVATE = (
    "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIEpAIBAAKCAQEA75CIDlJcj0cGm1pgRJmVnDm7dKmQ8WcpX1nHxTzqOBsDlL6e\nabc=\n"
    "-----END RSA " + "PRIVATE KEY-----"
)


def masked(text: str, **options: Any) -> str:
    lenient = Clean(min_words=0, max_symbols=1, max_digits=1, min_word_length=0, max_word_length=0, **options)
    found = MODALITY.examine([text.encode()], lenient)
    assert found.reasons == [None]
    return found.media[0].decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to jane.doe+news@mail.acme-corp.co.uk, please.", "Write to <email>, please."),
        ("<mailto:o'hara_9@uni-koeln.de>", "<mailto:<email>>"),
        ("请联系security@kernel.org。", "请联系<email>。"),
        ("a@b.io;c@d.ai", "<email>;<email>"),
        ("Call +44 20 7946 0958 now", "Call <phone> now"),
        ("+1-202-456-1111 or (202) 456-1414", "<phone> or <phone>"),
        ("fax 408-957-2550, 24 hours", "fax <phone>, 24 hours"),
        ("tel. 030 901820", "tel. <phone>"),
        ("Phone: 0171 1234567", "Phone: <phone>"),
        ("手机：13812345678，邮编", "手机：<phone>，邮编"),
        ("电话 010-62782287", "电话 <phone>"),
        ("ring 138-1234-5678", "ring <phone>"),
        ("card 4111 1111 1111 1111 expires", "card <card> expires"),
        ("5500-0000-0000-0004", "<card>"),
        ("amex 378282246310005.", "amex <card>."),
        ("银行卡6011111111111117。", "银行卡<card>。"),
        ("from 93.184.216.34 to", "from <ip> to"),
        ("http://212.58.244.70/index", "http://<ip>/index"),
        ("peer 2a00:1450:4001:82a::200e up", "peer <ip> up"),
        ("2606:4700:4700:0000:0000:0000:0000:1111", "<ip>"),
        (f"aws_access_key_id = {AWS}", "aws_access_key_id = <key>"),
        (f"git clone https://{GITHUB}@github.com/a/b", "git clone https://<key>@github.com/a/b"),
        (f"Authorization: Bearer {TOKEN}", "Authorization: Bearer <key>"),
        (f"before\n{PRIVATE}\nafter", "before\n<key>\nafter"),
        ('secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY0"', 'secret_key = "<key>"'),
        ("DB_PASSWORD: x9fK2mQ8vL4pR7tZ", "DB_PASSWORD: <key>"),
        ("postgres://admin:s3cr3tPa55@db.internal:5432/app", "postgres://admin:<key>@db.internal:5432/app"),
        ("xoxb" + "-263594206564-2343594206574-FGqddMF8t08v8N7Oq4i57vs1", "<key>"),
    ],
)
def test_personal_data_is_masked(text: str, expected: str) -> None:
    assert masked(text) == expected
    assert masked(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "user@example.com and root@localhost.localdomain",
        "git@github.com:owner/name.git",
        "ssh://git@host.xz:22/path",
        "@param x, icon@2x.png, foo @ bar.com, @samp{a.b}",
        "card 4111 1111 1111 1112, 1234 5678 9012 3456",
        "order 9111111111111111111 and id 4111111111111111.5",
        "127.0.0.1 10.0.0.1 192.168.1.254 172.16.9.99 224.0.0.251 198.51.100.7 0.0.0.0 255.255.255.0",
        "version 93.184.216.34, v12.99.1.0, Section 4.3.2.1, OID 1.3.6.1.4.1.311",
        "package-1.2.3.255 1.2.3.255-4 1.2.3.456 3.4.1.2. A heading",
        "std::string a::b fe80::1 ::1 2001:db8::1 12:30:45 00:1A:2B:3C:4D:5E",
        "@@ -12,345 +6,789 @@ and 2024-01-15 12:30:45 +0200",
        "300 400 5000 6000 and 1 2 3 4 5 6 7 8 9 and 12345678901234567890",
        "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "commit 4b825dc642cb6eb9a060e54bf8d69288fbee4904",
        "password = your_password_here token: ${TOKEN_FROM_ENV_2024} api_key=os.environ['API_KEY_V2']",
        "https://user:password@example.org/ and ftp://anonymous@host",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "-----BEGIN RSA PRIVATE KEY-----\n... (private key in base64 encoding) ...\n-----END RSA PRIVATE KEY-----",
        "The file grew from 1048576 to 20971520 bytes (1.5 GB) in 2008-2012.",
        "linux-image-4.19.0-6-amd64 libstdc++6-4.4-dev ISBN 978-3-16-148410-0",
    ],
)
def test_what_only_looks_like_it_is_left(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize("number", ["4111111111111111", "5105105105105100", "371449635398431", "6011000990139424"])
def test_cards_pass_luhn_and_no_other_last_digit_does(number: str) -> None:
    assert personal.is_card(number.encode())
    others = [number[:-1] + digit for digit in "0123456789" if digit != number[-1]]
    assert not any(personal.is_card(other.encode()) for other in others)


def test_kinds_are_dropped_masked_or_left_as_asked() -> None:
    media = [(ENGLISH + end).encode() for end in ("a@acme.org", "+44 20 7946 0958", "93.184.216.34", "nothing")]
    found = MODALITY.examine(media, Clean(personal={"email": "drop", "phone": "mask"}))
    assert found.reasons == ["personal", None, None, None]
    assert found.media[0].endswith(b"a@acme.org")
    assert found.media[1].endswith(b"<phone>")
    assert found.media[2].endswith(b"93.184.216.34")
    assert found.columns["personal"].tolist() == [0, 1, 0, 0]
    assert found.notes == {"personal_phone": 1}
    assert MODALITY.examine(media, Clean(personal="off")).media[0].endswith(b"a@acme.org")
    assert MODALITY.examine(media, Clean(personal="drop")).reasons == ["personal"] * 3 + [None]


def test_masks_change_nothing_else_in_any_document_of_a_batch() -> None:
    texts = [ENGLISH.strip(), CHINESE.strip(), "", "Mail joe@acme.org or ann@acme.org", ENGLISH.strip()]
    found = MODALITY.examine([text.encode() for text in texts], Clean(min_words=0))
    assert [media.decode() for media in found.media] == [*texts[:3], "Mail <email> or <email>", texts[4]]
    assert found.columns["characters"].tolist() == [len(media.decode()) for media in found.media]


PATTERNS = (personal._EMAIL, personal._PHONE, personal._CARD, personal._IPV4, personal._IPV6, personal._KEY)


def everything(text: bytes) -> set[tuple[int, int]]:
    """Spans of all patterns over the whole text, without the scan."""
    found = set()
    for match in personal._EMAIL.finditer(text):
        if personal._is_somebodys(text, match):
            found.add(match.span())
    found |= {match.span() for match in personal._PHONE.finditer(text)}
    found |= {match.span() for match in personal._CARD.finditer(text) if personal.is_card(match[0])}
    found |= {match.span() for match in personal._KEY.finditer(text)}
    for pattern in (personal._IPV4, personal._IPV6):
        found |= {item[:2] for match in pattern.finditer(text) for item in personal._address(text, match, 0)}
    return found


PIECES = st.sampled_from(
    [
        "joe@acme.org", "+44 20 7946 0958", "(202) 456-1414", "202.456.1414", "13812345678", "010-62782287",
        "4111 1111 1111 1111", "378282246310005", "93.184.216.34", "2a00:1450:4001:82a::200e", AWS, GITHUB,
        "x", "12", ".", "-", " ", "\n", "@", "汉", "é", "=", ":", "/", "+", "(", "word",
    ]
)  # fmt: skip


@settings(max_examples=1500, deadline=None)
@example(text="202.456.1414138123456784111 1111 1111 111113812345678 202.456.1414")
@given(text=st.lists(PIECES, max_size=14).map("".join))
def test_the_scan_misses_nothing_that_the_patterns_find(text: str) -> None:
    buffer, offsets = normal.join([b"123 a@b.cc ", text.encode(), b"4111"])
    start, end = int(offsets[1]), int(offsets[2])
    found = {(item.start - start, item.end - start) for item in personal.find(buffer, offsets).get(1, [])}
    for low, high in everything(text.encode()):
        assert any(low < last and first < high for first, last in found)
    assert all(0 <= low < high <= end - start for low, high in found)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(max_size=40) | PIECES, max_size=8).map(" ".join))
def test_masking_never_raises_and_is_final(text: str) -> None:
    text = normal.normalise(text)
    for _ in range(2):
        media = text.encode()
        found = personal.find(*normal.join([media]))
        text = personal.mask(media, 0, found.get(0, [])).decode()
    assert personal.find(*normal.join([text.encode()])) == {}


def test_random_is_told_from_named() -> None:
    assert personal.is_random(b"x9fK2mQ8vL4pR7tZ")
    assert not personal.is_random(b"aaaaaaaaaaaaaaaa1")
    assert not personal.is_random(b"correct-horse-battery")


def test_many_candidates_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"a@acme.org " * 5000
    found = personal.find(*normal.join([text]))
    assert len(found[0]) == 5000
    assert personal.mask(text, 0, found[0]) == b"<email> " * 5000


def test_the_deep_pass_masks_what_presidio_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    class Engine:
        def analyze(self, text: str, language: str) -> list[SimpleNamespace]:
            spans = [match.span() for match in re.finditer("Ada Lovelace|Ada|Berlin", text)]
            return [
                SimpleNamespace(start=a, end=b, entity_type="PERSON" if b - a != 6 else "LOCATION") for a, b in spans
            ]

    monkeypatch.setitem(sys.modules, "presidio_analyzer", SimpleNamespace(AnalyzerEngine=Engine))
    personal._analyser.cache_clear()
    try:
        found = MODALITY.examine([b"Ada Lovelace wrote from Berlin to joe@acme.org again"], Clean(personal_deep=True))
    finally:
        personal._analyser.cache_clear()
    assert found.media == [b"<person> wrote from <location> to <email> again"]
    assert found.columns["personal"].tolist() == [3]
    assert found.notes == {"personal_deep": 2, "personal_email": 1}


def test_the_deep_pass_asks_for_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    personal._analyser.cache_clear()
    with pytest.raises(MissingExtraError, match="presidio"):
        MODALITY.examine([ENGLISH.encode()], Clean(personal_deep=True))


def test_empty_batch() -> None:
    assert personal.find(np.zeros(0, np.uint8), np.zeros(1, np.int64)) == {}
