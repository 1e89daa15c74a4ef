from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from doubles import tiny_assembly, tiny_recipe

from motherlode.errors import TrainingError
from motherlode.recipe import TrainOptions
from motherlode.training import precision
from motherlode.training.loop import Engine, Setting
from motherlode.training.precision import Decision, candidates, decide, device_name

pytestmark = pytest.mark.usefixtures("tiny")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, float]], None]:
    """Steps take what the test says, by setting (and the plainest, whatever the threads)."""

    def install(seconds: dict[str, float]) -> None:
        monkeypatch.setattr(precision, "timed_step", lambda engine: seconds[str(replace(engine.setting, threads=1))])

    return install


def make(tmp_path: Path) -> Callable[[Setting], Engine]:
    return tiny_assembly(tiny_recipe(tmp_path)).engine


def rates(fp32: float, fp32_last: float, bf16: float, bf16_last: float) -> dict[str, float]:
    names = ["fp32 contiguous", "fp32 channels_last", "bf16 contiguous", "bf16 channels_last"]
    return {f"{name} on cpu 1 thread": rate for name, rate in zip(names, (fp32, fp32_last, bf16, bf16_last))}


def test_the_fastest_is_chosen(tmp_path: Path, clock: Callable[[dict[str, float]], None]) -> None:
    clock(rates(4, 3, 2, 1))
    found = decide(make(tmp_path), TrainOptions(), "cpu", num_steps=1000, budget_sec=None)
    assert found.setting == Setting("cpu", "bf16", "channels_last", threads=1)
    assert found.seconds_per_step == rates(4, 3, 2, 1)
    assert found.step_sec == 1


def test_noise_does_not_displace_the_plainest(tmp_path: Path, clock: Callable[[dict[str, float]], None]) -> None:
    clock(rates(1.0, 0.99, 0.98, 0.99))
    found = decide(make(tmp_path), TrainOptions(), "cpu", num_steps=1000, budget_sec=None)
    assert found.setting == Setting("cpu", "fp32", "contiguous", threads=1)


