"""Personal data and secrets: where a compiled scan says they may be, regular expressions and checks tell them apart.

Masked text says what was there: <email>, <phone>, <card>, <ip>, <key>. What nobody owns stays: addresses of reserved
example domains (RFC 2606), private and documentation networks, numbers that fail their check digit. It finds what has a
form; names and places need `personal_deep`.

Shape legend: N documents (offsets have N + 1).
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import MissingExtraError, RecipeError
from motherlode.modality.text import scan
from motherlode.modality.text.options import PersonalKind

MASKS: dict[PersonalKind, bytes] = {kind: b"<%s>" % kind.encode() for kind in ("email", "phone", "card", "ip", "key")}
_RANK: dict[PersonalKind, int] = {"key": 0, "email": 1, "card": 2, "ip": 3, "phone": 4}
"""Of two finds that overlap, the one of lower rank holds."""
_MARGIN = 64
_LEAST_OCTET = 64
"""Of four numbers, one must reach this to be an address: 0.4 % of all addresses do not, and hardly any section does."""
_LEAST_ENTROPY = 3.3
"""Bits a character: words joined by underscores have less, random keys of sixteen characters about 3.7."""
_ANNOUNCING = ("tel", "phone", "mobile", "cell", "fax", "whatsapp", "电话", "電話", "手机", "手機", "传真", "傳真")
_EMAIL = re.compile(
    rb"(?<![\w.%+-])[A-Za-z0-9](?:[\w.%+'-]{0,62}\w)?@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}"
    rb"([A-Za-z]{2,24})(?![\w-]|\.[A-Za-z0-9])"
)
_RESERVED = re.compile(rb"(?i)(?:@|\.)(?:example(?:\.(?:com|org|net|edu))?|test|invalid|localhost|local|localdomain)$")
_NO_DOMAIN = frozenset(
    b"png jpg jpeg gif svg webp ico pdf html htm css js ts py sh rb go rs java cpp txt md json xml yaml yml toml so "
    b"service socket timer target mount conf cfg lock".split()
)
_PHONE = re.compile(
    rb"(?<![\w.+-])(?:"
    rb"\+[1-9](?:[ ./-]?\(?[0-9]\)?){7,14}"
    rb"|(?:1[-. ])?(?:\([2-9][0-9]{2}\)[ -]?[2-9][0-9]{2}[-. ][0-9]{4}|[2-9][0-9]{2}([-.])[2-9][0-9]{2}\1[0-9]{4})"
    rb"|\(0[0-9]{1,4}\)[ -]?[0-9]{3,4}[ -]?[0-9]{3,4}"
    rb"|0[1-9][0-9]{1,2}-[0-9]{7,8}"
    rb"|1[3-9][0-9](?:[0-9]{8}|([- ])[0-9]{4}\2[0-9]{4})"
    rb")(?![\w+]|[.,-][0-9])"
)
_ANNOUNCED_PHONE = re.compile(
    rb"(?i)(?:\b(?:tel|telephone|phone|mobile|cell|fax|whatsapp)|" + "|".join(_ANNOUNCING[6:]).encode() + rb")"
    rb"(?:[ ]?(?:no|nr|number|num)\b)?(?:\.?[ ]?[:=#]?|[^\w\s]{1,3})[ ]{0,2}"
    rb"(\+?\(?[0-9](?:[ ./()-]{0,2}[0-9]){6,14})(?![\w+]|[.,-][0-9])"
)
_CARD = re.compile(
    rb"(?<![\w.+-])(?:[2-6][0-9]{12,18}|[2-6][0-9]{3}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{1,7}"
    rb"|3[0-9]{3}([ -])[0-9]{6}\2[0-9]{4,5})(?![\w+]|[.,-][0-9])"
)
_ISSUERS = re.compile(
    rb"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|(?:5[1-5]|2[2-7])[0-9]{14}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}"
    rb"|35[0-9]{14}|6(?:011|5[0-9]{2}|4[4-9][0-9]|2[0-9]{2})[0-9]{12,15}"
)
_IPV4 = re.compile(rb"(?<![\w.+-])(?<!(?<!/)/)(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w+-]|\.[0-9])")
_IPV6 = re.compile(rb"(?<![\w.:])[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:.]{2,40}(?![\w:])")
_VERSION = re.compile(rb"(?i)(?:version|release|section|chapter|revision|rev\.?|ver\.?|v\.?|sec\.?|\xc2\xa7)\s?$")
_PRIVATE_KEY = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----[\sA-Za-z0-9+/=:,-]{32,20000}?"
    rb"(?:-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----|(?=\n[ \t]*\n)|\Z)"
)
_KEY = re.compile(
    rb"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}|AIza[\w-]{35}|gh[pousr]_[A-Za-z0-9]{36,255}"
    rb"|github_pat_\w{22,255}|glpat-[\w-]{20,64}|xox[abeprs]-[\w-]{10,250}|[srp]k_(?:live|test)_\w{16,250}"
    rb"|sk-[\w-]{20,250}|hf_[A-Za-z0-9]{30,64}|pypi-AgE[\w-]{50,250}|npm_[A-Za-z0-9]{36}"
    rb"|SG\.[\w-]{16,64}\.[\w-]{16,64}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{10,})(?![A-Za-z0-9])"
)
_BEGINNING = tuple(
    mark
    for line in (
        "akia asia abia acca aiza ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- xox sk_live_ sk_test_ rk_live_ rk_test_",
        "pk_live_ pk_test_ sk- hf_ pypi- npm_ sg. eyj",
    )
    for mark in line.split()
)
"""What `_KEY` matches begins with one of these, but for capitals."""
_SETTING = re.compile(
    rb"(?i)(?:secret|token|passw(?:or)?d|passwd|pwd|api[_-]?key|access[_-]?key|auth[_-]?key|encryption[_-]?key)"
    rb"[\w-]{0,24}[\"']?[ ]{0,3}(?:=>|:=|[:=])[ ]{0,3}[\"']?([A-Za-z0-9+/=_~.-]{16,256})"
)
_NAMING = ("key", "token", "pass", "secret", "pwd")
"""One of these stands, in small letters, in whatever `_SETTING` matches."""
_URL_PASSWORD = re.compile(rb"[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"'<>]{1,64}:([^\s:/@\"'<>]{3,128})@")
_PLACEHOLDERS = re.compile(rb"(?i)^(?:pass|passwd|password|pw|secret|x+|\*+|your.*|my.*|[$%{\[].*|token|user.*)$")


class Find(NamedTuple):
    """A piece of personal data: where it stands in its document's buffer, and what it is."""

    start: int
    end: int
    kind: PersonalKind


