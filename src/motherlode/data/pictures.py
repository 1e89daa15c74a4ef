"""The contact sheets of a data card: a few kept rows, and a few of each way to be dropped, suspected or doubled.

Rows are taken in the order of their content hash, which is a random order that any run agrees on. Their bytes are read
straight from the parts, so a sheet costs as many reads as it has tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from motherlode.data.parts import PartRecord, part_path, read_part
from motherlode.data.step import DROPPED, Rows
from motherlode.modality import Modality

NUM_KEPT = 60
NUM_EACH = 12
_WIDE_COLUMNS = 8
_QUALITY = 88


@dataclass(frozen=True)
class Sheet:
    """One contact sheet.

    Args:
        name: file name without its ending.
        title: heading for a person.
        text: what is to be seen on it.
        group: "kept", "dropped", "doubles" or "suspects".
    """

    name: str
    title: str
    text: str
    group: str


@dataclass
class Reader:
    """Single rows of the parts, by global number."""

    folder: Path
    records: Sequence[PartRecord]

    def __post_init__(self) -> None:
        self._starts = np.cumsum([0, *(record.num_rows for record in self.records)])

    def row(self, number: int) -> tuple[bytes, str, str]:
        """(media, uri, label) of a row."""
        found = self.columns(number, lambda name: name in ("media", "uri", "label"))
        return found["media"], found["uri"], found["label"] or ""

    def columns(self, number: int, wanted: Callable[[str], bool]) -> dict[str, Any]:
        """The columns of a row whose names are wanted."""
        part = int(np.searchsorted(self._starts, number, "right")) - 1
        reader = read_part(part_path(self.folder, self.records[part].index))
        place = number - int(self._starts[part])
        for index in range(reader.num_record_batches):
            batch = reader.get_batch(index)
            if place < batch.num_rows:
                return {name: batch.column(name)[place].as_py() for name in batch.schema.names if wanted(name)}
            place -= batch.num_rows
        raise IndexError(number)


def make_sheets(rows: Rows, reader: Reader, modality: Modality, folder: Path) -> list[Sheet]:
    """Write the sheets as WebP files into `folder`; returns them in the order a card shows them."""
    made = []
    for sheet, chosen in wanted(rows):
        items = [reader.row(number) for number in chosen]
        if sheet.group == "doubles":
            captions = ["kept", "dropped"] * (len(items) // 2)
        elif sheet.group == "dropped":
            captions = [uri.rsplit("/", 1)[-1] for _, uri, _ in items]
        else:
            captions = [label for _, _, label in items]
        path = folder / f"{sheet.name}.png"
        columns = _WIDE_COLUMNS if sheet.group in ("doubles", "suspects") else 0
        modality.contact_sheet([media for media, _, _ in items], path, captions=captions, columns=columns)
        _to_webp(path)
        made.append(sheet)
    return made


def wanted(rows: Rows, num_kept: int = NUM_KEPT, num_each: int = NUM_EACH) -> Iterator[tuple[Sheet, list[int]]]:
    """Each sheet and the numbers of its rows; those of doubles come in pairs of kept and dropped."""
    order = np.argsort(rows.ids_N, kind="stable")
    kept = order[rows.splits_N[order] != DROPPED]
    by_label = sorted(kept[:num_kept].tolist(), key=lambda number: int(rows.labels_N[number]))
    yield Sheet("kept", "Kept", f"{len(by_label)} of {len(kept):,}, at random", "kept"), by_label
    counts = np.bincount(rows.reasons_N[rows.reasons_N >= 0], minlength=len(rows.reason_names))
    for code in np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]:
        name, title, text = f"dropped-{rows.reason_names[code]}", words(rows.reason_names[code]), f"{counts[code]:,}"
        chosen = order[rows.reasons_N[order] == code]
        if (rows.duplicates_N[chosen] >= 0).all():
            _, first = np.unique(rows.duplicates_N[chosen], return_index=True)
            copies = chosen[np.sort(first)][:num_each]
            pairs = np.stack([rows.duplicates_N[copies], copies], axis=1).ravel()
            yield Sheet(name, title, f"{text}; each beside the row it repeats", "doubles"), pairs.tolist()
        else:
            yield Sheet(name, title, text, "dropped"), chosen[:num_each].tolist()
    suspects = kept[rows.suspects_N[kept]]
    if len(suspects):
        text = f"{len(suspects):,} rows kept though their neighbours have another label"
        yield Sheet("suspects", "Suspected label errors", text, "suspects"), suspects[: 2 * num_each].tolist()


def words(reason: str) -> str:
    """A reason as words: "near_duplicate" → "Near duplicate"."""
    return reason.replace("_", " ").capitalize()


def _to_webp(path: Path) -> None:
    """The sheet in a fifth of the room; the PNG goes."""
    from PIL import Image

    with Image.open(path) as image:
        image.convert("RGB").save(path.with_suffix(".webp"), "WEBP", quality=_QUALITY, method=2)
    path.unlink()
