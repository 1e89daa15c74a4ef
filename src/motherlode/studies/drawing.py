"""Inline SVG for plans: linear and logarithmic axes, bands, error bars, filled contours. No script, no network.

Colours are CSS variables of the page (`--a`, `--b` …, `--m0` … `--m8` for maps), so that one drawing serves light, dark
and print. Series differ in marker or dash as well as in colour, and are labelled where they end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from motherlode.studies.laws import Floats

COLOURS = ("var(--a)", "var(--b)", "var(--c)", "var(--d)", "var(--e)")
NUM_SHADES = 9
_MARKERS = ("circle", "square", "triangle", "diamond", "cross")


@dataclass(frozen=True)
class Scale:
    """From values to positions: [low, high] → [start, stop] pixels, linear or logarithmic."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Pixel of a value."""
        low, high, at = (
            (math.log(x) for x in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return self.start + (self.stop - self.start) * (at - low) / ((high - low) or 1.0)

    def ticks(self) -> list[float]:
        """Three to seven round values inside the range."""
        if self.log and self.high / self.low > 8:
            return self._powers()
        raw = (self.high - self.low) / 4.5
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * f for f in (1, 2, 2.5, 5, 10) if power * f >= raw * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]

    def _powers(self) -> list[float]:
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        stride = max(1, math.ceil((last - first + 1) / 6))
        tens = [10.0**i for i in range(first, last + 1, stride)]
        if len(tens) >= 3:
            return tens
        fine = [f * 10.0**i for i in range(first - 1, last + 1) for f in (1, 2, 5)]
        return [x for x in fine if self.low * 0.999 <= x <= self.high * 1.001]


@dataclass
class Picture:
    """One framed plot, built by adding marks; `svg()` closes it."""

    x: Scale
    y: Scale
    width: float
    height: float
    title: str
    parts: list[str] = field(default_factory=list)

    @classmethod
    def framed(
        cls,
        title: str,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        *,
        size: tuple[float, float] = (640, 360),
        log_x: bool = False,
        log_y: bool = False,
        margins: tuple[float, float, float, float] = (18, 20, 46, 62),
    ) -> Picture:
        """A frame with margins (top, right, bottom, left) in pixels."""
        top, right, bottom, left = margins
        width, height = size
        x = Scale(*x_range, left, width - right, log_x)
        y = Scale(*y_range, height - bottom, top, log_y)
        return cls(x, y, width, height, title)

    def axes(
        self,
        x_label: str,
        y_label: str,
        x_text: Callable[[float], str],
        y_text: Callable[[float], str],
        *,
        grid: bool = True,
    ) -> None:
        """Tick labels, axis labels, and grid lines where nothing is filled below them."""
        for tick in self.y.ticks():
            at = self.y(tick)
            if grid:
                self.parts.append(
                    f'<line class="grid" x1="{self.x.start}" x2="{self.x.stop}" y1="{at:.1f}" y2="{at:.1f}"/>'
                )
            self.text(self.x.start - 7, at, y_text(tick), "end", "tick", shift=4)
        for tick in self.x.ticks():
            at = self.x(tick)
            self.parts.append(
                f'<line class="tickmark" x1="{at:.1f}" x2="{at:.1f}" y1="{self.y.start}" y2="{self.y.start + 4}"/>'
            )
            self.text(at, self.y.start + 18, x_text(tick), "middle", "tick")
        self.parts.append(
            f'<line class="axis" x1="{self.x.start}" x2="{self.x.stop}" y1="{self.y.start}" y2="{self.y.start}"/>'
        )
        self.text((self.x.start + self.x.stop) / 2, self.height - 6, x_label, "middle", "label")
        middle = (self.y.start + self.y.stop) / 2
        self.parts.append(
            f'<text class="label" text-anchor="middle" transform="translate(14 {middle:.1f}) rotate(-90)">'
            f"{escape(y_label)}</text>"
        )

    def text(
        self, right: float, down: float, words: str, anchor: str = "start", css: str = "note", shift: float = 0
    ) -> None:
        """Words at pixels, on a halo of the ground where the class asks for it."""
        self.parts.append(
            f'<text class="{css}" x="{right:.1f}" y="{down + shift:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def points_of(self, xs: Sequence[float] | Floats, ys: Sequence[float] | Floats) -> str:
        """Pixel pairs, clipped to a little beyond the frame."""
        low, high = min(self.y.start, self.y.stop) - 40, max(self.y.start, self.y.stop) + 40
        return " ".join(f"{self.x(a):.1f},{min(max(self.y(b), low), high):.1f}" for a, b in zip(xs, ys))

    def line(
        self,
        xs: Sequence[float] | Floats,
        ys: Sequence[float] | Floats,
        colour: str,
        css: str = "curve",
        dash: str = "",
    ) -> None:
        """A polyline."""
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(
            f'<polyline class="{css}" style="stroke:{colour}"{dashes} points="{self.points_of(xs, ys)}"/>'
        )

    def band(self, xs: Floats, low: Floats, high: Floats, colour: str) -> None:
        """The area between two curves."""
        there = self.points_of(xs, low)
        back = self.points_of(xs[::-1], high[::-1])
        self.parts.append(f'<polygon class="shade" style="fill:{colour}" points="{there} {back}"/>')

    def bar(self, at: float, low: float, high: float, colour: str) -> None:
        """A vertical error bar."""
        low, high = max(low, self.y.low), min(high, self.y.high)
        self.parts.append(
            f'<line class="whisker" style="stroke:{colour}" x1="{self.x(at):.1f}" x2="{self.x(at):.1f}" '
            f'y1="{self.y(low):.1f}" y2="{self.y(high):.1f}"/>'
        )

    def marker(self, at: float, value: float, index: int, hint: str = "", radius: float = 3.4) -> None:
        """A mark whose colour and shape follow the index."""
        name = _MARKERS[index % len(_MARKERS)]
        colour = COLOURS[index % len(COLOURS)]
        drawn = _shape(name, self.x(at), self.y(value), radius)
        stroke = f";stroke:{colour};stroke-width:1.8" if name == "cross" else ""
        hinted = f"<title>{escape(hint)}</title>" if hint else ""
        self.parts.append(f'<g class="mark" style="fill:{colour}{stroke}">{hinted}{drawn}</g>')

    def labels(self, ends: Sequence[tuple[float, str, str]], apart: float) -> None:
        """Names of curves (height, words, colour) at the right edge, at least `apart` pixels from each other."""
        previous = -math.inf
        for down, words, colour in sorted(ends):
            previous = max(down, previous + apart)
            self.parts.append(
                f'<text class="end" style="fill:{colour}" x="{self.x.stop + 6:.1f}" y="{previous + 4:.1f}">'
                f"{escape(words)}</text>"
            )

    def svg(self) -> str:
        """The finished element."""
        title = escape(self.title)
        return (
            f'<svg class="picture" viewBox="0 0 {self.width:g} {self.height:g}" role="img" aria-label="{title}">'
            f"<title>{title}</title>{''.join(self.parts)}</svg>"
        )


def _shape(name: str, x: float, y: float, r: float) -> str:
    """A marker of about equal area whatever its name, centred on pixels."""
    if name == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    if name == "square":
        s = 0.88 * r
        return f'<rect x="{x - s:.1f}" y="{y - s:.1f}" width="{2 * s:.1f}" height="{2 * s:.1f}"/>'
    if name == "triangle":
        return f'<path d="M{x:.1f} {y - 1.2 * r:.1f}l{1.15 * r:.1f} {2 * r:.1f}h{-2.3 * r:.1f}z"/>'
    if name == "diamond":
        w, h = 1.2 * r, 1.3 * r
        return f'<path d="M{x:.1f} {y - h:.1f}l{w:.1f} {h:.1f}l{-w:.1f} {h:.1f}l{-w:.1f} {-h:.1f}z"/>'
    return f'<path d="M{x - r:.1f} {y - r:.1f}l{2 * r:.1f} {2 * r:.1f}m0 {-2 * r:.1f}l{-2 * r:.1f} {2 * r:.1f}"/>'


Corner = tuple[float, float, float]


def below(corners: Sequence[Corner], level: float) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """The part of a cell where the value is at most `level`, and where its border crosses: by linear interpolation."""
    polygon, crossings = [], []
    for (ax, ay, av), (bx, by, bv) in zip(corners, [*corners[1:], corners[0]]):
        if av <= level:
            polygon.append((ax, ay))
        if (av <= level) != (bv <= level):
            share = (level - av) / (bv - av)
            crossing = (ax + share * (bx - ax), ay + share * (by - ay))
            polygon.append(crossing)
            crossings.append(crossing)
    return polygon, crossings


def contours(
    xs: Sequence[float], ys: Sequence[float], values: Floats, level: float
) -> tuple[str, list[tuple[float, float, float, float]]]:
    """Region {value ≤ level} as an SVG path, and its border as segments (x1, y1, x2, y2), all in pixels.

    Args:
        xs, ys: pixels of the grid's columns and rows.
        values: (rows, columns).
        level: of the contour.
    """
    path, segments = [], []
    for j in range(len(ys) - 1):
        run = None
        for i in range(len(xs) - 1):
            corners = [(xs[a], ys[b], float(values[b, a])) for a, b in ((i, j), (i + 1, j), (i + 1, j + 1), (i, j + 1))]
            if all(v <= level for _, _, v in corners):
                run = xs[i] if run is None else run
                continue
            path += _strip(run, xs[i], ys[j], ys[j + 1])
            run = None
            polygon, crossings = below(corners, level)
            if len(polygon) > 2:
                path.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in polygon) + "Z")
            if len(crossings) == 2:
                segments.append((*crossings[0], *crossings[1]))
        path += _strip(run, xs[-1], ys[j], ys[j + 1])
    return "".join(path), segments


def _strip(start: float | None, stop: float, top: float, bottom: float) -> list[str]:
    """A run of whole cells as one rectangle."""
    return [] if start is None else [f"M{start:.1f} {top:.1f}H{stop:.1f}V{bottom:.1f}H{start:.1f}Z"]


def levels_of(values: Floats, num: int = NUM_SHADES - 1) -> list[float]:
    """Round contour levels that leave about equal areas between them."""
    wanted = np.quantile(values, np.linspace(0.04, 0.96, num))
    digits = max(0, 2 - math.floor(math.log10(float(np.ptp(values)) or 1.0)))
    return sorted({round(float(x), digits) for x in wanted})
