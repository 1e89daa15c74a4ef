"""What money buys: price curves with volume discounts and whole batches, and FLOPs a GPU-hour.

A price is a number a unit, or a curve: "3/M" is three a million, "3/M, 2/M from 100M" adds a discount on what is bought
beyond 100 million, "2.5 by 168" sells whole blocks of 168. The currency is a label that is printed and never converted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import floor, inf, isfinite
from typing import Any

import numpy as np

from motherlode.errors import MotherlodeError
from motherlode.studies.laws import Floats
from motherlode.studies.runs import Runs

_SCALES = {"": 1.0, "each": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "hour": 1.0, "h": 1.0}
_SYNTAX = (
    "write a number, '3/M', '0.05/each', '3/M, 2/M from 100M' or '3/M, 2/M from 100M by 10M' (sold in tens of millions)"
)
_TIER = re.compile(
    r"^(?P<price>[-+0-9.eE]+)\s*(?:/\s*(?P<unit>[A-Za-z]+))?"
    r"(?:\s+from\s+(?P<start>[0-9.eE]+)(?P<scale>[kKMB]?))?$"
)


class PriceError(MotherlodeError):
    """A price is missing, negative or not written as one."""


@dataclass(frozen=True)
class PriceCurve:
    """Price of a quantity that starts at nothing.

    Attributes:
        tiers: (quantity from which it holds, price a unit), ascending; the first starts at 0.
        batch: sold in multiples of this; 0 for any amount.
    """

    tiers: tuple[tuple[float, float], ...]
    batch: float = 0.0

    def cost(self, quantity: float) -> float:
        """Money for a quantity, rounded up to whole batches."""
        whole = quantity if not self.batch else self.batch * -floor(-quantity / self.batch + 1e-9)
        total = 0.0
        for i, (start, price) in enumerate(self.tiers):
            stop = self.tiers[i + 1][0] if i + 1 < len(self.tiers) else inf
            total += price * max(min(whole, stop) - start, 0.0)
        return total

    def quantity(self, money: float) -> float:
        """The most that money buys, rounded down to whole batches; infinite where it costs nothing."""
        left, bought = max(money, 0.0), 0.0
        for i, (start, price) in enumerate(self.tiers):
            stop = self.tiers[i + 1][0] if i + 1 < len(self.tiers) else inf
            affordable = left / price if price > 0 else inf
            step = min(affordable, stop - start)
            bought += step
            if step < stop - start or not isfinite(step):
                break
            left -= step * price
        return bought if not self.batch or not isfinite(bought) else self.batch * floor(bought / self.batch + 1e-9)

    @property
    def unit(self) -> float:
        """Price of the first unit."""
        return self.tiers[0][1]

    def plus(self, other: PriceCurve) -> PriceCurve:
        """Both must be bought for each unit; batches of this one."""
        starts = sorted({start for curve in (self, other) for start, _ in curve.tiers})

        def at(curve: PriceCurve, quantity: float) -> float:
            return [price for start, price in curve.tiers if start <= quantity][-1]

        return PriceCurve(tuple((start, at(self, start) + at(other, start)) for start in starts), self.batch)


def read_price(value: Any, name: str, unit: float) -> PriceCurve:
    """A price as users write it.

    Args:
        value: a number (for `unit` units), a string as above, or a `PriceCurve`.
        name: of the option, for messages.
        unit: how many units a plain number pays for.

    Raises:
        PriceError: it is missing, negative or cannot be read.
    """
    if isinstance(value, PriceCurve):
        curve = value
    elif value is None:
        raise PriceError(f"a plan needs the price {name}", None, f"give {name}; {_SYNTAX}")
    elif isinstance(value, str):
        curve = _parse(value, name, unit)
    else:
        try:
            curve = PriceCurve(((0.0, float(value) / unit),))
        except (TypeError, ValueError) as error:
            raise PriceError(f"the price {name} must be a number or a price curve", value, _SYNTAX) from error
    if any(not isfinite(x) or x < 0 for tier in curve.tiers for x in tier) or curve.batch < 0:
        raise PriceError(f"the price {name} must not be negative", value, "what is already paid for costs 0")
    starts = [start for start, _ in curve.tiers]
    if starts != sorted(set(starts)) or starts[:1] != [0.0]:
        raise PriceError(f"the tiers of {name} must start at 0 and ascend", value, _SYNTAX)
    return curve


def _parse(text: str, name: str, unit: float) -> PriceCurve:
    body, _, block = text.partition(" by ")
    tiers = []
    for part in body.split(","):
        found = _TIER.match(part.strip())
        label = (found["unit"] or "") if found else ""
        if not found or label.lower() not in _SCALES:
            raise PriceError(f"the price {name} cannot be read", text, _SYNTAX)
        per = _SCALES[label.lower()] if label else unit
        start = float(found["start"] or 0) * _SCALES[(found["scale"] or "").lower()]
        tiers.append((start, float(found["price"]) / per))
    return PriceCurve(tuple(tiers), _count(block, name, text) if block else 0.0)


def _count(text: str, name: str, whole: str) -> float:
    found = re.match(r"^\s*([0-9.eE]+)\s*([kKMB]?)\s*$", text)
    if not found:
        raise PriceError(f"the batch of {name} cannot be read", whole, _SYNTAX)
    return float(found[1]) * _SCALES[found[2].lower()]


@dataclass(frozen=True)
class Machine:
    """FLOPs that one paid hour delivers, and how we know.

    Attributes:
        flops_per_hour: useful training FLOPs an hour.
        source: a sentence for the report.
        measured: from the pilots' own wall time.
    """

    flops_per_hour: float
    source: str
    measured: bool


def machine_of(runs: Runs, peak_flops: float | None, utilisation: float | None) -> Machine:
    """Throughput of the machine a plan pays for.

    Args:
        runs: pilots; a `seconds` column measures it.
        peak_flops: FLOP/s on the data sheet, default 312e12 (an A100 in bf16).
        utilisation: share of the peak that training reaches, in (0, 1]; default 0.4.

    Raises:
        PriceError: not positive, or a utilisation above 1.
    """
    for name, given in (("peak_flops", peak_flops), ("utilisation", utilisation)):
        if given is not None and not (isfinite(given) and given > 0 and (given <= 1 or name == "peak_flops")):
            raise PriceError(
                f"{name} must be positive, a utilisation at most 1", given, "for example 312e12 and 0.4 (40 %)"
            )
    if peak_flops is None and utilisation is None and runs.seconds is not None:
        rate = _measured(runs.flops, runs.seconds)
        if rate is not None:
            text = f"{rate:.3g} FLOP/s, measured on the pilots (their larger half)"
            return Machine(rate * 3600, text, True)
    peak, share = peak_flops or 312e12, utilisation or 0.4
    doubt = ", assumed" if peak_flops is None or utilisation is None else ""
    return Machine(peak * share * 3600, f"{peak:.3g} FLOP/s at {share:.0%} utilisation{doubt}", False)


def _measured(flops: Floats, seconds: Floats) -> float | None:
    known = np.isfinite(seconds) & (seconds > 0)
    if not known.any():
        return None
    large = known & (flops >= np.median(flops[known]))
    return float(np.median(flops[large] / seconds[large]))
