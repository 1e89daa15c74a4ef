from __future__ import annotations

import csv
import gzip
import io
import json
import os
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from motherlode import registry
from motherlode.data import source as sources
from motherlode.data.advice import advise
from motherlode.data.raw import Job, Row
from motherlode.data.readers import read
from motherlode.data.source import Partition, SourceLike, SourceOptions, plan
from motherlode.errors import SourceError

from .conftest import FASHION, picture, pixels

IMAGE = registry.find("modality", "image")


def partitions(source: SourceLike, **options: Any) -> list[Partition]:
    return list(plan(source, IMAGE.suffixes, SourceOptions(**options)).partitions)


def rows(source: SourceLike, max_bytes: int = 1 << 20, **options: Any) -> list[Row]:
    found = partitions(source, **options)
    return [row for partition in found for chunk in read(Job(partition, IMAGE, max_bytes)) for row in chunk]


def images(folder: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(seed))


def test_folders_name_labels(tmp_path: Path) -> None:
    images(tmp_path, "cat/a.png", "cat/deep/b.PNG", "dog/c.jpg", "train/owl/d.png", "loose.png", "cat/noending")
    found = {row.uri: row.label for row in rows(tmp_path)}
    assert found == {
        "loose.png": None,
        "cat/a.png": "cat",
        "cat/noending": "cat",
        "cat/deep/b.PNG": "cat",
        "dog/c.jpg": "dog",
        "train/owl/d.png": "owl",
    }
    assert {row.uri: row.label for row in rows(tmp_path, labels="parent")}["cat/deep/b.PNG"] == "deep"
    assert {row.label for row in rows(tmp_path, labels="none")} == {None}


def test_datasets_and_runs_in_a_source_are_no_samples(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "set/card/sheet.png", "runs/one/samples/step-1.png", "two/run/b.png")
    for name in ("set/dataset.json", "set/croissant.json", "set/manifest.json", "two/run/run.json"):
        (tmp_path / name).write_text("{}")
    for name in ("runs/one/run.json", "runs/one/recipe.yaml"):
        (tmp_path / name).write_text("{}")
    planned = plan(tmp_path, IMAGE.suffixes)
    assert [item[0] for p in planned.partitions for item in p.items] == ["a.png", "two/run/b.png"]
    assert planned.ignored == {sources.MADE: 2, ".json": 1}


def test_a_pipe_is_no_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(SourceError, match="a folder or a file"):
        rows(tmp_path / "pipe.png")


def test_an_empty_name_is_not_this_folder() -> None:
    with pytest.raises(SourceError, match="must be named"):
        rows("")


def test_captions_lie_beside_files_and_the_rest_is_counted(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "a.txt").write_text("a red hat\n")
    (tmp_path / "b.json").write_text(json.dumps({"caption": "a hat", "label": "hats", "license": "CC0"}))
    (tmp_path / "c.json").write_text("{broken")
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "README.txt").write_text("not a caption")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    planned = plan(tmp_path, IMAGE.suffixes)
    found = [r for p in planned.partitions for chunk in read(Job(p, IMAGE, 1 << 20)) for r in chunk]
    assert [(r.caption, r.label, r.licence) for r in found] == [
        ("a red hat", None, None),
        ("a hat", "hats", "CC0"),
        (None, None, None),
    ]
    assert planned.ignored == {".db": 1, ".txt": 1}


def test_a_folder_linked_a_second_time_and_files_beside_shards_are_counted(tmp_path: Path) -> None:
    images(tmp_path, "all/a/a.png", "tars/note.docx", "tars/lone.png")
    (tmp_path / "all" / "b").symlink_to(tmp_path / "all" / "a")
    for number in range(2):
        (tmp_path / "tars" / f"{number}.tar").write_bytes(b"")
    planned = plan(tmp_path / "all", IMAGE.suffixes)
    assert [item[0] for partition in planned.partitions for item in partition.items] == ["a/a.png"]
    assert planned.ignored == {sources.LINKED_TWICE: 1}
    shards = plan(tmp_path / "tars", IMAGE.suffixes)
    assert len(list(shards.partitions)) == 2
    assert shards.ignored == {".docx": 1, ".png": 1}


