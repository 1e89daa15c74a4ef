"""Where raw samples come from, as a plan of partitions that workers read by themselves.

A source is a folder of files, a table that names files, Parquet, Arrow, tar shards, idx arrays, or several of these, on
disk or behind any fsspec URL. Planning lists names, sizes and row ranges and opens no sample, so a million files cost
their names and not their bytes, and the plan streams to disk. What it trades away: a tar is read from its start by one
worker, and a gzipped idx is unpacked once in every worker.

Partitions hold at most `PARTITION_ROWS` rows or about `PARTITION_BYTES`, in an order that depends on names alone.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from motherlode import storage
from motherlode.data.advice import advise
from motherlode.data.spans import COMPRESSED
from motherlode.errors import SourceError
from motherlode.registry import did_you_mean

PARTITION_ROWS = 2048
PARTITION_BYTES = 32 << 20

Kind = Literal["auto", "folder", "table", "parquet", "arrow", "tar", "idx"]
Document = Literal["file", "line", "paragraph"]
Labels = Literal["auto", "top", "parent", "none"]
SourceLike = str | Path | Sequence[str | Path] | Mapping[str, str | Path]

_SUFFIX_KINDS: dict[str, Kind] = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".tar": "tar",
    ".tar.gz": "tar",
    ".tgz": "tar",
    **{table + ending: "table" for table in (".csv", ".tsv", ".jsonl", ".ndjson") for ending in ("", *COMPRESSED)},
}
UNUSED_CAPTIONS = "captions without a file"
LINKED_TWICE = "folders linked a second time"
UNNAMED = "files that no table names"
TEXTLESS = "tables without a column of text"
MADE = "folders of datasets and runs"
OVERVIEWS = "overviews of generated samples"
"""Counted among what was passed over."""
_GENERATED = frozenset(("samples.jsonl", "provenance.json"))
"""`generate` leaves these beside its samples, which are called by their numbers, and pictures of them all."""
_SIDECARS = (".txt", ".json")
_PREPARED = ("dataset.json", "croissant.json", "manifest.json")
_RUN = ("run.json", "recipe.yaml")
_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_SPLIT_FOLDERS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"})


@dataclass(frozen=True)
class Partition:
    """What one worker reads at once: a plan, not data.

    Args:
        kind: which reader.
        source: name of the source, kept with every row.
        root: folder or URL that item paths are relative to.
        items: what to read; the reader of `kind` knows the fields.
        columns: role ("media", "label", "caption", "licence") → column, for kinds that have columns.
        label_names: names of integer labels.
        num_rows: rows expected, 0 when it cannot be known without reading.
        num_bytes: bytes expected, compressed.
        trusted: whether paths found in the data may leave `root`.
        first_rows: read no more than this many rows; 0 for all.
    """

    kind: str
    source: str
    root: str
    items: Sequence[Sequence[Any]]
    columns: Mapping[str, str] = field(default_factory=dict)
    label_names: Sequence[str] = ()
    num_rows: int = 0
    num_bytes: int = 0
    trusted: bool = False
    first_rows: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The partition as plain JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Entry:
    """One listed file: path relative to the root, size and a stamp that changes when the file does."""

    path: str
    num_bytes: int
    stamp: str

    @cached_property
    def suffix(self) -> str:
        """Lower-case ending with the dot; double for `.tar.gz` and compressed tables."""
        name = self.path.rsplit("/", 1)[-1].lower()
        stem, ending = os.path.splitext(name)
        double = os.path.splitext(stem)[1] + ending
        return double if double in _SUFFIX_KINDS else ending

    @property
    def kind(self) -> Kind | None:
        """Which reader its ending calls for, if it holds many samples."""
        return _SUFFIX_KINDS.get(self.suffix)


@dataclass(frozen=True)
class Place:
    """A folder or a single file, local or remote, resolved from what the user wrote.

    Args:
        name: the source's name.
        root: local absolute folder, or URL of a folder.
        only: relative paths of the files meant; empty for the whole folder.
    """

    name: str
    root: str
    only: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """The place as a person would name it."""
        return os.path.join(self.root, self.only[0]) if len(self.only) == 1 else self.root

    @property
    def is_remote(self) -> bool:
        """Whether files are reached through fsspec rather than the local disk."""
        return "://" in self.root

    def entries(self, ignored: Counter[str] | None = None) -> Iterator[Entry]:
        """Every file of the place, sorted by path, folder by folder; what is not walked is counted in `ignored`."""
        if self.is_remote:
            listed: Iterable[Entry] = _walk_remote(self.root)
            wanted = set(self.only)
            yield from (entry for entry in listed if not wanted or entry.path in wanted)
        elif self.only:
            for path in self.only:
                status = os.stat(os.path.join(self.root, path))
                yield Entry(path, status.st_size, str(status.st_mtime_ns))
        else:
            yield from _walk_local(self.root, ignored)


@dataclass(frozen=True)
class SourceOptions:
    """How to read a source: see `PrepareOptions`, which carries the same fields.

    Args:
        is_text: samples are texts, so that the cells of a table may hold them.
        max_bytes: samples above this are not read whole.
        captions: file of captions of a folder's files, by their names.
    """

    kind: Kind = "auto"
    labels: Labels = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    trust_paths: bool = False
    document: Document = "file"
    is_text: bool = False
    max_bytes: int = PARTITION_BYTES
    captions: str | None = None


@dataclass
class Planned:
    """A source's partitions, and what was passed over. `ignored` fills while `partitions` is consumed."""

    partitions: Iterator[Partition]
    ignored: Counter[str] = field(default_factory=Counter)


