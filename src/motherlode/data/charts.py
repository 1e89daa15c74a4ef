"""Charts of a data card as inline SVG: a funnel, histograms, bars. No script; colours come from the page's style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

NUM_BINS = 40
_WIDTH = 320
_HEIGHT = 96
_ROW = 34
_MOST_SPREAD = 6.0


def funnel(steps: Sequence[tuple[str, int, int]]) -> str:
    """What each step let through.

    Args:
        steps: (name, rows in, rows kept), in order.
    """
    total = max((num_in for _, num_in, _ in steps), default=1) or 1
    left, width = 150, 620
    height = _ROW * len(steps)
    parts = [f'<svg class="funnel" viewBox="0 0 960 {height}" role="img" aria-label="rows kept by each step">']
    for number, (name, num_in, num_kept) in enumerate(steps):
        top = number * _ROW + 4
        kept, dropped = width * num_kept / total, width * (num_in - num_kept) / total
        middle = top + 17
        parts.append(f'<text class="name" x="{left - 12}" y="{middle}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect class="kept" x="{left}" y="{top}" width="{kept:.1f}" height="{_ROW - 8}" rx="3"/>')
        if num_in > num_kept:
            seen = max(dropped, 2.0)
            parts.append(
                f'<rect class="dropped" x="{left + kept:.1f}" y="{top}" width="{seen:.1f}" height="{_ROW - 8}" rx="2"/>'
            )
            parts.append(
                f'<text class="loss" x="{left + kept + seen + 8:.1f}" y="{middle}">−{num_in - num_kept:,}'
                f" ({_percent((num_in - num_kept) / num_in)})</text>"
            )
        parts.append(f'<text class="count" x="{left + 10}" y="{middle}">{num_kept:,}</text>')
    return "".join([*parts, "</svg>"])


def histogram(
    values: NDArray[np.floating], others: NDArray[np.floating] | None = None, *, may_log: bool = False
) -> str:
    """Counts of kept values as bars, of dropped ones as an outline, each scaled to its own peak.

    The axis runs over the middle 99 % of the kept values where the rest would squeeze them.

    Args:
        may_log: values spread over several powers of ten may stand on a logarithmic axis, which says so.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    is_log = may_log and float(values.min()) >= 0 and _spread(values) > _MOST_SPREAD
    middle = float(np.median(values))
    if is_log:
        values = np.log10(np.maximum(values, 1))
        others = None if others is None else np.log10(np.maximum(others, 1))
    low, high = _range(values)
    counts, _ = np.histogram(np.clip(values, low, high), NUM_BINS, (low, high))
    step = _WIDTH / NUM_BINS
    bars = "".join(
        f'<rect x="{i * step:.1f}" y="{_HEIGHT - h:.1f}" width="{step - 1:.1f}" height="{h:.1f}"/>'
        for i, h in enumerate(counts / counts.max() * (_HEIGHT - 6))
        if h > 0
    )
    line = ""
    if others is not None and len(others := others[np.isfinite(others)]):
        dropped, _ = np.histogram(np.clip(others, low, high), NUM_BINS, (low, high))
        tops = _HEIGHT - dropped / max(dropped.max(), 1) * (_HEIGHT - 6)
        points = " ".join(f"{i * step:.1f},{y:.1f} {(i + 1) * step:.1f},{y:.1f}" for i, y in enumerate(tops))
        line = f'<polyline points="{points}"/>'
    ends = [10**end if is_log else end for end in (low, high)]
    axis = ", logarithmic" if is_log else ""
    return (
        f'<svg class="histogram" viewBox="0 0 {_WIDTH} {_HEIGHT + 18}" role="img">{bars}{line}'
        f'<line x1="0" x2="{_WIDTH}" y1="{_HEIGHT}" y2="{_HEIGHT}"/>'
        f'<text x="0" y="{_HEIGHT + 14}">{short(ends[0])}</text>'
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT + 14}" text-anchor="middle">median {short(middle)}{axis}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 14}" text-anchor="end">{short(ends[1])}</text></svg>'
    )


def bars(
    counts: Mapping[str, int], others: Mapping[str, int] | None = None, most: int = 24, *, narrow: bool = False
) -> str:
    """Horizontal bars, one a name; `others` is drawn as a part at the end. The smallest beyond `most` are summed."""
    shown = list(counts.items())
    if len(shown) > most:
        largest = sorted(shown, key=lambda item: -item[1])
        rest = largest[most - 1 :]
        shown = [*largest[: most - 1], (f"{len(rest)} more", sum(count for _, count in rest))]
    peak = max((count for _, count in shown), default=1) or 1
    row, left, width, total = (20, 74, 176, _WIDTH) if narrow else (22, 130, 300, 500)
    room = left // 7
    parts = [f'<svg class="bars" viewBox="0 0 {total} {row * len(shown)}" role="img">']
    for number, (name, count) in enumerate(shown):
        top = number * row
        size = width * count / peak
        part = size * (others or {}).get(name, 0) / max(count, 1)
        title = name if len(name) <= room else name[: room - 1] + "…"
        parts.append(f'<text class="name" x="{left - 8}" y="{top + 15}" text-anchor="end">{escape(title)}</text>')
        parts.append(
            f'<rect class="kept" x="{left}" y="{top + 3}" width="{max(size, 1):.1f}" height="{row - 6}" rx="2"/>'
        )
        if part:
            parts.append(
                f'<rect class="part" x="{left + size - part:.1f}" y="{top + 3}" width="{part:.1f}" height="{row - 6}"/>'
            )
        parts.append(f'<text class="count" x="{left + size + 8:.1f}" y="{top + 15}">{count:,}</text>')
    return "".join([*parts, "</svg>"])


def short(value: float) -> str:
    """A number in few signs: 0.034, 7.3, 640, 12.4k."""
    if abs(value) >= 10_000:
        return f"{value / 1000:.3g}k"
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _range(values: NDArray[np.floating]) -> tuple[float, float]:
    low, high = (float(q) for q in np.quantile(values, [0.005, 0.995], method="nearest"))
    smallest, largest = float(values.min()), float(values.max())
    if largest - smallest <= 3 * (high - low) or high <= low:
        low, high = smallest, largest
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _spread(values: NDArray[np.floating]) -> float:
    """How far the largest values lie from the middle, in units of the middle."""
    return float(np.quantile(values, 0.99) / max(np.median(values), 1))


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else f"{share:.2%}"
