"""Measures of sound against closed forms and against what was put in."""

from __future__ import annotations

import numpy as np
import pytest
from audio_samples import RATE, file, voice

from motherlode.modality.audio import MODALITY, measure
from motherlode.modality.audio.fingerprint import fingerprints
from motherlode.modality.audio.options import Clean


def sine(frequency: float, rate: int, seconds: float = 2.0, size: float = 1.0) -> np.ndarray:
    return (size * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000, 96_000])
def test_a_full_scale_tone_of_997_hz_has_minus_3_01_lufs(rate: int) -> None:
    """ITU-R BS.1770-4, annex 1: a 0 dBFS sine of 997 Hz in one channel reads −3.01."""
    assert measure.loudness(sine(997, rate)[:, None], rate) == pytest.approx(-3.01, abs=0.1)


def test_loudness_follows_the_gain_and_the_gates_leave_silence_out() -> None:
    tone = sine(1000, RATE)
    assert measure.loudness(0.1 * tone[:, None], RATE) == pytest.approx(measure.loudness(tone[:, None], RATE) - 20)
    padded = np.concatenate([tone, np.zeros(20 * RATE, np.float32)])
    assert measure.loudness(padded[:, None], RATE) == pytest.approx(measure.loudness(tone[:, None], RATE), abs=0.6)
    assert measure.loudness(np.zeros((RATE, 1), np.float32), RATE) < -100


def test_clipping_is_counted_in_runs_at_the_peak() -> None:
    tone = sine(100, RATE, 1.0)
    assert measure.clipped_share(tone[:, None]) < 0.02
    clipped = np.clip(tone * 2, -0.9, 0.9)
    expected = float((np.abs(tone * 2) >= 0.9).mean()) / 2
    assert measure.clipped_share(clipped[:, None]) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("snr_db", [10.0, 20.0, 30.0])
def test_noise_is_estimated_from_pauses(snr_db: float) -> None:
    rng = np.random.default_rng(0)
    tone = sine(500, RATE, 4.0) * np.repeat([1.0, 0.0], 2 * RATE)
    noise = rng.standard_normal(len(tone)) * np.sqrt(0.5) * 10 ** (-snr_db / 20)
    assert measure.signal_to_noise((tone + noise).astype(np.float32), RATE) == pytest.approx(snr_db, abs=1.5)


def test_bandwidth_shows_what_was_recorded_at_a_lower_rate() -> None:
    import soxr

    rng = np.random.default_rng(0)
    narrow = soxr.resample(rng.standard_normal(8000 * 2), 8000, 44_100).astype(np.float32)
    wide = rng.standard_normal(44_100 * 2).astype(np.float32)
    assert measure.bandwidth(*measure.spectrum(narrow, 44_100)) == pytest.approx(4000, abs=200)
    assert measure.bandwidth(*measure.spectrum(wide, 44_100)) == pytest.approx(22_050, abs=50)
    assert measure.flatness(measure.spectrum(wide, 44_100)[0]) > 0.9
    assert measure.flatness(measure.spectrum(sine(440, RATE), RATE)[0]) < 0.01


def test_the_loud_part_is_found() -> None:
    sound = np.concatenate([np.zeros(4000), voice(0.5), np.zeros(12_000)]).astype(np.float32)
    start, end = measure.loud_span(sound, RATE, 40.0, 0.03)
    assert 3000 <= start <= 4400
    assert 11_000 <= end <= 13_000
    assert measure.loud_span(np.zeros(RATE, np.float32), RATE, 40.0, 0.03) == (0, 0)


def test_copies_share_fingerprints_and_other_sounds_do_not() -> None:
    originals = MODALITY.examine([file(voice(seed=seed, pitch=100 + 9 * seed)) for seed in range(12)], Clean())
    planted = [MODALITY.plant(media) for media in originals.media]
    for kind in planted[0]:
        copies = MODALITY.examine([copies[kind] for copies in planted], Clean())
        assert copies.reasons == [None] * 12
        alike = MODALITY.similarity(originals.thumbs_NT, copies.thumbs_NT)
        assert alike.min() > MODALITY.similar, kind
        bits = [
            min(int(a ^ own[0]).bit_count() for a in theirs)
            for own, theirs in zip(copies.fingerprints_NK, originals.fingerprints_NK)
        ]
        assert max(bits) <= MODALITY.max_bits, kind
    first, second = np.triu_indices(12, 1)
    assert MODALITY.similarity(originals.thumbs_NT[first], originals.thumbs_NT[second]).max() < MODALITY.similar


def test_likeness_is_one_of_a_sound_with_itself_either_way_round_and_zero_of_silence() -> None:
    thumbs = MODALITY.examine([file(voice()), file(voice(0.95, seed=3)), b""], Clean()).thumbs_NT
    assert MODALITY.similarity(thumbs[:1], thumbs[:1])[0] == pytest.approx(1.0, abs=0.01)
    there, back = MODALITY.similarity(thumbs[:1], thumbs[1:2]), MODALITY.similarity(thumbs[1:2], thumbs[:1])
    assert there == pytest.approx(back, abs=1e-6)
    assert MODALITY.similarity(thumbs[2:], thumbs[2:])[0] == 0
    assert fingerprints(thumbs[:0]).shape == (0, 4)
    assert MODALITY.features(thumbs).shape == (3, 64)
