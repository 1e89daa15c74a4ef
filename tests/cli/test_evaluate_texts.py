"""`lode evaluate` on folders of texts: what it says, compares and refuses."""

from __future__ import annotations

from pathlib import Path

from motherlode.randomness import numpy_generator

from .conftest import Lode, assert_one_clear_error

WORDS = [a + b + c for a in "bdfgk" for b in "aeiou" for c in "lmnrs"]


def write(folder: Path, num: int, seed: int) -> Path:
    rng = numpy_generator(seed, "test texts")
    folder.mkdir()
    for number in range(num):
        (folder / f"{number}.txt").write_text(" ".join(rng.choice(WORDS, 40)), encoding="utf-8")
    return folder


def test_folders_of_texts_are_measured_and_compared(lode: Lode, here: Path) -> None:
    write(here / "made", 30, 1)
    write(here / "real", 40, 2)
    settings = ("--reference", "real", "--extractor", "character-trigrams")
    first = lode("evaluate", "--samples", "made", *settings, "--train", "real", "--out", "first")
    assert first.exit_code == 0, first.output
    for said in ("mauve[character-trigrams]", "distinct_2", "self_bleu", "repetition", "verbatim[words]", "30 / 30"):
        assert said in first.stdout
    again = lode("evaluate", "--samples", "made", *settings, "--out", "again", "--against", "first")
    assert "no clear change" in again.stdout
    assert "not compared" not in again.stdout
    # Distinct-n of fewer words is another number; self-BLEU among fewer texts too.
    fewer = lode("evaluate", "--samples", "made", *settings, "-n", "20", "--out", "fewer", "--against", "first")
    assert_one_clear_error(fewer, "same", "evaluate both with the same settings")


def test_what_compares_is_compared_and_the_rest_is_named(lode: Lode, here: Path) -> None:
    write(here / "made", 30, 1)
    write(here / "real", 40, 2)
    settings = ("evaluate", "--samples", "made", "--reference", "real")
    assert lode(*settings, "--extractor", "character-trigrams", "--out", "first").exit_code == 0
    (here / "more").mkdir()
    other = lode(*settings, "-m", "variety", "-m", "mauve", "--out", "other", "--extractor", "clip")
    assert_one_clear_error(other, "no extractor of texts", "clip")
    longer = write(here / "longer", 30, 3)
    for file in longer.iterdir():
        file.write_text(file.read_text() * 3)
    mixed = lode(
        "evaluate",
        *("--samples", "longer", "--reference", "longer"),
        *("--extractor", "character-trigrams", "--out", "mixed", "--against", "first"),
    )
    assert mixed.exit_code == 0, mixed.output
    assert "not compared:" in mixed.stdout
    assert "distinct_1 can be compared only at the same resize" in mixed.stdout
    assert "self_bleu" in mixed.stdout
