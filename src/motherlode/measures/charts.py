"""Small charts as inline SVG: no script, no network, and colours from the page, so that they follow light and dark.

Two kinds are enough for a report: a value with its interval on a scale, and curves over steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Point = tuple[float, float]

_BAR_WIDTH, _BAR_HEIGHT = 260, 30
_WIDTH, _HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 26
_COLOURS = ("var(--a)", "var(--b)", "var(--c)", "var(--d)", "var(--e)")
_MOST_POINTS = 300


def interval_bar(value: float, low: float, high: float, marks: Mapping[str, float]) -> str:
    """A dot for the value, a bar for its interval, and a tick for each mark (a floor, a target) on one linear scale.

    Args:
        value: where the dot goes.
        low, high: of the bar; NaN leaves it out.
        marks: label → value of the ticks; the label is shown on hover.
    """
    known = [x for x in (value, low, high, *marks.values()) if math.isfinite(x)]
    least, most = min([0.0, *known]), max([0.0, *known])
    span = (most - least) or 1.0

    def place(x: float) -> float:
        return 8 + (_BAR_WIDTH - 16) * (x - least) / span

    parts = [f'<line class="axis" x1="8" x2="{_BAR_WIDTH - 8}" y1="15" y2="15"/>']
    for label, at in marks.items():
        parts.append(
            f'<g class="mark"><title>{escape(label)}: {number(at)}</title>'
            f'<line x1="{place(at):.1f}" x2="{place(at):.1f}" y1="5" y2="25"/></g>'
        )
    if math.isfinite(low) and math.isfinite(high):
        width = max(place(high) - place(low), 2)
        parts.append(
            f'<rect class="band" x="{place(low):.1f}" y="9" width="{width:.1f}" height="12" rx="3">'
            f"<title>{number(low)} to {number(high)}</title></rect>"
        )
    parts.append(f'<circle class="dot" cx="{place(value):.1f}" cy="15" r="4.5"><title>{number(value)}</title></circle>')
    return f'<svg class="bar" viewBox="0 0 {_BAR_WIDTH} {_BAR_HEIGHT}" role="img">{"".join(parts)}</svg>'


def curves(series: Mapping[str, Sequence[Point]], *, x_label: str = "step") -> str:
    """Lines over a shared axis, with a legend; values that are not finite break a line.

    The scale of y leaves out the farthest 1 % on either side, or one spike at the start would flatten the rest.
    """
    series = {name: [p for p in points if all(map(math.isfinite, p))] for name, points in series.items()}
    series = {name: _thin(points) for name, points in series.items() if len(points) > 1}
    if not series:
        return ""
    xs = [x for points in series.values() for x, _ in points]
    ys = sorted(y for points in series.values() for _, y in points)
    cut = len(ys) // 100
    (x0, x1), (y0, y1) = (min(xs), max(xs)), (ys[cut], ys[-1 - cut])
    ticks = _ticks(y0, y1)
    y0, y1 = min(y0, ticks[0]), max(y1, ticks[-1])

    def at(x: float, y: float) -> str:
        right = _LEFT + (_WIDTH - _LEFT - _RIGHT) * (x - x0) / ((x1 - x0) or 1)
        down = _TOP + (_HEIGHT - _TOP - _BOTTOM) * (y1 - min(max(y, y0), y1)) / ((y1 - y0) or 1)
        return f"{right:.1f},{down:.1f}"

    parts = []
    for tick in ticks:
        down = at(x0, tick).partition(",")[2]
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{down}" y2="{down}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{down}" dy="0.32em" text-anchor="end">{number(tick)}</text>')
    for tick in _ticks(x0, x1):
        right = at(tick, y0).partition(",")[0]
        parts.append(f'<text x="{right}" y="{_HEIGHT - 8}" text-anchor="middle">{_short(tick)}</text>')
    legend = []
    for index, (name, points) in enumerate(series.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        path = " ".join(at(x, y) for x, y in points)
        parts.append(f'<polyline style="stroke:{colour}" points="{path}"><title>{escape(name)}</title></polyline>')
        legend.append(f'<span><i style="background:{colour}"></i>{escape(name)}</span>')
    svg = f'<svg class="curves" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>'
    return f'<div class="legend">{"".join(legend)}<em>over {escape(x_label)}s</em></div>{svg}'


def number(x: float) -> str:
    """A number as a person would write it: three or four digits, a thin space between thousands."""
    if not math.isfinite(x):
        return "–"
    if x == 0:
        return "0"
    if abs(x) >= 1000:
        return f"{x:,.0f}".replace(",", "\u2009").replace("-", "−")
    digits = max(0, 3 - math.floor(math.log10(abs(x))) - (abs(x) >= 10))
    text = f"{x:.{min(digits, 6)}f}" if abs(x) >= 1e-4 else f"{x:.1e}"
    if "." in text and "e" not in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", "−")


def _short(x: float) -> str:
    return f"{x / 1000:g}k" if abs(x) >= 1000 else f"{x:g}"


def _ticks(low: float, high: float) -> list[float]:
    """Three to six round values between two ends."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step)
    return [index * step for index in range(first, math.floor(high / step) + 1)] or [low]


def _thin(points: Sequence[Point]) -> list[Point]:
    """At most 300 points, each the mean of its neighbours."""
    if len(points) <= _MOST_POINTS:
        return list(points)
    width = math.ceil(len(points) / _MOST_POINTS)
    groups = [points[start : start + width] for start in range(0, len(points), width)]
    return [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
