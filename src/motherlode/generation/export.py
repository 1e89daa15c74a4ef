"""A run's model as files that need neither the run nor its dataset.

A sampler that turns noise into samples:

    <folder>/model.safetensors   weights of the sampler alone
    <folder>/config.json         what to build and how to feed it; `load` reads it back into the same network
    <folder>/model.onnx          on request: dynamic batch, noise (and labels) in, samples in [-1, 1] out
    <folder>/README.md           the model card, from the run's facts

An autoencoder's encoder and decoder become `encoder.onnx` and `decoder.onnx` besides. A model that makes codes has no
sampler: `model.safetensors` and `load` then hold the two.

A model of tokens becomes a folder of Hugging Face, which transformers and peft load as it is: see `hugging_face`.

An ONNX file is run in onnxruntime at batch sizes 1, 3 and 8 before it gets its name; where it disagrees with torch by
more than 1e-3 of the samples' range there is an error and no file.

Shape legend: B batch, Z noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motherlode import registry, storage
from motherlode.errors import RecipeError, StorageError
from motherlode.generation import card, hugging_face, onnx
from motherlode.generation.hugging_face import CONFIG, WEIGHTS, write_weights
from motherlode.generation.sampling import chosen_variant, opened, origin
from motherlode.modality import SampleSpec
from motherlode.recipe import parse
from motherlode.registry import did_you_mean

if TYPE_CHECKING:
    from torch import nn

    from motherlode.families import Family
    from motherlode.training.run import Run

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
    """Write a run's model to a folder.

    Args:
        run: a run or its folder.
        out: the folder; default `<run>/export`. One that `export` wrote before is replaced.
        formats: "safetensors", "onnx" or both.
        variant: which weights, e.g. "ema"; "" for the ones that scored best.
        which: which checkpoint: "best", "last" or "step-N".

    Returns:
        The folder.

    Raises:
        RecipeError: an unknown format or variant, or ONNX asked of a model of tokens.
        MissingExtraError: ONNX without `motherlode[export]`.
        MeasureError: the ONNX file does not compute what the network computes.
        StorageError: `out` holds something else, or the disk is full.
    """
    run = opened(run)
    for name in formats:
        if name not in FORMATS:
            raise RecipeError("there is no export format of this name", name, did_you_mean(name, list(FORMATS)))
    out = Path(out) if out is not None else run.path / "export"
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / CARD).is_file())):
        raise StorageError("`export` writes to a new folder, or over one it wrote", str(out), "choose another --out")
    family = run.load(which)
    variant = chosen_variant(run, family, variant)
    facts = origin(run, variant=variant, which=which)
    if run.spec.tokens is not None and "onnx" in formats:
        raise RecipeError(
            "a model of tokens exports to a Hugging Face folder",
            "onnx",
            "export it so, then turn that folder into ONNX: `optimum-cli export onnx --model FOLDER OUT`",
        )
    with storage.atomic_folder(out) as folder:
        if run.spec.tokens is not None:
            about = hugging_face.write(run, family, variant, facts, folder)
        else:
            about = _write_networks(run, family, facts, formats, folder)
        storage.write_text(folder / CARD, card.card(run, about))
    return out


def _write_networks(
    run: Run, family: Family, facts: dict[str, Any], formats: Sequence[str], folder: Path
) -> card.About:
    """The sampler, where there is one, and the coders, where there are any."""
    from torch import nn

    coders = family.coders()
    config = _config(run, family, facts)
    weights = nn.ModuleDict(dict(coders)) if not family.makes_samples else family.sampler(facts["variant"]).eval()
    if "onnx" in formats and family.makes_samples:
        config["onnx"] = onnx.write(
            weights, folder / ONNX, num_noise=family.num_noise, num_labels=family.num_labels, facts=facts
        )
    if "onnx" in formats and coders:
        config["coders_onnx"] = onnx.write_coders(coders, folder, run.spec.shape, facts)
    if "safetensors" in formats:
        write_weights(weights.state_dict(), folder / WEIGHTS, facts)
    storage.write_json(folder / CONFIG, config)
    return card.about_sampler(run.facts, config, sorted(path.name for path in folder.iterdir()))


def load(folder: str | Path) -> nn.Module:
    """The model in an exported folder, verified against its manifest; neither run nor dataset is needed.

    Returns:
        Of a model that makes codes a `ModuleDict`: "encoder", samples (B, *shape) to codes int64, and "decoder". Else a
        module in eval mode: (noise (B, Z) float32, labels (B,) int64 if it takes any) → samples in [-1, 1]; of a
        model of tokens the class of transformers that its `config.json` names.

    Raises:
        StorageError: there is no such folder, or a file of it is missing or altered.
    """
    from safetensors.torch import load_file
    from torch import nn

    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise StorageError("an exported folder must hold config.json", str(folder), "`lode export RUN` writes one")
    storage.verify_manifest(folder, [CONFIG, WEIGHTS])
    config = storage.read_json(folder / CONFIG)
    if "architectures" in config:
        return hugging_face.load(folder, config)
    if config["version"] > _CONFIG_VERSION:
        raise StorageError("the export's version must be known", config["version"], "upgrade motherlode")
    family = registry.find("family", config["family"])
    options = parse(family.Options, config["options"], str(folder / CONFIG), within=("options",))
    spec = SampleSpec(config["spec"]["modality"], tuple(config["spec"]["shape"]), config["spec"]["num_labels"])
    built = family.build(options, spec, 0)
    network: nn.Module = nn.ModuleDict(dict(built.coders()))
    if built.makes_samples:
        network = built.sampler(config["origin"]["variant"])
    network.load_state_dict(load_file(folder / WEIGHTS))
    return network.eval()


def _config(run: Run, family: Family, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": _CONFIG_VERSION,
        "family": run.recipe.family,
        "options": run.recipe.family_options().model_dump(mode="json"),
        "spec": asdict(run.spec),
        "num_noise": family.num_noise if family.makes_samples else 0,
        "noise": "standard normal",
        "num_labels": family.num_labels,
        "labels": run.labels if family.num_labels else [],
        "output": "float32 in [-1, 1], channels first; uint8 = round((x + 1) * 127.5)",
        "origin": facts,
    }
