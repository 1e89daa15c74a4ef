from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from motherlode.data.guess import guess
from motherlode.errors import RecipeError, SourceError

from .conftest import FASHION, picture

SPEECH = Path(__file__).parents[2] / "examples" / "data" / "spoken-digits.parquet"


def test_endings_of_files(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.md").write_text("words")
    assert guess(tmp_path) == ("text", "files end in .md")
    (tmp_path / "6.txt.gz").write_bytes(b"x")
    (tmp_path / "figure.png").write_bytes(picture(0))
    assert guess(tmp_path)[0] == "text"


def test_captions_beside_pictures_are_no_documents(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
        (tmp_path / f"{number}.txt").write_text("a caption")
    (tmp_path / "README.md").write_text("about them")
    assert guess(tmp_path) == ("image", "files end in .png")


def test_two_modalities_are_a_question(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
        (tmp_path / f"page-{number}.txt").write_text("words")
    with pytest.raises(RecipeError, match="4 image, 4 text"):
        guess(tmp_path)
    (tmp_path / "more.txt").write_text("words")
    with pytest.raises(RecipeError, match="--modality") as caught:
        guess(tmp_path)
    assert "5 text, 4 image" in str(caught.value)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"text": "words", "url": "http://x"}, "text"),
        ({"file_name": "a.png", "text": "a caption"}, "image"),
        ({"file_name": "a.txt", "n": 1, "m": 2}, "text"),
        ({"image": "img/a.png", "caption": "a caption", "label": "x"}, "image"),
        ({"image": "img/a.png", "text": "a caption"}, "image"),
        ({"photo": "img/a.JPG", "caption": "a caption"}, "image"),
        ({"wav": "a.wav", "transcript": "words"}, "audio"),
        ({"cover": "a.png", "text": "a whole book"}, "text"),
    ],
)
def test_columns_of_tables(tmp_path: Path, row: dict[str, object], expected: str | None) -> None:
    (tmp_path / "t.jsonl").write_text(json.dumps(row) + "\n")
    assert guess(tmp_path / "t.jsonl")[0] == expected
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "t.parquet")
    assert guess(tmp_path / "t.parquet")[0] == expected
    (tmp_path / "t.csv").write_text(",".join(row) + "\n" + ",".join(map(str, row.values())) + "\n")
    assert guess(tmp_path / "t.csv")[0] == expected


def test_a_table_whose_columns_tell_nothing_is_a_question_and_columns_answer_it(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": "one", "b": "words", "c": 3}\n')
    (tmp_path / "t.csv").write_text("a,b,c\none,words,3\n")
    pq.write_table(pa.table({"a": ["one"], "b": ["words"], "c": [3]}), tmp_path / "t.parquet")
    for name in ("t.jsonl", "t.csv", "t.parquet"):
        with pytest.raises(SourceError, match=r"t\.\w+ has a, b, c\n.*columns: {text: …}"):
            guess(tmp_path / name)
        assert guess(tmp_path / name, {"text": "b"})[0] == "text"
    (tmp_path / "u.csv").write_text("text,look\nwords,one.png\n")
    assert guess(tmp_path / "u.csv")[0] == "text"
    assert guess(tmp_path / "u.csv", {"media": "look"})[0] == "image"


def test_schemas_of_parquet_and_arrow(tmp_path: Path) -> None:
    assert guess(FASHION) == ("image", "a column holds image files")
    table = pa.table({"id": ["1"], "content": ["words"]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_stream(str(tmp_path / "b.arrow"), table.schema) as sink:
        sink.write_table(table)
    assert guess([tmp_path / "a.parquet", tmp_path / "b.arrow"]) == ("text", "a column holds text")
    pq.write_table(pa.table({"jpg": [picture(1)], "caption": ["a cat"]}), tmp_path / "c.parquet")
    assert guess(tmp_path / "c.parquet")[0] == "image"
    pq.write_table(pa.table({"flac": [b"fLaC"], "caption": ["a cat"]}), tmp_path / "d.parquet")
    assert guess(tmp_path / "d.parquet")[0] == "audio"
    assert guess(SPEECH) == ("audio", "a column holds audio files")


def test_what_cannot_be_read_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    (tmp_path / "b.jsonl").write_text("no\n")
    (tmp_path / "c.csv.gz").write_bytes(b"no")
    (tmp_path / "d.xyz").write_bytes(b"no")
    assert guess(tmp_path) == (None, "")
