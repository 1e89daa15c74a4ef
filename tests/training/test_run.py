from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from doubles import Pair, tiny_assembly, tiny_recipe
from torch import Tensor

from motherlode import storage
from motherlode.errors import CorruptError, DivergedError, LockedError, RecipeError, TrainingError
from motherlode.recipe import Recipe
from motherlode.training import run as run_module
from motherlode.training.monitor import Event, Progress
from motherlode.training.run import Run, train, train_seeds

pytestmark = pytest.mark.usefixtures("tiny")


class Recorder:
    """Remembers what a training said."""

    def __init__(self) -> None:
        self.updates: list[Progress] = []
        self.events: list[tuple[str, str, Path | None]] = []

    def update(self, progress: Progress) -> None:
        self.updates.append(progress)

    def event(self, kind: Event, message: str, path: Path | None = None) -> None:
        self.events.append((kind, message, path))

    def said(self, kind: str) -> list[str]:
        return [message for said, message, _ in self.events if said == kind]


def weights(run: Run, which: str = "last") -> dict[str, Tensor]:
    return run.load(which).state_dict()


def assert_same_weights(a: Run, b: Run) -> None:
    for name, value in weights(a).items():
        assert torch.equal(value, weights(b)[name]), name


def losses(run: Run) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key != "seconds"} for line in run.metrics()]


def test_a_run_is_a_folder_with_everything_in_it(tmp_path: Path) -> None:
    listener = Recorder()
    run = train(tiny_recipe(tmp_path, steps=12), progress=listener)
    assert run.path == tmp_path / "tiny"
    facts = run.facts
    assert facts["status"] == "finished"
    assert (facts["step"], facts["draws"], facts["samples"], facts["total_steps"]) == (12, 24, 96, 12)
    assert facts["flops"] == 12 * facts["flops_per_step"][0] > 0
    assert facts["dataset"] == "tiny-0"
    assert facts["seconds"] > 0
    assert facts["peak_memory_bytes"] > 1e7
    assert facts["kwh"] > 0
    assert "assumed" in facts["kwh_assumption"]
    assert facts["parameters"] == sum(p.numel() for p in run.load().parameters())
    assert run.spec.shape == (1, 8, 8)
    assert run.labels == ["a", "b", "c"]
    assert [line["step"] for line in run.metrics() if line["kind"] == "train"] == list(range(1, 13))
    assert [line["step"] for line in run.metrics() if line["kind"] == "look"] == [3, 6, 9, 12]
    assert sorted(path.name for path in (run.path / "samples").iterdir()) == [f"step-{n}.png" for n in (0, 12, 3, 6, 9)]
    assert list((run.path / "tensorboard").glob("events*"))
    assert {9, 12} <= set(run.steps())
    assert run.recipe.train.precision == "fp32"
    assert run.recipe.train.layout == "contiguous"
    assert run.recipe.train.compile == "off"
    assert listener.said("sample")
    assert listener.said("checkpoint")
    assert listener.said("warning") == ["seen 2 looks"]
    assert facts["warnings"] == ["seen 2 looks"]
    assert listener.updates[-1].step == 12
    assert listener.updates[-1].seconds_left == 0
    first = listener.updates[0]
    assert (first.step, first.seconds_left > 1e-4, 0 < first.samples_per_sec < 1e6) == (1, True, True)
    assert listener.updates[-1].scalars["critic/loss"] > 0


def test_training_again_returns_the_finished_run(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)
    first = train(recipe)
    before = first.facts
    listener = Recorder()
    again = train(recipe, progress=listener)
    assert again.facts == before
    assert listener.said("finished") == ["already finished: 12 steps"]


def test_the_resolved_recipe_is_the_same_run(tmp_path: Path) -> None:
    run = train(tiny_recipe(tmp_path))
    before = run.facts
    written = Recipe.load(run.path / "recipe.yaml")
    assert train(written).facts == before
    every = {"family", *type(written.family_options()).model_fields}
    assert set(written.model) == every  # defaults too, which another version may have changed


