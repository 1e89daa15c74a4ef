"""Lays a study out: from `study.yaml` to cells (recipes with their content's key), strands and trunks, before any runs.

A strand is the cells that differ in their number of steps alone. With trunks its cells share one run at a constant
rate: each is what a warmup-stable-decay run of its length would be, to the bit, but for the steps it does not repeat
(Hägele et al. 2024, arXiv 2405.18392, section 4). U counts rows or tokens *owned*, before a treatment threw any away,
so that a cleaning pays for what it drops. Laying out 72 cells takes about a second, most of it timing the models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from motherlode import registry, storage
from motherlode.recipe import Recipe
from motherlode.studies.options import StudyError, StudyOptions, TreatmentOptions, as_recipe, changed
from motherlode.studies.probe import SCORE, Probe, Probes

if TYPE_CHECKING:
    from motherlode.data.dataset import Dataset

_FORMAT = 1
_MOST_LEAKED = 0.05
_FREE = ("checkpoint_every", "keep", "histograms", "show")
"""Keys of `train` that change nothing a cell is judged by."""


@dataclass(frozen=True)
class Cell:
    """One planned run.

    Args:
        key: hash of everything that decides its loss: recipe, data, measure.
        recipe: the whole run, as it would be trained from scratch.
        treatment, size, seed: where it stands on these axes.
        unique: rows owned.
        num_parameters: that learn.
        samples_seen, samples_owned: D and U, in samples or tokens.
        flops, seconds: what it would take from scratch.
        branch: step at which it leaves its strand's trunk; 0 from scratch.
    """

    key: str
    recipe: Recipe
    treatment: str
    size: str
    seed: int
    unique: int
    num_parameters: int
    samples_seen: float
    samples_owned: float
    flops: float
    seconds: float
    branch: int = 0

    @property
    def steps(self) -> int:
        """Training steps."""
        return self.recipe.train.budget.steps or 0

    @property
    def passes(self) -> float:
        """Samples seen over samples owned."""
        return self.samples_seen / self.samples_owned


@dataclass(frozen=True)
class Leg:
    """A stretch of a strand's trunk: at a constant rate up to the step where a cell branches off."""

    key: str
    recipe: Recipe

    @property
    def steps(self) -> int:
        """Where it ends."""
        return self.recipe.train.budget.steps or 0


@dataclass(frozen=True)
class Strand:
    """Cells that differ in their steps alone.

    Args:
        cells: ascending in steps.
        legs: of the trunk, one for each cell to branch from; none where cells are trained from scratch.
        heldout: a recipe whose held-out samples are what all cells of the study are judged on.
    """

    cells: tuple[Cell, ...]
    legs: tuple[Leg, ...]
    heldout: Recipe

    @property
    def steps(self) -> int:
        """Training steps that all of it takes."""
        trunk = max((leg.steps for leg in self.legs), default=0)
        return trunk + sum(cell.steps - cell.branch for cell in self.cells)

    @property
    def share(self) -> float:
        """Its steps over those of training each cell from scratch."""
        return self.steps / sum(cell.steps for cell in self.cells)


@dataclass(frozen=True)
class Grid:
    """A study laid out.

    Args:
        options: what was asked.
        measure: resolved from `auto`.
        unit: what D and U count: "samples" or "tokens".
        strands: cheapest first.
        left_out: combinations that were not made into cells, by reason.
        warnings: what to know before it starts.
    """

    options: StudyOptions
    measure: str
    unit: str
    strands: tuple[Strand, ...]
    left_out: Mapping[str, int]
    warnings: tuple[str, ...] = ()

    @property
    def cells(self) -> list[Cell]:
        """All cells, strand by strand."""
        return [cell for strand in self.strands for cell in strand.cells]

    @property
    def naive_flops(self) -> float:
        """FLOPs of training every cell from scratch."""
        return sum(cell.flops for cell in self.cells)

    @property
    def flops(self) -> float:
        """FLOPs with trunks."""
        return sum(strand.share * sum(cell.flops for cell in strand.cells) for strand in self.strands)


