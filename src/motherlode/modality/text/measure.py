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
from motherlode.modality.text.runs import block_at
from motherlode.modality.text.words import NUM_COUNTS, walk_words

(
    WORDS,
    STOP_WORDS,
    LINES,
    BULLETS,
    ELLIPSES,
    IN_REPEATED_LINES,
    IN_REPEATED_PARAGRAPHS,
    IN_TOP_PHRASE,
    IN_REPEATED_PHRASES,
) = range(NUM_COUNTS, NUM_COUNTS + 9)
NUM_MEASURES = NUM_COUNTS + 9
PHRASE = 10
_SLOTS_A_PHRASE = 4
"""Places in the table of phrases for each: with two, the branches of collisions took a fifth of the time."""
_CELLS = 4096
_SURELY_RARE = 8
"""A phrase that makes up a smaller part of a document than this is not counted exactly."""
_FEED, _SPACE, _DOT = 10, 32, 46
_MIX = np.uint64(0x9E3779B97F4A7C15)
_PRIME = np.uint64(0x100000001B3)
_ONE = np.uint64(1)


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
    classes_C: NDArray[np.uint32],
    stop_keys_S: NDArray[np.uint32],
    stop_masks_S: NDArray[np.uint64],
    masks_N: NDArray[np.uint64],
    enough: float,
    measures_NM: NDArray[np.int64],
    tokens: NDArray[np.uint64],
    starts_N1: NDArray[np.int64],
) -> None:
    """Fill `measures_NM`, columns as named by the constants of this module and of `words`.

    Args:
        buffer: uint8, documents of normal form.
        offsets_N: int64, where each begins and the last ends.
        flags: `characters.flags()`.
        classes_C: `characters.classes()`.
        stop_keys_S, stop_masks_S: an open table from the hash of a stop word to the bits of its languages.
        masks_N: the bit of each document's language; 0 where there is no list for it.
        enough: share of a document's words beyond which its stop words are not counted.
        measures_NM: zeros.
        tokens: room for half as many as there are bytes, and one more for each document; filled, as `words` has them.
        starts_N1: filled, where the tokens of each document begin, and where the last end.
    """
    # A word takes two bytes with what separates it, and an ideograph three.
    most = np.diff(offsets_N).max() // 2 + 1 if offsets_N.shape[0] > 1 else 1
    words, gaps = np.empty(most, np.uint32), np.empty(most, np.uint8)
    lines, line_sizes = np.empty(most, np.uint32), np.empty(most, np.uint32)
    parts, part_sizes = np.empty(most, np.uint32), np.empty(most, np.uint32)
    cells = np.zeros((2, _CELLS), np.uint32)
    table, counts, tail = np.zeros(1024, np.uint32), np.zeros(1024, np.uint32), np.zeros(BLOCK, np.uint8)
    write = 0
    for i in range(offsets_N.shape[0] - 1):
        first, end, measures_M = offsets_N[i], offsets_N[i + 1], measures_NM[i]
        _count_lines(buffer, first, end, tail, measures_M)
        num_words, num_tokens = walk_words(
            buffer, first, end, flags, classes_C, tail, words, gaps, tokens[write:], measures_M
        )
        starts_N1[i] = write
        write += num_tokens
        num_lines, num_parts = _gather(words[:num_words], gaps, lines, line_sizes, parts, part_sizes)
        most_slots = _power_of_two(_SLOTS_A_PHRASE * num_words)
        if most_slots > table.shape[0]:
            table, counts = np.zeros(most_slots, np.uint32), np.zeros(most_slots, np.uint32)
        measures_M[WORDS] = num_words
        if masks_N[i]:
            # One more than enough, so that rounding changes no verdict.
            most_stop = np.int64(enough * num_words) + 2
            measures_M[STOP_WORDS] = _count_stop_words(
                words[:num_words], stop_keys_S, stop_masks_S, masks_N[i], most_stop
            )
        measures_M[IN_REPEATED_LINES] = _repeated(lines[:num_lines], line_sizes, table)
        if num_parts > 1:
            measures_M[IN_REPEATED_PARAGRAPHS] = _repeated(parts[:num_parts], part_sizes, table)
        top = _top_phrase(words[:num_words], cells)
        if top * _SURELY_RARE > num_words:
            pairs = _most_frequent(words[:num_words], 2, table, counts)
            top = max(2 * pairs, 4 * _most_frequent(words[:num_words], 4, table, counts))
        measures_M[IN_TOP_PHRASE] = top
        measures_M[IN_REPEATED_PHRASES] = _repeated_phrases(words[:num_words], table)
    starts_N1[offsets_N.shape[0] - 1] = write


@inner
def _power_of_two(least: int) -> int:
    size = 1
    while size < least:
        size *= 2
    return size


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
    words_W: NDArray[np.uint32],
    stop_keys_S: NDArray[np.uint32],
    stop_masks_S: NDArray[np.uint64],
    mask: np.uint64,
    most: int,
) -> int:
    """How many words are stop words of a language, counted up to `most`."""
    num = 0
    for word in words_W:
        slot = find_slot(stop_keys_S, word)
        num += stop_keys_S[slot] == word and stop_masks_S[slot] & mask != 0
        if num >= most:
            break
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
    last = _power_of_two(_SLOTS_A_PHRASE * words_W.shape[0]) - 1
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
