"""Sources of text: files that are documents, tables with a column of documents, and large files of many documents.

A folder is read file by file, each by its ending. JSON lines, CSV and plain text are cut into ranges of bytes, so that
all workers share a file of any size and none holds more than a block of it; compressed ones are streamed by one worker.
A line that is too long, cannot be decoded or is no object is a dropped row, and what lies behind the damage of a
compressed file is one. What it trades away: rows are named by the byte they begin at, for nobody has counted the lines.
"""

from __future__ import annotations

import codecs
import csv
import json
import lzma
import os
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from motherlode.data import containers, spans
from motherlode.data.containers import broken, full_path, plan_tables
from motherlode.data.roles import has_no_text, has_paths, may_be_text, text_roles
from motherlode.data.source import (
    PARTITION_ROWS,
    TEXTLESS,
    Entry,
    Kind,
    Partition,
    Place,
    SourceOptions,
    detect,
    folder_labels,
    refuse_prepared,
)
from motherlode.errors import SourceError

PARTITION_BYTES = 8 << 20
"""Less than other modalities have: cleaning a megabyte of text takes long, and workers should end together."""
KINDS: tuple[Kind, ...] = ("folder", "table", "parquet", "arrow", "tar")
DAMAGE = (OSError, EOFError, ValueError, lzma.LZMAError)
"""What reading a damaged, vanished or mislabelled file raises (Arrow's errors are among the first and third)."""
_WHOLE = frozenset({".pdf", ".epub", ".html", ".htm", ".xhtml"})
"""Files that are one document each whatever `document` says: their lines are not lines of text."""
_ABOUT = frozenset(
    name
    for names in ("readme license licence copying notice changelog", "dataset_info dataset_infos dataset_dict state")
    for name in names.split()
)
"""Files that lie beside tables to describe them."""
_SAMPLE_ROWS = 100
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def plan(place: Place, suffixes: frozenset[str], options: SourceOptions, ignored: Counter[str]) -> Iterator[Partition]:
    """Partitions of a place that holds text: files of one kind where the user names it, else every kind that is there.

    Raises:
        SourceError: nothing in it is of a kind we read, it is prepared already, or a table has no column of text. Among
            documents such a table is counted instead: one of numbers between a thousand pages is no mistake.
    """
    refuse_prepared(place)
    if options.kind not in ("auto", *KINDS):
        raise SourceError("text must come from a kind of source that can hold it", options.kind, ", ".join(KINDS))
    endings: Counter[tuple[Kind | None, str]] = Counter()
    among_documents = False
    for entry in place.entries(ignored):
        kind = kind_of(entry, suffixes, place)
        endings[kind, entry.suffix] += 1
        among_documents |= kind == "folder" and not _is_about(entry)
    found = {kind for kind, _ in endings}
    kinds = [kind for kind in KINDS if kind == options.kind or (options.kind == "auto" and kind in found)]
    if not kinds:
        detect(place, suffixes)
    for (kind, suffix), count in endings.items():
        if kind not in kinds:
            ignored[suffix] += count
    odd = ignored if among_documents and len(kinds) > 1 else None
    planners = {
        "folder": lambda: _plan_files(place, suffixes, options, ignored, bare=len(kinds) > 1),
        "table": lambda: _plan_tables(place, options, odd),
        "parquet": lambda: containers.plan_parquet(place, suffixes, options, odd),
        "arrow": lambda: containers.plan_arrow(place, suffixes, options, odd),
        "tar": lambda: containers.plan_tars(place),
    }
    return chain.from_iterable(planners[kind]() for kind in kinds)


def kind_of(entry: Entry, suffixes: frozenset[str], place: Place) -> Kind | None:
    """Which planner reads a file of a source of text; one that the user names is text where nothing else is known."""
    if entry.kind:
        return entry.kind
    name = entry.path.rsplit("/", 1)[-1].lower()
    if spans.is_compressed(name):
        name = os.path.splitext(name)[0]
    ending = os.path.splitext(name)[1]
    return "folder" if ending in suffixes or not ending or place.only else None


def _is_about(entry: Entry) -> bool:
    """Whether a file describes what lies beside it."""
    return entry.path.rsplit("/", 1)[-1].lower().partition(".")[0] in _ABOUT


