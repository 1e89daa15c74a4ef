from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motherlode import storage
from motherlode.errors import CorruptError, LockedError, StorageError


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill_the_disk(path: Path) -> None:
    path.write_text("new")
    raise OSError(errno.ENOSPC, "full")


def test_a_written_file_appears_whole_and_leaves_no_temporary_one(tmp_path: Path) -> None:
    storage.write_json(tmp_path / "deep" / "value.json", {"b": 1, "a": [1.5, "ü"]})
    assert storage.read_json(tmp_path / "deep" / "value.json") == {"a": [1.5, "ü"], "b": 1}
    assert leftovers(tmp_path / "deep") == ["value.json"]


def test_a_failure_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "value.txt"
    storage.write_text(path, "old")
    with pytest.raises(ZeroDivisionError), storage.atomic_path(path) as temporary:
        temporary.write_text("half of the ne" * (1 // 0))
    assert path.read_text() == "old"
    assert leftovers(tmp_path) == ["value.txt"]


def test_json_refuses_what_json_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        storage.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "room"), (errno.EDQUOT, "room"), (errno.EACCES, "writable"), (errno.EIO, "accept")],
)
def test_operating_system_errors_say_how_to_mend_them(tmp_path: Path, code: int, words: str) -> None:
    with pytest.raises(StorageError, match=words) as caught, storage.atomic_path(tmp_path / "x"):
        raise OSError(code, os.strerror(code))
    assert caught.value.fix
    assert leftovers(tmp_path) == []


def test_a_path_that_is_not_there_has_the_nearest_one_named(tmp_path: Path) -> None:
    (tmp_path / "runs" / "photos" / "samples").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("x")
    assert storage.near_path(tmp_path / "runs" / "photo") == f"did you mean {str(tmp_path / 'runs' / 'photos')!r}?"
    deep = tmp_path / "rnus" / "photos" / "samples"
    assert storage.near_path(deep) == f"did you mean {str(tmp_path / 'runs' / 'photos' / 'samples')!r}?"
    assert "is there, but not xyz in it" in storage.near_path(tmp_path / "xyz" / "deeper")
    assert "is a file" in storage.near_path(tmp_path / "notes.txt" / "x")
    assert storage.near_path(tmp_path / "xyz", "make it") == "make it"
    assert storage.near_path(tmp_path) == ""


