"""Backtests that ship with the code: is the interval honest, and does the rule for the next pilot earn its place?

`holdout` cuts a table at a share of its top compute, fits below and scores above. `race` lets three rules choose
further pilots at equal compute from the same table: at random, a few of the largest spread in log D/N, and by expected
value of sample information (EVSI). Over nine public tables, six starts each, EVSI was best of the three on five and
behind on four (`RACE`), so `lode plan --next` refuses and says so. `bench/laws.py --race` runs it again.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import RecipeError
from motherlode.randomness import numpy_generator
from motherlode.studies.fit import fit_law
from motherlode.studies.intervals import horizon
from motherlode.studies.law import Law
from motherlode.studies.laws import Floats
from motherlode.studies.runs import Runs, read_runs

FEWEST_PILOTS = 12
_BOOTSTRAP = 120


@dataclass(frozen=True)
class Score:
    """A law's account of runs it had not seen.

    Attributes:
        share: of the top compute, where the cut is.
        num_pilots: runs below the cut.
        actual, estimate, low, high: (K,) losses of the runs above it, and what the law said of them.
    """

    share: float
    num_pilots: int
    actual: Floats
    estimate: Floats
    low: Floats
    high: Floats

    @property
    def num_held(self) -> int:
        """Runs above the cut."""
        return self.actual.size

    @property
    def coverage(self) -> float:
        """Share of held-back runs inside their interval."""
        return float(np.mean((self.low <= self.actual) & (self.actual <= self.high)))

    @property
    def width(self) -> float:
        """Mean full width of the interval over the estimate."""
        return float(np.mean((self.high - self.low) / self.estimate))

    @property
    def error(self) -> float:
        """Median relative error of the estimate."""
        return float(np.median(np.abs(self.estimate / self.actual - 1)))


def holdout(runs: Runs, share: float, *, form: str = "auto", bootstrap: int = 200, level: float = 0.9) -> Score | None:
    """Fit the runs of at most `share` of the top compute, score the others; None where too few pilots remain."""
    below = runs.flops <= share * runs.flops.max()
    pilots, held = runs.where(below), runs.where(~below)
    if len(pilots) < FEWEST_PILOTS or not len(held):
        return None
    law = fit_law(pilots, form, bootstrap)
    estimate, low, high = law.predict(held.N, held.D, held.U, level)
    return Score(share, len(pilots), held.loss, estimate, low, high)


def published_tables(folder: Path) -> dict[str, Runs]:
    """The public tables the figures in our documents were measured on, by name.

    Chinchilla's small pilots; Muennighoff's 182 repetition runs; Gadre's three training sets; Gemstones; Porian's
    isoFLOP slices for each published training recipe. Tables whose name holds "long" were trained with a warm-up that
    its authors show to outlast the small models' training; they count as stress, not as acceptance.
    """
    found = {"chinchilla": read_runs(folder / "chinchilla_pkg_llm.csv")}
    rows = _rows(folder / "datablations_fit182.csv")
    found["repetition"] = _table([r for r in rows if r["dedup"] == "0"], loss="val_loss")
    rows = _rows(folder / "gadre_overtrain.csv")
    for name in sorted({row["train_set"] for row in rows}):
        found[f"gadre {name}"] = _table([r for r in rows if r["train_set"] == name], loss="val_c4", compute="C")
    rows = _rows(folder / "gemstones_cool.csv")
    found["gemstones"] = _table(rows, N="params_active_precise", D="tokens", loss="final_loss")
    for corpus in ("owt2", "rw"):
        rows = _rows(folder / f"porian_{corpus}.csv")
        recipes = sorted({(r["hparams"], r["warmup"], r["decay"], r["param_count"]) for r in rows})
        for recipe in recipes:
            chosen = [r for r in rows if (r["hparams"], r["warmup"], r["decay"], r["param_count"]) == recipe]
            found[f"porian {corpus} {'-'.join(recipe)}"] = _table(chosen, compute="C")
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def _table(rows: list[dict[str, str]], **names: str) -> Runs:
    columns = {"N": "N", "D": "D", "loss": "loss", "U": "U", **names}
    held = {ours: [float(r[theirs]) for r in rows] for ours, theirs in columns.items() if theirs in rows[0]}
    return read_runs({name: np.round(x) if name in {"N", "D", "U"} else x for name, x in held.items()})


# Mean error (%) on the runs above a tenth of the top compute: chance, few largest, information. Seeds 0-5.
RACE = {
    "chinchilla": (1.47, 1.53, 3.04),
    "repetition": (9.59, 12.82, 7.82),
    "gemstones": (3.57, 2.89, 1.68),
    "porian owt2 base-short-chinchilla-standard": (9.01, 4.03, 3.76),
    "porian owt2 base-short-kaplan-standard": (2.69, 4.32, 2.25),
    "porian owt2 tuned-short-const-standard": (5.22, 6.48, 6.53),
    "porian rw base-short-chinchilla-standard": (5.05, 2.40, 6.26),
    "porian rw base-short-kaplan-standard": (5.22, 5.32, 4.25),
    "porian rw tuned-short-const-standard": (6.15, 6.83, 8.44),
}


def refuse_next() -> NoReturn:
    """Say that no rule for the next pilot has earned its place.

    Raises:
        RecipeError: always, with the backtest's figures.
    """
    won = sum(information < min(chance, largest) for chance, largest, information in RACE.values())
    raise RecipeError(
        "`--next` proposes a pilot only by a rule that beat chance and a few large, log-spaced runs in the backtest",
        f"expected information was best on {won} of {len(RACE)} public tables and behind on {len(RACE) - won}",
        "run a few of the largest pilots you can afford, log-spaced in samples per parameter; where a plan abstains it "
        "names the run that its reason calls for",
    )


@dataclass(frozen=True)
class Choice:
    """What a rule knows when it chooses: the law so far, the pool, which of its cells are affordable, the target."""

    law: Law
    pool: Runs
    able: NDArray[np.int64]
    target: Runs
    left: float
    rng: np.random.Generator


def by_chance(state: Choice) -> int:
    """Any cell the budget allows."""
    return int(state.rng.choice(state.able))


def by_size(state: Choice) -> int:
    """A few of the largest, log-spaced: of the cells above a third of what is left, the farthest in log D/N."""
    pool, able, known = state.pool, state.able, state.law.runs
    large = able[pool.flops[able] >= min(state.left / 3.0, float(pool.flops[able].max()))]
    ratio = np.log(pool.D / pool.N)
    seen = np.log(known.D / known.N)[np.argsort(-known.flops)[:4]]
    return int(large[np.argmax([np.abs(ratio[i] - seen).min() for i in large])])


def by_information(state: Choice) -> int:
    """The cell with most expected information about the target per FLOP.

    EVSI by importance reweighting: each draw in turn plays the truth, the cell's outcome is simulated from it, the
    draws are weighed by the likelihood of that outcome, and the fall of the target's variance is averaged. The
    outcome's error is the run noise and a discrepancy that grows with the distance between cell and target.
    """
    law, pool, target = state.law, state.pool, state.target
    drawn = np.concatenate([m.log_loss(pool.table, pool.group, draws=True) for m in law.members])
    aims = np.concatenate([m.log_loss(target.table, target.group, draws=True) for m in law.members])
    away = horizon(replace(target, compute=target.flops), pool.table, pool.flops)
    prior = float(aims.var(axis=0).mean())
    worth = []
    for i in state.able:
        error = law.discrepancy.noise**2 + float(law.discrepancy.error(away[i])) ** 2
        gap = drawn[:, i][:, None] - drawn[:, i][None, :]
        weights = np.exp(-0.5 * gap**2 / error)
        weights /= weights.sum(axis=1, keepdims=True)
        mean = weights @ aims
        posterior = (weights @ aims**2 - mean**2).mean()
        worth.append((prior - float(posterior)) / float(pool.flops[i]))
    return int(state.able[int(np.argmax(worth))])


RULES: dict[str, Callable[[Choice], int]] = {"chance": by_chance, "largest": by_size, "information": by_information}


def race(runs: Runs, rule: str, seed: int, *, budget: float = 1.0) -> float:
    """Median error on the largest runs after a rule has spent its compute on further pilots.

    Args:
        runs: a table; cells above a tenth of its top compute are the target, the others the pool.
        rule: of `RULES`.
        seed: of the ten first pilots (from the cheapest half of the pool) and of chance.
        budget: compute for further pilots, in units of the pool's most expensive cell.
    """
    target = runs.where(runs.flops > 0.1 * runs.flops.max())
    pool = runs.where(runs.flops <= 0.1 * runs.flops.max())
    cheap = np.flatnonzero(pool.flops <= np.median(pool.flops))
    rng = numpy_generator(seed, "race")
    taken = sorted(rng.choice(cheap, 14, replace=False).tolist())
    left = budget * float(pool.flops.max())
    while True:
        law = fit_law(pool.where(np.asarray(taken, np.int64)), "auto", _BOOTSTRAP)
        free = np.setdiff1d(np.arange(len(pool)), taken)
        able = free[pool.flops[free] <= left]
        if not able.size or len(taken) >= 26:
            break
        choice = RULES[rule](Choice(law, pool, able, target, left, rng))
        left -= float(pool.flops[choice])
        taken.append(choice)
    estimate, _, _ = law.predict(target.N, target.D, target.U)
    return float(np.median(np.abs(estimate / target.loss - 1)))
