"""Is one thumbnail a copy of the other? Register the two, then see what is left.

For each pair, straight and mirrored, Gauss-Newton finds the shift and the scale of both axes that carry one thumbnail
on the other at 16x16 (inverse compositional alignment: Baker and Matthews 2004); at 32x32 one is then predicted from
the other by a gain, an offset and the clipping at black and white. What the prediction misses is the difference of two
pictures. Most pairs never get that far: their 8x8 versions disagree already.

Shape legend: N pairs, T bytes of a thumbnail.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._compiled import fast
from motherlode.modality.image.kernels import CHROMA_SIDE, LUMA_SIDE, NUM_LUMA

HALF_SIDE = LUMA_SIDE // 2
COARSE_SIDE = 8
MIN_COARSE = 0.75
"""Least correlation of the pictures at 8x8 for a registration to be tried."""
MAX_SCALE = 0.12
MAX_SHIFT = 1.6
"""Pixels of 16."""
NUM_ROUNDS = 4
MIN_GAIN, MAX_GAIN = 0.4, 2.5
COLOUR_RANGE = 128.0
"""Mean difference of colour, in grey levels, at which two pictures are wholly unlike."""
BLACK, WHITE = 4.0, 251.0
MIN_OVERLAP = 0.6
TRY_STILL = 0.98
"""Correlation at 16x16 from which the pictures are compared as they lie, before they are registered."""
GOOD_ENOUGH = 0.995
"""Likeness at which nothing is gained by registering."""


@fast
def alike(thumbs_a_NT: NDArray[np.uint8], thumbs_b_NT: NDArray[np.uint8], result_N: NDArray[np.float32]) -> None:
    """Fill `result_N` with how well each pair's luma predicts one another, capped by likeness of colour; in [0, 1]."""
    first, second = np.empty((LUMA_SIDE, LUMA_SIDE), np.float32), np.empty((LUMA_SIDE, LUMA_SIDE), np.float32)
    half_a, half_b = np.empty((HALF_SIDE, HALF_SIDE), np.float32), np.empty((HALF_SIDE, HALF_SIDE), np.float32)
    coarse_a = np.empty((COARSE_SIDE, COARSE_SIDE), np.float32)
    coarse_b = np.empty((COARSE_SIDE, COARSE_SIDE), np.float32)
    for i in range(thumbs_a_NT.shape[0]):
        _unpack(thumbs_a_NT[i], False, first)
        _halve(first, half_a)
        _halve(half_a, coarse_a)
        _unpack(thumbs_b_NT[i], True, second)
        _halve(second, half_b)
        _halve(half_b, coarse_b)
        mirrored_likeness = _correlation(coarse_a, coarse_b)
        _unpack(thumbs_b_NT[i], False, second)
        _halve(second, half_b)
        _halve(half_b, coarse_b)
        coarse = _correlation(coarse_a, coarse_b)
        mirrored = mirrored_likeness > coarse
        if max(mirrored_likeness, coarse) < MIN_COARSE:
            result_N[i] = max(np.float32(0.5) * max(mirrored_likeness, coarse), np.float32(0.0))
            continue
        if mirrored:
            _unpack(thumbs_b_NT[i], True, second)
            _halve(second, half_b)
        likeness, gain = np.float32(0.0), np.float32(1.0)
        if _correlation(half_a, half_b) > TRY_STILL:
            likeness, gain = _explained(first, second, 0.0, 0.0, 0.0, 0.0)
        if likeness < GOOD_ENOUGH:
            scale_x, scale_y, shift_x, shift_y = _register(half_a, half_b)
            moved, moved_gain = _explained(first, second, scale_x, scale_y, 2.0 * shift_x, 2.0 * shift_y)
            if moved > likeness:
                likeness, gain = moved, moved_gain
        colour = 1.0 - _colour_difference(thumbs_a_NT[i], thumbs_b_NT[i], mirrored, gain) / COLOUR_RANGE
        best = np.float32(min(likeness, colour))
        result_N[i] = min(max(best, np.float32(0.0)), np.float32(1.0))


