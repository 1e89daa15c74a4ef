"""Fingerprints that look-alikes share, and the check on thumbnails that tells copies from look-alikes.

A fingerprint is the signs of the 64 lowest cosine frequencies of a 32x32 thumbnail. Mirroring a picture flips the
signs of the odd horizontal frequencies and nothing else, so the fingerprint of the mirror image costs one XOR. Candidates are then verified by registering one
thumbnail on the other (shift, scale, gain and offset by Gauss-Newton) and correlating what remains.

Shape legend: N samples or pairs, K fingerprints, T bytes of a thumbnail, D features.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from motherlode.modality.image import kernels

NUM_FREQUENCIES = 11
NUM_FEATURES_CHROMA = 18


@cache
def _frequencies() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Vertical and horizontal index of the 64 lowest frequencies without the constant, in a fixed order."""
    grid = [(v + u, max(v, u), v, u) for v in range(NUM_FREQUENCIES) for u in range(NUM_FREQUENCIES) if v + u]
    chosen = sorted(grid)[:64]
    return np.array([item[2] for item in chosen]), np.array([item[3] for item in chosen])


@cache
def _cosines() -> NDArray[np.float32]:
    """The first rows of the orthonormal type-II cosine transform of length 32."""
    side = kernels.LUMA_SIDE
    place = (np.arange(side) + 0.5) * np.pi / side
    rows = np.cos(np.arange(NUM_FREQUENCIES)[:, None] * place) * np.sqrt(2.0 / side)
    rows[0] /= np.sqrt(2.0)
    return rows.astype(np.float32)


def fingerprints(thumbs_NT: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Column 0 is the picture's fingerprint, column 1 its mirror image's: uint64 (N, 2)."""
    coefficients_NVU = _spectrum(thumbs_NT)
    vertical, horizontal = _frequencies()
    is_set_NB = coefficients_NVU[:, vertical, horizontal] > 0
    powers = np.uint64(1) << np.arange(64, dtype=np.uint64)
    straight_N = (is_set_NB * powers).sum(axis=1, dtype=np.uint64)
    odd = np.uint64((powers * (horizontal % 2 == 1)).sum(dtype=np.uint64))
    return np.stack([straight_N, straight_N ^ odd], axis=1)


def _spectrum(thumbs_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
    side = kernels.LUMA_SIDE
    luma_NHW = thumbs_NT[:, : kernels.NUM_LUMA].reshape(-1, side, side).astype(np.float32)
    cosines = _cosines()
    spectrum: NDArray[np.float32] = cosines @ (luma_NHW @ cosines.T)
    return spectrum


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
    return np.concatenate([luma_ND, (boxes / counts).reshape(len(thumbs_NT), -1)], axis=1).astype(np.float32)
