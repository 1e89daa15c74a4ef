"""A run's sampler as files that need neither the run nor its dataset.

    <folder>/model.safetensors   weights of the sampler alone
    <folder>/config.json         what to build and how to feed it; `load` reads it back into the same network
    <folder>/model.onnx          on request: dynamic batch, noise (and labels) in, samples in [-1, 1] out
    <folder>/README.md           the model card, from the run's facts

An ONNX file is run in onnxruntime at batch sizes 1, 3 and 8 before it gets its name; where it disagrees with torch by
more than 1e-3 of the samples' range there is an error and no file.

Shape legend: B batch, Z noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from motherlode import storage
from motherlode.errors import RecipeError, StorageError
from motherlode.generation import card, onnx
from motherlode.registry import did_you_mean

if TYPE_CHECKING:
    from motherlode.training.run import Run

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
ONNX = "model.onnx"
CARD = "README.md"
FORMATS = ("safetensors", "onnx")
_CONFIG_VERSION = 1


def export(
    run: Run | str | Path,
    out: str | Path | None = None,
    *,
    formats: Sequence[str] = ("safetensors",),
    variant: str = "",
    which: str = "best",
) -> Path:
    """Write a run's sampler to a folder.

    Args:
        run: a run or its folder.
        out: the folder; default `<run>/export`. One that `export` wrote before is replaced.
        formats: "safetensors", "onnx" or both.
        variant: which weights, e.g. "ema"; "" for the ones that scored best.
        which: which checkpoint: "best", "last" or "step-N".

    Returns:
        The folder.

    Raises:
        RecipeError: an unknown format or variant.
        MissingExtraError: ONNX without `motherlode[export]`.
        MeasureError: the ONNX file does not compute what the network computes.
        StorageError: `out` holds something else, or the disk is full.
    """
    run = _opened(run)
    for name in formats:
        if name not in FORMATS:
            raise RecipeError("there is no export format of this name", name, did_you_mean(name, list(FORMATS)))
    out = Path(out) if out is not None else run.path / "export"
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / CARD).is_file())):
        raise StorageError("`export` writes to a new folder, or over one it wrote", str(out), "choose another --out")
    family = run.load(which)
    variant = variant or run_variant(run, family.variants)
    if variant not in family.variants:
        raise RecipeError("the model has no such weights", variant, did_you_mean(variant, list(family.variants)))
    sampler = family.sampler(variant).eval()
    with storage.atomic_folder(out) as folder:
        config = _config(run, sampler, family.num_noise, family.num_labels, variant, which)
        if "onnx" in formats:
            config["onnx"] = onnx.write(sampler, folder / ONNX, config)
        if "safetensors" in formats:
            _write_weights(sampler, folder / WEIGHTS, config)
        storage.write_json(folder / CONFIG, config)
        storage.write_text(folder / CARD, card.card(run, config))
    return out