@fast
def _unpack(thumb_T: NDArray[np.uint8], mirrored: bool, luma: NDArray[np.float32]) -> None:
    for y in range(LUMA_SIDE):
        for x in range(LUMA_SIDE):
            luma[y, LUMA_SIDE - 1 - x if mirrored else x] = thumb_T[y * LUMA_SIDE + x]


@fast
def _halve(large: NDArray[np.float32], small: NDArray[np.float32]) -> None:
    for y in range(small.shape[0]):
        for x in range(small.shape[1]):
            top = large[2 * y, 2 * x] + large[2 * y, 2 * x + 1]
            bottom = large[2 * y + 1, 2 * x] + large[2 * y + 1, 2 * x + 1]
            small[y, x] = np.float32(0.25) * (top + bottom)


@fast
def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> np.float32:
    sum_a, sum_b = np.float32(0.0), np.float32(0.0)
    for y in range(first.shape[0]):
        for x in range(first.shape[1]):
            sum_a += first[y, x]
            sum_b += second[y, x]
    mean_a, mean_b = sum_a / first.size, sum_b / first.size
    sum_aa, sum_bb, sum_ab = np.float32(1e-3), np.float32(1e-3), np.float32(0.0)
    for y in range(first.shape[0]):
        for x in range(first.shape[1]):
            a, b = first[y, x] - mean_a, second[y, x] - mean_b
            sum_aa += a * a
            sum_bb += b * b
            sum_ab += a * b
    return np.float32(sum_ab / np.sqrt(sum_aa * sum_bb))


