"""Copies are alike after what happens to clips; other clips, and other moments of a shot, are not."""

from __future__ import annotations

import numpy as np
import pytest
import video_samples as samples

from motherlode.data import dedupe
from motherlode.modality.video import MODALITY
from motherlode.modality.video.examine import examine
from motherlode.modality.video.files import write_ffv1, write_mp4
from motherlode.modality.video.fingerprint import NUM_FINGERPRINTS, NUM_THUMB_BYTES
from motherlode.modality.video.options import Clean

CLEAN = Clean()


def clusters(media: list[bytes]) -> np.ndarray:
    found = examine(media, CLEAN)
    assert found.reasons == [None] * len(media)
    assert found.fingerprints_NK.shape == (len(media), NUM_FINGERPRINTS)
    assert found.thumbs_NT.shape == (len(media), NUM_THUMB_BYTES)

    def similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return MODALITY.similarity(found.thumbs_NT[first], found.thumbs_NT[second])

    return dedupe.near_duplicates(
        found.fingerprints_NK, similarity, max_bits=MODALITY.max_bits, threshold=MODALITY.similar
    ).cluster_N


def test_planted_copies_are_found_and_nothing_else() -> None:
    originals = [write_ffv1(samples.scene(seed, frames=16), 8.0) for seed in range(12)]
    planted = [MODALITY.plant(media) for media in originals]
    media = [*originals, *(copy for copies in planted for copy in copies.values())]
    origins = np.concatenate([np.arange(12), *(np.full(len(copies), place) for place, copies in enumerate(planted))])
    found = clusters(media)
    kinds = np.array([""] * 12 + [kind for copies in planted for kind in copies])
    score = dedupe.score_planted(found, origins, kinds)
    assert score.precision == 1.0
    assert set(score.recall) == set(planted[0])
    assert min(score.recall.values()) >= 0.9, score.recall


def test_a_trimmed_film_gives_a_copy_of_its_clip() -> None:
    """The whole film, and one without its first quarter of a second: their clips overlap by 14 of 16 frames."""
    film = samples.scene(30, frames=40)
    other = samples.scene(31, frames=40)
    media = [write_mp4(film, 8.0, quality=18), write_mp4(film[2:], 8.0, quality=28), write_mp4(other, 8.0, quality=18)]
    assert clusters(media).tolist() == [0, 0, 2]


def test_two_moments_of_one_shot_are_no_copies() -> None:
    """The same background, another move of the thing before it."""
    background = samples.scene(32, frames=1)[0]
    thing = samples.scene(33, frames=1, height=20, width=20)[0]

    def clip(places: list[tuple[int, int]]) -> bytes:
        frames = np.repeat(background[None], 16, axis=0)
        for t, (y, x) in enumerate(places):
            frames[t, y : y + 20, x : x + 20] = thing
        return write_ffv1(frames, 8.0)

    across = [(5, 2 * t) for t in range(16)]
    down = [(t, 40 - t) for t in range(16)]
    assert clusters([clip(across), clip(down), clip(across)]).tolist() == [0, 1, 0]


def test_similarity_of_a_clip_with_itself_and_its_mirror_image() -> None:
    clip = samples.scene(34, frames=16)
    found = examine([write_ffv1(item, 8.0) for item in (clip, np.ascontiguousarray(clip[:, :, ::-1]))], CLEAN)
    assert MODALITY.similarity(found.thumbs_NT[[0, 0]], found.thumbs_NT[[0, 1]]) == pytest.approx([1, 1], abs=0.01)


def test_features_see_looks_and_motion() -> None:
    still_ish, moving = samples.scene(35, frames=16), samples.scene(35, frames=16, speed=4)
    found = examine([write_ffv1(still_ish, 8.0), write_ffv1(moving, 8.0)], CLEAN)
    features = MODALITY.features(found.thumbs_NT)
    assert features.shape == (2, 136)
    assert features.min() >= 0
    assert features.max() <= 1
    assert features[1, 64:128].mean() > 1.3 * features[0, 64:128].mean()
    assert MODALITY.features(found.thumbs_NT[:0]).shape == (0, 136)
