"""What a training writes down and shows while it runs.

`metrics.jsonl` is the record: one line a logged step, one a look; TensorBoard is fed the same numbers. At most a
thousand steps of a run are logged. A look is a sample grid from fixed noise, the family's own diagnostics on a train
and a held-out batch, and the warnings that follow from them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from motherlode import storage
from motherlode.families import Batch, Family
from motherlode.modality import Modality, SampleSpec
from motherlode.randomness import torch_generator

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"
SAMPLES = "samples"
BOARD = "tensorboard"
GRID_SAMPLES = 64
PAGE_SAMPLES = 4
_MOST_LINES = 1000

Event = Literal["note", "warning", "resumed", "sample", "checkpoint", "stopped", "finished"]


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Args:
        step: training steps taken.
        total: training steps the budget buys; still an estimate while `fixed` is False (a budget in minutes).
        samples: training samples seen.
        samples_per_sec: recent rate.
        seconds: training time so far, earlier processes included.
        seconds_left: at the recent rate.
        flops: operations spent.
        kwh: energy spent, estimated.
        money: price of that so far, in `currency`; 0 where the recipe names no price.
        counted_in: what a person counts samples in, and how many of it one is: see `SampleSpec.counted_in`.
        scalars: the last logged ones, as `turn/name`.
    """

    step: int
    total: int
    samples: int
    samples_per_sec: float
    seconds: float
    seconds_left: float
    flops: float = 0.0
    kwh: float = 0.0
    money: float = 0.0
    currency: str = "USD"
    fixed: bool = True
    counted_in: tuple[str, int] = ("samples", 1)
    scalars: Mapping[str, float] = field(default_factory=dict)


class Listener(Protocol):
    """Follows a training; the command line draws it."""

    def update(self, progress: Progress) -> None:
        """Called some times a second."""
        ...

    def event(self, kind: Event, message: str, path: Path | None = None) -> None:
        """Something happened: a grid was written (`path`), a checkpoint saved, a warning to be read."""
        ...


class Silent:
    """A listener that hears nothing."""

    def update(self, progress: Progress) -> None:
        """Ignore it."""

    def event(self, kind: Event, message: str, path: Path | None = None) -> None:
        """Ignore it."""


def is_due(step: int, total: int, share: float) -> bool:
    """Whether something done every `share` of the budget is due after `step` steps; always at the end.

    Marks lie at multiples of total / round(1 / share), so those of 0.1 coincide with every second one of 0.05.
    """
    marks = max(1, round(1 / share))
    return step == total or step * marks // total > (step - 1) * marks // total


class Monitor:
    """Writes metrics, TensorBoard and sample grids of one run.

    Args:
        folder: the run's.
        step: where the run stands; lines beyond it, of a process that was killed, are taken back.
        histograms: also write weight and gradient histograms at each look.
    """

    def __init__(self, folder: Path, step: int, *, histograms: bool = False) -> None:
        self.folder = folder
        self._histograms = histograms
        self._first_step = step
        self._board: SummaryWriter | None = None
        lines = storage.read_lines(folder / METRICS)
        kept = [line for line in lines if line["step"] <= step]
        self.looks: list[dict[str, float]] = [numbers(line) for line in kept if line.get("kind") == "look"]
        if lines or (folder / METRICS).exists():
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept)
            storage.write_text(folder / METRICS, text)

    @property
    def board(self) -> SummaryWriter:
        """TensorBoard's writer, made when first used: importing it takes a second."""
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.folder / BOARD), purge_step=self._first_step + 1)
        return self._board

    def log(self, kind: Literal["train", "look"], step: int, values: Mapping[str, float], **more: Any) -> None:
        """Append one line and its TensorBoard scalars; a value that is not finite is written as null."""
        line: dict[str, Any] = {"step": step, "kind": kind, **more}
        for name, value in values.items():
            line[name] = value if math.isfinite(value) else None
            self.board.add_scalar(name if "/" in name else f"{kind}/{name}", value, step)
        storage.append_line(self.folder / METRICS, line)
        if kind == "look":
            self.looks.append(numbers(line))

    def grid(
        self,
        family: Family,
        modality: Modality,
        spec: SampleSpec,
        shown: Callable[[], Batch],
        *,
        seed: int,
        step: int,
        device: str,
    ) -> Path:
        """Write `samples/step-N.png` (or a page of texts): the same noise at every step, so one sees it learn."""
        rng = torch_generator(seed, "grid", device=device)
        samples = family.preview(GRID_SAMPLES if spec.tokens is None else PAGE_SAMPLES, shown, rng=rng)
        path = self.folder / SAMPLES / f"step-{step}.png"
        path.parent.mkdir(exist_ok=True)
        path = modality.preview(samples, path, spec=spec)
        self._show(path, step)
        return path

    def _show(self, path: Path, step: int) -> None:
        import numpy as np
        from PIL import Image

        if path.suffix == ".txt":
            self.board.add_text("samples", f"```\n{path.read_text(encoding='utf-8')}\n```", step)
        elif path.with_suffix(".png").is_file():
            # What moves has a still picture beside it.
            with Image.open(path.with_suffix(".png")) as image:
                self.board.add_image("samples", np.asarray(image.convert("RGB")), step, dataformats="HWC")

    def histograms(self, family: Family, step: int) -> None:
        """Weight and gradient histograms, where the recipe asked for them."""
        if not self._histograms:
            return
        for name, parameter in family.named_parameters():
            self.board.add_histogram(f"weights/{name}", parameter.detach().float().cpu(), step)
            if parameter.grad is not None:
                self.board.add_histogram(f"gradients/{name}", parameter.grad.float().cpu(), step)

    def flush(self) -> None:
        """Hand everything to the operating system."""
        if self._board is not None:
            self._board.flush()

    def close(self) -> None:
        """Close the TensorBoard file."""
        if self._board is not None:
            self._board.close()
            self._board = None


def numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a metrics line."""
    return {name: float(value) for name, value in line.items() if isinstance(value, int | float)}


def log_every(total: int) -> int:
    """Steps between two logged ones: at most a thousand lines a run."""
    return max(1, math.ceil(total / _MOST_LINES))


def inspect(family: Family, step: int, train: Batch, heldout: Batch) -> dict[str, float]:
    """The family's diagnostics, as plain numbers."""
    found = family.inspect(step, train, heldout)
    return {name: float(value) for name, value in found.items()}


def scalars(values: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """0-d tensors as numbers."""
    return {name: float(value) for name, value in values.items()}


def tell(listener: Listener, warnings: Sequence[str]) -> None:
    """Pass warnings on."""
    for warning in warnings:
        listener.event("warning", warning)
