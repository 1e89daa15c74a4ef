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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motherlode.errors import MeasureError, MissingExtraError, RecipeError
from motherlode.randomness import torch_generator

if TYPE_CHECKING:
    from torch import Tensor, nn

TOLERANCE = 1e-3
CODE_TOLERANCE = 0.02
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
    if not num_noise:
        raise RecipeError("only samplers that turn noise into samples export to ONNX", None, "export to safetensors")
    return write_network(sampler, path, lambda size: _inputs(size, num_noise, num_labels), "samples", facts)


def write_coders(
    coders: Mapping[str, nn.Module], folder: Path, shape: tuple[int, ...], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Write an encoder and its decoder as `encoder.onnx` and `decoder.onnx`, checked; see `write`.

    Args:
        coders: "encoder", samples (B, *shape) to what the "decoder" turns into samples again.
        folder: where to.
        shape: of a sample.
        facts: see `write`.

    Returns:
        What `write` returns, by name.
    """
    import torch

    encoder, decoder = coders["encoder"], coders["decoder"]

    def samples(size: int) -> dict[str, Tensor]:
        rng = torch_generator(0, "onnx", size)
        return {"samples": torch.rand(size, *shape, generator=rng) * 2 - 1}

    def encoded(size: int) -> dict[str, Tensor]:
        with torch.no_grad():
            return {"encoded": encoder(**samples(size))}

    return {
        "encoder": write_network(encoder, folder / "encoder.onnx", samples, "encoded", facts),
        "decoder": write_network(decoder, folder / "decoder.onnx", encoded, "samples", facts),
    }


def write_network(
    network: nn.Module,
    path: Path,
    inputs_of: Callable[[int], dict[str, Tensor]],
    output: str,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Write any network with one output as ONNX and check it; see `write`.

    Args:
        network: in eval mode.
        path: where to.
        inputs_of: inputs by name for a batch of so many, always the same ones.
        output: name of the output.
        facts: see `write`.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise MissingExtraError("exporting to ONNX", "export") from error
    import torch

    inputs = inputs_of(2)
    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    with _quiet():
        program = torch.onnx.export(
            network,
            tuple(inputs.values()),
            dynamo=True,
            opset_version=_OPSET,
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            verbose=False,
        )
        assert program is not None
        program.save(str(path))
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {key: str(value) for key, value in facts.items()})
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    worst = check(network, session, inputs_of, output, path)
    return {"inputs": list(inputs), "outputs": [output], "opset": _OPSET, "largest_difference": worst}


def check(
    network: nn.Module, session: Any, inputs_of: Callable[[int], dict[str, Tensor]], output: str, path: Path
) -> float:
    """The largest difference between an onnxruntime session and `network` over `BATCHES`; of codes, the share that
    differ: where two codes are as near, rounding decides.

    Raises:
        MeasureError: it exceeds `TOLERANCE` (of codes `CODE_TOLERANCE`), a shape differs, or a value is not finite;
            `path` is deleted.
    """
    import torch

    worst = 0.0
    for size in BATCHES:
        inputs = inputs_of(size)
        with torch.no_grad():
            expected = network(*inputs.values()).numpy()
        (received,) = session.run([output], {name: tensor.numpy() for name, tensor in inputs.items()})
        same_shape = received.shape == expected.shape
        whole = expected.dtype.kind == "i"
        difference = float("inf")
        if same_shape:
            difference = float((received != expected).mean() if whole else abs(received - expected).max())
        tolerance = CODE_TOLERANCE if whole else TOLERANCE
        # Written so that a NaN, which compares as neither more nor less, fails as well.
        if not difference <= tolerance:
            path.unlink(missing_ok=True)
            raise MeasureError(
                f"an exported file must compute what the network computes, within {tolerance:g}",
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
