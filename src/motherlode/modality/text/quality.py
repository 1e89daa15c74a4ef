"""From counts to verdicts: the quality rules, vectorised over documents.

Shape legend: N documents, M measures.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.modality.text import characters, measure, stopwords, words
from motherlode.modality.text.options import Clean

LEAST_LINES, LEAST_WORDS, LEAST_SPACED = 8, 64, 0.5
"""Lines below which shares of lines say nothing, words below which shares of phrases say nothing, and the share of
words with spaces between them below which their length says nothing."""


def measures(
    buffer: NDArray[np.uint8], offsets_N: NDArray[np.int64], languages_N: NDArray[np.str_], enough: float = 1.0
) -> tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]]:
    """What one walk over the documents finds.

    Args:
        buffer, offsets_N: documents of normal form.
        languages_N: ISO 639; the stop words of a language without a list are not counted.
        enough: share of a document's words beyond which its stop words need not be counted.

    Returns:
        The counts of each document, int64 (N, M), columns as named in `words` and `measure`; the tokens of all, and
        int64 (N + 1,), where those of each begin: see `shingles.bands`.
    """
    bits = stopwords.bits()
    masks_N = np.zeros(len(languages_N), np.uint64)
    for language in np.unique(languages_N).tolist():
        if language in bits:
            masks_N[languages_N == language] = bits[language]
    found_NM = np.zeros((len(languages_N), measure.NUM_MEASURES), np.int64)
    tokens, starts_N1 = np.empty(len(buffer) // 2 + len(offsets_N), np.uint64), np.empty(len(offsets_N), np.int64)
    tables = (characters.flags(), characters.classes(), *stopwords.table())
    measure.measure(buffer, offsets_N, *tables, masks_N, enough, found_NM, tokens, starts_N1)
    return found_NM, tokens, starts_N1


def columns(found_NM: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The measured columns of a dataset."""
    words_N = np.maximum(found_NM[:, measure.WORDS], 1)
    visible_N = np.maximum(found_NM[:, words.VISIBLE], 1)
    repeated_N = np.maximum(found_NM[:, measure.IN_REPEATED_LINES], found_NM[:, measure.IN_REPEATED_PHRASES])
    return {
        "characters": found_NM[:, words.CHARACTERS].astype(np.int32),
        "words": found_NM[:, measure.WORDS].astype(np.int32),
        "symbol_share": (found_NM[:, words.SYMBOLS] / visible_N).astype(np.float32),
        "digit_share": (found_NM[:, words.DIGITS] / visible_N).astype(np.float32),
        "repeated_share": (repeated_N / words_N).astype(np.float32),
    }


def rules(
    found_NM: NDArray[np.int64], languages_N: NDArray[np.str_], options: Clean
) -> list[tuple[str, NDArray[np.bool_]]]:
    """The reasons to drop documents and which they apply to, in the order of the options.

    Args:
        found_NM: from `measures`.
        languages_N: as there.
    """
    words_N, lines_N = found_NM[:, measure.WORDS], found_NM[:, measure.LINES]
    visible_N = np.maximum(found_NM[:, words.VISIBLE], 1)
    spaced_N = words_N - found_NM[:, words.UNSPACED_WORDS]
    length_N = found_NM[:, words.SPACED_LETTERS] / np.maximum(spaced_N, 1)
    has_spaces_N = spaced_N >= np.maximum(LEAST_SPACED * words_N, 1)
    has_list_N = np.isin(languages_N, list(stopwords.WORDS))
    is_listing_N = lines_N >= LEAST_LINES
    is_long_N = words_N >= LEAST_WORDS

    def share(column: int, of_N: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(found_NM[:, column] / np.maximum(of_N, 1), np.float64)

    found: list[tuple[str, NDArray[np.bool_]]] = [
        ("too_short", words_N < options.min_words),
        ("symbols", share(words.SYMBOLS, visible_N) > options.max_symbols),
        ("digits", share(words.DIGITS, visible_N) > options.max_digits),
        ("odd_words", has_spaces_N & (length_N < options.min_word_length)),
    ]
    if options.max_word_length:
        found.append(("odd_words", has_spaces_N & (length_N > options.max_word_length)))
    if options.min_stop_words:
        few_N = share(measure.STOP_WORDS, words_N) < options.min_stop_words
        found.append(("no_stop_words", has_list_N & (words_N * options.min_stop_words >= 1) & few_N))
    found += [
        ("bullets", is_listing_N & (share(measure.BULLETS, lines_N) > options.max_bullets)),
        ("ellipses", is_listing_N & (share(measure.ELLIPSES, lines_N) > options.max_ellipses)),
        ("repeated_lines", share(measure.IN_REPEATED_LINES, words_N) > options.max_repeated_lines),
        ("repeated_paragraphs", share(measure.IN_REPEATED_PARAGRAPHS, words_N) > options.max_repeated_paragraphs),
        ("repeated_phrases", is_long_N & (share(measure.IN_REPEATED_PHRASES, words_N) > options.max_repeated_phrases)),
    ]
    if options.max_top_phrase:
        top_N = share(measure.IN_TOP_PHRASE, words_N) > options.max_top_phrase
        found.append(("repeated_phrases", is_long_N & top_N))
    return found
