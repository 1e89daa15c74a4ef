"""Texts that share a run of words with texts held out for evaluation, found by hashes of token n-grams.

Brown et al. 2020 ("Language models are few-shot learners", appendix C) take 13 tokens: shorter runs occur by chance,
longer ones miss copies that were edited. One shared run is enough, so a famous quotation counts too; where that drops
too much, `decontaminate_tokens` is the screw. Evaluation texts are taken in batches whose n-grams fit in memory, and
all rows are read once a batch: most sets make one. Reading costs what hashing the n-grams does, about 200 MB/s a core.

Shape legend: N rows, S slots of a table, G n-grams.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode import storage
from motherlode.data.dataset import FACTS, Dataset
from motherlode.data.raw import Job
from motherlode.data.readers import read
from motherlode.data.source import SourceOptions, plan
from motherlode.data.spans import COMPRESSED, open_text
from motherlode.data.step import HELDOUT, TRAIN, Rows, wilson
from motherlode.data.texts import Block
from motherlode.errors import SourceError
from motherlode.modality import Modality

CONTAMINATED = "contaminated"
BATCH_BYTES = 64 << 20
"""Evaluation text whose n-grams are in memory at a time: about 16 bytes a word in one table."""
MOST_HELDOUT, MOST_SCANNED_BYTES = 1000, 256 << 20
"""Held-out texts and training text that the overlap of the splits is estimated on."""


@dataclass(frozen=True)
class Contaminated:
    """Drops texts that share a run of tokens with evaluation texts.

    Args:
        modality: what tokens are.
        clean: brings evaluation files to the normal form.
        paths: files, folders and prepared datasets.
        length: tokens of a run.
        batch_bytes: see `BATCH_BYTES`; results do not depend on it.
    """

    modality: Modality
    clean: Any
    paths: tuple[str, ...]
    length: int
    batch_bytes: int = BATCH_BYTES
    name: str = "evaluation texts"
    does: str = "drop texts that share a run of words with a text of an evaluation set"

    def run(self, rows: Rows) -> None:
        """Read the evaluation texts, and every row once for each batch of them."""
        facts = {"length": self.length, "evaluation_texts": 0, "too_short": 0}
        texts = (text.encode() for path in self.paths for text in evaluation_texts(path, self.modality, self.clean))
        for batch in _batches(texts, self.batch_bytes):
            buffer_B, offsets_N1 = _joined(batch)
            grams, starts_N1 = self.modality.grams(buffer_B, offsets_N1, self.length)
            num_tokens_N = np.diff(self.modality.grams(buffer_B, offsets_N1, 1)[1])
            is_long_N = num_tokens_N >= self.length
            facts["evaluation_texts"] += len(batch)
            facts["too_short"] += int((~is_long_N).sum())
            found = _sharing(rows, rows.reasons_N < 0, grams[np.repeat(is_long_N, np.diff(starts_N1))], self)
            rows.drop(found, CONTAMINATED, self.name)
        rows.facts["contamination"] = facts


@dataclass(frozen=True)
class OwnHeldout:
    """Drops training texts that share a run of tokens with the dataset's own held-out texts."""

    modality: Modality
    length: int
    batch_bytes: int = BATCH_BYTES
    name: str = "own held-out texts"
    does: str = "drop training texts that share a run of words with a held-out text"

    def run(self, rows: Rows) -> None:
        """As `Contaminated`, with the held-out rows for evaluation texts."""
        held = np.flatnonzero((rows.reasons_N < 0) & (rows.splits_N == HELDOUT))
        ends = rows.num_bytes_N[held].cumsum()
        edges = np.searchsorted(ends, np.arange(0, ends[-1] if len(ends) else 0, self.batch_bytes), "right")
        for chosen in np.split(held, edges):
            block = rows.texts.fetch(chosen)
            grams = self.modality.grams(block.buffer_B, block.offsets_N1, self.length)[0]
            is_train_N = (rows.reasons_N < 0) & (rows.splits_N == TRAIN)
            rows.drop(_sharing(rows, is_train_N, grams, self), CONTAMINATED, self.name)


def _sharing(
    rows: Rows, is_wanted_N: NDArray[np.bool_], grams: NDArray[np.uint64], step: Contaminated | OwnHeldout
) -> NDArray[np.int64]:
    """The rows among those wanted that have one of the n-grams."""
    from motherlode.data import grams as kernels

    if not len(grams):
        return np.zeros(0, np.int64)
    wanted = kernels.table(grams)
    is_any_S = np.ones(len(wanted.hashes_S), np.bool_)

    def find(part: int) -> list[NDArray[np.int64]]:
        found = []
        for block in rows.texts.blocks(part, is_wanted_N):
            held, starts_N1 = step.modality.grams(block.buffer_B, block.offsets_N1, step.length)
            num_found_N = np.empty(len(block.rows_N), np.int64)
            kernels.count(held, starts_N1, wanted.hashes_S, wanted.filter_F, is_any_S, num_found_N)
            found.append(block.rows_N[num_found_N > 0])
        return found

    parts = rows.texts.map_parts(find, range(len(rows.texts.records)))
    return np.concatenate([np.zeros(0, np.int64), *(piece for found in parts for piece in found)])


