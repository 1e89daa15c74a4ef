"""Readers of large files of text: ranges of plain text, JSON lines and CSV to raw rows.

Cells of a CSV reach the modality in the bytes they were written in, so its detection of encodings works on each; only
signs of ASCII part rows and cells, which every encoding but UTF-16 and UTF-32 leaves alone. Parsing JSON runs at about
900 MB/s, CSV at about 150.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from motherlode.data import documents, spans
from motherlode.data.raw import TOO_LARGE, UNREADABLE, Job, Row

UNDECODABLE = "undecodable"
_LATIN = "latin-1"
"""Maps every byte to a sign and back."""


def _records(job: Job, path: str, splitter: spans.Splitter, first: int, end: int) -> Iterator[Row | spans.Record]:
    """Records of a range; as rows those that are dropped: too long, or behind the damage of the file."""
    try:
        file, may_cut = spans.open_text(job.path(path))
        with file:
            if may_cut:
                file.seek(first)
            where = {"first": first, "end": end} if may_cut else {}
            for record in spans.records(file, splitter, job.max_bytes, **where):
                too_long = record.num_bytes > job.max_bytes
                yield _dropped(path, record, TOO_LARGE, f"{record.num_bytes} bytes") if too_long else record
    except documents.DAMAGE as error:
        yield Row(f"{path}#damaged", b"", reason=UNREADABLE, detail=f"{type(error).__name__}: {error}"[:200])


def _uri(path: str, record: spans.Record) -> str:
    return f"{path}#byte={record.offset}"


def _dropped(path: str, record: spans.Record, reason: str, detail: str | None) -> Row:
    return Row(_uri(path, record), record.data[: spans.HEADER_BYTES], reason=reason, detail=detail)


def _read_spans(job: Job) -> Iterator[Row]:
    """Lines, paragraphs or whole files; blank ones are no documents."""
    for path, _, split, first, end in job.partition.items:
        for record in _records(job, path, documents.splitter_of(split), first, end):
            if isinstance(record, Row):
                yield record
                continue
            text = record.data.removeprefix(codecs.BOM_UTF8) if not record.offset else record.data
            if split == "file":
                yield Row(path, text)
            elif text := text.rstrip().lstrip(b"\r\n"):
                yield Row(_uri(path, record), text)


def _read_json(job: Job) -> Iterator[Row]:
    """Objects, one a line; blank lines are passed over."""
    columns = job.partition.columns
    media = columns["text"]
    others = [columns.get(role, "") for role in ("label", "caption", "licence")]
    named = columns.get("path", "")
    for path, _, first, end in job.partition.items:
        for record in _records(job, path, spans.Lines(), first, end):
            if isinstance(record, Row):
                yield record
                continue
            line = record.data.removeprefix(codecs.BOM_UTF8) if not record.offset else record.data
            value, wrong = documents.parse_object(line)
            if value is None:
                if wrong is not None:
                    yield _dropped(path, record, UNDECODABLE, wrong)
                continue
            text = as_text(value.get(media))
            label, caption, licence = (_plain(value.get(name)) if name else None for name in others)
            uri = _plain(value.get(named)) if named else None
            if text is None:
                detail = f"`{media}` holds {type(value[media]).__name__}, not text"
                yield _dropped(path, record, UNDECODABLE, detail)
            else:
                yield Row(uri or _uri(path, record), text, label, caption, licence)


def as_text(value: object) -> bytes | None:
    """A cell as UTF-8: text as it is, a list of texts as lines, nothing as empty; None for what is no text."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if value is None:
        return b""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value).encode("utf-8", "replace")
    return value if isinstance(value, bytes) else None


def _plain(value: object) -> str | None:
    return None if value is None or value == "" or isinstance(value, list | dict) else str(value)


def batch_rows(job: Job, batch: Any, named: str, first: int) -> Iterator[Row]:
    """Rows of an Arrow batch whose cells are the samples.

    Args:
        named: how a row is called by its number.
        first: number of the batch's first row.
    """
    columns = job.partition.columns
    roles = ("label", "caption", "licence", "path")
    others = [
        plain_cells(batch, columns.get(role), job.partition.label_names if role == "label" else ()) for role in roles
    ]
    for number, (text, label, caption, licence, uri) in enumerate(zip(_texts(batch.column(columns["text"])), *others)):
        reason = detail = None
        if text is None:
            text, reason, detail = (
                b"",
                UNDECODABLE,
                f"`{columns['text']}` holds {batch.schema.field(columns['text']).type}",
            )
        elif len(text) > job.max_bytes:
            text, reason, detail = text[: spans.HEADER_BYTES], TOO_LARGE, f"{len(text)} bytes"
        yield Row(uri or named.format(first + number), text, label, caption, licence, reason, detail)


def _texts(column: Any) -> list[bytes | None]:
    """Cells as UTF-8, without a Python text in between where the column is of strings."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0:
        column = pc.struct_field(column, "bytes")
    if pa.types.is_string(column.type):
        column = column.view(pa.binary())
    elif pa.types.is_large_string(column.type):
        column = column.view(pa.large_binary())
    return [as_text(value) for value in column.to_pylist()]


def plain_cells(batch: Any, column: str | None, names: Sequence[str]) -> list[str | None]:
    """A column that goes with the samples as text, None where it is empty; nulls where there is no column.

    Args:
        names: of integer labels.
    """
    if not column:
        return [None] * batch.num_rows
    values = batch.column(column).to_pylist()
    if names:
        return [names[v] if isinstance(v, int) and 0 <= v < len(names) else None for v in values]
    return [None if value is None or value == "" else str(value) for value in values]


def _read_csv(job: Job) -> Iterator[Row]:
    """Rows of a CSV, by the names of its header; one with too few cells is dropped."""
    columns = job.partition.columns
    for path, _, first, end, delimiter, names in job.partition.items:
        places = {role: names.index(name) for role, name in columns.items()}
        for record in _records(job, path, spans.CsvRows(delimiter), first, end):
            if isinstance(record, Row):
                yield record
                continue
            if not record.offset or not record.data.strip():
                # A header that could not be left out of the range, or a blank line.
                continue
            cells, wrong = _cells(record.data, delimiter, job.max_bytes)
            if wrong is None and len(cells) <= places["text"]:
                wrong = f"{len(cells)} cells, not {len(names)}"
            if wrong is not None:
                yield _dropped(path, record, UNDECODABLE, wrong)
                continue
            got = {role: cells[place].encode(_LATIN) for role, place in places.items() if place < len(cells)}
            label, caption, licence, uri = (
                got.get(role, b"").decode("utf-8", "replace") or None
                for role in ("label", "caption", "licence", "path")
            )
            yield Row(uri or _uri(path, record), got["text"], label, caption, licence)


def _cells(line: bytes, delimiter: str, max_bytes: int) -> tuple[Sequence[str], str | None]:
    """The cells of one row, a sign a byte, or what is wrong with it."""
    with _field_limit(max_bytes + 1):
        try:
            return next(csv.reader([line.decode(_LATIN).rstrip("\r\n")], delimiter=delimiter), []), None
        except csv.Error as error:
            return (), str(error)


@contextmanager
def _field_limit(num: int) -> Iterator[None]:
    """The module's own limit on cells, 131,072 signs, is lifted for as long as a row is parsed."""
    before = csv.field_size_limit(num)
    try:
        yield
    finally:
        csv.field_size_limit(before)


READERS: dict[str, Callable[[Job], Iterator[Row]]] = {"csv": _read_csv, "json": _read_json, "spans": _read_spans}