def test_a_larger_budget_continues_as_if_it_had_been_asked_for_at_once(tmp_path: Path) -> None:
    whole = train(tiny_recipe(tmp_path / "whole", steps=20))
    train(tiny_recipe(tmp_path / "parts", steps=12, sample_every=0.25))
    listener = Recorder()
    continued = train(tiny_recipe(tmp_path / "parts", steps=20), progress=listener)
    assert listener.said("resumed") == ["goes on from step 12 of 20"]
    # Looks fall on other steps (they are shares of the budget) and count themselves; everything learnt is equal.
    for name, value in weights(whole).items():
        assert name == "looks" or torch.equal(value, weights(continued)[name]), name
    assert continued.facts["total_steps"] == 20


def test_a_smaller_budget_changes_nothing(tmp_path: Path) -> None:
    run = train(tiny_recipe(tmp_path, steps=12))
    before = weights(run)
    again = train(tiny_recipe(tmp_path, steps=5))
    assert again.facts["step"] == 12
    assert again.facts["status"] == "finished"
    assert all(torch.equal(value, weights(again)[name]) for name, value in before.items())


def test_another_recipe_in_the_same_folder_is_refused_with_a_name(tmp_path: Path) -> None:
    train(tiny_recipe(tmp_path))
    (tmp_path / "tiny-2").mkdir()
    with pytest.raises(TrainingError) as caught:
        train(tiny_recipe(tmp_path, batch=16, model={"family": "pair", "width": 9}))
    text = str(caught.value)
    assert "model.width: the run there 8, this recipe 9" in text
    assert "train.batch: the run there 8, this recipe 16" in text
    assert "name: tiny-3" in text
    assert Run.open(tmp_path / "tiny").facts["status"] == "finished"


def test_another_dataset_in_the_same_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_recipe(tmp_path)
    train(recipe)
    monkeypatch.setattr(run_module.Assembly, "of", lambda recipe, ranks: tiny_assembly(recipe, ranks, "tiny-1"))
    with pytest.raises(TrainingError, match=r"data\.id: the run there tiny-0, this recipe tiny-1"):
        train(recipe)


def test_what_does_not_decide_the_weights_may_change(tmp_path: Path) -> None:
    run = train(tiny_recipe(tmp_path))
    priced = tiny_recipe(tmp_path, keep=7, histograms=True, checkpoint_every=0.5)
    priced = priced.model_copy(update={"price": priced.price.model_copy(update={"hour": 3.0})})
    assert train(priced).facts["step"] == run.facts["step"] == 12


