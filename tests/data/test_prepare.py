from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from motherlode import registry, storage
from motherlode.data import prepare as module
from motherlode.data.dataset import Dataset
from motherlode.data.prepare import PrepareOptions, parse_options, prepare
from motherlode.errors import DatasetError, RecipeError, StorageError
from motherlode.modality.image import decode

from .conftest import FASHION, content, picture, write_folder


def test_a_folder_becomes_a_dataset(pets: Path, prepared: Dataset) -> None:
    assert prepared.summary() == {
        "in": 120,
        "kept": 120,
        "dropped": {},
        "augmented": 0,
        "train": len(prepared.split("train")),
        "heldout": len(prepared.split("heldout")),
    }
    assert prepared.labels == ["cat", "dog"]
    assert 8 <= len(prepared.split("heldout")) <= 16
    row = next(iter(prepared))
    original = pets / row["image"]["path"]
    assert row["image"]["bytes"] == original.read_bytes()
    assert prepared.labels[row["label"]] == original.parent.name
    assert row["id"] == storage.hash_bytes(row["image"]["bytes"])
    assert row["source"] == "pets"
    assert (row["width"], row["height"]) == (32, 32)


def test_the_same_request_is_answered_from_disk(pets: Path, tmp_path: Path) -> None:
    first = prepare(pets, out=tmp_path / "d", workers=1)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "d").rglob("*")}
    again = prepare(pets, out=tmp_path / "d", workers=2)
    assert again.id == first.id
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "d").rglob("*")} == before
    with pytest.raises(DatasetError, match="other options"):
        prepare(pets, out=tmp_path / "d", heldout=0.3)
    other = prepare(pets, out=tmp_path / "d", heldout=0.3, overwrite=True, workers=1)
    assert len(other.split("heldout")) > 25
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d"]