def test_a_file_that_cannot_be_read_says_why_in_words(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    for name, said in {".": "it is a folder", "latin.txt": "UTF-8", "latim.txt": "did you mean"}.items():
        try:
            (tmp_path / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = storage.why_unreadable(error, tmp_path / name)
            assert said in why
            assert "Errno" not in why


def test_a_folder_that_cannot_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    storage.check_folder(tmp_path / "new" / "deeper")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match="name of a file") as caught:
            storage.check_folder(path)
        assert caught.value.received == str(tmp_path / "file")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        with pytest.raises(StorageError, match="must be writable"):
            storage.check_folder(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_is_replaced_as_one(tmp_path: Path) -> None:
    target = tmp_path / "data"
    for text in ("one", "two"):
        with storage.atomic_folder(target) as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "file.txt").write_text(text)
            (folder / f"{text}.txt").touch()
    assert leftovers(target) == ["manifest.json", "sub", "two.txt"]
    assert leftovers(tmp_path) == ["data"]
    storage.verify_manifest(target)


def test_a_failure_inside_a_folder_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "data"
    with storage.atomic_folder(target) as folder:
        (folder / "file.txt").write_text("old")
    with pytest.raises(StorageError, match="room"), storage.atomic_folder(target) as folder:
        fill_the_disk(folder / "file.txt")
    assert (target / "file.txt").read_text() == "old"
    assert leftovers(tmp_path) == ["data"]


@settings(deadline=None)
@given(position=st.integers(0, 999), bit=st.integers(0, 7))
def test_every_flipped_bit_is_found(tmp_path_factory: pytest.TempPathFactory, position: int, bit: int) -> None:
    folder = tmp_path_factory.mktemp("bits")
    path = folder / "weights"
    data = bytearray(range(250)) * 4
    path.write_bytes(data)
    storage.write_manifest(folder)
    storage.verify_manifest(folder)
    data[position] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(CorruptError, match="weights"):
        storage.verify_manifest(folder)


def test_a_manifest_finds_missing_files_and_its_own_absence(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    storage.write_manifest(tmp_path)
    (tmp_path / "a").unlink()
    storage.verify_manifest(tmp_path, only=["b"])
    with pytest.raises(CorruptError, match="must exist"):
        storage.verify_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("[1]")
    with pytest.raises(CorruptError, match="map paths"):
        storage.verify_manifest(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(CorruptError, match="hold its manifest"):
        storage.verify_manifest(tmp_path)


def test_a_torn_last_line_is_left_out_and_any_other_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    for number in range(3):
        storage.append_line(path, {"step": number})
    whole = path.read_text()
    path.write_text(whole + '{"step": 3, "lo')
    assert [line["step"] for line in storage.read_lines(path)] == [0, 1, 2]
    path.write_text("{torn\n" + whole)
    with pytest.raises(CorruptError, match=r"lines\.jsonl:1"):
        storage.read_lines(path)
    assert storage.read_lines(tmp_path / "none.jsonl") == []


def test_read_json_names_the_file_that_is_not_json(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(CorruptError, match=r"x\.json"):
        storage.read_json(tmp_path / "x.json")


def test_a_lock_keeps_other_processes_out_and_dies_with_its_holder(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, time; from motherlode import storage\n"
        "with storage.lock(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(LockedError, match=f"process {process.pid}"), storage.lock(tmp_path):
            pass
    finally:
        process.kill()
        process.communicate()
    with storage.lock(tmp_path):
        pass


def test_hashes_of_a_file_and_of_its_bytes_agree(tmp_path: Path) -> None:
    data = os.urandom((1 << 20) + 17)
    (tmp_path / "x").write_bytes(data)
    assert storage.hash_file(tmp_path / "x") == storage.hash_bytes(data)
    assert len(storage.hash_bytes(b"")) == 32


def test_what_can_be_made_again_is_not_fsynced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    storage.write_json(tmp_path / "a.json", 1, durable=False)
    assert not synced
    storage.write_json(tmp_path / "b.json", 1)
    assert len(synced) == 2
    assert storage.read_json(tmp_path / "a.json") == storage.read_json(tmp_path / "b.json") == 1


def test_open_uri_reads_files_and_urls(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    for uri in (str(tmp_path / "x"), f"file://{tmp_path / 'x'}"):
        with storage.open_uri(uri) as file:
            assert file.read() == b"abc"


def test_where_what_can_be_made_again_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MOTHERLODE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert storage.cache_folder() == tmp_path / "motherlode"
    monkeypatch.setenv("MOTHERLODE_CACHE", str(tmp_path / "own"))
    assert storage.cache_folder() == tmp_path / "own"


def test_arrays_are_made_once_and_again_where_the_file_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTHERLODE_CACHE", str(tmp_path))
    made = []

    def make() -> dict[str, Any]:
        made.append(None)
        return {"a": np.arange(5), "b": np.ones((2, 3), np.float32)}

    for damage in (b"", None, b"PK", None):
        if damage is not None:
            (tmp_path / "table.npz").write_bytes(damage)
        found = storage.cached_arrays("table", make)
        assert {name: array.tolist() for name, array in found.items()} == {"a": [0, 1, 2, 3, 4], "b": [[1.0] * 3] * 2}
    assert len(made) == 2
    monkeypatch.setenv("MOTHERLODE_CACHE", "/proc/no/such/folder")
    assert storage.cached_arrays("table", make)["a"].tolist() == [0, 1, 2, 3, 4]
