"""What a recipe would cost, from a few timed steps, before anything is spent.

Builds what `train` builds and runs the same measurement, then times steps of the chosen setting, one look and the
writing of one checkpoint to a temporary folder. The run's own folder is not touched. Times hold for the machine as busy
as it is now.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from motherlode.recipe import Recipe
from motherlode.training import checkpoint, cost, monitor, precision
from motherlode.training.assembly import Assembly
from motherlode.training.cost import FlopTable
from motherlode.training.loop import Engine, learnable_count
from motherlode.training.precision import Decision
from motherlode.training.score import find_score
from motherlode.training.words import about_dropped, about_passes, about_tokens

_LEAST_STEPS, _MOST_STEPS = 5, 400
_WARM_UP_STEPS = 3
_TIMED_SEC = 4.0


@dataclass(frozen=True)
class Estimate:
    """What training a recipe to its end would take.

    Args:
        parameters: of the family, averages included.
        learnable_parameters: those that optimisers move.
        steps: training steps the budget buys.
        samples: training samples seen.
        flops: operations, forward and backward.
        seconds: start, steps, looks and checkpoints.
        seconds_per_step: of the chosen setting.
        memory_bytes: the most memory the process held while measuring.
        checkpoint_bytes: of one checkpoint; the run keeps a few.
        kwh: energy, estimated; `kwh_assumption` says how.
        money: price in `currency`; 0 where the recipe names no prices.
        decision: what `auto` picked, and the rate of each candidate.
        counted_in: what samples are told in: see `SampleSpec.counted_in`.
        documents: what a person should know of the documents of a run over fields.
        passes: how often it goes over each source of the data (over "all").
    """

    parameters: int
    learnable_parameters: int
    steps: int
    samples: int
    flops: float
    seconds: float
    seconds_per_step: float
    memory_bytes: int
    checkpoint_bytes: int
    kwh: float
    kwh_assumption: str
    money: float
    currency: str
    decision: Decision
    counted_in: tuple[str, int]
    passes: Mapping[str, float]
    documents: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, str]]:
        """A table for a person: what, how much."""
        rates = sorted(self.decision.seconds_per_step.items(), key=lambda item: item[1])
        unit, per_sample = self.counted_in
        per_step = self.samples * per_sample / self.steps
        table = [
            ("parameters", f"{self.parameters:,} ({self.learnable_parameters:,} learn)"),
            ("steps", f"{self.steps:,}"),
            (unit, f"{self.samples * per_sample:,}"),
            ("passes", about_passes(self.passes, of_tokens=unit == "tokens")),
            ("operations", f"{self.flops:.3g} FLOP"),
            ("time", _duration(self.seconds)),
            ("rate", f"{per_step / self.seconds_per_step:,.0f} {unit}/s"),
            ("memory", f"{self.memory_bytes / 1e6:,.0f} MB"),
            ("checkpoint", f"{self.checkpoint_bytes / 1e6:,.1f} MB"),
            ("energy", f"{self.kwh:.3g} kWh ({self.kwh_assumption})"),
            ("price", f"{self.money:,.2f} {self.currency}" if self.money else "set price.hour or price.kwh"),
            ("runs in", str(self.decision.setting)),
        ]
        table += [(f"  {name}", f"{per_step / seconds:,.0f} {unit}/s") for name, seconds in rates]
        table += [("documents", line) for line in self.documents]
        return table + [("note", note) for note in self.decision.notes]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        content = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**content, "decision": self.decision.as_dict()}


def estimate(recipe: Recipe) -> Estimate:
    """Estimate what training `recipe` takes on this machine, in a few seconds.

    Raises:
        MotherlodeError: whatever `train` would raise about the recipe, the dataset or the device.
    """
    started = time.perf_counter()
    precision.keep_freed_memory()
    assembly = Assembly.of(recipe)
    plan = precision.plan(assembly)
    with plan.decision.setting.pool():
        engine = assembly.engine(plan.decision.setting)
        start_sec = time.perf_counter() - started
        step_sec = _step_seconds(engine, plan.expected_sec)
        look_sec, save_sec, checkpoint_bytes = _overheads(assembly, engine)
        start_sec += look_sec + save_sec  # a run opens with a grid and a score of the untrained model
        engine.close()
    train = recipe.train
    steps = plan.steps(step_sec)
    overhead_sec = look_sec / train.sample_every + save_sec / train.checkpoint_every
    if train.budget.minutes is not None:
        # As the run does: it begins with what the measured rate promises, and reckons anew after its first look.
        first = math.ceil(steps * min(train.sample_every, train.checkpoint_every))
        left_sec = 60.0 * train.budget.minutes - start_sec - first * step_sec - look_sec
        steps = first + cost.steps_left(train, left_sec, step_sec=step_sec, look_sec=look_sec, save_sec=save_sec)
    seconds = max(60.0 * (train.budget.minutes or 0.0), start_sec + steps * step_sec + overhead_sec)
    device = plan.decision.setting.device
    bill = cost.bill(recipe.price, device, 1, seconds)
    samples = round(steps * plan.samples_per_step)
    return Estimate(
        parameters=sum(parameter.numel() for parameter in engine.family.parameters()),
        learnable_parameters=learnable_count(engine.family),
        steps=steps,
        samples=samples,
        flops=FlopTable(plan.flops.per_step).until(steps),
        seconds=seconds,
        seconds_per_step=step_sec,
        memory_bytes=cost.peak_memory_bytes(device),
        checkpoint_bytes=checkpoint_bytes,
        kwh=bill["kwh"],
        kwh_assumption=bill["kwh_assumption"],
        money=bill["money"],
        currency=bill["currency"],
        decision=plan.decision,
        counted_in=assembly.spec.counted_in,
        documents=_documents(assembly),
        passes=assembly.passes(samples),
    )


def _documents(assembly: Assembly) -> tuple[str, ...]:
    """Of a recipe over fields: documents, windows, and rows that make none."""
    if assembly.corpus is None:
        return ()
    facts = assembly.token_facts
    return (*about_tokens(facts), *about_dropped(facts))


def _step_seconds(engine: Engine, expected_sec: float) -> float:
    """Mean seconds of a step after warming up: the mean, because a run takes the slow steps too."""
    for _ in range(_WARM_UP_STEPS):
        precision.timed_step(engine)
    limit_sec = min(_TIMED_SEC, max(0.5, 0.1 * expected_sec))
    times: list[float] = []
    while len(times) < _MOST_STEPS and (len(times) < _LEAST_STEPS or sum(times) < limit_sec):
        times.append(precision.timed_step(engine))
    return sum(times) / len(times)


def _overheads(assembly: Assembly, engine: Engine) -> tuple[float, float, int]:
    """Seconds of a look, seconds of a checkpoint with its score, bytes of a checkpoint."""
    setting = engine.setting
    with TemporaryDirectory() as name:
        folder = Path(name)
        board = monitor.Monitor(folder, 0)
        score = find_score(assembly, engine.family, setting)
        look_sec = math.inf
        for _ in range(2):
            start = time.perf_counter()
            batches = assembly.look_batches(setting, 1)
            if batches is not None:
                monitor.inspect(engine.family, 1, *batches)
            if assembly.corpus is None:
                board.grid(
                    engine.family,
                    assembly.modality,
                    assembly.spec,
                    lambda: engine.feed.batch(0),
                    seed=engine.seed,
                    step=1,
                    device=setting.device,
                )
            look_sec = min(look_sec, time.perf_counter() - start)
        board.close()
        start = time.perf_counter()
        if score is not None:
            score.best(engine.family, 1)
        path = checkpoint.save(
            folder / "checkpoints",
            1,
            engine.weights(),
            engine.optimizer_state(),
            {},
            assembly.files(engine.family),
        )
        return look_sec, time.perf_counter() - start, checkpoint.size_bytes(path)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
