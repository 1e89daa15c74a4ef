"""What a person is told of a run's data before it trains: its tokens, and how often it will see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MUCH_PADDING = 0.25
_MANY_PASSES = 16
"""Beyond it a pass over text teaches clearly less than new text would (Muennighoff et al. 2023, arXiv 2305.16264)."""


def about_tokens(facts: Mapping[str, Any]) -> list[str]:
    """What a person should know of the tokens of a run (`Assembly.token_facts`); nothing where it has none."""
    if "fields" in facts:
        return _about_fields(facts["fields"])
    if not facts:
        return []
    fit = facts["tokenizer"]
    fertility = ", ".join(f"{language} {value:.2f}" for language, value in fit["fertility"].items())
    return [
        f"{facts['train_tokens']:,} unique tokens in {facts['train_documents']:,} documents; vocabulary "
        f"{fit['vocabulary']:,}, {fit['bytes_per_token']:.2f} bytes a token"
        + (f", tokens a word: {fertility}" if fertility else "")
    ]


def about_passes(passes: Mapping[str, float], *, of_tokens: bool) -> str:
    """How often a run goes over its data, e.g. "4.3 passes over the data"; over each source where they are weighed.

    Args:
        passes: as `Assembly.passes` gives them.
        of_tokens: whether the model learns sequences of tokens, which are learnt by heart soonest.
    """
    if passes.keys() == {"all"}:
        told = f"{_times(passes['all'])} passes over the data"
    else:
        told = "passes over each source: " + ", ".join(f"{name} {_times(times)}" for name, times in passes.items())
    if of_tokens and max(passes.values()) > _MANY_PASSES:
        told += ": so many may teach it by heart. The best checkpoint is kept; a weight_decay of 0.2 to 0.4 helps"
    return told


def _times(passes: float) -> str:
    return f"{passes:,.0f}" if passes >= 10 else f"{passes:.2g}"


def _about_fields(facts: Mapping[str, Any]) -> list[str]:
    """Documents of each task, tokens of each field, and how full the windows are."""
    tasks = ", ".join(f"{name} {count:,}" for name, count in facts["documents"].items())
    sizes = ", ".join(
        f"{name} {found['mean']:.0f}" + (f" (most {found['most']})" if found["most"] > found["mean"] else "")
        for name, found in facts["tokens"].items()
    )
    return [
        f"documents an epoch: {tasks}" + (f"; {facts['bare']:.0%} with nothing given" if facts["bare"] else ""),
        f"tokens a sample: {sizes}",
        f"{facts['windows']:,} windows an epoch, {facts['padding']:.1%} of them padding",
    ]


def about_dropped(facts: Mapping[str, Any]) -> list[str]:
    """Rows that make no document, and windows that are mostly padding; for recipes over fields."""
    if "fields" not in facts:
        return []
    found = facts["fields"]
    told = []
    if found["dropped"]:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in found["dropped"].items())
        total = sum(found["dropped"].values())
        told.append(f"{total:,} training rows make no document for any task: {reasons}")
    if not found["heldout_documents"]:
        told.append("no held-out row makes a document: nothing tells how the model does on unseen data")
    if found["padding"] > _MUCH_PADDING:
        told.append(
            f"{found['padding']:.0%} of the windows is padding: the longest document has {found['longest_document']} "
            "tokens, so a data.length that is a multiple of that wastes less"
        )
    return told
