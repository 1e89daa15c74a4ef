"""Small sounds for tests, good and broken."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000


def voice(seconds: float = 1.0, rate: int = RATE, seed: int = 0, pitch: float = 140.0) -> NDArray[np.float64]:
    """Something like speech: a gliding buzz through moving resonances, in syllables, with a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    glide = pitch * (1.0 + 0.2 * np.sin(2 * np.pi * (0.7 * time + rng.random())))
    phase = 2 * np.pi * np.cumsum(glide) / rate
    formants = 500 + 300 * np.sin(2 * np.pi * rng.uniform(1, 3) * time), 1500 + 500 * np.sin(2 * np.pi * 1.7 * time)
    sound = np.zeros(len(time))
    for number in range(1, int(0.45 * rate / pitch)):
        tone = number * glide
        weight = sum(np.exp(-(((tone - formant) / 180.0) ** 2)) for formant in formants) + 0.02
        sound += weight * np.sin(number * phase)
    syllables = 0.15 + np.abs(np.sin(2 * np.pi * rng.uniform(2, 4) * time + rng.random()))
    sound = sound * syllables + 0.002 * rng.standard_normal(len(time))
    return 0.3 * sound / np.abs(sound).max()


def file(samples: Any, rate: int = RATE, file_format: str = "WAV", subtype: str = "PCM_16") -> bytes:
    """The bytes of a file of samples (T,) or (T, C)."""
    buffer = BytesIO()
    soundfile.write(buffer, samples, rate, format=file_format, subtype=subtype)
    return buffer.getvalue()


def wav(claimed: int, held: int, rate: int = RATE, channels: int = 1) -> bytes:
    """A WAV whose header claims so many bytes of samples and holds others."""
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * 2 * channels & 0xFFFFFFFF, 2 * channels, 16)
    data = (voice(held / 2 / RATE + 1)[: held // 2] * 32767).astype("<i2").tobytes()
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", claimed) + data
    return b"RIFF" + struct.pack("<I", min(4 + 28 + 8 + claimed, 0xFFFFFFFF)) + body


def broken() -> dict[str, tuple[bytes, str]]:
    """Bad files by name, each with the reason it must be dropped for."""
    good = voice()
    not_a_number = good.copy()
    not_a_number[100] = np.nan
    return {
        "zero-length": (b"", "empty"),
        "header only": (wav(0, 0), "too_short"),
        "cut header": (file(good)[:30], "truncated"),
        "truncated wav": (file(good)[:9000], "truncated"),
        "truncated flac": (file(good, file_format="FLAC")[:9000], "truncated"),
        "truncated ogg": (file(good, file_format="OGG", subtype="VORBIS")[:6000], "truncated"),
        "text": (b"this is not a sound at all\n" * 40, "unknown_format"),
        "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "unknown_format"),
        "not a number": (file(not_a_number, subtype="FLOAT"), "non_finite"),
        "infinite": (file(np.where(np.arange(len(good)) == 5, np.inf, good), subtype="DOUBLE"), "non_finite"),
        "one sample": (file(good[:1]), "silent"),
        "two milliseconds": (file(good[5000:5032]), "too_short"),
        "0 Hz": (wav(16_000, 16_000, rate=0), "absurd_rate"),
        "4 GHz": (wav(16_000, 16_000, rate=4_000_000_000), "absurd_rate"),
        "no channels": (wav(16_000, 16_000, channels=0), "undecodable"),
        "claims 2 GB": (wav(2_000_000_000, 16_000), "truncated"),
        "silence": (file(np.zeros(RATE)), "silent"),
        "constant": (file(np.full(RATE, 0.5)), "silent"),
        "noise": (file(np.random.default_rng(0).normal(size=RATE) * 0.1), "noise"),
        "clipped": (file(np.clip(good * 12, -0.7, 0.7)), "clipped"),
        "damaged flac": (b"fLaC" + bytes(200), "absurd_rate"),
    }


def readable() -> dict[str, bytes]:
    """The same second of sound in forms that must all be read."""
    good = voice()
    surround = np.stack([good, good, good, 0.3 * good, good, good], axis=1)
    streamed = bytearray(file(good))
    streamed[40:44] = b"\xff\xff\xff\xff"
    return {
        "16 bits": file(good),
        "8 bits": file(good, subtype="PCM_U8"),
        "24 bits": file(good, subtype="PCM_24"),
        "32 bits": file(good, subtype="PCM_32"),
        "float": file(good, subtype="FLOAT"),
        "float beyond full scale": file(good * 8, subtype="FLOAT"),
        "a constant part": file(good * 0.5 + 0.3),
        "µ-law": file(good, subtype="ULAW"),
        "stereo": file(np.stack([good, 0.8 * good], axis=1)),
        "stereo out of phase": file(np.stack([good, -good], axis=1)),
        "5.1": file(surround),
        "flac": file(good, file_format="FLAC"),
        "ogg": file(good, file_format="OGG", subtype="VORBIS"),
        "opus": file(good, file_format="OGG", subtype="OPUS"),
        "mp3": file(good, file_format="MP3", subtype="MPEG_LAYER_III"),
        "aiff": file(good, file_format="AIFF"),
        "of unknown length, as a pipe writes": bytes(streamed),
        "silence around it": file(np.concatenate([np.zeros(8000), good, np.zeros(8000)])),
    }
