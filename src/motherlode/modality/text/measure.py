"""Compiled counts of what Gopher's rules ask for (Rae et al. 2021, A.1.1), one call for many documents.

Words are runs of letters and digits; in scripts without spaces each character is one, so that all rules hold for
Chinese. Phrases are counted in a small table by hash, whose counts may be too high; where the most frequent one seems
to make up an eighth of a document or more, it is counted exactly. Measured on one 2.6 GHz core, English manuals: 190
MB/s beside six other jobs.

Shape legend: N documents (offsets have N + 1), M measures, W words, U units (lines or paragraphs), S slots of a table.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._bits import ALL, BLOCK, bits_between, lowest, num_set
from motherlode.modality._compiled import compiled, inner
from motherlode.modality.text.characters import DIGIT, LETTER, MARK, NUM_CODES, UNSPACED
from motherlode.modality.text.kernels import decode
from motherlode.modality.text.runs import START, block_at, fold, hash_run

(
    CHARACTERS,
    WORDS,
    UNSPACED_WORDS,
    SPACED_LETTERS,
    VISIBLE,
    SYMBOLS,
    DIGITS,
    STOP_WORDS,
    LINES,
    BULLETS,
    ELLIPSES,
    IN_REPEATED_LINES,
    IN_REPEATED_PARAGRAPHS,
    IN_TOP_PHRASE,
    IN_REPEATED_PHRASES,
) = range(15)
NUM_MEASURES = 15
PHRASE = 10
_CELLS = 4096
_SURELY_RARE = 8
"""A phrase that makes up a smaller part of a document than this is not counted exactly."""
_FEED, _SPACE, _DOT = 10, 32, 46
_MIX = np.uint64(0x9E3779B97F4A7C15)
_PRIME = np.uint64(0x100000001B3)
_ONE = np.uint64(1)
_WIDE_SPACE, _ELLIPSIS, _LAST_RARE_HAN = 0x3000, 0x2026, 0x323B0


@compiled
def hash_word(word: NDArray[np.uint8]) -> np.uint32:
    """Hash of a word's bytes, ASCII letters in lower case, as `measure` makes it."""
    state, part, size = START, np.uint64(0), 0
    for byte in word:
        state, part, size = _turn(state, part, size, byte)
    return _finish(state, part, size)


@inner
def _turn(state: np.uint64, part: np.uint64, size: int, byte: int) -> tuple[np.uint64, np.uint64, int]:
    """A running hash, the bytes not yet in it and how many there were in all, with one more byte of a word."""
    part |= np.uint64(byte | 32 if byte < 128 else byte) << np.uint64(8 * (size & 7))
    if size & 7 == 7:
        return fold(state, part), np.uint64(0), size + 1
    return state, part, size + 1


@inner
def _finish(state: np.uint64, part: np.uint64, size: int) -> np.uint32:
    """A word's hash as 32 bits, never zero."""
    return _short(fold(state, part) if size & 7 else state)


@inner
def _short(state: np.uint64) -> np.uint32:
    return np.uint32(state >> np.uint64(32)) | np.uint32(1)


@inner
def find_slot(keys_S: NDArray[np.uint32], key: np.uint32) -> int:
    """Where `key` is in an open table whose size is a power of two, or the empty (zero) slot where it would be."""
    last = keys_S.shape[0] - 1
    slot = np.int64(key >> np.uint32(12)) & last
    while keys_S[slot] != 0 and keys_S[slot] != key:
        slot = (slot + 1) & last
    return slot