def _plan_files(
    place: Place, suffixes: frozenset[str], options: SourceOptions, ignored: Counter[str], *, bare: bool
) -> Iterator[Partition]:
    """Files that are documents, and files of many documents.

    Args:
        bare: leave out files that describe the tables beside them.

    Items of "files": as a folder of any modality has; of "spans": (path, stamp, what a record is, first byte, end).
    """
    label_of = folder_labels("none" if options.labels == "auto" else options.labels)

    def items() -> Iterator[tuple[str, tuple[Any, ...], int]]:
        for entry in place.entries():
            if kind_of(entry, suffixes, place) != "folder":
                continue
            if bare and _is_about(entry):
                ignored[entry.suffix] += 1
                continue
            is_packed = spans.is_compressed(entry.path.lower())
            split = "file" if entry.suffix in _WHOLE else options.document
            if entry.num_bytes < 0 or (split == "file" and not is_packed):
                whole = (entry.path, entry.num_bytes, entry.stamp, label_of(entry.path), None, None, "")
                yield "files", whole, entry.num_bytes
                continue
            for first, end in _ranges(place, entry, splitter_of(split), options):
                yield "spans", (entry.path, entry.stamp, split, first, end), end - first

    yield from _packed(place, items())


def _packed(place: Place, items: Iterator[tuple[str, tuple[Any, ...], int]]) -> Iterator[Partition]:
    """Items of one kind and one set of columns that follow one another, up to the limits of a partition."""
    batch: list[tuple[Any, ...]] = []
    num_bytes, kind = 0, ""

    def partition() -> Partition:
        num_rows = len(batch) if kind == "files" else 0
        return Partition(kind, place.name, place.root, batch, {}, (), num_rows, num_bytes, trusted=True)

    for item_kind, item, item_bytes in items:
        if batch and item_kind != kind:
            yield partition()
            batch, num_bytes = [], 0
        kind = item_kind
        batch.append(item)
        num_bytes += max(item_bytes, 0)
        if len(batch) >= PARTITION_ROWS or num_bytes >= PARTITION_BYTES:
            yield partition()
            batch, num_bytes = [], 0
    if batch:
        yield partition()


def splitter_of(split: str) -> spans.Splitter:
    """A fresh splitter: "line", "paragraph", "file", or the sign between the cells of a CSV."""
    made: dict[str, type[spans.Splitter]] = {"line": spans.Lines, "paragraph": spans.Paragraphs, "file": spans.Whole}
    return made[split]() if split in made else spans.CsvRows(split)


def _ranges(
    place: Place, entry: Entry, splitter: spans.Splitter, options: SourceOptions, first: int = 0
) -> Iterator[tuple[int, int]]:
    """Ranges of bytes to read by themselves; one where the file is small, compressed or cannot be read."""
    if entry.num_bytes - first <= PARTITION_BYTES or spans.is_compressed(entry.path):
        yield first, entry.num_bytes
        return
    try:
        file, may_cut = spans.open_text(full_path(place.root, entry.path))
        with file:
            found = spans.cuts(file, splitter, entry.num_bytes, PARTITION_BYTES, options.max_bytes, first)
            yield from found if may_cut else [(first, entry.num_bytes)]
    except DAMAGE:
        yield first, entry.num_bytes


def _plan_tables(place: Place, options: SourceOptions, odd: Counter[str] | None) -> Iterator[Partition]:
    """JSON lines and CSV with a column of text; a table that has none but names files is read as any modality's.

    Args:
        odd: counts tables that hold no text; None: they are an error.

    Items of "json": (path, stamp, first byte, end byte); of "csv": the same, the sign between cells and the header.
    """
    wanted = {"text" if role == "media" else role: column for role, column in options.columns.items()}
    for entry in place.entries():
        if entry.kind != "table":
            continue
        where = full_path(place.root, entry.path)
        is_csv = entry.suffix[:4] in _DELIMITERS
        try:
            names, texts, delimiter, first = _csv_head(where) if is_csv else _json_head(where)
        except DAMAGE as error:
            yield broken(place, entry.path, error)
            continue
        except SourceError:
            if odd is None:
                raise
            odd[TEXTLESS] += 1
            continue
        if not names:
            yield broken(place, entry.path, "the file is empty")
            continue
        if has_no_text(names, wanted, texts) and has_paths(names):
            alone = Place(place.name, place.root, (entry.path,))
            yield from plan_tables(alone, frozenset(), options, Counter())
            continue
        if odd is not None and has_no_text(names, wanted, texts):
            odd[TEXTLESS] += 1
            continue
        columns = text_roles(names, wanted, where, texts)
        splitter = splitter_of(delimiter) if is_csv else spans.Lines()
        for start, end in _ranges(place, entry, splitter, options, first):
            extra = (delimiter, names) if is_csv else ()
            item = (entry.path, entry.stamp, start, end, *extra)
            kind = "csv" if is_csv else "json"
            yield Partition(kind, place.name, place.root, [item], columns, num_bytes=end - start)


