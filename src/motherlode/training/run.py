"""`train`: recipe in, run out. A run is a folder, and the folder is the truth.

Calling `train` again with the same recipe goes on where the last process stopped, or returns the finished run. What
makes two recipes the same run is `Assembly.identity`: everything that decides the weights at a given step, with the
dataset by its content. The budget is not part of it: a larger one continues the run under the schedule of the larger
budget; a smaller one than is already spent changes nothing. Nor are prices, names, checkpoint intervals or `keep`.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from motherlode import registry, storage
from motherlode.errors import CorruptError, RecipeError, TrainingError
from motherlode.families import Family
from motherlode.modality import Modality, SampleSpec
from motherlode.recipe import Recipe
from motherlode.training import checkpoint, cost, distributed, monitor, precision
from motherlode.training.assembly import TOKENIZER, Assembly
from motherlode.training.checkpoint import differences
from motherlode.training.cost import FlopTable
from motherlode.training.driver import CHECKPOINTS, FACTS, Driver, now
from motherlode.training.loop import Setting, learnable_count
from motherlode.training.monitor import Listener, Silent
from motherlode.training.precision import Decision
from motherlode.training.score import find_score
from motherlode.training.words import about_dropped, about_tokens

if TYPE_CHECKING:
    from motherlode.data.dataset import Dataset

RECIPE = "recipe.yaml"
_RESOLVED = ("train.precision", "train.layout", "train.compile", "train.device")


class Run:
    """A training on disk.

    Args:
        path: its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run's folder.

        Raises:
            TrainingError: there is no run.
        """
        path = Path(path)
        if not (path / FACTS).is_file() or not (path / RECIPE).is_file():
            raise TrainingError("a run's folder must hold run.json and recipe.yaml", str(path), _why_no_run(path))
        return cls(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def facts(self) -> dict[str, Any]:
        """`run.json`, read afresh."""
        facts: dict[str, Any] = storage.read_json(self.path / FACTS)
        return facts

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe with every `auto` resolved."""
        return Recipe.load(self.path / RECIPE)

    @cached_property
    def dataset(self) -> Dataset:
        """The dataset it was trained on.

        Raises:
            DatasetError: it is no longer there, or no longer the same.
        """
        from motherlode.data.dataset import Dataset

        dataset = Dataset.open(self.recipe.data.path)
        if dataset.id != self.facts["dataset"]:
            raise TrainingError(
                "a run's dataset must be the one it was trained on",
                f"{self.recipe.data.path}: {dataset.id}, not {self.facts['dataset']}",
                "restore that dataset",
            )
        return dataset

    @property
    def spec(self) -> SampleSpec:
        """The shape of its samples."""
        return SampleSpec.from_dict(self.facts["spec"], self.path)

    @property
    def modality(self) -> Modality:
        """What its samples are."""
        modality: Modality = registry.find("modality", self.spec.modality)
        return modality

    @property
    def labels(self) -> list[str]:
        """Names of its labels, [] where it has none."""
        return list(self.facts["labels"])

    @property
    def best_variant(self) -> str:
        """The weights that scored best on held-out data ("ema", "raw", …); "" where nothing was scored."""
        return str((self.facts.get("best") or {}).get("variant", ""))

    def metrics(self) -> list[dict[str, Any]]:
        """Lines of `metrics.jsonl`: `kind` is "train" or "look"."""
        return storage.read_lines(self.path / monitor.METRICS)

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
        return checkpoint.steps(self.path / CHECKPOINTS)

    def checkpoint(self, which: str = "best") -> Path:
        """The folder of a checkpoint.

        Args:
            which: "best" (on held-out data; the last where nothing was scored), "last", or "step-N".

        Raises:
            TrainingError: there is no such checkpoint.
        """
        steps = self.steps()
        if not steps:
            raise TrainingError("a run must have a checkpoint to be used", str(self.path), "train it for longer")
        wanted = steps[-1]
        if which == "best":
            best = (self.facts.get("best") or {}).get("step")
            wanted = best if best in steps else wanted
        elif which != "last":
            name, _, number = which.partition("-")
            if name != "step" or not number.isdecimal() or int(number) not in steps:
                names = ", ".join(["best", "last", *(f"step-{step}" for step in steps)])
                raise TrainingError("there is no such checkpoint", which, f"choose one of: {names}")
            wanted = int(number)
        return checkpoint.folder_of(self.path / CHECKPOINTS, wanted)

    def load(self, which: str = "best", device: str = "cpu") -> Family:
        """The family with a checkpoint's weights, verified against its manifest.

        Args:
            which: see `checkpoint`.
            device: where to put it.

        Raises:
            CorruptError: a file of the checkpoint is damaged.
            TrainingError: no such checkpoint, or it belongs to another architecture; or no such device.
        """
        device = precision.device_name(device)
        folder = self.checkpoint(which)
        kind: type[Family] = registry.find("family", self.recipe.family)
        weights = checkpoint.read_model(folder)
        family = kind.build(kind.opened(self.recipe.family_options(), folder), self.spec, self.recipe.seed)
        checkpoint.load_model(family, weights, folder.name)
        return family.to(device)


