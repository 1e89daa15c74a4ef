"""Is one thumbnail a copy of the other? Register, then correlate.

For each pair, straight and mirrored, Gauss-Newton finds the shift and scale on both axes and the gain and offset of
brightness that carry one thumbnail on the other (Lucas and Kanade 1981, with Baker and Matthews' forward additive
form). What it cannot explain is the difference of two pictures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._compiled import fast
from motherlode.modality.image.kernels import CHROMA_SIDE, LUMA_SIDE, NUM_LUMA

MAX_SCALE = 0.12
MAX_SHIFT = 3.0
NUM_ROUNDS = 6
COARSE_SIDE = 8
MIN_COARSE = 0.7
"""Least correlation of the pictures at 8x8 for a registration to be tried."""
MIN_GAIN, MAX_GAIN = 0.4, 2.5
COLOUR_RANGE = 64.0
"""Mean difference of colour, in grey levels, at which two pictures are wholly unlike."""


@fast
def alike(thumbs_a_NT: NDArray[np.uint8], thumbs_b_NT: NDArray[np.uint8], result_N: NDArray[np.float32]) -> None:
    """Fill `result_N` with the correlation of luma after registration, capped by the likeness of colour; in [0, 1]."""
    first = np.empty((LUMA_SIDE, LUMA_SIDE), np.float32)
    second = np.empty((LUMA_SIDE, LUMA_SIDE), np.float32)
    for i in range(thumbs_a_NT.shape[0]):
        best = 0.0
        _unpack(thumbs_a_NT[i], False, first)
        for mirrored in (False, True):
            _unpack(thumbs_b_NT[i], mirrored, second)
            coarse = _coarse_correlation(first, second)
            if coarse < MIN_COARSE:
                best = max(best, min(coarse, 0.5))
                continue
            correlation, gain = _register(first, second)
            colour = 1.0 - _colour_difference(thumbs_a_NT[i], thumbs_b_NT[i], mirrored, gain) / COLOUR_RANGE
            best = max(best, min(correlation, colour))
        result_N[i] = min(max(best, 0.0), 1.0)


@fast
def _unpack(thumb_T: NDArray[np.uint8], mirrored: bool, luma: NDArray[np.float32]) -> None:
    for y in range(LUMA_SIDE):
        for x in range(LUMA_SIDE):
            luma[y, LUMA_SIDE - 1 - x if mirrored else x] = thumb_T[y * LUMA_SIDE + x]


@fast
def _coarse_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    box = LUMA_SIDE // COARSE_SIDE
    num = COARSE_SIDE * COARSE_SIDE
    sum_a, sum_b, sum_aa, sum_bb, sum_ab = 0.0, 0.0, 0.0, 0.0, 0.0
    for y in range(COARSE_SIDE):
        for x in range(COARSE_SIDE):
            a, b = np.float32(0.0), np.float32(0.0)
            for v in range(box):
                for u in range(box):
                    a += first[y * box + v, x * box + u]
                    b += second[y * box + v, x * box + u]
            sum_a += a
            sum_b += b
            sum_aa += a * a
            sum_bb += b * b
            sum_ab += a * b
    spread = (sum_aa - sum_a * sum_a / num) * (sum_bb - sum_b * sum_b / num)
    if spread <= 0.0:
        return 0.0
    return (sum_ab - sum_a * sum_b / num) / np.sqrt(spread)


@fast
def _register(first: NDArray[np.float32], second: NDArray[np.float32]) -> tuple[float, float]:
    """Best correlation over the rounds, and the gain that belongs to it."""
    warp = np.zeros(4)
    gain, best, best_gain = 1.0, 0.0, 1.0
    normal, right = np.zeros((6, 6)), np.zeros(6)
    for turn in range(NUM_ROUNDS):
        correlation, gain_now = _accumulate(first, second, warp, gain, normal, right)
        if correlation > best + 1e-4:
            best, best_gain = correlation, gain_now
        elif turn > 1:
            break
        if not _solve(normal, right):
            break
        for k in range(2):
            warp[k] = min(max(warp[k] + right[k], -MAX_SCALE), MAX_SCALE)
        for k in range(2, 4):
            warp[k] = min(max(warp[k] + right[k], -MAX_SHIFT), MAX_SHIFT)
        gain = min(max(right[4], MIN_GAIN), MAX_GAIN)
    return best, best_gain


@fast
def _accumulate(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    warp: NDArray[np.float64],
    gain: float,
    normal: NDArray[np.float64],
    right: NDArray[np.float64],
) -> tuple[float, float]:
    """Normal equations of one Gauss-Newton step at `warp`; returns the correlation and the regressed gain there.

    Unknowns: change of scale and shift (x, y each), gain, offset.
    """
    normal[:] = 0.0
    right[:] = 0.0
    row = np.empty(6, np.float64)
    middle = (LUMA_SIDE - 1) / 2
    num, sum_a, sum_b, sum_aa, sum_bb, sum_ab = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for y in range(LUMA_SIDE):
        place_y = middle + (1.0 + warp[1]) * (y - middle) + warp[3]
        if place_y < 0.0 or place_y > LUMA_SIDE - 1.001:
            continue
        top = int(place_y)
        part_y = place_y - top
        for x in range(LUMA_SIDE):
            place_x = middle + (1.0 + warp[0]) * (x - middle) + warp[2]
            if place_x < 0.0 or place_x > LUMA_SIDE - 1.001:
                continue
            left = int(place_x)
            part_x = place_x - left
            p00, p01 = second[top, left], second[top, left + 1]
            p10, p11 = second[top + 1, left], second[top + 1, left + 1]
            upper, lower = p00 + part_x * (p01 - p00), p10 + part_x * (p11 - p10)
            value = upper + part_y * (lower - upper)
            slope_x = (1.0 - part_y) * (p01 - p00) + part_y * (p11 - p10)
            slope_y = lower - upper
            target = first[y, x]
            row[0] = gain * slope_x * (x - middle)
            row[1] = gain * slope_y * (y - middle)
            row[2] = gain * slope_x
            row[3] = gain * slope_y
            row[4] = value
            row[5] = 1.0
            for j in range(6):
                right[j] += row[j] * target
                for k in range(j + 1):
                    normal[j, k] += row[j] * row[k]
            num += 1.0
            sum_a += target
            sum_b += value
            sum_aa += target * target
            sum_bb += value * value
            sum_ab += target * value
    if num < LUMA_SIDE * LUMA_SIDE * 0.6:
        return 0.0, 1.0
    variance_a, variance_b = sum_aa - sum_a * sum_a / num, sum_bb - sum_b * sum_b / num
    covariance = sum_ab - sum_a * sum_b / num
    if variance_a <= 1e-3 or variance_b <= 1e-3:
        return 0.0, 1.0
    return covariance / np.sqrt(variance_a * variance_b), covariance / variance_b


@fast
def _solve(normal: NDArray[np.float64], right: NDArray[np.float64]) -> bool:
    """Cholesky in place, with a little damping of the warp; False where the picture has no structure to hold on to."""
    size = 6
    for j in range(4):
        normal[j, j] = normal[j, j] * 1.001 + 1e-3
    for j in range(size):
        for k in range(j + 1):
            total = normal[j, k]
            for m in range(k):
                total -= normal[j, m] * normal[k, m]
            if j == k:
                if total <= 1e-9:
                    return False
                normal[j, j] = np.sqrt(total)
            else:
                normal[j, k] = total / normal[k, k]
    for j in range(size):
        for m in range(j):
            right[j] -= normal[j, m] * right[m]
        right[j] /= normal[j, j]
    for back in range(size):
        j = size - 1 - back
        for m in range(j + 1, size):
            right[j] -= normal[m, j] * right[m]
        right[j] /= normal[j, j]
    return True


@fast
def _colour_difference(
    thumb_a_T: NDArray[np.uint8], thumb_b_T: NDArray[np.uint8], mirrored: bool, gain: float
) -> float:
    """Mean distance of the 8x8 colour planes, in grey levels, once brightness is matched by `gain`."""
    num = CHROMA_SIDE * CHROMA_SIDE
    gain = min(max(gain, MIN_GAIN), MAX_GAIN)
    total = 0.0
    for plane in range(2):
        start = NUM_LUMA + plane * num
        for y in range(CHROMA_SIDE):
            for x in range(CHROMA_SIDE):
                other = CHROMA_SIDE - 1 - x if mirrored else x
                a = np.float64(thumb_a_T[start + y * CHROMA_SIDE + x]) - 128.0
                b = np.float64(thumb_b_T[start + y * CHROMA_SIDE + other]) - 128.0
                total += abs(a - gain * b)
    return total / num
