"""`study`: a grid of runs over data, treatment, model size and compute, and the law fitted to them.

A study is a folder: `study.yaml` (with its recipe), `cells.jsonl` (a line a cell), `runs/`, `probes.json`, `law.json`,
`report.html`. Calling it again trains only what is new. The law is fitted to the cells in the grid's order, so that it
is the same to the bit however often, wherever and in whatever order they were trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from motherlode import storage
from motherlode.execute import Place
from motherlode.studies import runner
from motherlode.studies.fit import fit_law
from motherlode.studies.grid import Grid, lay_out
from motherlode.studies.law import Law
from motherlode.studies.options import StudyError, StudyOptions
from motherlode.studies.outlook import Outlook, look_ahead
from motherlode.studies.runner import CELLS, DIVERGED, FAILED, FINISHED, Record
from motherlode.studies.runs import Runs, RunsError, read_runs

FACTS, LAW, PAGE = "study.yaml", "law.json", "report.html"
SUMMARY = "study.json"
_COLUMNS = ("N", "D", "U", "compute", "loss", "treatment", "seed", "seconds")


class Follower(runner.Follower, Protocol):
    """Follows a study."""

    def begin(self, outlook: Outlook) -> None:
        """Before anything is trained."""
        ...


class Silent(runner.Deaf):
    """A follower that hears nothing."""

    def begin(self, outlook: Outlook) -> None:
        """Ignore it."""


@dataclass(frozen=True)
class Study:
    """A study on disk.

    Attributes:
        folder: where it lies.
        options: what was asked.
        records: a mapping a cell, in the order of the grid; `status` is "finished", "diverged" or "failed".
        complete: every cell has been reached.
        why_no_law: what the cells lack, where no law could be fitted.
    """

    folder: Path
    options: StudyOptions
    records: tuple[Record, ...]
    complete: bool
    unit: str = "samples"
    measure: str = ""
    why_no_law: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: str | Path) -> Study:
        """Open a study's folder.

        Raises:
            StudyError: there is no study.
        """
        folder = Path(folder)
        if not (folder / SUMMARY).is_file() or not (folder / FACTS).is_file():
            fix = storage.near_path(folder, "run the study first")
            raise StudyError("a study's folder must hold study.yaml and study.json", str(folder), fix)
        facts = storage.read_json(folder / SUMMARY)
        by_key = {line["key"]: line for line in storage.read_lines(folder / CELLS)}
        return cls(
            folder,
            StudyOptions.load(folder / FACTS),
            tuple(by_key[key] for key in facts["cells"] if key in by_key),
            facts["complete"],
            facts["unit"],
            facts["measure"],
            facts["why_no_law"],
            facts,
        )

    @cached_property
    def law(self) -> Law | None:
        """The law fitted to it; None where its cells could not bear one."""
        return Law.open(self.folder) if (self.folder / LAW).is_file() and not self.why_no_law else None

    @cached_property
    def runs(self) -> Runs:
        """Its finished cells as a table.

        Raises:
            RunsError: none has finished.
        """
        return table_of(self.records)

    def counts(self) -> dict[str, int]:
        """Cells by status."""
        found = dict.fromkeys((FINISHED, DIVERGED, FAILED), 0)
        for record in self.records:
            found[record["status"]] += 1
        return found

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r}, {len(self.records)} cells)"


def table_of(records: Sequence[Record]) -> Runs:
    """Records as a table of runs; those without a loss are counted in its warnings."""
    return read_runs({name: [record.get(name) for record in records] for name in _COLUMNS})


def study(
    source: str | Path | StudyOptions,
    *,
    on: Place = "local",
    workers: int | None = None,
    follower: Follower | None = None,
) -> Study:
    """Run a study, or go on with it: train its cells, fit the law, write the report.

    Args:
        source: the path of a study.yaml, or its options.
        on: "local" or "ray".
        workers: strands of cells trained at once; default one a core, each on one thread.
        follower: hears what is to come, and of each cell.

    Raises:
        RecipeError: the file or a cell's recipe is wrong.
        StudyError: the axes make no cells, or the same cell twice.
        LockedError: another process runs this study.
    """
    options = source if isinstance(source, StudyOptions) else StudyOptions.load(source)
    options = _whole(options)
    heard = follower or Silent()
    with storage.lock(options.folder):
        grid = lay_out(options)
        heard.begin(outlook_of(grid, workers))
        options.save(options.folder / FACTS)
        records, complete = runner.run_grid(grid, on=on, workers=workers, follower=heard)
        return _finish(grid, records, complete)


def outlook(source: str | Path | StudyOptions, *, workers: int | None = None) -> Outlook:
    """What a study would take and could tell, without training anything.

    Args:
        source: the path of a study.yaml, or its options.
        workers: as for `study`.
    """
    options = source if isinstance(source, StudyOptions) else StudyOptions.load(source)
    return outlook_of(lay_out(_whole(options)), workers)


def outlook_of(grid: Grid, workers: int | None) -> Outlook:
    """What a laid-out grid would take and could tell."""
    known = runner.known_records(grid.options.folder)
    diverged = {key for key, record in known.items() if record["status"] == DIVERGED}
    return look_ahead(grid, set(known), diverged, runner.num_workers(grid, workers, len(grid.strands)))


def _whole(options: StudyOptions) -> StudyOptions:
    """Options that hold their recipe."""
    if isinstance(options.recipe, dict):
        return options
    from motherlode.studies.options import read_content

    return options.model_copy(update={"recipe": read_content(Path(options.recipe))})


def _finish(grid: Grid, records: list[Record], complete: bool) -> Study:
    """Fit the law and write everything down."""
    from motherlode.studies.page import render

    options = grid.options
    law, why = None, ""
    try:
        law = fit_law(table_of(records), options.form, options.bootstrap)
    except RunsError as error:
        why = str(error)
    if law is not None:
        law.save(options.folder / LAW)
    else:
        (options.folder / LAW).unlink(missing_ok=True)
    facts = {
        "name": options.name,
        "complete": complete,
        "measure": grid.measure,
        "unit": grid.unit,
        "cells": [cell.key for cell in grid.cells],
        "why_no_law": why,
        "naive_flops": grid.naive_flops,
        "flops": grid.flops,
        "warnings": list(grid.warnings),
    }
    storage.write_json(options.folder / SUMMARY, facts)
    found = Study(options.folder, options, tuple(records), complete, grid.unit, grid.measure, why, facts)
    storage.write_text(options.folder / PAGE, render(found))
    return found
