"""What a study would take, and what it could and could not tell, before anything is trained.

A grid decides which questions have answers: no law is wiser than its cells. Time is that of the models measured on this
machine as busy as it was, shared by the workers; energy and money follow from the base recipe's prices.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log10

import numpy as np

from motherlode.studies.grid import Cell, Grid
from motherlode.studies.laws import AUTOMATIC, find_form
from motherlode.studies.prices import read_price
from motherlode.studies.words import amount, money

_START_SEC = 1.0
_REPEATED, _FRESH = 1.5, 1.5
_FEWEST = 12
_SIZES = 3


@dataclass(frozen=True)
class Outlook:
    """Before a study starts.

    Attributes:
        cells, cached, diverged: how many; diverged ones are known too and will not be tried again.
        flops, naive_flops: of all cells with trunks, and each from scratch.
        left_flops, left_seconds: of what is still to be trained.
        money, currency: of what is left; 0 where neither the recipe nor the study names a price of an hour.
        can, cannot: what the grid can answer, and what not and what would mend it.
    """

    cells: int
    cached: int
    diverged: int
    flops: float
    naive_flops: float
    left_flops: float
    left_seconds: float
    money: float
    currency: str
    can: tuple[str, ...]
    cannot: tuple[str, ...]
    notes: tuple[str, ...]

    def rows(self) -> list[tuple[str, str]]:
        """A table for a person: what, how much."""
        share = self.flops / self.naive_flops
        rows = [
            ("cells", f"{self.cells} ({self.cached} already there, {self.cells - self.cached} to train)"),
            ("operations", f"{self.left_flops:.3g} FLOP to go, {self.flops:.3g} in all"),
            ("trunks", f"{share:.0%} of the {self.naive_flops:.3g} FLOP that training each cell from scratch takes"),
            ("time", _duration(self.left_seconds)),
            ("price", f"{money(self.money, self.currency)}" if self.money else "set prices.gpu_hour in the study"),
        ]
        rows += [("can tell", text) for text in self.can]
        rows += [("cannot tell", text) for text in self.cannot]
        return rows + [("note", text) for text in self.notes]


def look_ahead(grid: Grid, known: set[str], diverged: set[str], workers: int) -> Outlook:
    """Sum up a grid.

    Args:
        grid: laid out.
        known: keys of cells that need no training, diverged ones among them.
        diverged: keys of those that diverged.
        workers: strands trained at once.
    """
    left_flops = left_sec = 0.0
    for strand in grid.strands:
        missing = [cell for cell in strand.cells if cell.key not in known]
        if missing:
            steps = max(cell.branch for cell in missing) + sum(cell.steps - cell.branch for cell in missing)
            left_flops += missing[0].flops / missing[0].steps * steps
            left_sec += missing[0].seconds / missing[0].steps * steps + 2 * _START_SEC * len(missing)
    cells = grid.cells
    price, named = cells[0].recipe.price, grid.options.prices
    seconds = left_sec / workers
    hour = read_price(price.hour or named.gpu_hour or 0.0, "prices.gpu_hour", 1.0)
    can, cannot = questions(grid)
    notes = [*grid.warnings, *(f"{number} combinations left out: {why}" for why, number in grid.left_out.items())]
    return Outlook(
        cells=len(cells),
        cached=sum(cell.key in known for cell in cells),
        diverged=sum(cell.key in diverged for cell in cells),
        flops=grid.flops,
        naive_flops=grid.naive_flops,
        left_flops=left_flops,
        left_seconds=seconds,
        money=hour.cost(seconds / 3600),
        currency=price.currency if price.hour else named.currency,
        can=tuple(can),
        cannot=tuple(cannot),
        notes=tuple(notes),
    )


def questions(grid: Grid) -> tuple[list[str], list[str]]:
    """What the cells of a grid can answer, and what not, each with what would mend it."""
    can: list[str] = []
    cannot: list[str] = []
    base = [cell for cell in grid.cells if cell.treatment == grid.options.baseline]
    distinct = len({(c.num_parameters, c.steps, c.unique, c.treatment) for c in grid.cells})
    _forms(distinct, can, cannot)
    _regimes(base, can, cannot)
    _axes(grid, base, can, cannot)
    _reach(grid.cells, can, cannot)
    return can, cannot


def _forms(distinct: int, can: list[str], cannot: list[str]) -> None:
    forms = [find_form(name) for name in AUTOMATIC]
    able = [form.name for form in forms if distinct >= form.num_cells]
    if able:
        can.append(f"a law: {distinct} distinct cells are enough for {', '.join(able)}")
    else:
        least = min(form.num_cells for form in forms)
        cannot.append(f"any law: {distinct} distinct cells, the smallest form needs {least}; add sizes or passes")
    if able and distinct < _FEWEST:
        cannot.append(f"what to buy: a plan abstains below {_FEWEST} distinct cells, and there are {distinct}")


def _regimes(base: list[Cell], can: list[str], cannot: list[str]) -> None:
    repeated = sum(cell.passes > _REPEATED for cell in base)
    fresh = sum(cell.passes <= _FRESH for cell in base)
    most = max((cell.passes for cell in base), default=0.0)
    if repeated < 4:
        cannot.append("when data run out: fewer than four cells see their data again; add passes, or less unique data")
    if fresh < 3:
        cannot.append("what fresh data bring: fewer than three cells see their data about once; add cells of one pass")
    if repeated >= 4 and fresh >= 3:
        can.append(f"on which side you stand: cells from fresh data up to {most:.3g} passes")


def _axes(grid: Grid, base: list[Cell], can: list[str], cannot: list[str]) -> None:
    sizes = {cell.num_parameters for cell in base}
    if len(sizes) == 1:
        cannot.append("which model size is best: there is one; add a third and three times of it")
    elif len(sizes) < _SIZES:
        cannot.append("how quality bends with model size: two sizes make a straight line; add a third")
    else:
        can.append(f"the best model size, from {amount(min(sizes))} to {amount(max(sizes))} parameters")
    amounts = {cell.samples_owned for cell in base}
    if len(amounts) == 1:
        cannot.append("what unique data are worth: all cells own as much; add smaller values of `unique`")
    else:
        can.append(f"what unique data are worth, from {amount(min(amounts))} to {amount(max(amounts))} {grid.unit}")
    places = {(cell.num_parameters, cell.steps, cell.unique) for cell in base}
    if len(base) == len(places):
        cannot.append("noise from law: one seed; `repeat: {seeds: [1], ...}` for a few cells tells them apart")
    others = [name for name in grid.options.treatments if name != grid.options.baseline]
    if others:
        can.append(f"what {', '.join(others)} is worth against {grid.options.baseline}")
        free = [name for name in others if grid.options.treatments[name].price is None]
        if free:
            cannot.append(f"whether {', '.join(free)} pays: no price; give `price:`, 0 where it is free")
    else:
        cannot.append("whether better data pay: one treatment; add another, e.g. cleaned")


def _reach(cells: list[Cell], can: list[str], cannot: list[str]) -> None:
    flops = np.array([cell.flops for cell in cells])
    decades = log10(flops.max() / flops.min())
    if decades < 1.0:
        cannot.append(f"how far to extrapolate: the cells span {decades:.1f} decades of compute; it takes one at least")
    else:
        can.append(f"plans up to about {amount(float(flops.max()) * 100)} FLOP, two decades beyond the largest cell")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {ceil(seconds)} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"
