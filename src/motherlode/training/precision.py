"""Decides how turns are executed (`auto`) by measuring a few steps on a copy of the model.

Threads, precision (float32 or bf16 autocast), memory layout (contiguous or channels last) and compilation are tried in
turn on a family built anew, so that the run's own state is untouched; rounds alternate between candidates and each
counts its fastest step, because on a shared machine the slow ones measure the neighbours. Threads are tried because
more are not always better: small layers gain nothing from many, and on two cores that others were using, two threads
took 4 times as long as one, waiting for each other. Compilation is tried last, in a process
of its own, and only where the budget can pay its cost back: it may crash, hang, or refuse to differentiate twice, and
then it is not used and the run says so. The decision is written to `run.json` and the resolved recipe, so that a
resumed run repeats it to the bit.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from motherlode.errors import TrainingError
from motherlode.recipe import BudgetOptions, Recipe, TrainOptions
from motherlode.registry import did_you_mean
from motherlode.training import cost
from motherlode.training.assembly import Assembly
from motherlode.training.cost import FlopTable
from motherlode.training.loop import Engine, Setting

_MEASURED_SHARE = 0.03
_LEAST_SEC, _MOST_SEC = 0.5, 12.0
_LEAST_ROUNDS, _MOST_ROUNDS = 3, 12
_HOPELESS = 1.5
_MARGIN = 0.97
_CLEAR_GAIN = 0.9
_SLOW_STEP_SEC = 1.0
_COMPILE_SEC = 90.0
_COMPILE_GAIN = 0.15
_SHORT_STEPS = 64


@dataclass(frozen=True)
class Decision:
    """How a run is executed, and what was measured.

    Args:
        setting: the choice.
        seconds_per_step: of each candidate, by its name; the fastest step of several.
        notes: what was not tried, or failed, and why.
        seconds: what measuring took.
    """

    setting: Setting
    seconds_per_step: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """For `run.json`."""
        return {**asdict(self), "notes": list(self.notes)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Decision:
        """Read back what `as_dict` gave."""
        return cls(**{**content, "setting": Setting(**content["setting"]), "notes": tuple(content["notes"])})

    @property
    def step_sec(self) -> float:
        """Seconds a step of the chosen setting takes."""
        return self.seconds_per_step.get(str(self.setting), math.nan)


def device_name(wanted: str, local_rank: int = 0) -> str:
    """The device that a recipe's `train.device`, or an option `device`, means here.

    Raises:
        TrainingError: it is not there.
    """
    here = devices()
    if wanted == "auto":
        return next((name for name in (f"cuda:{local_rank}", "mps") if name in here), "cpu")
    name = f"cuda:{local_rank}" if wanted == "cuda" else wanted
    if name in here:
        return name
    kind, known = wanted.partition(":")[0], ["auto", "cpu", "cuda", "mps"]
    if kind == "gpu" or kind not in known:
        fix = "`cuda` is the name of an NVIDIA GPU" if kind == "gpu" else did_you_mean(kind, known)
    elif kind == "cuda" and torch.version.cuda is None and torch.version.hip is None:
        fix = f"this torch ({torch.__version__}) was built without CUDA: install one with it"
    else:
        fix = "`lode doctor` shows what is seen of it"
    raise TrainingError(
        "the device must be one that torch can use here", wanted, f"{fix}; here there is {', '.join(here)} (or auto)"
    )


def devices() -> list[str]:
    """Names of the devices that torch can use here."""
    cards = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return [*cards, *["mps"] * torch.backends.mps.is_available(), "cpu"]


def candidates(train: TrainOptions, device: str) -> list[Setting]:
    """The settings a recipe leaves open, without compilation; the plainest first."""
    precisions = ["fp32", "bf16"] if train.precision == "auto" else [train.precision]
    layouts = ["contiguous", "channels_last"] if train.layout == "auto" else [train.layout]
    return [Setting(device, precision, layout) for precision, layout in product(precisions, layouts)]


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next step instead of returning it to the kernel.

    The kernel would hand it back zeroed, page by page: 22 % of the CPU time of a DCGAN step in bf16, 7 % in float32
    (batch 32, one thread).
    """
    if sys.platform.startswith("linux"):
        import ctypes

        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            mmap_threshold, trim_threshold = -3, -1
            libc.mallopt(mmap_threshold, 32 << 20)
            libc.mallopt(trim_threshold, 2**31 - 1)


