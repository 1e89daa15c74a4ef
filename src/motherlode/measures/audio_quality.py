"""How good speech sounds to a listener, as a network that learned from listeners judges it: DNSMOS P.835.

Reddy et al. 2022: three scores from 1 to 5, of the speech, of the background, of the whole. The package `speechmos`
brings the network as an ONNX file, which is run here as it is; what it wants of sound (16 kHz, 9.01 s, shorter clips
repeated) and the curves that bring its outputs to the scale of listeners are those of its authors. Clips far shorter
than it was trained on score low: compare with what real clips of the same length score.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import MeasureError, MissingExtraError
from motherlode.measures.audio_distance import normalised

NAME = "dnsmos-p835"
_RATE, _VALUES = 16_000, 144_160
_SCALES = (
    (-0.08397278, 1.22083953, 0.0052439),
    (-0.13166888, 1.60915514, -0.39604546),
    (-0.06766283, 1.11546468, 0.04602535),
)
"""Quadratics of speech, background and the whole, highest power first."""


def is_installed() -> bool:
    """Whether the network is there."""
    return _path() is not None and find_spec("onnxruntime") is not None


def listener_scores(samples: Any, rate: float) -> NDArray[np.float64]:
    """Scores (N, 3) of speech, background and the whole, about 1 to 5.

    Args:
        samples: int16 or normalised (N, C, T), silence behind them cut off first.
        rate: values a second.

    Raises:
        MissingExtraError: the network or onnxruntime is not installed.
        MeasureError: there is no sound.
    """
    from motherlode.modality.audio.normal import resampled

    waves = normalised(samples).mean(1).numpy()
    if not len(waves):
        raise MeasureError("there must be sounds to score", 0, "generate some")
    session = _session()
    found = []
    for wave_T in waves:
        heard = np.flatnonzero(wave_T)
        wave_T = wave_T[: heard[-1] + 1] if len(heard) else wave_T
        at_rate = resampled(wave_T[:, None].astype(np.float32), rate, _RATE)[:, 0]
        window = np.resize(at_rate, _VALUES).astype(np.float32).clip(-1, 1)
        found.append(session.run(None, {"input_1": window[None]})[0][0])
    raw_N3 = np.asarray(found, np.float64)
    return np.stack([np.polyval(_SCALES[part], raw_N3[:, part]) for part in range(3)], axis=1)


def _path() -> Path | None:
    package = find_spec("speechmos")
    if package is None or not package.submodule_search_locations:
        return None
    path = Path(package.submodule_search_locations[0]) / "dnsmos_models" / "sig_bak_ovr.onnx"
    return path if path.is_file() else None


@cache
def _session() -> Any:
    path = _path()
    if path is None:
        raise MissingExtraError("listeners' scores (DNSMOS)", "speech")
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("listeners' scores (DNSMOS)", "speech") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
