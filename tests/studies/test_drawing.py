"""Drawings: scales, ticks and contours against geometry."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motherlode.studies.drawing import Picture, Scale, contours, levels_of


@given(st.floats(1e-6, 1e6), st.floats(1.3, 1e9), st.booleans())
@settings(max_examples=100, deadline=None)
def test_ticks_lie_inside_and_are_several(low: float, factor: float, log: bool) -> None:
    scale = Scale(low, low * factor, 0.0, 100.0, log)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 12
    assert all(-0.5 <= scale(tick) <= 100.5 for tick in ticks)


def test_scales_hit_their_ends() -> None:
    assert Scale(1.0, 100.0, 10.0, 20.0, log=True)(10.0) == pytest.approx(15.0)
    assert Scale(0.0, 4.0, 100.0, 0.0)(1.0) == pytest.approx(75.0)


def test_a_contour_of_a_plane_is_its_line_and_its_area() -> None:
    xs = ys = np.linspace(0.0, 10.0, 11).tolist()
    values = np.add.outer(np.asarray(ys), np.asarray(xs))
    path, segments = contours(xs, ys, values, 7.5)
    for x1, y1, x2, y2 in segments:
        assert x1 + y1 == pytest.approx(7.5)
        assert x2 + y2 == pytest.approx(7.5)
    assert _area(path) == pytest.approx(7.5**2 / 2)


def _area(path: str) -> float:
    """Sum of the areas of the path's rings."""
    total = 0.0
    for ring in path.split("Z")[:-1]:
        box = re.fullmatch(r"M([\d.]+) ([\d.]+)H([\d.]+)V([\d.]+)H[\d.]+", ring)
        if box:
            left, top, right, bottom = map(float, box.groups())
            total += (right - left) * (bottom - top)
        else:
            points = np.asarray([tuple(map(float, p.split())) for p in ring[1:].split("L")])
            x, y = points.T
            total += abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2
    return total


def test_levels_are_round_and_ascend() -> None:
    levels = levels_of(np.random.default_rng(0).normal(3.0, 0.2, (20, 20)))
    assert levels == sorted(set(levels))
    assert 4 <= len(levels) <= 8


def test_words_are_escaped() -> None:
    picture = Picture.framed("a<b", (0, 1), (0, 1))
    picture.axes("x & y", "y", str, str)
    picture.labels([(5.0, "<evil>", "red"), (6.0, "b", "red")], 12)
    for index in range(6):
        picture.marker(0.5, 0.5, index, "1 < 2")
    text = picture.svg()
    assert "<evil>" not in text
    assert "a&lt;b" in text
    assert "x &amp; y" in text
