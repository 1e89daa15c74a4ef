"""Runs the loop over its budget: logs, looks, checkpoints, and a clean stop.

After each step, in this order: log, look, checkpoint. A look may move a family's own buffers (adaptive augmentation),
so it always comes before the checkpoint of the same step and a resumed run neither repeats nor misses it. A budget in
minutes becomes a number of steps at the first look, is written to `run.json` before the first checkpoint, and does not
move after that.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from motherlode import storage
from motherlode.errors import DivergedError
from motherlode.families import Batch, Family
from motherlode.recipe import TrainOptions
from motherlode.training import checkpoint, cost, guards, monitor
from motherlode.training.assembly import Assembly
from motherlode.training.checkpoint import Checkpoint
from motherlode.training.cost import FlopTable
from motherlode.training.loop import Engine
from motherlode.training.monitor import Listener, Monitor, Progress
from motherlode.training.schedule import rate_factor
from motherlode.training.score import Score
from motherlode.training.words import about_passes

FACTS = "run.json"
CHECKPOINTS = "checkpoints"
_UPDATE_SEC = 0.1
_RECENT_STEPS = 50
_WARM_UP_STEPS = 3


class Driver:
    """One process's part of one training.

    Args:
        assembly: what the recipe names.
        engine: at step 0; `resume` moves it.
        folder: the run's.
        facts: contents of `run.json`; kept up to date here.
        flops: operations of each step.
        listener: follows the training.
        started: `time.perf_counter()` when the work on the budget began (measuring included).
    """

    def __init__(
        self,
        assembly: Assembly,
        engine: Engine,
        folder: Path,
        facts: dict[str, Any],
        flops: FlopTable,
        listener: Listener,
        started: float,
    ) -> None:
        self.assembly = assembly
        self.engine = engine
        self.folder = folder
        self.facts = facts
        self.flops = flops
        self.listener = listener
        self.train: TrainOptions = assembly.recipe.train
        self.ranks = assembly.ranks
        self.total: int = facts["total_steps"]
        self.best: dict[str, Any] | None = None
        self.score: Score | None = None
        self._monitor: Monitor | None = None
        self._warnings = guards.Warnings()
        self._started = started
        self._earlier_sec = 0.0
        self._clock: deque[tuple[float, int]] = deque(maxlen=_RECENT_STEPS)
        self._opened = (started, 0)
        self._step_sec: deque[float] = deque(maxlen=4 * _RECENT_STEPS)
        self._updated = 0.0
        self._last_scalars: dict[str, float] = {}
        self._look_score: dict[str, Any] | None = None
        self._look_sec = self._score_sec = 0.0

    # ------------------------------------------------------------------------------------------------ where it stands

    def resume(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises:
            TrainingError: it belongs to another recipe or another architecture.
        """
        where = f"step-{saved.step}"
        checkpoint.check_identity(saved.state, self.assembly.identity, where)
        self.engine.load_weights(saved.model, where)
        self.engine.load_optimizer_state(saved.optimizer)
        position = saved.state["position"]
        self.engine.position = type(self.engine.position)(**position)
        self._earlier_sec = float(saved.state["seconds"])
        self.best = saved.state["best"]

    @property
    def step(self) -> int:
        """Training steps taken."""
        return self.engine.position.step

    @property
    def seconds(self) -> float:
        """Training time so far, earlier processes included up to the checkpoint resumed from."""
        return self._earlier_sec + time.perf_counter() - self._started

    # --------------------------------------------------------------------------------------------------------- running

    def run(self) -> str:
        """Train to the end of the budget, or to a stop signal.

        Returns:
            "finished" or "stopped".

        Raises:
            DivergedError: a loss or a gradient is not finite; the last checkpoint stands.
        """
        if self.ranks.leads:
            self._monitor = Monitor(self.folder, self.step, histograms=self.train.histograms)
        status = "running" if self.step < self.total else self._settle()
        self._write_facts(status)
        if self.facts["steps_fixed"] and status == "running":
            self._tell_passes()
        if self.step == 0:
            self._open()
        try:
            with guards.stop_signals() as stop:
                while status == "running":
                    status = self._advance(stop)
        except DivergedError as error:
            self.facts["error"] = str(error)
            self._write_facts("diverged", move=False)
            raise
        finally:
            self.engine.close()
            if self._monitor is not None:
                self._monitor.close()
        if status == "stopped":
            self.listener.event(
                "stopped",
                f"{stop.name or 'asked to stop'}: saved step {self.step} of {self.total}; "
                "the same command goes on from there",
                self.folder,
            )
        self.ranks.share(None)  # no rank returns before rank 0 has written its last word
        if status == "finished":
            self.listener.event("finished", f"{self.total} steps in {self.seconds:.0f} s", self.folder)
        return status

    def _settle(self) -> str:
        """Do what a process killed right after its last checkpoint left undone."""
        if self.ranks.leads:
            self._prune()
            step = self.best["step"] if self.best else self.step
            checkpoint.publish(self.folder, checkpoint.folder_of(self.folder / CHECKPOINTS, step))
        return "finished"

    def _advance(self, stop: guards.StopSignal) -> str:
        before = time.perf_counter()
        if not self._clock:
            self._opened = (before, self.engine.position.samples)
        progress = (self.step + 0.5) / self.total
        scalars = self.engine.step(rate_factor(self.train.schedule, progress), stopping=bool(stop))
        step = self.step
        stopping = self.engine.stop_votes > 0 if self.ranks.world > 1 else bool(stop)
        if step % monitor.log_every(self.total) == 0 or step == self.total:
            self._log(monitor.scalars(scalars))
        now = time.perf_counter()
        self._clock.append((now, self.engine.position.samples))
        self._step_sec.append(now - before)
        looked = monitor.is_due(step, self.total, self.train.sample_every)
        if looked:
            self._look()
        if not self.facts["steps_fixed"] and (looked or stopping or self._saves(step)):
            self._fix_budget()
        if stopping or self._saves(step):
            self._save()
        self._update(force=step == self.total)
        if step >= self.total:
            self._write_facts("finished")
            return "finished"
        if stopping:
            self._write_facts("stopped")
            return "stopped"
        return "running"

    def _saves(self, step: int) -> bool:
        return monitor.is_due(step, self.total, self.train.checkpoint_every)

    def _tell_passes(self) -> None:
        spec, samples = self.assembly.spec, self.total * self.facts["samples_per_step"]
        told = about_passes(self.assembly.passes(round(samples)), of_tokens=spec.tokens is not None)
        self.listener.event("note", f"{self.total:,} steps: {told}")

    def _fix_budget(self) -> None:
        """Turn the minutes that are left into steps, at the rate of the steps taken; final from here on."""
        budget_sec = 60.0 * (self.train.budget.minutes or 0.0)
        recent = list(self._step_sec)[_WARM_UP_STEPS:] or list(self._step_sec)
        step_sec = sum(recent) / len(recent)
        left = cost.steps_left(
            self.train,
            budget_sec - self.seconds,
            step_sec=step_sec,
            look_sec=self._look_sec,
            save_sec=self._score_sec,
        )
        self.total = self.ranks.share(self.step + left)
        self.facts |= {
            "total_steps": self.total,
            "steps_fixed": True,
            "seconds_per_step": self.ranks.share((budget_sec / self.total) if self.total else step_sec),
        }
        self._write_facts("running")
        self._tell_passes()

    # ------------------------------------------------------------------------------------------------------ log, look

    def _log(self, scalars: dict[str, float]) -> None:
        self._last_scalars = scalars
        if self._monitor is not None:
            position = self.engine.position
            self._monitor.log("train", self.step, scalars, samples=position.samples, seconds=round(self.seconds, 3))

    def _open(self) -> None:
        """Show what the untrained model makes; what this takes tells what later looks will."""
        with self.engine.whole() as family:
            if self._monitor is not None and family is not None:
                self._open_here(self._monitor, family)

    def _open_here(self, board: Monitor, family: Family) -> None:
        if self.score is not None and not self.facts["steps_fixed"]:
            start = time.perf_counter()
            self.score.best(family, 0)
            self._score_sec = time.perf_counter() - start
        if self._shows:
            path = self._grid(board, family)
            self.listener.event("sample", "samples before training", path)

    @property
    def _shows(self) -> bool:
        """Whether looks write samples; of runs over fields `generate` does, which keeps them whole."""
        return self.train.show and self.assembly.corpus is None

    def _grid(self, board: Monitor, family: Family) -> Path:
        engine, assembly = self.engine, self.assembly
        return board.grid(
            family,
            assembly.modality,
            assembly.spec,
            self._shown,
            seed=engine.seed,
            step=self.step,
            device=engine.setting.device,
        )

    def _shown(self) -> Batch:
        """The same held-out samples at every look; training samples where none are held out."""
        batches = self.assembly.look_batches(self.engine.setting, 0)
        return batches[1] if batches is not None else self.engine.feed.batch(0)

    def _look(self) -> None:
        start = time.perf_counter()
        self.ranks.broadcast(self.engine.family, parameters=False)
        with self.engine.whole() as family:
            if self._monitor is not None and family is not None:
                self._look_here(self._monitor, family)
        self.ranks.broadcast(self.engine.family, parameters=False)
        self._look_sec = time.perf_counter() - start

    def _look_here(self, board: Monitor, family: Family) -> None:
        found: dict[str, float] = {}
        batches = self.assembly.look_batches(self.engine.setting, self.step)
        if batches is not None:
            found = monitor.inspect(family, self.step, *batches)
        if self.score is not None and self._saves(self.step):
            self._look_score = self.score.best(family, self.step)
            found |= self._look_score["scores"]
        board.log("look", self.step, found, seconds=round(self.seconds, 3))
        if self._shows:
            path = self._grid(board, family)
            self.listener.event("sample", f"samples of step {self.step}", path)
        board.histograms(family, self.step)
        fresh = self._warnings.new(family.warnings(board.looks))
        self.facts["warnings"] = [*self.facts.get("warnings", []), *fresh]
        monitor.tell(self.listener, fresh)

    def _update(self, *, force: bool = False) -> None:
        now = time.perf_counter()
        if not force and now - self._updated < _UPDATE_SEC:
            return
        self._updated = now
        # The first step, which compiles and allocates, tells the rate only until there is a second.
        clock = self._clock if len(self._clock) > 1 else [self._opened, *self._clock]
        first_time, first_samples = clock[0]
        position = self.engine.position
        span_sec = max(now - first_time, 1e-9)
        steps_per_sec = (len(clock) - 1) / span_sec
        bill = cost.bill(self.assembly.recipe.price, self.engine.setting.device, self.ranks.world, self.seconds)
        self.listener.update(
            Progress(
                step=position.step,
                total=self.total,
                samples=position.samples,
                samples_per_sec=(position.samples - first_samples) / span_sec,
                seconds=self.seconds,
                seconds_left=(self.total - position.step) / steps_per_sec,
                flops=self.flops.until(position.step),
                kwh=bill["kwh"],
                money=bill["money"],
                currency=bill["currency"],
                fixed=self.facts["steps_fixed"],
                counted_in=self.assembly.spec.counted_in,
                scalars=self._last_scalars,
            )
        )

    # ------------------------------------------------------------------------------------------------------- save

    def _save(self) -> None:
        """Write a checkpoint; every rank waits for it, so that none outruns a failure to write."""
        self.ranks.broadcast(self.engine.family, parameters=False)
        weights, optimizer = self.engine.weights(), self.engine.optimizer_state()
        self.ranks.lead(lambda: self._save_here(weights, optimizer))

    def _save_here(self, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor]) -> None:
        checkpoints = self.folder / CHECKPOINTS
        score = self._look_score
        if score is not None and self._is_best(score):
            self.best = {name: score[name] for name in ("step", "variant", "score", "measure")}
        state = {
            "position": self.engine.position.as_dict(),
            "seconds": self.seconds,
            "total_steps": self.total,
            "best": self.best,
            "identity": self.assembly.identity,
            "recipe_digest": self.facts["recipe_digest"],
            "dataset": self.assembly.dataset.id,
        }
        path = checkpoint.save(
            checkpoints,
            self.step,
            weights,
            optimizer,
            state,
            self.assembly.files(self.engine.family),
        )
        self._write_facts("running")
        self._prune()
        checkpoint.publish(self.folder, checkpoint.folder_of(checkpoints, self.best["step"]) if self.best else path)
        self.listener.event("checkpoint", f"step {self.step} saved", path)
        room = guards.room_warning(self.folder, checkpoint.size_bytes(path))
        monitor.tell(self.listener, self._warnings.new(room))

    def _is_best(self, score: dict[str, Any]) -> bool:
        fresh = score["step"] == self.step and math.isfinite(score["score"])
        return fresh and (self.best is None or score["score"] < self.best["score"])

    def _prune(self) -> None:
        checkpoint.prune(self.folder / CHECKPOINTS, self.train.keep, self.best["step"] if self.best else None)

    def _write_facts(self, status: str, *, move: bool = True) -> None:
        """Bring `run.json` up to date.

        Args:
            status: running, stopped, finished or diverged.
            move: False leaves position and costs as they were at the last checkpoint.
        """
        self.facts["status"] = status
        if move:
            position = self.engine.position
            setting = self.engine.setting
            self.facts |= position.as_dict()
            self.facts |= {
                "flops": self.flops.until(position.step),
                "passes": self.assembly.passes(position.samples),
                "seconds": self.seconds,
                "samples_per_sec": position.samples / self.seconds if self.seconds > 0 else 0.0,
                "best": self.best,
                "peak_memory_bytes": cost.peak_memory_bytes(setting.device),
                "updated": now(),
                **cost.bill(self.assembly.recipe.price, setting.device, self.ranks.world, self.seconds),
            }
        if self.ranks.leads:
            storage.write_json(self.folder / FACTS, self.facts)


def now() -> str:
    """The time, as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
