"""What families of language models share.

Looks are on other batches each time, so a loss moves by what its batch is, some .2 nats where batches are small. A
model that learns its data by heart shows in two ways at once: unseen text gets dearer, and seen text is cheaper than
it by more than looks scatter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from motherlode.families import Family

_RISE_NATS = 0.05
_LEAST_LOOKS = 4
_SMOOTHED = 2
_CLEAR = 2.0


class LanguageFamily(Family):
    """A family whose checkpoints are Hugging Face folders, and whose looks have `heldout_nats` and `gap`.

    `learner` is the network with its loss, `learner.network` a class of transformers.
    """

    def shards(self) -> Sequence[nn.Module]:
        """The blocks of the network, and all of it; see `Family.shards`."""
        return [*self.get_submodule("learner.network.model.layers").children(), self.get_submodule("learner")]

    @classmethod
    def opened(cls, options: Any, checkpoint: Path) -> Any:
        """A checkpoint is a folder to start from; see `Family.opened`."""
        return options.model_copy(update={"start": str(checkpoint)}) if options.start else options

    def warnings(self, history: Sequence[Mapping[str, float]]) -> list[str]:
        """Whether the model has begun to learn its data by heart."""
        return warn_of_rise(history)


def warn_of_rise(history: Sequence[Mapping[str, float]]) -> list[str]:
    """A sentence and a remedy where unseen text has become dearer, and dearer than seen text beyond doubt.

    Args:
        history: looks with `heldout_nats` and `gap`, both in nats a token.
    """
    looks = [look for look in history if "heldout_nats" in look]
    if len(looks) < _LEAST_LOOKS:
        return []
    window = np.full(_SMOOTHED, 1 / _SMOOTHED)
    losses = np.convolve([look["heldout_nats"] for look in looks], window, "valid")
    gaps = np.array([look["gap"] for look in looks])
    # Overfitting grows slowly, so what neighbouring looks differ by is their scatter.
    scatter = float(np.median(np.abs(np.diff(gaps))))
    if losses[-1] < losses.min() + _RISE_NATS or gaps[-_SMOOTHED:].mean() < _RISE_NATS + _CLEAR * scatter:
        return []
    risen = f"the held-out loss has risen by {losses[-1] - losses.min():.2f} nats a token from {losses.min():.2f}"
    return [f"{risen}: the model learns its data by heart; give it more data, fewer passes or a smaller size"]
