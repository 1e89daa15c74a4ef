"""Tables and laws the studies' tests share."""

from __future__ import annotations

import numpy as np
import pytest

from motherlode.studies.fit import fit_law
from motherlode.studies.law import Law
from motherlode.studies.laws import Floats

from .planted import pilots


@pytest.fixture(scope="session")
def planted_law() -> Law:
    """A law fitted to 48 pilots whose truth is `planted.TRUTHS["overfit_penalty"]`."""
    return fit_law(pilots("overfit_penalty", 0), bootstrap=120)


@pytest.fixture
def one_pass() -> dict[str, Floats]:
    """Twelve cells of one pass on a Chinchilla surface, without noise."""
    N, D = (x.ravel() for x in np.meshgrid([1e6, 4e6, 1.6e7], [1e8, 4e8, 1.6e9, 6.4e9]))
    return {"N": N, "D": D, "loss": 1.7 + 400 * N**-0.34 + 1200 * D**-0.33}


@pytest.fixture
def two_treatments() -> dict[str, object]:
    """Raw and cleaned cells: cleaning multiplies unique data by 2 and the loss by 0.97."""
    from .planted import loss_of

    held = pilots("effective_data", 3, noise=0.003)
    N, D, U = (held[name][::2] for name in ("N", "D", "U"))
    cleaned = 0.97 * loss_of("effective_data", N, D, 2 * U)
    return {
        "N": np.concatenate([held["N"], N]),
        "D": np.concatenate([held["D"], D]),
        "U": np.concatenate([held["U"], U]),
        "loss": np.concatenate([held["loss"], cleaned]),
        "treatment": ["raw"] * held["N"].size + ["cleaned"] * N.size,
    }