def _why_no_run(path: Path) -> str:
    """What a person most likely meant by a path that is no run."""
    from motherlode.data.dataset import FACTS as DATASET

    if path.suffix in (".yaml", ".yml") and path.is_file():
        return f"that is a file; this makes a run of a recipe: lode train {shlex.quote(str(path))}"
    if (path / DATASET).is_file():
        return f"that is a dataset; a run is trained on it: {shlex.join(['lode', 'init', str(path)])}"
    above = next((str(folder) for folder in path.parents if (folder / FACTS).is_file()), "")
    if above:
        return f"did you mean {above!r}?"
    inside = sorted(str(file.parent) for file in path.glob(f"*/{FACTS}"))
    if inside:
        return f"open one of the runs in it: {', '.join(inside)}"
    return storage.near_path(path, "train it first")


def train(recipe: Recipe, *, start: Path | None = None, progress: Listener | None = None) -> Run:
    """Train a recipe to the end of its budget, resuming by itself.

    The run's folder is `recipe.folder`. SIGINT and SIGTERM finish the step, save and return with status "stopped".
    Under `torchrun`, every process calls this.

    Args:
        recipe: what to train.
        start: folder of a checkpoint to begin from instead of step 0, of a run that was the same so far but for its
            schedule: many lengths of training can then share one stretch at a constant rate (Hägele et al. 2024, arXiv
            2405.18392). Position, samples, operations and seconds count from that run's beginning.
        progress: follows the training.

    Raises:
        TrainingError: the folder holds another run, or the recipe cannot be trained, or cannot begin from `start`.
        DivergedError: a loss or gradient became non-finite; the last good checkpoint stays.
        LockedError: another process is training this run.
    """
    ranks = distributed.start()
    listener = progress if progress is not None and ranks.leads else Silent()
    ambient = torch.random.get_rng_state()
    precision.keep_freed_memory()
    try:
        assembly = Assembly.of(recipe, ranks)
        with ExitStack() as held:
            ranks.lead(lambda: _take(recipe.folder, held))
            _train(assembly, listener, start)
        return Run.open(recipe.folder)
    except OSError as error:
        if error.filename is None and error.errno:  # a write to an open file does not say where it went
            raise storage.explain(error, recipe.folder) from error
        raise
    finally:
        torch.random.set_rng_state(ambient)


def _take(folder: Path, held: ExitStack) -> None:
    """Take the run's folder for this process, and clear what a killed one left."""
    held.enter_context(storage.lock(folder))
    checkpoint.sweep(folder)


