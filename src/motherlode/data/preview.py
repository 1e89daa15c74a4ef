"""The dry run: the first two passes on a random sample of the source, and the yield of each step with its interval.

Slices of rows are drawn from random partitions, so a source sorted by folder or date is seen from end to end. Rows of
one slice resemble one another; the intervals therefore come from resampling slices, not rows. Copies are found only
within the sample, so the yields of the duplicate steps are upper bounds, and say so. Nothing is written but to a
temporary folder.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode import registry
from motherlode.data.guess import settled
from motherlode.data.options import PrepareOptions
from motherlode.data.prepare import Plan, Work
from motherlode.data.source import Partition, passed_over, plan
from motherlode.data.step import Progress, Rows, StepCount, silent, wilson
from motherlode.modality import Modality
from motherlode.randomness import numpy_generator
from motherlode.recipe import parse

NUM_SLICES = 32
SLICE_ROWS = 64
LEVEL = 0.9
_RESAMPLES = 1000
_FEWEST_SLICES = 5
_PAIR_STEPS = frozenset({"exact duplicates", "near duplicates"})


@dataclass(frozen=True)
class StepYield:
    """One step's yield on the sample.

    Args:
        count: what the step let through of the sampled rows.
        low, high: ends of the interval of the yield over the whole source.
        is_bound: the step compares rows with one another, so the whole source will yield less.
    """

    count: StepCount
    low: float
    high: float
    is_bound: bool

    @property
    def estimate(self) -> float:
        """Share of rows let through."""
        return self.count.num_kept / self.count.num_in if self.count.num_in else 1.0


@dataclass(frozen=True)
class Preview:
    """What a dry run found; `str` gives it as a table."""

    num_sampled: int
    num_rows: int
    """Rows of the source; 0 where they cannot be known without reading it all."""
    steps: list[StepYield]
    warnings: list[str]
    ignored: dict[str, int]

    def __str__(self) -> str:
        total = f" of {self.num_rows:,}" if self.num_rows else ""
        lines = [f"Sampled {self.num_sampled:,}{total} rows; yields with their {LEVEL:.0%} intervals:", ""]
        lines.append(f"  {'step':<18}{'in':>7}{'kept':>7}  {'yield':<36}dropped")
        for item in self.steps:
            count = item.count
            reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(count.dropped.items()))
            shown = f"{item.estimate:6.1%} ({item.low:.1%} to {item.high:.1%}){' at most' if item.is_bound else ''}"
            lines.append(f"  {count.name:<18}{count.num_in:>7,}{count.num_kept:>7,}  {shown:<36}{reasons}".rstrip())
        lines += [f"  warning: {text}" for text in self.warnings]
        if self.ignored:
            lines.append(f"  passed over: {passed_over(self.ignored)}")
        if any(item.is_bound for item in self.steps):
            lines += ["", "  Copies are found within the sample only: the whole source holds more of them."]
        return "\n".join(lines)


def preview(options: PrepareOptions, progress: Progress = silent) -> Preview:
    """Try a sample of the source.

    Raises:
        SourceError, RecipeError, DatasetError: as `prepare`.
    """
    options, _ = settled(options)
    modality: Modality = registry.find("modality", options.modality)
    options = options.resolved(modality)
    clean = parse(modality.Options, options.clean, where="prepare", within=("clean",))
    chosen, num_rows, ignored = _choose(options, modality)
    with tempfile.TemporaryDirectory(prefix="motherlode-") as folder:
        path = Path(folder) / "plan.jsonl"
        path.write_text(
            "".join(json.dumps(partition.as_dict()) + "\n" for partition in chosen), "utf-8", "surrogateescape"
        )
        sources = tuple(dict.fromkeys(partition.source for partition in chosen))
        num_bytes = sum(partition.num_bytes for partition in chosen)
        thinned = Plan(path, "", len(chosen), num_bytes, sources, ignored)
        work = Work(options, modality, clean, Path(folder), thinned, progress)
        records = work.read()
        rows = work.gather(records)
        counts = work.decide(rows, records)
        sizes = np.array([record.num_rows for record in records])
    slices_N = np.repeat(np.arange(len(sizes)), sizes)
    exhaustive = bool(num_rows) and len(rows) >= num_rows
    steps = list(_yields(rows, counts, slices_N, options.seed, exhaustive))
    return Preview(len(rows), num_rows, steps, [*(c.warning for c in counts if c.warning), *rows.warnings], ignored)


def _choose(options: PrepareOptions, modality: Modality) -> tuple[list[Partition], int, dict[str, int]]:
    """Random slices of random partitions, by reservoir sampling over the plan; and the rows of the whole source."""
    planned = plan(options.source, modality.suffixes, options.source_options(modality))
    rng = numpy_generator(options.seed, "dry run")
    reservoir: list[tuple[int, Partition]] = []
    num_rows, all_known = 0, True
    for index, partition in enumerate(planned.partitions):
        num_rows += partition.num_rows
        all_known &= partition.num_rows > 0
        if len(reservoir) < NUM_SLICES:
            reservoir.append((index, partition))
        elif (place := int(rng.integers(index + 1))) < NUM_SLICES:
            reservoir[place] = (index, partition)
    reservoir.sort(key=lambda item: item[0])
    few = max(1, NUM_SLICES // len(reservoir))
    chosen = [piece for _, partition in reservoir for piece in _thin(partition, few * SLICE_ROWS, rng)]
    return chosen, num_rows if all_known else 0, dict(sorted(planned.ignored.items()))


def _thin(partition: Partition, num_rows: int, rng: np.random.Generator) -> Iterator[Partition]:
    """Slices of a partition with about `num_rows` rows together."""
    if (partition.num_rows and partition.num_rows <= num_rows) or partition.kind == "broken":
        yield partition
    elif partition.kind == "files":
        for places in np.array_split(np.sort(rng.permutation(len(partition.items))[:num_rows]), num_rows // SLICE_ROWS):
            items = [partition.items[place] for place in places]
            yield _piece(partition, items, len(items))
    elif partition.kind in ("parquet", "idx"):
        yield from _windows(partition, num_rows, rng)
    else:
        yield replace(partition, first_rows=num_rows, num_rows=0)


def _piece(partition: Partition, items: list[Any], num_rows: int) -> Partition:
    num_bytes = partition.num_bytes * num_rows // partition.num_rows
    return replace(partition, items=items, num_rows=num_rows, num_bytes=num_bytes)


def _windows(partition: Partition, num_rows: int, rng: np.random.Generator) -> Iterator[Partition]:
    """Runs of `SLICE_ROWS` rows that do not overlap; the last two fields of an item are its range."""
    runs = []
    for item in partition.items:
        *rest, first, end = item
        runs += [(rest, start, min(start + SLICE_ROWS, end)) for start in range(first, end, SLICE_ROWS)]
    for place in np.sort(rng.permutation(len(runs))[: num_rows // SLICE_ROWS]):
        rest, first, end = runs[place]
        yield _piece(partition, [(*rest, first, end)], end - first)


def _yields(
    rows: Rows, counts: list[StepCount], slices_N: NDArray[np.int64], seed: int, exhaustive: bool
) -> Iterator[StepYield]:
    num_slices = int(slices_N.max(initial=-1)) + 1
    draws = numpy_generator(seed, "dry run bootstrap").integers(num_slices, size=(_RESAMPLES, num_slices))
    is_in_N = np.ones(len(rows), bool)
    for count in counts:
        code = rows.step_names.index(count.name) if count.name in rows.step_names else -2
        kept_N = is_in_N & (rows.steps_N != code)
        in_S = np.bincount(slices_N[is_in_N], minlength=num_slices)
        kept_S = np.bincount(slices_N[kept_N], minlength=num_slices)
        estimate = kept_S.sum() / max(in_S.sum(), 1)
        if exhaustive:
            low = high = float(estimate)
        elif num_slices >= _FEWEST_SLICES and 0 < kept_S.sum() < in_S.sum():
            ratios = kept_S[draws].sum(axis=1) / np.maximum(in_S[draws].sum(axis=1), 1)
            low, high = (float(q) for q in np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
        else:
            low, high = wilson(int(kept_S.sum()), int(in_S.sum()))
        yield StepYield(count, low, high, count.name in _PAIR_STEPS and not exhaustive)
        is_in_N = kept_N
