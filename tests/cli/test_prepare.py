from __future__ import annotations

import os
from pathlib import Path

import pytest

from motherlode.cli import progress
from motherlode.cli.prepare import folder_name
from motherlode.data.dataset import Dataset

from ..data.conftest import write_folder  # noqa: TID252
from .conftest import FIXTURE, Lode, assert_one_clear_error


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("photos", "photos"),
        ("photos/", "photos"),
        ("./a/b.parquet", "b"),
        ("/data/photos/*.png", "photos"),
        ("s3://bucket/raw/", "raw"),
        ("data/**/*.jpg", "data"),
        ("*.png", "data"),
        ("set.tar.gz", "set"),
        ("..", "data"),
        (os.fsdecode(b"caf\xe9"), "caf"),
    ],
)
def test_a_dataset_is_named_after_its_source(source: str, name: str) -> None:
    assert folder_name([source]) == name


def test_prepare_shows_what_each_step_let_through(lode: Lode, here: Path) -> None:
    result = lode("prepare", FIXTURE, "--heldout", "0.2", "--workers", "1")
    assert result.exit_code == 0, result.output
    dataset = Dataset.open("datasets/fashion-500")
    for step in dataset.facts["steps"]:
        assert step["name"] in result.stdout
    for reason in dataset.summary()["dropped"]:
        assert reason in result.stdout.replace("\n", " ")
    assert "lode init datasets/fashion-500" in result.stdout
    assert len(dataset.split("heldout")) > 0.1 * len(dataset)


def test_what_was_passed_over_is_said_as_is_the_end_of_each_stage(
    lode: Lode, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_WORTH_SEC", 0.0)
    write_folder(here / "mixed", {"": 12})
    for number, ending in enumerate(("docx", "zip", "xyz")):
        (here / "mixed" / f"{number}.{ending}").write_bytes(b"x")
    for words in ([], ["--dry-run"]):
        result = lode("prepare", "mixed", "--workers", "1", *words)
        assert result.exit_code == 0, result.output
        assert "passed over: 1 .docx, 1 .xyz, 1 .zip" in result.stdout
        assert "0 of 1" not in result.stderr
        assert "near duplicates  in " in result.stderr


def test_flags_win_over_the_file_of_options(lode: Lode, here: Path) -> None:
    (here / "options.yaml").write_text("heldout: 0.5\nout: from-file\nnear_duplicates: off\noutliers: off\n")
    result = lode("prepare", FIXTURE, "--options", "options.yaml", "--heldout", "0.2", "--workers", "1")
    assert result.exit_code == 0, result.output
    dataset = Dataset.open("from-file")
    assert len(dataset.split("heldout")) < 0.3 * len(dataset)
    assert "near duplicates" not in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], ["must exist", "nowhere"]),
        (["empty"], ["must hold files"]),
        ([str(FIXTURE), "--heldout", "2"], ["heldout", "less than"]),
        ([str(FIXTURE), "--modality", "imgae"], ["did you mean 'image'"]),
        ([str(FIXTURE), "--options", "none.yaml"], ["must exist", "none.yaml"]),
        ([str(FIXTURE), "--options", "list.yaml"], ["key: value"]),
        ([str(FIXTURE), "--options", "wrong.yaml"], ["`heldoud`", "did you mean `heldout`"]),
        ([str(FIXTURE), "--options", "deep.yaml"], ["`clean.min_sid`", "did you mean `min_side`"]),
        ([str(FIXTURE), "--out", "taken"], ["new folder", "taken"]),
        ([str(FIXTURE), "--out", os.fsdecode(b"caf\xe9")], ["must be text", "choose another out"]),
    ],
)
def test_bad_input_is_one_clear_error_and_damages_nothing(
    lode: Lode, here: Path, words: list[str], said: list[str]
) -> None:
    (here / "empty").mkdir()
    (here / "list.yaml").write_text("- 1\n")
    (here / "wrong.yaml").write_text("heldoud: 0.1\n")
    (here / "deep.yaml").write_text("clean: {min_sid: 3}\n")
    (here / "taken").mkdir()
    (here / "taken" / "mine.txt").write_text("mine")
    before = sorted(here.rglob("*"))
    assert_one_clear_error(lode("prepare", *words), *said)
    assert sorted(here.rglob("*")) == before
    assert (here / "taken" / "mine.txt").read_text() == "mine"


def test_a_prepared_dataset_is_no_source_but_its_rows_are(lode: Lode, here: Path, fashion: Path) -> None:
    assert_one_clear_error(lode("prepare", fashion, "--out", "again"), "prepared already", f"{fashion}/train")
    assert list(here.iterdir()) == []
    result = lode("prepare", fashion / "train", "--out", "again", "--workers", "1")
    assert result.exit_code == 0, result.output
    assert Dataset.open("again").labels == Dataset.open(fashion).labels


def test_the_modality_is_told_by_the_files(lode: Lode, here: Path) -> None:
    (here / "pages").mkdir()
    for number, page in enumerate(sorted((Path(__file__).parents[2] / "docs").glob("*.md"))):
        (here / "pages" / f"{number}.md").write_text(page.read_text(encoding="utf-8"))
    result = lode("prepare", "pages", "--workers", "1")
    assert result.exit_code == 0, result.output
    assert "modality: text (files end in .md)" in result.stdout
    assert Dataset.open("datasets/pages").modality == "text"
    result = lode("prepare", "pages", "--modality", "text", "--dry-run")
    assert "modality:" not in result.stdout


def test_the_server_of_workers_starts_ahead_only_where_there_is_work_to_do(
    lode: Lode, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr("motherlode.data.prepare.start_ahead", lambda *_: None)
    monkeypatch.setattr("motherlode.data.workers.start_ahead", lambda *given: asked.append(given))
    (here / "docs.jsonl").write_text("".join(f'{{"text": "a line of words, number {k}"}}\n' for k in range(30)))
    lode("prepare", "docs.jsonl", "--dry-run")
    assert not asked
    lode("prepare", "docs.jsonl")
    assert asked == [(["docs.jsonl"], None, None)]
    lode("prepare", "docs.jsonl")
    assert len(asked) == 1
