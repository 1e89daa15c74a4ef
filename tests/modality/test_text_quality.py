"""Languages as py3langid finds them; counts against plain Python; rules that keep manuals, poems and programs."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py3langid.langid import MODEL_FILE, LanguageIdentifier
from text_samples import CHINESE, DECLARATION, ENGLISH, POEMS

from motherlode.errors import RecipeError
from motherlode.modality.text import MODALITY, language, measure, normal, quality, shingles, toxicity
from motherlode.modality.text import words as word_walk
from motherlode.modality.text.options import Clean
from motherlode.recipe import parse

ROOT = Path(__file__).parents[2]
MANUALS = [path for folder in ("docs", "src/motherlode/data") for path in sorted((ROOT / folder).glob("*.md"))]
PROGRAMS = sorted((ROOT / "src/motherlode/data").glob("*.py"))


def examine_one(text: str, **options: Any) -> tuple[str | None, dict[str, Any]]:
    found = MODALITY.examine([text.encode()], Clean(**options))
    return found.reasons[0], {name: column[0] for name, column in found.columns.items()}


@pytest.mark.parametrize("name", DECLARATION)
def test_languages_are_told_apart(name: str) -> None:
    reason, columns = examine_one(DECLARATION[name], languages=[name])
    assert reason is None
    assert columns["language"] == name
    assert columns["language_score"] > 0.5
    assert examine_one(DECLARATION[name], languages=["fi"])[0] == "other_language"


@pytest.mark.parametrize("text", [POEMS, CHINESE, POEMS.splitlines()[1]])
def test_chinese_is_chinese(text: str) -> None:
    assert examine_one(text, languages=["zh"])[0] is None


def test_what_has_no_language_is_undetermined() -> None:
    assert examine_one("12 34 56 78 90 12", max_digits=1)[1]["language"] == "und"
    assert examine_one(DECLARATION["en"], min_language_score=1.0)[1]["language"] == "und"
    assert examine_one(DECLARATION["en"].upper())[1]["language"] == "en"


def test_scores_are_those_of_py3langid() -> None:
    texts = [*DECLARATION.values(), ENGLISH, POEMS, "x", "no features 123", *(path.read_text() for path in MANUALS[:5])]
    samples = [text.encode()[:2000].decode(errors="ignore").encode() for text in texts]
    theirs = LanguageIdentifier.from_model_file(MODEL_FILE)
    found_NL = language.raw_scores(*normal.join(samples))
    for sample, scores_L in zip(samples, found_NL, strict=True):
        expected_L = theirs._raw_score(sample)
        if expected_L.max() > -1e30:
            np.testing.assert_allclose(scores_L, expected_L, rtol=2e-4, atol=0.05)
            assert expected_L[scores_L.argmax()] >= expected_L.max() - 0.05


def test_samples_of_long_texts_are_sound_utf8() -> None:
    long = (CHINESE + DECLARATION["ru"] + "\U0001f600 x") * 50
    names, scores = language.identify(*normal.join([long.encode(), b"", ENGLISH.encode() * 20]))
    assert names.tolist() == ["zh", "und", "en"]
    assert scores[1] == 0


WORD = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]|[^\W\u3040-\u30ff\u4e00-\u9fff]+")
TEXTS = st.lists(
    st.sampled_from(
        ["the", "mount", "x_1", "明", "月光", " ", " ", "\n", "\n\n", "1", "23", ".", "é", "ж", "…", "- ", "3. "]
    ),
    max_size=120,
).map("".join)


def counts(text: str) -> np.ndarray:
    text = normal.normalise(text, repair=False)
    return quality.measures(*normal.join([text.encode()]), np.array(["en"]))[0][0]


def repeated(units: list[str]) -> int:
    seen: set[tuple[str, ...]] = set()
    total = 0
    for unit in units:
        words = tuple(word.lower() if word.isascii() else word for word in WORD.findall(unit))
        total += len(words) if words in seen else 0
        seen |= {words} if words else set()
    return total


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_counts_are_those_of_plain_python(text: str) -> None:
    text = normal.normalise(text, repair=False)
    found_M = counts(text)
    words = [word.lower() if word.isascii() else word for word in WORD.findall(text)]
    visible = [sign for sign in text if not sign.isspace()]
    lines = [line for line in text.split("\n") if line.strip()]
    assert found_M[measure.WORDS] == len(words)
    assert found_M[word_walk.CHARACTERS] == len(text)
    assert found_M[word_walk.VISIBLE] == len(visible)
    assert found_M[word_walk.DIGITS] == sum(sign.isdigit() for sign in visible)
    assert found_M[word_walk.SYMBOLS] == sum(not (sign.isalnum() or sign == "_") for sign in visible)
    assert found_M[word_walk.UNSPACED_WORDS] == sum(word in "明月光" for word in words)
    assert found_M[measure.STOP_WORDS] == words.count("the")
    assert found_M[measure.LINES] == len(lines)
    assert found_M[measure.ELLIPSES] == sum(bool(re.search(r"(\.\.\.|…)$", line)) for line in lines)
    assert found_M[measure.IN_REPEATED_LINES] == repeated(lines)
    pairs = Counter(pairwise(words))
    fours = Counter(zip(words, words[1:], words[2:], words[3:]))
    top = max([2 * max(pairs.values(), default=0), 4 * max(fours.values(), default=0)])
    assert top <= found_M[measure.IN_TOP_PHRASE] <= top + 8


def test_the_top_phrase_is_exact_where_it_could_be_too_much() -> None:
    """Two phrases of a short text in one cell of the small table once doubled the count, and dropped the text."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        words = [f"word{k}" for k in rng.integers(0, 12, rng.integers(64, 300))]
        pairs, fours = (Counter(zip(*(words[k:] for k in range(n)))) for n in (2, 4))
        top = max(2 * max(pairs.values()), 4 * max(fours.values()))
        found = int(counts(" ".join(words))[measure.IN_TOP_PHRASE])
        assert found == top or top <= found <= len(words) / 8


