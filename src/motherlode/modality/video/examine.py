"""A batch of files to normal form, measures, fingerprints and thumbnails, one clip in memory at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from motherlode.modality import Examination
from motherlode.modality.image import kernels
from motherlode.modality.image.decode import Unfit
from motherlode.modality.video import fingerprint, normal
from motherlode.modality.video.decode import Film, open_film
from motherlode.modality.video.files import write_ffv1
from motherlode.modality.video.options import Clean
from motherlode.modality.video.shots import Clip, choose

_AVERAGED = {
    "brightness": kernels.BRIGHTNESS,
    "contrast": kernels.CONTRAST,
    "sharpness": kernels.SHARPNESS,
    "colourfulness": kernels.COLOURFULNESS,
    "entropy": kernels.ENTROPY,
}


@dataclass(slots=True)
class _Seen:
    """What is known of one file."""

    media: bytes
    reason: str | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    fingerprints_K: NDArray[np.uint64] | None = None
    thumb_T: NDArray[np.uint8] | None = None


def examine(media: Sequence[bytes], options: Clean) -> Examination:
    """See `Modality.examine`."""
    notes: Counter[str] = Counter()
    seen = [_look(item, options, notes) for item in media]
    columns: dict[str, NDArray[np.generic]] = {}
    for name, kind in _INTEGERS.items():
        columns[name] = np.array([item.numbers.get(name, 0) for item in seen], kind)
    for name in ("mode", "original_format", "original_codec"):
        columns[name] = np.array([item.texts.get(name, "") for item in seen], np.str_)
    for name in ("duration_sec", "rate", "original_rate", "motion", *_AVERAGED):
        columns[name] = np.array([item.numbers.get(name, 0.0) for item in seen], np.float32)
    no_print = np.zeros(fingerprint.NUM_FINGERPRINTS, np.uint64)
    no_thumb = np.zeros(fingerprint.NUM_THUMB_BYTES, np.uint8)
    return Examination(
        media=[item.media if item.reason is None else received for item, received in zip(seen, media, strict=True)],
        reasons=[item.reason for item in seen],
        columns=columns,
        fingerprints_NK=np.stack([no_print, *_of(seen, "fingerprints_K", no_print)])[1:],
        thumbs_NT=np.stack([no_thumb, *_of(seen, "thumb_T", no_thumb)])[1:],
        notes=dict(notes),
    )


_INTEGERS = {
    "frames": np.int32,
    "width": np.int32,
    "height": np.int32,
    "original_width": np.int32,
    "original_height": np.int32,
    "cuts": np.int32,
    "audio": np.bool_,
}


def _of(seen: Sequence[_Seen], name: str, nothing: NDArray[np.generic]) -> list[NDArray[np.generic]]:
    found = [getattr(item, name) for item in seen]
    return [nothing if value is None else value for value in found]


def _look(media: bytes, options: Clean, notes: Counter[str]) -> _Seen:
    seen = _Seen(media)
    try:
        with open_film(media, options) as film:
            clip = choose(film, options, partial(normal.shape, options=options))
            _measure(seen, film, clip, options, notes)
    except Unfit as unfit:
        seen.reason = unfit.reason
    return seen


def _measure(seen: _Seen, film: Film, clip: Clip, options: Clean, notes: Counter[str]) -> None:
    """Judge a clip, and bring it to the normal form."""
    header = film.header
    clip_FHWC = normal.stack(clip.frames, options)
    num, height, width, channels = clip_FHWC.shape
    measures_FM = np.zeros((num, kernels.NUM_MEASURES), np.float32)
    thumbs_FT = np.zeros((num, kernels.NUM_THUMB_BYTES), np.uint8)
    offsets_F = np.arange(num, dtype=np.int64) * (height * width * channels)
    shapes_F3 = np.tile(np.array([height, width, channels], np.int64), (num, 1))
    kernels.measure(np.ascontiguousarray(clip_FHWC).ravel(), offsets_F, shapes_F3, measures_FM, thumbs_FT)
    seen.numbers = {
        "frames": num,
        "width": width,
        "height": height,
        "original_width": clip.width,
        "original_height": clip.height,
        "cuts": clip.cuts,
        "audio": header.has_audio,
        "duration_sec": num / clip.rate,
        "rate": clip.rate,
        "original_rate": header.rate,
        "motion": clip.motion,
        **{name: float(measures_FM[:, column].mean()) for name, column in _AVERAGED.items()},
    }
    seen.texts = {
        "mode": "L" if channels == 1 else "RGB",
        "original_format": header.file_format,
        "original_codec": header.codec,
    }
    seen.reason = _verdict(measures_FM, clip, options)
    if seen.reason is None:
        seen.fingerprints_K, seen.thumb_T = fingerprint.of_clip(thumbs_FT)
        seen.media = write_ffv1(clip_FHWC, clip.rate)
        _note(clip, options, notes)


def _verdict(measures_FM: NDArray[np.float32], clip: Clip, options: Clean) -> str | None:
    """Why a clip carries too little to learn from, or None."""
    if measures_FM[:, kernels.BRIGHTEST].max() < options.min_light:
        return "black"
    if measures_FM[:, kernels.CONTRAST].max() < options.min_contrast:
        return "near_constant"
    return "frozen" if clip.change < options.min_motion else None


def _note(clip: Clip, options: Clean, notes: Counter[str]) -> None:
    if clip.cuts:
        notes["cut_at_shots"] += 1
    if len(clip.frames) < options.num_frames:
        notes["shorter_than_frames"] += 1
