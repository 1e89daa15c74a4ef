"""A dataset of texts on disk without `prepare`: what packing and drawing need, and nothing more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from motherlode import storage
from motherlode.data.dataset import FACTS, FORMAT, Dataset
from motherlode.data.step import SPLITS
from motherlode.data.write import file_facts

WORDS = [
    "the",
    "lode",
    "runs",
    "deep",
    "beneath",
    "a",
    "hill",
    "of",
    "grey",
    "stone",
    "and",
    "every",
    "miner",
    "who",
    "digs",
    "there",
    "finds",
    "a",
    "little",
    "more",
    "ore",
]


def prose(number: int, num_words: int) -> str:
    """A text of so many words that no other number has."""
    return " ".join(WORDS[(number * 7 + place * (1 + number % 5)) % len(WORDS)] for place in range(num_words))


def write_texts(
    folder: Path,
    train: Mapping[str, Sequence[str]],
    heldout: Sequence[str] = (),
    *,
    shard_rows: int = 1 << 30,
) -> Dataset:
    """A dataset folder that holds these texts, by source; the held-out ones belong to the first source."""
    sources = list(train)
    rows = {
        "train": [(text, source) for source, texts in train.items() for text in texts],
        "heldout": [(text, sources[0]) for text in heldout],
        "dropped": [],
    }
    facts: dict[str, object] = {
        "format": FORMAT,
        "id": storage.hash_bytes(repr(rows).encode()),
        "modality": "text",
        "column": "text",
        "measured": [],
        "labels": [],
        "in": len(rows["train"]) + len(rows["heldout"]),
        "kept": len(rows["train"]) + len(rows["heldout"]),
        "dropped": {},
        "augmented": 0,
        "steps": [],
        "warnings": [],
        "sources": sources,
        "ignored": {},
        "findings": {},
    }
    with storage.atomic_folder(folder) as temporary:
        shards: dict[str, list[dict[str, object]]] = {}
        for split in SPLITS:
            shards[split] = []
            (temporary / split).mkdir()
            for number, first in enumerate(range(0, max(len(rows[split]), 1), shard_rows)):
                chosen = rows[split][first : first + shard_rows]
                name = f"{split}/{number:05d}.parquet"
                table = pa.table(
                    {
                        "text": pa.array([text for text, _ in chosen], pa.string()),
                        "source": pa.array([source for _, source in chosen], pa.string()),
                    }
                )
                pq.write_table(table, temporary / name)
                num_bytes = sum(len(text.encode()) for text, _ in chosen)
                shards[split].append(
                    {"path": name, "rows": len(chosen), "media_bytes": num_bytes} | file_facts(temporary / name)
                )
        storage.write_json(temporary / FACTS, {**facts, "shards": shards})
    return Dataset.open(folder)