def plan(source: SourceLike, suffixes: frozenset[str], options: SourceOptions = SourceOptions()) -> Planned:
    """Plan how to read `source`.

    Args:
        source: a path, a glob, a URL, `name=path`, a list of these, or a mapping of names to them.
        suffixes: file endings of the modality.
        options: how to read it.

    Raises:
        SourceError: the source is missing, of no known kind, or holds no sample.
    """
    places = resolve(source)
    ignored: Counter[str] = Counter()
    return Planned(
        _nonempty(chain.from_iterable(_plan(p, suffixes, options, ignored) for p in places), source), ignored
    )


def passed_over(ignored: Mapping[str, int], most: int = 8) -> str:
    """What was passed over, as a person would say it: "3 .docx, 1 .zip"; "" for nothing.

    Args:
        ignored: see `Planned`.
        most: so many endings are named, the most frequent ones; the rest are counted.
    """
    ranked = sorted(ignored.items(), key=lambda item: (-item[1], item[0]))
    parts = [_passed(ending, count) for ending, count in ranked[:most]]
    if ranked[most:]:
        parts.append(f"{sum(count for _, count in ranked[most:]):,} of {len(ranked) - most:,} other endings")
    return ", ".join(parts)


def _passed(ending: str, count: int) -> str:
    if ending and not ending.startswith("."):
        return f"{ending}: {count:,}"
    return f"{count:,} {ending or 'without an ending'}"


def resolve(source: SourceLike) -> list[Place]:
    """The places a user's `source` means, in order, with unique names."""
    if isinstance(source, Mapping):
        pairs = [(str(name), str(path)) for name, path in source.items()]
    elif isinstance(source, str | Path):
        pairs = [_split_name(str(source))]
    else:
        pairs = [_split_name(str(item)) for item in source]
    if not pairs:
        raise SourceError("at least one source must be given", source, "pass a folder, a file, a glob or a URL")
    places: list[Place] = []
    taken: set[str] = set()
    for name, path in pairs:
        place = _place(name, path)
        # What cannot be UTF-8 (odd file names) is escaped, as in the columns of a dataset.
        unique, number = place.name.encode("utf-8", "backslashreplace").decode(), 2
        while unique in taken:
            unique, number = f"{place.name}-{number}", number + 1
        taken.add(unique)
        places.append(replace(place, name=unique))
    return places


