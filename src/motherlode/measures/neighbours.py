"""Exact nearest neighbours in feature space, chunk by chunk, so that memory stays flat.

‖x − y‖² = ‖x‖² + ‖y‖² − 2 xᵀy, on features from which a common mean is taken: one float32 product a chunk. That
expression cancels where two samples are almost equal, which is just where copies are looked for, so the distances that
are handed out are taken again, in float64, from the differences.

Shape legend: N queries, M references, D features, K neighbours, C queries a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motherlode.errors import MeasureError

_CHUNK_ROWS = 1024
_SPARE = 3


class Index:
    """References ready to be searched.

    Args:
        reference_MD: float32 or float64 (M, D).
    """

    def __init__(self, reference_MD: NDArray[Any]) -> None:
        self.centre_D = reference_MD.mean(0, dtype=np.float64)
        self.reference_MD = reference_MD
        self._centred_MD = self.centred(reference_MD)
        self._norms_M = self._centred_MD.square().sum(1)

    def __len__(self) -> int:
        return len(self.reference_MD)

    def centred(self, features_ND: NDArray[Any]) -> Tensor:
        """Features less the references' mean, as float32."""
        return torch.from_numpy(np.subtract(features_ND, self.centre_D).astype(np.float32))

    def squares(self, queries_ND: NDArray[Any]) -> Iterator[tuple[int, Tensor]]:
        """(first row, squared distances (C, M)) of successive chunks of queries; rounding may leave hairs below 0."""
        for start in range(0, len(queries_ND), _CHUNK_ROWS):
            part_CD = self.centred(queries_ND[start : start + _CHUNK_ROWS])
            squares_CM = torch.addmm(self._norms_M, part_CD, self._centred_MD.T, alpha=-2)
            squares_CM += part_CD.square().sum(1, keepdim=True)
            yield start, squares_CM

    def nearest(
        self, queries_ND: NDArray[Any], num: int, *, same: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The nearest references of each query: distances (N, K) ascending, and their rows.

        Args:
            queries_ND: float (N, D).
            num: how many.
            same: the queries are the references: leave each one itself out.

        Raises:
            MeasureError: fewer references than that.
        """
        if num > len(self) - same:
            raise MeasureError(f"finding {num} neighbours needs more samples than that", len(self), "take more samples")
        candidates = min(num + _SPARE, len(self) - same)
        distances, rows = [], []
        for start, squares_CM in self.squares(queries_ND):
            if same:
                here = torch.arange(len(squares_CM))
                squares_CM[here, here + start] = torch.inf
            near_CK = squares_CM.topk(candidates, dim=1, largest=False).indices.numpy()
            part_CD = queries_ND[start : start + len(near_CK)]
            exact_CK = _exact(part_CD, self.reference_MD, near_CK)
            order_CK = np.argsort(exact_CK, axis=1, kind="stable")[:, :num]
            distances.append(np.take_along_axis(exact_CK, order_CK, 1))
            rows.append(np.take_along_axis(near_CK, order_CK, 1))
        return np.concatenate(distances), np.concatenate(rows)


def _exact(queries_CD: NDArray[Any], reference_MD: NDArray[Any], rows_CK: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distances of each query to its own K references, from differences in float64."""
    exact_CK = np.empty(rows_CK.shape)
    for k in range(rows_CK.shape[1]):
        difference_CD = np.subtract(queries_CD, reference_MD[rows_CK[:, k]], dtype=np.float64)
        exact_CK[:, k] = np.sqrt(np.einsum("cd,cd->c", difference_CD, difference_CD))
    return exact_CK
