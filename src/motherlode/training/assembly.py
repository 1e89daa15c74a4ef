"""Puts a recipe together: dataset, modality, loaders and family, for whoever trains, measures or estimates.

Nothing here touches the run's folder, so an estimate or a trial can build everything a training builds and leave no
trace (but for the decoded samples, which the loader keeps beside the dataset).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from motherlode import registry
from motherlode.data.mixing import Draws, Mixed, places
from motherlode.errors import DatasetError, RecipeError
from motherlode.families import Batch, Family
from motherlode.modality import Modality, SampleSpec
from motherlode.recipe import Recipe
from motherlode.training.distributed import ALONE, Ranks
from motherlode.training.loop import Engine, Feed, Setting

if TYPE_CHECKING:
    from motherlode.data.compositions import Compositions
    from motherlode.data.dataset import Dataset
    from motherlode.data.loader import Loader
    from motherlode.data.sequences import Sequences
    from motherlode.training.corpus import Corpus

TOKENIZER = "tokenizer"
"""Folder of a run that holds its tokenizer."""
_LOOK_WINDOWS = 16
_NOT_IDENTITY = ("budget", "checkpoint_every", "keep", "histograms", "show", "shard")
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
        corpus: its documents, where it is a recipe over fields; None elsewhere.
    """

    recipe: Recipe
    dataset: Dataset
    modality: Modality
    spec: SampleSpec
    ranks: Ranks = ALONE
    corpus: Corpus | None = None

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
        if recipe.data.fields:
            from motherlode.training.corpus import Corpus

            corpus = Corpus.open(dataset, recipe.data, recipe.folder)
            # Rank 0 makes tokens and codes, where they must be made; the others find them.
            ranks.lead(lambda: corpus.tokenizer and None)
            spec = corpus.spec()
            return cls(recipe, dataset, registry.find("modality", spec.modality), spec, ranks, corpus)
        if modality.stored == "text":
            from motherlode.data.tokens import find_tokenizer

            # Rank 0 trains the tokenizer, if it must be trained; the others find it.
            ranks.lead(lambda: find_tokenizer(dataset, recipe.data) and None)
            space = find_tokenizer(dataset, recipe.data).space()
            spec = SampleSpec(modality.name, (recipe.data.length,), tokens=space)
        else:
            spec = dataset.spec(
                resolution=recipe.data.resolution, channels=recipe.data.channels, seconds=recipe.data.seconds
            )
        return cls(recipe, dataset, modality, spec, ranks)

    def build(self, setting: Setting) -> Family:
        """A fresh family, initialised from the recipe's seed, placed as `setting` says.

        Raises:
            RecipeError: the family does not learn what the dataset holds.
        """
        if self.family.makes_tokens != (self.spec.tokens is not None):
            able = [name for name in registry.names("family") if self._learns(name)]
            raise RecipeError(
                f"`model.family` must be one that learns {self.modality.name}",
                self.recipe.family,
                f"use one of: {', '.join(able)}",
            )
        family = self.family.build(self.options, self.spec, self.recipe.seed)
        if self.spec.tokens is not None:
            import torch

            family.begin(lambda: torch.from_numpy(cast("Sequences | Compositions", self.loader).token_counts()))
        return setting.place(family)

    @cached_property
    def family(self) -> type[Family]:
        """The recipe's kind of model."""
        family: type[Family] = registry.find("family", self.recipe.family)
        return family

    def _learns(self, family: str) -> bool:
        return bool(registry.find("family", family).makes_tokens == (self.spec.tokens is not None))

    @cached_property
    def options(self) -> Any:
        """That family's options."""
        return self.recipe.family_options()

    @cached_property
    def loader(self) -> Loader | Sequences | Compositions:
        """The dataset's own part of the training batches: all of them where nothing is mixed in."""
        recipe = self.recipe
        batch = recipe.train.batch - sum(self._mixed_places.values())
        if self.corpus is not None:
            chosen: dict[str, Any] = {"drop_given": recipe.data.drop_given, "num_samples": recipe.data.num_samples}
            chosen |= {"rank": self.ranks.rank, "world": self.ranks.world}
            return self.corpus.loader("train", seed=recipe.seed, batch=batch, **chosen)
        return self._reader(self.dataset, batch, num_samples=recipe.data.num_samples, weights=recipe.data.weights)

    def _reader(
        self,
        dataset: Dataset,
        batch: int,
        *,
        num_samples: int | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> Loader | Sequences:
        """Draws `batch` training samples of a dataset at once, over all ranks, as the model sees them."""
        seed, rank, world = self.recipe.seed, self.ranks.rank, self.ranks.world
        chosen: dict[str, Any] = {"batch": batch, "num_samples": num_samples, "rank": rank, "world": world}
        if self.spec.tokens is not None:
            from motherlode.data.sequences import Sequences

            return Sequences(dataset, "train", self.spec, seed=seed, weights=weights, **chosen)
        from motherlode.data.loader import Loader

        # Labels are numbers within their dataset: those of another set of names would mean something else.
        known = dataset.labels == self.dataset.labels
        return Loader(dataset, "train", self.spec if known else replace(self.spec, num_labels=0), seed=seed, **chosen)

    @cached_property
    def mixed(self) -> dict[str, Dataset]:
        """What `data.mix` names, opened.

        Raises:
            DatasetError: one is missing, damaged, or of another modality.
        """
        from motherlode.data.dataset import Dataset

        found = {path: Dataset.open(path) for path in self.recipe.data.mix}
        for path, dataset in found.items():
            if dataset.modality != self.dataset.modality:
                raise DatasetError(
                    f"what is mixed into {self.recipe.data.path} must be {self.dataset.modality} too",
                    f"{path} holds {dataset.modality}",
                    "take it out of data.mix",
                )
        return found

    @property
    def _mixed_places(self) -> dict[str, int]:
        return places(self.recipe.data.mix, self.recipe.train.batch, self.ranks.world)

    @cached_property
    def draws(self) -> Draws:
        """Whole training batches: the dataset's own samples and what is mixed in."""
        if not self.mixed:
            return self.loader
        others = [self._reader(self.mixed[path], count) for path, count in self._mixed_places.items()]
        return Mixed(self.loader, others, seed=self.recipe.seed, rank=self.ranks.rank)

    @cached_property
    def heldout(self) -> Loader | Sequences | Compositions | None:
        """Batches of the held-out split, never sliced over ranks; None where it has fewer than two samples."""
        num = len(self.dataset.split("heldout"))
        if self.corpus is not None:
            try:
                return self.corpus.loader("heldout", seed=0, batch=_LOOK_WINDOWS) if num else None
            except DatasetError:  # no row of them makes a document: `token_facts` counts 0, and a person is told
                return None
        if self.spec.tokens is not None:
            from motherlode.data.sequences import Sequences

            return Sequences(self.dataset, "heldout", self.spec, seed=0, batch=_LOOK_WINDOWS) if num else None
        from motherlode.data.loader import Loader

        if num < 2:
            return None
        batch = min(self.recipe.train.batch, num)
        return Loader(self.dataset, "heldout", self.spec, seed=self.recipe.seed, batch=batch)

    @property
    def token_facts(self) -> dict[str, Any]:
        """Unique documents and tokens in training, and how the tokenizer fits, where samples are windows of tokens."""
        if self.spec.tokens is None:
            return {}
        from motherlode import tokenizer
        from motherlode.data import tokens

        loader = cast("Sequences | Compositions", self.loader)
        counts = {"train_documents": loader.num_documents, "train_tokens": loader.num_tokens}
        if self.corpus is not None:
            unseen = cast("Compositions | None", self.heldout)
            facts = cast("Compositions", loader).facts()
            return {**counts, "fields": {**facts, "heldout_documents": unseen.num_documents if unseen else 0}}
        return {
            **counts,
            "tokenizer": tokens.describe(self.dataset, tokenizer.load(self.spec.tokens.folder)),
        }

    def passes(self, samples: int) -> dict[str, float]:
        """How often so many samples go over each weighted source (over "all" where none is weighed)."""
        samples = round(samples * (1 - sum(self._mixed_places.values()) / self.recipe.train.batch))
        if self.spec.tokens is None:
            return {"all": samples / max(len(self.loader), 1)}
        return cast("Sequences", self.loader).repetition(samples)

    @property
    def portable_spec(self) -> SampleSpec:
        """The spec as it is written into a run, whose folder holds a copy of the tokenizer."""
        if self.spec.tokens is None:
            return self.spec
        return replace(self.spec, tokens=replace(self.spec.tokens, folder=TOKENIZER))

    def files(self, family: Family) -> dict[str, bytes]:
        """What a checkpoint holds besides weights and state: the family's own files, and the tokenizer's."""
        return {**family.files(), **self.tokenizer_files}

    @cached_property
    def tokenizer_files(self) -> dict[str, bytes]:
        """The files of the tokenizer by name; none where samples are no tokens."""
        if self.spec.tokens is None:
            return {}
        from motherlode.tokenizer_files import tokenizer_files

        return tokenizer_files(Path(self.spec.tokens.folder))

    def feed(self, setting: Setting) -> Feed:
        """Training batches on the device."""
        return Feed(
            self.draws,
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
        shares = None
        if self.recipe.train.shard and self.ranks.world > 1:
            from motherlode.training.sharding import Shares

            twin = self.build(replace(setting, device="cpu", compile=False)) if self.ranks.leads else None
            shares = Shares(family, twin, self.ranks, setting.device)
        chosen: dict[str, Any] = {"seed": self.recipe.seed, "ranks": self.ranks, "shares": shares}
        return Engine(family, self.feed(setting), setting, self.recipe.train, **chosen)

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
        content = self.recipe.model_dump(mode="json", exclude={"name", "out", "price", "evaluate", "generate"})
        content["model"] = {"family": self.recipe.family, **self.options.model_dump(mode="json")}
        content["data"]["id"] = self.dataset.id
        del content["data"]["path"], content["data"]["mix"]
        if self.mixed:
            content["data"]["mix"] = {self.mixed[path].id: share for path, share in self.recipe.data.mix.items()}
        if self.corpus is not None:
            content["data"]["fields"] = self.corpus.identity
        else:
            for name in ("fields", "tasks", "drop_given"):
                del content["data"][name]
        if self.spec.tokens is not None:
            from motherlode import tokenizer

            # Where the tokenizer lies does not matter, what it does.
            content["data"]["tokenizer"] = tokenizer.load(self.spec.tokens.folder).digest
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
