from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import zstandard

from motherlode.data import documents, spans
from motherlode.data.raw import Job, Row
from motherlode.data.readers import read
from motherlode.data.source import TEXTLESS, Partition, Planned, SourceLike, SourceOptions, plan
from motherlode.errors import SourceError

SUFFIXES = frozenset({".txt", ".md", ".html", ".py"})
TEXT: Any = SimpleNamespace(suffixes=SUFFIXES)


def planned(source: SourceLike, **options: Any) -> Planned:
    return plan(source, SUFFIXES, SourceOptions(is_text=True, **options))


def rows_of(partitions: list[Partition], max_bytes: int = 1 << 20) -> list[Row]:
    return [row for partition in partitions for chunk in read(Job(partition, TEXT, max_bytes)) for row in chunk]


def rows(source: SourceLike, max_bytes: int = 1 << 20, **options: Any) -> list[Row]:
    return rows_of(list(planned(source, max_bytes=max_bytes, **options).partitions), max_bytes)


def texts(source: SourceLike, **options: Any) -> list[str]:
    return [row.media.decode() for row in rows(source, **options)]


@pytest.fixture
def small_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are cut every 1,000 bytes and read in blocks of 97."""
    monkeypatch.setattr(documents, "PARTITION_BYTES", 1000)
    monkeypatch.setattr(spans, "BLOCK_BYTES", 97)
    monkeypatch.setattr(spans, "_PROBE_BYTES", 31)


def test_a_folder_gives_each_file_as_a_document(tmp_path: Path) -> None:
    for name, text in {"a.txt": "one", "deep/b.md": "two", "deep/c.py": "three", "NOTES": "four"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress(b"\xef\xbb\xbffive"))
    (tmp_path / "picture.png").write_bytes(b"x")
    found = planned(tmp_path)
    got = {row.uri: row.media.decode() for row in rows_of(list(found.partitions))}
    assert got == {"a.txt": "one", "deep/b.md": "two", "deep/c.py": "three", "NOTES": "four", "d.txt.gz": "five"}
    assert found.ignored == {".png": 1}
    assert {row.label for row in rows(tmp_path)} == {None}
    assert {row.label for row in rows(tmp_path, labels="top")} == {None, "deep"}


def test_a_folder_of_many_kinds_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("plain")
    (tmp_path / "b.jsonl").write_text('{"text": "line"}\n')
    (tmp_path / "c.csv").write_text("content\ncell\n")
    pq.write_table(pa.table({"text": ["row"]}), tmp_path / "d.parquet")
    (tmp_path / "README.md").write_text("about the tables")
    (tmp_path / "state.json").write_text("{}")
    found = planned(tmp_path)
    assert sorted(row.media.decode() for row in rows_of(list(found.partitions))) == ["cell", "line", "plain", "row"]
    assert found.ignored == {".md": 1, ".json": 1}
    assert texts(tmp_path, kind="table") == ["line", "cell"]


def test_a_file_that_the_user_names_is_text(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_text("a\nb\n")
    assert texts(tmp_path / "server.log", document="line") == ["a", "b"]
    assert texts(str(tmp_path / "*.log")) == ["a\nb\n"]


@pytest.mark.parametrize("document", ["line", "paragraph"])
def test_one_file_of_many_documents(tmp_path: Path, document: str) -> None:
    poems = "床前明月光\n疑是地上霜\n\n \t\n举头望明月\r\n低头思故乡\r\n\r\n\nthe last"
    (tmp_path / "poems.txt").write_bytes(b"\xef\xbb\xbf" + poems.encode())
    expected = {
        "line": ["床前明月光", "疑是地上霜", "举头望明月", "低头思故乡", "the last"],
        "paragraph": ["床前明月光\n疑是地上霜", "举头望明月\r\n低头思故乡", "the last"],
    }
    found = rows(tmp_path / "poems.txt", document=document)
    assert [row.media.decode() for row in found] == expected[document]
    whole = (tmp_path / "poems.txt").read_bytes()
    for row in found[1:]:
        assert whole[int(row.uri.partition("#byte=")[2]) :].lstrip(b"\r\n").startswith(row.media)
    (tmp_path / "wide.txt").write_bytes(poems.encode("utf-16"))
    assert texts(tmp_path / "wide.txt", document=document) == expected[document]
    (tmp_path / "page.html").write_text("<p>a\n\nb")
    assert texts(tmp_path / "page.html", document=document) == ["<p>a\n\nb"]


def write_jsonl(path: Path, values: list[Any]) -> None:
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values))


@pytest.mark.usefixtures("small_cuts")
@pytest.mark.parametrize("kind", ["json", "csv", "line", "paragraph"])
def test_ranges_of_a_file_hold_each_record_once(tmp_path: Path, kind: str) -> None:
    bodies = [f"document {i} " + 'x"\n,é中' * (i % 37) for i in range(400)]
    path = tmp_path / f"many.{kind}"
    if kind == "json":
        path = tmp_path / "many.jsonl"
        write_jsonl(path, [{"text": body} for body in bodies])
    elif kind == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([["n", "text"], *([str(i), body] for i, body in enumerate(bodies))])
    else:
        bodies = [body.replace("\n", " ").rstrip() for body in bodies]
        path = tmp_path / "many.txt"
        path.write_text(("\n" if kind == "line" else "\n\n").join(bodies))
    partitions = list(planned(path, document=kind if kind in ("line", "paragraph") else "file").partitions)
    ranges = [item for partition in partitions for item in partition.items]
    assert len(ranges) > 20
    assert [row.media.decode() for row in rows_of(partitions)] == bodies


@pytest.mark.parametrize(
    ("ending", "pack"),
    [
        (".gz", gzip.compress),
        (".zst", zstandard.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
    ],
)
def test_compressed_tables_and_their_damage(tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]) -> None:
    lines = "".join(json.dumps({"text": f"document {i}", "n": os.urandom(8).hex()}) + "\n" for i in range(20_000))
    (tmp_path / f"a.jsonl{ending}").write_bytes(pack(lines.encode()))
    assert texts(tmp_path / f"a.jsonl{ending}") == [f"document {i}" for i in range(20_000)]
    # Two compressed streams in one file are one file.
    (tmp_path / f"a.jsonl{ending}").write_bytes(pack(lines.encode()) + pack(b'{"text": "more"}\n'))
    assert texts(tmp_path / f"a.jsonl{ending}")[-1] == "more"
    table = "text\n" + "".join(f'"a ""row"",\n{i}"\n' for i in range(50))
    (tmp_path / f"b.csv{ending}").write_bytes(pack(table.encode()))
    assert texts(tmp_path / f"b.csv{ending}") == [f'a "row",\n{i}' for i in range(50)]
    (tmp_path / f"a.jsonl{ending}").write_bytes(pack(lines.encode())[:-40])
    *whole, last = rows(tmp_path / f"a.jsonl{ending}")
    assert last.reason == "unreadable"
    assert all(row.reason is None for row in whole)
    # What lies before the damage is there, but for less than a block of the compressor.
    assert len(whole) > 10_000
    (tmp_path / f"a.jsonl{ending}").write_bytes(b"no such format" * 100)
    (only,) = rows(tmp_path / f"a.jsonl{ending}")
    assert only.reason == "unreadable"


def test_dirty_json_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "dirty.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf"
        b'{"title": "T", "text": "good", "label": 3, "url": "http://x/1", "license": "CC0"}\n'
        b"\n   \n"
        b"not json\n"
        b'["a list"]\n'
        b'{"text": "caf\xe9"}\n'
        b'{"text": "\\ud800 lone surrogate"}\n'
        b'{"text": null}\n'
        b'{"other": 1}\n'
        b'{"text": ["first", "second"]}\n'
        b'{"text": {"a": 1}}\n'
        b'{"text": "not a number", "score": NaN}\n'
        b'{"text": "nul \\u0000 here"}\n'
        b'{"text": "%b"}\n'
        b'{"text": "torn' % (b"x" * 3000)
    )
    found = rows(path, max_bytes=2000)
    assert [(row.media.decode("utf-8", "replace")[:15], row.reason) for row in found] == [
        ("good", None),
        ("not json\n", "undecodable"),
        ('["a list"]\n', "undecodable"),
        ('{"text": "caf�"', "undecodable"),
        ("? lone surrogat", None),
        ("", None),
        ("", None),
        ("first\nsecond", None),
        ('{"text": {"a": ', "undecodable"),
        ("not a number", None),
        ("nul \x00 here", None),
        ('{"text": "xxxxx', "too_large"),
        ('{"text": "torn', "undecodable"),
    ]
    assert found[0][:1] + found[0][2:5] == ("http://x/1", "3", "T", "CC0")
    assert found[3].uri == f"dirty.jsonl#byte={path.read_bytes().index(b'caf') - 10}"
    assert found[-2].detail == "3013 bytes"


def test_csv_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        b'\xef\xbb\xbfid,"text",label\r\n'
        b'1,"He said ""no"",\nand left",x\r\n'
        b"2,caf\xe9,y\r\n"
        b'3,5" disk,\r\n'
        b"\r\n"
        b"4\r\n"
        b"5,lone\rreturn,x\r\n"
        b"6,nul \x00 here,x\r\n"
        b'7,"' + b"y" * 200_000 + b'",x\r\n'
        b'8,"never closed\r\n9,swallowed,x\r\n'
    )
    found = rows(path)
    assert [(row.media[:30], row.label, row.reason) for row in found] == [
        (b'He said "no",\nand left', "x", None),
        (b"caf\xe9", "y", None),
        (b'5" disk', None, None),
        (b"4\r\n", None, "undecodable"),
        (b"5,lone\rreturn,x\r\n", None, "undecodable"),
        (b"nul \x00 here", "x", None),
        (b"y" * 30, "x", None),
        (b"never closed\r\n9,swallowed,x", None, None),
    ]
    found = rows(path, max_bytes=1000)
    assert [(row.reason, len(row.media)) for row in found[6:7]] == [("too_large", 4096)]
    (tmp_path / "semi.csv").write_text("titel;text\nA;eins, zwei\n")
    assert [(row.caption, row.media) for row in rows(tmp_path / "semi.csv")] == [(None, b"eins, zwei")]
    (tmp_path / "t.tsv").write_text("title\ttext\nA\teins\n")
    assert [(row.caption, row.media) for row in rows(tmp_path / "t.tsv")] == [("A", b"eins")]
    (tmp_path / "wide.csv").write_bytes("title,text\nA,é中\n".encode("utf-16"))
    assert texts(tmp_path / "wide.csv") == ["é中"]


@pytest.mark.usefixtures("small_cuts")
def test_a_stray_quote_does_not_swallow_the_rest_of_a_csv(tmp_path: Path) -> None:
    lines = [f"{i},plain text {i}" for i in range(2000)]
    lines[10] = '10,"stray quote'
    (tmp_path / "a.csv").write_text("id,text\n" + "\n".join(lines) + "\n")
    found = rows(tmp_path / "a.csv", max_bytes=6000)
    assert [row.reason for row in found if row.reason] == ["too_large"]
    assert len(found) > 1600
    assert found[-1].media == b"plain text 1999"


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary", "binary", "list"])
def test_parquet_and_arrow_cells_are_documents(tmp_path: Path, kind: str) -> None:
    values: list[Any] = [f"text {i}" for i in range(700)]
    values[3] = None
    column = pa.array(values)
    if kind == "dictionary":
        column = column.dictionary_encode()
    elif kind == "list":
        column = pa.array([None if value is None else value.split() for value in values])
    else:
        column = column.cast({"string": pa.string(), "large_string": pa.large_string(), "binary": pa.binary()}[kind])
    table = pa.table({"id": [str(i) for i in range(700)], "content": column, "title": ["t"] * 700})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=300)
    with pa.ipc.new_stream(str(tmp_path / "b.arrow"), table.schema) as sink:
        sink.write_table(table, max_chunksize=256)
    expected = ["" if value is None else value.replace(" ", "\n") if kind == "list" else value for value in values]
    for name in ("a.parquet", "b.arrow"):
        found = rows(tmp_path / name)
        assert [row.media.decode() for row in found] == expected
        assert {row.caption for row in found} == {"t"}
        assert len({row.uri for row in found}) == 700
    assert rows(tmp_path / "a.parquet")[650].uri == "a.parquet#group=2,row=50"


def test_a_large_group_of_rows_is_shared_by_a_few_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from motherlode.data import containers

    pq.write_table(pa.table({"text": [f"text {i}" for i in range(1000)]}), tmp_path / "a.parquet")
    monkeypatch.setattr(containers, "PARTITION_BYTES", 64)
    partitions = list(planned(tmp_path / "a.parquet").partitions)
    assert len(partitions) == 4
    assert [row.media.decode() for row in rows_of(partitions)] == [f"text {i}" for i in range(1000)]


def test_parquet_damage_and_long_cells(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["short", "x" * 5000]}), tmp_path / "a.parquet")
    assert [(row.reason, len(row.media)) for row in rows(tmp_path / "a.parquet", max_bytes=100)] == [
        (None, 5),
        ("too_large", 4096),
    ]
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no such file PAR1")
    assert [row.reason for row in rows(tmp_path / "a.parquet")] == ["unreadable"]


def test_which_column_is_the_text(tmp_path: Path) -> None:
    def of(names: dict[str, Any], **options: Any) -> tuple[str, str | None, str | None]:
        write_jsonl(tmp_path / "t.jsonl", [names])
        (row,) = rows(tmp_path / "t.jsonl", **options)
        return row.media.decode(), row.caption, row.label

    assert of({"title": "T", "text": "words", "category": "c"}) == ("words", "T", "c")
    assert of({"id": "7", "quote": "words", "lang": "en"}) == ("words", None, None)
    assert of({"prompt": "P", "completion": "words"}) == ("words", "P", None)
    assert of({"a": "no", "b": "words"}, columns={"media": "b"}) == ("words", None, None)
    assert of({"text": "words", "title": "T"}, columns={"caption": ""}) == ("words", None, None)
    with pytest.raises(SourceError, match="column of text"):
        of({"a": "which", "b": "one"})
    with pytest.raises(SourceError, match="did you mean 'text'"):
        of({"text": "words"}, columns={"media": "texts"})


def test_a_table_may_name_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("from a file")
    (tmp_path / "t.csv").write_text("file_name,x,y\na.txt,1,2\n../secret.txt,1,2\n")
    found = rows(tmp_path / "t.csv")
    assert [(row.media, row.reason) for row in found] == [(b"from a file", None), (b"", "unreadable")]


def test_tables_of_numbers_among_documents_are_counted_not_fatal(tmp_path: Path) -> None:
    (tmp_path / "numbers.csv").write_text("a,b\n1,2\n")
    (tmp_path / "numbers.jsonl").write_text("1\n2\n")
    (tmp_path / "README.md").write_text("about the tables")
    with pytest.raises(SourceError):  # what only describes tables is no document
        rows(tmp_path)
    (tmp_path / "a.txt").write_text("a document")
    found = planned(tmp_path)
    assert [item[0] for partition in found.partitions for item in partition.items] == ["a.txt"]
    assert found.ignored == {TEXTLESS: 2, ".md": 1}


@pytest.mark.parametrize("write", [pq.write_table, feather.write_feather])
def test_odd_binary_tables_among_documents_are_counted_not_fatal(tmp_path: Path, write: Any) -> None:
    for number in range(3):
        (tmp_path / f"page-{number}.txt").write_text(f"The {number} words of a page.")
    odd = {
        "numbers": pa.table({"x": [1, 2]}),
        "unnamed": pa.table({"a": ["words"], "b": ["words"]}),
        "none": pa.table({}),
        "nested": pa.table({"text": [{"a": "words"}]}),
        "deep": pa.table({"text": [[["words"]]]}),
        "whole": pa.table({"text": [1, 2]}),
    }
    ending = "parquet" if write is pq.write_table else "arrow"
    for name, table in odd.items():
        write(table, str(tmp_path / f"{name}.{ending}"))
    found = planned(tmp_path)
    reasons = Counter(row.reason for row in rows_of(list(found.partitions)))
    assert found.ignored == {TEXTLESS: 3}
    assert reasons == {None: 3, "undecodable": 4}


def test_files_larger_than_the_limit_are_not_held(tmp_path: Path) -> None:
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.write(b"first\n")
        file.truncate(1 << 27)
        file.seek(1 << 27)
        file.write(b"\nlast\n")
    import tracemalloc

    tracemalloc.start()
    found = rows(path, document="line", max_bytes=1 << 20)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [(row.media[:5], row.reason) for row in found] == [
        (b"first", None),
        (bytes(5), "too_large"),
        (b"last", None),
    ]
    assert found[1].detail == f"{(1 << 27) - 5} bytes"
    assert peak_bytes < 40 << 20
    (whole,) = rows(path)
    assert (whole.reason, len(whole.media)) == ("too_large", 4096)


def test_a_hugging_face_folder(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    values = {"text": ["one", "two"], "label": [0, 1]}
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    datasets.Dataset.from_dict(values, features=features).save_to_disk(str(tmp_path / "d"))
    assert [(row.media, row.label) for row in rows(tmp_path / "d")] == [(b"one", "no"), (b"two", "yes")]


def test_texts_in_a_tar(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, data in {"0.txt": b"words", "0.cls": b"7", "1.md": b"more"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    assert [(row.media, row.label) for row in rows(tmp_path / "a.tar")] == [(b"words", "7"), (b"more", None)]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: (p / "a.png").write_bytes(b"x"), "of a kind we read"),
        (lambda p: (p / ".hidden.txt").write_bytes(b"x"), "must hold files"),
        (lambda p: (p / "a.jsonl").write_text("no\nno\n"), "must be objects"),
        (lambda p: (p / "a.csv").write_text("a,b\n1,2\n"), "column of text"),
    ],
)
def test_one_clear_error(tmp_path: Path, make: Callable[[Path], Any], said: str) -> None:
    make(tmp_path)
    with pytest.raises(SourceError, match=said):
        rows(tmp_path)
    with pytest.raises(SourceError, match="can hold it"):
        rows(tmp_path, kind="idx")


def test_empty_files_are_counted_where_they_are_samples(tmp_path: Path) -> None:
    for name in ("a.txt", "b.jsonl", "c.csv"):
        (tmp_path / name).write_bytes(b"")
    assert [(row.uri, row.reason) for row in rows(tmp_path)] == [
        ("a.txt", None),
        ("b.jsonl", "unreadable"),
        ("c.csv", "unreadable"),
    ]
