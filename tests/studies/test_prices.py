"""Prices: curves, batches, what money buys and costs, and how they are written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motherlode.studies.prices import PriceCurve, PriceError, machine_of, read_price
from motherlode.studies.runs import read_runs

from .planted import pilots


@pytest.mark.parametrize(
    ("text", "quantity", "cost"),
    [
        (3.0, 2e6, 6.0),
        ("3", 2e6, 6.0),
        ("3/M", 2e6, 6.0),
        ("0.05/each", 100, 5.0),
        ("2/k", 5e3, 10.0),
        ("3/M, 2/M from 100M", 150e6, 400.0),
        ("3/M by 10M", 11e6, 60.0),
    ],
)
def test_prices_are_read_as_written(text: object, quantity: float, cost: float) -> None:
    assert read_price(text, "data_price", 1e6).cost(quantity) == pytest.approx(cost)


@given(st.floats(0, 1e5), st.floats(0.01, 10), st.floats(0.01, 1.0), st.floats(1, 1e4), st.sampled_from([0.0, 7.0]))
@settings(max_examples=80, deadline=None)
def test_what_is_bought_is_affordable_and_no_more_would_be(
    money: float, price: float, discount: float, start: float, batch: float
) -> None:
    curve = PriceCurve(((0.0, price), (start, price * discount)), batch)
    bought = curve.quantity(money)
    assert curve.cost(bought) <= money * (1 + 1e-9) + 1e-9
    assert curve.cost(bought + max(batch, 1e-3 * (1 + bought))) > money * (1 - 1e-9) - 1e-9


def test_free_goods_are_without_limit() -> None:
    assert read_price(0, "clean_price", 1.0).quantity(5.0) == np.inf


def test_two_prices_add_tier_by_tier() -> None:
    both = read_price("3/M, 2/M from 100M", "a", 1e6).plus(read_price("1/M", "b", 1e6))
    assert both.cost(150e6) == pytest.approx(100 * 4 + 50 * 3)


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), "three", "3/furlong", "3/M by some", None, "3/M, 2/M", [1]])
def test_wrong_prices_are_refused(wrong: object) -> None:
    with pytest.raises(PriceError) as caught:
        read_price(wrong, "data_price", 1e6)
    assert "data_price" in str(caught.value)


def test_throughput_is_measured_where_the_pilots_say_how_long_they_took() -> None:
    held = pilots("effective_data", 0)
    flops = 6 * held["N"] * held["D"]
    measured = machine_of(read_runs({**held, "seconds": flops / 2e11}), None, None)
    assert measured.measured
    assert measured.flops_per_hour == pytest.approx(2e11 * 3600)
    assumed = machine_of(read_runs(held), None, None)
    assert not assumed.measured
    assert "assumed" in assumed.source
    assert machine_of(read_runs(held), 1e12, 0.5).flops_per_hour == pytest.approx(1.8e15)
    with pytest.raises(PriceError, match="utilisation"):
        machine_of(read_runs(held), 1e12, 40.0)