def _train(assembly: Assembly, listener: Listener, start: Path | None) -> None:
    recipe, ranks, folder = assembly.recipe, assembly.ranks, assembly.recipe.folder
    facts = ranks.lead(lambda: _existing_facts(assembly))
    started = time.perf_counter()
    saved = None
    if facts is None:
        facts = _new_facts(assembly, listener)
    else:
        saved = _saved(assembly, listener)
        _rebudget(facts, assembly, saved.step if saved else 0)
        if saved is not None and saved.step >= facts["total_steps"] and facts["status"] == "finished":
            listener.event("finished", f"already finished: {saved.step} steps", recipe.folder)
            return
        facts |= {} if saved else {"step": 0, "draws": 0, "samples": 0}
    if saved is None and start is not None:
        saved = _begun(assembly, start, facts)
    decision = Decision.from_dict(facts["decision"])
    facts["recipe_digest"] = recipe.digest()
    if ranks.leads:
        if assembly.tokenizer_files:
            (folder / TOKENIZER).mkdir(exist_ok=True)
        for name, content in assembly.tokenizer_files.items():
            storage.write_text(folder / TOKENIZER / name, content.decode())
        if assembly.corpus is not None:
            assembly.corpus.copy_codecs(folder)
        _resolved(recipe, decision.setting).save(folder / RECIPE)
        storage.write_json(folder / FACTS, facts)
    with decision.setting.pool():
        driver = _driver(assembly, decision.setting, facts, listener, started)
        if saved is not None:
            driver.resume(saved)
            listener.event("resumed", f"goes on from step {saved.step} of {facts['total_steps']}")
        driver.run()


def _driver(assembly: Assembly, setting: Setting, facts: dict[str, Any], listener: Listener, started: float) -> Driver:
    """Everything in place at step 0."""
    flops = FlopTable(tuple(facts["flops_per_step"]))
    engine = assembly.engine(setting)
    driver = Driver(assembly, engine, assembly.recipe.folder, facts, flops, listener, started)
    if assembly.ranks.leads:
        driver.score = find_score(assembly, engine.family, setting)
    return driver


def _existing_facts(assembly: Assembly) -> dict[str, Any] | None:
    """`run.json` of this very run, or None where the folder holds none yet.

    Raises:
        TrainingError: the folder holds another run; the message says what differs and offers a new name.
    """
    folder = assembly.recipe.folder
    path = folder / FACTS
    if not path.is_file():
        return None
    facts: dict[str, Any] = storage.read_json(path)
    try:
        written, resolved = dict(facts["identity"]), Decision.from_dict(facts["decision"]).setting
    except (KeyError, TypeError) as error:
        raise CorruptError("run.json must be complete", str(path), f"restore or delete the run ({error})") from error
    wanted = _with_resolved(assembly.identity, written, resolved)
    if written != wanted:
        raise TrainingError(
            "a run's folder belongs to one recipe",
            f"{folder}: {differences(written, wanted, 'the run there', 'this recipe')}",
            f"give this run another name, e.g. `name: {_free_name(assembly.recipe)}`, or go back to its recipe",
        )
    return facts


def _with_resolved(wanted: Mapping[str, Any], written: Mapping[str, Any], setting: Setting) -> dict[str, Any]:
    """`wanted`, where an `auto` that the run has resolved, or the value it resolved to, counts as the run's own."""
    actual = {
        "train.precision": setting.precision,
        "train.layout": setting.layout,
        "train.compile": "on" if setting.compile else "off",
        "train.device": setting.device,
    }
    result = dict(wanted)
    for key in _RESOLVED:
        if result.get(key) in ("auto", actual[key]) and written.get(key) in ("auto", actual[key]):
            result[key] = written.get(key)
    return result


def _free_name(recipe: Recipe) -> str:
    number = 2
    while (recipe.folder.parent / f"{recipe.name}-{number}").exists():
        number += 1
    return f"{recipe.name}-{number}"


