"""Every kind of file is read properly or dropped for the right reason; nothing raises."""

from __future__ import annotations

import numpy as np
import pytest
import video_samples as samples

from motherlode.modality import SampleSpec
from motherlode.modality.video import MODALITY
from motherlode.modality.video.decode import open_film, sniff
from motherlode.modality.video.examine import examine
from motherlode.modality.video.files import encode, write_ffv1
from motherlode.modality.video.options import REASONS, Clean

CLEAN = Clean()


def reason(media: bytes, **options: object) -> str | None:
    found = examine([media], Clean(**options))
    assert found.reasons[0] is None or found.reasons[0] in REASONS
    assert found.reasons[0] is None or found.media[0] is media
    return found.reasons[0]


def kept(media: bytes, **options: object) -> tuple[np.ndarray, dict[str, object]]:
    """Frames (F, H, W, C) of the normal form, and the measured columns."""
    found = examine([media], Clean(**options))
    assert found.reasons == [None]
    with open_film(found.media[0], CLEAN) as film:
        frames = np.stack([frame.pixels() for frame in film.frames])
    return frames, {name: values[0] for name, values in found.columns.items()}


@pytest.mark.parametrize(
    ("file_format", "codec"),
    [
        ("mp4", "libx264"),
        ("matroska", "libx264"),
        ("webm", "libvpx-vp9"),
        ("mov", "libx264"),
        ("avi", "mpeg4"),
        ("mpegts", "libx264"),
        ("matroska", "ffv1"),
    ],
)
def test_every_container_is_read(file_format: str, codec: str) -> None:
    clip = samples.scene(1)
    frames, columns = kept(samples.film(clip, file_format=file_format, codec=codec))
    assert frames.shape == (16, 48, 64, 3)
    assert np.abs(frames.astype(int) - clip[:16]).mean() < 6
    assert (columns["frames"], columns["width"], columns["height"], columns["rate"]) == (16, 64, 48, 8.0)


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "GIF"])
def test_animated_pictures_are_read(kind: str) -> None:
    clip = samples.scene(2)
    media = samples.gif(clip) if kind == "GIF" else samples.animated(clip, kind)
    frames, columns = kept(media)
    # A GIF counts hundredths of a second, so 125 ms become 120 and a frame of 16 comes early now and then.
    assert np.abs(frames.astype(int) - clip[:16]).mean() < (12 if kind == "GIF" else 1e-9)
    assert columns["original_format"] == kind.lower()


