"""Trains the cells of a study: strand by strand, cheapest first, in this process, in local ones, or on Ray.

A strand is one task, because its cells share a trunk. Every cell trains on one thread wherever it runs, so the results
are the same; cores are shared by running as many strands at once. A cell that diverges or fails is a line with its
reason, and the others go on. What has been written down is never trained again: stop at will.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from motherlode import storage
from motherlode.errors import DivergedError, MotherlodeError
from motherlode.execute import Place, map_ordered, num_cores
from motherlode.studies.grid import Cell, Grid, Leg, Strand

CELLS = "cells.jsonl"
FINISHED, DIVERGED, FAILED, STOPPED = "finished", "diverged", "failed", "stopped"
Record = dict[str, Any]


class Follower(Protocol):
    """Follows a study; the command line draws it."""

    def cell(self, record: Record, done: int, total: int) -> None:
        """A cell has ended, well or badly, or was found done."""
        ...


class Deaf:
    """A follower that hears nothing."""

    def cell(self, record: Record, done: int, total: int) -> None:
        """Ignore it."""


@dataclass(frozen=True)
class Task:
    """One strand for one worker.

    Args:
        strand: with the cells that are still to be trained.
        measure: what they are judged by.
        num_heldout: samples it is taken on.
    """

    strand: Strand
    measure: str
    num_heldout: int


def known_records(folder: Path) -> dict[str, Record]:
    """Cells that need not be trained again, by key: finished ones, and those that would diverge again."""
    lines = storage.read_lines(folder / CELLS)
    return {line["key"]: line for line in lines if line.get("status") in (FINISHED, DIVERGED)}


def run_grid(
    grid: Grid, *, on: Place = "local", workers: int | None = None, follower: Follower | None = None
) -> tuple[list[Record], bool]:
    """Train what is missing of a grid.

    Args:
        grid: laid out.
        on: "local" or "ray".
        workers: strands at once; default: one a core, one where cells run on a GPU.
        follower: hears of each cell.

    Returns:
        The records of the grid's cells in its order, and whether all of them were reached (False: it was stopped).
    """
    folder = grid.options.folder
    heard = follower or Deaf()
    known = known_records(folder)
    total = len(grid.cells)
    found: dict[str, Record] = {}
    for cell in grid.cells:
        if cell.key in known:
            found[cell.key] = known[cell.key]
            heard.cell(known[cell.key], len(found), total)
    tasks = [
        Task(missing, grid.measure, grid.options.num_heldout)
        for strand in grid.strands
        if (missing := _missing(strand, known)).cells
    ]
    complete = True
    for record in _records(tasks, on, num_workers(grid, workers, len(tasks))):
        if record["status"] == STOPPED:
            complete = False
            break
        storage.append_line(folder / CELLS, record)
        found[record["key"]] = record
        heard.cell(record, len(found), total)
    return [found[cell.key] for cell in grid.cells if cell.key in found], complete


def num_workers(grid: Grid, wanted: int | None, num_tasks: int) -> int:
    """Strands trained at once."""
    on_cpu = grid.cells[0].recipe.train.device == "cpu"
    return max(1, min(wanted if wanted is not None else num_cores() if on_cpu else 1, num_tasks))


def _records(tasks: Sequence[Task], on: Place, workers: int) -> Iterator[Record]:
    if on == "local" and workers == 1:
        for task in tasks:
            yield from run_strand(task)
    else:
        for records in map_ordered(run_whole_strand, tasks, workers=workers, on=on):
            yield from records


def _missing(strand: Strand, known: dict[str, Record]) -> Strand:
    """The strand with its known cells taken out; the legs that the others branch from stay."""
    kept = [index for index, cell in enumerate(strand.cells) if cell.key not in known]
    legs = strand.legs[: kept[-1] + 1] if kept else ()
    return replace(strand, cells=tuple(strand.cells[index] for index in kept), legs=legs)


def run_whole_strand(task: Task) -> list[Record]:
    """Train a strand in a process of its own."""
    return list(run_strand(task))


def run_strand(task: Task) -> Iterator[Record]:
    """Train the cells of a strand in order; one record each. A record of status "stopped" is the last."""
    strand = task.strand
    trunk = _Trunk()
    for cell in strand.cells:
        with _one_thread():
            try:
                trunk.grow(strand.legs, cell.branch)
                record = _trained(cell, task, trunk)
            except DivergedError as error:
                record = _without_loss(cell, DIVERGED, str(error.invariant))
            except _Stopped:
                yield {"status": STOPPED}
                return
            except MotherlodeError as error:
                record = _without_loss(cell, FAILED, str(error))
            except Exception as error:  # noqa: BLE001  one cell must not end the study
                record = _without_loss(cell, FAILED, f"{type(error).__name__}: {error}")
        yield record


class _Stopped(Exception):  # noqa: N818  a signal, not a fault
    """Training was asked to stop."""


class _Trunk:
    """How far a strand's trunk has grown.

    Attributes:
        start: the checkpoint at its end; None at first.
        seconds, flops: spent on the leg grown last, in this or an earlier process.
    """

    def __init__(self) -> None:
        self.start: Path | None = None
        self.seconds = 0.0
        self.flops = 0.0
        self._flops = 0.0
        self._dead: DivergedError | None = None
        self._grown = 0

    def grow(self, legs: Sequence[Leg], step: int) -> None:
        """Train the legs up to the one that ends at `step`.

        Raises:
            DivergedError: the trunk diverged, now or before.
        """
        from motherlode.training.run import train

        self.seconds = self.flops = 0.0
        if self._dead is not None:
            raise self._dead
        while self._grown < len(legs) and legs[self._grown].steps <= step:
            try:
                run = train(legs[self._grown].recipe, start=self.start)
            except DivergedError as error:
                self._dead = error
                raise
            if run.facts["status"] != FINISHED:
                raise _Stopped
            begun = run.facts.get("started_from", {"seconds": 0.0})
            self.seconds += run.facts["seconds"] - begun["seconds"]
            self.flops += run.facts["flops"] - self._flops
            self._flops = run.facts["flops"]
            self.start = run.checkpoint("last")
            self._grown += 1


def _trained(cell: Cell, task: Task, trunk: _Trunk) -> Record:
    from motherlode.studies.judge import judge
    from motherlode.training.run import train

    run = train(cell.recipe, start=trunk.start)
    facts = run.facts
    if facts["status"] != FINISHED:
        raise _Stopped
    loss = judge(run, task.measure, task.strand.heldout, task.num_heldout)
    if not math.isfinite(loss):
        return _without_loss(cell, DIVERGED, f"the loss is {loss}")
    branched = facts.get("started_from", {"seconds": 0.0, "step": 0})
    share = 1 - branched["step"] / facts["step"]
    return {
        **_about(cell),
        "status": FINISHED,
        "N": facts["learnable_parameters"],
        "compute": facts["flops"],
        "loss": loss,
        "seconds": facts["seconds"],
        "paid_seconds": facts["seconds"] - branched["seconds"] + trunk.seconds,
        "paid_flops": facts["flops"] * share + trunk.flops,
        "run": run.path.name,
    }


def _about(cell: Cell) -> Record:
    return {
        "key": cell.key,
        "treatment": cell.treatment,
        "size": cell.size,
        "seed": cell.seed,
        "unique": cell.unique,
        "steps": cell.steps,
        "N": cell.num_parameters,
        "D": cell.samples_seen,
        "U": cell.samples_owned,
        "compute": cell.flops,
    }


def _without_loss(cell: Cell, status: str, why: str) -> Record:
    return {**_about(cell), "status": status, "loss": None, "error": why.replace("\n", "; ")[:500]}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Train on one thread: so results agree wherever cells run, and neighbours do not fight for cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
