"""Which pictures carry too little to learn from, decided from a batch's measures at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality.image import kernels
from motherlode.modality.image.options import Clean

REASONS = ("near_constant", "underexposed", "overexposed", "blurred")
"""In the order in which they are tried; a picture gets the first that holds."""


def judge(measures_NM: NDArray[np.float32], options: Clean) -> list[str | None]:
    """The reason each picture is unfit, or None."""
    faults_NR = np.stack(
        [
            measures_NM[:, kernels.CONTRAST] < options.min_contrast,
            measures_NM[:, kernels.BRIGHTEST] < options.min_light,
            measures_NM[:, kernels.DARKEST] > options.max_dark,
            measures_NM[:, kernels.SHARPNESS] < options.min_sharpness,
        ],
        axis=1,
    )
    first_N = np.where(faults_NR.any(axis=1), faults_NR.argmax(axis=1), -1)
    return [REASONS[index] if index >= 0 else None for index in first_N.tolist()]


def columns(measures_NM: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """The measures a dataset keeps, by name."""
    return {
        "brightness": measures_NM[:, kernels.BRIGHTNESS].copy(),
        "contrast": measures_NM[:, kernels.CONTRAST].copy(),
        "sharpness": measures_NM[:, kernels.SHARPNESS].copy(),
        "colourfulness": measures_NM[:, kernels.COLOURFULNESS].copy(),
        "entropy": measures_NM[:, kernels.ENTROPY].copy(),
    }