def test_truncated_without_an_index() -> None:
    media = samples.mp4(samples.scene(3))
    assert reason(media[: len(media) // 2]) == "truncated"


def test_truncated_behind_its_index() -> None:
    media = samples.film(samples.scene(3, frames=40), first=True)
    assert reason(media[: len(media) // 4]) in ("truncated", "undecodable")


def test_truncated_matroska() -> None:
    media = samples.film(samples.scene(3, frames=40), file_format="matroska", codec="ffv1")
    assert reason(media[: len(media) // 5]) in ("truncated", "undecodable")
    assert reason(media[: len(media) * 4 // 5]) is None, "the first shot was whole before the damage"


def test_zero_length_is_empty() -> None:
    assert reason(b"") == "empty"


def test_header_only() -> None:
    media = samples.film(samples.scene(4), first=True)
    assert reason(samples.header_only(media)) in ("truncated", "undecodable")


def test_sound_alone_has_no_video() -> None:
    assert reason(samples.song()) == "no_video"


@pytest.mark.parametrize("make", [samples.mp4, lambda c: samples.film(c, file_format="matroska")])
def test_one_frame_is_a_picture(make: object) -> None:
    assert reason(make(samples.scene(5, frames=1))) == "single_frame"  # type: ignore[operator]
    assert reason(samples.gif(samples.scene(5, frames=1))) == "single_frame"


def test_text_named_as_video() -> None:
    assert reason(b"This is not a film, whatever it is called.\n" * 20) == "unknown_format"


def test_playlists_are_never_followed(tmp_path: object) -> None:
    for text in (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"ffconcat version 1.0\nfile /etc/passwd\n"):
        assert reason(text) == "unknown_format"


def test_variable_frame_rate_comes_out_even() -> None:
    """Frames shown for 125 to 500 ms: each output frame is what was on the screen at its middle."""
    clip = samples.scene(6, frames=10)
    lengths = [125, 250, 125, 500, 125, 250, 125, 250, 125, 250]
    times = np.cumsum([0, *lengths[:-1]]).tolist()
    media = samples.film(clip, file_format="matroska", codec="ffv1", times_ms=times)
    frames, columns = kept(media)
    shown = np.searchsorted(times, (np.arange(16) + 0.5) * 125, "right") - 1
    assert np.array_equal(frames, clip[shown[:16]])
    assert columns["rate"] == 8.0


@pytest.mark.parametrize("size", [(33, 45), (17, 100)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    clip = samples.scene(7, height=size[0], width=size[1])
    frames, _ = kept(write_ffv1(clip, 8.0))
    assert np.array_equal(frames, clip[:16])


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_rotation_in_the_metadata_is_applied(turn: int) -> None:
    clip = samples.scene(8)
    frames, columns = kept(samples.film(clip, rotation=turn))
    upright = np.rot90(clip[:16], turn // 90, axes=(1, 2))
    assert frames.shape == upright.shape
    assert np.abs(frames.astype(int) - upright).mean() < 6
    assert (columns["original_width"], columns["original_height"]) == (upright.shape[2], upright.shape[1])


def test_a_huge_claim_costs_its_header() -> None:
    assert reason(samples.huge(samples.gif(samples.scene(9)))) == "decompression_bomb"
    assert reason(samples.mp4(samples.scene(9)), max_pixels=1000) == "decompression_bomb"


def test_black_and_blank_and_frozen() -> None:
    black = np.zeros((20, 32, 32, 3), np.uint8)
    assert reason(samples.mp4(black)) == "black"
    assert reason(samples.mp4(black + 200)) == "near_constant"
    still = np.repeat(samples.scene(10, frames=1), 20, axis=0)
    assert reason(samples.mp4(still)) == "frozen"
    assert reason(samples.mp4(still), min_motion=0.0) is None


def test_too_small_and_too_short() -> None:
    assert reason(samples.mp4(samples.scene(11, height=8, width=64))) == "too_small"
    assert reason(samples.mp4(samples.scene(11, frames=8))) == "too_short"
    assert reason(samples.mp4(samples.scene(11, frames=8)), min_frames=8) is None


def test_transparency_shows_the_background() -> None:
    frames, columns = kept(samples.alpha_gif(), background=(0, 0, 255))
    assert tuple(frames[3, 0, 31]) == (0, 0, 255)
    assert tuple(frames[3, 10, 8]) == (255, 0, 0)
    assert columns["mode"] == "RGB"


def test_a_clip_never_runs_over_a_cut() -> None:
    """10 frames of one scene, then 20 of another: the second is long enough."""
    first, second = samples.scene(12, frames=10), samples.scene(13, frames=20)
    frames, columns = kept(samples.mp4(np.concatenate([first, second])))
    assert columns["cuts"] == 1
    assert np.abs(frames.astype(int) - second[:16]).mean() < 6
    joined, columns = kept(samples.mp4(np.concatenate([first, second])), cut=False)
    assert np.abs(joined[:10].astype(int) - first).mean() < 6


def test_black_and_still_beginnings_are_passed_over() -> None:
    scene = samples.scene(14)
    media = write_ffv1(np.concatenate([np.zeros_like(scene[:9]), scene]), 8.0)
    frames, _ = kept(media)
    assert np.array_equal(frames, scene[:16])
    title = np.repeat(scene[:1], 20, axis=0)
    frames, columns = kept(write_ffv1(np.concatenate([title, scene[1:]]), 8.0))
    assert columns["motion"] > 0


def test_sound_is_noted() -> None:
    assert kept(samples.film(samples.scene(15), sound=True))[1]["audio"]
    assert not kept(samples.film(samples.scene(15)))[1]["audio"]


def test_a_long_film_is_read_no_further_than_needed() -> None:
    media = samples.film(samples.scene(16, frames=400, width=32), first=True)
    ruined = media[: len(media) // 2] + bytes(len(media) - len(media) // 2)
    assert reason(ruined) is None


def test_grey_is_kept_grey() -> None:
    grey = np.repeat(samples.scene(17)[..., :1], 3, axis=3)
    frames, columns = kept(samples.mp4(grey))
    assert frames.shape[3] == 1
    assert columns["mode"] == "L"
    assert kept(samples.mp4(grey), colour="rgb")[0].shape[3] == 3
    assert kept(samples.mp4(samples.scene(17)), colour="grey")[0].shape[3] == 1


@pytest.mark.parametrize(("fit", "black"), [("crop", False), ("pad", True), ("stretch", False)])
def test_a_square_of_the_size_asked_for(fit: str, black: bool) -> None:
    clip = np.clip(samples.scene(18, width=96).astype(int) + 60, 0, 255).astype(np.uint8)
    frames, columns = kept(write_ffv1(clip, 8.0), resolution=32, fit=fit)
    assert frames.shape == (16, 32, 32, 3)
    assert (columns["width"], columns["original_width"]) == (32, 96)
    assert (frames[:, 0] == 0).all() == black


def test_the_normal_form_is_a_fixed_point() -> None:
    once = examine([samples.mp4(samples.scene(19))], CLEAN).media[0]
    assert examine([once], CLEAN).media[0] == once


def test_seconds_stand_for_frames() -> None:
    assert Clean(seconds=1.5, rate=10).num_frames == 15
    assert kept(samples.mp4(samples.scene(20, frames=20)), seconds=1.0)[0].shape[0] == 8


def test_garbage_never_raises() -> None:
    rng = np.random.default_rng(0)
    media = [samples.mp4(samples.scene(21)), samples.film(samples.scene(21), file_format="matroska")]
    media += [samples.film(samples.scene(21), file_format="avi", codec="mpeg4"), samples.gif(samples.scene(21))]
    media += [samples.animated(samples.scene(21), "WEBP"), samples.animated(samples.scene(21), "PNG")]
    for item in media:
        for _ in range(12):
            broken = bytearray(item)
            for place in rng.integers(0, len(item), 12):
                broken[place] = rng.integers(0, 256)
            cut = bytes(broken[: rng.integers(1, len(item))])
            for found in (examine([bytes(broken), cut], CLEAN).reasons, [reason(cut)]):
                assert all(item is None or item in REASONS for item in found)


def test_counts_and_columns_are_aligned() -> None:
    media = [b"", samples.mp4(samples.scene(22)), b"text"]
    found = examine(media, CLEAN)
    assert found.reasons == ["empty", None, "unknown_format"]
    assert {len(values) for values in found.columns.values()} == {3}
    assert found.fingerprints_NK.shape[0] == found.thumbs_NT.shape[0] == 3
    assert not examine([], CLEAN).reasons


def test_decode_gives_the_very_values() -> None:
    clip = samples.scene(23, frames=16, height=32, width=32)
    spec = SampleSpec("video", (3, 16, 32, 32), rate=8.0)
    for media in (write_ffv1(clip, 8.0), encode(clip.transpose(3, 0, 1, 2), 8.0)):
        assert np.array_equal(MODALITY.decode(media, spec), clip.transpose(3, 0, 1, 2))


def test_decode_of_other_lengths_sizes_and_channels() -> None:
    clip = samples.scene(24, frames=24, height=40, width=60)
    media = write_ffv1(clip, 8.0)
    middle = MODALITY.decode(media, SampleSpec("video", (3, 8, 40, 60), rate=8.0))
    assert np.array_equal(middle, clip[8:16].transpose(3, 0, 1, 2))
    held = MODALITY.decode(media, SampleSpec("video", (3, 30, 40, 60), rate=8.0))
    assert np.array_equal(held[:, 24:], np.repeat(held[:, 23:24], 6, axis=1))
    assert MODALITY.decode(media, SampleSpec("video", (1, 8, 32, 32), rate=4.0)).shape == (1, 8, 32, 32)


def test_equal_frames_survive_an_animation() -> None:
    """WebP merges frames that are equal; their time brings them back."""
    clip = np.repeat(samples.scene(25, frames=5), 3, axis=0)
    spec = SampleSpec("video", (3, 15, 48, 64), rate=8.0)
    media = MODALITY.encode(clip.transpose(3, 0, 1, 2), spec)
    assert np.array_equal(MODALITY.decode(media, spec), clip.transpose(3, 0, 1, 2))


def test_sniff() -> None:
    assert sniff(samples.mp4(samples.scene(26))) == "mov"
    assert sniff(b"RIFF\0\0\0\0WAVEfmt ") is None
