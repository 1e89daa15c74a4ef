from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from motherlode.data import documents, write
from motherlode.data.dataset import Dataset
from motherlode.data.prepare import parse_options, prepare
from motherlode.data.preview import preview
from motherlode.errors import DatasetError, RecipeError

from .conftest import content

ROOT = Path(__file__).resolve().parents[2]
POEM = "床前明月光，疑是地上霜。举头望明月，低头思故乡。"


def passages() -> Iterator[tuple[str, str]]:
    """(name, text): the sections of the pages and modules of this repository, real text of 300 bytes and more."""
    pages = sorted([*(ROOT / "docs").glob("*.md"), *(ROOT / "src").rglob("*.py")])
    for page in pages:
        for number, section in enumerate(page.read_text(encoding="utf-8").split("\n\n\n")):
            if len(section) > 300:
                yield f"{page.relative_to(ROOT).as_posix().replace('/', '-')}-{number}", section


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 150 documents of several kinds, with junk, copies and a table among them."""
    folder = tmp_path_factory.mktemp("raw") / "corpus"
    found = [passage for _, passage in zip(range(150), passages())]
    (folder / "pages").mkdir(parents=True)
    for name, text in found[:60]:
        (folder / "pages" / f"{name}.md").write_text(text)
    rows = [{"text": text, "title": name, "license": "Apache-2.0"} for name, text in found[60:]]
    rows += [{"text": rows[0]["text"]}, {"text": rows[1]["text"] + "\nOne more line of words than before."}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    lines[5:5] = ["not json", '{"text": null}', '{"text": "short"}']
    (folder / "table.jsonl").write_text("\n".join(lines))
    (folder / "junk.txt").write_bytes(bytes(range(256)) * 40)
    (folder / "empty.txt").write_bytes(b"")
    (folder / "nul.txt").write_bytes(b"\x00" * 5000)
    (folder / "huge.txt").write_bytes(b"x " * (1 << 20))
    return folder


@pytest.fixture(scope="session")
def made(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The corpus, prepared; shared by all tests, so none may write to it."""
    out = tmp_path_factory.mktemp("sets") / "corpus"
    return prepare(corpus, modality="text", out=out, workers=1, max_bytes=1 << 20)


def test_a_folder_of_text_becomes_a_dataset(made: Dataset) -> None:
    facts = made.summary()
    assert facts["in"] == 60 + 90 + 2 + 3 + 4
    assert facts["in"] == facts["kept"] + sum(facts["dropped"].values())
    assert facts["dropped"]["exact_duplicate"] == 1
    assert facts["dropped"]["near_duplicate"] >= 1
    assert facts["dropped"]["too_large"] == 1
    reasons = {row["path"]: row["reason"] for row in made.split("dropped").rows()}
    assert reasons["empty.txt"] == "empty"
    assert reasons["huge.txt"] == "too_large"
    assert reasons["junk.txt"] in ("binary", "undecodable")
    assert reasons["nul.txt"] in ("binary", "empty")
    assert Counter(reasons.values())["undecodable"] >= 1
    columns = made.split("train").columns
    assert columns[:7] == ["id", "text", "path", "label", "caption", "licence", "source"]
    assert columns[-3:] == ["cluster", "label_suspect", "outlier"]
    row = next(iter(made))
    assert isinstance(row["text"], str)
    assert made.facts["column"] == "text"


def test_every_shard_is_read_by_others(made: Dataset, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        "parquet", data_files={"train": str(made.path / "train" / "*.parquet")}, cache_dir=str(tmp_path)
    )["train"]
    assert loaded.features["text"] == datasets.Value("string")
    assert loaded[:]["text"] == [row["text"] for row in made.split("train").rows()]


def test_sources_are_counted_as_they_will_be_mixed(corpus: Path, tmp_path: Path) -> None:
    sources = {"pages": corpus / "pages", "table": corpus / "table.jsonl"}
    made = prepare(sources, modality="text", out=tmp_path / "d", workers=1)
    rows = list(made.split("train").rows())
    assert made.facts["source_rows"] == dict(Counter(row["source"] for row in rows))
    assert made.facts["source_bytes"] == {
        name: sum(len(row["text"].encode()) for row in rows if row["source"] == name) for name in sources
    }
    assert all(0 < tokens < made.facts["source_bytes"][name] for name, tokens in made.facts["source_tokens"].items())


@pytest.fixture
def many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small partitions and shards, so that little data has many of both."""
    monkeypatch.setattr(documents, "PARTITION_ROWS", 16)
    monkeypatch.setattr(documents, "PARTITION_BYTES", 20_000)
    monkeypatch.setattr(write, "SHARD_ROWS", 32)


WITH_SMALL_PARTS = """
import sys
from motherlode.data import documents, prepare, write
documents.PARTITION_ROWS, documents.PARTITION_BYTES, write.SHARD_ROWS = 16, 20_000, 32
prepare.ALONE_BYTES = prepare._WRITE_ALONE_BYTES = 0
if __name__ == "__main__":
    said = lambda *facts: print(facts[0], flush=True)
    prepare.prepare(
        sys.argv[1], modality="text", out=sys.argv[2], workers=int(sys.argv[3]), max_bytes=1 << 20, progress=said
    )