@compiled
def measure(
    buffer: NDArray[np.uint8],
    offsets_N: NDArray[np.int64],
    flags: NDArray[np.uint8],
    stop_keys_S: NDArray[np.uint32],
    stop_masks_S: NDArray[np.uint64],
    masks_N: NDArray[np.uint64],
    measures_NM: NDArray[np.int64],
) -> None:
    """Fill `measures_NM`, columns as named by the constants of this module.

    Args:
        buffer: uint8, documents of normal form.
        offsets_N: int64, where each begins and the last ends.
        flags: `characters.flags()`.
        stop_keys_S, stop_masks_S: an open table from the hash of a stop word to the bits of its languages.
        masks_N: the bit of each document's language; 0 where there is no list for it.
        measures_NM: zeros.
    """
    # A word takes two bytes with what separates it, and an ideograph three.
    most = np.diff(offsets_N).max() // 2 + 2 if offsets_N.shape[0] > 1 else 2
    words, gaps = np.empty(most, np.uint32), np.empty(most, np.uint8)
    lines, line_sizes = np.empty(most, np.uint32), np.empty(most, np.uint32)
    parts, part_sizes = np.empty(most, np.uint32), np.empty(most, np.uint32)
    cells = np.zeros((2, _CELLS), np.uint32)
    table, counts, tail = np.zeros(1024, np.uint32), np.zeros(1024, np.uint32), np.zeros(BLOCK, np.uint8)
    for i in range(offsets_N.shape[0] - 1):
        first, end, measures_M = offsets_N[i], offsets_N[i + 1], measures_NM[i]
        _count_lines(buffer, first, end, tail, measures_M)
        num_words = _hash_words(buffer, first, end, flags, tail, words, gaps, measures_M)
        num_lines, num_parts = _gather(words[:num_words], gaps, lines, line_sizes, parts, part_sizes)
        most_slots = _power_of_two(2 * num_words)
        if most_slots > table.shape[0]:
            table, counts = np.zeros(most_slots, np.uint32), np.zeros(most_slots, np.uint32)
        measures_M[WORDS] = num_words
        if masks_N[i]:
            measures_M[STOP_WORDS] = _count_stop_words(words[:num_words], stop_keys_S, stop_masks_S, masks_N[i])
        measures_M[IN_REPEATED_LINES] = _repeated(lines[:num_lines], line_sizes, table)
        if num_parts > 1:
            measures_M[IN_REPEATED_PARAGRAPHS] = _repeated(parts[:num_parts], part_sizes, table)
        top = _top_phrase(words[:num_words], cells)
        if top * _SURELY_RARE > num_words:
            pairs = _most_frequent(words[:num_words], 2, table, counts)
            top = max(2 * pairs, 4 * _most_frequent(words[:num_words], 4, table, counts))
        measures_M[IN_TOP_PHRASE] = top
        measures_M[IN_REPEATED_PHRASES] = _repeated_phrases(words[:num_words], table)


@inner
def _power_of_two(least: int) -> int:
    size = 1
    while size < least:
        size *= 2
    return size


@inner
def _hash_words(
    buffer: NDArray[np.uint8],
    first: int,
    end: int,
    flags: NDArray[np.uint8],
    tail: NDArray[np.uint8],
    words_W: NDArray[np.uint32],
    gaps_W: NDArray[np.uint8],
    measures_M: NDArray[np.int64],
) -> int:
    """Hash of each word, and line feeds before it, 2 for more; counts characters; returns how many words there are."""
    num, gap, begin = 0, np.int64(0), np.int64(-1)
    address, total = buffer.ctypes.data, buffer.shape[0]
    for block in range(first, end, BLOCK):
        width = min(BLOCK, end - block)
        feeds, bits = _classify(block_at(buffer, block, end, tail), width, measures_M)
        before = (bits << _ONE) | np.uint64(begin >= 0)
        starts, ends = bits & ~before, ~bits & before & (ALL >> np.uint64(BLOCK - width))
        # The document ends a word too.
        is_cut = block + BLOCK >= end and bits >> np.uint64(width - 1) != 0
        for _ in range(num_set(ends) + is_cut):
            if begin < 0:
                place = lowest(starts)
                starts &= starts - _ONE
                gap += num_set(feeds & ((_ONE << np.uint64(place)) - _ONE))
                feeds &= ALL << np.uint64(place)
                begin = block + place
            stop = min(block + lowest(ends), end)
            ends &= ends - _ONE
            word, is_wide = hash_run(address + begin, stop - begin, total - begin)
            if is_wide:
                num, gap = _wide_words(buffer, begin, stop, flags, words_W, gaps_W, num, gap, measures_M)
            else:
                words_W[num], gaps_W[num] = _short(word), min(gap, 2)
                num, gap = num + 1, np.int64(0)
            begin = np.int64(-1)
        if starts:
            begin = block + lowest(starts)
            gap += num_set(feeds)
        elif begin < 0:
            gap += num_set(feeds)
    return num


