from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from motherlode.modality.text import shingles

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3100-\u312f\u31a0-\u31bf"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9d\U00020000-\U0003ffff"
)


def is_word(sign: str) -> bool:
    """A letter, digit or mark below the supplementary ideographs."""
    return ord(sign) < 0x20000 and (sign.isalnum() or unicodedata.category(sign)[0] == "M")


def tokens_of(text: str) -> list[str]:
    """The definition, character by character."""
    found: list[str] = []
    inside = False
    for sign in text:
        alone = re.fullmatch(f"[{UNSPACED}]", sign) is not None
        if alone and (is_word(sign) or ord(sign) >= 0x20000):
            found.append(sign)
            inside = False
        elif is_word(sign):
            lower = sign.lower()[0]
            if inside:
                found[-1] += lower
            else:
                found.append(lower)
            inside = True
        else:
            inside = False
    return found


def grams_of(text: str, length: int = shingles.SHINGLE_TOKENS) -> list[tuple[str, ...]]:
    tokens = tokens_of(text)
    if not tokens:
        return []
    return [tuple(tokens[i : i + length]) for i in range(max(len(tokens) - length + 1, 1))]


def joined(texts: list[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(item) for item in encoded], dtype=np.int64)])
    return np.frombuffer(b"".join(encoded), np.uint8), offsets


def brute_jaccard(a: str, b: str) -> float:
    first, second = set(grams_of(a)), set(grams_of(b))
    return len(first & second) / len(first | second) if first | second else 0.0


TEXTS = [
    "The cat sat on the mat, and then the dog sat on the cat.",
    "the CAT sat — on the mat and then the dog sat on the cat",
    "",
    " ,.!? \n\t —",
    "one",
    "one two three four",
    "one two three four five",
    "红豆生南国，春来发几枝。愿君多采撷，此物最相思。",
    "红豆生南国 春来发几枝 愿君多采撷 此物最相思",
    "mixed 中文 and English, カタカナ too, 한국어 문장 하나 둘 셋",
    "İstanbul ÉCOLE straße naïve ñandú",
    "हिन्दी में लिखा हुआ एक छोटा सा वाक्य यहाँ है",
    "ภาษาไทยไม่มีช่องว่าง",
    "𠀀𠀁𠀂𠀃𠀄𠀅 😀 🎉 ok",
]


def test_grams_are_those_of_the_definition() -> None:
    """Equal n-grams have equal hashes and different ones different hashes, in the order of the text."""
    for length in (1, 2, 5, 13):
        hashes, starts = shingles.gram_hashes(*joined(TEXTS), length)
        names: dict[int, tuple[str, ...]] = {}
        for i, text in enumerate(TEXTS):
            found = hashes[starts[i] : starts[i + 1]].tolist()
            wanted = grams_of(text, length)
            assert len(found) == len(wanted), (text, length)
            for word, gram in zip(found, wanted, strict=True):
                assert names.setdefault(word, gram) == gram
        assert len(set(names.values())) == len(names)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", max_codepoint=0x3FFFF)), min_size=1, max_size=4))
def test_any_text_has_the_tokens_of_the_definition(texts: list[str]) -> None:
    starts = shingles.gram_hashes(*joined(texts), 1)[1]
    assert np.diff(starts).tolist() == [len(tokens_of(text)) for text in texts]


@settings(max_examples=150, deadline=None)
@given(st.text(st.sampled_from("abcXYZ019__ .,é中\n"), max_size=400))
def test_an_underscore_parts_tokens_wherever_it_stands(text: str) -> None:
    """Within a block of 64 bytes, at its edges, and in a run that began before it."""
    hashes, _ = shingles.gram_hashes(*joined([text]), 1)
    apart, _ = shingles.gram_hashes(*joined([text.replace("_", " ")]), 1)
    assert hashes.tolist() == apart.tolist()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_bytes_that_are_no_text_do_no_harm(data: bytes) -> None:
    """What is invalid separates tokens, as the replacement character does."""
    buffer, offsets = np.frombuffer(data, np.uint8), np.array([0, len(data)])
    starts = shingles.gram_hashes(buffer, offsets, 1)[1]
    assert 0 <= starts[1] <= len(data)
    shingles.band_hashes(buffer, offsets)


def test_a_text_cut_within_a_character_reads_nothing_beyond_its_end() -> None:
    buffer, _ = joined(["aé中b"])
    for stop in range(len(buffer) + 1):
        whole = shingles.gram_hashes(buffer, np.array([0, stop]), 1)[0]
        alone = shingles.gram_hashes(buffer[:stop].copy(), np.array([0, stop]), 1)[0]
        assert np.array_equal(whole, alone)


