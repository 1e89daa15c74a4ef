"""Plans for files that hold many samples: tables of paths, Parquet, Arrow (as `datasets` saves), tar shards, idx pairs.

Only footers, headers and text columns are read here. A container too damaged to plan becomes one partition of kind
`broken`, which reads as one unreadable row, so that damage is counted like any other loss. A CSV of a million paths is
parsed once here (about 2 s), which lets workers start anywhere in it.
"""

from __future__ import annotations

import csv
import json
import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import IO, Any

from motherlode.data.roles import ROLES, arrow_roles, roles
from motherlode.data.source import (
    PARTITION_BYTES,
    PARTITION_ROWS,
    TEXTLESS,
    UNNAMED,
    Entry,
    Partition,
    Place,
    SourceOptions,
    cut,
)
from motherlode.data.spans import open_text
from motherlode.errors import SourceError
from motherlode.storage import open_uri

_MOST_RANGES = 4
_DELIMITERS = {".csv": ",", ".tsv": "\t"}


def full_path(root: str, path: str) -> str:
    """A relative path below a local root or a URL."""
    return f"{root.rstrip('/')}/{path}" if "://" in root else os.path.join(root, path)


def broken(place: Place, path: str, why: object) -> Partition:
    """A partition that reads as one unreadable row."""
    return Partition("broken", place.name, place.root, [(path, str(why))], num_rows=1)


def plan_tables(
    place: Place, suffixes: frozenset[str], options: SourceOptions, ignored: Counter[str]
) -> Iterator[Partition]:
    """CSV, TSV and JSON lines with a column of paths, relative to the table's folder.

    Items: (path, size, stamp, label, caption, licence, ""), the same as a folder's. Where the source is a folder, what
    lies in it and is named by no table is counted as passed over.
    """
    tables = [entry for entry in place.entries(ignored) if entry.kind == "table"]
    marked = [e for e in tables if e.path.rsplit("/", 1)[-1].startswith("metadata.")]
    used = {entry.path for entry in marked or tables}
    named: set[int] = set()
    for entry in marked or tables:
        folder = entry.path.rpartition("/")[0]
        here = Place(place.name, full_path(place.root, folder) if folder else place.root)
        items = _noted(_table_items(place, entry, suffixes, options), folder, named)
        yield from cut("files", here, items, trusted=options.trust_paths)
    for entry in () if place.only else place.entries():
        if entry.suffix in suffixes:
            ignored[UNNAMED] += hash(entry.path) not in named
        elif entry.path not in used:
            ignored[entry.suffix] += 1


def _noted(
    items: Iterable[tuple[tuple[Any, ...], int]], folder: str, named: set[int]
) -> Iterator[tuple[tuple[Any, ...], int]]:
    """The items, their paths noted as hashes: 60 bytes each."""
    for item in items:
        named.add(hash(posixpath.normpath(posixpath.join(folder, item[0][0]))))
        yield item


def _table_items(
    place: Place, entry: Entry, suffixes: frozenset[str], options: SourceOptions
) -> Iterator[tuple[tuple[Any, ...], int]]:
    columns: dict[str, str] | None = None
    wanted = {"path" if role == "media" else role: column for role, column in options.columns.items()}
    where = full_path(place.root, entry.path)
    size = PARTITION_BYTES // PARTITION_ROWS
    try:
        with open_text(where)[0] as file:
            for number, row in enumerate(table_rows(file, entry, where)):
                if columns is None:
                    columns = roles(list(row), _with_path(wanted, row, suffixes), where, need="path")
                path = row.get(columns["path"])
                values = (_text(row.get(columns.get(role, ""))) for role in ("label", "caption", "licence"))
                name = path if isinstance(path, str) and path else f"{entry.path}#row={number}"
                yield (name, 0 if name is path else -1, entry.stamp, *values, ""), size
    except (OSError, EOFError):
        yield (f"{entry.path}#damaged", -1, entry.stamp, None, None, None, ""), size


def _with_path(wanted: dict[str, str], row: dict[str, Any], suffixes: frozenset[str]) -> dict[str, str]:
    """What the user says of the columns; where neither that nor a name tells, the one whose first cell is a path."""
    known = {name.lower().strip() for name in row if name}
    if "path" in wanted or not known.isdisjoint(ROLES["path"]):
        return wanted
    found = _named_files(row, suffixes)
    return {**wanted, "path": found[0]} if found else wanted


