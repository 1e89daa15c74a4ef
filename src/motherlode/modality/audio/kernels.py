"""The compiled comparison of two thumbnails: spectrograms of two sounds, at every small shift in time.

Shape legend: N pairs, T bytes of a thumbnail.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._compiled import compiled

BANDS, STRETCHES = 32, 64
SHIFTS = 25
MOST_SHIFT = 0.06
"""Of the longer sound's duration, either way."""
LEAST_COMMON = 0.85
"""Share of the longer sound that must overlap the other."""


@compiled
def alike(
    a_NT: NDArray[np.uint8],
    b_NT: NDArray[np.uint8],
    seconds_a_N: NDArray[np.float32],
    seconds_b_N: NDArray[np.float32],
    result_N: NDArray[np.float32],
) -> None:
    """Greatest correlation of two spectrograms over shifts, each band's own mean taken out; below zero counts as zero.

    The stretches of the shorter sound are brought to the length of the longer one's by linear interpolation.
    """
    warped = np.empty((BANDS, STRETCHES), np.float64)
    for n in range(len(result_N)):
        longer, shorter = a_NT[n], b_NT[n]
        long_sec, short_sec = np.float64(seconds_a_N[n]), np.float64(seconds_b_N[n])
        if short_sec > long_sec:
            longer, shorter = shorter, longer
            long_sec, short_sec = short_sec, long_sec
        result_N[n] = 0.0
        if short_sec < LEAST_COMMON * long_sec or short_sec <= 0:
            continue
        # Where the shorter one begins within the longer one, in the longer one's duration.
        room = 1.0 - short_sec / long_sec
        for k in range(SHIFTS):
            start = room / 2 + (2.0 * k / (SHIFTS - 1) - 1.0) * (room / 2 + MOST_SHIFT / 2)
            score = _correlation(longer, shorter, start, short_sec / long_sec, warped)
            if score > result_N[n]:
                result_N[n] = score


@compiled
def _correlation(
    longer: NDArray[np.uint8],
    shorter: NDArray[np.uint8],
    start: float,
    ratio: float,
    warped: NDArray[np.float64],
) -> float:
    first, last = STRETCHES, -1
    for s in range(STRETCHES):
        place = ((s + 0.5) / STRETCHES - start) / ratio * STRETCHES - 0.5
        if place < -0.5 or place > STRETCHES - 0.5:
            continue
        first, last = min(first, s), max(last, s)
        low = min(max(int(np.floor(place)), 0), STRETCHES - 1)
        high = min(low + 1, STRETCHES - 1)
        part = min(max(place - low, 0.0), 1.0)
        for b in range(BANDS):
            row = b * STRETCHES
            warped[b, s] = shorter[row + low] * (1.0 - part) + shorter[row + high] * part
    num = last - first + 1
    if num < LEAST_COMMON * STRETCHES:
        return 0.0
    product = square_a = square_b = 0.0
    for b in range(BANDS):
        mean_a = mean_b = 0.0
        for s in range(first, last + 1):
            mean_a += longer[b * STRETCHES + s]
            mean_b += warped[b, s]
        mean_a, mean_b = mean_a / num, mean_b / num
        for s in range(first, last + 1):
            value_a, value_b = longer[b * STRETCHES + s] - mean_a, warped[b, s] - mean_b
            product += value_a * value_b
            square_a += value_a * value_a
            square_b += value_b * value_b
    if square_a <= 0.0 or square_b <= 0.0:
        return 0.0
    return float(product / np.sqrt(square_a * square_b))
