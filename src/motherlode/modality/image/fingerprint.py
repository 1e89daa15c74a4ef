"""Fingerprints that look-alikes share, and the check on thumbnails that tells copies from look-alikes.

A fingerprint has a bit for each of the 64 lowest cosine frequencies of a 32x32 thumbnail: is its coefficient above
zero, by more than noise could make it? The margin matters: the odd frequencies of a symmetric picture are noise, and
plain signs lost a fifth of the JPEG copies of clip art. A mirror image has the odd horizontal coefficients negated. Two
more fingerprints are of the picture's middle and its mirror image, for copies that were cropped.

Shape legend: N samples or pairs, K fingerprints, T bytes of a thumbnail, D features, B frequencies, V and U their axes.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from motherlode.modality.image import kernels

NUM_AXIS_FREQUENCIES = 11
NUM_FREQUENCIES = 64
_CACHED_ROWS = 128
"""Rows whose luma stays in the processor's cache; 6,000 at once took a quarter longer."""
INNER = 0.95
"""Side of the middle that is fingerprinted as well."""
ZERO_SHARE, ZERO_LEVEL = 0.005, 2.5
"""The margin: this share of the norm of all coefficients, and at least this level (rounding and JPEG noise)."""


@cache
def _frequencies() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Vertical and horizontal index of the lowest frequencies without the constant, in a fixed order."""
    axis = range(NUM_AXIS_FREQUENCIES)
    chosen = sorted((v + u, max(v, u), v, u) for v in axis for u in axis if v + u)[:NUM_FREQUENCIES]
    return np.array([item[2] for item in chosen]), np.array([item[3] for item in chosen])


@cache
def _cosines(zoom: float) -> NDArray[np.float32]:
    """First rows of the orthonormal type-II cosine transform of the middle `zoom` of 32 values, enlarged to 32."""
    side = kernels.LUMA_SIDE
    place = (np.arange(side) + 0.5) / side
    rows = np.cos(np.arange(NUM_AXIS_FREQUENCIES)[:, None] * np.pi * place) * np.sqrt(2.0 / side)
    rows[0] /= np.sqrt(2.0)
    source = ((place - 0.5) * zoom + 0.5) * side - 0.5
    weights = np.maximum(0.0, 1.0 - np.abs(source[:, None] - np.arange(side)))
    cosines: NDArray[np.float32] = (rows @ (weights / weights.sum(axis=1, keepdims=True))).astype(np.float32)
    return cosines


def fingerprints(thumbs_NT: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """uint64 (N, 4): of the picture, of its mirror image, of its middle, of the mirror image of its middle."""
    pieces = [
        _fingerprints(thumbs_NT[start : start + _CACHED_ROWS]) for start in range(0, len(thumbs_NT), _CACHED_ROWS)
    ]
    return np.concatenate([np.empty((0, 4), np.uint64), *pieces])


def _fingerprints(thumbs_NT: NDArray[np.uint8]) -> NDArray[np.uint64]:
    side = kernels.LUMA_SIDE
    luma_NHW = thumbs_NT[:, : kernels.NUM_LUMA].reshape(-1, side, side).astype(np.float32)
    vertical_B, horizontal_B = _frequencies()
    turned_B = np.where(horizontal_B % 2 == 1, np.float32(-1), np.float32(1))
    columns = []
    for zoom in (1.0, INNER):
        cosines = _cosines(zoom)
        spectrum_NVU = cosines @ (luma_NHW @ cosines.T)
        value_NB = spectrum_NVU[:, vertical_B, horizontal_B]
        zero_N1 = np.maximum(ZERO_SHARE * np.sqrt((value_NB**2).sum(axis=1, keepdims=True)), ZERO_LEVEL)
        columns += [_pack(value_NB > zero_N1), _pack(value_NB * turned_B > zero_N1)]
    return np.stack(columns, axis=1)


def _pack(is_set_N64: NDArray[np.bool_]) -> NDArray[np.uint64]:
    packed_N8 = np.ascontiguousarray(np.packbits(is_set_N64, axis=1, bitorder="little"))
    return packed_N8.view("<u8").ravel().astype(np.uint64)


def similarity(thumbs_a_NT: NDArray[np.uint8], thumbs_b_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How surely two pictures are copies of one another, in [0, 1]: see `registration.alike`."""
    from motherlode.modality.image import registration

    result_N = np.empty(len(thumbs_a_NT), np.float32)
    registration.alike(np.ascontiguousarray(thumbs_a_NT), np.ascontiguousarray(thumbs_b_NT), result_N)
    return result_N


def features(thumbs_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The picture at 16x16 in luma and 3x3 in colour, scaled to [0, 1]: float32 (N, 274)."""
    side, half = kernels.LUMA_SIDE, kernels.LUMA_SIDE // 2
    luma_NHW = thumbs_NT[:, : kernels.NUM_LUMA].reshape(-1, side, side).astype(np.float32)
    luma_ND = luma_NHW.reshape(-1, half, 2, half, 2).mean(axis=(2, 4)).reshape(-1, half * half) / 255.0
    small = kernels.CHROMA_SIDE
    chroma = thumbs_NT[:, kernels.NUM_LUMA :].reshape(-1, 2, small, small).astype(np.float32) / 255.0
    edges = (0, 3, 5)
    boxes = np.add.reduceat(np.add.reduceat(chroma, edges, axis=2), edges, axis=3)
    counts = np.outer((3, 2, 3), (3, 2, 3))
    return np.concatenate([luma_ND, (boxes / counts).reshape(-1, 2 * counts.size)], axis=1).astype(np.float32)