def lay_out(options: StudyOptions, probes: Probes | None = None) -> Grid:
    """Make the cells of a study.

    Args:
        options: the study.
        probes: measures models; kept with the study, so that a second look costs nothing.

    Raises:
        RecipeError: a change leads to no valid recipe; the message names the cell.
        StudyError: no cell is left, or two are the same run.
        DatasetError: a dataset is missing, or too small for the rows wanted.
    """
    probes = probes or Probes(options.folder)
    layout = _Layout(options, probes)
    strands = [
        strand
        for treatment in options.treatments
        for size in options.sizes
        for unique in layout.amounts
        for seed in options.seeds_at(treatment, size, unique)
        if (strand := layout.strand(treatment, size, unique, seed)) is not None
    ]
    cells = [cell for strand in strands for cell in strand.cells]
    if not cells:
        raise StudyError("a study must have cells", dict(layout.left_out), "widen its axes or its limits")
    seen: dict[str, Cell] = {}
    for cell in cells:
        other = seen.setdefault(cell.key, cell)
        if other is not cell:
            raise StudyError(
                "every cell must be a run of its own",
                f"{_place(cell)} and {_place(other)} are the same recipe on the same data",
                "a copy is no second seed: change one of the two, or leave it out",
            )
    strands.sort(key=lambda strand: sum(cell.flops for cell in strand.cells) * strand.share)
    return Grid(options, layout.measure, layout.unit, tuple(strands), layout.left_out, tuple(layout.warnings))


def _place(cell: Cell) -> str:
    return f"{cell.treatment}, {cell.size}, {cell.unique} rows, {cell.steps} steps, seed {cell.seed}"