@pytest.mark.parametrize("corrupt", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
def test_a_damaged_checkpoint_costs_only_the_steps_since_the_one_before(tmp_path: Path, corrupt: str) -> None:
    whole = train(tiny_recipe(tmp_path / "whole", steps=20))
    recipe = tiny_recipe(tmp_path / "damaged", steps=20, keep=3)
    train(recipe)
    file = recipe.folder / "checkpoints" / "step-20" / corrupt
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(bytes(content))
    listener = Recorder()
    repaired = train(recipe, progress=listener)
    assert len(listener.said("warning")) >= 1
    assert "step-20 is damaged" in listener.said("warning")[0]
    assert listener.said("resumed") == ["goes on from step 15 of 20"]
    assert_same_weights(whole, repaired)
    assert losses(whole) == losses(repaired)


def test_all_checkpoints_damaged_is_said_not_trained_over(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, steps=12)
    train(recipe)
    for folder in (recipe.folder / "checkpoints").glob("step-*"):
        (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(CorruptError, match=r"step-12/model.safetensors; .*step-9/model.safetensors"):
        train(recipe)


def test_a_damaged_run_json_is_named(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)
    train(recipe)
    (recipe.folder / "run.json").write_text("{")
    with pytest.raises(CorruptError, match=r"run\.json"):
        train(recipe)
    (recipe.folder / "run.json").write_text("{}")
    with pytest.raises(CorruptError, match=r"run.json must be complete(.|\n)*identity"):
        train(recipe)


def test_divergence_leaves_the_last_good_checkpoint_and_stops_the_record(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, steps=20, model={"family": "pair", "explode_at": 12})
    with pytest.raises(DivergedError, match="step 12"):
        train(recipe)
    run = Run.open(recipe.folder)
    assert run.facts["status"] == "diverged"
    assert "finite" in run.facts["error"]
    assert run.facts["step"] == 10
    assert run.steps()[-1] == 10
    assert max(line["step"] for line in run.metrics()) == 12
    healthy = train(tiny_recipe(tmp_path / "healthy", steps=20))
    del healthy
    with pytest.raises(DivergedError, match="step 12"):
        train(recipe)


def test_two_processes_cannot_train_one_run(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path)
    with storage.lock(recipe.folder), pytest.raises(LockedError, match="one process at a time"):
        train(recipe)
    assert train(recipe).facts["status"] == "finished"


class Stopper(Recorder):
    """Sends this process a signal in the middle of training."""

    def __init__(self, number: signal.Signals, at: int) -> None:
        super().__init__()
        self.number, self.at = number, at

    def event(self, kind: Event, message: str, path: Path | None = None) -> None:
        super().event(kind, message, path)
        if kind == "sample" and path is not None and path.stem == f"step-{self.at}":
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_saves_and_the_same_call_goes_on_to_the_bit(tmp_path: Path, number: signal.Signals) -> None:
    whole = train(tiny_recipe(tmp_path / "whole", steps=12, checkpoint_every=1.0))
    recipe = tiny_recipe(tmp_path / "stopped", steps=12, checkpoint_every=1.0)
    before = signal.getsignal(number)
    listener = Stopper(number, at=6)
    run = train(recipe, progress=listener)
    assert signal.getsignal(number) is before
    assert run.facts["status"] == "stopped"
    assert run.steps()[-1] in (6, 7)
    assert "the same command goes on" in listener.said("stopped")[0]
    assert number.name in listener.said("stopped")[0]
    run = train(recipe)
    assert run.facts["status"] == "finished"
    assert_same_weights(whole, run)
    assert losses(whole) == losses(run)


def test_training_outside_the_main_thread_works(tmp_path: Path) -> None:
    found: list[Run] = []
    thread = threading.Thread(target=lambda: found.append(train(tiny_recipe(tmp_path))))
    thread.start()
    thread.join()
    assert found[0].facts["status"] == "finished"


def test_lines_of_a_killed_process_are_taken_back(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, steps=12)
    run = train(recipe)
    expected = losses(run)
    storage.append_line(run.path / "metrics.jsonl", {"step": 13, "kind": "train", "critic/loss": 9.0})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 14, "kind": "tr')
    longer = train(tiny_recipe(tmp_path, steps=16))
    assert losses(longer)[: len(expected)] == expected
    assert [line["step"] for line in longer.metrics() if line["kind"] == "train"] == list(range(1, 17))


def test_budgets_in_samples_and_flops(tmp_path: Path) -> None:
    run = train(tiny_recipe(tmp_path / "samples", budget={"samples": 80}))
    assert run.facts["step"] == 10
    per_step = run.facts["flops_per_step"][0]
    run = train(tiny_recipe(tmp_path / "flops", budget={"flops": 7.2 * per_step}))
    assert run.facts["step"] == 7


def test_minutes_become_steps_that_a_resumed_run_keeps(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, budget={"minutes": 0.04}, layout="contiguous", precision="fp32")
    listener = Stopper(signal.SIGTERM, at=-1)

    start = time.monotonic()
    first = Recorder()
    run = train(recipe, progress=first)
    took_sec = time.monotonic() - start
    facts = run.facts
    assert facts["steps_fixed"] is True
    assert facts["total_steps"] == facts["step"] > 10
    assert 0.5 < took_sec < 30
    assert not all(progress.fixed for progress in first.updates)
    assert first.updates[-1].fixed
    # Twice the minutes are twice the steps, by the rate that was measured then.
    doubled = recipe.model_copy(
        update={
            "train": recipe.train.model_copy(
                update={"budget": recipe.train.budget.model_copy(update={"minutes": 0.08})}
            )
        }
    )
    longer = train(doubled, progress=listener)
    assert longer.facts["total_steps"] == pytest.approx(2 * facts["total_steps"], abs=2)


def test_checkpoints_are_found_by_name(tmp_path: Path) -> None:
    run = train(tiny_recipe(tmp_path, steps=12, keep=4))
    assert run.checkpoint("last").name == "step-12"
    assert run.checkpoint("step-6").name == "step-6"
    best = run.facts["best"]
    assert run.checkpoint("best").name == f"step-{best['step']}"
    assert run.best_variant == "raw"
    scores = {line["step"]: line["heldout/raw"] for line in run.metrics() if line["kind"] == "look"}
    assert best["score"] == min(scores.values())
    assert scores[best["step"]] == best["score"]
    with pytest.raises(TrainingError, match=r"no such checkpoint(.|\n)*best, last, step-3, step-6"):
        run.checkpoint("step-7")


def test_a_damaged_checkpoint_is_not_loaded(tmp_path: Path) -> None:
    run = train(tiny_recipe(tmp_path))
    file = run.checkpoint("last") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    with pytest.raises(CorruptError, match=r"model\.safetensors"):
        run.load("last")


def test_opening_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"run\.json and recipe\.yaml"):
        Run.open(tmp_path)


def test_an_unknown_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="device must be one that torch can use"):
        train(tiny_recipe(tmp_path, device="gpu"))


