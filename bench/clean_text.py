"""How fast documents are cleaned, on one core: every part of `examine` but optional passes.

    python bench/clean_text.py docs.jsonl [documents]

The file has one {"text": …} a line, e.g. of bench/text_corpus.py. Prints CPU and wall time of the best of three rounds,
the yield by reason, and what each part took.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import Any

from motherlode.modality.text import MODALITY
from motherlode.modality.text.options import Clean

BATCH = 2048
PARTS = {
    "examine": ("_read", "_normalise", "_mask", "_fingerprints"),
    "language": ("identify",),
    "quality": ("measures",),
    "normal": ("settle",),
    "personal": ("find",),
}


def main(path: str, num: int | None) -> None:
    with open(path, encoding="utf-8") as file:
        media = [json.loads(line)["text"].encode("utf-8", "replace") for line in islice(file, num)]
    megabytes = sum(map(len, media)) / 1e6
    MODALITY.examine(media[:64], Clean())
    rounds = [clean(media) for _ in range(3)]
    cpu, wall, reasons, notes = min(rounds, key=lambda found: found[0])
    print(f"{len(media)} documents, {megabytes:.1f} MB: {megabytes / cpu:.1f} MB/s CPU, {megabytes / wall:.1f} wall")
    print("reasons", dict(reasons))
    print("notes", dict(notes))
    spent: Counter[str] = Counter()
    for module, names in PARTS.items():
        for name in names:
            time_it(importlib.import_module(f"motherlode.modality.text.{module}"), name, spent)
    clean(media)
    for part, seconds in spent.items():
        print(f"{part:20s} {seconds / megabytes * 1e3:6.2f} ns/byte")


def clean(media: list[bytes]) -> tuple[float, float, Counter[Any], Counter[str]]:
    """CPU and wall seconds of one round, reasons and notes."""
    reasons: Counter[Any] = Counter()
    notes: Counter[str] = Counter()
    cpu, wall = time.process_time(), time.perf_counter()
    for start in range(0, len(media), BATCH):
        found = MODALITY.examine(media[start : start + BATCH], Clean())
        reasons.update(found.reasons)
        notes.update(found.notes)
    return time.process_time() - cpu, time.perf_counter() - wall, reasons, notes


def time_it(module: Any, name: str, spent: Counter[str]) -> None:
    """Add the CPU time of each call of a function to `spent`."""
    function: Callable[..., Any] = getattr(module, name)

    def timed(*args: Any, **options: Any) -> Any:
        start = time.process_time()
        found = function(*args, **options)
        spent[name] += time.process_time() - start
        return found

    setattr(module, name, timed)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else None)