def detect(place: Place, suffixes: frozenset[str]) -> Kind:
    """The kind of a place: by its markers, else by what most of its first 10,000 files are.

    Raises:
        SourceError: nothing in it is of a kind we read, or it is a dataset that `prepare` made.
    """
    refuse_prepared(place)
    counts: Counter[str] = Counter()
    others: Counter[str] = Counter()
    num_files = 0
    for entry in place.entries():
        name = entry.path.rsplit("/", 1)[-1]
        if name in _METADATA and "/" not in entry.path and not place.only:
            return "table" if entry.suffix != ".parquet" else "parquet"
        num_files += 1
        if _is_idx(name):
            counts["idx"] += 1
        elif entry.suffix in suffixes or (not entry.suffix and not name.startswith(".")):
            counts["folder"] += 1
        elif entry.kind:
            counts[entry.kind] += 1
        else:
            others[entry.suffix] += 1
        if num_files >= 10_000:
            break
    if not num_files:
        fix = "check the path; hidden files, datasets and runs in it do not count"
        raise SourceError("a source must hold files", place.shown, fix)
    if not counts:
        fix = advise(others, is_all=True) or f"name files that end in {', '.join(sorted(suffixes)[:12])}, …"
        raise SourceError(
            "a source must be of a kind we read",
            f"{place.shown}: {passed_over(others)}",
            f"{fix} (docs/data.md lists what is read)",
        )
    for kind in ("arrow", "parquet", "idx", "tar"):
        if counts[kind] and counts["folder"] <= counts[kind]:
            return kind
    return counts.most_common(1)[0][0] if not counts["folder"] else "folder"  # type: ignore[return-value]


def refuse_prepared(place: Place) -> None:
    """Raise a SourceError where the place is a dataset that `prepare` made."""
    if not place.is_remote and all(os.path.isfile(os.path.join(place.root, name)) for name in _PREPARED):
        raise SourceError(
            "a source must be raw: this folder holds a dataset that is prepared already",
            place.root,
            f"train on it as it is, or prepare its rows again from {os.path.join(place.root, 'train')}",
        )


def _plan(place: Place, suffixes: frozenset[str], options: SourceOptions, ignored: Counter[str]) -> Iterator[Partition]:
    from motherlode.data import containers

    if options.is_text:
        from motherlode.data import documents

        return documents.plan(place, suffixes, options, ignored)
    kind = options.kind if options.kind != "auto" else detect(place, suffixes)
    planners: dict[str, Callable[[], Iterator[Partition]]] = {
        "folder": lambda: _plan_folder(place, suffixes, options, ignored),
        "table": lambda: containers.plan_tables(place, suffixes, options, ignored),
        "parquet": lambda: containers.plan_parquet(place, suffixes, options),
        "arrow": lambda: containers.plan_arrow(place, suffixes, options),
        "tar": lambda: containers.plan_tars(place),
        "idx": lambda: containers.plan_idx(place),
    }
    if options.captions and kind != "folder":
        raise SourceError("`captions` names the captions of a folder of files", f"a source of kind {kind}", "leave it")
    if kind not in planners:
        raise SourceError("a kind of source must be one we know", kind, did_you_mean(kind, [*planners, "auto"]))
    if kind not in ("folder", "table"):
        ignored.update(entry.suffix for entry in place.entries(ignored) if not _serves(entry, kind, suffixes))
    return planners[kind]()


def _serves(entry: Entry, kind: Kind, suffixes: frozenset[str]) -> bool:
    """Whether a file is read in a source of this kind; of media beside Parquet and Arrow tables name which they use."""
    if kind == "idx":
        return _is_idx(entry.path.rsplit("/", 1)[-1])
    return entry.kind == kind or (kind in ("parquet", "arrow") and entry.suffix in suffixes)


def _plan_folder(
    place: Place, suffixes: frozenset[str], options: SourceOptions, ignored: Counter[str]
) -> Iterator[Partition]:
    """Files of the modality, with labels from sub-folders and captions from a file of all or files of the same stem.

    Items: (path, size, stamp, label, caption, licence, endings of sidecars).
    """
    from motherlode.data.captions import Captions

    entries = _marked_sidecars(place.entries(ignored), suffixes, ignored)
    label_of = folder_labels(options.labels)
    captions = Captions.read(options.captions) if options.captions else Captions({})

    def items() -> Iterator[tuple[tuple[Any, ...], int]]:
        for entry, sidecars in entries:
            caption = captions.of(entry.path)
            facts = (entry.path, entry.num_bytes, entry.stamp, label_of(entry.path), caption, None, sidecars)
            yield facts, entry.num_bytes
        if captions.num_unused:
            ignored[UNUSED_CAPTIONS] += captions.num_unused

    yield from cut("files", place, items(), trusted=True)


