"""V(U, C): against brute force, and the shape that free disposal gives it."""

from __future__ import annotations

import numpy as np
import pytest

from motherlode.studies.fit import fit_law
from motherlode.studies.law import Law
from motherlode.studies.value import best_run, value

from .planted import TRUTHS, best_loss, loss_of, pilots


@pytest.fixture(scope="module", params=sorted(TRUTHS))
def exact(request: pytest.FixtureRequest) -> tuple[str, Law]:
    return request.param, fit_law(pilots(request.param, 0, noise=0.0), form=request.param, bootstrap=0)


def test_it_is_the_least_loss_over_sizes_and_stops(exact: tuple[str, Law]) -> None:
    truth, law = exact
    for unique, flops in ((1e7, 1e14), (1e6, 1e16), (4e7, 1e13)):
        found = float(np.exp(value(law, unique, flops).log_loss[0]))
        run = best_run(law, unique, flops)
        assert found == pytest.approx(best_loss(truth, unique, flops), rel=4e-3)
        assert run["flops"] <= flops * (1 + 1e-6)
        own = loss_of(truth, *(np.asarray([x]) for x in (run["num_parameters"], run["num_samples"], unique)))
        assert found == pytest.approx(float(own[0]), rel=4e-3)


def test_more_never_hurts(exact: tuple[str, Law]) -> None:
    _, law = exact
    units, flops = np.geomspace(1e6, 1e8, 9), np.geomspace(1e13, 1e17, 9)
    grid = value(law, np.repeat(units, 9), np.tile(flops, 9)).log_loss.reshape(9, 9)
    assert (np.diff(grid, axis=0) <= 1e-4).all()
    assert (np.diff(grid, axis=1) <= 1e-4).all()


def test_draws_surround_the_estimate(planted_law: Law) -> None:
    found = value(planted_law, [4e6, 4e6], [1e15, 1e16])
    assert found.draws.shape[1] == 2
    low, high = np.quantile(found.draws, [0.01, 0.99], axis=0)
    assert (low <= found.log_loss).all()
    assert (found.log_loss <= high).all()
    assert value(planted_law, 4e6, 1e15, draws=0).draws.size == 0


def test_a_share_of_treatment_lies_between_none_and_all(two_treatments: dict[str, object]) -> None:
    law = fit_law(two_treatments, form="effective_data", bootstrap=20)
    none, half, full = (
        float(value(law, 2e6, 1e15, treatment=name, share=share).log_loss[0])
        for name, share in (("raw", 1.0), ("cleaned", 0.5), ("cleaned", 1.0))
    )
    assert full < half < none