def find(buffer: NDArray[np.uint8], offsets_N: NDArray[np.int64]) -> dict[int, list[Find]]:
    """What each document holds, in order and without overlaps; documents without any are left out.

    Args:
        buffer: uint8, documents of normal form one after another; places are counted in it.
        offsets_N: int64 (N + 1,).
    """
    text = np.ascontiguousarray(buffer).data
    finds: dict[int, list[Find]] = {}
    seen = 0
    for document, low, high, kinds in _candidates(buffer, offsets_N):
        first, end = int(offsets_N[document]), int(offsets_N[document + 1])
        if kinds & scan.BLOCK_OF_KEY:
            # Where one block ends another may begin, but not within it.
            match = _PRIVATE_KEY.match(text, low, end) if low >= seen else None
            seen = match.end() if match else seen
            found = [Find(*match.span(), "key")] if match else []
        else:
            found = list(_look(text, low, high, kinds, first, end))
        if found:
            finds.setdefault(document, []).extend(found)
    return {document: _without_overlaps(found) for document, found in finds.items()}


def _candidates(buffer: NDArray[np.uint8], offsets_N: NDArray[np.int64]) -> list[list[int]]:
    room = len(buffer) // 2048 + 1024
    while True:
        found_K4 = np.empty((room, 4), np.int64)
        num = scan.scan(buffer, offsets_N, *_tables(), found_K4)
        if num <= room:
            places: list[list[int]] = found_K4[:num].tolist()
            return places
        room = num


@lru_cache(maxsize=1)
def _tables() -> tuple[NDArray[np.uint8], scan.Words]:
    return scan.classes(), (scan.words(_ANNOUNCING), scan.words(_NAMING), scan.words(_BEGINNING))


def _look(text: memoryview, low: int, high: int, kinds: int, first: int, end: int) -> Iterator[Find]:
    """What stands at a candidate of the document `text[first:end]`."""
    # What follows a number decides whether it is one: so much is looked at beyond its end.
    stop = min(end, high + 8)
    if kinds & scan.EMAIL:
        match = _EMAIL.search(text, low, high)
        if match and _is_somebodys(text, match):
            yield Find(*match.span(), "email")
    if kinds & scan.NUMBER:
        yield from _numbers(text, low, stop, first)
    if kinds & scan.IP:
        for pattern in (_IPV4, _IPV6):
            yield from (found for match in pattern.finditer(text, low, stop) for found in _address(text, match, first))
    if kinds & scan.KEY:
        keys = _KEY.finditer(text, low, min(end, high + scan.LONGEST_AFTER_KEY))
        yield from (Find(*match.span(), "key") for match in keys)
        settings = _SETTING.finditer(text, max(first, low - _MARGIN), stop)
        yield from (Find(*match.span(1), "key") for match in settings if is_random(match[1]))
    if kinds & scan.URL:
        passwords = _URL_PASSWORD.finditer(text, low, high)
        yield from (Find(*match.span(1), "key") for match in passwords if not _PLACEHOLDERS.match(match[1]))