def cut(
    kind: str, place: Place, items: Iterable[tuple[tuple[Any, ...], int]], *, trusted: bool = False
) -> Iterator[Partition]:
    """Cut a stream of (item, bytes) into partitions of one row an item."""
    batch: list[tuple[Any, ...]] = []
    num_bytes = 0
    for item, item_bytes in items:
        batch.append(item)
        num_bytes += max(item_bytes, 0)
        if len(batch) >= PARTITION_ROWS or num_bytes >= PARTITION_BYTES:
            yield Partition(kind, place.name, place.root, batch, {}, (), len(batch), num_bytes, trusted)
            batch, num_bytes = [], 0
    if batch:
        yield Partition(kind, place.name, place.root, batch, {}, (), len(batch), num_bytes, trusted)


def folder_labels(labels: Labels) -> Callable[[str], str | None]:
    """The rule that reads a label off a relative path.

    `auto` and `top` take the first folder below the root that is not a split's name (train, test, …); `parent` takes
    the folder the file lies in; `none` takes none.
    """

    def label(path: str) -> str | None:
        folders = path.split("/")[:-1] if labels != "none" else []
        if folders and folders[0].lower() in _SPLIT_FOLDERS:
            folders = folders[1:]
        if not folders:
            return None
        return folders[-1] if labels == "parent" else folders[0]

    return label


def is_overview(name: str, beside: Collection[str]) -> bool:
    """Whether a file shows samples that `generate` wrote beside it, and is none of them."""
    return not name.partition(".")[0].isdigit() and {*beside} >= _GENERATED


def _marked_sidecars(
    entries: Iterable[Entry], suffixes: frozenset[str], ignored: Counter[str]
) -> Iterator[tuple[Entry, str]]:
    """Media files, each with the endings of its caption files (".txt .json"); other files are counted as ignored.

    Entries of a folder come together, so one folder's names are held at a time.
    """
    for group in _by_folder(entries):
        names = {entry.path for entry in group if entry.suffix in _SIDECARS}
        beside = {entry.path.rsplit("/", 1)[-1] for entry in group}
        stems: set[str] = set()
        for entry in group:
            name = entry.path.rsplit("/", 1)[-1]
            if entry.suffix in suffixes and is_overview(name, beside):
                ignored[OVERVIEWS] += 1
            elif entry.suffix in suffixes or (not entry.suffix and not name.startswith(".")):
                stem = entry.path[: -len(entry.suffix)] if entry.suffix else entry.path
                stems.add(stem)
                yield entry, " ".join(ending for ending in _SIDECARS if stem + ending in names)
        for entry in group:
            if entry.suffix in suffixes or not entry.suffix:
                continue
            if entry.suffix not in _SIDECARS or entry.path[: -len(entry.suffix)] not in stems:
                ignored[entry.suffix] += 1


