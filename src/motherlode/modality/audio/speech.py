"""Where somebody speaks: silero's voice activity detector, its ONNX file run by onnxruntime.

The package `silero-vad` brings the file; its own code needs torchaudio, which has no build for every torch, and is
not used here. The network sees windows of 32 ms with 8 (at 16 kHz: 4) ms before them and carries its state along.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import MissingExtraError
from motherlode.modality.audio.normal import resampled

_RATE, _WINDOW, _CONTEXT = 16_000, 512, 64
_SPEAKS = 0.5


def is_installed() -> bool:
    """Whether the detector can be used."""
    return _model_path() is not None and find_spec("onnxruntime") is not None


def span(samples_T: NDArray[np.float32], rate: int, margin_sec: float) -> tuple[int, int]:
    """First and last value of what is spoken, with a margin; (0, 0) where nobody speaks.

    Raises:
        MissingExtraError: the detector is not installed.
    """
    spoken = np.flatnonzero(chances(samples_T, rate) >= _SPEAKS)
    if not len(spoken):
        return 0, 0
    start, end = int(spoken[0]) * _WINDOW / _RATE, (int(spoken[-1]) + 1) * _WINDOW / _RATE
    return max(int((start - margin_sec) * rate), 0), min(int((end + margin_sec) * rate), len(samples_T))


def chances(samples_T: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """How likely somebody speaks in each window of 32 ms, in [0, 1].

    Raises:
        MissingExtraError: the detector is not installed.
    """
    samples = resampled(samples_T[:, None], rate, _RATE)[:, 0]
    peak = float(np.abs(samples).max()) or 1.0
    num = -(-len(samples) // _WINDOW)
    padded = np.zeros(_CONTEXT + num * _WINDOW, np.float32)
    padded[_CONTEXT : _CONTEXT + len(samples)] = samples / max(peak, 1e-6) * 0.9
    session = _session()
    state = np.zeros((2, 1, 128), np.float32)
    found = np.zeros(num, np.float32)
    for index in range(num):
        window = padded[None, index * _WINDOW : index * _WINDOW + _CONTEXT + _WINDOW]
        chance, state = session.run(None, {"input": window, "state": state, "sr": np.array(_RATE, np.int64)})
        found[index] = chance[0, 0]
    return found


def _model_path() -> Path | None:
    package = find_spec("silero_vad")
    if package is None or not package.submodule_search_locations:
        return None
    path = Path(package.submodule_search_locations[0]) / "data" / "silero_vad.onnx"
    return path if path.is_file() else None


@cache
def _session() -> Any:
    path = _model_path()
    if path is None:
        raise MissingExtraError("finding speech (trim: silero)", "speech")
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("finding speech (trim: silero)", "speech") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