@inner
def _classify(address: int, width: int, measures_M: NDArray[np.int64]) -> tuple[np.uint64, np.uint64]:
    """Which bytes of a block are line feeds, and which may be in words; counts its ASCII characters."""
    whole = ALL >> np.uint64(BLOCK - width)
    wide = bits_between(address, 0, 128, 255) & whole
    digits = bits_between(address, 0, 48, 57) & whole
    letters = (bits_between(address, 32, 97, 122) | bits_between(address, 0, 95, 95)) & whole
    num_characters = width - num_set(wide)
    num_visible = num_characters - num_set(bits_between(address, 0, 0, 32) & whole)
    num_digits, num_letters = num_set(digits), num_set(letters)
    measures_M[CHARACTERS] += num_characters
    measures_M[VISIBLE] += num_visible
    measures_M[DIGITS] += num_digits
    measures_M[SPACED_LETTERS] += num_letters + num_digits
    measures_M[SYMBOLS] += num_visible - num_letters - num_digits
    return bits_between(address, 0, _FEED, _FEED) & whole, wide | digits | letters


@inner
def _wide_words(
    buffer: NDArray[np.uint8],
    place: int,
    end: int,
    flags: NDArray[np.uint8],
    words_W: NDArray[np.uint32],
    gaps_W: NDArray[np.uint8],
    num: int,
    gap: int,
    measures_M: NDArray[np.int64],
) -> tuple[int, int]:
    """Words of a run with characters beyond ASCII, and counts of those; (words there are now, gap before more)."""
    state, part, size = START, np.uint64(0), 0
    while place < end:
        is_alone, is_letter, width = False, True, 1
        if buffer[place] >= 128:
            code, width = decode(buffer, place, end)
            width = max(width, 1)
            kind = _kind(code, flags)
            is_alone = kind & UNSPACED != 0
            is_letter = not is_alone and (kind & LETTER != 0 or (kind & MARK != 0 and size > 0))
            _count_wide(code, kind, is_letter, measures_M)
        if size and not is_letter:
            words_W[num], gaps_W[num] = _finish(state, part, size), min(gap, 2)
            num, gap, state, part, size = num + 1, 0, START, np.uint64(0), 0
        if is_letter or is_alone:
            for k in range(place, place + width):
                state, part, size = _turn(state, part, size, buffer[k])
        place += width
        if is_alone or (place >= end and size):
            words_W[num], gaps_W[num] = _finish(state, part, size), min(gap, 2)
            num, gap, state, part, size = num + 1, 0, START, np.uint64(0), 0
    return num, gap


@inner
def _count_wide(code: int, kind: int, is_letter: bool, measures_M: NDArray[np.int64]) -> None:
    is_visible = code != _WIDE_SPACE
    measures_M[CHARACTERS] += 1
    measures_M[VISIBLE] += is_visible
    measures_M[SYMBOLS] += is_visible and not kind & (LETTER | MARK)
    measures_M[DIGITS] += (kind & DIGIT) >> 1
    measures_M[SPACED_LETTERS] += is_letter
    measures_M[UNSPACED_WORDS] += kind & UNSPACED != 0