def test_the_overview_of_generated_samples_is_no_sample(tmp_path: Path) -> None:
    images(tmp_path, "made/0000.png", "made/1.image.png", "made/grid.png", "made/image.png", "own/grid.png")
    for name in ("samples.jsonl", "provenance.json"):
        (tmp_path / "made" / name).write_text("{}")
    planned = plan(tmp_path, IMAGE.suffixes)
    assert [item[0] for partition in planned.partitions for item in partition.items] == [
        "made/0000.png",
        "made/1.image.png",
        "own/grid.png",
    ]
    assert planned.ignored == {sources.OVERVIEWS: 2, ".json": 1, ".jsonl": 1}


def test_files_of_no_known_kind_are_named_with_what_to_do(tmp_path: Path) -> None:
    for name in ("a.docx", "b.docx", "c.zip", "notes.txt", "d.xyz"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SourceError) as caught:
        partitions(tmp_path)
    assert "2 .docx, 1 .txt, 1 .xyz, 1 .zip" in str(caught.value.received)
    for remedy in ("unpack archives", "save documents as .pdf", "--modality text reads .txt"):
        assert remedy in caught.value.fix
    assert advise({".docx": 1, ".json": 3, ".txt": 1}) == "save documents as .pdf, .html or .txt"
    assert advise([".xyz"], is_all=True) == ""


def test_a_folder_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images(tmp_path, "a.png")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(SourceError, match="must be readable"):
        partitions(tmp_path)