def test_stop_words_are_counted_until_there_are_enough() -> None:
    buffer, offsets_N = normal.join([b"the mount " * 500])
    found = [
        int(quality.measures(buffer, offsets_N, np.array(["en"]), enough)[0][0, measure.STOP_WORDS])
        for enough in (0.1, 1.0)
    ]
    assert found == [102, 500]


def test_bands_are_those_of_the_texts_alone() -> None:
    """What the walk for the counts finds on the way is what the search for look-alikes finds by itself."""
    texts = [ENGLISH.encode(), b"", POEMS.encode(), b"one_two three", DECLARATION["ru"].encode()]
    buffer, offsets_N = normal.join(texts)
    _, tokens, starts_N1 = quality.measures(buffer, offsets_N, np.array(["en", "", "zh", "en", "ru"]))
    is_wanted_N = np.array([True, True, False, True, True])
    expected_NK = shingles.band_hashes(buffer, offsets_N) * is_wanted_N[:, None]
    np.testing.assert_array_equal(shingles.bands(tokens, starts_N1, is_wanted_N), expected_NK)


def test_words_of_underscores_are_words() -> None:
    """Sixty-four of them once came to a hash of zero, and were lost."""
    assert [int(counts("_" * num)[measure.WORDS]) for num in range(1, 200)] == [1] * 199


def test_repeated_phrases_are_those_of_plain_python() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{k}" for k in rng.integers(0, 1000, 3000)]
    words[2000:2040] = words[100:140]
    words[2500:2509] = words[200:209]
    assert counts(" ".join(words))[measure.IN_REPEATED_PHRASES] == 40


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("two words", "too_short"),
        ("".join(f"| {k} | == | ## | ** |\n" for k in range(40)), "symbols"),
        ("".join(f"{k * 977 % 9973} {k * 313 % 997} value\n" for k in range(60)), "digits"),
        (" ".join("abcdefghijklmnopqrstuvwxyz"), "odd_words"),
        (" ".join(f"acknowledgement_of_number_{k}" for k in range(12)), "odd_words"),
        ("".join(f"- item {ENGLISH.split()[k]} here\n" for k in range(30)), "bullets"),
        ("".join(f"Read about {word}...\n" for word in ENGLISH.split()[:40]), "ellipses"),
        (ENGLISH + "The same line again and again.\n" * 60, "repeated_lines"),
        (ENGLISH.replace("\n", " ") * 6, "repeated_phrases"),
        ("you can buy the pills now " * 40, "repeated_phrases"),
        ("床前明月光疑是地上霜" * 30, "repeated_phrases"),
        (POEMS * 8, "repeated_lines"),
    ],
)  # fmt: skip
def test_bad_pages_are_dropped(text: str, reason: str) -> None:
    assert examine_one(text)[0] == reason