@inner
def _gather(
    words_W: NDArray[np.uint32],
    gaps_W: NDArray[np.uint8],
    lines_U: NDArray[np.uint32],
    line_sizes_U: NDArray[np.uint32],
    parts_U: NDArray[np.uint32],
    part_sizes_U: NDArray[np.uint32],
) -> tuple[int, int]:
    """Hashes of lines and of paragraphs that hold a word, and how many of each there are; sizes in words."""
    num_lines = num_parts = 0
    line, part = np.uint64(1), np.uint64(1)
    line_size = part_size = 0
    for k in range(words_W.shape[0] + 1):
        gap = gaps_W[k] if k < words_W.shape[0] else np.uint8(2)
        if gap and line_size:
            lines_U[num_lines], line_sizes_U[num_lines] = np.uint32(line >> np.uint64(32)), line_size
            num_lines += 1
            part = (part ^ line) * _MIX
            part_size += line_size
            line, line_size = np.uint64(1), 0
            if gap > 1:
                parts_U[num_parts], part_sizes_U[num_parts] = np.uint32(part >> np.uint64(32)), part_size
                num_parts += 1
                part, part_size = np.uint64(1), 0
        if k < words_W.shape[0]:
            line = (line ^ np.uint64(words_W[k])) * _MIX
            line_size += 1
    return num_lines, num_parts


@inner
def _count_stop_words(
    words_W: NDArray[np.uint32], stop_keys_S: NDArray[np.uint32], stop_masks_S: NDArray[np.uint64], mask: np.uint64
) -> int:
    num = 0
    for word in words_W:
        slot = find_slot(stop_keys_S, word)
        num += stop_keys_S[slot] == word and stop_masks_S[slot] & mask != 0
    return num


@inner
def _count_lines(
    buffer: NDArray[np.uint8], first: int, end: int, tail: NDArray[np.uint8], measures_M: NDArray[np.int64]
) -> None:
    """Lines that are not blank, those that are items of a list, and those that end in an ellipsis."""
    low = np.int64(-1)
    for block in range(first, end, BLOCK):
        address = block_at(buffer, block, end, tail)
        whole = ALL >> np.uint64(BLOCK - min(BLOCK, end - block))
        feeds, shown = bits_between(address, 0, _FEED, _FEED) & whole, bits_between(address, 0, 33, 255) & whole
        for _ in range(num_set(feeds) + 1):
            stop = lowest(feeds)
            if low < 0 and lowest(shown) < stop:
                low = block + lowest(shown)
            if stop < BLOCK:
                _count_line(buffer, low, block + stop, measures_M)
                low = np.int64(-1)
                shown &= ~((np.uint64(2) << np.uint64(stop)) - _ONE)
                feeds &= feeds - _ONE
    _count_line(buffer, low, end, measures_M)


@inner
def _count_line(buffer: NDArray[np.uint8], low: int, stop: int, measures_M: NDArray[np.int64]) -> None:
    """Count a line whose first visible byte is at `low`, -1 where it has none."""
    if low >= 0:
        measures_M[LINES] += 1
        measures_M[BULLETS] += _is_bullet(buffer, low, stop)
        measures_M[ELLIPSES] += _is_ellipsis(buffer, low, stop)


@inner
def _kind(code: int, flags: NDArray[np.uint8]) -> int:
    if code < NUM_CODES:
        return np.int64(flags[code])
    return LETTER | UNSPACED if code < _LAST_RARE_HAN else 0


@inner
def _is_bullet(text: NDArray[np.uint8], low: int, stop: int) -> bool:
    """Whether a line begins with *, -, +, • or the like and a space, or with a number and a dot or a bracket."""
    byte = text[low]
    if (byte == 42 or byte == 43 or byte == 45) and low + 1 < stop:
        return text[low + 1] == _SPACE
    if byte == 0xE2 and low + 2 < stop:
        code = (text[low + 1] & 0x3F) << 6 | (text[low + 2] & 0x3F)
        return code == 0x22 or code == 0x23 or 0x5A0 <= code < 0x600 or code == 0x13 or code == 0x14
    if byte == 0xC2 and low + 1 < stop:
        return text[low + 1] == 0xB7
    k = low
    while k < stop and 48 <= text[k] <= 57:
        k += 1
    return low < k <= low + 3 and k < stop and (text[k] == _DOT or text[k] == 41)


@inner
def _is_ellipsis(text: NDArray[np.uint8], low: int, stop: int) -> bool:
    if stop - low < 3:
        return False
    if text[stop - 1] == _DOT:
        return text[stop - 2] == _DOT and text[stop - 3] == _DOT
    return text[stop - 1] == 0xA6 and text[stop - 2] == 0x80 and text[stop - 3] == 0xE2


