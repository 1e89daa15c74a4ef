"""Measures of sound: 0 for equals, monotone in noise, closed forms, and a reference in scipy."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "modality"))
from audio_samples import voice

from motherlode.errors import MeasureError
from motherlode.measures.audio_distance import log_mel, mel_distance, signal_to_distortion, spectral_distance
from motherlode.measures.audio_features import LogMel, OnnxExtractor, find_extractor
from motherlode.measures.audio_quality import is_installed, listener_scores
from motherlode.measures.frechet import frechet_distance
from motherlode.modality import SampleSpec

RATE = 16_000.0


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    return np.stack([voice(0.6, seed=seed, pitch=90 + 7 * seed) for seed in range(24)])[:, None].astype(np.float32)


def noise(real: np.ndarray, size: float) -> np.ndarray:
    return real + size * np.random.default_rng(1).standard_normal(real.shape).astype(np.float32)


def test_equal_sounds_are_no_distance_apart(real: np.ndarray) -> None:
    assert mel_distance(real, real, RATE) == 0
    assert spectral_distance(real, real) == 0
    assert signal_to_distortion(real, real) == 100
    features_ND = LogMel(RATE)(real).features_ND
    assert frechet_distance(features_ND, features_ND) == pytest.approx(0, abs=1e-6)


def test_every_distance_grows_with_noise(real: np.ndarray) -> None:
    extractor = LogMel(RATE)
    reference = extractor(real).features_ND
    found = []
    for size in (0.0003, 0.003, 0.03, 0.3):
        made = noise(real, size)
        distances = (mel_distance(made, real, RATE), spectral_distance(made, real), -signal_to_distortion(made, real))
        found.append([*map(float, distances), frechet_distance(extractor(made).features_ND, reference)])
    assert (np.diff(np.array(found), axis=0) > 0).all()


@pytest.mark.parametrize("ratio_db", [-5.0, 10.0, 30.0])
def test_the_ratio_is_the_ratio_that_was_put_in_whatever_the_scale(ratio_db: float) -> None:
    rng = np.random.default_rng(0)
    real = rng.standard_normal((8, 1, 20_000))
    error = rng.standard_normal((8, 1, 20_000))
    real -= real.mean(axis=2, keepdims=True)
    error -= error.mean(axis=2, keepdims=True)
    error -= (error * real).sum(axis=2, keepdims=True) / (real**2).sum(axis=2, keepdims=True) * real
    error *= np.sqrt((real**2).sum(axis=2, keepdims=True) / (error**2).sum(axis=2, keepdims=True))
    made = 0.3 * (real + error * 10 ** (-ratio_db / 20))
    assert signal_to_distortion(made, real) == pytest.approx(ratio_db, abs=1e-3)


def test_a_gain_moves_the_mel_distance_by_its_decibels(real: np.ndarray) -> None:
    loud = np.random.default_rng(0).standard_normal((4, 1, 8000)).astype(np.float32) * 0.2
    assert mel_distance(loud * 0.5, loud, RATE) == pytest.approx(20 * np.log10(2), abs=0.01)


def test_mel_spectra_are_those_of_scipy(real: np.ndarray) -> None:
    from scipy.signal import stft

    from motherlode.modality.audio.fingerprint import mel_filters

    size = int(0.032 * RATE)
    found = log_mel(torch.from_numpy(real[:2]), RATE, 40)[:, 0].numpy()
    window = torch.hann_window(size).numpy()
    padded = np.pad(real[:2, 0], ((0, 0), (size // 2, size // 2)), mode="reflect")
    scaled = np.abs(stft(padded, RATE, window, size, size - size // 4, boundary=None, padded=False)[2]) * 2
    expected = np.log10(np.maximum(mel_filters(int(RATE), size, 40, 0.0, RATE / 2) @ scaled, 1e-5))
    assert np.abs(found - expected).max() < 2e-3


def test_the_frechet_distance_of_known_gaussians_comes_out_of_features() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, (20_000, 3)), rng.normal((1, 2, 0), (1, 1, 3), (20_000, 3))
    assert frechet_distance(first, second) == pytest.approx(1 + 4 + (3 - 1) ** 2, rel=0.03)


def test_int16_and_floats_are_the_same_sound_and_the_rate_names_the_numbers(real: np.ndarray) -> None:
    values = np.rint(real * 32768).astype(np.int16)
    one, other = LogMel(RATE)(values).features_ND, LogMel(RATE)(values.astype(np.float32) / 32768).features_ND
    assert np.array_equal(one, other)
    assert one.shape == (24, LogMel.num_features)
    assert LogMel(8000.0).fingerprint != LogMel(RATE).fingerprint
    assert len(LogMel(RATE).layers(values)) == 1


def test_extractors_are_found_by_name_and_need_a_rate(tmp_path: Path) -> None:
    spec = SampleSpec("audio", (1, 8000), rate=RATE)
    assert find_extractor("auto", spec).name == "log-mel"
    with pytest.raises(MeasureError, match="log-mel"):
        find_extractor("log-mell", spec)
    with pytest.raises(MeasureError, match="rate"):
        find_extractor("auto", SampleSpec("audio", (1, 8000)))
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no network")
    with pytest.raises(MeasureError, match="ONNX"):
        find_extractor(bad, spec)


def test_an_onnx_file_is_an_extractor(tmp_path: Path, real: np.ndarray) -> None:
    onnx = pytest.importorskip("onnx")
    wave = onnx.helper.make_tensor_value_info("wave", onnx.TensorProto.FLOAT, [1, None])
    mean = onnx.helper.make_tensor_value_info("mean", onnx.TensorProto.FLOAT, [1, 1])
    node = onnx.helper.make_node("ReduceMax", ["wave"], ["mean"], axes=[1], keepdims=1)
    graph = onnx.helper.make_graph([node], "loudest", [wave], [mean])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "loudest.onnx")
    found = find_extractor(tmp_path / "loudest.onnx", SampleSpec("audio", (1, 8000), rate=RATE))
    assert isinstance(found, OnnxExtractor)
    assert found(real).features_ND[:, 0] == pytest.approx(real.max(axis=(1, 2)))


@pytest.mark.skipif(not is_installed(), reason="speechmos is not installed")
def test_listeners_like_a_clean_voice_better_than_a_noisy_one(real: np.ndarray) -> None:
    clean, noisy = (listener_scores(samples[:4], RATE).mean(axis=0) for samples in (real, noise(real, 0.1)))
    assert clean[1] > noisy[1] + 0.5
    assert clean[2] > noisy[2]
    assert ((clean > 0.5) & (clean < 5.5)).all()


def test_sounds_of_other_shapes_are_not_compared(real: np.ndarray) -> None:
    with pytest.raises(MeasureError, match="pairs"):
        mel_distance(real[:3], real[:2], RATE)
    with pytest.raises(MeasureError, match="pairs"):
        signal_to_distortion(real[:0], real[:0])
