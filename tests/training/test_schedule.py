from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motherlode.recipe import ScheduleOptions
from motherlode.training.schedule import rate_factor


def test_constant_is_one_after_a_linear_warm_up() -> None:
    options = ScheduleOptions(name="constant", warmup=0.2)
    assert [rate_factor(options, p) for p in (0.0, 0.05, 0.1, 0.2, 1.0)] == pytest.approx([0, 0.25, 0.5, 1, 1])


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_linear_and_cosine_closed_forms(floor: float) -> None:
    for progress in (0.0, 0.25, 0.5, 0.9, 1.0):
        linear = rate_factor(ScheduleOptions(name="linear", floor=floor), progress)
        assert linear == pytest.approx(1 - (1 - floor) * progress)
        cosine = rate_factor(ScheduleOptions(name="cosine", floor=floor), progress)
        assert cosine == pytest.approx(floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def test_warm_up_shifts_what_follows() -> None:
    options = ScheduleOptions(name="cosine", warmup=0.5)
    assert rate_factor(options, 0.25) == pytest.approx(0.5)
    assert rate_factor(options, 0.75) == pytest.approx(0.5)
    assert rate_factor(options, 1.0) == pytest.approx(0.0, abs=1e-12)


def test_warmup_stable_decay() -> None:
    options = ScheduleOptions(name="wsd", warmup=0.1, decay=0.4, floor=0.2)
    expected = {0.05: 0.5, 0.1: 1.0, 0.6: 1.0, 0.8: 0.6, 1.0: 0.2}
    for progress, factor in expected.items():
        assert rate_factor(options, progress) == pytest.approx(factor)


def test_decay_yields_to_warm_up_and_zero_decay_never_falls() -> None:
    assert rate_factor(ScheduleOptions(name="wsd", warmup=0.8, decay=0.5), 0.8) == pytest.approx(1.0)
    assert rate_factor(ScheduleOptions(name="wsd", decay=0.0), 1.0) == 1.0
    assert rate_factor(ScheduleOptions(name="linear", warmup=1.0), 1.0) == 0.0


@given(
    name=st.sampled_from(["constant", "cosine", "linear", "wsd"]),
    warmup=st.floats(0, 1),
    decay=st.floats(0, 1),
    floor=st.floats(0, 1),
    progress=st.floats(-0.5, 1.5),
)
def test_always_between_zero_and_one(name: str, warmup: float, decay: float, floor: float, progress: float) -> None:
    options = ScheduleOptions.model_validate({"name": name, "warmup": warmup, "decay": decay, "floor": floor})
    assert 0.0 <= rate_factor(options, progress) <= 1.0 + 1e-9
