"""Lines that many texts of one source share: menus, footers, notices. They are counted, cut out, and the rest kept.

Texts change here, so what hangs on them is made anew: new parts are written in which the texts that lost lines have
been examined again, and duplicates are looked for once more. That comes after the first search for duplicates, or the
lines of a manual kept in ten versions would count ten times; the price is a second search, which is short. Where no
text holds a repeated line, one pass over the texts is all it costs.

Hashes of lines are sorted into files by their first bits, of which one is in memory at a time. What is kept in memory
of a source are the hashes of its repeated lines alone.

Shape legend: N rows of all parts, R rows of a part, L lines.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from motherlode import registry
from motherlode.data.arrow import blobs, fixed_bytes, from_fixed_bytes, numbers, texts, to_numpy
from motherlode.data.gather import gather
from motherlode.data.parts import MEASURED, PartRecord, once, part_path, read_part
from motherlode.data.step import Rows, Step
from motherlode.data.texts import Texts
from motherlode.modality import Modality

BOILERPLATE = "boilerplate"
MOSTLY = 0.5
"""A text of which more than this share are repeated lines is dropped."""
_FILE_BYTES = 256 << 20
"""Text whose lines go to one file of hashes: at most 100 MB, most often a tenth of that."""
_NUM_EXAMPLES = 10

Map = Callable[[Callable[[Any], Any], Iterable[Any], int], Iterator[Any]]
"""(function, tasks, number of tasks) → results in order: `execute.map_ordered` with its workers chosen."""


@dataclass(frozen=True)
class RepeatedLines:
    """Cuts lines that many texts of a source share out of them.

    Args:
        modality, clean: to examine what is left of a text.
        folder: where new parts are written.
        share, least: a line is repeated where more than this share of a source's texts, and more than `least`, have it.
        cut: whether texts are changed, or repeated lines only reported.
        again: steps that find duplicates among what is left.
        mapped: does the work.
    """

    modality: Modality
    clean: Any
    folder: Path
    share: float
    least: int
    cut: bool
    again: tuple[Step, ...]
    mapped: Map
    name: str = "repeated lines"
    does: str = "cut out lines that many texts of a source share, and drop texts made mostly of them"

    def run(self, rows: Rows) -> None:
        """Count, cut, gather the new columns, and look for duplicates once more."""
        alive_N = rows.reasons_N < 0
        repeated = {
            source: repeated_lines(rows.texts, parts, alive_N, self.modality, self.share, self.least, self.folder)
            for source, parts in _parts_by_source(rows.texts).items()
        }
        facts: dict[str, Any] = {
            "share": self.share,
            "least": self.least,
            "cut": self.cut,
            "lines": sum(len(lines_L) for lines_L, _ in repeated.values()),
            "examples": list(_examples(rows.texts, alive_N, self.modality, repeated)),
        }
        rows.facts["repeated_lines"] = facts
        if not facts["lines"]:
            facts |= {"texts": 0, "bytes": 0}
            return
        records = self._cut(rows, alive_N, {source: lines_L for source, (lines_L, _) in repeated.items()})
        facts["texts"] = sum(record["num_cut"] for record in records)
        facts["bytes"] = sum(record["num_bytes"] for record in records)
        if not self.cut:
            return
        emptied = [rows.texts.starts[place] + np.array(r["emptied"], np.int64) for place, r in enumerate(records)]
        parts = [PartRecord(r["index"], r["num_rows"], r["digest"], {}, {}) for r in records]
        _renew(rows, gather(self.folder, parts, num_sources=len(repeated)))
        rows.drop(np.concatenate([np.zeros(0, np.int64), *emptied]), BOILERPLATE, self.name)
        earlier = dict(rows.facts)
        for step in self.again:
            step.run(rows)
        rows.facts |= earlier

    def _cut(
        self, rows: Rows, alive_N: NDArray[np.bool_], repeated: dict[str, NDArray[np.uint64]]
    ) -> list[dict[str, Any]]:
        self.folder.mkdir(exist_ok=True)
        tasks = []
        for source, parts in _parts_by_source(rows.texts).items():
            lines = self.folder / f"{parts[0]}.lines.npy"
            np.save(lines, repeated[source])
            for part in parts:
                start, end = rows.texts.starts[part : part + 2]
                tasks.append(
                    CutTask(
                        str(rows.texts.folder),
                        rows.texts.records[part],
                        str(self.folder),
                        str(lines),
                        self.modality.name,
                        self.clean,
                        np.packbits(alive_N[start:end]).tobytes(),
                        self.cut,
                    )
                )
        return list(self.mapped(cut_part, sorted(tasks, key=lambda task: task.record.index), len(tasks)))


def _parts_by_source(held: Texts) -> dict[str, list[int]]:
    """Places of the parts of each source."""
    found: dict[str, list[int]] = {}
    for part, record in enumerate(held.records):
        metadata = read_part(part_path(held.folder, record.index)).schema.metadata or {}
        found.setdefault(metadata.get(b"source", b"").decode(), []).append(part)
    return found


def _renew(rows: Rows, fresh: Rows) -> None:
    """Take the columns of new parts; rows, reasons and labels are the same."""
    for name in ("ids_N", "num_bytes_N", "fingerprints_PK", "thumbs_PT", "features_PD", "texts"):
        setattr(rows, name, getattr(fresh, name))


def repeated_lines(
    held: Texts,
    parts: list[int],
    alive_N: NDArray[np.bool_],
    modality: Modality,
    share: float,
    least: int,
    folder: Path,
    file_bytes: int = _FILE_BYTES,
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hashes of the lines that too many texts of some parts share, ascending, and how many texts have each.

    Args:
        held: all texts.
        parts: places of the parts to look at: those of one source.
        alive_N: which rows to look at.
        modality: what lines are.
        share, least: see `RepeatedLines`.
        folder: scratch files are made here, and removed.
        file_bytes: text whose lines go to one file; results do not depend on it.
    """
    num_rows = sum(int(alive_N[held.starts[part] : held.starts[part + 1]].sum()) for part in parts)
    most = max(int(share * num_rows), least)
    none = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    if num_rows <= most:
        return none
    num_bytes = sum(part_path(held.folder, held.records[part].index).stat().st_size for part in parts)
    scratch = folder.with_name(f"{folder.name}.scratch")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        paths = [scratch / f"{number}.bin" for number in range(-(-num_bytes // file_bytes))]
        _sort_into_files(held, parts, alive_N, modality, paths)
        found = [_counted_above(path, most) for path in paths]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return np.concatenate([lines for lines, _ in found]), np.concatenate([counts for _, counts in found])


def _sort_into_files(
    held: Texts, parts: list[int], alive_N: NDArray[np.bool_], modality: Modality, paths: list[Path]
) -> None:
    """Append the hashes of all lines, once a text, to the file of their range; ranges ascend."""

    def hashes_of(part: int) -> NDArray[np.uint64]:
        found = [modality.line_hashes(block.buffer_B, block.offsets_N1)[0] for block in held.blocks(part, alive_N)]
        lines_L: NDArray[np.uint64] = np.sort(np.concatenate([np.zeros(0, np.uint64), *found]))
        return lines_L

    edges = [np.uint64((1 << 64) * number // len(paths)) for number in range(1, len(paths))]
    for path in paths:
        path.touch()
    for lines_L in held.map_parts(hashes_of, parts):
        for path, piece in zip(paths, np.split(lines_L, np.searchsorted(lines_L, edges)), strict=True):
            with path.open("ab") as file:
                piece.tofile(file)


def _counted_above(path: Path, most: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Values that come more than `most` times in a file, ascending, and their counts."""
    lines_L = np.fromfile(path, np.uint64)
    lines_L.sort()
    # A value that comes more than `most` times is still the same `most` places on.
    is_many = lines_L[most:] == lines_L[: max(len(lines_L) - most, 0)]
    values = np.unique(lines_L[most:][is_many])
    return values, np.searchsorted(lines_L, values, "right") - np.searchsorted(lines_L, values, "left")


def _examples(
    held: Texts,
    alive_N: NDArray[np.bool_],
    modality: Modality,
    repeated: dict[str, tuple[NDArray[np.uint64], NDArray[np.int64]]],
) -> Iterator[dict[str, Any]]:
    """The most frequent lines in words."""
    ranked = sorted(
        (-count, source, line)
        for source, (lines_L, counts_L) in repeated.items()
        for line, count in zip(lines_L.tolist(), counts_L.tolist(), strict=True)
    )[:_NUM_EXAMPLES]
    parts = _parts_by_source(held)
    for negative, source, line in ranked:
        wanted_L = np.array([line], np.uint64)
        blocks = (block for part in parts[source] for block in held.blocks(part, alive_N))
        shown = (modality.find_lines(block.buffer_B, block.offsets_N1, wanted_L).get(line) for block in blocks)
        yield {"text": next(text for text in shown if text is not None), "source": source, "texts": -negative}


@dataclass(frozen=True)
class CutTask:
    """One part whose texts lose their repeated lines.

    Args:
        parts: folder of the part.
        record: of the part.
        out: folder of the new part.
        lines: file of the hashes of repeated lines.
        modality, clean: to examine texts that lost lines.
        alive: bits, one a row.
        cut: whether to write a new part, or only to count.
    """

    parts: str
    record: PartRecord
    out: str
    lines: str
    modality: str
    clean: Any
    alive: bytes
    cut: bool


def cut_part(task: CutTask) -> dict[str, Any]:
    """Write the new part, or take the one an earlier run left if it is whole."""
    modality: Modality = registry.find("modality", task.modality)
    if not task.cut:
        return _build(task, modality, None)
    path = part_path(Path(task.out), task.record.index)
    return once(path, path.with_suffix(".json"), lambda temporary: _build(task, modality, temporary))


def _build(task: CutTask, modality: Modality, path: Path | None) -> dict[str, Any]:
    """Find what changes; write a part with it to `path`, or link the old one where nothing changes."""
    import pyarrow as pa

    held = Texts(Path(task.parts), [task.record])
    lines_L = np.load(task.lines)
    alive_R = np.unpackbits(np.frombuffer(task.alive, np.uint8), count=task.record.num_rows).astype(np.bool_)
    emptied: list[int] = []
    changes: dict[int, bytes] = {}
    num_bytes = 0
    for block in held.blocks(0, alive_R):
        buffer_B, offsets_N1 = modality.without_lines(block.buffer_B, block.offsets_N1, lines_L)
        sizes_N, lost_N = np.diff(block.offsets_N1), np.diff(block.offsets_N1) - np.diff(offsets_N1)
        num_bytes += int(lost_N.sum())
        for place in np.flatnonzero(lost_N).tolist():
            row = int(block.rows_N[place])
            if lost_N[place] > MOSTLY * sizes_N[place]:
                emptied.append(row)
            else:
                changes[row] = bytes(buffer_B[offsets_N1[place] : offsets_N1[place + 1]])
    facts = {"index": task.record.index, "num_rows": task.record.num_rows, "num_bytes": num_bytes}
    if path is not None and changes:
        reader = read_part(part_path(held.folder, task.record.index))
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, reader.schema) as writer:
            start = 0
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                here = {row - start: text for row, text in changes.items() if start <= row < start + batch.num_rows}
                batch, unfit = _changed(batch, here, modality, task.clean)
                emptied += [start + row for row in unfit]
                writer.write_batch(batch)
                start += batch.num_rows
    elif path is not None:
        _link(part_path(held.folder, task.record.index), path)
    return facts | {"num_cut": len(changes) + len(set(emptied) - set(changes)), "emptied": sorted(emptied)}


def _link(source: Path, path: Path) -> None:
    """The same file under another name; a copy where the file system has no such thing."""
    path.unlink(missing_ok=True)
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)


def _changed(batch: Any, changes: dict[int, bytes], modality: Modality, clean: Any) -> tuple[Any, list[int]]:
    """The batch with some texts replaced and examined anew, and the rows no longer fit, which stay as they are."""
    import pyarrow as pa

    if not changes:
        return batch, []
    found = modality.examine(list(changes.values()), clean)
    places = np.array(list(changes), np.int64)
    fit = np.array([reason is None for reason in found.reasons], np.bool_)
    media = batch.column("media").to_pylist()
    for place, text, is_fit in zip(places.tolist(), found.media, fit.tolist(), strict=True):
        media[place] = text if is_fit else media[place]
    digests = b"".join(map(xxhash.xxh3_128_digest, media))
    columns = {"media": blobs(media), "id": fixed_bytes(np.frombuffer(digests, np.uint8).reshape(-1, 16))}
    for name, values in (("fingerprint", found.fingerprints_NK), ("thumb", found.thumbs_NT)):
        if name in batch.schema.names:
            whole = from_fixed_bytes(batch.column(name), values.dtype).copy()
            whole[places[fit]] = values[fit]
            columns[name] = fixed_bytes(whole)
    if "feature" in batch.schema.names:
        whole = from_fixed_bytes(batch.column("feature"), np.float32).copy()
        whole[places[fit]] = np.asarray(modality.features(found.thumbs_NT), np.float32)[fit]
        columns["feature"] = fixed_bytes(whole)
    for name, values in found.columns.items():
        columns[MEASURED + name] = _measured(batch.column(MEASURED + name), places[fit], values[fit])
    arrays = [columns.get(name, batch.column(name)) for name in batch.schema.names]
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema), places[~fit].tolist()


def _measured(column: Any, places: NDArray[np.int64], values: NDArray[Any]) -> Any:
    """A measured column with some values replaced."""
    if values.dtype.kind == "U":
        held = column.to_pylist()
        for place, value in zip(places.tolist(), values.tolist(), strict=True):
            held[place] = value
        return texts(held)
    whole = to_numpy(column, 0)
    whole[places] = values
    return numbers(whole)