def overlap(rows: Rows, modality: Modality, length: int) -> dict[str, Any]:
    """How much of held-out texts the training texts hold: for the report; as JSON values.

    Taken on at most `MOST_HELDOUT` held-out texts, and on `MOST_SCANNED_BYTES` of training texts, both in the order of
    their content hash. Where there is more to train on than is scanned, the figures are lower bounds.
    """
    from motherlode.data import grams as kernels

    order = np.argsort(rows.ids_N, kind="stable")
    alive = order[rows.reasons_N[order] < 0]
    held = np.sort(alive[rows.splits_N[alive] == HELDOUT][:MOST_HELDOUT])
    train = alive[rows.splits_N[alive] == TRAIN]
    scanned = train[rows.num_bytes_N[train].cumsum() <= MOST_SCANNED_BYTES]
    block: Block = rows.texts.fetch(held)
    grams, starts_N1 = modality.grams(block.buffer_B, block.offsets_N1, length)
    is_wanted_N = np.zeros(len(rows), np.bool_)
    is_wanted_N[scanned] = True
    wanted = kernels.table(grams)
    is_seen_S = np.zeros(len(wanted.hashes_S), np.bool_)

    def mark(part: int) -> None:
        for texts in rows.texts.blocks(part, is_wanted_N):
            found = modality.grams(texts.buffer_B, texts.offsets_N1, length)[0]
            kernels.mark(found, wanted.hashes_S, wanted.filter_F, is_seen_S)

    for _ in rows.texts.map_parts(mark, range(len(rows.texts.records))):
        pass
    num_found_N = np.empty(len(held), np.int64)
    kernels.count(grams, starts_N1, wanted.hashes_S, wanted.filter_F, is_seen_S, num_found_N)
    with_any = int((num_found_N > 0).sum())
    low, high = wilson(with_any, len(held))
    return {
        "length": length,
        "heldout": len(held),
        "train": len(scanned),
        "whole": len(scanned) == len(train),
        "sharing": {"value": with_any / max(len(held), 1), "low": low, "high": high},
        "runs": float(num_found_N.sum() / max(len(grams), 1)),
    }


def evaluation_texts(path: str, modality: Modality, clean: Any) -> Iterator[str]:
    """The texts of an evaluation set.

    Of JSON lines and Parquet every string of a row counts, whatever its column is named; of a prepared dataset its
    held-out rows; of everything else, what `prepare` would read.

    Raises:
        SourceError: there is nothing at `path`.
    """
    name = path.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    if (Path(path) / FACTS).is_file():
        heldout = Dataset.open(path).split("heldout")
        for batch in heldout.batches([modality.column]):
            yield from batch.column(modality.column).to_pylist()
    elif name.endswith((".jsonl", ".ndjson")):
        yield from _json_texts(path)
    elif name.endswith(".parquet"):
        yield from _parquet_texts(path)
    else:
        planned = plan(path, modality.suffixes, SourceOptions(is_text=True, max_bytes=modality.max_bytes))
        for partition in planned.partitions:
            for chunk in read(Job(partition, modality, modality.max_bytes)):
                found = modality.examine([row.media for row in chunk if row.reason is None], clean)
                yield from (text.decode("utf-8", "replace") for text in found.media)


def _json_texts(path: str) -> Iterator[str]:
    try:
        with open_text(path)[0] as file:
            for line in file:
                try:
                    yield "\n".join(_strings(json.loads(line)))
                except ValueError:
                    continue
    except OSError as error:
        raise SourceError("an evaluation set must be readable", path, storage.why_unreadable(error, path)) from error


def _strings(value: object) -> Iterator[str]:
    """Every string of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _parquet_texts(path: str) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from ("\n".join(_strings(row)) for row in batch.to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise SourceError("an evaluation set must be readable", path, storage.why_unreadable(error, path)) from error


def stamps(paths: Iterable[str]) -> list[str]:
    """Names, sizes and times of the files of evaluation sets: equal stamps, equal sets.

    Raises:
        SourceError: there is nothing at a path.
    """
    found = []
    for path in paths:
        if "://" in path:
            found.append(path)
            continue
        if not os.path.exists(path):
            raise SourceError("an evaluation set must exist", path, storage.near_path(path))
        files = [item for item in sorted(Path(path).rglob("*")) if item.is_file()] or [Path(path)]
        found += [f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]
    return found


def _batches(texts: Iterable[bytes], batch_bytes: int) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    num_bytes = 0
    for text in texts:
        batch.append(text)
        num_bytes += len(text)
        if num_bytes >= batch_bytes:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


def _joined(texts: list[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    offsets_N1 = np.concatenate([[0], np.cumsum([len(text) for text in texts])])
    return np.frombuffer(b"".join(texts), np.uint8), offsets_N1