@dataclass(frozen=True)
class Plan:
    """What is settled before a run's first step.

    Args:
        decision: how it is executed.
        flops: operations of each step.
        samples_per_step: training samples a step sees, on average.
        budget: the recipe's.
    """

    decision: Decision
    flops: FlopTable
    samples_per_step: float
    budget: BudgetOptions

    def steps(self, step_sec: float) -> int:
        """Steps the budget buys at this many seconds a step."""
        return cost.budget_steps(self.budget, samples=self.samples_per_step, flops=self.flops.mean, seconds=step_sec)

    @property
    def expected_sec(self) -> float:
        """Seconds the budget would take at the measured rate; 0 where nothing was measured."""
        step_sec = self.decision.step_sec
        return 0.0 if math.isnan(step_sec) else self.steps(step_sec) * step_sec


def plan(assembly: Assembly) -> Plan:
    """Count the operations of a step, settle the budget where that needs no clock, and decide how to execute.

    Every rank measures, under the load of the others; the slowest counts, so that all decide alike.
    """
    recipe, ranks = assembly.recipe, assembly.ranks
    device = device_name(recipe.train.device, ranks.local_rank)
    plain = Setting(device, threads=1)  # for the tiny batches that operations are counted on
    with plain.pool():
        flops = cost.count_flops(
            lambda: assembly.build(plain),
            assembly.spec,
            batch=recipe.train.batch,
            parts=ranks.world * recipe.train.accumulate,
            device=device,
        )
        samples = cost.samples_per_step(assembly.build(plain), recipe.train.batch)
    budget = recipe.train.budget
    timed = budget.minutes is not None
    # Memory order is a matter of images; sequences of tokens have none to choose.
    train = recipe.train if assembly.spec.tokens is None else recipe.train.model_copy(update={"layout": "contiguous"})
    decision = decide(
        assembly.engine,
        train,
        device,
        num_steps=None if timed else cost.budget_steps(budget, samples=samples, flops=flops.mean, seconds=1.0),
        budget_sec=60.0 * budget.minutes if budget.minutes is not None else None,
        compiled_sec=None if ranks.world > 1 else lambda setting, limit_sec: elsewhere(recipe, setting, limit_sec),
    )
    return Plan(Decision.from_dict(ranks.share(decision.as_dict())), flops, samples, budget)


def decide(
    make: Callable[[Setting], Engine],
    train: TrainOptions,
    device: str,
    *,
    num_steps: int | None,
    budget_sec: float | None,
    compiled_sec: Callable[[Setting, float], float] | None = None,
) -> Decision:
    """Choose the fastest setting the recipe allows.

    Args:
        make: builds an engine on a fresh copy of the model, for a setting.
        train: the recipe's section.
        device: resolved.
        num_steps: steps the budget asks for, where it is known before measuring.
        budget_sec: seconds the budget asks for, where it is known before measuring.
        compiled_sec: measures a compiled setting elsewhere, within a time limit in seconds; raises `TrainingError`
            where that fails. None: compilation is not tried unless the recipe insists.
    """
    start = time.perf_counter()
    options = candidates(train, device)
    if train.compile == "on":
        options = [replace(setting, compile=True) for setting in options]
    if num_steps is not None and num_steps < _SHORT_STEPS and budget_sec is None:
        note = f"not measured: the budget is {num_steps} steps, and measuring pays from {_SHORT_STEPS}"
        plain = replace(options[0], threads=torch.get_num_threads())
        return Decision(plain, {}, (note,), time.perf_counter() - start)
    rates: dict[Setting, float] = {}
    # A compiled step is made anew for each number of threads, so threads are chosen on the plain one.
    plain = replace(options[0], compile=False)
    threads = _choose_threads(make(plain), rates)
    options = [replace(setting, threads=threads) for setting in options]
    once = rates[replace(plain, threads=threads)]
    expected_sec = budget_sec if budget_sec is not None else (num_steps or 0) * once
    limit_sec = min(max(_MEASURED_SHARE * expected_sec, _LEAST_SEC), _MOST_SEC)
    if not rates.keys() >= {*options}:
        with options[0].pool():
            rates |= _race({setting: make(setting) for setting in options}, limit_sec)
    fastest = min(options, key=lambda setting: rates[setting])
    # A candidate must win by more than noise to displace a plainer one.
    chosen = next(setting for setting in options if rates[setting] * _MARGIN <= rates[fastest])
    notes: list[str] = []
    if train.compile == "auto":
        rest_sec = budget_sec if budget_sec is not None else (num_steps or 0) * rates[chosen]
        chosen, note = _try_compiled(chosen, rates, rest_sec, compiled_sec)
        notes.append(note)
    named = {str(setting): seconds for setting, seconds in rates.items()}
    return Decision(chosen, named, tuple(notes), time.perf_counter() - start)


