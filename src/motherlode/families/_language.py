"""What families of language models share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_RISE_NATS = 0.05
_LEAST_LOOKS = 4


def warn_of_rise(history: Sequence[Mapping[str, float]]) -> list[str]:
    """A sentence and a remedy where the last two held-out losses (`heldout_nats`) lie above the lowest of all looks."""
    losses = [look["heldout_nats"] for look in history if "heldout_nats" in look]
    if len(losses) < _LEAST_LOOKS or min(losses[-2:]) < min(losses) + _RISE_NATS:
        return []
    risen = f"the held-out loss has risen by {losses[-1] - min(losses):.2f} nats a token from {min(losses):.2f}"
    return [f"{risen}: the model learns its data by heart; give it more data, fewer passes or a smaller size"]
