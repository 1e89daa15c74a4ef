"""The steps that look across texts: near-duplicates with their check, repeated lines, evaluation texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motherlode import registry
from motherlode.data import recount
from motherlode.data.decontaminate import Contaminated, OwnHeldout, evaluation_texts, overlap, stamps
from motherlode.data.gather import gather
from motherlode.data.paragraphs import RepeatedLines, repeated_lines
from motherlode.data.step import HELDOUT, TRAIN, Rows
from motherlode.data.steps import ExactDuplicates, NearTexts
from motherlode.errors import SourceError
from motherlode.modality.text import lines

from .test_minhash import edited, planted
from .text_parts import PLAIN, joined, media_of, text_rows, write_parts

NOTICE = "Copyright by the makers of this manual, all rights reserved"
MENU = "Home | Products | About us | Contact | Terms of use"


def here(function: Callable[[Any], Any], tasks: Iterable[Any], num: int) -> Iterator[Any]:
    return map(function, tasks)


def prose(seed: int, num_words: int = 60) -> str:
    rng = np.random.default_rng(seed)
    words = [f"word{number}" for number in rng.integers(0, 100_000, num_words)]
    return "\n".join(" ".join(words[i : i + 12]) for i in range(0, num_words, 12))


def reasons(rows: Rows) -> list[str | None]:
    return [rows.reason_names[code] if code >= 0 else None for code in rows.reasons_N.tolist()]


def test_near_texts_are_dropped_and_the_search_is_checked(tmp_path: Path) -> None:
    texts = planted(60, seed=5)
    rows = text_rows(tmp_path / "parts", texts)
    NearTexts(PLAIN).run(rows)
    dropped = [place for place, reason in enumerate(reasons(rows)) if reason]
    assert all(rows.duplicates_N[place] == rows.clusters_N[place] < place for place in dropped)
    found = rows.open_facts["near_duplicate_check"].result()
    assert found["sample"] == found["among"] == len(texts)
    assert found["precision"]["value"] == 1.0
    assert found["precision"]["trials"] == len(dropped)
    assert found["recall"]["low"] <= found["recall"]["value"] <= found["recall"]["high"] + 1e-9
    assert found["recall"]["value"] > 0.9
    json.dumps(rows.facts)
    kept = text_rows(tmp_path / "again", texts)
    NearTexts(PLAIN, keep=True, check=False).run(kept)
    assert reasons(kept) == [None] * len(texts)
    assert np.array_equal(kept.clusters_N, rows.clusters_N)


def test_the_check_tells_what_was_missed_and_what_was_wrong(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    texts = []
    for group in range(40):
        words = [f"g{group}w{number}" for number in range(80)]
        texts += [" ".join(words), edited(words, 1, rng)]
    rows = text_rows(tmp_path, texts)
    alive = np.arange(len(texts))
    perfect = alive // 2 * 2
    assert recount.check(rows, alive, perfect, PLAIN)["recall"]["value"] == 1.0
    missed = perfect.copy()
    missed[1::4] = alive[1::4]
    found = recount.check(rows, alive, missed, PLAIN)
    assert found["recall"] | {"trials": 40} == found["recall"]
    assert found["recall"]["value"] == 0.5
    assert found["precision"] | {"value": 1.0, "trials": 20} == found["precision"]
    # Forty texts are joined with a stranger besides: row 0 with 2, 4 with 6, ...
    wrong = perfect.copy()
    wrong[2::4], wrong[3::4] = perfect[0::4], perfect[0::4]
    found = recount.check(rows, alive, wrong, PLAIN)
    assert found["recall"]["value"] == 1.0
    nothing = recount.check(rows, alive, alive, PLAIN)
    assert nothing["recall"]["value"] == 0.0
    assert nothing["precision"] == {"value": None, "low": 0.0, "high": 1.0, "trials": 0}


def test_the_check_of_strangers_joined(tmp_path: Path) -> None:
    rows = text_rows(tmp_path, [prose(seed) for seed in range(20)])
    alive = np.arange(20)
    found = recount.check(rows, alive, alive // 2 * 2, PLAIN)
    assert found["precision"] | {"value": 0.0, "trials": 10} == found["precision"]
    assert found["recall"]["trials"] == 0


def test_the_check_looks_at_a_part_of_many_texts(tmp_path: Path) -> None:
    texts = planted(60, seed=6)
    rows = text_rows(tmp_path, texts)
    NearTexts(PLAIN, keep=True, check=False).run(rows)
    half = sum(map(len, texts)) // 2
    found = recount.check(rows, np.arange(len(texts)), rows.clusters_N, PLAIN, sample=30, most_bytes=half)
    assert found["sample"] == 30
    assert 30 <= found["among"] < len(texts)
    assert found["precision"]["value"] == 1.0, "the rest of a cluster is looked at even where it is not at random"


def run_lines(tmp_path: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Rows:
    monkeypatch.setattr(registry, "find", lambda *_: PLAIN)
    # Without the check, as `prepare` has it here: it would read in a thread what a test is about to damage.
    again = ExactDuplicates(), NearTexts(PLAIN, check=False)
    chosen = {"share": 0.2, "least": 3, "cut": True, "again": again, **options}
    RepeatedLines(PLAIN, None, tmp_path / "cut", mapped=here, **chosen).run(rows)
    return rows


def test_repeated_lines_are_cut_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = [prose(seed) for seed in range(20)]
    texts = [f"{MENU}\n{text}\n\n{NOTICE}" if seed % 2 else text for seed, text in enumerate(own)]
    rows = run_lines(tmp_path, text_rows(tmp_path / "parts", texts), monkeypatch)
    assert media_of(rows) == own
    fresh = text_rows(tmp_path / "fresh", own)
    assert np.array_equal(rows.ids_N, fresh.ids_N)
    assert np.array_equal(rows.num_bytes_N, fresh.num_bytes_N)
    places = np.arange(20)
    assert np.array_equal(rows.fingerprints_PK[places], fresh.fingerprints_PK[places])
    batches = [rows.texts.folder / f"{number:06d}.arrow" for number in range(3)]
    from motherlode.data.parts import read_part

    measured = [
        value for path in batches for value in read_part(path).read_all().column("measured.characters").to_pylist()
    ]
    assert measured == [len(text) for text in own]
    facts = rows.facts["repeated_lines"]
    assert facts["lines"] == 2
    assert facts["texts"] == 10
    assert facts["bytes"] == 10 * (len(MENU) + len(NOTICE) + 1)
    assert {item["text"] for item in facts["examples"]} == {MENU, NOTICE}
    assert {item["texts"] for item in facts["examples"]} == {10}
    assert reasons(rows) == [None] * 20


def test_report_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{MENU}\n{prose(seed)}" for seed in range(10)]
    rows = text_rows(tmp_path / "parts", texts)
    run_lines(tmp_path, rows, monkeypatch, cut=False)
    assert media_of(rows) == texts
    assert rows.facts["repeated_lines"]["texts"] == 10
    assert rows.texts.folder == tmp_path / "parts"


def test_texts_made_mostly_of_repeated_lines_are_dropped_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"{MENU}\n{NOTICE}\n{prose(seed)}" for seed in range(8)] + [f"{MENU}\n{NOTICE}\nshort", f"{MENU}\nab"]
    rows = run_lines(tmp_path, text_rows(tmp_path / "parts", texts), monkeypatch)
    assert reasons(rows) == [None] * 8 + ["boilerplate"] * 2
    assert media_of(rows)[8:] == texts[8:]


def test_what_is_unfit_without_its_lines_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = [f"{'-' * 60}\n{MENU}"]
    texts = [f"{MENU}\n{prose(seed)}" for seed in range(8)] + short
    real = PLAIN.examine

    def strict(media: Any, options: Any) -> Any:
        found = real(media, options)
        found.reasons[:] = ["symbols" if set(item) <= set(b"-\n") else None for item in found.media]
        return found

    monkeypatch.setattr(PLAIN, "examine", strict)
    rows = run_lines(tmp_path, text_rows(tmp_path / "parts", texts), monkeypatch)
    assert reasons(rows) == [None] * 8 + ["boilerplate"]
    assert media_of(rows)[8:] == short


def test_texts_equal_without_their_lines_are_duplicates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = prose(1)
    others = [f"{MENU}\n{prose(seed)}\n{NOTICE}" for seed in range(10, 20)]
    rows = run_lines(tmp_path, text_rows(tmp_path / "parts", [*others, f"{MENU}\n{text}", text]), monkeypatch)
    assert reasons(rows) == [None] * 11 + ["exact_duplicate"]
    assert rows.duplicates_N[11] == 10


def test_nothing_repeated_costs_nothing_but_the_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = text_rows(tmp_path / "parts", [prose(seed) for seed in range(12)])
    run_lines(tmp_path, rows, monkeypatch)
    assert rows.facts["repeated_lines"] == {
        "share": 0.2,
        "least": 3,
        "cut": True,
        "lines": 0,
        "examples": [],
        "texts": 0,
        "bytes": 0,
    }
    assert sorted(item.name for item in tmp_path.iterdir()) == ["parts"]


def test_dropped_texts_do_not_count_and_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{MENU}\n{prose(seed)}" for seed in range(4)] + [f"{NOTICE}\n{prose(seed)}" for seed in range(4, 14)]
    rows = text_rows(tmp_path / "parts", texts)
    rows.drop(np.array([0, 4]), "near_duplicate", "near duplicates")
    run_lines(tmp_path, rows, monkeypatch, share=0.0, least=3)
    left = media_of(rows)
    assert left[:5] == texts[:5], "three texts that are in have the menu: not more than three"
    assert left[5:] == [prose(seed) for seed in range(5, 14)]
    assert reasons(rows)[:5] == ["near_duplicate", None, None, None, "near_duplicate"]


def test_sources_are_counted_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web = [f"{MENU}\n{prose(seed)}" for seed in range(8)]
    books = [prose(seed) for seed in range(8, 15)] + [f"{MENU}\n{prose(15)}"]
    records = write_parts(tmp_path / "parts", web, source="web")
    records += write_parts(tmp_path / "parts", books, source="books", first=len(records))
    rows = run_lines(tmp_path, gather(tmp_path / "parts", records, num_sources=2), monkeypatch)
    assert media_of(rows) == [prose(seed) for seed in range(8)] + books
    assert [(item["source"], item["texts"]) for item in rows.facts["repeated_lines"]["examples"]] == [("web", 8)]


def test_counts_do_not_depend_on_the_files_they_are_sorted_into(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    known = [f"a line of boilerplate with the number {number}" for number in range(30)]
    texts = ["\n".join(known[place] for place in rng.permutation(30)[: rng.integers(1, 30)]) for _ in range(50)]
    rows = text_rows(tmp_path / "parts", texts)
    alive = np.ones(50, np.bool_)
    parts = list(range(len(rows.texts.records)))
    truth = {line: sum(line in text.split("\n") for text in texts) for line in known}
    for file_bytes in (1 << 20, 3000, 500):
        found, counts = repeated_lines(rows.texts, parts, alive, PLAIN, 0.5, 3, tmp_path / "cut", file_bytes)
        shown = lines.find_lines(*joined([text.encode() for text in texts]), found)
        assert {shown[line]: count for line, count in zip(found.tolist(), counts.tolist())} == {
            line: count for line, count in truth.items() if count > 25
        }
    assert sorted(item.name for item in tmp_path.iterdir()) == ["parts"]


def test_a_rerun_takes_the_parts_that_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{MENU}\n{prose(seed)}" if seed < 10 else prose(seed) for seed in range(21)]
    records = write_parts(tmp_path / "parts", texts)
    first = run_lines(tmp_path, gather(tmp_path / "parts", records, num_sources=1), monkeypatch)
    stamps_of = {path: path.stat().st_mtime_ns for path in (tmp_path / "cut").glob("*.arrow")}
    damaged = tmp_path / "cut" / "000000.arrow"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    again = run_lines(tmp_path, gather(tmp_path / "parts", records, num_sources=1), monkeypatch)
    assert media_of(again) == media_of(first)
    assert np.array_equal(again.ids_N, first.ids_N)
    untouched = [path for path, stamp in stamps_of.items() if path.stat().st_mtime_ns == stamp]
    assert len(untouched) == 2
    assert (tmp_path / "parts" / "000002.arrow").stat().st_nlink == 2, "a part without a change is linked"
    assert media_of(gather(tmp_path / "parts", records, num_sources=1)) == texts


QUESTION = "What is the airspeed velocity of an unladen swallow that carries a coconut over the channel?"


def test_texts_that_hold_an_evaluation_text_are_dropped(tmp_path: Path) -> None:
    texts = [prose(seed) for seed in range(10)]
    texts[3] += "\n" + QUESTION.upper().replace(" ", "  ")
    texts[7] += "\n" + " ".join(QUESTION.split()[2:-2])
    texts[8] += "\n" + " ".join(QUESTION.split()[:9])
    questions = tmp_path / "questions.jsonl"
    items = [{"question": QUESTION, "choices": ["African", {"or": "European"}]}, {"question": "Too short to tell"}]
    questions.write_text("\n".join(json.dumps(item) for item in items) + "\nnot json\n", "utf-8")
    for length, dropped in ((13, [3]), (12, [3, 7]), (9, [3, 7, 8])):
        rows = text_rows(tmp_path / f"parts{length}", texts)
        Contaminated(PLAIN, None, (str(questions),), length=length).run(rows)
        assert [place for place, reason in enumerate(reasons(rows)) if reason == "contaminated"] == dropped
        assert rows.facts["contamination"] == {"length": length, "evaluation_texts": 2, "too_short": 1}


def test_evaluation_texts_come_in_batches(tmp_path: Path) -> None:
    texts = [prose(seed) for seed in range(30)]
    questions = tmp_path / "questions.jsonl"
    questions.write_text("\n".join(json.dumps({"q": texts[seed]}) for seed in (4, 9, 22, 29)), "utf-8")
    rows = text_rows(tmp_path / "parts", texts)
    Contaminated(PLAIN, None, (str(questions),), length=13, batch_bytes=1).run(rows)
    assert [place for place, reason in enumerate(reasons(rows)) if reason] == [4, 9, 22, 29]


def test_evaluation_texts_are_read_from_tables_and_folders(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table({"prompt": ["a b", "c"], "tests": [["d"], ["e", "f"]], "n": [1, 2]}), tmp_path / "x.parquet"
    )
    assert list(evaluation_texts(str(tmp_path / "x.parquet"), PLAIN, None)) == ["a b\nd", "c\ne\nf"]
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "one.txt").write_text("hello there\n", "utf-8")
    assert list(evaluation_texts(str(folder), PLAIN, None)) == ["hello there"]
    with pytest.raises(SourceError):
        list(evaluation_texts(str(tmp_path / "none.jsonl"), PLAIN, None))
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(SourceError):
        list(evaluation_texts(str(tmp_path / "bad.parquet"), PLAIN, None))


def test_stamps_change_with_the_files(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("{}", "utf-8")
    first = stamps([str(path)])
    assert stamps([str(tmp_path)]) == first
    path.write_text("{} ", "utf-8")
    assert stamps([str(path)]) != first
    assert stamps([]) == []
    with pytest.raises(SourceError, match="exist"):
        stamps([str(tmp_path / "b")])


def split_rows(tmp_path: Path, texts: list[str], held: list[int]) -> Rows:
    rows = text_rows(tmp_path, texts)
    rows.splits_N[:] = TRAIN
    rows.splits_N[held] = HELDOUT
    return rows


def test_overlap_of_the_splits(tmp_path: Path) -> None:
    texts = [prose(seed) for seed in range(12)]
    texts[0] += " " + texts[10]
    texts[1] += " " + " ".join(texts[11].split()[:16])
    rows = split_rows(tmp_path, texts, [8, 9, 10, 11])
    found = overlap(rows, PLAIN, 13)
    assert found["sharing"]["value"] == 0.5
    assert found["heldout"] == 4
    assert found["train"] == 8
    assert found["whole"]
    assert found["runs"] == pytest.approx((48 + 4) / (4 * 48))
    OwnHeldout(PLAIN, 13).run(rows)
    assert [place for place, reason in enumerate(reasons(rows)) if reason == "contaminated"] == [0, 1]
    assert overlap(rows, PLAIN, 13)["sharing"]["value"] == 0.0


def test_own_heldout_in_batches(tmp_path: Path) -> None:
    texts = [prose(seed % 6) + f" {seed}" for seed in range(12)]
    rows = split_rows(tmp_path, texts, [6, 7, 8, 9, 10])
    OwnHeldout(PLAIN, 13, batch_bytes=1).run(rows)
    assert [place for place, reason in enumerate(reasons(rows)) if reason] == [0, 1, 2, 3, 4]
    nothing = split_rows(tmp_path / "none", texts, [])
    OwnHeldout(PLAIN, 13).run(nothing)
    assert reasons(nothing) == [None] * 12
    assert overlap(nothing, PLAIN, 13)["heldout"] == 0