def _numbers(text: memoryview, low: int, stop: int, first: int) -> Iterator[Find]:
    """Card and phone numbers between two places."""
    yield from (Find(*match.span(), "card") for match in _CARD.finditer(text, low, stop) if is_card(match[0]))
    yield from (Find(*match.span(), "phone") for match in _PHONE.finditer(text, low, stop))
    announced = _ANNOUNCED_PHONE.finditer(text, max(first, low - _MARGIN), stop)
    yield from (Find(*match.span(1), "phone") for match in announced)


def _without_overlaps(found: list[Find]) -> list[Find]:
    kept: list[Find] = []
    for item in sorted(set(found), key=lambda item: (_RANK[item.kind], item.start, -item.end)):
        if all(item.end <= other.start or item.start >= other.end for other in kept):
            kept.append(item)
    return sorted(kept)


def _is_somebodys(text: memoryview, match: re.Match[bytes]) -> bool:
    """Not an address of an example domain, a file name, a place in a repository or a host to log in to."""
    if match[1].lower() in _NO_DOMAIN or _RESERVED.search(match[0]):
        return False
    before, after = (
        bytes(text[a:b]) for a, b in ((max(match.start() - 3, 0), match.start()), (match.end(), match.end() + 1))
    )
    return not before.endswith(b"://") and not (after == b":" and match[0].startswith((b"git@", b"root@", b"user@")))


def _address(text: memoryview, match: re.Match[bytes], first: int) -> Iterator[Find]:
    """A global address that is no version or section number."""
    spelt = match[0].rstrip(b".:")
    try:
        address = ipaddress.ip_address(spelt.decode())
    except ValueError:
        return
    if not address.is_global or address.is_multicast:
        return
    before = text[max(first, match.start() - 10) : match.start()]
    if address.version == 4 and (max(address.packed) < _LEAST_OCTET or _VERSION.search(before)):
        return
    yield Find(match.start(), match.start() + len(spelt), "ip")


def is_card(number: bytes) -> bool:
    """Whether digits (with spaces or dashes) are the number of a payment card: an issuer's range, and Luhn's check."""
    digits = number.translate(None, b" -")
    if not _ISSUERS.fullmatch(digits):
        return False
    doubled = sum(sum(divmod(2 * (digit - 48), 10)) for digit in digits[-2::-2])
    return (doubled + sum(digit - 48 for digit in digits[::-2])) % 10 == 0


def is_random(token: bytes) -> bool:
    """Whether a token mixes letters and digits with the entropy of a key rather than of a name."""
    if not (re.search(rb"[0-9]", token) and re.search(rb"[A-Za-z]", token)):
        return False
    shares = [count / len(token) for count in Counter(token).values()]
    return -sum(share * math.log2(share) for share in shares) >= _LEAST_ENTROPY


def mask(text: bytes, start: int, found: list[Find]) -> bytes:
    """A document with what was found replaced.

    Args:
        text: the document.
        start: where it begins in the buffer that `find` saw.
        found: in order, without overlaps.
    """
    pieces, place = [], 0
    for item in found:
        pieces += [text[place : item.start - start], MASKS[item.kind]]
        place = item.end - start
    return b"".join([*pieces, text[place:]])


@lru_cache(maxsize=1)
def _analyser() -> Any:
    """Presidio's analyser with its own configuration.

    Raises:
        MissingExtraError: presidio is not installed.
        RecipeError: its language model is not.
    """
    try:
        from presidio_analyzer import AnalyzerEngine
    except ImportError as error:
        raise MissingExtraError("finding names and places (clean.personal_deep)", "presidio") from error
    try:
        return AnalyzerEngine()
    except (OSError, SystemExit, ValueError) as error:
        raise RecipeError(
            "clean.personal_deep needs presidio's language model", str(error), "python -m spacy download en_core_web_lg"
        ) from error


def mask_deeply(text: bytes) -> tuple[bytes, int]:
    """Mask what presidio finds in an English text, e.g. <person>; returns the text and how many finds there were.

    Raises:
        MissingExtraError, RecipeError: presidio or its language model is not installed.
    """
    whole = text.decode()
    found = sorted(_analyser().analyze(text=whole, language="en"), key=lambda item: (item.start, -item.end))
    pieces, place, num = [], 0, 0
    for item in found:
        if item.start >= place:
            pieces += [whole[place : item.start], f"<{item.entity_type.lower()}>"]
            place, num = item.end, num + 1
    return "".join([*pieces, whole[place:]]).encode(), num
