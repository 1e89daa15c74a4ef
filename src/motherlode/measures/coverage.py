"""Fidelity and variety apart: precision and recall (Kynkäänniemi 2019, arXiv:1904.06991), density and coverage
(Naeem 2020, arXiv:2002.09797), from exact k-nearest-neighbour balls in feature space.

    precision   share of generated samples inside at least one real ball       can they be told from real ones?
    recall      share of real samples inside at least one generated ball       does the model reach all of the data?
    density     real balls around a generated sample, over k                   like precision, not fooled by outliers
    coverage    share of real balls that hold a generated sample               like recall, not fooled by outliers

A ball's radius is the distance to the k-th neighbour within its own set. Memory is flat: 1,024 x M distances.
Intervals are over samples with the balls held fixed, so they are a little narrow; all four depend on n and k.

Shape legend: N real samples, M generated samples, D features.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from motherlode.errors import MeasureError
from motherlode.measures.interval import DEFAULT_LEVEL, Interval, mean_interval, share_interval
from motherlode.measures.matrix import as_pair
from motherlode.measures.neighbours import Index


@dataclass(frozen=True)
class Coverage:
    """The four numbers, each a float with an interval; by attribute or by name (`result["recall"]`, `dict(result)`)."""

    precision: Interval
    recall: Interval
    density: Interval
    coverage: Interval

    def keys(self) -> list[str]:
        """The four names."""
        return [field.name for field in fields(self)]

    def __getitem__(self, name: str) -> Interval:
        if name not in self.keys():
            raise KeyError(name)
        value: Interval = getattr(self, name)
        return value


def precision_recall_density_coverage(
    real_ND: Any, generated_MD: Any, *, neighbours: int = 5, level: float = DEFAULT_LEVEL
) -> Coverage:
    """Precision, recall, density and coverage of generated features against real ones.

    Args:
        real_ND: array or tensor (N, D), N > neighbours.
        generated_MD: array or tensor (M, D), M > neighbours.
        neighbours: k of the balls (5 in Naeem 2020; Kynkäänniemi 2019 took 3).
        level: of the intervals.

    Raises:
        MeasureError: wrong shapes, too few samples, or values that are not finite.
    """
    if neighbours < 1:
        raise MeasureError("balls need at least 1 neighbour", neighbours, "the papers take 3 or 5")
    real_ND, generated_MD = as_pair(real_ND, generated_MD, least=neighbours + 1)
    real_index, generated_index = Index(real_ND), Index(generated_MD)
    real_radii_N = torch.from_numpy(real_index.nearest(real_ND, neighbours, same=True)[0][:, -1])
    generated_radii_M = torch.from_numpy(generated_index.nearest(generated_MD, neighbours, same=True)[0][:, -1])

    num_balls_M = np.zeros(len(generated_MD), np.int64)
    recalled_N = np.zeros(len(real_ND), bool)
    covered_N = np.zeros(len(real_ND), bool)
    for start, squares_CM in generated_index.squares(real_ND):
        rows = slice(start, start + len(squares_CM))
        distances_CM = squares_CM.clamp_(min=0).sqrt_()
        inside_CM = distances_CM < real_radii_N[rows, None]
        num_balls_M += inside_CM.sum(0).numpy()
        covered_N[rows] = inside_CM.any(1).numpy()
        recalled_N[rows] = (distances_CM < generated_radii_M).any(1).numpy()
    density = mean_interval(num_balls_M / neighbours, level, "Student, over samples; balls fixed")
    return Coverage(
        precision=_share(num_balls_M > 0, level),
        recall=_share(recalled_N, level),
        density=Interval(density, max(0.0, density.low), density.high, level, density.method),
        coverage=_share(covered_N, level),
    )


def _share(hits_N: NDArray[np.bool_], level: float) -> Interval:
    share = share_interval(hits_N, level)
    return Interval(share, share.low, share.high, level, f"{share.method}; balls fixed")
