"""Altered copies as rows of their own: `augment: 3x` gives every training row two, each naming its parent.

Each train shard gets one file of copies beside it. The numbers behind a copy come from the seed, the shard and the
batch, so neither the number of workers nor a restart changes a byte. A copy that comes out unfit (blank after a crop,
say) or equal to a row that is already there is left out and counted. Prefer the on-the-fly augmentation of training
where it serves: it costs no room and never repeats itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from motherlode import registry
from motherlode.data.arrow import blobs, numbers, texts
from motherlode.data.dataset import read_shard
from motherlode.data.parts import once
from motherlode.data.write import GROUP_ROWS, file_facts, layout, media_struct
from motherlode.modality import Modality, SampleSpec
from motherlode.randomness import torch_generator

_BATCH_ROWS = 256


@dataclass(frozen=True)
class CopyTask:
    """Copies of the rows of one train shard."""

    dataset: str
    shard: str
    records: str
    modality: str
    clean: Any
    column: str
    measured: tuple[str, ...]
    policy: tuple[str, ...]
    copies: int
    seed: int

    @property
    def name(self) -> str:
        """Path of the copies within the dataset."""
        folder, _, last = self.shard.rpartition("/")
        return f"{folder}/altered-{last}"


def make_copies(task: CopyTask) -> dict[str, Any]:
    """Write the copies of a shard; returns its facts and what was left out."""
    path = Path(task.dataset) / task.name
    record_path = Path(task.records) / f"{path.stem}.json"
    return once(path, record_path, lambda temporary: _write(temporary, task))


def _write(path: Path, task: CopyTask) -> dict[str, Any]:
    import pyarrow.parquet as pq

    modality: Modality = registry.find("modality", task.modality)
    shard = Path(task.dataset) / task.shard
    taken = {value for batch in read_shard(shard, ["id"]) for value in batch.column("id").to_pylist()}
    left_out: Counter[str] = Counter()
    num_rows = num_bytes = 0
    schema = pq.read_schema(shard)
    with pq.ParquetWriter(path, schema, **layout(schema, task.column)) as writer:
        for number, batch in enumerate(read_shard(shard, batch_rows=_BATCH_ROWS)):
            for copy in range(task.copies):
                table = _altered(task, modality, batch, (number, copy), taken, left_out)
                writer.write_table(table, row_group_size=GROUP_ROWS)
                num_rows += table.num_rows
                num_bytes += sum(len(item["bytes"].as_py()) for item in table.column(task.column))
    facts = {"path": task.name, "rows": num_rows, "media_bytes": num_bytes, "left_out": dict(left_out)}
    return facts | file_facts(path)


def _altered(
    task: CopyTask, modality: Modality, batch: Any, place: tuple[int, int], taken: set[str], left_out: Counter[str]
) -> Any:
    """One altered copy of each row of a batch, without those that are unfit or not new."""
    import pyarrow as pa

    columns = {name: np.array(batch.column(name).to_pylist()) for name in task.measured}
    media = _alter(task, modality, batch.column(task.column).field("bytes").to_pylist(), columns, place)
    found = modality.examine(media, task.clean)
    ids = [xxhash.xxh3_128_hexdigest(item) for item in found.media]
    kept = []
    for row, (name, reason) in enumerate(zip(ids, found.reasons)):
        if reason is not None or name in taken:
            left_out[reason or "exact_duplicate"] += 1
        else:
            taken.add(name)
            kept.append(row)
    parents = batch.take(numbers(np.array(kept, np.int64)))
    names = parents.column(task.column).field("path")
    fresh: dict[str, Any] = {
        "id": texts([ids[row] for row in kept]),
        task.column: media_struct(blobs([found.media[row] for row in kept]), names),
        "outlier": pa.nulls(len(kept), pa.float32()),
        "parent": parents.column("id"),
        "transformation": texts(["+".join(task.policy)] * len(kept)),
    }
    for name in task.measured:
        values = found.columns[name][kept]
        fresh[name] = texts(values.tolist()) if values.dtype.kind == "U" else numbers(values)
    return pa.Table.from_arrays(
        [fresh[name] if name in fresh else parents.column(name) for name in batch.schema.names],
        schema=batch.schema,
    )


def _alter(
    task: CopyTask, modality: Modality, media: Sequence[bytes], columns: dict[str, Any], place: tuple[int, int]
) -> list[bytes]:
    """Decode, alter and encode; samples of one shape are altered together."""
    import torch

    result: list[bytes] = [b""] * len(media)
    stream = f"altered copies {task.shard}"
    rates = columns.get("rate", np.zeros(len(media))).tolist()
    for number, ((shape, rate), rows) in enumerate(_alike(zip(modality.shapes(columns), rates, strict=True))):
        spec = SampleSpec(modality.name, shape, rate=float(rate))
        samples = torch.from_numpy(np.stack([modality.decode(media[row], spec) for row in rows]))
        rng = torch_generator(task.seed, f"{stream} {number}", *place)
        altered = modality.augment(modality.normalise(samples), task.policy, 1.0, rng)
        for row, sample in zip(rows, modality.denormalise(altered).numpy()):
            result[row] = modality.encode(sample, spec)
    return result


def _alike(forms: Iterable[Any]) -> Iterator[tuple[Any, list[int]]]:
    """Each distinct form, and the rows that have it."""
    groups: dict[Any, list[int]] = {}
    for row, form in enumerate(forms):
        groups.setdefault(form, []).append(row)
    yield from groups.items()
