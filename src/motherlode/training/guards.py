"""What stops a training, and what it tells a person first.

The non-finite guard is one fused pass over a turn's gradients and one number read back: it runs before the optimiser
step, so weights, averages and files never see a NaN. The same pass gives the gradient norm for clipping. A stop signal
lets the step in hand finish and be saved.
"""

from __future__ import annotations

import math
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from motherlode.errors import DivergedError


@torch.no_grad()
def gradient_norm(
    gradients: Sequence[Tensor],
    loss: Tensor,
    turn: str,
    step: int,
    over_ranks: Callable[[Tensor], Tensor] | None = None,
) -> float:
    """The norm of all gradients together.

    Args:
        gradients: of one turn; where they lie in shares, this rank's.
        loss: of that turn, the same on every rank.
        turn: its name.
        step: of the run.
        over_ranks: makes the norm of all shares out of this one's; None where nothing is shared.

    Raises:
        DivergedError: the loss or a gradient is not finite.
    """
    norms = torch._foreach_norm(list(gradients))  # noqa: SLF001 - one pass, as in torch's own clipping
    total = torch.linalg.vector_norm(torch.stack(norms)).float() if norms else torch.zeros((), device=loss.device)
    if over_ranks is not None:
        total = over_ranks(total)
    # 0 · loss is 0 for a finite loss and NaN for any other, so one number answers for both.
    norm = float(total + 0.0 * loss.detach().float())
    if not math.isfinite(norm):
        what = "loss" if not bool(torch.isfinite(loss)) else "gradient"
        raise DivergedError(
            f"the {what} of every turn must be finite",
            f"{turn}, step {step}: loss {float(loss):g}, gradient norm {float(total):g}",
            "the last checkpoint is intact; start a new run (another name) with half the learning rate, "
            "`train.clip: 1.0`, or `train.precision: fp32`",
        )
    return norm


@torch.no_grad()
def clip(gradients: Sequence[Tensor], norm: float, limit: float | None) -> None:
    """Scale the gradients down to `limit` where their norm exceeds it (Pascanu et al. 2013, algorithm 1)."""
    if limit is not None and norm > limit:
        torch._foreach_mul_(list(gradients), limit / norm)


class StopSignal:
    """Set by the first SIGINT or SIGTERM; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.name = ""

    def __bool__(self) -> bool:
        return bool(self.name)

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Note the signal."""
        if self.name and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name


@contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """Catch SIGINT and SIGTERM for the block; outside the main thread, where Python allows no handlers, do nothing."""
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before: dict[int, Any] = {number: signal.signal(number, stop.receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Warnings:
    """Passes each warning on once: a person who has read it does not need it at every look."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def new(self, messages: Sequence[str]) -> list[str]:
        """Those of `messages` whose wording, numbers aside, was not given before."""
        fresh = []
        for message in messages:
            wording = "".join(letter for letter in message if not letter.isdigit())
            if wording not in self._given:
                self._given.add(wording)
                fresh.append(message)
        return fresh


def room_warning(folder: Path, needed_bytes: int) -> list[str]:
    """A warning when the disk will not hold two more checkpoints of this size."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes > 2 * needed_bytes:
        return []
    message = (
        f"the disk of {folder} has {free_bytes / 1e6:.0f} MB left, a checkpoint takes {needed_bytes / 1e6:.0f} MB: "
    )
    return [message + "free some space, or the next one fails (the earlier ones stay)"]
