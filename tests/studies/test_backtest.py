"""The shipped backtests, on small tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from motherlode.errors import RecipeError
from motherlode.studies.backtest import RULES, Choice, holdout, race, refuse_next
from motherlode.studies.fit import fit_law
from motherlode.studies.law import Law
from motherlode.studies.pictures import foretold
from motherlode.studies.runs import read_runs

from .planted import pilots


def test_holdout_scores_what_it_did_not_see() -> None:
    runs = read_runs(pilots("effective_data", 0))
    score = holdout(runs, 0.1, bootstrap=40)
    assert score is not None
    assert score.num_pilots + score.num_held == len(runs)
    assert score.error < 0.05
    picture, caption = foretold(score)
    inside = round(score.coverage * score.num_held)
    assert f"{inside} of {score.num_held} inside" in caption
    assert picture.count(f"was {score.actual[0]:.4g}") >= 1


@pytest.mark.parametrize("name", ["book", "fashion"])
def test_the_small_cells_of_a_real_study_foretell_its_large_ones(name: str) -> None:
    """Held back above a tenth of the top compute: median error ≤ 3 %, at least 85 % inside the 90 % interval."""
    table = read_runs(Path(__file__).parents[2] / "docs" / "studies" / f"{name}.csv")
    score = holdout(table.where(table.group == table.treatments.index("raw")), 0.1, bootstrap=120)
    assert score is not None
    assert score.error <= 0.03
    assert score.coverage >= 0.85
    assert score.width <= 0.35


def test_models_ruined_by_repetition_are_not_said_to_heal() -> None:
    """Study 1: every size is past its best at 56 passes over 12k tokens; beyond them its curve goes on rising."""
    law = fit_law(read_runs(Path(__file__).parents[2] / "docs" / "studies" / "book.csv"), bootstrap=0)
    seen = np.geomspace(4.5e5, 1.1e6, 12)
    for size in (57_000, 213_000, 918_000):
        curve = law.predict(size, seen, 11_700)[0]
        assert (np.diff(curve) > 0).all()


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_chooses_what_it_can_afford(rule: str, planted_law: Law) -> None:
    pool = read_runs(pilots("overfit_penalty", 1))
    able = np.flatnonzero(pool.flops < 1e15)
    target = pool.where(pool.flops > 0.1 * pool.flops.max())
    state = Choice(planted_law, pool, able, target, 1e15, np.random.default_rng(0))
    assert RULES[rule](state) in able


def test_a_race_is_repeatable() -> None:
    runs = read_runs(pilots("effective_data", 0))
    assert race(runs, "largest", 0, budget=0.2) == race(runs, "largest", 0, budget=0.2)


def test_next_is_refused_with_the_figures() -> None:
    with pytest.raises(RecipeError, match="best on 5 of 9"):
        refuse_next()
