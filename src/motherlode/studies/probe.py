"""What a cell of a study will take, measured once a model: parameters, operations and seconds a step.

Results are kept in the study's `probes.json` by content, so that looking at a study again, or growing it, measures only
what is new. The setting (precision, memory layout, device) is decided once, on the largest model, and is the same for
every cell: a change of precision halfway would look like a change of loss. A model takes about half a second.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motherlode import registry, storage
from motherlode.errors import CorruptError, DivergedError
from motherlode.recipe import Recipe
from motherlode.studies.options import StudyError

if TYPE_CHECKING:
    from motherlode.families import Family

PROBES = "probes.json"
LOSS, SCORE = "loss", "score"
_LEAST_STEPS, _MOST_STEPS, _TIMED_SEC = 3, 40, 0.4
_PINNED = ("precision", "layout", "device")


@dataclass(frozen=True)
class Probe:
    """One model on one kind of sample.

    Args:
        num_parameters: that learn.
        samples_per_step: a batch, for each time the busiest turn runs.
        flops_per_step: forward and backward, as torch counts them, averaged over steps.
        seconds_per_step: on one thread, as busy as the machine is now.
        tokens_per_sample: tokens that a sample predicts; 0 where samples are no sequences.
    """

    num_parameters: int
    samples_per_step: float
    flops_per_step: float
    seconds_per_step: float
    tokens_per_sample: int


class Probes:
    """Measures models and remembers.

    Args:
        folder: of the study.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / PROBES
        self._known: dict[str, Any] = {}
        if self.path.is_file():
            try:
                self._known = dict(storage.read_json(self.path))
            except (CorruptError, TypeError, ValueError):
                self._known = {}  # it can be measured again

    def of(self, recipe: Recipe) -> Probe:
        """Measure the model of a recipe on its data."""
        key = _key(recipe, "model", without=("path", "num_samples", "weights"))
        return Probe(**self._remember(key, lambda: asdict(_measure(recipe))))

    def owned(self, recipe: Recipe) -> float:
        """Unique samples (tokens, for sequences) that a recipe trains on."""
        key = _key(recipe, "owned", without=(), only_data=True)
        return float(self._remember(key, lambda: _owned(recipe)))

    def setting(self, recipe: Recipe) -> dict[str, str]:
        """Precision, layout, compilation and device of every cell, decided on this recipe."""
        found = self._remember(_key(recipe, "setting", without=("num_samples",)), lambda: _setting(recipe))
        return {str(name): str(value) for name, value in found.items()}

    def measure(self, wanted: str, recipe: Recipe) -> str:
        """What cells are judged by.

        Raises:
            StudyError: the family has no such measure.
        """
        family: type[Family] = registry.find("family", recipe.family)
        has_loss = bool(family.loss_name)
        if wanted == "auto":
            return LOSS if has_loss else "frechet" if "frechet" in family.measures or not family.measures else SCORE
        if wanted == LOSS and not has_loss:
            raise StudyError(
                "`measure: loss` needs a family with a held-out loss", recipe.family, "name a measure, e.g. frechet"
            )
        if wanted not in (LOSS, SCORE):
            from motherlode.measures.catalogue import CATALOGUE, expand

            if wanted not in expand((wanted,)) or CATALOGUE[wanted].direction != "lower":
                raise StudyError("a law needs a measure of which less is better", wanted, "e.g. frechet or kernel")
        return wanted

    def _remember(self, key: str, find: Any) -> Any:
        if key not in self._known:
            self._known[key] = find()
            storage.write_json(self.path, self._known)
        return self._known[key]


def _key(recipe: Recipe, what: str, *, without: tuple[str, ...], only_data: bool = False) -> str:
    from motherlode.data.dataset import Dataset

    content = recipe.model_dump(mode="json", exclude={"name", "out", "price", "evaluate"})
    data = {name: value for name, value in content["data"].items() if name not in without}
    if "path" in data:
        data["path"] = Dataset.open(recipe.data.path).id
    train = {name: value for name, value in content["train"].items() if name not in ("budget", "schedule")}
    parts = [what, data, recipe.seed] if only_data else [what, data, content["model"], train]
    return storage.hash_bytes(json.dumps(parts, sort_keys=True).encode())


def _measure(recipe: Recipe) -> Probe:
    import torch

    from motherlode.training import cost, precision
    from motherlode.training.assembly import Assembly
    from motherlode.training.loop import Setting, learnable_count

    assembly = Assembly.of(recipe)
    device = precision.device_name(recipe.train.device)
    setting = Setting(device, _known(recipe.train.precision, "fp32"), _known(recipe.train.layout, "contiguous"))
    ambient, threads = torch.random.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        parts = recipe.train.accumulate
        batch = recipe.train.batch
        flops = cost.count_flops(
            lambda: assembly.build(Setting(device)), assembly.spec, batch=batch, parts=parts, device=device
        )
        engine = assembly.engine(setting)
        try:
            seconds = _step_sec(engine)
        finally:
            engine.close()
    finally:
        torch.set_num_threads(threads)
        torch.random.set_rng_state(ambient)
    tokens = assembly.spec.shape[0] - 1 if assembly.spec.tokens is not None else 0
    samples = cost.samples_per_step(engine.family, batch)
    return Probe(learnable_count(engine.family), samples, flops.mean, seconds, tokens)


def _known(value: str, default: str) -> str:
    return default if value == "auto" else value


def _step_sec(engine: Any) -> float:
    """Seconds a step takes: the mean of a few after the first. At a rate of 0, so that nothing can diverge here."""
    engine.step(0.0)
    times: list[float] = []
    while len(times) < _LEAST_STEPS or (len(times) < _MOST_STEPS and sum(times) < _TIMED_SEC):
        start = time.perf_counter()
        engine.step(0.0)
        times.append(time.perf_counter() - start)
    return sum(times) / len(times)


def _owned(recipe: Recipe) -> float:
    from motherlode.training.assembly import Assembly

    assembly = Assembly.of(recipe)
    return float(len(assembly.loader) * (assembly.spec.shape[0] - 1 if assembly.spec.tokens is not None else 1))


def _setting(recipe: Recipe) -> dict[str, str]:
    """Settle what a recipe leaves open; compiling a cell of seconds never pays, so only a recipe can ask for it."""
    from motherlode.training import precision
    from motherlode.training.assembly import Assembly
    from motherlode.training.loop import Setting

    compiled = "on" if recipe.train.compile == "on" else "off"
    device = precision.device_name(recipe.train.device).partition(":")[0]
    train = recipe.train.model_copy(update={"compile": "off"})
    if all(getattr(train, name) != "auto" for name in ("precision", "layout")):
        chosen = {name: getattr(train, name) for name in ("precision", "layout")}
        return {**chosen, "device": device, "compile": compiled}
    assembly = Assembly.of(recipe)
    try:
        setting = precision.decide(assembly.engine, train, device, num_steps=1000, budget_sec=None).setting
    except DivergedError:  # nothing can be timed at this rate: its cells will say so, and the others train
        setting = Setting(device)
    return {"precision": setting.precision, "layout": setting.layout, "device": device, "compile": compiled}
