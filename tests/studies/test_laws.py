"""The library of forms: values against their printed equations, gradients against differences, round trips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motherlode.errors import RecipeError
from motherlode.studies import kernels
from motherlode.studies.laws import FORMS, Floats, find_form

NATURAL = {
    "chinchilla": {"E": 1.7, "A": 400.0, "B": 1200.0, "alpha": 0.34, "beta": 0.33},
    "effective_data": {"E": 1.7, "A": 400.0, "B": 1200.0, "alpha": 0.34, "beta": 0.33, "R_D": 12.0},
    "overfit_penalty": {
        "E": 1.7, "A": 400.0, "B": 1200.0, "alpha": 0.34, "beta": 0.33, "P": 0.05, "P_repeats": 0.6, "P_crowding": 0.7,
    },
    "bounded": {
        "E": 1.6, "L0": 9.0, "a": 40.0, "b": 300.0, "c": 2.0, "alpha": 0.36, "beta": 0.4, "gamma": 0.1, "delta": 0.3,
    },
    "broken": {
        "E": 1.7, "A": 400.0, "B": 1200.0, "alpha": 0.34, "beta": 0.3, "beta_after": 0.5, "break_at": 1e8,
        "sharpness": 0.4,
    },
    "effective_both": {"E": 1.7, "A": 400.0, "B": 1200.0, "alpha": 0.34, "beta": 0.33, "R_D": 12.0, "R_N": 5.0},
}  # fmt: skip
NATURAL["overfit_paced"] = {
    **NATURAL["broken"], "pace": 0.4, "break_at": 1e11, "P": 0.05, "P_repeats": 0.6, "P_size": 0.7, "P_scarcity": 0.4,
}  # fmt: skip
NATURAL["saturating"] = {**NATURAL["bounded"], "c": 0.0}


def by_hand(name: str, N: float, D: float, U: float) -> float:
    """The equations, written out once more."""
    p = NATURAL[name]
    U = min(U, D)
    R = D / U - 1

    def worn(unique: float, repeats: float, star: float) -> float:
        return unique + unique * star * (1 - np.exp(-repeats / star))

    if name in {"bounded", "saturating"}:
        h = p["a"] * N ** -p["alpha"] + p["b"] * D ** -p["beta"] + p["c"] * N ** p["gamma"] * U ** -p["delta"]
        return float(p["E"] + (p["L0"] - p["E"]) * h / (1 + h))
    size, data, penalty = N, D, 0.0
    if name in {"effective_data", "effective_both"}:
        data = worn(U, R, p["R_D"])
    if name == "effective_both":
        enough = min(N, (p["A"] / p["B"]) ** (1 / p["alpha"]) * U)
        size = worn(enough, N / enough - 1, p["R_N"])
    if name == "overfit_penalty":
        penalty = p["P"] * R ** p["P_repeats"] * (N / U) ** p["P_crowding"]
    if name == "overfit_paced":
        data = D * N ** p["pace"]
        penalty = p["P"] * R ** p["P_repeats"] * N ** p["P_size"] * U ** -p["P_scarcity"]
    tail = p["B"] * data ** -p["beta"]
    if name in {"broken", "overfit_paced"}:
        f = p["sharpness"]
        tail *= (1 + (data / p["break_at"]) ** (1 / f)) ** (-(p["beta_after"] - p["beta"]) * f)
    return float(p["E"] + p["A"] * size ** -p["alpha"] + tail + penalty)


@pytest.mark.parametrize("name", sorted(FORMS))
def test_values_follow_the_equation(name: str) -> None:
    for N, D, U in ((1e7, 1e9, 1e9), (1e8, 3e9, 1e8), (3e6, 1e8, 4e8), (1e9, 2e10, 1e9)):
        got = float(FORMS[name].predict(NATURAL[name], N, D, U))
        assert got == pytest.approx(by_hand(name, N, D, U), rel=1e-9)


@pytest.mark.parametrize("name", sorted(FORMS))
def test_gradients_follow_differences(name: str) -> None:
    form, centre = FORMS[name], np.asarray([17.0, 20.0, 19.0, 1.0])
    theta = form.centred(NATURAL[name], centre)
    gradient, scratch = np.empty(theta.size), np.empty(theta.size)
    for place in ((16.0, 21.0, 18.5), (18.0, 19.0, 19.0), (17.0, 22.5, 17.0)):
        kernels.row(form.kind, theta.size, theta, *place, 0, centre, gradient)
        for i in range(theta.size):
            if theta[i] < -50:
                continue

            above, below = theta.copy(), theta.copy()
            above[i] += 1e-5
            below[i] -= 1e-5
            ends = [kernels.row(form.kind, theta.size, end, *place, 0, centre, scratch) for end in (above, below)]
            difference = (ends[0] - ends[1]) / 2e-5
            assert gradient[i] == pytest.approx(difference, rel=2e-5, abs=1e-8), form.parameters[i]


@pytest.mark.parametrize("name", sorted(FORMS))
def test_natural_and_centred_parameters_are_inverse(name: str) -> None:
    centre = np.asarray([17.0, 20.0, 19.0, 1.5])
    back = FORMS[name].natural(FORMS[name].centred(NATURAL[name], centre), centre)
    assert back == pytest.approx(NATURAL[name], rel=1e-9)


@given(st.floats(0.1, 50.0), st.floats(1.0, 1e4))
@settings(max_examples=60, deadline=None)
def test_repeated_data_are_worth_less_than_fresh_and_more_than_none(star: float, passes: float) -> None:
    p = {**NATURAL["effective_data"], "R_D": star}
    form = FORMS["effective_data"]
    once, many = (float(form.predict(p, 1e8, D, 1e8)) for D in (1e8, 1e8 * passes))
    fresh = float(form.predict(p, 1e8, 1e8 * passes, 1e8 * passes))
    assert fresh - 1e-12 <= many <= once + 1e-12


def test_one_pass_needs_no_unique_column() -> None:
    N, D = np.asarray([1e7, 1e8]), np.asarray([1e9, 1e10])
    for name, form in FORMS.items():
        np.testing.assert_allclose(form.predict(NATURAL[name], N, D), form.predict(NATURAL[name], N, D, D))


def test_an_unknown_form_is_refused_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match="chinchilla"):
        find_form("chinchila")


def test_a_missing_parameter_is_named() -> None:
    with pytest.raises(RecipeError, match="beta"):
        FORMS["chinchilla"].predict({"E": 1.0, "A": 1.0, "B": 1.0, "alpha": 0.3}, 1e6, 1e6)


def test_projection_is_non_negative_least_squares() -> None:
    """The exact subset search agrees with SciPy's NNLS on random problems."""
    from scipy.optimize import nnls

    rng = np.random.default_rng(0)
    for _ in range(50):
        matrix: Floats = rng.normal(size=(12, 4))
        goal = rng.normal(size=12)
        ours = np.empty(4)
        kernels._nonnegative(matrix.T @ matrix, matrix.T @ goal, np.ones(4, np.bool_), ours)
        np.testing.assert_allclose(ours, nnls(matrix, goal)[0], atol=1e-6)
