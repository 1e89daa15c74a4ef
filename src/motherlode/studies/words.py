"""The verdict in one sentence, with its probability, its figures and what would change it."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

from motherlode.errors import RecipeError

if TYPE_CHECKING:
    from motherlode.studies.abstain import Pilot
    from motherlode.studies.plan import Arm, Question

_ENDLESS = " price"  # "any price", "no price"
_NAMES = {"data": "data", "compute": "GPU-hours", "treatment": "better data", "neither": "nothing"}


def amount(number: float) -> str:
    """1234567 → "1.23M"; counts as people say them."""
    if not isfinite(number):
        return "∞"
    if abs(number) >= 1e15:
        return f"{number:.2e}".replace("e+", "e")
    for scale, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= scale:
            return f"{number / scale:.3g}{suffix}"
    return f"{number:.3g}"


def read_amount(text: str) -> float:
    """ "8M" → 8e6: the inverse of `amount`; plain numbers do as well.

    Raises:
        RecipeError: it is no count.
    """
    scale = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}.get(text.strip()[-1:].lower(), 0.0)
    try:
        return float(text.strip()[:-1]) * scale if scale else float(text)
    except ValueError as error:
        raise RecipeError("a count must be a number", text, "write 8000000, 8e6 or 8M") from error


def money(number: float, currency: str) -> str:
    """An amount with its currency label; "no price" where it is infinite."""
    if not isfinite(number):
        return "any price"
    sign = {"USD": "$", "EUR": "€", "GBP": "£"}.get(currency)
    digits = f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
    return f"{sign}{digits}" if sign else f"{digits} {currency}"


def price_range(price: tuple[float, float, float], question: Question) -> str:
    """A break-even price a unit with its interval."""
    unit = f" per {amount(question.unit)} samples" if question.unit != 1 else " each"
    middle, low, high = (capped(x, question) for x in price)
    if not middle.endswith(_ENDLESS):
        return f"{middle}{unit} (90 %: {low} to {high})"
    low, high = (x if x.endswith(_ENDLESS) else x + unit for x in (low, high))
    return middle if low == high else f"{middle} (90 %: {low} to {high})"


def capped(price: float, question: Question) -> str:
    """A price of data; a thousand times the one asked about is "any price", a thousandth of it "no price"."""
    ratio = price / (question.data.unit * question.unit)
    return "any price" if ratio > 1e3 else "no price" if ratio < 1e-3 else money(price, question.currency)


def sentence(
    verdict: str,
    question: Question,
    arms: Sequence[Arm],
    probability: dict[str, float],
    price: tuple[float, float, float],
    abstentions: Sequence[str],
    pilot: Pilot,
    split: dict[str, tuple[float, float, float]],
    split_gain: float,
) -> str:
    """What one would say across a table."""
    budget = money(question.budget, question.currency)
    if verdict == "abstain":
        return (
            f"The pilots cannot tell what {budget} should buy: {abstentions[0]}. Run one more first: "
            f"{pilot.text(money(pilot.cost, question.currency))}."
        )
    sure = f"with probability {_percent(probability[verdict])}"
    if verdict == "neither":
        return (
            f"Keep the money: {sure} neither data nor GPU-hours for {budget} would better the loss by "
            f"{question.worth:.1%}."
        )
    arm = max((a for a in arms if a.kind == verdict), key=lambda a: a.wins)
    rivals = [a for a in arms if a is not arm]
    rival = max(rivals, key=lambda a: a.gain[0])
    name = _NAMES[verdict] if verdict != "treatment" else f"better data ({arm.name})"
    bought = {
        "data": f"{amount(arm.unique - question.unique)} more unique samples",
        "compute": f"{amount(arm.flops - question.flops)} more FLOPs",
        "treatment": f"treating {arm.share:.0%} of what you own",
    }[verdict]
    return (
        f"Buy {name}: {sure} it is the best use of {budget}; {bought} should better the loss by "
        f"{arm.gain[0]:z.1%} (90 %: {arm.gain[1]:z.1%} to {arm.gain[2]:z.1%}), against {rival.gain[0]:z.1%} for "
        f"{_NAMES[rival.kind]}. For the next doubling of either, data beat GPU-hours at {price_range(price, question)}"
        + ("." if capped(price[0], question).endswith(_ENDLESS) else " or less.")
        + (f" Better still, split it: {mixture(split)} ({split_gain:.1%})." if split_gain > 1.2 * arm.gain[0] else "")
    )


def mixture(split: dict[str, tuple[float, float, float]]) -> str:
    """The best split in words."""
    return ", ".join(f"{split[name][0]:.0%} {_NAMES[name]}" for name in _NAMES if split.get(name, (0.0,))[0] > 0.005)


def _percent(share: float) -> str:
    """Votes of a finite number of draws never prove a certainty."""
    return "over 99 %" if share > 0.99 else f"{share:.0%}".replace("%", " %")
