"""What one run has learnt about samples, as the beginning of another run's network.

The folder of a run says all that is needed: its recipe what to build, its record which checkpoint is best. It must stay
where it is for as long as the run that begins from it is used: the network is built from its recipe again.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from motherlode import registry, storage
from motherlode.errors import RecipeError
from motherlode.modality import SampleSpec
from motherlode.recipe import Recipe

_FACTS, _RECIPE, _CHECKPOINTS, _WEIGHTS = "run.json", "recipe.yaml", "checkpoints", "model.safetensors"


def read_backbone(folder: str | Path, spec: SampleSpec) -> nn.Module:
    """The network of a run's best checkpoint that turns samples into features (see `Family.backbone`).

    Args:
        folder: of the run.
        spec: of the samples that it is to look at.

    Raises:
        RecipeError: no run, of a family without such a network, or trained on samples of another shape.
        CorruptError: its checkpoint is damaged.
    """
    from safetensors.torch import load_file

    folder = Path(folder)
    if not (folder / _FACTS).is_file() or not (folder / _RECIPE).is_file():
        fix = storage.near_path(folder, "train an autoencoder first")
        raise RecipeError("a network can begin from the folder of a run", str(folder), fix)
    facts = storage.read_json(folder / _FACTS)
    recipe, learnt = Recipe.load(folder / _RECIPE), SampleSpec.from_dict(facts["spec"])
    if (learnt.modality, learnt.shape) != (spec.modality, spec.shape):
        raise RecipeError(
            "a network can only begin from a run on samples of the same shape",
            f"{folder}: {learnt.modality} {learnt.shape}, here {spec.modality} {spec.shape}",
            "set `data.resolution` and `data.channels` alike in both recipes",
        )
    family = registry.find("family", recipe.family).build(recipe.family_options(), learnt, recipe.seed)
    backbone: nn.Module | None = family.backbone()
    if backbone is None:
        raise RecipeError(
            "a network can only begin from a run that has an encoder",
            f"{folder}: {recipe.family}",
            "use an autoencoder",
        )
    checkpoint = _best(folder, facts)
    storage.verify_manifest(checkpoint, (_WEIGHTS,))
    family.load_state_dict(load_file(checkpoint / _WEIGHTS))
    return backbone


def _best(folder: Path, facts: dict[str, object]) -> Path:
    """The best checkpoint, or the last one where nothing was scored."""
    best = facts.get("best")
    steps = [int(path.name.removeprefix("step-")) for path in (folder / _CHECKPOINTS).glob("step-*")]
    wanted = best["step"] if isinstance(best, dict) and best["step"] in steps else max(steps, default=None)
    if wanted is None:
        raise RecipeError("a run must have a checkpoint to begin from", str(folder), "train it for longer")
    return folder / _CHECKPOINTS / f"step-{wanted}"
