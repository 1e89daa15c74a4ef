"""Files that are either whole or absent, and that say when they have changed.

Everything Motherlode writes goes to a temporary name on the same disk, is fsynced, and is renamed into place; a folder
is built aside and renamed as one. A manifest of hashes lies in each folder, so a flipped bit is found when it is read
and not weeks later in a figure. The price is one fsync a file (0.1-10 ms) and one hash (xxh3: 5 GB/s).
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from zipfile import BadZipFile

import xxhash

from motherlode.errors import CorruptError, LockedError, StorageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MANIFEST = "manifest.json"
_CHUNK_BYTES = 1 << 20
_MOST_NAMES = 1000
"""Names of a folder among which a misspelt one is looked for."""


def cache_folder() -> Path:
    """What can be made or fetched again: `$MOTHERLODE_CACHE`, else `motherlode` in `$XDG_CACHE_HOME` or `~/.cache`."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("MOTHERLODE_CACHE") or Path(home) / "motherlode")


def hash_bytes(data: bytes | memoryview) -> str:
    """XXH3-128 of `data` as 32 hex digits: identity and integrity, not security."""
    return xxhash.xxh3_128_hexdigest(data)


def hash_file(path: Path) -> str:
    """XXH3-128 of a file's content as 32 hex digits, read in 1 MiB pieces."""
    state = xxhash.xxh3_128()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            state.update(piece)
    return state.hexdigest()