def table_rows(file: IO[bytes], entry: Entry, where: str) -> Iterator[dict[str, Any]]:
    """Rows of a table as dicts; a line that cannot be parsed becomes an empty row, counted as unreadable later."""
    lines = (line.decode("utf-8", errors="replace").replace("\x00", "") for line in file)
    delimiter = _DELIMITERS.get(entry.suffix[:4])
    if delimiter:
        reader = csv.DictReader(_without_mark(lines), delimiter=delimiter)
        while True:
            try:
                row = next(reader, None)
            except csv.Error:
                row = dict.fromkeys(reader.fieldnames or (), None)
            if row is None:
                return
            yield row
    first: list[str] = []
    for line in _without_mark(lines):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if isinstance(value, dict):
            first = first or list(value)
            yield value
        elif first:
            yield dict.fromkeys(first)
        else:
            raise SourceError("the first line of a JSON-lines file must be an object", where, "one {…} a line")


def _without_mark(lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield line.removeprefix("\ufeff") if number == 0 else line


def plan_parquet(
    place: Place, suffixes: frozenset[str], options: SourceOptions, odd: Counter[str] | None = None
) -> Iterator[Partition]:
    """Parquet files with a column of media bytes, {bytes, path} structs, or paths.

    Args:
        suffixes: endings by which a column of paths is known.
        odd: counts tables that hold no samples; None: they are an error.

    Items: (file, stamp, row group, first row, end row), rows counted within the group.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for entry in place.entries():
        if entry.suffix != ".parquet":
            continue
        where = full_path(place.root, entry.path)
        try:
            with open_uri(where) as file, pq.ParquetFile(file) as parquet:
                paths = partial(_path_columns, where, "parquet", suffixes)
                columns, names = arrow_roles(parquet.schema_arrow, options, where, paths)
                groups = [_group_size(parquet.metadata.row_group(g)) for g in range(parquet.num_row_groups)]
                ranges = list(_text_ranges(groups) if options.is_text else _ranges(groups))
        except (pa.ArrowException, OSError, ValueError) as error:
            yield broken(place, entry.path, error)
            continue
        except SourceError:
            if odd is None:
                raise
            odd[TEXTLESS] += 1
            continue
        batch: list[tuple[Any, ...]] = []
        num_rows = num_bytes = 0
        for group, first, end, size in ranges:
            batch.append((entry.path, entry.stamp, group, first, end))
            num_rows, num_bytes = num_rows + end - first, num_bytes + size
            if num_rows >= PARTITION_ROWS or num_bytes >= PARTITION_BYTES:
                yield Partition("parquet", place.name, place.root, batch, columns, names, num_rows, num_bytes)
                batch, num_rows, num_bytes = [], 0, 0
        if batch:
            yield Partition("parquet", place.name, place.root, batch, columns, names, num_rows, num_bytes)


def first_row(where: str, kind: str) -> tuple[Any, dict[str, Any]]:
    """The schema of a Parquet or Arrow file, and the texts of its first row by column; no texts where it has no row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_uri(where) as file:
        source = pq.ParquetFile(file) if kind == "parquet" else open_arrow(file)
        schema = source.schema_arrow if kind == "parquet" else source.schema
        strings = [field.name for field in schema if pa.types.is_string(field.type)]
        batches = source.iter_batches(1, columns=strings) if kind == "parquet" else arrow_batches(source)
        first = next((batch.slice(0, 1).select(strings) for batch in batches if batch.num_rows), None)
    return schema, first.to_pylist()[0] if first is not None and strings else {}


def _path_columns(where: str, kind: str, suffixes: frozenset[str]) -> list[str]:
    """Columns whose first cell is a path of media."""
    return _named_files(first_row(where, kind)[1], suffixes)


def _named_files(row: dict[str, Any], suffixes: frozenset[str]) -> list[str]:
    return [name for name, cell in row.items() if os.path.splitext(str(cell).lower())[1] in suffixes]


def _group_size(group: Any) -> tuple[int, int]:
    return group.num_rows, group.total_byte_size


def _ranges(groups: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """(group, first row, end row, bytes), each within the limits of a partition."""
    for group, (num_rows, num_bytes) in enumerate(groups):
        if not num_rows:
            continue
        row_bytes = max(num_bytes // num_rows, 1)
        step = max(1, min(PARTITION_ROWS, PARTITION_BYTES // row_bytes))
        for first in range(0, num_rows, step):
            end = min(first + step, num_rows)
            yield group, first, end, (end - first) * row_bytes


def _text_ranges(groups: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int, int]]:
    """As `_ranges`, but a group is cut in at most `_MOST_RANGES`: a reader decodes its group from the start."""
    for group, (num_rows, num_bytes) in enumerate(groups):
        step = max(1, -(-num_rows // max(1, min(_MOST_RANGES, num_bytes // PARTITION_BYTES))))
        for first in range(0, num_rows, step):
            end = min(first + step, num_rows)
            yield group, first, end, num_bytes * (end - first) // num_rows


def plan_arrow(
    place: Place, suffixes: frozenset[str], options: SourceOptions, odd: Counter[str] | None = None
) -> Iterator[Partition]:
    """Arrow files and streams, as `datasets` saves them.

    Args:
        suffixes, odd: see `plan_parquet`.

    Items: (file, stamp, first batch, end batch).
    """
    import pyarrow as pa

    for entry in place.entries():
        if entry.suffix not in (".arrow", ".feather"):
            continue
        where = full_path(place.root, entry.path)
        try:
            with open_uri(where) as file:
                reader = open_arrow(file)
                paths = partial(_path_columns, where, "arrow", suffixes)
                columns, names = arrow_roles(reader.schema, options, where, paths)
                sizes = [(batch.num_rows, batch.nbytes) for batch in arrow_batches(reader)]
        except (pa.ArrowException, OSError, ValueError) as error:
            yield broken(place, entry.path, error)
            continue
        except SourceError:
            if odd is None:
                raise
            odd[TEXTLESS] += 1
            continue
        first = num_rows = num_bytes = 0
        for number, (rows, size) in enumerate(sizes):
            num_rows, num_bytes = num_rows + rows, num_bytes + size
            if num_rows >= PARTITION_ROWS or num_bytes >= PARTITION_BYTES or number + 1 == len(sizes):
                items = [(entry.path, entry.stamp, first, number + 1)]
                yield Partition("arrow", place.name, place.root, items, columns, names, num_rows, num_bytes)
                first, num_rows, num_bytes = number + 1, 0, 0


def open_arrow(file: Any) -> Any:
    """A reader of an Arrow file, of either of its two formats."""
    import pyarrow as pa

    magic = file.read(6)
    file.seek(0)
    return pa.ipc.open_file(file) if magic == b"ARROW1" else pa.ipc.open_stream(file)


def arrow_batches(reader: Any) -> Iterator[Any]:
    """Record batches of either format."""
    if hasattr(reader, "num_record_batches"):
        yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        yield from reader


def plan_tars(place: Place) -> Iterator[Partition]:
    """Webdataset shards: files of one stem make a sample. One partition a shard, for a tar has no index.

    Items: (file, stamp).
    """
    for entry in place.entries():
        if entry.suffix in (".tar", ".tar.gz", ".tgz"):
            yield Partition("tar", place.name, place.root, [(entry.path, entry.stamp)], num_bytes=entry.num_bytes)


def plan_idx(place: Place) -> Iterator[Partition]:
    """Idx arrays of samples, each with the idx of its labels when one of the matching name is there.

    Items: (samples, labels or "", stamp, first row, end row).
    """
    from motherlode.data import idx

    entries = {entry.path: entry for entry in place.entries()}
    if len(place.only) == 1:
        folder = Place(place.name, place.root)
        entries |= {entry.path: entry for entry in folder.entries() if entry.path.count("/") == 0}
    for path, entry in entries.items():
        if place.only and path not in place.only:
            continue
        try:
            shape = idx.read_shape(full_path(place.root, path))
        except (OSError, EOFError, ValueError) as error:
            if len(entries) == 1 or "idx" in path:
                yield broken(place, path, error)
            continue
        if len(shape) < 3:
            continue
        labels = next((name for name in idx.label_names(path) if name in entries), "")
        row_bytes = int(shape[1] * shape[2] * (shape[3] if len(shape) > 3 else 1)) or 1
        step = max(1, min(PARTITION_ROWS, PARTITION_BYTES // row_bytes))
        for first in range(0, shape[0], step):
            end = min(first + step, shape[0])
            item = (path, labels, entry.stamp, first, end)
            size = row_bytes * (end - first)
            yield Partition("idx", place.name, place.root, [item], num_rows=end - first, num_bytes=size)


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)
