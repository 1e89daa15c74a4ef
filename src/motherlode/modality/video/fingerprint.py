"""Fingerprints that copies of a clip share, and the check on small films that tells copies from look-alikes.

A thumbnail is a small film: 16 frames of 16x16 luma at an even step, and the colours of the middle one. The clip's own
fingerprint is a picture's (see `image.fingerprint`), of the middle frame; its other ones are of its mirror image and of
the frames around the middle, so that a copy trimmed by up to four of 16 frames is still proposed. Verification slides
one small film along the other, straight and mirrored: what is seen must agree, and how it moves too, for two moments
of one shot share their background and are no copies.

Shape legend: N clips or pairs, F frames, T bytes of a thumbnail, K fingerprints, D features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality.image import fingerprint as pictures
from motherlode.modality.image import kernels

NUM_FRAMES = 16
SIDE = 16
NUM_LUMA = NUM_FRAMES * SIDE * SIDE
NUM_CHROMA = 2 * kernels.CHROMA_SIDE * kernels.CHROMA_SIDE
NUM_THUMB_BYTES = 1 + NUM_LUMA + NUM_CHROMA
"""The number of frames that are filled, luma frame by frame, blue and red difference."""
MOST_SHIFT = 4
_SHIFTS = tuple(shift for step in range(1, MOST_SHIFT + 1) for shift in (-step, step))
NUM_FINGERPRINTS = 2 + len(_SHIFTS)


def of_clip(thumbs_FT: NDArray[np.uint8]) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    """Fingerprints (K,) and thumbnail (T,) of a clip.

    Args:
        thumbs_FT: pictures' thumbnails of all its frames, from `image.kernels.measure`.
    """
    step = -(-len(thumbs_FT) // NUM_FRAMES)
    chosen_FT = thumbs_FT[::step]
    num, centre = len(chosen_FT), len(chosen_FT) // 2
    places = np.clip(np.array([centre, *(centre + shift for shift in _SHIFTS)]), 0, num - 1)
    prints = pictures.fingerprints(chosen_FT[places])
    side = kernels.LUMA_SIDE
    luma_FHW = chosen_FT[:, : kernels.NUM_LUMA].reshape(num, side // 2, 2, side // 2, 2).astype(np.uint16)
    thumb_T = np.zeros(NUM_THUMB_BYTES, np.uint8)
    thumb_T[0] = num
    thumb_T[1 : 1 + num * SIDE * SIDE] = ((luma_FHW.sum(axis=(2, 4)) + 2) // 4).astype(np.uint8).ravel()
    thumb_T[1 + NUM_LUMA :] = chosen_FT[centre, kernels.NUM_LUMA :]
    return np.concatenate([prints[0, :2], prints[1:, 0]]), thumb_T


def similarity(thumbs_a_NT: NDArray[np.uint8], thumbs_b_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How surely two clips are copies of one another, in [0, 1]: see `alignment.alike`."""
    from motherlode.modality.video import alignment

    result_N = np.empty(len(thumbs_a_NT), np.float32)
    alignment.alike(np.ascontiguousarray(thumbs_a_NT), np.ascontiguousarray(thumbs_b_NT), result_N)
    return result_N


def features(thumbs_NT: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean over time, and spread over time, at 8x8, and colour at 2x2, scaled to [0, 1]: float32 (N, 136)."""
    num, half = len(thumbs_NT), SIDE // 2
    filled_NF = np.arange(NUM_FRAMES) < np.maximum(thumbs_NT[:, :1], 1)
    luma = thumbs_NT[:, 1 : 1 + NUM_LUMA].reshape(num, NUM_FRAMES, half, 2, half, 2).astype(np.float32)
    luma_NFP = luma.mean(axis=(3, 5)).reshape(num, NUM_FRAMES, half * half) / 255.0
    weights_NF1 = (filled_NF / filled_NF.sum(axis=1, keepdims=True)).astype(np.float32)[:, :, None]
    mean_NP = (luma_NFP * weights_NF1).sum(axis=1)
    spread_NP = np.sqrt((((luma_NFP - mean_NP[:, None]) ** 2) * weights_NF1).sum(axis=1))
    small = kernels.CHROMA_SIDE
    chroma = thumbs_NT[:, 1 + NUM_LUMA :].reshape(num, 2, 2, small // 2, 2, small // 2).astype(np.float32)
    return np.concatenate([mean_NP, spread_NP, chroma.mean(axis=(3, 5)).reshape(num, 8) / 255.0], axis=1)