def _new_facts(assembly: Assembly, listener: Listener) -> dict[str, Any]:
    """Measure, count, and settle the budget of a run that starts."""
    from motherlode.version import __version__

    recipe = assembly.recipe
    plan = precision.plan(assembly)
    decision = plan.decision
    token_facts = assembly.token_facts
    alone = recipe.train.shard and assembly.ranks.world == 1
    unshared = ["train.shard shares nothing: one process trains; start several with torchrun"] * alone
    for note in (*about_tokens(token_facts), *decision.notes, f"trains in {decision.setting}", *unshared):
        listener.event("note", note)
    warnings = about_dropped(token_facts)
    monitor.tell(listener, warnings)
    timed = plan.budget.minutes is not None
    family = assembly.build(Setting())
    return {
        "name": recipe.name,
        "version": __version__,
        "torch": torch.__version__,
        "created": now(),
        "status": "running",
        "family": recipe.family,
        "seed": recipe.seed,
        "dataset": assembly.dataset.id,
        "dataset_path": recipe.data.path,
        "train_samples": len(assembly.loader),
        **token_facts,
        "labels": list(assembly.dataset.labels),
        "spec": asdict(assembly.portable_spec),
        "parameters": sum(parameter.numel() for parameter in family.parameters()),
        "learnable_parameters": learnable_count(family),
        "device": decision.setting.device,
        "threads": decision.setting.threads,
        "ranks": assembly.ranks.world,
        "decision": decision.as_dict(),
        "flops_per_step": list(plan.flops.per_step),
        "samples_per_step": plan.samples_per_step,
        "seconds_per_step": decision.step_sec if timed else None,
        "budget": plan.budget.model_dump(mode="json"),
        "total_steps": plan.steps(decision.step_sec),
        "steps_fixed": not timed,
        "identity": assembly.identity,
        "warnings": warnings,
        "best": None,
        "step": 0,
        "draws": 0,
        "samples": 0,
    }


def _rebudget(facts: dict[str, Any], assembly: Assembly, step: int) -> None:
    """Take a changed budget over into the facts; minutes go by the rate this run has measured, so they agree."""
    budget = assembly.recipe.train.budget
    wanted = budget.model_dump(mode="json")
    if wanted == facts["budget"]:
        return
    if budget.minutes is not None and not facts["seconds_per_step"]:
        measured = Decision.from_dict(facts["decision"]).step_sec
        facts["seconds_per_step"] = facts["seconds"] / facts["step"] if facts["step"] else measured
    steps = cost.budget_steps(
        budget,
        samples=facts["samples_per_step"],
        flops=FlopTable(tuple(facts["flops_per_step"])).mean,
        seconds=facts["seconds_per_step"] or 1.0,
    )
    facts |= {"budget": wanted, "total_steps": max(steps, step), "steps_fixed": True}


def _saved(assembly: Assembly, listener: Listener) -> checkpoint.Checkpoint | None:
    """The newest good checkpoint, the same one on every rank."""
    checkpoints = assembly.recipe.folder / CHECKPOINTS
    ranks = assembly.ranks
    found: list[checkpoint.Checkpoint] = []

    def look() -> int | None:
        found.extend(filter(None, [checkpoint.latest(checkpoints, lambda text: listener.event("warning", text))]))
        return found[0].step if found else None

    step = ranks.lead(look)
    if step is None or found:
        return found[0] if found else None
    return checkpoint.read(checkpoint.folder_of(checkpoints, step))