def head(where: str) -> tuple[list[str], list[str], dict[str, Any]]:
    """(names, names that may be of texts, first row) of a table of JSON lines or CSV.

    Raises:
        SourceError: the first lines of a JSON-lines file are no objects.
        OSError, EOFError, ValueError, LZMAError: the file cannot be read.
    """
    if any(ending in where.lower() for ending in _DELIMITERS):
        names, texts, delimiter, first = _csv_head(where)
        with spans.open_text(where)[0] as file:
            file.read(first)
            row = next(spans.records(file, spans.CsvRows(delimiter), PARTITION_BYTES), None)
        cells = (
            next(csv.reader([row.data.decode("utf-8", "replace").rstrip("\r\n")], delimiter=delimiter)) if row else []
        )
        return names, texts, dict(zip(names, cells))
    names, texts, _, _ = _json_head(where)
    with spans.open_text(where)[0] as file:
        lines = spans.records(file, spans.Lines(), PARTITION_BYTES)
        values = next((value for value in (parse_object(line.data)[0] for line in lines) if value), {})
    return names, texts, values


def _json_head(where: str) -> tuple[list[str], list[str], str, int]:
    """(keys, keys of texts alone, "", 0) of the first objects of a file; no keys where it holds nothing.

    Raises:
        SourceError: none of its first lines is an object.
    """
    with spans.open_text(where)[0] as file:
        head = list(islice(spans.records(file, spans.Lines(), PARTITION_BYTES), _SAMPLE_ROWS))
    found = [value for value in (parse_object(record.data)[0] for record in head) if value]
    if not found:
        if all(not record.data.strip() for record in head):
            return [], [], "", 0
        raise SourceError("the first lines of a JSON-lines file must be objects", where, "one {…} a line")
    names = list(dict.fromkeys(name for value in found for name in value))
    texts = [name for name in names if may_be_text(name) and isinstance(found[0].get(name), str)]
    return names, texts, "", 0


def _csv_head(where: str) -> tuple[list[str], list[str], str, int]:
    """(names, names that may be of texts, the sign between cells, bytes of the header) of a CSV."""
    name = where.lower()
    ending = os.path.splitext(os.path.splitext(name)[0] if spans.is_compressed(name) else name)[1]
    with spans.open_text(where)[0] as file:
        line = file.peek(spans.HEADER_BYTES).partition(b"\n")[0]
        delimiter = ";" if ending == ".csv" and b"," not in line and b";" in line else _DELIMITERS[ending]
        first = next(spans.records(file, spans.CsvRows(delimiter), PARTITION_BYTES), None)
    if first is None:
        return [], [], delimiter, 0
    header = first.data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace").rstrip("\r\n")
    names = next(csv.reader([header], delimiter=delimiter), [])
    return names, [name for name in names if may_be_text(name)], delimiter, first.num_bytes


def parse_object(line: bytes) -> tuple[dict[str, Any] | None, str | None]:
    """The JSON object of a line, or None and what is wrong; (None, None) for a blank line."""
    import orjson

    try:
        value = orjson.loads(line)
    except ValueError as error:
        if not line.strip():
            return None, None
        try:
            # NaN and numbers beyond 64 bits are no JSON, but Python writes them.
            value = json.loads(line)
        except (ValueError, RecursionError):
            return None, str(error)
    return (value, None) if isinstance(value, dict) else (None, "the line must be a JSON object")
