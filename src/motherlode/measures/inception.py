"""The Inception Score (Salimans 2016, arXiv:1606.03498): exp E KL(p(y|x) ‖ p(y)), between 1 and the number of classes.

High when a classifier is sure of every sample and the samples cover its classes. It never sees real data, so it says
nothing of likeness to them, and it means something only for the classifier it names.

The value is that of all samples, with an interval from its influence function. `splits=10` gives the published form
instead, the mean over ten parts, which is lower: each part's p(y) is found from a tenth of the samples.

Shape legend: N samples, K classes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import MeasureError
from motherlode.measures.interval import DEFAULT_LEVEL, Interval, mean_interval
from motherlode.measures.matrix import as_matrix
from motherlode.randomness import numpy_generator


def inception_score(logits_NK: Any, *, splits: int = 1, level: float = DEFAULT_LEVEL, seed: int = 0) -> Interval:
    """The Inception Score of a classifier's logits, a float with an interval.

    Args:
        logits_NK: array or tensor (N, K), before the softmax.
        splits: 1 takes all samples at once; more, the mean over this many random parts (published: 10).
        level: of the interval.
        seed: of the parts.

    Raises:
        MeasureError: wrong shape, fewer than two samples a split, or values that are not finite.
    """
    logits_NK = as_matrix(logits_NK, "logits").astype(np.float64)
    if not 1 <= splits <= len(logits_NK) // 2:
        raise MeasureError("a split needs at least 2 samples", f"{splits} splits of {len(logits_NK)}", "use fewer")
    if splits == 1:
        divergences_N = _divergences(logits_NK)
        log_score = mean_interval(divergences_N, level, "")
        ends = (math.exp(log_score.low), math.exp(log_score.high))
        return Interval(math.exp(log_score), max(1.0, ends[0]), ends[1], level, "influence function, over samples")
    order_N = numpy_generator(seed, "inception splits").permutation(len(logits_NK))
    scores = [math.exp(_divergences(logits_NK[rows]).mean()) for rows in np.array_split(order_N, splits)]
    return mean_interval(np.array(scores), level, f"Student, over {splits} splits")


def _divergences(logits_NK: NDArray[np.float64]) -> NDArray[np.float64]:
    """KL(p(y|x) ‖ p(y)) of each sample; centred, this is also the influence of the sample on log IS."""
    shifted_NK = logits_NK - logits_NK.max(1, keepdims=True)
    log_p_NK = shifted_NK - np.log(np.exp(shifted_NK).sum(1, keepdims=True))
    p_NK = np.exp(log_p_NK)
    marginal_K = p_NK.mean(0)
    log_marginal_K = np.log(np.maximum(marginal_K, np.finfo(np.float64).tiny))
    divergences_N: NDArray[np.float64] = (p_NK * (log_p_NK - log_marginal_K)).sum(1)
    return divergences_N