def test_ambient_randomness_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(tiny_recipe(tmp_path))
    assert torch.equal(torch.rand(3), expected)


def test_histograms_on_demand(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(tiny_recipe(tmp_path, histograms=True))
    board = EventAccumulator(str(run.path / "tensorboard"))
    board.Reload()
    tags = board.Tags()
    assert "weights/critic.1.weight" in tags["histograms"]
    assert "gradients/critic.1.weight" in tags["histograms"]
    assert tags["images"] == ["samples"]
    assert [event.step for event in board.Scalars("critic/loss")] == list(range(1, 13))
    logged = [line["critic/loss"] for line in run.metrics() if line["kind"] == "train"]
    assert [event.value for event in board.Scalars("critic/loss")] == pytest.approx(logged)


def test_seeds_are_siblings_with_a_spread(tmp_path: Path) -> None:
    spread = train_seeds(tiny_recipe(tmp_path), [0, 1, 2], evaluated=False)
    assert [run.path.name for run in spread.runs] == ["tiny-seed-0", "tiny-seed-1", "tiny-seed-2"]
    loss = spread.measures["critic/loss"]
    assert len(set(loss["values"])) == 3
    assert loss["mean"] == pytest.approx(sum(loss["values"]) / 3)
    assert loss["min"] <= loss["mean"] <= loss["max"]
    assert loss["sd"] > 0
    assert spread.rows()[0] == ("measure", "mean", "sd", "min", "max")
    assert json.loads((tmp_path / "tiny-seeds.json").read_text())["seeds"] == [0, 1, 2]
    with pytest.raises(TrainingError, match="each once"):
        train_seeds(tiny_recipe(tmp_path), [1, 1])


def test_a_batch_no_loader_can_serve_is_a_recipe_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError):
        tiny_recipe(tmp_path, model={"family": "pair", "widht": 9})


def test_every_variant_is_scored_and_the_best_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = Pair.sample

    def worse_when_raw(family: Pair, num: int, *, variant: str = "", **more: Any) -> Tensor:
        made = sample(family, num, variant=variant, **more)
        return made if variant in ("", "ema") else torch.zeros_like(made)

    monkeypatch.setattr(Pair, "variants", property(lambda _: ("raw", "ema")))
    monkeypatch.setattr(Pair, "sample", worse_when_raw)
    run = train(tiny_recipe(tmp_path))
    assert run.best_variant == "ema"
    last = [line for line in run.metrics() if line["kind"] == "look"][-1]
    assert last["heldout/ema"] < last["heldout/raw"]


@pytest.mark.slow
def test_sigterm_in_a_process_of_its_own(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import doubles, pathlib\n"
        "doubles.install()\n"
        "from motherlode.training.run import train\n"
        "class L:\n"
        "    def update(self, p): print('step', p.step, flush=True)\n"
        "    def event(self, kind, message, path=None): print(kind, message, flush=True)\n"
        f"run = train(doubles.tiny_recipe(pathlib.Path({str(tmp_path)!r}), steps=10**6), progress=L())\n"
        "print('status', run.facts['status'])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("step"):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait() == 0
    assert "stopped SIGTERM: saved step" in rest
    assert rest.strip().endswith("status stopped")
