"""Compiled search for places where personal data or a secret may stand; regular expressions then look at those alone.

All of them hold a digit or an at sign, but for private keys. Blocks without either are skipped at the speed of memory;
around each other digit the loop looks for numbers, addresses and long tokens. Measured on one 2.6 GHz core, English
manuals: 540-720 MB/s, and one candidate in 5 kB.

Shape legend: N documents (offsets have N + 1), K candidates.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._bits import ALL, BLOCK, bits_between, lowest, num_set
from motherlode.modality._compiled import compiled, inner
from motherlode.modality.text.runs import block_at

EMAIL, NUMBER, IP, KEY, URL, BLOCK_OF_KEY = 1, 2, 4, 8, 16, 32
"""What a candidate may be; the last is where "-----B" stands, which begins a private key."""
_NUMBER, _TOKEN, _HEX, _NAME, _URL = 1, 2, 4, 8, 16
"""Classes of ASCII characters: of phone and card numbers; of keys; of IPv6 addresses; of e-mail names; of URLs."""
LONGEST_NUMBER, LONGEST_TOKEN, LONGEST_NAME, LONGEST_DOMAIN, LONGEST_URL = 64, 512, 64, 256, 200
_LEAST_DIGITS, _LEAST_TOKEN, _LEAST_OCTET = 7, 16, 64
_AHEAD = 5
"""Bytes after a block that are looked at with it."""
_AT, _DOT, _COLON, _PLUS, _BRACKET, _DASH, _SPACE, _B = 64, 46, 58, 43, 40, 45, 32, 66


def classes() -> NDArray[np.uint8]:
    """Class bits of each byte, uint8 (256,)."""
    table = np.zeros(256, np.uint8)
    for bit, signs in (
        (_NUMBER, b"0123456789 .()/+-"),
        (_TOKEN, b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_+/=-"),
        (_HEX, b"0123456789abcdefABCDEF:."),
        (_NAME, b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._%+'-"),
        (_URL, bytes(sign for sign in range(33, 127) if sign not in b"\"'<>@")),
    ):
        table[np.frombuffer(signs, np.uint8)] |= bit
    return table


@compiled
def scan(
    buffer: NDArray[np.uint8],
    offsets_N: NDArray[np.int64],
    classes: NDArray[np.uint8],
    words: NDArray[np.uint8],
    found_K4: NDArray[np.int64],
) -> int:
    """Fill `found_K4` with (document, start, end, kinds) of candidates; returns how many there are, room or not.

    Args:
        buffer: uint8, documents of normal form.
        classes: `classes()`.
        words: what announces a phone number, each word ended by a 0 byte.
    """
    num = 0
    done, tail = np.zeros(2, np.int64), np.zeros(BLOCK + _AHEAD, np.uint8)
    for i in range(offsets_N.shape[0] - 1):
        first, end = offsets_N[i], offsets_N[i + 1]
        done[:] = first
        for block in range(first, end, BLOCK):
            bits, begins = _interesting(buffer, block, end, tail)
            for _ in range(num_set(bits)):
                place = block + lowest(bits)
                bits &= bits - np.uint64(1)
                if buffer[place] == _AT:
                    num = _at_sign(buffer, place, first, end, i, classes, found_K4, num)
                else:
                    num = _at_digit(buffer, place, first, end, i, classes, words, done, found_K4, num)
            for _ in range(num_set(begins)):
                place = block + lowest(begins)
                begins &= begins - np.uint64(1)
                num = _add(found_K4, num, i, place, end, BLOCK_OF_KEY)
    return num


@inner
def _interesting(
    buffer: NDArray[np.uint8], place: int, end: int, tail: NDArray[np.uint8]
) -> tuple[np.uint64, np.uint64]:
    """Where in a block digits and at signs stand, and where five dashes and a B begin (or four others and two)."""
    address = block_at(buffer, place, end, tail)
    whole = ALL >> np.uint64(BLOCK - min(BLOCK, end - place))
    dashes = bits_between(address, 0, _DASH, _DASH) & bits_between(address + 4, 0, _DASH, _DASH)
    bits = bits_between(address, 0, 48, 57) | bits_between(address, 0, _AT, _AT)
    return bits & whole, dashes & bits_between(address + _AHEAD, 0, _B, _B) & whole


@inner
def _at_sign(
    buffer: NDArray[np.uint8],
    place: int,
    first: int,
    end: int,
    document: int,
    classes: NDArray[np.uint8],
    found_K4: NDArray[np.int64],
    num: int,
) -> int:
    """An e-mail address or a URL with a password in it, where letters stand on both sides of an at sign."""
    if not (first < place < end - 1 and _is_word(buffer[place - 1]) and _is_word(buffer[place + 1])):
        return num
    low = _start(buffer, place, first, classes, _NAME, LONGEST_NAME)
    num = _add(found_K4, num, document, low, min(end, place + LONGEST_DOMAIN), EMAIL)
    low = _start(buffer, place, first, classes, _URL, LONGEST_URL)
    if _has_scheme(buffer, low, place):
        num = _add(found_K4, num, document, low, place + 1, URL)
    return num


@inner
def _at_digit(
    buffer: NDArray[np.uint8],
    place: int,
    first: int,
    end: int,
    document: int,
    classes: NDArray[np.uint8],
    words: NDArray[np.uint8],
    done: NDArray[np.int64],
    found_K4: NDArray[np.int64],
    num: int,
) -> int:
    """Numbers, keys and addresses around a digit; `done` tells how far numbers and tokens have been looked at."""
    if place >= done[0]:
        low, done[0] = _stretch(buffer, place, first, end, classes, _NUMBER, LONGEST_NUMBER)
        kinds = _number_kinds(buffer, low, done[0], first, words)
        if kinds:
            num = _add(found_K4, num, document, low, done[0], kinds)
    if place >= done[1]:
        low, done[1] = _stretch(buffer, place, first, end, classes, _TOKEN, LONGEST_TOKEN)
        if done[1] - low >= _LEAST_TOKEN and _is_key(buffer, low, done[1], first):
            num = _add(found_K4, num, document, low, done[1], KEY)
    if _is_ipv6(buffer, place, first, end, classes):
        high = _stretch(buffer, place, first, end, classes, _HEX, LONGEST_NUMBER)[1]
        num = _add(found_K4, num, document, place, high, IP)
    return num


@inner
def _add(found_K4: NDArray[np.int64], num: int, document: int, low: int, high: int, kinds: int) -> int:
    if num < found_K4.shape[0]:
        found_K4[num, 0], found_K4[num, 1], found_K4[num, 2], found_K4[num, 3] = document, low, high, kinds
    return num + 1


@inner
def _is_word(byte: int) -> bool:
    return _is_alphanumeric(byte) or byte == 95


@inner
def _start(buffer: NDArray[np.uint8], place: int, first: int, classes: NDArray[np.uint8], bit: int, most: int) -> int:
    """Where the run of characters of a class that ends before `place` begins, at most `most` before it."""
    low, least = place, max(first, place - most)
    while low > least and classes[buffer[low - 1]] & bit:
        low -= 1
    return low


@inner
def _has_scheme(buffer: NDArray[np.uint8], low: int, high: int) -> bool:
    """Whether "://" stands between two places."""
    found = False
    for k in range(low, high - 2):
        found |= buffer[k] == _COLON and buffer[k + 1] == 47 and buffer[k + 2] == 47
    return found


@inner
def _stretch(
    buffer: NDArray[np.uint8], place: int, first: int, end: int, classes: NDArray[np.uint8], bit: int, most: int
) -> tuple[int, int]:
    """The run of characters of a class around `place`, at most `most` to either side."""
    low, high = _start(buffer, place, first, classes, bit, most), place + 1
    while high < min(end, place + most) and classes[buffer[high]] & bit:
        high += 1
    return low, high


@inner
def _number_kinds(buffer: NDArray[np.uint8], low: int, high: int, first: int, words: NDArray[np.uint8]) -> int:
    """Whether a run of digits and separators may hold a phone or card number, or an IPv4 address."""
    digits = size = before = 0
    is_marked = is_grouped = False
    for k in range(low, high + 1):
        byte = buffer[k] if k < high else np.uint8(0)
        if 48 <= byte <= 57:
            digits += 1
            size += 1
            continue
        is_marked |= byte in (_PLUS, _BRACKET)
        if size:
            is_grouped |= size >= 11 or (size == 4 and (before == 3 or before == 4))
            is_grouped |= (size == 7 or size == 8) and (before == 3 or before == 4)
            is_grouped |= size == 6 and before == 4
            before, size = size, 0
    kinds = IP if _has_ipv4(buffer, low, high) else 0
    if digits >= _LEAST_DIGITS and (is_marked or is_grouped or _is_announced(buffer, low, first, words)):
        kinds |= NUMBER
    return kinds


@inner
def _has_ipv4(buffer: NDArray[np.uint8], low: int, high: int) -> bool:
    """Whether four numbers up to 255, one of them at least 64, stand between dots; sections hardly reach that."""
    value = size = parts = largest = 0
    for k in range(low, high + 1):
        byte = buffer[k] if k < high else np.uint8(0)
        if 48 <= byte <= 57:
            value, size = min(10 * value + byte - 48, 1000), size + 1
            continue
        is_part = 1 <= size <= 3 and value <= 255
        if is_part:
            parts, largest = parts + 1, max(largest, value)
        if parts >= 4 and largest >= _LEAST_OCTET:
            return True
        if byte == _DOT and is_part:
            value, size = 0, 0
            continue
        value = size = parts = largest = 0
    return False


@inner
def _is_announced(buffer: NDArray[np.uint8], low: int, first: int, words: NDArray[np.uint8]) -> bool:
    """Whether one of the words stands in the 24 bytes before `low`; ASCII letters match in both cases."""
    start = max(first, low - 24)
    word = 0
    while word < words.shape[0]:
        stop = word
        while words[stop] != 0:
            stop += 1
        size = stop - word
        for k in range(start, low - size + 1):
            same = 0
            while same < size:
                byte = buffer[k + same]
                if (byte | 32 if 65 <= byte <= 90 else byte) != words[word + same]:
                    break
                same += 1
            if same == size:
                return True
        word = stop + 1
    return False


@inner
def _is_key(buffer: NDArray[np.uint8], low: int, high: int, first: int) -> bool:
    """Whether a run of token characters holds the beginning of a known kind of key, or something is set to it."""
    for k in range(low, high - _LEAST_TOKEN + 1):
        if (k == low or not _is_alphanumeric(buffer[k - 1])) and _begins_key(buffer[k], buffer[k + 1], buffer[k + 2]):
            return True
        if buffer[k] == 61:
            return True
    place = low - 1
    while place >= first and place > low - 6:
        byte = buffer[place]
        if byte == 61 or byte == _COLON or byte == 62:
            return True
        if byte != _SPACE and byte != 34 and byte != 39:
            break
        place -= 1
    return False


@inner
def _is_alphanumeric(byte: int) -> bool:
    return 48 <= byte <= 57 or 97 <= (byte | 32) <= 122


@inner
def _begins_key(a: int, b: int, c: int) -> bool:
    if a == 65:
        return b == 75 or b == 83 or b == 66 or b == 67 or b == 73  # AKIA, ASIA, ABIA, ACCA, AIza
    if a == 103:
        return b == 104 or b == 105 or b == 108  # ghp_, github_pat_, glpat-
    if b == 107:
        return a == 115 or a == 114 or a == 112  # sk-, sk_, rk_, pk_
    if a == 104 or a == 112 or a == 110 or a == 83:
        return b == 102 or b == 121 or b == 112 or b == 71  # hf_, pypi-, npm_, SG.
    return (a == 101 and b == 121 and c == 74) or (a == 120 and b == 111 and c == 120)  # eyJ, xox


@inner
def _is_ipv6(buffer: NDArray[np.uint8], place: int, first: int, end: int, classes: NDArray[np.uint8]) -> bool:
    """Whether a global IPv6 address (2000::/3) may begin at `place`: four hexadecimal digits and a colon."""
    if buffer[place] != 50 and buffer[place] != 51:
        return False
    if place + 5 >= end or buffer[place + 4] != _COLON or (place > first and classes[buffer[place - 1]] & _HEX):
        return False
    for k in range(place + 1, place + 4):
        if not classes[buffer[k]] & _HEX or buffer[k] == _COLON or buffer[k] == _DOT:
            return False
    return True
