"""Extractors of sound, and the name every number taken with one must show.

| name | features |
|---|---|
| `log-mel` | statistics of log mel spectra, no weights: 192 numbers; always there |
| a path to an ONNX file | its first output, of 16 kHz waveforms float32 (N, T) |

`log-mel` hears timbre, loudness and rhythm and knows no words: of each of 32 mel bands the mean over time, the spread,
the change from frame to frame, how it moves with the whole, and the levels it exceeds a tenth and nine tenths of the
time. It orders codecs and noise levels; it does not judge whether speech is understood.

Shape legend: N sounds, C channels, T values, B bands, F frames, D features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motherlode import storage
from motherlode.errors import MeasureError, MissingExtraError
from motherlode.measures.audio_distance import log_mel, normalised
from motherlode.measures.features import Features
from motherlode.modality import SampleSpec
from motherlode.registry import did_you_mean

NAMES = ("log-mel",)
_BANDS = 32
_ONNX_RATE = 16_000
_VERSION = 1
_PIECE = 64


class LogMel:
    """Statistics of log mel spectra: six for each of 32 bands.

    Args:
        rate: values a second of the samples it will see.
    """

    name = "log-mel"
    num_features = 6 * _BANDS
    dtype = "float32"
    published = False

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.resize = f"none, {rate:g} Hz"
        self.fingerprint = storage.hash_bytes(f"{self.name} {_VERSION} {rate}".encode())

    @torch.no_grad()
    def __call__(self, samples: Any) -> Features:
        """Features of int16 (or normalised) samples (N, C, T)."""
        pieces = [self._statistics(piece) for piece in torch.split(normalised(samples), _PIECE)]
        return Features(torch.cat(pieces).numpy().astype(np.float32), None)

    def layers(self, samples: Any) -> list[Tensor]:
        """The log mel spectrum itself, (N, 1, B, F)."""
        return [log_mel(normalised(samples).mean(1, keepdim=True), self.rate, _BANDS)]

    def _statistics(self, samples: Tensor) -> Tensor:
        level_NBF = log_mel(samples.mean(1, keepdim=True), self.rate, _BANDS).squeeze(1)
        change_NBF = level_NBF.diff(dim=2) if level_NBF.shape[2] > 1 else torch.zeros_like(level_NBF)
        centred_NBF = level_NBF - level_NBF.mean(2, keepdim=True)
        whole_N1F = centred_NBF.mean(1, keepdim=True)
        spread = centred_NBF.square().mean(2).sqrt()
        together = (centred_NBF * whole_N1F).mean(2) / whole_N1F.square().mean(2).sqrt().clamp_min(1e-3)
        quantiles = torch.quantile(level_NBF, torch.tensor([0.1, 0.9]), dim=2)
        moved = change_NBF.abs().mean(2)
        return torch.cat([level_NBF.mean(2), spread, moved, together, *quantiles], 1)


class OnnxExtractor:
    """A network in an ONNX file that takes waveforms of 16 kHz.

    Args:
        path: of the file; its first output, flattened, are the features.
        rate: values a second of the samples it will see.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        MeasureError: the file cannot be run.
    """

    dtype = "float32"
    published = False

    def __init__(self, path: Path, rate: float) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("an extractor in an ONNX file", "export") from error
        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:
            raise MeasureError("an extractor must be an ONNX file that runs", str(path), str(error)[:200]) from error
        self.name, self.rate = path.stem, rate
        self.resize = f"soxr {_ONNX_RATE} Hz"
        self.fingerprint = storage.hash_bytes(f"{storage.hash_file(path)} {rate}".encode())
        self.num_features = 0

    def __call__(self, samples: Any) -> Features:
        """Features of int16 (or normalised) samples (N, C, T)."""
        from motherlode.modality.audio.normal import resampled

        name = self._session.get_inputs()[0].name
        found: list[NDArray[np.float32]] = []
        for sample_T in normalised(samples).mean(1).numpy():
            wave = resampled(sample_T[:, None], self.rate, _ONNX_RATE).T
            found.append(np.asarray(self._session.run(None, {name: wave.astype(np.float32)})[0]).reshape(-1))
        features_ND = np.stack(found).astype(np.float32)
        self.num_features = features_ND.shape[1]
        return Features(features_ND, None)

    def layers(self, samples: Any) -> list[Tensor]:
        """None."""
        return []


def find_extractor(source: Any, spec: SampleSpec | None = None) -> Any:
    """The extractor of sound that `source` names.

    Args:
        source: "auto", a name of the table above, a path to an ONNX file, or an extractor, returned as it is.
        spec: of the samples, for their rate.

    Raises:
        MeasureError: there is none of this name, or the rate is not known.
    """
    if source is not None and not isinstance(source, str | Path):
        return source
    rate = spec.rate if spec is not None else 0.0
    if not rate:
        raise MeasureError("sound is measured at a rate", spec, "prepare the dataset again, or give a spec with a rate")
    name = str(source or "auto")
    if name in ("auto", *NAMES):
        return LogMel(rate)
    if Path(name).suffix == ".onnx" and Path(name).is_file():
        return OnnxExtractor(Path(name), rate)
    raise MeasureError("there is no extractor of sound of this name", name, did_you_mean(name, [*NAMES]))
