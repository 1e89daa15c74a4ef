"""Texts through the whole of `prepare`: what the steps across documents do together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motherlode.data import prepare as prepare_module
from motherlode.data.dataset import Dataset
from motherlode.data.prepare import prepare
from motherlode.errors import RecipeError, SourceError

from .conftest import content

NOTICE = "This page belongs to the manual of the miners' guild, edition of the year"
STARTS = [
    "ba",
    "cor",
    "del",
    "fin",
    "gra",
    "hol",
    "jun",
    "kel",
    "lom",
    "mir",
    "nor",
    "pel",
    "quar",
    "ros",
    "sten",
    "tul",
]
MIDDLES = ["a", "e", "i", "o", "u", "ar", "en", "il", "or", "um"]
ENDS = ["d", "l", "m", "n", "r", "s", "t", "x"]
SMALL = ["the", "and", "of", "to", "a", "in", "that", "is", "with", "for", "was", "on"]


QUESTION = "Which of the three shafts did the guild close first after the flood of that long and bitter winter?"


def prose(seed: int, num_lines: int = 8) -> str:
    """Made-up words with English small words between them, of which no run of five comes twice."""
    rng = np.random.default_rng(seed)

    def word() -> str:
        pieces = (STARTS, MIDDLES, STARTS, MIDDLES, ENDS)
        return "".join(options[rng.integers(len(options))] for options in pieces)

    lines = (" ".join(f"{word()} {SMALL[rng.integers(len(SMALL))]}" for _ in range(6)) for _ in range(num_lines))
    return "\n".join(f"{line} {word()}.".capitalize() for line in lines)


def source(folder: Path) -> tuple[Path, dict[str, list[int]]]:
    """60 documents in JSON lines, and which of them should go: copies, near copies, contaminated and mere notices."""
    texts = [prose(seed) for seed in range(40)]
    texts = [f"{text}\n{NOTICE}" if place % 2 else text for place, text in enumerate(texts)]
    bad: dict[str, list[int]] = {}
    bad["exact_duplicate"] = [len(texts), len(texts) + 1]
    texts += [texts[3], texts[8]]
    bad["near_duplicate"] = [len(texts), len(texts) + 1]
    texts += [texts[5].replace(" ", " indeed ", 1), texts[6] + "\nThe end."]
    bad["contaminated"] = [len(texts)]
    texts.append(prose(100) + "\n" + QUESTION)
    bad["boilerplate"] = [len(texts)]
    texts.append(f"{NOTICE}\nThe shaft is closed today.")
    path = folder / "docs.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    (folder / "eval.jsonl").write_text(json.dumps({"question": QUESTION, "answer": "the third"}) + "\n", "utf-8")
    return path, bad


def run(path: Path, out: Path, **options: Any) -> Dataset:
    chosen: dict[str, Any] = {
        "modality": "text",
        "workers": 1,
        "heldout": 0.2,
        "paragraph_texts": 5,
        "decontaminate": [str(path.parent / "eval.jsonl")],
    }
    return prepare(path, out=out, **{**chosen, **options})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path, dict[str, list[int]]]:
    folder = tmp_path_factory.mktemp("texts")
    path, bad = source(folder)
    return run(path, folder / "out"), path, bad


def test_each_text_goes_for_its_reason(made: tuple[Dataset, Path, dict[str, list[int]]]) -> None:
    dataset, _, bad = made
    assert dataset.facts["dropped"] == {reason: len(rows) for reason, rows in bad.items()}
    dropped = dataset.split("dropped")
    found: dict[str, list[int]] = {}
    for reason, path in zip(dropped.column("reason").tolist(), dropped.column("path").tolist(), strict=True):
        found.setdefault(reason, []).append(path)
    assert {reason: len(paths) for reason, paths in found.items()} == {
        reason: len(rows) for reason, rows in bad.items()
    }
    assert [step["name"] for step in dataset.facts["steps"]] == [
        "read", "clean", "exact duplicates", "evaluation texts", "near duplicates", "repeated lines", "labels", "split",
    ]  # fmt: skip


def test_what_is_kept_has_lost_its_repeated_lines(made: tuple[Dataset, Path, dict[str, list[int]]]) -> None:
    import xxhash

    dataset, _, _ = made
    for name in ("train", "heldout"):
        for row in dataset.split(name).rows():
            assert NOTICE not in row["text"]
            assert row["id"] == xxhash.xxh3_128(row["text"].encode()).hexdigest(), "an id is the hash of what is kept"
            assert row["characters"] == len(row["text"])
    shown = {row["text"] for row in dataset.split("train").rows()} | {
        r["text"] for r in dataset.split("heldout").rows()
    }
    assert shown == {prose(seed) for seed in range(40)}


def test_the_card_says_what_documents_have_in_common(made: tuple[Dataset, Path, dict[str, list[int]]]) -> None:
    dataset, _, _ = made
    findings = dataset.facts["findings"]
    assert findings["repeated_lines"]["examples"][0]["text"] == NOTICE
    assert findings["near_duplicate_check"]["recall"]["value"] == 1.0
    assert findings["overlap"]["sharing"]["value"] == 0.0
    for name in ("card.html", "card.md"):
        card = (dataset.path / name).read_text("utf-8")
        assert "miners" in card
        assert "near-duplicate" in card
        assert "boilerplate" in card.lower()


def test_workers_and_a_rerun_give_the_same_bytes(
    made: tuple[Dataset, Path, dict[str, list[int]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, path, _ = made
    monkeypatch.setattr(prepare_module, "ALONE_BYTES", 0)
    other = run(path, tmp_path / "out", workers=2)
    assert content(other.path) == content(dataset.path)
    assert run(path, tmp_path / "out").facts == other.facts


@pytest.mark.parametrize("stage", ["repeated lines", "labels", "write", "card"])
def test_a_killed_run_takes_up_where_it_was(
    made: tuple[Dataset, Path, dict[str, list[int]]], tmp_path: Path, stage: str
) -> None:
    dataset, path, _ = made

    def stop(at: str, done: int, total: int | None, counts: Any) -> None:
        if at == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, tmp_path / "out", progress=stop)
    assert not (tmp_path / "out").exists()
    assert content(run(path, tmp_path / "out").path) == content(dataset.path)


def test_report_and_off(made: tuple[Dataset, Path, dict[str, list[int]]], tmp_path: Path) -> None:
    _, path, bad = made
    report = run(path, tmp_path / "report", paragraphs="report", near_duplicates="report", decontaminate=[])
    assert report.facts["kept"] == report.facts["in"] - len(bad["exact_duplicate"])
    assert report.facts["findings"]["repeated_lines"]["texts"] > 20
    assert any(NOTICE in row["text"] for row in report.split("train").rows())
    off = run(path, tmp_path / "off", paragraphs="off", near_duplicates="off", decontaminate=[])
    assert "repeated_lines" not in off.facts["findings"]
    assert off.facts["kept"] == report.facts["kept"]


def test_own_heldout_texts_are_kept_out_of_train(tmp_path: Path) -> None:
    shared = "the very same long sentence stands in both of these documents and in no other place at all"
    texts = [prose(seed) + (f"\n{shared}" if seed < 30 else "") for seed in range(60)]
    path = tmp_path / "docs.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    options: dict[str, Any] = {"modality": "text", "workers": 1, "heldout": 0.2, "paragraphs": "off"}
    leaky = prepare(path, out=tmp_path / "leaky", **options)
    assert leaky.facts["findings"]["overlap"]["sharing"]["value"] > 0.2
    tight = prepare(path, out=tmp_path / "tight", decontaminate_heldout=True, **options)
    assert tight.facts["findings"]["overlap"]["sharing"]["value"] == 0.0
    assert tight.facts["dropped"]["contaminated"] == sum(shared in row["text"] for row in leaky.split("train").rows())


def test_other_evaluation_texts_are_another_request(
    made: tuple[Dataset, Path, dict[str, list[int]]], tmp_path: Path
) -> None:
    _, path, _ = made
    evaluation = tmp_path / "eval.jsonl"
    evaluation.write_text(json.dumps({"q": QUESTION}) + "\n", "utf-8")
    first = run(path, tmp_path / "out", decontaminate=[str(evaluation)])
    evaluation.write_text(json.dumps({"q": prose(7)}) + "\n" + json.dumps({"q": QUESTION}) + "\n", "utf-8")
    second = run(path, tmp_path / "out", decontaminate=[str(evaluation)], overwrite=True)
    assert second.facts["dropped"]["contaminated"] == first.facts["dropped"]["contaminated"] + 1
    with pytest.raises(SourceError, match="exist"):
        run(path, tmp_path / "none", decontaminate=[str(tmp_path / "absent.jsonl")])


def test_pictures_have_no_lines(tmp_path: Path) -> None:
    for options in ({"paragraphs": "drop"}, {"decontaminate": ["x"]}, {"decontaminate_heldout": True}):
        with pytest.raises(RecipeError, match="only texts"):
            prepare(tmp_path, modality="image", out=tmp_path / "out", **options)