def _by_folder(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    group: list[Entry] = []
    folder = None
    for entry in entries:
        parent = entry.path.rpartition("/")[0]
        if parent != folder and group:
            yield group
            group = []
        folder = parent
        group.append(entry)
    if group:
        yield group


def _walk_local(root: str, ignored: Counter[str] | None = None) -> Iterator[Entry]:
    """Files below a local folder: a folder's own files first, then its sub-folders; each real folder once.

    Links are followed, for data sets are often folders of links; a loop of links is walked once. A dangling link is
    listed with size -1, to be dropped as unreadable rather than to vanish. Datasets and runs below the folder are
    passed over: what training reads and makes is no raw sample.
    """
    seen: set[tuple[int, int]] = set()
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            status = os.stat(os.path.join(root, folder))
            if (status.st_dev, status.st_ino) in seen:
                if ignored is not None:
                    ignored[LINKED_TWICE] += 1
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(os.path.join(root, folder)) as found:
                children = sorted((child for child in found if not _is_hidden(child.name)), key=lambda c: c.name)
        except OSError:
            yield Entry(folder or ".", -1, "unreadable folder")
            continue
        names = {child.name for child in children}
        if folder and (names.issuperset(_PREPARED) or names.issuperset(_RUN)):
            if ignored is not None:
                ignored[MADE] += 1
            continue
        folders = []
        for child in children:
            path = f"{folder}/{child.name}" if folder else child.name
            try:
                status = child.stat()
            except OSError:
                yield Entry(path, -1, "dangling")
                continue
            if stat.S_ISDIR(status.st_mode):
                folders.append(path)
            else:
                size = status.st_size if stat.S_ISREG(status.st_mode) else -1
                yield Entry(path, size, str(status.st_mtime_ns))
        pending.extend(reversed(folders))


def _walk_remote(root: str) -> Iterator[Entry]:
    import fsspec

    filesystem, path = fsspec.core.url_to_fs(root)
    listed = filesystem.find(path, detail=True)
    prefix = path.rstrip("/") + "/"
    found = []
    for name, facts in listed.items():
        relative = name[len(prefix) :] if name.startswith(prefix) else name.lstrip("/")
        if not any(_is_hidden(part) for part in relative.split("/")):
            stamp = str(facts.get("ETag") or facts.get("mtime") or facts.get("created") or "")
            found.append(Entry(relative, int(facts.get("size") or 0), stamp))
    yield from sorted(found, key=lambda entry: (entry.path.rpartition("/")[0], entry.path))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_idx(name: str) -> bool:
    stem = name.lower().removesuffix(".gz")
    return stem.endswith(("-ubyte", ".idx")) or "idx3" in stem or "idx1" in stem


def _split_name(text: str) -> tuple[str, str]:
    """`name=path` into its halves; a path that holds `=` itself keeps it when it exists."""
    name, sign, path = text.partition("=")
    if sign and path and "/" not in name and "?" not in name and not os.path.exists(text):
        return name, path
    return "", text


def _place(name: str, path: str) -> Place:
    if not path:
        raise SourceError("a source must be named", path, "pass a folder, a file, a glob or a URL; `.` is this folder")
    if "://" in path and not path.startswith("file://"):
        return _remote_place(name, path)
    path = path.removeprefix("file://")
    local = Path(path).expanduser()
    if local.is_dir():
        if not os.access(local, os.R_OK | os.X_OK):
            raise SourceError("the source must be readable", path, "change its permissions")
        return Place(name or local.resolve().name or "source", str(local.resolve()))
    if local.is_file():
        return Place(name or local.name.split(".")[0], str(local.resolve().parent), (local.resolve().name,))
    if any(sign in path for sign in "*?["):
        return _globbed(name, local)
    if local.exists():
        raise SourceError("the source must be a folder or a file", path, "a pipe or a device cannot be read twice")
    raise SourceError("the source must exist", path, storage.near_path(local))


def _globbed(name: str, pattern: Path) -> Place:
    import glob

    root = Path(*_before_magic(pattern.absolute().parts))
    found = sorted(found for found in glob.glob(str(pattern), recursive=True) if os.path.isfile(found))
    if not found:
        raise SourceError("a glob must match files", str(pattern), "quote it, and try it with ls")
    relative = tuple(os.path.relpath(path, root).replace(os.sep, "/") for path in found)
    return Place(name or root.name or "source", str(root), relative)


def _before_magic(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        if any(sign in part for sign in "*?["):
            return
        yield part


def _remote_place(name: str, url: str) -> Place:
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(url)
        if any(sign in url for sign in "*["):
            root = "/".join(_before_magic(path.split("/")))
            found = sorted(found for found in filesystem.glob(path) if filesystem.isfile(found))
            if not found:
                raise SourceError("a glob must match files", url, "list the folder first")
            only = tuple(item[len(root) :].lstrip("/") for item in found)
            return Place(name or root.rsplit("/", 1)[-1] or "source", filesystem.unstrip_protocol(root), only)
        if filesystem.isfile(path):
            folder, _, last = path.rpartition("/")
            return Place(name or last.split(".")[0], filesystem.unstrip_protocol(folder or "/"), (last,))
        if filesystem.isdir(path):
            return Place(name or path.rstrip("/").rsplit("/", 1)[-1] or "source", filesystem.unstrip_protocol(path))
    except (ImportError, ValueError) as error:
        raise SourceError("a URL must be one fsspec can open", url, str(error)) from error
    except OSError as error:
        raise SourceError("a URL must be reachable", url, f"{type(error).__name__}: {error}") from error
    raise SourceError("the source must exist", url, "check the URL, and that the credentials allow reading it")


def _nonempty(partitions: Iterator[Partition], source: SourceLike) -> Iterator[Partition]:
    first = next(partitions, None)
    if first is None:
        raise SourceError("a source must hold at least one sample", str(source), "check the path and the file endings")
    return chain([first], partitions)