def _choose_threads(engine: Engine, rates: dict[Setting, float]) -> int:
    """All of torch's threads, or half of them, and so on down while that is clearly faster; fills in `rates`.

    On a GPU the threads hardly matter, and all of them stay.
    """
    setting = engine.setting
    best = threads = torch.get_num_threads()
    try:
        while threads >= 1:
            tried = replace(setting, threads=threads)
            with tried.pool():
                first_sec = timed_step(engine)
                rates[tried] = first_sec if first_sec > _SLOW_STEP_SEC else min(timed_step(engine) for _ in range(2))
            if threads != best and rates[tried] > _CLEAR_GAIN * rates[replace(setting, threads=best)]:
                break
            best, threads = threads, threads // 2 if setting.device == "cpu" else 0
    finally:
        engine.close()
    return best


def _race(engines: dict[Setting, Engine], limit_sec: float) -> dict[Setting, float]:
    """Seconds a step of each, the fastest of several rounds; a first one, which may compile, is not counted.

    However short the time, no single pair of steps decides: each takes `_LEAST_ROUNDS`, or two where those leave it
    hopelessly behind.
    """
    for engine in engines.values():
        timed_step(engine)
    best = dict.fromkeys(engines, math.inf)
    spent_sec = 0.0  # by the steps, not by this rank's clock: ranks that stopped at different rounds would never meet
    for number in range(_MOST_ROUNDS):
        if number >= _LEAST_ROUNDS and spent_sec > limit_sec:
            break
        hopeless_sec = _HOPELESS * min(best.values())
        for setting, engine in engines.items():
            if number < 2 or best[setting] < hopeless_sec:
                seconds = timed_step(engine)
                spent_sec += seconds
                best[setting] = min(best[setting], seconds)
    for engine in engines.values():
        engine.close()
    return best


def timed_step(engine: Engine) -> float:
    """Seconds one training step takes, on the slowest rank."""
    _synchronise(engine.setting.device)
    start = time.perf_counter()
    engine.step(1.0)
    _synchronise(engine.setting.device)
    return engine.ranks.slowest(time.perf_counter() - start, engine.setting.device)


def _synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _try_compiled(
    chosen: Setting,
    rates: dict[Setting, float],
    rest_sec: float,
    compiled_sec: Callable[[Setting, float], float] | None,
) -> tuple[Setting, str]:
    if compiled_sec is None:
        return chosen, "compile not tried: nothing here can measure it safely"
    if rest_sec * _COMPILE_GAIN < 2 * _COMPILE_SEC:
        return chosen, f"compile not tried: {rest_sec:.0f} s of training cannot pay back about {_COMPILE_SEC:.0f} s"
    compiled = replace(chosen, compile=True)
    try:
        rates[compiled] = compiled_sec(compiled, rest_sec * _COMPILE_GAIN)
    except TrainingError as error:
        return chosen, f"compile not used: {error.received or error.invariant}"
    gain = 1 - rates[compiled] / rates[chosen]
    if gain * rest_sec < _COMPILE_SEC:
        return chosen, f"compile not used: it changes the step time by {-gain:+.0%}"
    return compiled, f"compile used: it changes the step time by {-gain:+.0%}"


def elsewhere(recipe: Recipe, setting: Setting, limit_sec: float) -> float:
    """Time a setting in a process of its own, which may crash or hang without harm to this one.

    Returns:
        Seconds a step takes, compilation left out.

    Raises:
        TrainingError: it crashed, failed, or took longer than `limit_sec`.
    """
    alone = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        recipe.save(path)
        command = [sys.executable, "-m", "motherlode.training.trial", str(path), json.dumps(asdict(setting))]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit_sec, check=False, env=alone)
        except subprocess.TimeoutExpired as error:
            raise TrainingError("a compiled model must start in time", f"nothing after {limit_sec:.0f} s") from error
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise TrainingError("a compiled model must run", reason[:300], "train.compile: off")
    return float(json.loads(lines[-1])["seconds"])
