"""Sounds for people: spectrograms to look at, and a file to listen to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from motherlode import storage
from motherlode.modality import SampleSpec
from motherlode.modality._sheet import PAPER, TILE, crossed, lay_out, save
from motherlode.modality.audio import normal
from motherlode.modality.audio.decode import Unfit, decode
from motherlode.modality.audio.fingerprint import mel_filters
from motherlode.modality.audio.measure import decibels
from motherlode.modality.audio.options import Clean

if TYPE_CHECKING:
    import torch

_GAP_SEC = 0.25
_MOST_HEARD = 64
_WIDTH, _HEIGHT, _GUTTER = 160, 80, 2
_RANGE_DB = 70.0
_DEFAULT_RATE = 16_000
_LENIENT = Clean(max_sec=36_000)
_STOPS = ((0, 0, 4), (66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164))
"""From silence to the loudest: dark to bright, in equal steps to the eye."""


@cache
def _colours() -> NDArray[np.uint8]:
    """256 colours between the stops, (256, 3)."""
    place = np.linspace(0, len(_STOPS) - 1, 256)
    stops = np.array(_STOPS, np.float64)
    return np.stack([np.interp(place, range(len(_STOPS)), stops[:, c]) for c in range(3)], axis=1).astype(np.uint8)


def spectrogram(samples_T: NDArray[np.float32], rate: float, width: int = _WIDTH, height: int = _HEIGHT) -> Image.Image:
    """Mel spectrogram as a picture: time to the right, low sounds below, 70 dB under the loudest black."""
    size = max(int(0.032 * rate), 16)
    padded = np.concatenate([np.zeros(size // 2, np.float32), samples_T, np.zeros(size - size // 2, np.float32)])
    starts = np.linspace(0, len(padded) - size, width).astype(np.int64)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[starts] * np.hanning(size + 2)[1:-1]
    filters = mel_filters(round(rate), size, height, 60.0, rate / 2)
    level_BF = decibels((np.abs(np.fft.rfft(frames, axis=1)) ** 2) @ filters.T).T
    shade = np.clip((level_BF - level_BF.max() + _RANGE_DB) / _RANGE_DB, 0, 1) * 255
    return Image.fromarray(_colours()[shade[::-1].astype(np.uint8)])


def grid(samples: torch.Tensor, path: Path, columns: int, spec: SampleSpec | None) -> Path:
    """See `Modality.preview`: a picture of spectrograms, and beside it all of them one after another as a WAV."""
    from motherlode.modality.audio.tensors import denormalise

    rate = spec.rate if spec is not None and spec.rate else _DEFAULT_RATE
    values_NCT = denormalise(samples.detach().float().cpu()).numpy()
    num = len(values_NCT)
    columns = columns or max(1, math.ceil(math.sqrt(num / 2)))
    step_x, step_y = _WIDTH + _GUTTER, _HEIGHT + _GUTTER
    sheet = Image.new("RGB", (columns * step_x + _GUTTER, math.ceil(num / columns) * step_y + _GUTTER), PAPER)
    for index in range(num):
        tile = spectrogram(values_NCT[index].mean(axis=0, dtype=np.float32) / np.float32(normal.FULL_SCALE), rate)
        sheet.paste(tile, (_GUTTER + index % columns * step_x, _GUTTER + index // columns * step_y))
    save(sheet, path)
    gap_CT = np.zeros((values_NCT.shape[1], int(_GAP_SEC * rate)), np.int16)
    heard_CT = np.concatenate([piece for sample in values_NCT[:_MOST_HEARD] for piece in (sample, gap_CT)], axis=1)
    with storage.atomic_path(path.with_suffix(".wav")) as temporary:
        temporary.write_bytes(normal.write(np.ascontiguousarray(heard_CT.T), round(rate), "WAV"))
    return path


def contact_sheet(media: Sequence[bytes], path: Path, captions: Sequence[str], columns: int = 0) -> None:
    """See `Modality.contact_sheet`."""
    lay_out([_tile(item) for item in media], path, captions, columns)


def _tile(media: bytes) -> Image.Image:
    try:
        sound = decode(media, _LENIENT)
    except Unfit:
        return crossed()
    return spectrogram(sound.samples_TC.mean(axis=1), sound.rate, TILE, TILE * 3 // 4)
