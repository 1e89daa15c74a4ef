"""Timings and figures of the studies floor.

    python bench/laws.py               fits, bootstraps, a plan; on invented pilots where no published tables are given
    python bench/laws.py TABLES        and the public tables in that folder: objectives, coverage, width, error
    python bench/laws.py TABLES --race and the three rules for the next pilot (about ten minutes)
    python bench/laws.py TABLES --inner and the cuts on which laws are chosen: the repetition runs by passes, amount and
                                       compute, the pilots of docs/studies by compute and passes; no held-back cell

Times are of one thread, warm (kernels compiled and loaded), best of three.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motherlode.randomness import numpy_generator
from motherlode.studies.backtest import FEWEST_PILOTS, RULES, holdout, published_tables, race
from motherlode.studies.fit import fit_law
from motherlode.studies.intervals import z_of
from motherlode.studies.laws import FORMS, Floats
from motherlode.studies.plan import plan
from motherlode.studies.runs import Runs, read_runs

STUDIES = Path(__file__).resolve().parents[1] / "docs" / "studies"


def best_of(function: Callable[[], object], times: int = 3) -> float:
    function()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return min(taken)


def invented(num: int = 200) -> dict[str, Floats]:
    """Pilots over both regimes from a law with a penalty for repetition, 1 % noise."""
    rng = numpy_generator(0, "bench laws")
    U = 10 ** rng.uniform(8, 10.5, num)
    N = 10 ** rng.uniform(7, 9.5, num)
    D = U * 10 ** rng.uniform(0, 2, num)
    truth = {
        "E": 2.0,
        "A": 500.0,
        "B": 2e4,
        "alpha": 0.34,
        "beta": 0.47,
        "P": 0.05,
        "P_repeats": 0.35,
        "P_crowding": 0.7,
    }
    loss = FORMS["overfit_penalty"].predict(truth, N, D, U) * np.exp(0.01 * rng.standard_normal(num))
    return {"N": np.round(N), "D": np.round(D), "U": np.round(U), "loss": loss}


def time_fits(tables: dict[str, Runs]) -> None:
    print(f"{'fit':44s} {'rows':>5s} {'alone':>8s} {'+ 1000 bootstraps':>18s}")
    for name, form in (("chinchilla", "chinchilla"), ("repetition", "overfit_penalty"), ("repetition", "auto")):
        runs = tables.get(name, read_runs(invented(234 if name == "chinchilla" else 182)))
        alone = best_of(lambda runs=runs, form=form: fit_law(runs, form, 0))
        whole = best_of(lambda runs=runs, form=form: fit_law(runs, form, 1000))
        print(f"{name + ', ' + form:44s} {len(runs):5d} {alone:7.3f}s {whole:17.3f}s")


def time_plan(rows: dict[str, Floats]) -> None:
    law = fit_law(rows, bootstrap=300)
    asked = {"unique": 1e9, "compute": 1e20}
    print(f"\nplan from a fitted law {best_of(lambda: plan(law, 1000.0, 2.5, 3.0, **asked)):.3f} s")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.csv"
        lines = [",".join(rows), *(",".join(map(repr, map(float, row))) for row in zip(*rows.values()))]
        path.write_text("\n".join(lines))
        words = [
            "plan",
            "--runs",
            str(path),
            "--budget",
            "1000",
            "--gpu-hour",
            "2.5",
            "--data-price",
            "3",
            "--out",
            folder,
        ]
        command = [sys.executable, "-m", "motherlode.cli", *words]
        wall = best_of(lambda: subprocess.run(command, check=True, capture_output=True))
        print(f"lode plan, {len(rows['N'])} rows, start included {wall:.2f} s wall")


def score(tables: dict[str, Runs]) -> None:
    print(f"\n{'public table':48s} {'cut':>5s} {'pilots':>6s} {'held':>5s} {'cover':>6s} {'width':>6s} {'error':>7s}")
    found = {}
    for name, runs in tables.items():
        for cut in (0.1, 0.01):
            result = holdout(runs, cut)
            if result is not None:
                found[name, cut] = result
                print(
                    f"{name:48s} {cut:5g} {result.num_pilots:6d} {result.num_held:5d} {result.coverage:6.2f} "
                    f"{result.width:6.1%} {result.error:7.2%}"
                )
    for label, chosen in (
        ("twelve tables", {k: v for k, v in found.items() if "-long-" not in k[0]}),
        ("all sixteen", found),
    ):
        tenth = [s.error for (_, cut), s in chosen.items() if cut == 0.1]
        print(
            f"{label}: {len(chosen)} cases, coverage {np.mean([s.coverage for s in chosen.values()]):.3f}, width "
            f"{np.mean([s.width for s in chosen.values()]):.1%}, median error at ten times {np.median(tenth):.2%}"
        )


def inner_cuts(repetition: Runs) -> list[tuple[str, Runs, NDArray[np.bool_]]]:
    """(group, table, which of its rows are fitted): what may be looked at as often as one likes."""
    runs = repetition
    found = [("repetition, passes", runs, runs.epochs <= 1.01 * passes) for passes in (4, 8, 16, 32)]
    found += [("repetition, else", runs, share * runs.U.max() >= runs.U) for share in (0.1, 0.3)]
    found += [("repetition, else", runs, runs.flops <= share * runs.flops.max()) for share in (0.1, 0.03, 0.01)]
    for name, passes_cuts in (("book", (6, 10, 24)), ("fashion", (20, 60, 110))):
        table = read_runs(STUDIES / f"{name}.csv")
        pilots = table.where(table.flops <= 0.1 * table.flops.max())
        for runs in (pilots.where(pilots.group == pilots.treatments.index("raw")), pilots):
            found += [(f"{name}, compute", runs, runs.flops <= share * runs.flops.max()) for share in (0.5, 0.25, 0.1)]
            found += [(f"{name}, passes", runs, runs.epochs <= passes) for passes in passes_cuts]
    return found


def score_inner(repetition: Runs) -> None:
    """Coverage, width, error, and the interval score of log loss (width + 20 x what lies outside; lower is better)."""
    print(f"\n{'inner cuts':24s} {'cases':>5s} {'cover':>6s} {'width':>7s} {'error':>7s} {'score':>6s}")
    rows: dict[str, list[tuple[float, float, float, float]]] = {}
    for group, runs, below in inner_cuts(repetition):
        pilots, held = runs.where(below), runs.where(~below)
        if len(pilots) < FEWEST_PILOTS or len(held) < 3:
            continue
        law = fit_law(pilots, "auto", 80)
        centre, deviation = law.log_moments(held.table, held.group)
        half = z_of(0.9) * np.hypot(deviation, law.discrepancy.noise)
        miss = np.abs(np.log(held.loss) - centre)
        score = 2 * half + 20 * np.maximum(miss - half, 0.0)
        told = (np.mean(miss <= half), np.mean(2 * np.sinh(half)), np.median(miss), score.mean())
        rows.setdefault(group, []).append(tuple(map(float, told)))  # type: ignore[arg-type]
    for group, found in rows.items():
        covered, width, error, score = np.asarray(found).T
        print(
            f"{group:24s} {len(found):5d} {covered.mean():6.2f} {np.exp(np.log(width).mean()):7.1%} "
            f"{np.median(error):7.2%} {np.exp(np.log(score).mean()):6.3f}"
        )


def run_race(tables: dict[str, Runs], starts: int) -> None:
    print(f"\nnext pilot: mean error at the top, {starts} starts")
    for name, runs in tables.items():
        if "-long-" not in name and not name.startswith("gadre"):
            errors = {rule: np.mean([race(runs, rule, seed) for seed in range(starts)]) for rule in RULES}
            print(f"{name:48s} " + "  ".join(f"{rule} {error:6.2%}" for rule, error in errors.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="?", type=Path)
    parser.add_argument("--race", action="store_true")
    parser.add_argument("--inner", action="store_true")
    parser.add_argument("--starts", type=int, default=6)
    given = parser.parse_args()
    tables = published_tables(given.tables) if given.tables else {}
    time_fits(tables)
    time_plan(invented())
    if tables:
        score(tables)
    if given.inner:
        score_inner(tables["repetition"])
    if given.race:
        run_race(tables, given.starts)


if __name__ == "__main__":
    main()
