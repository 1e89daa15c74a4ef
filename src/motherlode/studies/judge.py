"""What a cell is judged by: its loss at the end of its run, on the same held-out samples as every other cell.

The family's own loss where it has one (bits a byte for texts), else a measure of `evaluate`, else training's quick
score. The weights are those of the last step, not of the best: a law has its own say on when training should stop. 256
windows of 256 tokens take about 0.3 s for a model of 0.2M parameters on one thread.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from motherlode.networks.blocks import evaluating
from motherlode.randomness import torch_generator
from motherlode.recipe import Recipe
from motherlode.studies.options import StudyError
from motherlode.studies.probe import LOSS, SCORE
from motherlode.training.assembly import Assembly
from motherlode.training.loop import Feed, Setting
from motherlode.training.monitor import numbers

if TYPE_CHECKING:
    from motherlode.training.run import Run

_PREFIX = "heldout/"


def judge(run: Run, measure: str, heldout: Recipe, num_heldout: int) -> float:
    """The loss of a finished run.

    Args:
        run: the cell's.
        measure: "loss", "score", or the name of a measure of `evaluate`.
        heldout: a recipe whose held-out split is measured on.
        num_heldout: how many of its samples, for "loss".

    Raises:
        StudyError: the run has no such measure.
    """
    if measure == LOSS:
        return heldout_loss(run, heldout, num_heldout)
    if measure == SCORE:
        return _score(run)
    from motherlode.training.evaluate import evaluate

    report = evaluate(run, measures=(measure,), which="last", reference=heldout.data.path)
    return float(report[measure].value)


def heldout_loss(run: Run, heldout: Recipe, num_heldout: int) -> float:
    """Mean held-out loss of the last checkpoint, in float32; bits a byte where samples are tokens of text."""
    assembly = Assembly.of(heldout)
    loader = assembly.heldout
    if loader is None:
        raise StudyError("a study needs held-out samples", heldout.data.path, "prepare it with --heldout 0.1")
    setting = Setting(heldout.train.device if heldout.train.device != "auto" else "cpu")
    family = run.load("last", device=setting.device)
    feed = Feed(loader, assembly.modality, setting, augment=(), seed=0, rank=0)
    total = 0.0
    tokens: list[Any] = []
    num_batches = max(1, min(num_heldout, len(loader)) // loader.batch)
    with torch.no_grad(), evaluating(family):
        for index in range(num_batches):
            batch = feed.batch(index)
            loss = family.heldout_loss(batch, torch_generator(0, "study", index, device=setting.device))
            total += math.nan if loss is None else float(loss)
            tokens.append(batch.samples[:, 1:])
    feed.close()
    mean = total / num_batches
    if assembly.spec.tokens is None:
        return mean
    return mean / math.log(2) / _bytes_per_token(assembly.spec.tokens.folder, torch.cat(tokens).cpu().numpy())


def _bytes_per_token(folder: str, tokens_NT: Any) -> float:
    """Bytes of text that a token stands for, on average over these; special tokens stand for none."""
    from motherlode import tokenizer

    sizes_V = np.array([len(piece) for piece in tokenizer.load(folder).token_bytes])
    return float(sizes_V[tokens_NT].mean())


def _score(run: Run) -> float:
    """Training's own score at the last checkpoint."""
    for line in reversed(run.metrics()):
        found = [value for name, value in numbers(line).items() if name.startswith(_PREFIX)]
        if line["kind"] == "look" and found:
            return min(found)
    raise StudyError("a run must have been scored", str(run.path), "hold out at least 64 samples")