@fast
def _register(still: NDArray[np.float32], moving: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Scale of x and y (0: none) and shift of x and y that carry `still`'s pixels to their places in `moving`."""
    side = still.shape[0]
    middle = (side - 1) / 2
    slopes = np.zeros((4, side, side), np.float32)
    normal, right = np.zeros((4, 4)), np.zeros(4)
    _slopes(still, slopes, normal)
    if not _factor(normal):
        return 0.0, 0.0, 0.0, 0.0
    scale_x, scale_y, shift_x, shift_y = 0.0, 0.0, 0.0, 0.0
    warped = np.empty((side, side), np.float32)
    for _ in range(NUM_ROUNDS):
        gain, offset, num = _warp(still, moving, scale_x, scale_y, shift_x, shift_y, warped)
        if num < MIN_OVERLAP * side * side:
            return 0.0, 0.0, 0.0, 0.0
        right[:] = 0.0
        for y in range(side):
            for x in range(side):
                if warped[y, x] >= 0.0:
                    error = gain * warped[y, x] + offset - still[y, x]
                    for k in range(4):
                        right[k] += slopes[k, y, x] * error
        _solve(normal, right)
        # The step moves the still picture; composing its inverse moves the other one instead.
        scale_x = min(max((1.0 + scale_x) / (1.0 + right[0]) - 1.0, -MAX_SCALE), MAX_SCALE)
        scale_y = min(max((1.0 + scale_y) / (1.0 + right[1]) - 1.0, -MAX_SCALE), MAX_SCALE)
        shift_x = min(max(shift_x - (1.0 + scale_x) * right[2], -MAX_SHIFT), MAX_SHIFT)
        shift_y = min(max(shift_y - (1.0 + scale_y) * right[3], -MAX_SHIFT), MAX_SHIFT)
        if middle * max(abs(right[0]), abs(right[1])) + max(abs(right[2]), abs(right[3])) < 0.02:
            break
    return scale_x, scale_y, shift_x, shift_y


@fast
def _slopes(still: NDArray[np.float32], slopes: NDArray[np.float32], normal: NDArray[np.float64]) -> None:
    """Derivatives of the still picture with respect to scale and shift, and their products."""
    side = still.shape[0]
    middle = np.float32((side - 1) / 2)
    for y in range(1, side - 1):
        for x in range(1, side - 1):
            slope_x = np.float32(0.5) * (still[y, x + 1] - still[y, x - 1])
            slope_y = np.float32(0.5) * (still[y + 1, x] - still[y - 1, x])
            slopes[0, y, x], slopes[1, y, x] = slope_x * (x - middle), slope_y * (y - middle)
            slopes[2, y, x], slopes[3, y, x] = slope_x, slope_y
    for j in range(4):
        for k in range(j + 1):
            total = np.float32(0.0)
            for y in range(side):
                for x in range(side):
                    total += slopes[j, y, x] * slopes[k, y, x]
            normal[j, k] = total


@fast
def _warp(
    still: NDArray[np.float32],
    moving: NDArray[np.float32],
    scale_x: float,
    scale_y: float,
    shift_x: float,
    shift_y: float,
    warped: NDArray[np.float32],
) -> tuple[float, float, int]:
    """Sample `moving` bilinearly; −1 outside. Also gain and offset that fit `still`, and how many pixels overlap."""
    side = still.shape[0]
    middle = (side - 1) / 2
    num, sum_a, sum_b, sum_bb, sum_ab = 0, 0.0, 0.0, 0.0, 0.0
    for y in range(side):
        place_y = middle + (1.0 + scale_y) * (y - middle) + shift_y
        top = int(min(max(np.floor(place_y), 0.0), side - 2.0))
        part_y = np.float32(place_y - top)
        outside_y = part_y < -0.01 or part_y > 1.01
        for x in range(side):
            place_x = middle + (1.0 + scale_x) * (x - middle) + shift_x
            left = int(min(max(np.floor(place_x), 0.0), side - 2.0))
            part_x = np.float32(place_x - left)
            if outside_y or part_x < -0.01 or part_x > 1.01:
                warped[y, x] = -1.0
                continue
            upper = moving[top, left] + part_x * (moving[top, left + 1] - moving[top, left])
            lower = moving[top + 1, left] + part_x * (moving[top + 1, left + 1] - moving[top + 1, left])
            value = max(upper + part_y * (lower - upper), np.float32(0.0))
            warped[y, x] = value
            num += 1
            sum_a += still[y, x]
            sum_b += value
            sum_bb += value * value
            sum_ab += still[y, x] * value
    if num == 0:
        return 1.0, 0.0, 0
    spread = sum_bb - sum_b * sum_b / num
    gain = (sum_ab - sum_a * sum_b / num) / spread if spread > 1e-3 else 1.0
    gain = min(max(gain, MIN_GAIN), MAX_GAIN)
    return gain, (sum_a - gain * sum_b) / num, num


@fast
def _factor(normal: NDArray[np.float64]) -> bool:
    """Cholesky in place, lightly damped; False where the picture has no structure to hold on to."""
    for j in range(4):
        normal[j, j] = normal[j, j] * 1.001 + 1e-2
    for j in range(4):
        for k in range(j + 1):
            total = normal[j, k]
            for m in range(k):
                total -= normal[j, m] * normal[k, m]
            if j != k:
                normal[j, k] = total / normal[k, k]
            elif total <= 1e-9:
                return False
            else:
                normal[j, j] = np.sqrt(total)
    return True


@fast
def _solve(factor: NDArray[np.float64], right: NDArray[np.float64]) -> None:
    for j in range(4):
        for m in range(j):
            right[j] -= factor[j, m] * right[m]
        right[j] /= factor[j, j]
    for back in range(4):
        j = 3 - back
        for m in range(j + 1, 4):
            right[j] -= factor[m, j] * right[m]
        right[j] /= factor[j, j]


@fast
def _explained(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    scale_x: float,
    scale_y: float,
    shift_x: float,
    shift_y: float,
) -> tuple[np.float32, np.float32]:
    """Square root of the share of variance of one picture that the registered other explains, and the gain.

    Each is predicted from the other and the better prediction counts: clipping at white loses detail in one direction
    only. Gain and offset are fitted where neither is clipped.
    """
    side = first.shape[0]
    warped = np.empty((side, side), np.float32)
    _, _, num = _warp(first, second, scale_x, scale_y, shift_x, shift_y, warped)
    if num < MIN_OVERLAP * side * side:
        return np.float32(0.0), np.float32(1.0)
    gain, offset, back, back_offset = _tones(first, warped)
    error_a, error_b = np.float32(0.0), np.float32(0.0)
    sum_a, sum_b, sum_aa, sum_bb = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for y in range(side):
        for x in range(side):
            inside = np.float32(1.0) if warped[y, x] >= np.float32(0.0) else np.float32(0.0)
            a, b = first[y, x], warped[y, x]
            miss_a = inside * (a - min(max(gain * b + offset, np.float32(0.0)), np.float32(255.0)))
            miss_b = inside * (b - min(max(back * a + back_offset, np.float32(0.0)), np.float32(255.0)))
            error_a += miss_a * miss_a
            error_b += miss_b * miss_b
            a, b = inside * (a - np.float32(128.0)), inside * (b - np.float32(128.0))
            sum_a += a
            sum_b += b
            sum_aa += a * a
            sum_bb += b * b
    spread_a, spread_b = sum_aa - sum_a * sum_a / num, sum_bb - sum_b * sum_b / num
    if spread_a <= 1.0 or spread_b <= 1.0:
        return np.float32(0.0), np.float32(1.0)
    missed = min(error_a / spread_a, error_b / spread_b)
    return np.float32(np.sqrt(max(1.0 - missed, 0.0))), gain


@fast
def _tones(
    first: NDArray[np.float32], warped: NDArray[np.float32]
) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Gain and offset from `warped` to `first`, and from `first` to `warped`, by least squares off black and white."""
    side = first.shape[0]
    half = np.float32(128.0)
    for low, high in ((BLACK, WHITE), (-1.0, 256.0)):
        least, most = np.float32(low), np.float32(high)
        num, sum_a, sum_b = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        sum_aa, sum_bb, sum_ab = np.float32(0.0), np.float32(0.0), np.float32(0.0)
        for y in range(side):
            for x in range(side):
                a, b = first[y, x], warped[y, x]
                fits = (b >= np.float32(0.0)) & (a > least) & (a < most) & (b > least) & (b < most)
                inside = np.float32(1.0) if fits else np.float32(0.0)
                a, b = inside * (a - half), inside * (b - half)
                num += inside
                sum_a += a
                sum_b += b
                sum_aa += a * a
                sum_bb += b * b
                sum_ab += a * b
        if num * 8 < side * side:
            continue
        mean_a, mean_b = sum_a / num, sum_b / num
        spread_a, spread_b = sum_aa - sum_a * mean_a, sum_bb - sum_b * mean_b
        if spread_a < 4.0 * num or spread_b < 4.0 * num:
            continue
        both = sum_ab - sum_a * mean_b
        gain = np.float32(min(max(both / spread_b, MIN_GAIN), MAX_GAIN))
        back = np.float32(min(max(both / spread_a, MIN_GAIN), MAX_GAIN))
        return gain, mean_a + half - gain * (mean_b + half), back, mean_b + half - back * (mean_a + half)
    return np.float32(1.0), np.float32(0.0), np.float32(1.0), np.float32(0.0)


@fast
def _colour_difference(
    thumb_a_T: NDArray[np.uint8], thumb_b_T: NDArray[np.uint8], mirrored: bool, gain: float
) -> float:
    """Mean distance of the 8x8 colour planes, in grey levels, once brightness is matched by `gain`."""
    num = CHROMA_SIDE * CHROMA_SIDE
    total = np.float32(0.0)
    for plane in range(2):
        start = NUM_LUMA + plane * num
        for y in range(CHROMA_SIDE):
            for x in range(CHROMA_SIDE):
                other = CHROMA_SIDE - 1 - x if mirrored else x
                a = np.float32(thumb_a_T[start + y * CHROMA_SIDE + x]) - np.float32(128.0)
                b = np.float32(thumb_b_T[start + y * CHROMA_SIDE + other]) - np.float32(128.0)
                total += abs(a - np.float32(gain) * b)
    return total / num