def test_files_that_no_table_of_a_folder_names_are_counted(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png", "sub/c.png")
    (tmp_path / "metadata.csv").write_text("file_name,text\n./a.png,words\nsub/../sub/c.png,words\n")
    (tmp_path / "other.csv").write_text("file_name\nb.png\n")
    planned = plan(tmp_path, IMAGE.suffixes)
    assert sum(partition.num_rows for partition in planned.partitions) == 2
    assert planned.ignored == {sources.UNNAMED: 1, ".csv": 1}
    alone = plan(tmp_path / "metadata.csv", IMAGE.suffixes)
    assert sum(partition.num_rows for partition in alone.partitions) == 2
    assert not alone.ignored


def test_a_column_of_any_name_may_hold_the_paths(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    (tmp_path / "t.csv").write_text("nr,photo,caption\n1,a.png,words\n")
    (found,) = rows(tmp_path / "t.csv")
    assert (found.uri, found.caption) == ("a.png", "words")


def test_what_was_passed_over_is_told_in_few_words() -> None:
    assert sources.passed_over({}) == ""
    assert sources.passed_over({".zip": 1, ".docx": 3000, "": 2, sources.LINKED_TWICE: 1}) == (
        f"3,000 .docx, 2 without an ending, 1 .zip, {sources.LINKED_TWICE}: 1"
    )
    many = {f".{letter}": number for number, letter in enumerate("abcdefghij", start=1)}
    assert sources.passed_over(many, most=2) == "10 .j, 9 .i, 36 of 8 other endings"


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
def test_tables_of_paths(tmp_path: Path, ending: str) -> None:
    images(tmp_path, "pics/a.png", "pics/b.png")
    records = [
        {"File": "pics/a.png", "Caption": "one, with a comma", "Class": "x"},
        {"File": "pics/b.png", "Caption": "two", "Class": ""},
        {"File": "pics/missing.png", "Caption": "three", "Class": "x"},
        {"File": "", "Caption": "four", "Class": "x"},
    ]
    table = tmp_path / f"table{ending}"
    if ending == ".jsonl":
        table.write_text("\n".join(map(json.dumps, records)) + "\nnot json\n")
    else:
        with table.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.DictWriter(file, ["File", "Caption", "Class"], delimiter="\t" if ending == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(records)
    found = rows(table)
    assert [(r.caption, r.label, r.reason) for r in found[:4]] == [
        ("one, with a comma", "x", None),
        ("two", None, None),
        ("three", "x", "unreadable"),
        ("four", "x", "unreadable"),
    ]
    assert [r.reason for r in found[4:]] == ["unreadable"] * (ending == ".jsonl")
    assert found[1].media == picture(1)


def test_a_table_cannot_reach_out_of_its_folder(tmp_path: Path) -> None:
    images(tmp_path, "in/a.png", "secret.png")
    os.symlink(tmp_path / "secret.png", tmp_path / "in" / "link.png")
    table = tmp_path / "in" / "t.csv"
    table.write_text(f"path\na.png\n../secret.png\n{tmp_path}/secret.png\nlink.png\nfile://{tmp_path}/secret.png\n")
    assert [r.reason for r in rows(table)] == [None, *["unreadable"] * 4]
    assert [r.reason for r in rows(table, trust_paths=True)] == [None] * 5


def test_named_columns_win(tmp_path: Path) -> None:
    images(tmp_path, "a.png")
    (tmp_path / "t.csv").write_text("path,where,label,kind\nwrong.png,a.png,no,yes\n")
    (found,) = rows(tmp_path / "t.csv", columns={"media": "where", "label": "kind"})
    assert (found.reason, found.label) == (None, "yes")
    assert rows(tmp_path / "t.csv", columns={"media": "where", "label": ""})[0].label is None
    with pytest.raises(SourceError, match="did you mean 'where'"):
        partitions(tmp_path / "t.csv", columns={"media": "were"})


def table_of(count: int, kind: str) -> pa.Table:
    media = [picture(seed) for seed in range(count)]
    if kind == "bytes":
        return pa.table({"img": media, "label": [f"l{i % 3}" for i in range(count)], "text": ["t"] * count})
    structs = [{"bytes": item, "path": f"p{i}.png"} for i, item in enumerate(media)]
    features = {"picture": {"_type": "Image"}, "y": {"_type": "ClassLabel", "names": ["l0", "l1", "l2"]}}
    schema = pa.schema(
        [("picture", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("y", pa.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    return pa.table({"picture": structs, "y": [i % 3 for i in range(count)]}, schema=schema)


def test_chunks_are_smaller_than_partitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import motherlode.data.readers as readers

    pq.write_table(table_of(20, "bytes"), tmp_path / "t.parquet")
    (partition,) = partitions(tmp_path)
    monkeypatch.setattr(readers, "CHUNK_ROWS", 6)
    assert [len(chunk) for chunk in read(Job(partition, IMAGE, 1 << 20))] == [6, 6, 6, 2]
    monkeypatch.setattr(readers, "CHUNK_BYTES", 1)
    assert [len(chunk) for chunk in read(Job(partition, IMAGE, 1 << 20))] == [1] * 20


@pytest.mark.parametrize("kind", ["bytes", "struct"])
def test_parquet(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import motherlode.data.containers as containers

    monkeypatch.setattr(containers, "PARTITION_ROWS", 7)
    columns = {"label": "y"} if kind == "struct" else {}
    pq.write_table(table_of(40, kind), tmp_path / "t.parquet", row_group_size=25)
    found = rows(tmp_path / "t.parquet", columns=columns)
    assert [r.media for r in found] == [picture(seed) for seed in range(40)]
    assert [r.label for r in found] == [f"l{i % 3}" for i in range(40)]
    assert [p.num_rows for p in partitions(tmp_path, columns=columns)] == [7, 7, 7, 4 + 7, 7, 1]


def test_a_parquet_of_paths_is_read_whatever_their_column_is_called(tmp_path: Path) -> None:
    images(tmp_path, "pictures/a.png", "pictures/b.png")
    table = pa.table({"caption": ["a red hat", "a bag"], "photo": ["pictures/a.png", "pictures/b.png"]})
    pq.write_table(table, tmp_path / "t.parquet")
    assert [(row.media, row.caption) for row in rows(tmp_path / "t.parquet")] == [
        (picture(0), "a red hat"),
        (picture(1), "a bag"),
    ]


def test_parquet_damage_is_counted_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = table_of(30, "bytes")
    pq.write_table(table, path, row_group_size=10, compression="none", use_dictionary=False)
    offset = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[offset : offset + 40] = b"\xff" * 40
    path.write_bytes(data)
    found = rows(path)
    assert len(found) == 30
    assert [r.reason for r in found] == [None] * 10 + ["unreadable"] * 10 + [None] * 10
    (tmp_path / "t.parquet").write_bytes(data[: len(data) // 2])
    assert [r.reason for r in rows(path)] == ["unreadable"]


def test_a_hugging_face_folder(tmp_path: Path) -> None:
    table = table_of(12, "struct").rename_columns(["picture", "label"])
    metadata = json.dumps(
        {
            "info": {
                "features": {"picture": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["a", "b", "c"]}}
            }
        }
    )
    table = table.replace_schema_metadata({"huggingface": metadata})
    (tmp_path / "train").mkdir()
    with pa.ipc.new_stream(tmp_path / "train" / "data-00000-of-00001.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=5)
    (tmp_path / "train" / "state.json").write_text("{}")
    (tmp_path / "dataset_dict.json").write_text("{}")
    found = rows(tmp_path)
    assert [r.media for r in found] == [picture(seed) for seed in range(12)]
    assert [r.label for r in found][:4] == ["a", "b", "c", "a"]


def write_tar(path: Path, members: list[tuple[str, bytes | None]], mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            if data is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            info.size = len(data or b"")
            archive.addfile(info, io.BytesIO(data) if data is not None else None)


@pytest.mark.parametrize(("name", "mode"), [("s.tar", "w"), ("s.tar.gz", "w:gz")])
def test_webdataset_shards(tmp_path: Path, name: str, mode: str) -> None:
    write_tar(
        tmp_path / name,
        [
            ("0001.cls", b"3"),
            ("0001.png", picture(1)),
            ("0001.txt", b"caption one"),
            ("/abs/0002.jpg", picture(2, "JPEG")),
            ("/abs/0002.json", b'{"caption": "two", "label": 7}'),
            ("../0003.png", picture(3)),
            ("0004.png", None),
            ("0005.txt", b"no picture"),
        ],
        mode,
    )
    found = rows(tmp_path / name)
    assert [(r.uri, r.label, r.caption, r.reason) for r in found] == [
        ("0001.png", "3", "caption one", None),
        ("/abs/0002.jpg", "7", "two", None),
        ("../0003.png", None, None, None),
        ("0004.png", None, None, "unreadable"),
    ]


def test_a_torn_tar_gives_what_it_holds(tmp_path: Path) -> None:
    write_tar(tmp_path / "s.tar.gz", [(f"{i}.png", os.urandom(5000)) for i in range(20)], "w:gz")
    data = (tmp_path / "s.tar.gz").read_bytes()
    (tmp_path / "s.tar.gz").write_bytes(data[: len(data) // 2])
    found = rows(tmp_path)
    assert 5 < len(found) < 15
    assert [r.reason for r in found[-1:]] == ["unreadable"]
    assert all(r.reason is None for r in found[:-1])


def write_idx(path: Path, array: np.ndarray[Any, np.dtype[np.uint8]], cut: int = 0) -> None:
    data = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
    data = data[: len(data) - cut]
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_pairs(tmp_path: Path, ending: str) -> None:
    samples = np.stack([pixels(seed, 28, 1)[..., 0] for seed in range(9)])
    write_idx(tmp_path / f"train-images-idx3-ubyte{ending}", samples, cut=2 * 28 * 28)
    write_idx(tmp_path / f"train-labels-idx1-ubyte{ending}", np.arange(9, dtype=np.uint8) % 3)
    for source in (tmp_path, tmp_path / f"train-images-idx3-ubyte{ending}"):
        found = rows(source)
        assert [r.label for r in found] == [str(i % 3) for i in range(9)]
        assert [r.reason for r in found] == [None] * 7 + ["unreadable"] * 2
        decoded = IMAGE.decode(found[4].media, IMAGE.spec({}, resolution=28, channels=1))
        assert np.array_equal(decoded[0], samples[4])


@pytest.fixture
def memory() -> Iterator[Any]:
    filesystem = fsspec.filesystem("memory")
    yield filesystem
    filesystem.store.clear()


def test_urls_and_globs(tmp_path: Path, memory: Any) -> None:
    for seed, name in enumerate(["/bucket/cat/a.png", "/bucket/cat/a.txt", "/bucket/dog/b.png"]):
        memory.pipe(name, b"hello" if name.endswith("txt") else picture(seed))
    found = rows("memory://bucket")
    assert [(r.uri, r.label, r.caption) for r in found] == [("cat/a.png", "cat", "hello"), ("dog/b.png", "dog", None)]
    assert [r.uri for r in rows("memory://bucket/dog/*.png")] == ["b.png"]
    buffer = io.BytesIO()
    pq.write_table(table_of(5, "bytes"), buffer)
    memory.pipe("/bucket2/t.parquet", buffer.getvalue())
    assert len(rows("memory://bucket2/t.parquet")) == 5
    images(tmp_path, "x/a.png", "x/b.jpg", "y/c.png")
    assert [r.uri for r in rows(f"{tmp_path}/*/*.png")] == ["x/a.png", "y/c.png"]
    assert len(rows(f"file://{tmp_path}")) == 3
    with pytest.raises(SourceError, match="must exist"):
        partitions("memory://nowhere")
    with pytest.raises(SourceError, match="fsspec can open"):
        partitions("nosuch://bucket/x")


def test_several_sources_keep_their_names(tmp_path: Path) -> None:
    images(tmp_path, "one/cat/a.png", "two/dog/b.png")
    for source in ({"first": tmp_path / "one", "second": FASHION}, [f"first={tmp_path}/one", f"second={FASHION}"]):
        assert [p.source for p in partitions(source)] == ["first", "second"]
    assert [p.source for p in partitions([tmp_path / "one", tmp_path / "one"])] == ["one", "one-2"]


def test_hostile_folders(tmp_path: Path, is_root: bool) -> None:
    images(tmp_path, "a/one.png", "a/two.png")
    os.symlink(tmp_path, tmp_path / "a" / "loop")
    os.symlink(tmp_path / "gone.png", tmp_path / "a" / "dangling.png")
    os.mkfifo(tmp_path / "a" / "pipe.png")
    (tmp_path / "a" / "large.png").write_bytes(b"\0" * 5000)
    (tmp_path / "a" / "denied.png").write_bytes(picture(9))
    (tmp_path / "a" / "denied.png").chmod(0)
    found = {r.uri: (r.reason, len(r.media)) for r in rows(tmp_path, max_bytes=4500)}
    denied = found.pop("a/denied.png")
    assert denied[0] == (None if is_root else "unreadable")
    assert found == {
        "a/one.png": (None, len(picture(0))),
        "a/two.png": (None, len(picture(1))),
        "a/dangling.png": ("unreadable", 0),
        "a/pipe.png": ("unreadable", 0),
        "a/large.png": ("too_large", 4096),
    }


def test_a_file_that_vanishes_is_a_row_not_a_crash(tmp_path: Path) -> None:
    images(tmp_path, "a.png", "b.png")
    (found,) = partitions(tmp_path)
    (tmp_path / "a.png").unlink()
    assert [r.reason for chunk in read(Job(found, IMAGE, 1 << 20)) for r in chunk] == ["unreadable", None]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: p / "nowhere", "must exist"),
        (lambda p: p / "empty", "must hold files"),
        (lambda p: p / "odd", "of a kind we read"),
        (lambda p: f"{p}/odd/*.png", "must match files"),
        (lambda _: [], "at least one source"),
        (lambda p: p / "notes.csv", "must have a column of paths"),
        (lambda p: p / "plain.parquet", "column of media bytes"),
    ],
)
def test_one_clear_error(tmp_path: Path, make: Any, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "a.xyz").write_bytes(b"?")
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "plain.parquet")
    with pytest.raises(SourceError, match=said) as error:
        partitions(make(tmp_path))
    assert error.value.fix


def test_a_near_name_is_offered(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(SourceError, match=r"did you mean '.*photos'"):
        partitions(tmp_path / "photo")


def test_partitions_are_bounded_and_hold_names_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PARTITION_ROWS", 4)
    images(tmp_path, *(f"{i:02d}.png" for i in range(10)))
    found = partitions(tmp_path)
    assert [p.num_rows for p in found] == [4, 4, 2]
    assert all(
        Partition(**json.loads(json.dumps(p.as_dict()))).as_dict() == json.loads(json.dumps(p.as_dict())) for p in found
    )
    assert all(b"PNG" not in json.dumps(p.as_dict()).encode() for p in found)