"""


@pytest.mark.slow
def test_kills_and_workers_change_no_byte(corpus: Path, made: Dataset, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(WITH_SMALL_PARTS)
    command = [sys.executable, str(script), str(corpus)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    said = subprocess.run([*command, str(tmp_path / "one"), "1"], check=True, capture_output=True, env=environment)
    expected = content(tmp_path / "one")
    subprocess.run([*command, str(tmp_path / "two"), "2"], check=True, capture_output=True, env=environment)
    assert content(tmp_path / "two") == expected
    assert Dataset.open(tmp_path / "one").id == made.id
    num_lines = len(said.stdout.splitlines())
    instants = [*range(2, num_lines, num_lines // 5), num_lines - 2, num_lines - 1]
    for attempt, instant in enumerate(instants):
        with subprocess.Popen(
            [*command, str(tmp_path / "killed"), "1"], stdout=subprocess.PIPE, env=environment
        ) as process:
            assert process.stdout is not None
            for _ in range(instant):
                process.stdout.readline()
            time.sleep(0.004 * attempt)
            process.send_signal(signal.SIGKILL)
        assert process.wait() != 0, f"finished before instant {instant} of {num_lines}"
    last = subprocess.run([*command, str(tmp_path / "killed"), "1"], capture_output=True, env=environment, check=False)
    assert last.returncode == 0, last.stderr.decode()
    assert content(tmp_path / "killed") == expected
    assert not list(tmp_path.glob(".*.work"))


@pytest.mark.usefixtures("many_parts")
def test_a_part_that_was_damaged_is_made_again(
    corpus: Path, made: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("motherlode.data.prepare.write_card", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(corpus, modality="text", out=tmp_path / "d", workers=1, max_bytes=1 << 20)
    for path in sorted((tmp_path / ".d.work" / "parts").glob("*.arrow"))[:2]:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)
    shard = next((tmp_path / ".d.work" / "dataset" / "train").iterdir())
    shard.write_bytes(shard.read_bytes()[:-9])
    again = prepare(corpus, modality="text", out=tmp_path / "d", workers=1, max_bytes=1 << 20)
    assert again.id == made.id


def test_a_partition_of_nothing_is_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "PARTITION_BYTES", 500)
    texts = [text.replace("\n", " ") for _, text in zip(range(12), (text for _, text in passages()))]
    (tmp_path / "a.txt").write_text("\n" * 3000 + "\n".join(texts) + "\n" * 3000)
    made = prepare(tmp_path / "a.txt", modality="text", document="line", out=tmp_path / "d", workers=1)
    assert made.summary()["in"] == 12
    (tmp_path / "b.txt").write_text("\n" * 3000)
    with pytest.raises(DatasetError, match="at least one row must be fit"):
        prepare(tmp_path / "b.txt", modality="text", document="line", out=tmp_path / "e", workers=1)


def test_poems_by_the_paragraph(tmp_path: Path) -> None:
    verses = [f"{POEM[place:]}{POEM[:place]}{chr(0x4E00 + 97 * place)}" for place in range(24)]
    (tmp_path / "poems.txt").write_text("\n\n".join(verses), encoding="utf-16")
    made = prepare(
        tmp_path / "poems.txt",
        modality="text",
        document="paragraph",
        near_duplicates="off",
        paragraphs="off",
        out=tmp_path / "d",
        workers=1,
    )
    assert sorted(row["text"] for row in made) == sorted(verses)
    assert {row["language"] for row in made} == {"zh"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"augment": "3x"}, "can be augmented"),
        ({"kind": "idx"}, "can hold it"),
        ({"document": "page"}, "document"),
        ({"columns": {"medium": "text"}}, "did you mean 'media'|roles to columns"),
    ],
)
def test_bad_options_are_one_clear_error(corpus: Path, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises((RecipeError, DatasetError, Exception), match=said):
        prepare(corpus, modality="text", out=tmp_path / "d", workers=1, **options)
    assert list(tmp_path.iterdir()) == []


def test_pictures_have_no_lines(tmp_path: Path, pets: Path) -> None:
    with pytest.raises(RecipeError, match="only files of text"):
        prepare(pets, out=tmp_path / "d", document="line")


def test_defaults_are_the_modality_s_own(corpus: Path, made: Dataset) -> None:
    assert [step["name"] for step in made.facts["steps"]].count("outliers") == 0
    options = json.loads((made.path / "prepare.json").read_text())["options"]
    assert (options["outliers"], options["label_errors"], options["max_bytes"]) == ("off", "off", 1 << 20)
    asked = parse_options(corpus, out="d", modality="text", outliers=True)
    assert asked.outliers == "drop"


def test_a_dry_run_tells_the_yield(corpus: Path) -> None:
    found = preview(parse_options(corpus, modality="text", out="nowhere", workers=1))
    assert found.num_sampled > 100
    assert "clean" in str(found)
    assert not Path("nowhere").exists()


def test_damaged_containers_are_counted(tmp_path: Path) -> None:
    texts = [text for _, text in zip(range(40), (text for _, text in passages()))]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jsonl.gz").write_bytes(gzip.compress(lines)[:-500])
    (tmp_path / "raw" / "b.parquet").write_bytes(b"PAR1 no such file")
    (tmp_path / "raw" / "c.jsonl.zst").write_bytes(b"nothing of the kind")
    (tmp_path / "raw" / "d.jsonl").write_bytes(lines)
    made = prepare(tmp_path / "raw", modality="text", out=tmp_path / "d", workers=1)
    facts = made.summary()
    assert facts["dropped"]["unreadable"] == 3
    assert facts["in"] == facts["kept"] + sum(facts["dropped"].values())
    details = [row["detail"] for row in made.split("dropped").rows() if row["reason"] == "unreadable"]
    assert all(details)


def test_dropped_bytes_become_readable_text(made: Dataset) -> None:
    for shard in made.facts["shards"]["dropped"]:
        table = pq.read_table(made.path / shard["path"])
        table.validate(full=True)
    junk = next(row for row in made.split("dropped").rows() if row["path"] == "junk.txt")
    assert "�" in junk["text"]
    assert len(junk["text"]) <= 4096
