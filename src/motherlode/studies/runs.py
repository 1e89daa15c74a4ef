"""A table of finished runs, whoever made them: the only thing laws and plans read.

One row is one cell: parameters N, samples (or tokens) seen D, unique samples owned U, training FLOPs `compute`, the
quality `loss` (lower is better), and the `treatment` of the data. A study's `cells.jsonl`, a CSV file, a DataFrame, an
Arrow table and a dict of arrays all become the same `Runs`. Reading never repairs in silence: a row left out is
counted and named, and columns in other units are refused rather than fitted. A 200-row CSV takes about 2 ms.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode import storage
from motherlode.errors import MotherlodeError
from motherlode.registry import did_you_mean

Floats = NDArray[np.float64]

_ALIASES = {
    "N": ("n", "params", "parameters", "num_parameters", "model_size"),
    "D": ("d", "tokens", "samples", "samples_seen", "tokens_seen"),
    "U": ("u", "unique", "unique_samples", "unique_tokens"),
    "compute": ("compute", "c", "flops", "training_flops"),
    "loss": ("loss", "val_loss", "held_out_loss", "heldout_loss", "final_loss"),
    "treatment": ("treatment", "quality"),
    "seed": ("seed",),
    "seconds": ("seconds", "time_sec", "wall_sec"),
}
_PLAIN = "as is"


class RunsError(MotherlodeError):
    """A table of runs is missing a column, is in other units, or cannot answer what is asked of it."""


@dataclass(frozen=True)
class Runs:
    """Clean columns of M cells; arrays are float64 (M,) unless said.

    Attributes:
        N, D, U, loss: as above; U is D where the table has no such column (every sample seen once).
        compute: training FLOPs, or None where the table does not count them.
        group: int64 (M,), index into `treatments`; 0 is the baseline: "raw", else what most cells had.
        seconds: wall time of each cell, or None.
        has_unique: the table says how much unique data each cell had.
        warnings: what was left out or assumed while reading.
    """

    N: Floats
    D: Floats
    U: Floats
    loss: Floats
    compute: Floats | None
    group: NDArray[np.int64]
    treatments: tuple[str, ...]
    seed: tuple[str, ...] | None
    seconds: Floats | None
    has_unique: bool
    warnings: tuple[str, ...]

    def __len__(self) -> int:
        return int(self.loss.size)

    @property
    def flops(self) -> Floats:
        """Training FLOPs: counted where the table does, else 6·N·D."""
        return 6.0 * self.N * self.D if self.compute is None else self.compute

    @property
    def epochs(self) -> Floats:
        """Passes over the unique data, at least 1."""
        return np.maximum(self.D / self.U, 1.0)

    @property
    def table(self) -> Floats:
        """(M, 3): log N, log D, log min(U, D)."""
        return np.ascontiguousarray(np.log(np.stack([self.N, self.D, np.minimum(self.U, self.D)], axis=1)))

    def where(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Runs:
        """The rows picked by a mask or by indices, warnings kept; treatments keep their numbers."""
        index = np.arange(len(self))[keep]
        return replace(
            self,
            N=self.N[index],
            D=self.D[index],
            U=self.U[index],
            loss=self.loss[index],
            compute=None if self.compute is None else self.compute[index],
            group=self.group[index],
            seed=None if self.seed is None else tuple(self.seed[i] for i in index),
            seconds=None if self.seconds is None else self.seconds[index],
        )

    def with_treatments(self, treatments: tuple[str, ...]) -> Runs:
        """The same rows with treatments numbered in this order; it must name every treatment in the rows."""
        number = np.asarray([treatments.index(name) for name in self.treatments], np.int64)
        return replace(self, group=number[self.group], treatments=treatments)

    def num_distinct(self) -> int:
        """Cells that differ in N, D, U or treatment."""
        return len({*zip(self.N, self.D, self.U, self.group)})

    def digest(self) -> str:
        """Hash of the columns: two equal digests give two equal laws."""
        parts = [self.N, self.D, self.U, self.loss, self.flops, self.group.astype(np.float64)]
        return storage.hash_bytes(b"".join(part.tobytes() for part in parts) + "|".join(self.treatments).encode())


def read_runs(source: Any) -> Runs:
    """Read a table of runs.

    Args:
        source: a DataFrame, an Arrow table, a mapping of name → array, a path of a CSV or JSON-lines file, or `Runs`.

    Raises:
        RunsError: a column is missing, holds no numbers, or is plainly in other units.
    """
    if isinstance(source, Runs):
        return source
    columns = _named(_columns(source))
    for name in ("N", "D", "loss"):
        if name not in columns:
            raise RunsError(
                "a table of runs needs the columns N, D and loss (U, compute and treatment where they are known)",
                f"columns: {', '.join(map(str, columns)) or 'none'}",
                f"add {name!r}; it may also be called {' or '.join(repr(x) for x in _ALIASES[name][1:3])}"
                if len(_ALIASES[name]) > 2
                else f"add {name!r}",
            )
    numbers = {name: _numbers(name, columns[name]) for name in ("N", "D", "loss")}
    num_rows = numbers["loss"].size
    for name in ("U", "compute", "seconds"):
        if name in columns:
            values = _numbers(name, columns[name])
            if np.isfinite(values).any():
                numbers[name] = values
    if {values.size for values in numbers.values()} != {num_rows}:
        raise RunsError(
            "every column must have as many rows as the others", {k: v.size for k, v in numbers.items()}, "fill them"
        )
    labels = [str(x) if _given(x) else _PLAIN for x in columns.get("treatment", [_PLAIN] * num_rows)]
    seeds = columns.get("seed")
    return _clean(numbers, labels, None if seeds is None else [str(x) if _given(x) else "" for x in seeds])


def _given(value: Any) -> bool:
    return value is not None and value != "" and value == value


def _columns(source: Any) -> dict[str, Any]:
    if isinstance(source, str | Path):
        return _read_file(Path(source))
    if isinstance(source, Mapping):
        return {str(name): source[name] for name in source}
    names = getattr(source, "column_names", None) or getattr(source, "columns", None)
    if names is None or not hasattr(source, "__getitem__"):
        raise RunsError(
            "runs must be a DataFrame, an Arrow table, a dict of arrays or the path of a CSV file",
            type(source).__name__,
            "pass one of these",
        )
    return {str(name): source[name].to_numpy() for name in names}


def _read_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise RunsError(
            "the table of runs must exist",
            str(path),
            storage.near_path(path, "name a CSV file, or a folder that `lode study` made"),
        )
    if path.suffix == ".jsonl":
        rows = storage.read_lines(path)
        names = {name: None for row in rows for name in row}
        return {name: [row.get(name) for row in rows] for name in names}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in file if line.strip() and not line.lstrip().startswith("#")]
    except UnicodeDecodeError as error:
        raise RunsError("a table of runs must be text", str(path), storage.why_unreadable(error, path)) from error
    delimiter = max(",;\t", key=lines[0].count) if lines else ","
    if delimiter == ";":  # as spreadsheets write where a comma is the decimal point
        lines = [line.replace(",", ".") for line in lines]
    reader = csv.reader(lines, delimiter=delimiter)
    header = [name.strip() for name in next(reader, [])]
    rows_of_text = [row for row in reader if row]
    short = next((row for row in rows_of_text if len(row) != len(header)), None)
    if short is not None:
        raise RunsError(
            f"every line of a CSV file must have as many fields as its header ({len(header)})",
            f"{path}: {delimiter.join(short)}",
            "mend that line; the header names N, D and loss, as in `lode plan --help`",
        )
    return {name: [row[i].strip() for row in rows_of_text] for i, name in enumerate(header)}


def _named(columns: dict[str, Any]) -> dict[str, Any]:
    """Columns under our names; an exact name wins over an alias, columns we do not know are left alone."""
    found = {name: columns[name] for name in _ALIASES if name in columns}
    for name, aliases in _ALIASES.items():
        for given, values in columns.items():
            if name not in found and given.lower() in aliases:
                found[name] = values
    if "loss" not in found and columns:
        similar = [name for name in columns if "loss" in name.lower()]
        near = did_you_mean("loss", similar) if similar else "name the quality on held-out data so; lower is better"
        raise RunsError("a table of runs needs a column `loss`", f"columns: {', '.join(columns)}", near)
    return found


def _numbers(name: str, values: Any) -> Floats:
    try:
        cast = [float(x) if _given(x) else np.nan for x in values]
    except (TypeError, ValueError) as error:
        raise RunsError(f"column {name} must hold numbers", str(error), "write plain numbers, such as 1.5e9") from error
    return np.asarray(cast, np.float64)


def _clean(numbers: dict[str, Floats], labels: list[str], seeds: list[str] | None) -> Runs:
    warnings = []
    loss, compute, seconds = numbers["loss"], numbers.get("compute"), numbers.get("seconds")
    unique = numbers.get("U", numbers["D"])
    keep = np.isfinite(loss) & np.isfinite(numbers["N"]) & np.isfinite(numbers["D"]) & np.isfinite(unique)
    if compute is not None:
        keep &= np.isfinite(compute)
    if not keep.all():
        warnings.append(
            f"{int((~keep).sum())} of {keep.size} cells have no finite loss, N, D, U or compute and were left out: "
            "rerun them, or the law describes only the runs that did not diverge"
        )
    if not keep.any():
        raise RunsError("a table of runs must have cells with finite numbers", f"{keep.size} rows", "add finished runs")
    for name, values in [("N", numbers["N"]), ("D", numbers["D"]), ("U", unique), ("loss", loss), ("compute", compute)]:
        if values is not None and (values[keep] <= 0).any():
            raise RunsError(
                f"{name} must be positive in every cell (the law is fitted to its logarithm)",
                float(values[keep].min()),
                "shift a loss that can be negative by a constant, or leave the cell out",
            )
    order: dict[str, int] = {}
    for label, kept in zip(labels, keep):
        order[label] = order.get(label, 0) + int(kept)
    treatments = tuple(sorted((x for x in order if order[x]), key=lambda label: (label != "raw", -order[label], label)))
    group = np.asarray([treatments.index(label) if label in treatments else 0 for label in labels], np.int64)
    runs = Runs(
        numbers["N"], numbers["D"], unique, loss, compute, group, treatments,
        None if seeds is None else tuple(seeds), seconds, "U" in numbers, (),
    ).where(keep)  # fmt: skip
    _check_units(runs)
    runs, repeated = _drop_copies(runs)
    if repeated:
        warnings.append(f"{repeated} duplicated cells (all columns equal) were counted once: a copy is no second seed")
    return replace(runs, warnings=tuple(warnings))


def _drop_copies(runs: Runs) -> tuple[Runs, int]:
    seeds = runs.seed or ("",) * len(runs)
    first: dict[tuple[Any, ...], int] = {}
    for i, key in enumerate(zip(runs.N, runs.D, runs.U, runs.loss, runs.group, seeds)):
        first.setdefault(key, i)
    index = np.asarray(sorted(first.values()), np.int64)
    return runs.where(index), len(runs) - index.size


def _check_units(runs: Runs) -> None:
    """Counts are whole numbers; a column of small fractions is in millions or billions."""
    for name, values in (("N", runs.N), ("D", runs.D), ("U", runs.U)):
        fractional = np.abs(values - np.round(values)) > 1e-6
        if np.median(values) < 1e5 and fractional.mean() > 0.2:
            raise RunsError(
                f"{name} must be a plain count (of parameters, samples or tokens)",
                f"values such as {values[fractional][0]:g}, from {values.min():g} to {values.max():g}",
                f"multiply the column by its unit: {name} in billions times 1e9, in millions times 1e6",
            )
    if np.median(runs.N) < 100 and np.median(runs.D) > 1e4 * np.median(runs.N):
        raise RunsError(
            "N must be a plain count of parameters", f"median {np.median(runs.N):g}", "multiply it by 1e6 or 1e9"
        )
    if runs.has_unique and float(np.median(runs.D / runs.U)) > 1e5:
        raise RunsError(
            "D and U must be in one unit (samples seen, unique samples)",
            f"a median of {np.median(runs.D / runs.U):.3g} passes over the data",
            "bring both columns to plain counts",
        )
    if runs.has_unique and float((runs.D / runs.U).max()) < 1e-3:
        raise RunsError(
            "D and U must be in one unit (samples seen, unique samples)",
            f"at most {float((runs.D / runs.U).max()):.2g} passes over the data",
            "bring both columns to plain counts",
        )
    if runs.compute is not None:
        ratio = float(np.median(runs.compute / (runs.N * runs.D)))
        if not 1e-2 < ratio < 1e6:
            raise RunsError(
                "compute must be training FLOPs, about 6·N·D for a dense network",
                f"a median of {ratio:.3g} FLOPs for each parameter and sample",
                "give N and D as plain counts and compute in FLOPs (1 PFLOP-day = 8.64e19), or drop the column",
            )
