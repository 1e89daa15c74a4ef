"""Parts of a work folder that hold given texts, and a modality of text small enough to be sure of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.data.gather import gather
from motherlode.data.parts import PartRecord, part_path
from motherlode.data.parts import _batch as part_batch
from motherlode.data.raw import Row
from motherlode.data.step import Rows
from motherlode.modality import Examination
from motherlode.modality.text import lines, shingles


class PlainText:
    """Texts as they are, but for spaces around them and blank lines; fit are those of five characters or more."""

    name = "plain"
    column = "text"
    stored = "text"
    search = "bands"
    similar = 0.75
    suffixes = frozenset({".txt"})
    max_bytes = 1 << 20

    def examine(self, media: Sequence[bytes], options: object) -> Examination:
        normal = [re.sub(rb"\n{3,}", b"\n\n", item).strip() for item in media]
        buffer_B, offsets_N1 = joined(normal)
        return Examination(
            normal,
            [None if len(item) >= 5 else "too_short" for item in normal],
            {"characters": np.array([len(item.decode()) for item in normal], np.int32)},
            shingles.band_hashes(buffer_B, offsets_N1),
            np.zeros((len(media), 0), np.uint8),
        )

    def grams(
        self, buffer_B: NDArray[np.uint8], offsets_N1: NDArray[np.int64], length: int | None = None
    ) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        return shingles.gram_hashes(buffer_B, offsets_N1, length or shingles.SHINGLE_TOKENS)

    line_hashes = staticmethod(lines.line_hashes)
    without_lines = staticmethod(lines.without_lines)
    find_lines = staticmethod(lines.find_lines)


PLAIN: Any = PlainText()


def joined(texts: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Texts in one buffer, and where each begins."""
    offsets_N1 = np.concatenate([[0], np.cumsum([len(text) for text in texts], dtype=np.int64)])
    return np.frombuffer(b"".join(texts), np.uint8), offsets_N1


def write_parts(
    folder: Path, texts: Sequence[str], *, source: str = "", first: int = 0, size: int = 7
) -> list[PartRecord]:
    """Parts of `size` rows, in record batches of three."""
    import pyarrow as pa

    folder.mkdir(exist_ok=True)
    records = []
    for start in range(0, len(texts), size):
        index = first + start // size
        batches = []
        here = texts[start : start + size]
        for low in range(0, len(here), 3):
            raw = [text.encode() for text in here[low : low + 3]]
            found = PLAIN.examine(raw, None)
            rows = [Row(f"{start + low + place}.txt", text) for place, text in enumerate(raw)]
            steps = [None if reason is None else "clean" for reason in found.reasons]
            batches.append(part_batch(rows, list(range(len(raw))), found.media, found.reasons, steps, found, None))
        schema = batches[0].schema.with_metadata({"source": source})
        with pa.OSFile(str(part_path(folder, index)), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        records.append(PartRecord(index, len(here), "", {}, {}))
    return records


def text_rows(folder: Path, texts: Sequence[str], **named: Any) -> Rows:
    """The rows of such parts, ready for steps."""
    return gather(folder, write_parts(folder, texts, **named), num_sources=1)


def media_of(rows: Rows) -> list[str]:
    """The text of every row."""
    block = rows.texts.fetch(np.arange(len(rows)))
    return [bytes(block.buffer_B[block.offsets_N1[i] : block.offsets_N1[i + 1]]).decode() for i in range(len(rows))]
