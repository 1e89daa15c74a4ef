"""The form in which a sound is kept, and the arrays a model sees.

A FLAC that needs no change is kept as the very bytes that came in; all else is written once, as FLAC of 16 bits.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from motherlode.errors import DatasetError
from motherlode.modality import SampleSpec

FULL_SCALE = 32768.0
_CANCELLED = 0.01
"""Power of a mix over that of its channels below which they cancel out; the louder one is taken."""


def mixed(samples_TC: NDArray[np.float32], channels: int) -> NDArray[np.float32]:
    """To one channel, the mean of all (or the loudest where they cancel out), or to two: one doubled, or the first two
    of more, each with the mean of the rest."""
    have = samples_TC.shape[1]
    if have == channels:
        return samples_TC
    if channels == 1:
        mono_T = samples_TC.mean(axis=1)
        power_C = (samples_TC.astype(np.float64) ** 2).mean(axis=0)
        if float((mono_T.astype(np.float64) ** 2).mean()) < _CANCELLED * float(power_C.max()):
            mono_T = samples_TC[:, int(power_C.argmax())]
        return np.ascontiguousarray(mono_T[:, None], np.float32)
    if have == 1:
        return samples_TC.repeat(2, axis=1)
    rest_T1 = samples_TC[:, 2:].mean(axis=1, keepdims=True)
    two_T2: NDArray[np.float32] = ((samples_TC[:, :2] + rest_T1) / 2).astype(np.float32)
    return two_T2


def length_at(num: int, rate: float, wanted: float) -> int:
    """Values of a sound of `num` values at `rate`, once it is at the rate `wanted`."""
    return num if rate == wanted or not wanted else max(1, round(num * wanted / rate))


def resampled(samples_TC: NDArray[np.float32], rate: float, wanted: float) -> NDArray[np.float32]:
    """At another rate (soxr, very high quality), of exactly `length_at` values."""
    if rate == wanted or not wanted:
        return samples_TC
    made = soxr.resample(samples_TC, rate, wanted, quality="VHQ")
    num = length_at(len(samples_TC), rate, wanted)
    result = np.zeros((num, samples_TC.shape[1]), np.float32)
    result[: len(made)] = made[:num]
    return result


def to_int16(samples: NDArray[np.floating]) -> NDArray[np.int16]:
    """Full scale ±1 to 16 bits, rounded and clamped."""
    values: NDArray[np.int16] = np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return values


def write(samples_TC: NDArray[np.int16], rate: int, file_format: str = "FLAC") -> bytes:
    """The bytes of a FLAC or WAV file of 16 bits."""
    buffer = BytesIO()
    soundfile.write(buffer, samples_TC, rate, format=file_format, subtype="PCM_16")
    return buffer.getvalue()


def encode(sample_CT: NDArray[np.int16], spec: SampleSpec | None) -> bytes:
    """A FLAC of one sample int16 (C, T).

    Raises:
        DatasetError: the spec does not tell the rate.
    """
    if spec is None or not spec.rate:
        raise DatasetError("sound is written at a rate", spec, "give the spec it was made for")
    return write(np.ascontiguousarray(sample_CT.T), round(spec.rate))


def read(media: bytes, spec: SampleSpec) -> NDArray[np.int16]:
    """One file as int16 of `spec.shape`: its beginning where it is longer, zeros behind it where it is shorter.

    Where the last side of the shape is 0 the sound comes whole.

    Raises:
        DatasetError: the bytes are not a sound that can be read.
    """
    try:
        samples_TC, rate = soundfile.read(BytesIO(media), dtype="int16", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise DatasetError("a dataset's sounds must be readable", str(error), "prepare the dataset again") from error
    channels, length = spec.shape
    if samples_TC.shape[1] != channels or (spec.rate and rate != spec.rate):
        float_TC = mixed(samples_TC.astype(np.float32) / np.float32(FULL_SCALE), channels)
        samples_TC = to_int16(resampled(float_TC, rate, spec.rate))
    if not length:
        return np.ascontiguousarray(samples_TC.T)
    result_CT = np.zeros((channels, length), np.int16)
    result_CT[:, : len(samples_TC)] = samples_TC[:length].T
    return result_CT