@contextmanager
def atomic_path(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; when the block ends well, fsync it and rename it into place.

    Args:
        durable: fsync. False for what can be made again, where a power cut may tear it.

    Raises:
        StorageError: the disk is full or the folder is not writable; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if durable:
            _sync(temporary)
        os.replace(temporary, path)
        if durable:
            _sync(path.parent)
    except OSError as error:
        raise explain(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def cached_arrays(name: str, make: Callable[[], dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Arrays that are always the same, from the cache folder; made where they are not there or damaged.

    Where nothing can be written, nothing is kept.

    Args:
        name: must change with whatever `make` depends on.
        make: what takes so long.
    """
    import numpy as np

    path = cache_folder() / f"{name}.npz"
    with suppress(OSError, ValueError, KeyError, EOFError, BadZipFile), np.load(path, allow_pickle=False) as kept:
        return {key: kept[key] for key in kept.files}
    made = make()
    with suppress(StorageError, OSError), atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **made)
    return made


@contextmanager
def atomic_folder(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary folder; when the block ends well, write its manifest and rename it to `path`.

    An existing folder at `path` is replaced; a kill between the two renames leaves the old one under a
    `.old` name, which the next call removes only after the new one stands.

    Args:
        durable: fsync every file first. False for many small files that can be made again: a power cut may lose
            them, and the manifest then says so (an fsync costs 5-25 ms a file on a busy disk).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    retired = path.with_name(f".{path.name}.old")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        write_manifest(temporary, durable=durable)
        _sync(temporary)
        if path.exists():
            shutil.rmtree(retired, ignore_errors=True)
            os.replace(path, retired)
        os.replace(temporary, path)
        _sync(path.parent)
        shutil.rmtree(retired, ignore_errors=True)
    except OSError as error:
        raise explain(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Write `text` as UTF-8, atomically; half characters of odd file names as escapes, which JSON reads back."""
    with atomic_path(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """Write `value` as indented JSON with sorted keys, atomically; NaN and infinities are refused."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, durable=durable)


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        CorruptError: the file is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise CorruptError("this file must hold JSON", str(path), f"restore or delete it ({error})") from error


def append_line(path: Path, value: Any) -> None:
    """Append one JSON line and flush it to the operating system."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def read_lines(path: Path) -> list[Any]:
    """Read a JSON-lines file; a torn last line (a kill while appending) is left out."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    values = []
    for number, line in enumerate(lines):
        try:
            values.append(json.loads(line))
        except ValueError as error:
            if number + 1 < len(lines):
                raise CorruptError("every line must be JSON", f"{path}:{number + 1}", "delete that line") from error
    return values


def write_manifest(folder: Path, *, durable: bool = True) -> dict[str, str]:
    """Hash every file below `folder`, fsync it if `durable`, write `manifest.json`: relative path → XXH3-128."""
    entries = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            entries[path.relative_to(folder).as_posix()] = hash_file(path)
            if durable:
                _sync(path)
    write_json(folder / MANIFEST, entries)
    return entries


def verify_manifest(folder: Path, only: Iterable[str] | None = None) -> None:
    """Check files of `folder` against its manifest: all of them, or the relative paths in `only`.

    Raises:
        CorruptError: naming the first file that is missing or altered.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise CorruptError("a folder Motherlode wrote must hold its manifest", str(manifest), "restore the folder")
    entries: dict[str, str] = read_json(manifest)
    if not isinstance(entries, dict):
        raise CorruptError("a manifest must map paths to hashes", str(manifest), "restore the folder")
    for name in entries if only is None else only:
        path = folder / name
        if not path.is_file():
            raise CorruptError("a file named in the manifest must exist", str(path), "restore it or redo the step")
        if hash_file(path) != entries.get(name):
            raise CorruptError(
                "a file must have the content it was written with", str(path), "restore it or redo the step"
            )


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process alone; released by the operating system if the process dies.

    Raises:
        LockedError: another process holds it.
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise LockedError(
                "one process at a time may write to a folder", f"{folder} (held by {holder})", "wait, or stop it"
            ) from error
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


def open_uri(uri: str, mode: str = "rb") -> IO[bytes]:
    """Open a local path or any fsspec URL for reading bytes."""
    if "://" not in uri and "::" not in uri and not uri.startswith("~"):
        return open(uri, mode)  # importing fsspec takes longer than most files
    import fsspec

    opened: IO[bytes] = fsspec.open(uri, mode).open()
    return opened


def explain(error: OSError, path: Path) -> StorageError:
    """Turn an operating-system error into one that says how to mend it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free_bytes = shutil.disk_usage(_existing(path)).free
        return StorageError(
            "the disk must have room for what is written",
            f"{path} ({free_bytes / 1e6:.0f} MB free)",
            "free some space or choose another --out (or TMPDIR); what was there before is untouched",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError("the folder must be writable", str(path), "change its permissions or choose another --out")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        file = next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), path)
        return StorageError("a folder must not have the name of a file", str(file), "choose another --out")
    if error.errno == errno.ENOENT:
        return StorageError("the file must exist", str(path), near_path(path) or "check the path")
    return StorageError("the file system must accept this file", f"{path}: {error}", "choose another folder")


def why_unreadable(error: Exception, path: str | Path) -> str:
    """The fix for a file that could not be read, in words for a person."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return near_path(path) or "check the path"
    if isinstance(error, IsADirectoryError):
        return "it is a folder: name a file"
    if isinstance(error, PermissionError):
        return "its permissions forbid reading: change them"
    if isinstance(error, UnicodeDecodeError):
        return f"save it as UTF-8 text (byte {error.start} is none)"
    return str(error)


def near_path(path: str | Path, otherwise: str = "") -> str:
    """A fix for a path that is not there: the nearest one that is.

    Args:
        otherwise: the fix where nothing is near, or the path is there; default: how far the path goes.
    """
    place, rest = Path(path).expanduser(), Path()
    if place.exists():
        return otherwise
    while not place.parent.exists():
        place, rest = place.parent, place.name / rest
    if not place.parent.is_dir():
        return otherwise or f"{place.parent} is a file, not a folder"
    try:
        names = sorted(os.listdir(place.parent))[:_MOST_NAMES]
    except OSError:
        names = []
    for name in get_close_matches(place.name, names, n=3, cutoff=0.6):
        if (place.parent / name / rest).exists():
            return f"did you mean {str(place.parent / name / rest)!r}?"
    return otherwise or f"the folder {place.parent} is there, but not {place.name} in it"


def check_folder(path: str | Path) -> None:
    """Refuse a folder that could not be written to, before work is spent on what is to go there.

    Raises:
        StorageError: it, or one above it, is a file, or not writable.
    """
    place = _existing(Path(path).absolute())
    if not place.is_dir():
        raise explain(NotADirectoryError(errno.ENOTDIR, ""), Path(path))
    if not os.access(place, os.W_OK | os.X_OK):
        raise explain(PermissionError(errno.EACCES, ""), Path(path))


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