def test_no_single_pair_of_compiled_steps_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first compiled step compiles, and a neighbour on the machine slows some of the others down."""
    steps = {
        "fp32 contiguous on cpu 1 thread": iter([1.0] * 9),
        "fp32 contiguous compiled on cpu 1 thread": iter([80.0, 3.0, 1.0, 1.0, 1.0]),
        "bf16 contiguous compiled on cpu 1 thread": iter([95.0, 1.4, 1.4, 1.4, 1.4]),
    }
    monkeypatch.setattr(precision, "timed_step", lambda engine: next(steps[str(replace(engine.setting, threads=1))]))
    monkeypatch.setattr(precision, "_MEASURED_SHARE", 0.0)
    monkeypatch.setattr(precision, "_LEAST_SEC", 0.0)
    train = TrainOptions(compile="on", layout="contiguous")

    def engine(setting: Setting) -> Any:
        return SimpleNamespace(setting=setting, close=lambda: None)

    found = decide(engine, train, "cpu", num_steps=1000, budget_sec=None)
    assert found.setting == Setting("cpu", "fp32", "contiguous", compile=True, threads=1)
    assert found.step_sec == 1.0


def test_what_the_recipe_fixes_is_not_tried(tmp_path: Path, clock: Callable[[dict[str, float]], None]) -> None:
    clock(rates(4, 3, 2, 1))
    found = decide(make(tmp_path), TrainOptions(precision="fp32"), "cpu", num_steps=1000, budget_sec=None)
    assert found.setting == Setting("cpu", "fp32", "channels_last", threads=1)
    assert candidates(TrainOptions(precision="bf16", layout="contiguous"), "cpu") == [Setting("cpu", "bf16")]


def test_short_runs_are_not_measured(tmp_path: Path) -> None:
    found = decide(make(tmp_path), TrainOptions(), "cpu", num_steps=10, budget_sec=None)
    assert found.setting == Setting("cpu", threads=1)
    assert "not measured" in found.notes[0]
    assert math.isnan(found.step_sec)


def test_measuring_touches_nothing_and_takes_little(tmp_path: Path) -> None:
    assembly = tiny_assembly(tiny_recipe(tmp_path))
    engine = assembly.engine(Setting())
    before = {name: value.clone() for name, value in engine.family.state_dict().items()}
    found = decide(assembly.engine, TrainOptions(), "cpu", num_steps=1000, budget_sec=None)
    assert len(found.seconds_per_step) == 4
    assert all(torch.equal(value, before[name]) for name, value in engine.family.state_dict().items())
    assert engine.position.step == 0


def decide_compiled(
    tmp_path: Path, clock: Callable[[dict[str, float]], None], compiled: Callable[[Setting, float], float], sec: float
) -> Decision:
    clock(rates(4, 3, 2, 1))
    return decide(make(tmp_path), TrainOptions(), "cpu", num_steps=None, budget_sec=sec, compiled_sec=compiled)


def test_compile_is_tried_only_where_it_can_pay(tmp_path: Path, clock: Callable[[dict[str, float]], None]) -> None:
    tried = []

    def compiled(setting: Setting, limit_sec: float) -> float:
        tried.append(limit_sec)
        return 0.5

    short = decide_compiled(tmp_path, clock, compiled, 120)
    assert tried == []
    assert short.setting.compile is False
    assert "cannot pay back" in short.notes[0]
    long = decide_compiled(tmp_path, clock, compiled, 7200)
    assert tried == [pytest.approx(0.15 * 7200)]
    assert long.setting == Setting("cpu", "bf16", "channels_last", compile=True, threads=1)
    assert "-50%" in long.notes[0]
    assert long.step_sec == 0.5


def test_a_compiled_model_that_is_no_faster_is_not_used(
    tmp_path: Path, clock: Callable[[dict[str, float]], None]
) -> None:
    def slower(setting: Setting, limit_sec: float) -> float:
        return 1.1

    found = decide_compiled(tmp_path, clock, slower, 7200)
    assert found.setting.compile is False
    assert "compile not used: it changes the step time by +10%" in found.notes[0]


def test_a_compiler_that_fails_is_a_note(tmp_path: Path, clock: Callable[[dict[str, float]], None]) -> None:
    def crash(setting: Setting, limit_sec: float) -> float:
        raise TrainingError("a compiled model must run", "does not support double backward", "train.compile: off")

    found = decide_compiled(tmp_path, clock, crash, 7200)
    assert found.setting.compile is False
    assert found.notes == ("compile not used: does not support double backward",)


def test_a_trial_elsewhere_that_dies_or_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(tmp_path)
    # The process knows neither the tiny family nor its dataset, so it fails, and says so in its last line.
    with pytest.raises(TrainingError, match="a compiled model must run"):
        precision.elsewhere(recipe, Setting(), 60.0)
    with pytest.raises(TrainingError, match="must start in time"):
        precision.elsewhere(recipe, Setting(), 0.01)


def test_decisions_survive_json() -> None:
    decision = Decision(Setting("cpu", "bf16", "channels_last", True), {"a": 1.0}, ("note",), 2.0)
    assert Decision.from_dict(decision.as_dict()) == decision


def test_devices() -> None:
    assert device_name("cpu") == "cpu"
    assert device_name("auto") in ("cpu", "cuda:0", "mps")
    if not torch.cuda.is_available():
        for wanted in ("cuda", "cuda:0"):
            with pytest.raises(TrainingError, match=r"here there is .*cpu"):
                device_name(wanted)
    choose = "choose one of: auto, cpu, cuda, mps"
    for wanted, fix in {"abacus": choose, "": choose, "gpu": "`cuda` is", "cdua": "mean 'cuda'"}.items():
        with pytest.raises(TrainingError, match=fix):
            device_name(wanted)


def test_a_card_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (device_name("cuda"), device_name("cuda:1"), device_name("auto", 1)) == ("cuda:0", "cuda:1", "cuda:1")
    for wanted in ("cuda:7", "cuda:x", "cuda:"):
        with pytest.raises(TrainingError, match="here there is cuda:0, cuda:1"):
            device_name(wanted)


def test_the_decision_is_recorded_and_repeated(
    tmp_path: Path, clock: Callable[[dict[str, float]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from motherlode.training.run import train

    clock(rates(4, 3, 1, 2))
    recipe: Any = tiny_recipe(tmp_path, steps=70)
    run = train(recipe)
    assert run.facts["decision"]["setting"]["precision"] == "bf16"
    assert run.facts["decision"]["seconds_per_step"] == rates(4, 3, 1, 2)
    assert run.recipe.train.precision == "bf16"
    assert run.recipe.train.layout == "contiguous"
    clock(rates(1, 2, 3, 4))  # what is fastest now does not matter
    longer = train(tiny_recipe(tmp_path, steps=80))
    assert longer.facts["decision"] == run.facts["decision"]
    assert longer.facts["step"] == 80


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({8: 1.0, 4: 2.0, 2: 0.1, 1: 0.1}, 8),  # half is slower: no need to look further
        ({8: 1.0, 4: 0.95, 2: 0.1, 1: 0.1}, 8),  # not clearly faster
        ({8: 1.0, 4: 0.8, 2: 0.5, 1: 0.6}, 2),
        ({8: 9.0, 4: 5.0, 2: 2.0, 1: 0.4}, 1),  # others are using the machine
    ],
)
def test_threads_are_halved_while_that_is_clearly_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], chosen: int
) -> None:
    monkeypatch.setattr(precision, "timed_step", lambda _: seconds[torch.get_num_threads()])
    torch.set_num_threads(8)
    found = decide(make(tmp_path), TrainOptions(), "cpu", num_steps=1000, budget_sec=None)
    assert found.setting.threads == chosen
    assert torch.get_num_threads() == 8
    assert f"fp32 contiguous on cpu {chosen} thread{'s' if chosen > 1 else ''}" in found.seconds_per_step


def test_a_run_keeps_its_number_of_threads(tmp_path: Path) -> None:
    from motherlode.training.run import train

    train(tiny_recipe(tmp_path, steps=12))
    torch.set_num_threads(2)
    seen = []

    class Look:
        def update(self, progress: object) -> None:
            seen.append(torch.get_num_threads())

        def event(self, kind: str, message: str, path: Path | None = None) -> None:
            """Ignore it."""

    longer = train(tiny_recipe(tmp_path, steps=16), progress=Look())
    assert set(seen) == {1}
    assert longer.facts["threads"] == 1
    assert torch.get_num_threads() == 2
