"""Compiled search for places where personal data or a secret may stand; regular expressions then look at those alone.

All of them hold a digit or an at sign, but for private keys. Blocks without either are skipped at the speed of memory;
around each run of digits the loop looks for numbers, addresses and long tokens. Measured on one 2.6 GHz core, English
manuals: 540-720 MB/s, and one candidate in 5 kB.

Shape legend: N documents (offsets have N + 1), K candidates.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._bits import ALL, BLOCK, bits_between, lowest, num_set
from motherlode.modality._compiled import compiled, inner
from motherlode.modality.text.runs import SMALL, block_at, few_bytes

EMAIL, NUMBER, IP, KEY, URL, BLOCK_OF_KEY = 1, 2, 4, 8, 16, 32
"""What a candidate may be; the last is where "-----B" stands, which begins a private key."""
_NUMBER, _TOKEN, _HEX, _NAME, _URL = 1, 2, 4, 8, 16
"""Classes of ASCII characters: of phone and card numbers; of keys; of IPv6 addresses; of e-mail names; of URLs."""
LONGEST_NUMBER, LONGEST_TOKEN, LONGEST_NAME, LONGEST_DOMAIN, LONGEST_URL = 64, 512, 64, 256, 200
_LEAST_DIGITS, _LEAST_TOKEN, _LEAST_OCTET = 7, 16, 64
_AHEAD = 5
"""Bytes after a block that are looked at with it."""
_AT, _DOT, _COLON, _PLUS, _BRACKET, _CLOSING, _DASH, _SPACE, _B = 64, 46, 58, 43, 40, 41, 45, 32, 66
_NEAR = 24
"""Bytes before a number in which a word may announce it."""
_BEFORE_KEY, _AFTER_KEY, LONGEST_AFTER_KEY = 64, 8, 320
"""Bytes around a token in which it may be called a secret, and behind it in which a key may begin."""


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


Words = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]


def words(listed: Sequence[str]) -> NDArray[np.uint64]:
    """The first eight bytes of words for the compiled loops, folded as there, and which of the bytes count: (2, W)."""
    heads = [bytes(byte | 32 for byte in word.encode()[:8]) for word in listed]
    masks = [b"\xff" * len(head) for head in heads]
    return np.frombuffer(b"".join(part.ljust(8, b"\0") for part in [*heads, *masks]), np.uint64).reshape(2, -1)


@compiled
def scan(
    buffer: NDArray[np.uint8],
    offsets_N: NDArray[np.int64],
    classes: NDArray[np.uint8],
    words: Words,
    found_K4: NDArray[np.int64],
) -> int:
    """Fill `found_K4` with (document, start, end, kinds) of candidates; returns how many there are, room or not.

    Args:
        buffer: uint8, documents of normal form.
        classes: `classes()`.
        words: what announces a phone number, what names a secret, and what a key begins with; see `words`.
    """
    num = 0
    done, tail = np.zeros(2, np.int64), np.zeros(BLOCK + _AHEAD, np.uint8)
    for i in range(offsets_N.shape[0] - 1):
        first, end = offsets_N[i], offsets_N[i + 1]
        done[:] = first
        for block in range(first, end, BLOCK):
            bits, begins = _interesting(buffer, block, first, end, tail)
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
    buffer: NDArray[np.uint8], place: int, first: int, end: int, tail: NDArray[np.uint8]
) -> tuple[np.uint64, np.uint64]:
    """Where in a block runs of digits begin and at signs stand, and where five dashes and a B begin (or the like)."""
    address = block_at(buffer, place, end, tail)
    whole = ALL >> np.uint64(BLOCK - min(BLOCK, end - place))
    dashes = bits_between(address, 0, _DASH, _DASH) & bits_between(address + 4, 0, _DASH, _DASH)
    digits = bits_between(address, 0, 48, 57)
    before = np.uint64(place > first and 48 <= buffer[place - 1] <= 57)
    bits = (digits & ~(digits << np.uint64(1) | before)) | bits_between(address, 0, _AT, _AT)
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
    if _has_domain(buffer, place + 1, min(end, place + LONGEST_DOMAIN)):
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
    words: Words,
    done: NDArray[np.int64],
    found_K4: NDArray[np.int64],
    num: int,
) -> int:
    """Numbers, keys and addresses around a digit; `done` tells how far numbers and tokens have been looked at."""
    if place >= done[0]:
        low, high = _stretch(buffer, place, first, end, classes, _NUMBER, LONGEST_NUMBER)
        done[0] = _looked_at(buffer, place, high, end)
        kinds = _number_kinds(buffer, low, high, first, words[0])
        if kinds:
            num = _add(found_K4, num, document, low, high, kinds)
    if place >= done[1]:
        low, high = _stretch(buffer, place, first, end, classes, _TOKEN, LONGEST_TOKEN)
        done[1] = _looked_at(buffer, place, high, end)
        if high - low >= _LEAST_TOKEN and _is_key(buffer, low, high, first, end, words):
            num = _add(found_K4, num, document, low, high, KEY)
    if _is_ipv6(buffer, place, first, end, classes):
        high = _stretch(buffer, place, first, end, classes, _HEX, LONGEST_NUMBER)[1]
        if _has_colons(buffer, place, high):
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
def _has_domain(buffer: NDArray[np.uint8], place: int, end: int) -> bool:
    """Whether a dot and two letters stand in the run of letters, digits, dots and dashes at `place`."""
    while place + 2 < end and (_is_alphanumeric(buffer[place]) or buffer[place] == _DOT or buffer[place] == _DASH):
        if buffer[place] == _DOT and _is_letter(buffer[place + 1]) and _is_letter(buffer[place + 2]):
            return True
        place += 1
    return False


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
def _looked_at(buffer: NDArray[np.uint8], place: int, high: int, end: int) -> int:
    """How far a stretch from `place` to `high` tells: a run of digits that its bound cuts is looked at once more."""
    if high < end and 48 <= buffer[high] <= 57:
        while high > place + 1 and 48 <= buffer[high - 1] <= 57:
            high -= 1
    return high


@inner
def _number_kinds(buffer: NDArray[np.uint8], low: int, high: int, first: int, announcing: NDArray[np.uint64]) -> int:
    """Whether a run of digits and separators may hold a phone or card number, or an IPv4 address."""
    digits = size = before = older = 0
    is_number = False
    for k in range(low, high + 1):
        byte = buffer[k] if k < high else np.uint8(0)
        if 48 <= byte <= 57:
            digits += 1
            size += 1
            continue
        if size:
            is_number |= _is_bare_number(buffer[k - size], size)
            # 212-555-0123, 138 1234 5678, and four groups of four.
            is_number |= size == 4 and ((older == 3 and (before == 3 or before == 4)) or (older == 4 and before == 4))
            is_number |= (size == 7 or size == 8) and (before == 3 or before == 4)
            is_number |= size == 6 and before == 4
            older, before, size = before, size, 0
        is_number |= byte in (_PLUS, _BRACKET) and _opens_number(buffer, k, high)
    kinds = IP if _has_ipv4(buffer, low, high) else 0
    if digits >= _LEAST_DIGITS and (is_number or _holds_word(buffer, max(first, low - _NEAR), low, announcing, False)):
        kinds |= NUMBER
    return kinds


@inner
def _is_bare_number(lead: int, size: int) -> bool:
    """Whether so many digits without a break may be a Chinese mobile number, or that of a card."""
    return (size == 11 and lead == 49) or (13 <= size <= 19 and 50 <= lead <= 54)


@inner
def _opens_number(buffer: NDArray[np.uint8], place: int, high: int) -> bool:
    """Whether a digit but 0 follows a plus sign, or a bracket is closed after two to five digits."""
    if buffer[place] == _PLUS:
        return place + 1 < high and 49 <= buffer[place + 1] <= 57
    stop = place + 1
    while stop < high and 48 <= buffer[stop] <= 57:
        stop += 1
    return 3 <= stop - place <= 6 and stop < high and buffer[stop] == _CLOSING


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
def _holds_word(buffer: NDArray[np.uint8], low: int, high: int, words_2W: NDArray[np.uint64], at_start: bool) -> bool:
    """Whether the head of one of the words stands between two places, in capitals or not.

    Args:
        at_start: it must follow on what is neither a letter nor a digit, or stand at `low`.
    """
    address, total = buffer.ctypes.data, buffer.shape[0]
    for place in range(low, high):
        if at_start and place > low and _is_alphanumeric(buffer[place - 1]):
            continue
        text = few_bytes(address + place, min(8, high - place), total - place) | SMALL
        found = False
        for w in range(words_2W.shape[1]):
            found |= text & words_2W[1, w] == words_2W[0, w]
        if found:
            return True
    return False


@inner
def _is_key(buffer: NDArray[np.uint8], low: int, high: int, first: int, end: int, words: Words) -> bool:
    """Whether a run of token characters holds the beginning of a known kind of key, or is set to what is called so."""
    _, naming, beginning = words
    if _holds_word(buffer, low, high, beginning, True):
        return True
    if not _is_set(buffer, low, high, first):
        return False
    named = _holds_word(buffer, max(first, low - _BEFORE_KEY), min(end, high + _AFTER_KEY), naming, False)
    return named or _holds_word(buffer, low, min(end, high + LONGEST_AFTER_KEY), beginning, True)


@inner
def _is_set(buffer: NDArray[np.uint8], low: int, high: int, first: int) -> bool:
    """Whether an equals sign stands in a run, or before it one or what else sets a value."""
    for k in range(low, high - _LEAST_TOKEN + 1):
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
def _is_letter(byte: int) -> bool:
    return 97 <= (byte | 32) <= 122


@inner
def _has_colons(buffer: NDArray[np.uint8], low: int, high: int) -> bool:
    """Whether two colons stand in a row, or six in all: an IPv6 address has either."""
    num, is_double = 0, False
    for k in range(low, high):
        num += buffer[k] == _COLON
        is_double |= buffer[k] == _COLON and k + 1 < high and buffer[k + 1] == _COLON
    return is_double or num >= 6


@inner
def _is_alphanumeric(byte: int) -> bool:
    return 48 <= byte <= 57 or 97 <= (byte | 32) <= 122


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