def test_sets_and_their_jaccard_index() -> None:
    hashes, starts = shingles.shingle_sets(*joined(TEXTS))
    sets = [hashes[starts[i] : starts[i + 1]] for i in range(len(TEXTS))]
    for a, first in zip(TEXTS, sets, strict=True):
        assert (np.diff(first.astype(object)) > 0).all()
        assert len(first) == len(set(grams_of(a)))
        for b, second in zip(TEXTS, sets, strict=True):
            assert shingles.jaccard(first, second) == pytest.approx(brute_jaccard(a, b))
    assert shingles.jaccard(sets[0], sets[1]) == 1.0
    assert shingles.jaccard(sets[7], sets[8]) == 1.0
    assert shingles.jaccard(sets[2], sets[3]) == 0.0


def plain_bands(text: str) -> list[bool | tuple[int, ...]]:
    """Least values of each band as the definition has them, from the hashes of shingles."""
    hashes = set(shingles.gram_hashes(*joined([text]), shingles.SHINGLE_TOKENS)[0].tolist())
    if not hashes:
        return [False] * shingles.NUM_BANDS
    num = shingles.NUM_HASHES
    least: dict[int, tuple[int, int]] = {}
    for turn in range(2 * num):
        thrown = [int(shingles.mixed(np.uint64((h + turn * int(shingles._WEIGHT)) % (1 << 64)))) for h in hashes]
        fresh = [
            ((word >> 32) * num >> 32 if turn < num else turn - num, (turn, word % (1 << 32)))
            for word in (thrown if turn else hashes)
        ]
        for slot, value in fresh:
            least[slot] = min(least.get(slot, value), value)
        if len(least) == num:
            break
    size = shingles.NUM_ROWS
    values = [hash(least[slot]) for slot in range(num)]
    return [tuple(values[i * size : (i + 1) * size]) for i in range(shingles.NUM_BANDS)]


def test_band_hashes_are_equal_just_where_the_minima_are() -> None:
    long = " ".join(f"word{i % 701} of{i % 13}" for i in range(2000))
    texts = [*TEXTS, long, long + " and one more", long.replace("word7 ", "other ")]
    bands = shingles.band_hashes(*joined(texts))
    assert bands.dtype == np.uint64
    assert bands.shape == (len(texts), shingles.NUM_BANDS)
    plain = [plain_bands(text) for text in texts]
    for i in range(len(texts)):
        for band in range(shingles.NUM_BANDS):
            assert (bands[i, band] == shingles.NO_BAND) == (plain[i][band] is False)
            for j in range(i):
                assert (bands[i, band] == bands[j, band]) == (plain[i][band] == plain[j][band])
    assert (bands[-3] == bands[-2]).any()


def test_texts_agree_in_a_band_as_often_as_theory_says() -> None:
    """P(a band agrees) = J^8 (Broder 1997), over 400 pairs and 16 bands at J = .8."""
    rng = np.random.default_rng(0)
    texts, num_pairs = [], 400
    for _ in range(num_pairs):
        words = [f"w{number}" for number in rng.integers(0, 1 << 40, 404)]
        texts += [" ".join(words), " ".join([*words[:-1][45:], *(f"n{n}" for n in rng.integers(0, 1 << 40, 44)), "x"])]
    bands = shingles.band_hashes(*joined(texts))
    hashes, starts = shingles.shingle_sets(*joined(texts))
    sets = [hashes[starts[i] : starts[i + 1]] for i in range(len(texts))]
    index = np.array([shingles.jaccard(sets[2 * i], sets[2 * i + 1]) for i in range(num_pairs)])
    expected = float((index**shingles.NUM_ROWS).mean())
    observed = float((bands[::2] == bands[1::2]).mean())
    assert 0.75 < index.mean() < 0.85
    # Bands of one pair are independent: the standard error is that of 6,400 draws.
    assert abs(observed - expected) < 4 * np.sqrt(expected * (1 - expected) / (num_pairs * shingles.NUM_BANDS))


def test_no_texts() -> None:
    assert shingles.band_hashes(np.zeros(0, np.uint8), np.zeros(1, np.int64)).shape == (0, shingles.NUM_BANDS)
    hashes, starts = shingles.shingle_sets(np.zeros(0, np.uint8), np.zeros(1, np.int64))
    assert len(hashes) == 0
    assert starts.tolist() == [0]
