"""Puts a recipe together: dataset, modality, loaders and family, for whoever trains, measures or estimates.

Nothing here touches the run's folder, so an estimate or a trial can build everything a training builds and leave no
trace (but for the decoded samples, which the loader keeps beside the dataset).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from motherlode import registry
from motherlode.errors import DatasetError
from motherlode.families import Batch, Family
from motherlode.modality import Modality, SampleSpec
from motherlode.recipe import Recipe
from motherlode.training.distributed import ALONE, Ranks
from motherlode.training.loop import Engine, Feed, Setting

if TYPE_CHECKING:
    from motherlode.data.dataset import Dataset
    from motherlode.data.loader import Loader

_NOT_IDENTITY = ("budget", "checkpoint_every", "keep", "histograms")
"""Sections of `train` that do not decide the weights at a given step: a run may be continued with others."""


@dataclass(frozen=True)
class Assembly:
    """Everything a recipe names, opened.

    Args:
        recipe: as the user gave it.
        dataset: what it trains on.
        modality: what its samples are.
        spec: the shape in which the model sees them.
        ranks: this process among those that train.
    """

    recipe: Recipe
    dataset: Dataset
    modality: Modality
    spec: SampleSpec
    ranks: Ranks = ALONE

    @classmethod
    def of(cls, recipe: Recipe, ranks: Ranks = ALONE) -> Assembly:
        """Open the dataset and settle the shape of samples.

        Raises:
            DatasetError: the dataset is missing, damaged or empty.
        """
        from motherlode.data.dataset import Dataset

        dataset = Dataset.open(recipe.data.path)
        modality: Modality = registry.find("modality", dataset.modality)
        if len(dataset.split("train")) == 0:
            raise DatasetError("a dataset must have training samples", recipe.data.path, "prepare it from more data")
        spec = dataset.spec(resolution=recipe.data.resolution, channels=recipe.data.channels)
        return cls(recipe, dataset, modality, spec, ranks)

    def build(self, setting: Setting) -> Family:
        """A fresh family, initialised from the recipe's seed, placed as `setting` says."""
        return setting.place(self.family.build(self.options, self.spec, self.recipe.seed))

    @cached_property
    def family(self) -> type[Family]:
        """The recipe's kind of model."""
        family: type[Family] = registry.find("family", self.recipe.family)
        return family

    @cached_property
    def options(self) -> Any:
        """That family's options."""
        return self.recipe.family_options()

    @cached_property
    def loader(self) -> Loader:
        """Batches of the training split."""
        from motherlode.data.loader import Loader

        return Loader(
            self.dataset,
            "train",
            self.spec,
            seed=self.recipe.seed,
            batch=self.recipe.train.batch,
            num_samples=self.recipe.data.num_samples,
            rank=self.ranks.rank,
            world=self.ranks.world,
        )

    @cached_property
    def heldout(self) -> Loader | None:
        """Batches of the held-out split, never sliced over ranks; None where it has fewer than two samples."""
        from motherlode.data.loader import Loader

        num = len(self.dataset.split("heldout"))
        if num < 2:
            return None
        batch = min(self.recipe.train.batch, num)
        return Loader(self.dataset, "heldout", self.spec, seed=self.recipe.seed, batch=batch)

    def feed(self, setting: Setting) -> Feed:
        """Training batches on the device."""
        return Feed(
            self.loader,
            self.modality,
            setting,
            augment=self.recipe.data.augment,
            seed=self.recipe.seed,
            rank=self.ranks.rank,
        )

    def engine(self, setting: Setting) -> Engine:
        """A fresh engine at step 0."""
        family = self.build(setting)
        self.ranks.broadcast(family)
        return Engine(family, self.feed(setting), setting, self.recipe.train, seed=self.recipe.seed, ranks=self.ranks)

    def look_batches(self, setting: Setting, index: int) -> tuple[Batch, Batch] | None:
        """A training and a held-out batch of equal size for diagnostics; None where there is no held-out split."""
        if self.heldout is None:
            return None
        heldout = Feed(self.heldout, self.modality, setting, augment=(), seed=self.recipe.seed, rank=0).batch(index)
        train = Feed(self.loader, self.modality, setting, augment=(), seed=self.recipe.seed, rank=0).batch(index)
        num = min(len(train.rows), len(heldout.rows))
        return _first(train, num), _first(heldout, num)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides the weights at a given step, flat: two runs of equal identity are one run."""
        content = self.recipe.model_dump(mode="json", exclude={"name", "out", "price", "evaluate"})
        content["model"] = {"family": self.recipe.family, **self.options.model_dump(mode="json")}
        content["data"]["id"] = self.dataset.id
        del content["data"]["path"]
        for name in _NOT_IDENTITY:
            del content["train"][name]
        return flatten(content)


def _first(batch: Batch, num: int) -> Batch:
    return Batch(batch.samples[:num], None if batch.labels is None else batch.labels[:num], batch.rows[:num])


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