def test_a_changed_source_is_not_the_same_request(pets: Path, tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw", {"a": 12})
    prepare(raw, out=tmp_path / "d", workers=1)
    (raw / "a" / "more.png").write_bytes(picture(99))
    with pytest.raises(DatasetError, match="another source"):
        prepare(raw, out=tmp_path / "d")


def test_foreign_folders_are_left_alone(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(DatasetError, match="new folder or a dataset"):
        prepare(pets, out=tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def corrupt_kinds() -> dict[str, bytes]:
    """Twelve ways for a file to be bad."""
    good, jpeg = picture(500), picture(501, "JPEG", 64)
    flipped = bytearray(good)
    flipped[60] ^= 0xFF
    bomb = bytearray(good)
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    return {
        "empty.png": b"",
        "one_byte.png": b"\x89",
        "text.png": b"this is not a picture at all\n" * 40,
        "zeros.png": bytes(2000),
        "noise.jpg": np.random.default_rng(0).bytes(3000),
        "cut_png.png": good[: len(good) // 2],
        "cut_jpeg.jpg": jpeg[: len(jpeg) // 2],
        "header_only.png": good[:33],
        "flipped.png": bytes(flipped),
        "bomb.png": bytes(bomb),
        "html.jpg": b"<!doctype html><title>404 Not Found</title>",
        "cut_gif.gif": b"GIF89a\x20\x00\x20\x00\xf0\x00\x00",
    }


def test_twelve_kinds_of_corrupt_files_at_five_percent(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw", {"a": 120, "b": 120})
    bad = corrupt_kinds()
    assert len(bad) == 12
    for name, data in bad.items():
        (raw / "a" / name).write_bytes(data)
    dataset = prepare(raw, out=tmp_path / "d", workers=1)
    summary = dataset.summary()
    assert summary["in"] == 252
    assert summary["in"] == summary["kept"] + sum(summary["dropped"].values())
    dropped = {Path(row["image"]["path"]).name: row for row in dataset.split("dropped").rows()}
    assert set(dropped) == set(bad)
    for name, row in dropped.items():
        assert row["reason"], name
        assert row["step"] in ("read", "clean"), name
        assert row["label"] == "a"
        assert row["image"]["bytes"] == bad[name][:4096], name
    assert dropped["bomb.png"]["reason"] == "decompression_bomb"
    assert dropped["empty.png"]["reason"] == "empty"


def test_exact_duplicates_and_contradicting_labels(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw", {"a": 20, "b": 20})
    (raw / "a" / "copy.png").write_bytes((raw / "a" / "0003.png").read_bytes())
    (raw / "b" / "copy.png").write_bytes((raw / "a" / "0004.png").read_bytes())
    dataset = prepare(raw, out=tmp_path / "d", label_errors=False, workers=1)
    assert dataset.summary()["dropped"] == {"exact_duplicate": 2}
    by_path = {row["image"]["path"]: row for row in dataset}
    for row in dataset.split("dropped").rows():
        original = "a/0003.png" if row["label"] == "a" else "a/0004.png"
        assert row["duplicate_of"] == by_path[original]["id"]
    assert by_path["a/0004.png"]["label_suspect"]
    assert not by_path["a/0003.png"]["label_suspect"]


def test_two_labels_that_hold_the_same_pictures_are_named_and_no_label_is_suspected(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw", {"cats": 40, "dogs": 40})
    shutil.copytree(raw / "cats", raw / "kittens")
    (raw / "dogs" / "copy.png").write_bytes((raw / "cats" / "0004.png").read_bytes())
    dataset = prepare(raw, out=tmp_path / "d", label_errors="off", workers=1)
    (warning,) = [text for text in dataset.facts["warnings"] if "hold the same rows" in text]
    assert "cats and kittens" in warning
    assert "40 of the 40" in warning
    assert [row["image"]["path"] for row in dataset if row["label_suspect"]] == ["cats/0004.png"]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"": 1}, "there is one row"),
        ({"": 4}, "one row is held out"),
        ({f"l{number}": 2 for number in range(12)}, "12 labels are small, and hold out one row each"),
        ({"a": 40, **{f"l{number}": 1 for number in range(60)}}, "60 labels are small"),
        ({"a": 40, "b": 30}, None),
        ({f"l{number}": 1 for number in range(40)}, None),
    ],
)
def test_a_split_that_is_not_what_was_asked_says_why(tmp_path: Path, labels: dict[str, int], said: str | None) -> None:
    raw = write_folder(tmp_path / "raw", labels)
    dataset = prepare(raw, out=tmp_path / "d", label_errors="off", outliers="off", near_duplicates="off", workers=1)
    assert len(dataset.split("train")) >= len(dataset) / 2
    warnings = dataset.facts["warnings"]
    assert [said in text for text in warnings] == [True] if said is not None else not warnings
    assert said is None or said in (tmp_path / "d" / "card.md").read_text()


def test_look_alikes_lie_on_one_side(tmp_path: Path) -> None:
    from PIL import Image

    raw = write_folder(tmp_path / "raw", {"a": 40})
    for path in sorted((raw / "a").glob("*.png")):
        with Image.open(path) as image:
            for quality in (80, 90, 95):
                image.save(path.with_name(f"{path.stem}-{quality}.jpg"), quality=quality)
    dataset = prepare(raw, out=tmp_path / "d", near_duplicates="report", outliers=False, heldout=0.3, workers=1)
    sides: dict[str, set[str]] = {}
    sizes: dict[str, int] = {}
    for name in ("train", "heldout"):
        for row in dataset.split(name).rows():
            sides.setdefault(row["cluster"], set()).add(name)
            sizes[row["cluster"]] = sizes.get(row["cluster"], 0) + 1
    assert all(len(names) == 1 for names in sides.values())
    assert np.mean([size == 4 for size in sizes.values()]) > 0.9
    assert 0.15 < len(dataset.split("heldout")) / len(dataset) < 0.45
    thinned = prepare(raw, out=tmp_path / "e", outliers=False, workers=1)
    assert len(thinned) <= 44


def test_label_sizes(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw", {"a": 30, "b": 20, "c": 2})
    (raw / "loose.png").write_bytes(picture(900))
    dataset = prepare(raw, out=tmp_path / "d", min_label_rows=5, max_label_rows=25, workers=1)
    assert dataset.summary()["dropped"] == {"over_label_cap": 5, "rare_label": 2, "unlabelled": 1}
    assert dataset.labels == ["a", "b"]
    assert np.bincount(np.concatenate([dataset.split(s).column("label") for s in ("train", "heldout")])).tolist() == [
        25,
        20,
    ]
    assert {row["label"] for row in dataset.split("dropped").rows()} == {"a", "c", None}


def test_one_label_alone_is_none(tmp_path: Path) -> None:
    dataset = prepare(write_folder(tmp_path / "raw", {"all": 12}), out=tmp_path / "d", workers=1)
    assert dataset.labels == []
    assert set(dataset.split("train").column("label").tolist()) == {-1}


def test_altered_copies_name_their_parents(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw", {"a": 15, "b": 15})
    dataset = prepare(raw, out=tmp_path / "d", augment="3x", augment_policy=["flip", "brightness"], workers=1)
    train, held = dataset.split("train"), dataset.split("heldout")
    summary = dataset.summary()
    originals = {row["id"] for row in train.rows() if row["parent"] is None}
    copies = [row for row in train.rows() if row["parent"] is not None]
    left_out = sum(dataset.facts["augmented_left_out"].values())
    assert len(copies) == summary["augmented"] == 2 * len(originals) - left_out
    assert left_out < len(originals) / 2
    assert summary["in"] == summary["kept"] + sum(summary["dropped"].values())
    assert {row["parent"] for row in copies} <= originals
    assert {row["transformation"] for row in copies} == {"flip+brightness"}
    assert len({row["id"] for row in copies} | originals) == len(train)
    assert all(row["parent"] is None for row in held.rows())
    by_id = {row["id"]: row for row in train.rows()}
    assert all(row["label"] == by_id[row["parent"]]["label"] for row in copies)


@pytest.mark.slow
def test_no_number_of_workers_changes_a_byte(tmp_path: Path) -> None:
    one = prepare(FASHION, out=tmp_path / "one", workers=1, augment=2, augment_policy=["flip", "crop"])
    two = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(FASHION), str(tmp_path / "two"), "2"], check=True, capture_output=True
    )
    assert two.returncode == 0
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert one.id == Dataset.open(tmp_path / "two").id


SCRIPT = """
import sys
import motherlode.data.containers as containers, motherlode.data.readers as readers, motherlode.data.prepare as prepare
if __name__ == "__main__":
    prepare.ALONE_BYTES = prepare._WRITE_ALONE_BYTES = 0
    prepare.prepare(sys.argv[1], out=sys.argv[2], workers=int(sys.argv[3]), augment=2, augment_policy=["flip", "crop"])
"""

SLOW_SCRIPT = """
import sys, motherlode.data.source as source
source.PARTITION_ROWS = 5
from motherlode.data.prepare import prepare
prepare(sys.argv[1], out=sys.argv[2], workers=1, progress=lambda *facts: print(facts[0], flush=True))
"""


@pytest.mark.slow
def test_a_run_killed_at_any_instant_takes_up(pets: Path, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SLOW_SCRIPT, str(pets)]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True, env=environment)
    expected = content(tmp_path / "whole")
    out = tmp_path / "killed"
    num_lines = 3
    for attempt in range(6):
        with subprocess.Popen([*command, str(out)], stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            for _ in range(num_lines):
                process.stdout.readline()
            time.sleep(0.003 * attempt)
            process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        num_lines += 8
    subprocess.run([*command, str(out)], check=True, capture_output=True, env=environment)
    assert content(out) == expected
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed", "whole"]


def test_work_done_is_not_done_twice(pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from motherlode.data import parts, source

    monkeypatch.setattr(source, "PARTITION_ROWS", 30)

    def stop(stage: str, done: int, total: int | None, counts: Mapping[str, int]) -> None:
        if stage == "read and clean" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(pets, out=tmp_path / "d", workers=1, progress=stop)
    work = tmp_path / ".d.work"
    assert len(list((work / "parts").glob("*.arrow"))) == 3
    damaged = sorted((work / "parts").glob("*.arrow"))[1]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    written: list[Path] = []
    before = parts._write
    monkeypatch.setattr(parts, "_write", lambda path, *rest: (written.append(path), before(path, *rest))[1])
    dataset = prepare(pets, out=tmp_path / "d", workers=1)
    assert len(dataset) == 120
    assert sorted(path.name.split(".")[0] for path in written) == ["000001", "000003"]
    assert not work.exists()


def test_a_full_disk_is_one_clear_error_and_harms_nothing(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from motherlode.data import write

    prepare(pets, out=tmp_path / "d", workers=1)
    before = content(tmp_path / "d")

    def full(*_: Any) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(write, "_write", full)
        with pytest.raises(StorageError, match="must have room"):
            prepare(pets, out=tmp_path / "d", heldout=0.2, overwrite=True, workers=1)
    assert content(tmp_path / "d") == before
    assert len(prepare(pets, out=tmp_path / "d", heldout=0.2, overwrite=True, workers=1).split("heldout")) > 15


def test_nothing_fit_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for number in range(3):
        (tmp_path / "raw" / f"{number}.png").write_bytes(b"junk" * 10)
    with pytest.raises(DatasetError, match=r"unknown_format: 3; such as '0.png' \(not a file of a kind"):
        prepare(tmp_path / "raw", out=tmp_path / "sets" / "d", workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"], "no work is left that would come to the same end"


def test_names_that_are_no_text_are_escaped(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / os.fsdecode(b"caf\xe9"), {os.fsdecode(b"a\xff"): 12, "b": 12})
    (raw / "b" / os.fsdecode(b"\xfe.png")).write_bytes(picture(77))
    made = prepare(raw, out=tmp_path / "d", workers=1, label_errors="off")
    assert made.labels == ["a\\udcff", "b"]
    assert made.facts["sources"] == ["caf\\udce9"]
    assert len(made) == 25
    assert prepare(raw, out=tmp_path / "d", workers=1, label_errors="off").path == made.path


def test_a_table_that_names_no_file_that_is_there_says_which(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\n" + "\n".join(f"gone/{number}.png,a" for number in range(5)))
    with pytest.raises(DatasetError, match=r"unreadable: 5; such as 'gone/0.png' \(.*(?s:.*)relative to the table"):
        prepare(tmp_path / "t.csv", out=tmp_path / "d", workers=1)


@pytest.mark.parametrize("name", registry.names("modality"))
def test_no_sample_at_all_has_no_features(name: str) -> None:
    modality = registry.find("modality", name)
    found = modality.examine([], modality.Options())
    assert modality.features(found.thumbs_NT).shape[0] == 0


def test_what_an_extra_would_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_reads_heif", lambda: False)
    raw = write_folder(tmp_path / "raw", {"": 12})
    (raw / "phone.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(100))
    dataset = prepare(raw, out=tmp_path / "d", heldout=0.3, workers=1)
    assert dataset.summary()["dropped"] == {"no_heic_reader": 1}
    (warning,) = dataset.facts["warnings"]
    assert "pip install 'motherlode[heic]'" in warning


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"heldot": 0.1}, "did you mean `heldout`"),
        ({"heldout": 1.0}, "less than 1"),
        ({"modality": "imgae"}, "did you mean 'image'"),
        ({"clean": {"min_sied": 3}}, "did you mean `min_side`"),
        ({"augment": "0x"}, "greater than or equal to 1"),
        ({"augment": "many"}, "augment"),
        ({"kind": "zip"}, "kind"),
    ],
)
def test_bad_options(pets: Path, tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        prepare(pets, out=tmp_path / "d", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("names", "content", "fix"),
    [
        (["a.txt", "b.txt"], b"few words", "loosen `clean.min_words` in a file for --options, or look at the source"),
        (["a.txt"], b"One line of this page.\n" * 9, "loosen `clean.max_repeated_lines`"),
        (["a.png", "b.png"], b"", "fix: look at the source"),
    ],
)
def test_where_no_row_is_fit_the_threshold_is_named(tmp_path: Path, names: list[str], content: bytes, fix: str) -> None:
    (tmp_path / "s").mkdir()
    for name in names:
        (tmp_path / "s" / name).write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        prepare(tmp_path / "s", out=tmp_path / "d")
    assert fix in str(caught.value)


def test_options_read_as_people_write_them() -> None:
    options = parse_options(Path("a"), out="d", augment="3x", near_duplicates=False, label_errors=True, outliers=True)
    assert isinstance(options, PrepareOptions)
    assert (options.augment, options.near_duplicates, options.label_errors, options.outliers) == (
        3,
        "off",
        "report",
        "drop",
    )
    assert parse_options(["a", Path("b")], out="d").source == ["a", "b"]
    assert parse_options({"x": Path("b")}, out="d").source == {"x": "b"}


def test_the_modality_is_what_the_files_are(tmp_path: Path) -> None:
    (tmp_path / "book").mkdir()
    for number in range(3):
        (tmp_path / "book" / f"{number}.txt").write_text(
            f"The {number} words of a short page that stand in a book. " * 4
        )
    assert prepare(tmp_path / "book", out=tmp_path / "d", near_duplicates="off").modality == "text"


def test_steps_and_warnings_are_told(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw", {"a": 20})
    for number in range(15):
        (raw / "a" / f"bad{number}.png").write_bytes(b"junk" * number)
    seen: list[str] = []
    dataset = prepare(raw, out=tmp_path / "d", heldout=0.2, workers=1, progress=lambda stage, *_: seen.append(stage))
    names = [step["name"] for step in dataset.facts["steps"]]
    assert names[:3] == ["read", "clean", "exact duplicates"]
    for before, after in zip(dataset.facts["steps"], dataset.facts["steps"][1:]):
        assert before["kept"] == after["in"]
    (warning,) = dataset.facts["warnings"]
    assert "step clean dropped 43%" in warning
    assert {"read and clean", "near duplicates", "write", "card"} <= set(seen)


def test_files_without_a_label_are_kept_by_an_option_that_the_warning_names(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "raw", {"a": 4, "b": 4})
    for number in range(9):
        (raw / f"loose{number}.png").write_bytes(picture(900 + number))
    dataset = prepare(raw, out=tmp_path / "d", outliers=False, workers=1)
    (warning,) = dataset.facts["warnings"]
    assert "`labels: none`" in warning
    assert len(prepare(raw, out=tmp_path / "e", outliers=False, labels="none", workers=1)) == 17


def test_datasets_reads_the_feature_types(prepared: Dataset) -> None:
    schema = pq.read_schema(prepared.path / "train" / "00000.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"] == {"_type": "ClassLabel", "names": ["cat", "dog"]}
    assert set(features) == set(schema.names)
    assert {features[name]["dtype"] for name in ("brightness", "outlier")} == {"float32"}


def test_two_processes_do_not_prepare_one_dataset(pets: Path, tmp_path: Path) -> None:
    with storage.lock(tmp_path / ".d.work"), pytest.raises(StorageError, match="one process at a time"):
        prepare(pets, out=tmp_path / "d", workers=1)
    assert module.prepare(pets, out=tmp_path / "d", workers=1).summary()["in"] == 120
