"""`study.yaml` as one typed file: a base recipe, and the axes along which its runs differ.

Every axis is a set of changes to the base recipe, so a study works for any family and any modality without knowing
either. Unknown keys are refused, here and in every recipe a change leads to.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import Field, model_validator

from motherlode.errors import MotherlodeError, RecipeError
from motherlode.recipe import NAME, Recipe, Strict, load, parse

RAW = "raw"
_INNER = "recipe."
Positive = Annotated[float, Field(gt=0)]
Price = str | Annotated[float, Field(ge=0)]


class StudyError(MotherlodeError):
    """A study cannot be laid out, run or read."""


class TreatmentOptions(Strict):
    """What is done to the data, or to the training on the same data: one arm of the study."""

    data: str | None = Field(None, description="another prepared dataset; default: the base recipe's")
    changes: dict[str, Any] = Field(
        default_factory=dict,
        description="recipe keys, e.g. {data.augment: [flip]}; {unique} in a text stands for the rows owned",
    )
    kept: float | None = Field(
        None, gt=0, description="rows it leaves of each row owned; default: by the rows of the two datasets"
    )
    price: Price | None = Field(None, description="of treating a million rows or tokens; 0.4, '0.05/each', '3/M'")
    sizes: tuple[str, ...] | None = Field(None, min_length=1, description="at these sizes alone; default: at all")
    unique: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, min_length=1, description="at these amounts of data alone; default: at all"
    )


class RepeatOptions(Strict):
    """A few cells of the baseline trained again with other seeds: what tells noise from law, at little cost."""

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1, description="further seeds")
    sizes: tuple[str, ...] | None = Field(None, min_length=1, description="at these sizes alone; default: at all")
    unique: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, min_length=1, description="at these amounts of data alone; default: at all"
    )


class TrunkOptions(Strict):
    """One run at a constant rate a strand, from which every amount of compute branches off with a short decay."""

    decay: float = Field(0.2, gt=0, lt=1, description="share of a run spent decaying (Hägele 2405.18392: 0.1 to 0.2)")
    warmup_steps: int | None = Field(
        None, ge=0, description="default: the recipe's share of the longest run, at most half of the shortest's"
    )


class StudyPrices(Strict):
    """Prices that `lode plan` takes where its command line names none."""

    gpu_hour: Price | None = Field(None, description="of a GPU-hour, e.g. 2.5 or '2.5 by 24'")
    data: Price | None = Field(None, description="of a million more unique rows or tokens, or a curve")
    currency: str = Field("USD", description="a label")


def _one_size() -> dict[str, dict[str, Any]]:
    return {"base": {}}


class StudyOptions(Strict):
    """The whole of a study."""

    name: str = Field(min_length=1, pattern=NAME, description="names the study's folder: letters, digits, . _ -")
    out: str = Field("studies", description="folder that holds the study's folder")
    recipe: str | dict[str, Any] = Field(description="the base recipe: a file beside this one, or the recipe itself")
    measure: str = Field(
        "auto", description="auto: the family's held-out loss, else frechet; `score`: training's own quick score"
    )
    heldout: str | None = Field(
        None, description="prepared dataset whose held-out split all cells are judged on; default: the base recipe's"
    )
    num_heldout: int = Field(1024, ge=2, description="held-out samples that the loss is taken on")
    unique: tuple[Annotated[int, Field(ge=1)] | Literal["all"], ...] = Field(
        ("all",), min_length=1, description="unique rows owned; smaller subsets lie within larger ones"
    )
    treatments: dict[str, TreatmentOptions] = Field(
        default_factory=lambda: {RAW: TreatmentOptions()},
        min_length=1,
        description="the baseline is `raw`, else the first",
    )
    sizes: dict[str, dict[str, Any]] = Field(
        default_factory=_one_size, min_length=1, description="model sizes: name → recipe keys"
    )
    passes: tuple[Positive, ...] | None = Field(None, min_length=1, description="passes over the unique rows")
    samples: tuple[Positive, ...] | None = Field(None, min_length=1, description="training samples seen")
    compute: tuple[Positive, ...] | None = Field(None, min_length=1, description="training FLOPs")
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0,), min_length=1, description="each cell once a seed")
    repeat: RepeatOptions | None = Field(None, description="further seeds for a few cells of the baseline")
    most_passes: Positive | None = Field(None, description="leave out cells that see their data more often")
    most_flops: Positive | None = Field(None, description="leave out cells that cost more")
    trunks: TrunkOptions | None = Field(TrunkOptions(), description="null trains every cell from scratch")
    form: str = Field("auto", description="form of the law")
    bootstrap: int = Field(300, ge=0, le=100_000, description="bootstrap draws of the law")
    prices: StudyPrices = StudyPrices()

    @model_validator(mode="after")
    def _axes_are_sound(self) -> StudyOptions:
        given = [name for name in ("passes", "samples", "compute") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of passes, samples, compute; got {given or 'none'}")
        limited: dict[str, TreatmentOptions | RepeatOptions] = dict(self.treatments)
        if self.repeat is not None:
            limited["repeat"] = self.repeat
        for name, item in limited.items():
            for size in item.sizes or ():
                if size not in self.sizes:
                    raise ValueError(f"{name}: there is no size {size!r} among {', '.join(self.sizes)}")
        for name in ("unique", "seeds", given[0]):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"every value of `{name}` must stand once: a repeated cell is no second seed")
        return self

    @property
    def folder(self) -> Path:
        """Where the study lives."""
        return Path(self.out) / self.name

    @property
    def baseline(self) -> str:
        """The treatment the others are measured against."""
        return RAW if RAW in self.treatments else next(iter(self.treatments))

    def seeds_at(self, treatment: str, size: str, unique: int) -> tuple[int, ...]:
        """Seeds of the cells at a place of the grid; none where the treatment does not stand there."""
        chosen, again = self.treatments[treatment], self.repeat
        if size not in (chosen.sizes or self.sizes) or unique not in (chosen.unique or (unique,)):
            return ()
        if again is None or treatment != self.baseline:
            return self.seeds
        if size not in (again.sizes or self.sizes) or unique not in (again.unique or (unique,)):
            return self.seeds
        return tuple(dict.fromkeys((*self.seeds, *again.seeds)))

    @classmethod
    def load(cls, path: str | Path, changes: tuple[str, ...] = ()) -> StudyOptions:
        """Read a study from YAML; a recipe named in it is read from beside it, and changes of `recipe.…` reach it.

        Raises:
            RecipeError: no such file, not YAML, an unknown key, or a value out of range.
        """
        inner = tuple(change.removeprefix(_INNER) for change in changes if change.startswith(_INNER))
        options = load(cls, path, [change for change in changes if not change.startswith(_INNER)])
        if isinstance(options.recipe, dict):
            return load(cls, path, changes)
        beside = Path(path).parent / options.recipe
        found = beside if beside.is_file() else Path(options.recipe)
        return options.model_copy(update={"recipe": read_content(found, inner)})

    example: ClassVar[str] = "docs/plans.md shows a study"

    @classmethod
    def refuse(cls, content: Mapping[str, Any], path: Path) -> None:
        """Refuse a recipe."""
        if "recipe" not in content and "model" in content:
            raise RecipeError(
                "this is a recipe; a study names one, and the axes along which its runs differ",
                str(path),
                f"write another file: `recipe: {path.name}`, with sizes, unique and samples (docs/plans.md); "
                f"or train the recipe: lode train {shlex.quote(str(path))}",
            )

    def save(self, path: Path) -> None:
        """Write the study as YAML, atomically."""
        from motherlode.storage import write_text

        write_text(path, yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True))

    def base(self) -> dict[str, Any]:
        """Content of the base recipe."""
        if not isinstance(self.recipe, dict):
            raise StudyError("a study's recipe must have been read", self.recipe, "use StudyOptions.load")
        return self.recipe


def read_content(path: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """A recipe file, with changes, as plain content, checked as a recipe."""
    return Recipe.load(path, changes).model_dump(mode="json")


def changed(content: Mapping[str, Any], changes: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Content with dotted keys replaced: {"train.batch": 64}.

    Raises:
        RecipeError: a key leads through a value that holds no keys.
    """
    result = _copied(content)
    for place, value in changes.items():
        *sections, key = place.split(".")
        inner = result
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                raise RecipeError(
                    f"`{section}` must hold keys to change one below it", f"{where}: {place}", "check the key's place"
                )
        inner[key] = value
    return result


def _copied(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in content.items()}


def as_recipe(content: Mapping[str, Any], where: str) -> Recipe:
    """Content as a recipe.

    Raises:
        RecipeError: with `where` in the message.
    """
    return parse(Recipe, dict(content), where)