class _Layout:
    """What laying out shares between cells."""

    def __init__(self, options: StudyOptions, probes: Probes) -> None:
        self.options, self.probes = options, probes
        self.content = options.base()
        self.base = as_recipe(self.content, "the study's recipe")
        self.judged_on = options.heldout or self.base.data.path
        self.heldout_id = _opened(self.judged_on).id
        self.num_rows = len(_opened(self._path(options.treatments[options.baseline])).split("train"))
        self.amounts = sorted({self.num_rows if amount == "all" else int(amount) for amount in options.unique})
        self.measure = probes.measure(options.measure, self.base)
        self._need_heldout()
        self.left_out: dict[str, int] = {}
        self.warnings: list[str] = []
        self._tokenizer = _tokenizer(self.base)
        self.unit = "tokens" if self._tokenizer else "samples"
        self._kept = {name: self._rows_kept(name, item) for name, item in options.treatments.items()}
        last = list(options.sizes)[-1]
        self._setting = probes.setting(
            self._recipe(options.baseline, last, self.amounts[-1], options.seeds[0], kept=None)
        )
        if self.amounts[-1] > self.num_rows:
            raise StudyError(
                "a study cannot own more rows than its dataset has",
                f"{self.amounts[-1]} of {self.num_rows} training rows",
                "lower `unique`, or prepare more data",
            )

    def _need_heldout(self) -> None:
        """Refuse what would fail only when the first cell has been trained."""
        from motherlode.training.score import LEAST_SAMPLES

        is_scored = self.measure == SCORE and not registry.find("family", self.base.family).loss_name
        path, least = (self.base.data.path, LEAST_SAMPLES) if is_scored else (self.judged_on, 1)
        num_heldout = len(_opened(path).split("heldout"))
        if num_heldout < least:
            raise StudyError(
                f"a study needs held-out samples to judge its cells by: {least:,} or more",
                f"{path} holds out {num_heldout:,}",
                "prepare it with a larger --heldout, or from more data",
            )

    def strand(self, treatment: str, size: str, unique: int, seed: int) -> Strand | None:
        """The cells of one strand; None where the study's limits leave none."""
        kept = self._kept[treatment]
        if not round(unique * kept):
            self._leave_out("the treatment leaves no row")
            return None
        recipe = self._recipe(treatment, size, unique, seed, kept)
        for path in recipe.data.mix:
            self._look_for_leaks(path, treatment)
        probe = self.probes.of(self._pinned(recipe))
        owned = self.probes.owned(self._pinned(self._recipe(self.options.baseline, size, unique, seed)))
        steps = self._steps(probe, owned, unique)
        if not steps:
            return None
        warmup = self._warmup_steps(recipe, steps)
        legs = self._legs(recipe, steps, warmup)
        branches = [leg.steps for leg in legs] or [0] * len(steps)
        place = (treatment, size, unique, seed)
        cells = tuple(
            replace(self._cell(recipe, probe, count, warmup, owned, place), branch=branch)
            for count, branch in zip(steps, branches)
        )
        return Strand(cells, legs, self._heldout(recipe))

    def _recipe(self, treatment: str, size: str, unique: int, seed: int, kept: float | None = 1.0) -> Recipe:
        """The recipe of a place in the grid, its budget and schedule left as they are.

        Args:
            treatment, size, unique, seed: the place.
            kept: rows used of each row owned; None: all rows of the dataset.
        """
        chosen = self.options.treatments[treatment]
        changes: dict[str, Any] = {**self.options.sizes[size], **_filled(chosen.changes, unique), "seed": seed}
        if kept is not None:
            changes["data.num_samples"] = round(unique * kept)
        if chosen.data is not None:
            changes["data.path"] = chosen.data
        if self._tokenizer:
            changes["data.tokenizer"] = self._tokenizer
        for name in ("budget", "schedule.name", "seed"):
            if f"train.{name}" in chosen.changes or name in chosen.changes:
                raise StudyError(
                    "a treatment must not change what the study sets itself", f"{treatment}: {name}", "take it out"
                )
        return as_recipe(changed(self.content, changes, treatment), f"{treatment}, {size}")

    def _heldout(self, recipe: Recipe) -> Recipe:
        """What all are judged on, in the shape that a cell's model sees; not its own data, which would flatter it."""
        data = recipe.data.model_copy(update={"path": self.judged_on, "num_samples": None, "weights": {}})
        return self._pinned(recipe).model_copy(update={"data": data, "seed": 0})

    def _pinned(self, recipe: Recipe) -> Recipe:
        """The recipe as a cell executes it: one precision for all, no samples shown, one checkpoint at the end."""
        train = recipe.train.model_copy(
            update={**self._setting, "show": False, "checkpoint_every": 1.0, "keep": 1, "histograms": False}
        )
        return recipe.model_copy(update={"train": train, "out": str(self.options.folder / "runs")})

    def _steps(self, probe: Probe, owned: float, unique: int) -> list[int]:
        """Steps of the strand's cells within the study's limits, ascending."""
        options = self.options
        per_step = probe.samples_per_step * (probe.tokens_per_sample or 1)
        found = []
        for amount in options.passes or options.samples or options.compute or ():
            seen = amount * owned if options.passes else amount * (probe.tokens_per_sample or 1)
            count = max(round(amount / probe.flops_per_step if options.compute else seen / per_step), 1)
            passes = count * per_step / owned
            if (count + 1) * per_step < owned and unique != self.amounts[-1]:
                self._leave_out("less than one pass, as at a larger amount of data")
            elif options.most_passes and passes > 1.01 * options.most_passes:
                self._leave_out(f"more than {options.most_passes:g} passes")
            elif options.most_flops and count * probe.flops_per_step > 1.01 * options.most_flops:
                self._leave_out(f"more than {options.most_flops:.3g} FLOPs")
            elif count not in found:
                found.append(count)
            else:
                self._leave_out("as many steps as another cell")
        return sorted(found)

    def _leave_out(self, reason: str) -> None:
        self.left_out[reason] = self.left_out.get(reason, 0) + 1

    def _warmup_steps(self, recipe: Recipe, steps: list[int]) -> int:
        """Steps of warming up, the same for every cell of a strand."""
        trunks = self.options.trunks
        if trunks is None:
            return 0
        least = int((1 - trunks.decay) * steps[0])
        if trunks.warmup_steps is not None:
            return min(trunks.warmup_steps, least)
        return min(round(recipe.train.schedule.warmup * steps[-1]), least // 2)

    def _cell(
        self, recipe: Recipe, probe: Probe, steps: int, warmup: int, owned: float, place: tuple[str, str, int, int]
    ) -> Cell:
        treatment, size, unique, seed = place
        trunks = self.options.trunks
        changes: dict[str, Any] = {"budget": {"steps": steps}}
        if trunks is not None:
            floor = recipe.train.schedule.floor
            changes["schedule"] = {"name": "wsd", "warmup": warmup / steps, "decay": trunks.decay, "floor": floor}
        whole = self._trained(recipe, changes)
        key = content_key(whole, self._dataset_id(whole), self.measure, self.heldout_id, self.options.num_heldout)
        slug = "".join(letter if letter.isalnum() else "-" for letter in f"{treatment}-{size}")
        named = whole.model_copy(update={"name": f"{slug}-u{unique}-t{steps}-s{seed}-{key[:8]}"})
        samples = steps * probe.samples_per_step * (probe.tokens_per_sample or 1)
        return Cell(
            key, named, treatment, size, seed, unique, probe.num_parameters, samples, owned,
            steps * probe.flops_per_step, steps * probe.seconds_per_step,
        )  # fmt: skip

    def _legs(self, recipe: Recipe, cell_steps: list[int], warmup: int) -> tuple[Leg, ...]:
        """The trunk of a strand, a leg for each cell; none where it would spare nothing."""
        trunks = self.options.trunks
        if trunks is None or len(cell_steps) < 2 or int((1 - trunks.decay) * cell_steps[0]) < 1:
            return ()
        legs = []
        for whole_steps in cell_steps:
            steps = int((1 - trunks.decay) * whole_steps)
            changes = {
                "budget": {"steps": steps},
                "schedule": {"name": "constant", "warmup": min(warmup / steps, 1.0)},
            }
            whole = self._trained(recipe, changes)
            key = content_key(whole, self._dataset_id(whole), "trunk", "", 0)
            legs.append(Leg(key, whole.model_copy(update={"name": f"trunk-t{steps}-{key[:12]}"})))
        return tuple(legs)

    def _trained(self, recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
        content = self._pinned(recipe).model_dump(mode="json")
        return as_recipe({**content, "train": {**content["train"], **changes}}, "a cell")

    def _dataset_id(self, recipe: Recipe) -> str:
        return _opened(recipe.data.path).id

    def _path(self, treatment: TreatmentOptions) -> str:
        return str(treatment.data or treatment.changes.get("data.path") or self.base.data.path)

    def _rows_kept(self, name: str, treatment: TreatmentOptions) -> float:
        """Rows a treatment leaves of each row owned; also looks for leaks."""
        path = self._path(treatment)
        self._look_for_leaks(path, name)
        return treatment.kept or len(_opened(path).split("train")) / self.num_rows

    def _look_for_leaks(self, path: str, name: str) -> None:
        """Warn of, or refuse, held-out rows that a treatment trains on."""
        leaked, num_heldout = _leaked(path, self.judged_on)
        if leaked > _MOST_LEAKED * num_heldout:
            raise StudyError(
                "what a study measures on must not be trained on",
                f"{leaked} of {num_heldout} held-out rows of {self.judged_on} are training rows of {path}",
                "prepare both from the same source with the same seed, or name another dataset under `heldout`",
            )
        warning = (
            f"{leaked} of {num_heldout} held-out rows are training rows of the treatment {name}: it looks better "
            "than it is, by as much as it has learnt them by heart"
        )
        if leaked and warning not in self.warnings:
            self.warnings.append(warning)


def _filled(content: Any, unique: int) -> Any:
    """Content with `{unique}` in its texts replaced by the rows owned: what is made from them can be named."""
    if isinstance(content, Mapping):
        return {_filled(key, unique): _filled(value, unique) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_filled(value, unique) for value in content]
    return content.replace("{unique}", str(unique)) if isinstance(content, str) else content


def _tokenizer(base: Recipe) -> str:
    """Folder of the base dataset's tokenizer, which every cell uses: losses a token compare only within one."""
    from motherlode.training.assembly import Assembly

    tokens = Assembly.of(base).spec.tokens
    return "" if tokens is None else tokens.folder


@lru_cache(maxsize=64)
def _opened(path: str) -> Dataset:
    from motherlode.data.dataset import Dataset

    return Dataset.open(path)


@lru_cache(maxsize=64)
def _leaked(path: str, base: str) -> tuple[int, int]:
    """Held-out rows of one dataset that are training rows of another, by content; and held-out rows in all."""
    heldout, train = _opened(base).split("heldout"), _opened(path).split("train")
    if path == base or not len(heldout) or not len(train) or not {"id"} <= {*train.columns} & {*heldout.columns}:
        return 0, len(heldout)
    return len(set(heldout.column("id").tolist()) & set(train.column("id").tolist())), len(heldout)


def content_key(recipe: Recipe, dataset: str, measure: str, heldout: str, num_heldout: int) -> str:
    """Hash of everything that decides a cell's loss; neither names nor folders.

    Options at their defaults have no part in it, so that a study outlives the arrival of new ones.

    Args:
        recipe: the whole run.
        dataset: id of what it trains on, which stands for the path.
        measure: what it is judged by.
        heldout: id of the dataset whose held-out rows it is judged on.
        num_heldout: how many of them.
    """
    content = recipe.model_dump(mode="json", exclude={"name", "out", "price"}, exclude_defaults=True)
    options = recipe.family_options().model_dump(mode="json", exclude_defaults=True)
    content["model"] = {"family": recipe.family, **options}
    content["data"]["path"] = dataset
    if recipe.data.mix:
        content["data"]["mix"] = {_opened(path).id: share for path, share in recipe.data.mix.items()}
    if "tokenizer" in content["data"]:
        from motherlode import tokenizer

        content["data"]["tokenizer"] = tokenizer.load(content["data"]["tokenizer"]).digest
    for name in _FREE:
        content["train"].pop(name, None)
    if measure in ("loss", "score", "trunk"):
        content.pop("evaluate", None)
    whole = [_FORMAT, content, measure, heldout, num_heldout if measure == "loss" else 0]
    return storage.hash_bytes(json.dumps(whole, sort_keys=True).encode())
