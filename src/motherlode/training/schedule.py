"""How the learning rate moves over the budget: pure functions of progress, so a resumed run needs no schedule state.

`progress` is the share of the budget spent, in [0, 1]; the loop passes (step + 1/2) / total, so that neither the first
nor the last step is wasted on a rate of zero. Every schedule begins with the same linear warm-up. A run continued with
a larger budget follows the schedule of the larger budget from where it stands: free for `constant`, and for `wsd`
while the old budget had not begun to decay.
"""

from __future__ import annotations

import math

from motherlode.recipe import ScheduleOptions


def rate_factor(options: ScheduleOptions, progress: float) -> float:
    """The share of the peak learning rate to use at `progress`.

    With w = warmup, d = decay, f = floor and s = (progress - w) / (1 - w), the share of what follows the warm-up:

    - during the warm-up: progress / w
    - constant: 1
    - linear: 1 - (1 - f) s
    - cosine: f + (1 - f) (1 + cos(pi s)) / 2           (Loshchilov & Hutter 2017, eq. 5, without restarts)
    - wsd: 1 until 1 - d, then linearly down to f        (warmup-stable-decay; Hu et al. 2024, MiniCPM, eq. 1)

    Args:
        options: the recipe's `train.schedule`.
        progress: share of the budget spent; values outside [0, 1] count as the nearest end.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < options.warmup:
        return progress / options.warmup
    rest = 1.0 - options.warmup
    spent = (progress - options.warmup) / rest if rest > 0 else 1.0
    if options.name == "constant":
        return 1.0
    if options.name == "linear":
        return 1.0 - (1.0 - options.floor) * spent
    if options.name == "cosine":
        return options.floor + (1.0 - options.floor) * (1.0 + math.cos(math.pi * spent)) / 2.0
    decay = min(options.decay, rest)
    if decay <= 0 or progress <= 1.0 - decay:
        return 1.0
    return 1.0 - (1.0 - options.floor) * (progress - (1.0 - decay)) / decay
