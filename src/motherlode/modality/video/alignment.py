"""Are two small films the same film? Compiled: 30 µs a pair.

One film is slid along the other by up to four frames, straight and mirrored. At each shift the likeness is the lesser
of three: the correlation of the luma of all frames that overlap, that of its changes from frame to frame (where either
moves at all), and the nearness of colours. A copy made brighter or paler keeps both correlations.

Clips tell copies from look-alikes better than pictures do, at lower correlations: among 2,500 clips of moving
Fashion-MNIST, a crowd if any, copies re-encoded or resized correlated by .94 to .99, 99 % of the nearest other clips by
less than .93. Above `COPY` likeness is therefore stretched to the scale on which `needed_likeness` allows for crowds:
.90 is enough where few clips are near, .952 in a crowd.

Shape legend: N pairs, T bytes of a thumbnail.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._compiled import fast
from motherlode.modality.image.kernels import CHROMA_SIDE
from motherlode.modality.video.fingerprint import MOST_SHIFT, NUM_FRAMES, NUM_LUMA, SIDE

AREA = SIDE * SIDE
MIN_OVERLAP = 0.6
"""Share of the shorter film that must overlap."""
STILL = 1.0
"""Root mean square of the changes, in grey levels, below which a film is too still to compare how it moves."""
COPY, STRETCH = 0.9, 8.0
"""Correlation from which clips may be copies, and by how much the way from there to 1 is shortened."""
SIMILAR = 1.0 - (1.0 - COPY) / STRETCH
COLOUR_RANGE = 128.0
"""Mean difference of colour, in grey levels, at which two films are wholly unlike."""


@fast
def alike(thumbs_a_NT: NDArray[np.uint8], thumbs_b_NT: NDArray[np.uint8], result_N: NDArray[np.float32]) -> None:
    """Fill `result_N` with the best likeness over shifts of each pair, in [0, 1]."""
    first, second = np.empty((NUM_FRAMES, AREA), np.float32), np.empty((NUM_FRAMES, AREA), np.float32)
    for i in range(thumbs_a_NT.shape[0]):
        num_a, num_b = min(np.int64(thumbs_a_NT[i, 0]), NUM_FRAMES), min(np.int64(thumbs_b_NT[i, 0]), NUM_FRAMES)
        least = max(2, np.int64(np.ceil(MIN_OVERLAP * min(num_a, num_b))))
        _unpack(thumbs_a_NT[i], False, first)
        best = np.float32(0.0)
        for turn in range(2):
            _unpack(thumbs_b_NT[i], turn == 1, second)
            colour = np.float32(1.0 - _colour_difference(thumbs_a_NT[i], thumbs_b_NT[i], turn == 1) / COLOUR_RANGE)
            for shift in range(-MOST_SHIFT, MOST_SHIFT + 1):
                start, stop = max(0, shift), min(num_a, num_b + shift)
                if stop - start >= least and colour > best:
                    best = max(best, min(colour, _agreement(first, second, start, stop, shift, best)))
        likeness = 1.0 - (1.0 - best) / STRETCH if best > COPY else best * (SIMILAR / COPY)
        result_N[i] = min(max(likeness, 0.0), 1.0)


@fast
def _unpack(thumb_T: NDArray[np.uint8], mirrored: bool, film: NDArray[np.float32]) -> None:
    for t in range(NUM_FRAMES):
        for y in range(SIDE):
            row = 1 + t * AREA + y * SIDE
            for x in range(SIDE):
                film[t, y * SIDE + x] = thumb_T[row + (SIDE - 1 - x if mirrored else x)]


@fast
def _agreement(
    first: NDArray[np.float32], second: NDArray[np.float32], start: int, stop: int, shift: int, needed: np.float32
) -> np.float32:
    """The lesser of how looks and how changes correlate; stops early where looks alone fall short of `needed`."""
    sum_a, sum_b = np.float32(0.0), np.float32(0.0)
    for t in range(start, stop):
        for j in range(AREA):
            sum_a += first[t, j]
            sum_b += second[t - shift, j]
    num = np.float32((stop - start) * AREA)
    mean_a, mean_b = sum_a / num, sum_b / num
    aa, bb, ab = np.float32(1e-3), np.float32(1e-3), np.float32(0.0)
    for t in range(start, stop):
        for j in range(AREA):
            a, b = first[t, j] - mean_a, second[t - shift, j] - mean_b
            aa += a * a
            bb += b * b
            ab += a * b
    looks = ab / np.sqrt(aa * bb)
    if looks <= needed:
        return looks
    aa, bb, ab = np.float32(1e-3), np.float32(1e-3), np.float32(0.0)
    for t in range(start + 1, stop):
        for j in range(AREA):
            a, b = first[t, j] - first[t - 1, j], second[t - shift, j] - second[t - shift - 1, j]
            aa += a * a
            bb += b * b
            ab += a * b
    floor = np.float32(STILL * STILL) * num
    if aa < floor and bb < floor:
        return looks
    return min(looks, ab / np.sqrt(aa * bb))


@fast
def _colour_difference(thumb_a_T: NDArray[np.uint8], thumb_b_T: NDArray[np.uint8], mirrored: bool) -> np.float32:
    """Mean distance of the 8x8 colour planes of the middle frames, in grey levels."""
    num = CHROMA_SIDE * CHROMA_SIDE
    total = np.float32(0.0)
    for plane in range(2):
        start = 1 + NUM_LUMA + plane * num
        for y in range(CHROMA_SIDE):
            for x in range(CHROMA_SIDE):
                other = CHROMA_SIDE - 1 - x if mirrored else x
                a = np.float32(thumb_a_T[start + y * CHROMA_SIDE + x])
                total += abs(a - np.float32(thumb_b_T[start + y * CHROMA_SIDE + other]))
    return total / np.float32(num)