@inner
def _repeated(hashes_U: NDArray[np.uint32], sizes_U: NDArray[np.uint32], table: NDArray[np.uint32]) -> int:
    """Sum of the sizes of units whose hash was seen before."""
    last = _power_of_two(2 * hashes_U.shape[0]) - 1
    table[: last + 1] = 0
    total = 0
    for k in range(hashes_U.shape[0]):
        key = hashes_U[k] | np.uint32(1)
        slot = np.int64(hashes_U[k] >> np.uint32(1)) & last
        while table[slot] != 0 and table[slot] != key:
            slot = (slot + 1) & last
        if table[slot] == key:
            total += np.int64(sizes_U[k])
        table[slot] = key
    return total


@inner
def _top_phrase(words_W: NDArray[np.uint32], cells: NDArray[np.uint32]) -> int:
    """Words in the most frequent phrase of two or of four words, or more; overlaps count twice."""
    last = min(_power_of_two(max(2 * words_W.shape[0], 64)), _CELLS) - 1
    cells[:, : last + 1] = 0
    top_pair = top_four = np.uint32(0)
    before = older = np.uint64(0)
    for k in range(1, words_W.shape[0]):
        pair = (np.uint64(words_W[k]) ^ (np.uint64(words_W[k - 1]) << np.uint64(32))) * _MIX
        slot = np.int64(pair >> np.uint64(45)) & last
        cells[0, slot] += np.uint32(1)
        top_pair = max(top_pair, cells[0, slot])
        if k >= 3:
            slot = np.int64(((pair ^ (older >> np.uint64(7))) * _MIX) >> np.uint64(45)) & last
            cells[1, slot] += np.uint32(1)
            top_four = max(top_four, cells[1, slot])
        older, before = before, pair
    return max(2 * np.int64(top_pair), 4 * np.int64(top_four))


@inner
def _most_frequent(
    words_W: NDArray[np.uint32], length: int, table: NDArray[np.uint32], counts: NDArray[np.uint32]
) -> int:
    """How often the most frequent phrase of some words occurs, but for two in 2^31 that are taken for one."""
    last = _power_of_two(2 * words_W.shape[0]) - 1
    table[: last + 1] = 0
    counts[: last + 1] = 0
    most = np.uint32(0)
    for k in range(length - 1, words_W.shape[0]):
        phrase = np.uint64(0)
        for word in words_W[k + 1 - length : k + 1]:
            phrase = (phrase ^ np.uint64(word)) * _MIX
            phrase ^= phrase >> np.uint64(32)
        key = np.uint32(phrase >> np.uint64(32)) | np.uint32(1)
        slot = np.int64(phrase & np.uint64(last))
        while table[slot] != 0 and table[slot] != key:
            slot = (slot + 1) & last
        table[slot] = key
        counts[slot] += np.uint32(1)
        most = max(most, counts[slot])
    return np.int64(most)


@inner
def _repeated_phrases(words_W: NDArray[np.uint32], table: NDArray[np.uint32]) -> int:
    """Words in runs of `PHRASE` that occurred before in the document."""
    last = _power_of_two(2 * words_W.shape[0]) - 1
    table[: last + 1] = 0
    leave = np.uint64(1)
    for _ in range(PHRASE):
        leave *= _PRIME
    rolling = np.uint64(0)
    covered, total = 0, 0
    for k in range(words_W.shape[0]):
        rolling = rolling * _PRIME + np.uint64(words_W[k])
        if k >= PHRASE:
            rolling -= leave * np.uint64(words_W[k - PHRASE])
        if k < PHRASE - 1:
            continue
        mixed = np.uint32((rolling * _MIX) >> np.uint64(32))
        key = mixed | np.uint32(1)
        slot = np.int64(mixed >> np.uint32(1)) & last
        while table[slot] != 0 and table[slot] != key:
            slot = (slot + 1) & last
        if table[slot] == key:
            total += min(PHRASE, k + 1 - covered)
            covered = k + 1
        table[slot] = key
    return total