def _begun(assembly: Assembly, start: Path, facts: dict[str, Any]) -> checkpoint.Checkpoint:
    """Another run's checkpoint as this run's own beginning; `facts` take note of it.

    Raises:
        CorruptError: the checkpoint is damaged.
        TrainingError: that run differs in more than its schedule, or has gone beyond this one's end.
    """
    saved = checkpoint.read(start)
    checkpoint.check_identity(
        {"identity": _unscheduled(saved.state["identity"])}, _unscheduled(assembly.identity), str(start)
    )
    if saved.step >= facts["total_steps"]:
        raise TrainingError(
            "a run must end after the checkpoint that it begins from",
            f"step {saved.step} of {start}, {facts['total_steps']} steps in all",
            "begin from an earlier checkpoint, or give a larger budget",
        )
    facts["started_from"] = {"path": str(start), "step": saved.step, "seconds": saved.state["seconds"]}
    return replace(saved, state={**saved.state, "identity": assembly.identity, "best": None})


def _unscheduled(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in identity.items() if not key.startswith("train.schedule.")}


def _resolved(recipe: Recipe, setting: Setting) -> Recipe:
    """The recipe as it was carried out, with defaults written out: a run stays what it is when they change."""
    train = recipe.train.model_copy(
        update={
            "device": setting.device,
            "precision": setting.precision,
            "layout": setting.layout,
            "compile": "on" if setting.compile else "off",
        }
    )
    settled = recipe.model_copy(update={"train": train})
    options = recipe.family_options()
    whole = settled.model_copy(update={"model": {"family": recipe.family, **options.model_dump(mode="json")}})
    # Where options exclude one another (a folder to start from, a size), what was left out says something.
    with suppress(RecipeError):
        whole.family_options()
        return whole
    return settled


@dataclass(frozen=True)
class Spread:
    """Runs that differ in their seed alone.

    Args:
        runs: in the order of the seeds.
        measures: name → mean, sd, min, max and each run's value.
    """

    runs: tuple[Run, ...]
    measures: dict[str, dict[str, Any]]

    def rows(self) -> list[tuple[str, ...]]:
        """A table: a header, then a line a measure."""
        lines: list[tuple[str, ...]] = [("measure", "mean", "sd", "min", "max")]
        lines += [
            (name, *(f"{values[key]:.4g}" for key in ("mean", "sd", "min", "max")))
            for name, values in sorted(self.measures.items())
        ]
        return lines


def train_seeds(
    recipe: Recipe, seeds: Sequence[int], *, progress: Listener | None = None, evaluated: bool = True
) -> Spread:
    """Train a recipe once a seed, in sibling folders `NAME-seed-S`, and report how much the results differ.

    Args:
        recipe: its own seed is replaced.
        seeds: at least one.
        progress: follows each training.
        evaluated: also evaluate each run; its measures join the last logged scalars.
    """
    import statistics

    if not seeds or len(set(seeds)) != len(seeds):
        raise TrainingError("seeds must be given, each once", list(seeds), "e.g. 0, 1, 2")
    runs = []
    values: dict[str, list[float]] = {}
    for seed in seeds:
        run = train(recipe.model_copy(update={"seed": seed, "name": f"{recipe.name}-seed-{seed}"}), progress=progress)
        runs.append(run)
        if run.facts["status"] != "finished":
            break
        for name, value in _results(run, evaluated=evaluated).items():
            values.setdefault(name, []).append(value)
    measures = {
        name: {
            "mean": statistics.fmean(found),
            "sd": statistics.stdev(found) if len(found) > 1 else 0.0,
            "min": min(found),
            "max": max(found),
            "values": found,
        }
        for name, found in values.items()
    }
    storage.write_json(Path(recipe.out) / f"{recipe.name}-seeds.json", {"seeds": list(seeds), "measures": measures})
    return Spread(tuple(runs), measures)


def _results(run: Run, *, evaluated: bool) -> dict[str, float]:
    """What a finished run is compared by."""
    last: dict[str, dict[str, Any]] = {line["kind"]: line for line in run.metrics()}
    results = {
        name: float(value)
        for line in last.values()
        for name, value in line.items()
        if isinstance(value, float) and name != "seconds"
    }
    if evaluated:
        from motherlode.training.evaluate import evaluate

        results |= {name: measure.value for name, measure in evaluate(run).items()}
    return results
