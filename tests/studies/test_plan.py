"""Plans: acceptance figure 4, verdicts, prices, abstention, and what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motherlode.studies.backtest import published_tables
from motherlode.studies.fit import fit_law
from motherlode.studies.law import Law
from motherlode.studies.laws import Floats
from motherlode.studies.plan import Plan, PlanError, plan
from motherlode.studies.prices import PriceError
from motherlode.studies.runs import RunsError

from .planted import pilots

HOUR = 3600 * 312e12 * 0.4


def doubling(law: Law, unique: float, flops: float) -> Plan:
    """Prices at which the budget doubles either; a GPU-hour at 2 of a machine of 312 TFLOP/s at 40 %."""
    money = flops / HOUR * 2.0
    return plan(
        law, money, 2.0, money / (unique / 1e6), unique=unique, compute=flops, peak_flops=312e12, utilisation=0.4
    )


@pytest.fixture(scope="module")
def starved(planted_law: Law) -> Plan:
    """A plan with little data and much compute."""
    return plan(planted_law, 500.0, 2.5, "100/M", unique=1.5e6, compute=7.68e15, peak_flops=1e12, utilisation=0.4)


@pytest.mark.parametrize("form", ["overfit_penalty", "auto"])
def test_acceptance_4_repetition_table(reference_tables: Path, form: str) -> None:
    """At 1B unique tokens: compute at 6e18 FLOPs, data at 1.8e20, worth 2 to 6 dollars a million."""
    law = fit_law(published_tables(reference_tables)["repetition"], form, 300)
    poor = doubling(law, 1e9, 6e18)
    assert poor.verdict == "compute"
    assert poor.probability["data"] <= 0.10
    rich = doubling(law, 1e9, 1.8e20)
    assert rich.verdict == "data"
    assert rich.probability["data"] >= 0.90
    assert 2.0 <= rich.break_even_price[0] <= 6.0
    assert rich.break_even_price[1] < rich.break_even_price[0] < rich.break_even_price[2]


def test_a_plan_is_whole(starved: Plan) -> None:
    assert starved.verdict == "data"
    assert sum(starved.probability.values()) == pytest.approx(1.0)
    assert sum(share[0] for share in starved.split.values()) == pytest.approx(1.0)
    for share in starved.split.values():
        assert 0.0 <= share[1] <= share[2] <= 1.0
    assert starved.expected[1] < starved.expected[0] < starved.expected[2]
    assert starved.expected[0] < starved.now["loss"]
    assert starved.sentence.startswith("Buy data: with probability")
    assert {rate.name for rate in starved.exchange} == {"gpu_hour", "double_compute"}


def test_dear_data_turn_the_verdict(planted_law: Law, starved: Plan) -> None:
    """Above the break-even price by far, the same pilots say GPU-hours or nothing, never data."""
    price = starved.break_even_price[2]
    dear = price * 1e3 if np.isfinite(price) else 1e9
    found = plan(planted_law, 500.0, 2.5, dear, unique=1.5e6, compute=7.68e15, peak_flops=1e12, utilisation=0.4)
    assert found.verdict != "data"
    assert found.probability["data"] < 0.3


def test_it_can_say_neither(planted_law: Law) -> None:
    owned = {"unique": 3e7, "compute": 1e16, "peak_flops": 1e12, "utilisation": 0.4}
    found = plan(planted_law, 0.01, 2.5, "100/M", worth=0.05, **owned)
    assert found.verdict == "neither"
    assert found.sentence.startswith("Keep the money")


def test_it_can_say_treatment(two_treatments: dict[str, Any]) -> None:
    law = fit_law(two_treatments, "effective_data", 100)
    asked = {"unique": 1.5e6, "compute": 7.68e15, "peak_flops": 1e12, "utilisation": 0.4}
    found = plan(law, 10.0, 2.5, "100/M", clean_price=0.5, **asked)
    assert found.verdict == "treatment"
    assert found.arms[-1].name == "cleaned"
    low, high = law.treatment_ranges()["cleaned"]
    assert low < law.treatment_effects()["cleaned"][0] < high
    assert 0.95 * 2.0 < low < high < 1.05 * 2.0
    assert found.arms[-1].spent <= 10.0
    assert any(rate.name == "treatment[cleaned]" and rate.estimate > 1.3 for rate in found.exchange)
    partial = plan(law, 10.0, 2.5, "100/M", clean_price=50.0, **asked)
    assert 0 < partial.arms[-1].share < 1
    with pytest.raises(PriceError, match="further treatment"):
        plan(fit_law(pilots("effective_data", 0), bootstrap=10), 10.0, 2.5, 1.0, clean_price=0.5)


def test_whole_gpus_and_batches_leave_money_over(planted_law: Law) -> None:
    found = plan(planted_law, 500.0, "2.5 by 168", "100/M by 1M", unique=1.5e6, compute=7.68e15)
    arms = {arm.name: arm for arm in found.arms}
    assert arms["compute"].spent == pytest.approx(420.0)
    assert arms["data"].unique == pytest.approx(6.5e6)


def test_a_batch_of_hours_makes_no_data_dearer(planted_law: Law) -> None:
    """The break-even price compares what is used, not what must be bought at once."""
    asked = {"unique": 1.5e6, "compute": 7.68e15, "peak_flops": 1e12, "utilisation": 0.4}
    by_hour, by_week = (plan(planted_law, 500.0, hour, "100/M", **asked) for hour in (2.5, "2.5 by 168"))
    assert by_week.break_even_price[0] == pytest.approx(by_hour.break_even_price[0], rel=0.05)


def test_blind_pilots_make_it_abstain(one_pass: dict[str, Floats]) -> None:
    """No pilot repeated its data, and the best run would: no verdict, and the pilot that would tell."""
    found = plan(fit_law(one_pass, bootstrap=30), 100.0, 2.5, 1.0, unique=1e8, compute=1e18)
    assert found.verdict == "abstain"
    assert "what repetition costs" in found.sentence
    assert found.next_pilot is not None
    assert found.next_pilot.passes >= 4
    assert found.next_pilot.cost <= 0.11 * 100.0


def test_pilots_of_one_regime_or_one_size_make_it_abstain() -> None:
    """However well a law fits: what no pilot shows, no verdict may rest on."""
    held = pilots("overfit_penalty", 0)
    worn = {name: values[held["D"] > 2 * held["U"]] for name, values in held.items()}
    one = {name: values[held["N"] == 8e5] for name, values in held.items()}
    asked = {"unique": 8e6, "compute": 5e15, "peak_flops": 1e13, "utilisation": 0.2}
    for table, reason in ((worn, "what fresh data bring"), (one, "of one model size")):
        found = plan(fit_law(table, bootstrap=30), 60.0, 2.5, "2/M", **asked)
        assert found.verdict == "abstain"
        assert any(reason in said for said in found.abstentions)
        assert found.next_pilot is not None


def test_pilots_of_one_pass_cannot_say_that_compute_pays_by_repetition(one_pass: dict[str, Floats]) -> None:
    """Enough cells for `bounded`, whose loss depends on unique data: that is no knowledge of what repetition costs."""
    more = {
        name: np.concatenate([values, values * factor]) for (name, values), factor in zip(one_pass.items(), (2, 2, 1))
    }
    more["loss"] = 1.7 + 400 * more["N"] ** -0.34 + 1200 * more["D"] ** -0.33
    found = plan(fit_law(more, bootstrap=30), 1e4, 2.5, 1.0)
    assert max(found.best["passes"], found.now["passes"]) > 1.05
    assert found.verdict == "abstain"
    assert "what repetition costs" in found.sentence


def test_a_pilot_of_fresh_data_sees_them_once() -> None:
    held = pilots("overfit_penalty", 0)
    worn = {name: values[held["D"] > 2 * held["U"]] for name, values in held.items()}
    found = plan(fit_law(worn, bootstrap=30), 6e4, 2.5, "2/M", unique=8e6, compute=5e17)
    assert found.next_pilot is not None
    assert "fresh data" in found.next_pilot.why
    assert found.next_pilot.passes == pytest.approx(1.0)
    assert found.next_pilot.unique <= 8e6


def test_unused_data_need_no_repetition_to_say_compute(one_pass: dict[str, Floats]) -> None:
    """Whoever cannot even see the data once needs no more of them."""
    law = fit_law(one_pass, bootstrap=60)
    found = plan(law, 5.0, 2.5, 1.0, unique=6.4e9, compute=1e15, peak_flops=1e12, utilisation=0.4)
    assert found.probability["data"] == 0
    assert found.verdict == "compute"


def test_far_beyond_the_pilots_it_abstains(planted_law: Law) -> None:
    found = plan(planted_law, 1e9, 2.5, 1.0, unique=1e10, compute=1e23)
    assert found.verdict == "abstain"
    assert found.extrapolation > 2
    assert any("decades beyond" in reason for reason in found.abstentions)


def test_few_pilots_never_give_a_confident_number(one_pass: dict[str, Floats]) -> None:
    few = {name: values[:9] for name, values in one_pass.items()}
    found = plan(fit_law(few, bootstrap=30), 100.0, 2.5, 1.0, unique=1e9, compute=1e17)
    assert found.verdict == "abstain"
    with pytest.raises(RunsError, match="at least 8"):
        plan({name: values[:4] for name, values in one_pass.items()}, 100.0, 2.5, 1.0)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"budget": None}, "budget"),
        ({"budget": -5.0}, "budget"),
        ({"gpu_hour": None}, "gpu_hour"),
        ({"gpu_hour": -1.0}, "negative"),
        ({"data_price": None}, "data_price"),
        ({"data_price": -3.0}, "negative"),
        ({"data_price": 0.0}, "cost something"),
    ],
)
def test_prices_must_be_there(planted_law: Law, change: dict[str, Any], word: str) -> None:
    asked = {"budget": 100.0, "gpu_hour": 2.5, "data_price": 1.0, **change}
    with pytest.raises(PriceError, match=word):
        plan(planted_law, **asked)


def test_what_one_owns_must_be_a_count(planted_law: Law, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="unique"):
        plan(planted_law, 100.0, 2.5, 1.0, unique=0.0)
    with pytest.raises(PlanError, match=r"cells\.jsonl"):
        plan(tmp_path, 100.0, 2.5, 1.0)


def test_a_law_a_study_and_a_table_all_do(planted_law: Law, starved: Plan, tmp_path: Path) -> None:
    planted_law.save(tmp_path)
    asked = {"unique": 1.5e6, "compute": 7.68e15, "peak_flops": 1e12, "utilisation": 0.4}
    for source in (tmp_path, tmp_path / "law.json"):
        assert plan(source, 500.0, 2.5, "100/M", **asked).to_json() == starved.to_json()
    held = pilots("overfit_penalty", 0)
    (tmp_path / "law.json").unlink()
    lines = (json.dumps({name: float(x) for name, x in zip(held, row)}) for row in zip(*held.values()))
    (tmp_path / "cells.jsonl").write_text("\n".join(lines) + "\n")
    assert plan(tmp_path, 500.0, 2.5, "100/M", **asked).verdict == "data"


def test_it_is_written_as_json_and_a_page(starved: Plan, tmp_path: Path) -> None:
    page = starved.save(tmp_path)
    held = json.loads((tmp_path / "plan.json").read_text())
    assert held["verdict"] == "data"
    assert held["question"]["budget"] == 500.0
    text = page.read_text()
    assert text.count("<svg") >= 4
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    assert "<script" not in text
    assert starved.sentence.split(";")[0] in text
    first = (tmp_path / "plan.json").read_bytes()
    starved.save(tmp_path)
    assert (tmp_path / "plan.json").read_bytes() == first


def test_a_plan_with_treatments_and_curves_draws(two_treatments: dict[str, Any], tmp_path: Path) -> None:
    law = fit_law(two_treatments, bootstrap=60)
    found = plan(law, 50.0, "2.5 by 2", "100/M, 80/M from 100k", clean_price={"cleaned": 0.5}, currency="CHF")
    text = found.save(tmp_path).read_text()
    assert "CHF" in text
    assert "cleaned" in text


def test_one_pass_pilots_draw_without_facets(one_pass: dict[str, Floats], tmp_path: Path) -> None:
    found = plan(fit_law(one_pass, bootstrap=30), 100.0, 2.5, 1.0)
    assert "all pilots" in found.save(tmp_path).read_text()
