"""ONNX that has been run before it is handed over.

torch writes the graph with a dynamic batch; onnxruntime then makes samples at batch sizes 1, 3 and 8 from the same
noise as torch, and the largest difference must stay within 1e-3 (of samples that span [-1, 1]: an eighth of a grey
level). A converter that drops an operator or fixes the batch is thus found here and not in production. It takes about
4 s, nearly all of it torch's exporter.

Shape legend: B batch, Z noise, C channels, H height, W width.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motherlode.errors import MeasureError, MissingExtraError, RecipeError
from motherlode.randomness import torch_generator

if TYPE_CHECKING:
    from torch import Tensor, nn

TOLERANCE = 1e-3
BATCHES = (1, 3, 8)
_OPSET = 18


def write(
    sampler: nn.Module, path: Path, *, num_noise: int, num_labels: int, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Write `sampler` as ONNX and check it.

    Args:
        sampler: (noise (B, Z) float32, labels (B,) int64 if any) → samples (B, C, H, W) in [-1, 1].
        num_noise: Z.
        num_labels: 0 for a sampler without labels.
        facts: strings kept in the file's metadata, e.g. which run it came from.

    Returns:
        Names of inputs and outputs, the opset, and the largest difference from torch.

    Raises:
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
        RecipeError: this kind of sampler takes no noise.
        MeasureError: the file computes something else; it is deleted.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise MissingExtraError("exporting to ONNX", "export") from error
    import torch

    if not num_noise:
        raise RecipeError("only samplers that turn noise into samples export to ONNX", None, "export to safetensors")
    inputs = _inputs(2, num_noise, num_labels)
    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    with _quiet():
        program = torch.onnx.export(
            sampler,
            tuple(inputs.values()),
            dynamo=True,
            opset_version=_OPSET,
            input_names=list(inputs),
            output_names=["samples"],
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            verbose=False,
        )
        assert program is not None
        program.save(str(path))
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {key: str(value) for key, value in facts.items()})
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    worst = check(sampler, session, num_noise, num_labels, path)
    return {"inputs": list(inputs), "outputs": ["samples"], "opset": _OPSET, "largest_difference": worst}


def check(sampler: nn.Module, session: Any, num_noise: int, num_labels: int, path: Path) -> float:
    """The largest difference between an onnxruntime session and `sampler` over `BATCHES`.

    Raises:
        MeasureError: it exceeds `TOLERANCE`, a shape differs, or a value is not finite; `path` is deleted.
    """
    import numpy as np
    import torch

    worst = 0.0
    for size in BATCHES:
        inputs = _inputs(size, num_noise, num_labels)
        with torch.no_grad():
            expected = sampler(*inputs.values()).float().numpy()
        (received,) = session.run(["samples"], {name: tensor.numpy() for name, tensor in inputs.items()})
        same_shape = received.shape == expected.shape
        difference = float(np.abs(received - expected).max()) if same_shape else float("inf")
        # Written so that a NaN, which compares as neither more nor less, fails as well.
        if not difference <= TOLERANCE:
            path.unlink(missing_ok=True)
            raise MeasureError(
                f"an exported file must compute what the network computes, within {TOLERANCE:g}",
                f"batch {size}: {received.shape} against {expected.shape}, largest difference {difference:g}",
                "use --format safetensors, and report the network this happened with",
            )
        worst = max(worst, difference)
    return worst


def _inputs(size: int, num_noise: int, num_labels: int) -> dict[str, Tensor]:
    """Inputs of a sampler, by name; a function of the batch size alone."""
    import torch

    rng = torch_generator(0, "onnx", size)
    inputs = {"noise": torch.randn(size, num_noise, generator=rng)}
    if num_labels:
        inputs["labels"] = torch.randint(num_labels, (size,), generator=rng)
    return inputs


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's exporter from telling a user about its own internals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