def test_lists_without_small_words_are_dropped() -> None:
    rng = np.random.default_rng(0)
    stems = sorted(set(re.findall(r"[a-z]{6,}", ENGLISH)))
    text = "\n".join(" ".join(rng.choice(stems, 3)) + f" {k}" for k in range(60))
    assert examine_one(text, min_language_score=0)[0] == "no_stop_words"
    assert examine_one(text, min_language_score=0, min_stop_words=0)[0] is None


def test_rules_are_off_at_the_values_their_descriptions_name() -> None:
    off = {
        "min_words": 0, "max_symbols": 1, "max_digits": 1, "min_word_length": 0, "max_word_length": 0,
        "min_stop_words": 0, "max_bullets": 1, "max_ellipses": 1, "max_repeated_lines": 1,
        "max_repeated_paragraphs": 1, "max_top_phrase": 0, "max_repeated_phrases": 1, "max_lost": 1,
    }  # fmt: skip
    for text in (
        "x",
        "#### $$$$",
        "1 2 3",
        "a b c " * 90,
        "- x\n" * 50,
        "y...\n" * 50,
        "\ufffd" * 9,
        "supercalifragilistic" * 3,
    ):
        assert examine_one(text, **off)[0] is None


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, POEMS, *DECLARATION.values()])
def test_good_texts_are_kept(text: str) -> None:
    assert examine_one(text)[0] is None


def test_manuals_and_programs_are_kept() -> None:
    files = [*MANUALS, *PROGRAMS]
    found = MODALITY.examine([path.read_bytes() for path in files], Clean())
    dropped = [path.name for path, reason in zip(files, found.reasons, strict=True) if reason is not None]
    assert len(files) > 40
    assert len(dropped) <= 0.05 * len(files), dropped


def test_paragraphs_that_repeat_are_dropped() -> None:
    parts = [part.replace("\n", f" {k}\n", 1) for k, part in enumerate(ENGLISH.split("\n\n"))]
    text = "\n\n".join([*parts, *parts])
    assert examine_one(text, max_repeated_lines=1, max_repeated_phrases=1)[0] == "repeated_paragraphs"


def test_toxicity_is_a_column_or_a_reason() -> None:
    pytest.importorskip("profanity_check")
    media = [(ENGLISH + end).encode() for end in ("", "You stupid fucking idiot, go to hell, you bitch. ")]
    media.append(POEMS.encode())
    scored = MODALITY.examine(media, Clean(toxicity="score"))
    assert scored.reasons == [None] * 3
    assert scored.columns["toxicity"][0] < scored.columns["toxicity"][1]
    assert np.isnan(scored.columns["toxicity"][2])
    assert "toxicity" not in MODALITY.examine(media, Clean()).columns
    limit = float(scored.columns["toxicity"][:2].mean())
    assert MODALITY.examine(media, Clean(toxicity=limit)).reasons == [None, "toxic", None]
    assert len(toxicity.passages("x" * 1_000_000)) <= 64


@pytest.mark.parametrize(
    "content",
    [{"toxicity": 2.0}, {"personal": "hide"}, {"personal": {"name": "mask"}}, {"max_symbols": 2}, {"languges": ["en"]}],
)
def test_impossible_options_are_refused(content: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        parse(Clean, content)


def test_yaml_off_is_off() -> None:
    options = parse(Clean, {"personal": False, "toxicity": False})
    assert (options.personal, options.toxicity) == ("off", "off")
