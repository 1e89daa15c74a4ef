"""Planted truths: laws we know, seen through 48 noisy pilots, and the questions whose right answer they fix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motherlode.randomness import numpy_generator
from motherlode.studies.laws import FORMS, Floats

NOISE = 0.01
FLOPS_PER_HOUR = 3600 * 1e12 * 0.4

TRUTHS: dict[str, dict[str, float]] = {
    "effective_data": {"E": 1.8, "A": 120.0, "B": 900.0, "alpha": 0.33, "beta": 0.40, "R_D": 8.0},
    "overfit_penalty": {
        "E": 1.9, "A": 120.0, "B": 900.0, "alpha": 0.33, "beta": 0.40,
        "P": 0.02, "P_repeats": 0.9, "P_crowding": 0.5,
    },
    "bounded": {
        "E": 1.6, "L0": 9.0, "a": 40.0, "b": 300.0, "c": 10.0,
        "alpha": 0.36, "beta": 0.42, "gamma": 0.12, "delta": 0.40,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Question:
    """Data and compute at hand, and what truth says of doubling either."""

    unique: float
    flops: float
    answer: str
    gain_data: float
    gain_compute: float


def loss_of(truth: str, N: Floats, D: Floats, U: Floats) -> Floats:
    return FORMS[truth].predict(TRUTHS[truth], N, D, U)


def pilots(truth: str, seed: int, noise: float = NOISE) -> dict[str, Floats]:
    """48 cells: 4 amounts of unique data, 4 sizes, 3 amounts of passes; log-normal noise."""
    grid = np.asarray(
        [(n, u * r, u) for u in (1e6, 4e6, 1.6e7, 6.4e7) for n in (2e5, 8e5, 3.2e6, 1.28e7) for r in (1.0, 8.0, 64.0)]
    )
    N, D, U = grid.T
    rng = numpy_generator(seed, f"planted {truth}")
    return {"N": N, "D": D, "U": U, "loss": loss_of(truth, N, D, U) * np.exp(noise * rng.standard_normal(len(N)))}


def best_loss(truth: str, unique: float, flops: float) -> float:
    """V(U, C) of the truth by brute force over sizes and stopping points."""
    sizes = np.geomspace(5e4, 3.84e8, 241)[:, None]
    seen = flops / (6 * sizes) * np.geomspace(1.0, 1e-3, 121)[None, :]
    return float(loss_of(truth, np.broadcast_to(sizes, seen.shape), seen, np.full(seen.shape, unique)).min())


def questions(truth: str) -> list[Question]:
    """One compute-starved and one data-starved point within three times the pilots' compute."""
    found = []
    for unique, flops in ((3.2e7, 6 * 8e5 * 1e7), (1.5e6, 6 * 1.28e7 * 1e8)):
        base = best_loss(truth, unique, flops)
        data = 1 - best_loss(truth, 2 * unique, flops) / base
        compute = 1 - best_loss(truth, unique, 2 * flops) / base
        found.append(Question(unique, flops, "data" if data > compute else "compute", data, compute))
    return found
