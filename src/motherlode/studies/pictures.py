"""The four pictures of a plan: the pilots and the law, where you stand, what money buys, what was foretold and came.

Everything drawn comes from the law and its pilots; nothing is smoothed for looks. They take about 0.25 s, nearly all of
it V(U, C) on the map and along the arms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from motherlode.studies.drawing import COLOURS, NUM_SHADES, Picture, contours, levels_of
from motherlode.studies.intervals import COMPUTE, Origin, z_of
from motherlode.studies.law import Law
from motherlode.studies.laws import Floats
from motherlode.studies.runs import Runs
from motherlode.studies.value import value
from motherlode.studies.words import amount, money

if TYPE_CHECKING:
    from motherlode.studies.backtest import Score
    from motherlode.studies.plan import Plan

_DRAWS = 120
_MAP = 31
_NUM_FACETS, _NUM_SIZES = 4, 4
_ROOM = 0.06
_APART = 40.0  # pixels between two labels
_SAME = 0.15  # in log: sizes or amounts of data that count as one level


def pilots_and_curves(law: Law) -> list[tuple[str, str]]:
    """A titled picture for each amount of unique data with cells enough: loss over samples, a curve a model size."""
    runs = law.runs
    base = runs.where(runs.group == 0)
    facets = _common(base.U, _NUM_FACETS) if runs.has_unique and law.sees_unique else [0.0]
    kept = [base if unique == 0.0 else base.where(np.abs(np.log(base.U / unique)) < _SAME) for unique in facets]
    kept = [part for part in kept if len(part) > 2] or [base]
    loss = np.concatenate([part.loss for part in kept])
    span = float(np.log(loss.max() / loss.min()))
    y_range = (float(loss.min()) * np.exp(-0.08 * span), float(loss.max()) * np.exp(0.08 * span))
    out = []
    for part in kept:
        unique = float(np.median(part.U)) if runs.has_unique and law.sees_unique else None
        title = "all pilots" if unique is None else f"{amount(unique)} unique samples"
        out.append((title, _facet(law, part, unique, y_range, title)))
    return out


def _facet(law: Law, part: Runs, unique: float | None, y_range: tuple[float, float], title: str) -> str:
    x_range = (float(part.D.min()) / 1.6, float(part.D.max()) * 1.6)
    picture = Picture.framed(title, x_range, y_range, size=(460, 300), log_x=True, log_y=True, margins=(14, 64, 44, 54))
    picture.axes("samples seen", "loss", amount, lambda x: f"{x:.3g}")
    ends = []
    for index, size in enumerate(_common(part.N, _NUM_SIZES)):
        near = np.abs(np.log(part.N / size)) < _SAME
        colour = COLOURS[index]
        grid = np.geomspace(x_range[0] * 1.1, x_range[1], 60)
        middle, low, high = law.predict(size, grid, grid if unique is None else unique)
        picture.band(grid, low, high, colour)
        picture.line(grid, middle, colour)
        ends.append((picture.y(float(np.clip(middle[-1], *y_range))), amount(size), colour))
        for seen, loss in zip(part.D[near], part.loss[near]):
            hint = f"{amount(size)} parameters, {amount(seen)} samples: {loss:.4g}"
            picture.marker(float(seen), float(loss), index, hint)
    picture.labels(ends, 13)
    return picture.svg()


def _common(values: Floats, num: int) -> list[float]:
    """Up to `num` levels that hold the most values (within 15 %), ascending."""
    logs = np.sort(np.log(values))
    groups: list[list[float]] = []
    for x in logs:
        if groups and x - groups[-1][0] < _SAME:
            groups[-1].append(float(x))
        else:
            groups.append([float(x)])
    groups.sort(key=lambda g: -len(g))
    return sorted(float(np.exp(np.mean(g))) for g in groups[:num])


def isoquant_map(plan: Plan) -> str:
    """Quality over unique data and compute: contours, budget line, best path, where you stand."""
    law, asked = plan.law, plan.question
    data_most = asked.unique + min(asked.data.quantity(asked.budget), 1e3 * asked.unique)
    flops_most = asked.flops + asked.flops_for(asked.budget)
    u_range = (asked.unique / 8, max(data_most * 2.5, asked.unique * 8))
    c_range = (asked.flops / 8, max(flops_most * 2.5, asked.flops * 8))
    picture = Picture.framed(
        "quality over unique data and compute", u_range, c_range, size=(760, 500), log_x=True, log_y=True,
        margins=(16, 16, 48, 72),
    )  # fmt: skip
    owned, spent = np.geomspace(*u_range, _MAP), np.geomspace(*c_range, _MAP)
    grid = value(
        law, np.tile(owned, _MAP), np.repeat(spent, _MAP), treatment=asked.treatment, draws=0, beyond=plan.beyond
    ).log_loss
    losses = np.exp(grid).reshape(_MAP, _MAP)
    _fill(picture, owned, spent, losses)
    _pilot_box(picture, law.runs, u_range, c_range)
    picture.axes("unique samples owned", "training compute, FLOPs", amount, _power, grid=False)
    _budget_line(picture, plan)
    path = _best_path(plan)
    picture.line(path[:, 0], path[:, 1], "var(--ink)", "path", "2 5")
    _flag(picture, asked.unique, asked.flops, "you are here", "here")
    _flag(
        picture, plan.best["unique"], plan.best["compute"], f"best use of {money(asked.budget, asked.currency)}", "goal"
    )
    return picture.svg()


def law_map(law: Law) -> str:
    """Quality over unique data and compute, over what the pilots cover and a little beyond; no prices."""
    runs = law.runs
    room = 2.5
    u_range = (float(runs.U.min()) / room, float(runs.U.max()) * room)
    c_range = (float(runs.flops.min()) / room, float(runs.flops.max()) * room)
    picture = Picture.framed(
        "best quality over unique data and compute", u_range, c_range, size=(760, 460), log_x=True, log_y=True,
        margins=(16, 16, 48, 72),
    )  # fmt: skip
    owned, spent = np.geomspace(*u_range, _MAP), np.geomspace(*c_range, _MAP)
    grid = value(law, np.tile(owned, _MAP), np.repeat(spent, _MAP), draws=0).log_loss
    _fill(picture, owned, spent, np.exp(grid).reshape(_MAP, _MAP))
    _pilot_box(picture, runs, u_range, c_range)
    picture.axes("unique samples owned", "training compute, FLOPs", amount, _power, grid=False)
    return picture.svg()


def _fill(picture: Picture, owned: Floats, spent: Floats, losses: Floats) -> None:
    xs, ys = [picture.x(float(u)) for u in owned], [picture.y(float(c)) for c in spent]
    levels = levels_of(losses, NUM_SHADES - 1)
    across, down = xs[-1] - xs[0], ys[0] - ys[-1]
    picture.parts.append(
        f'<rect style="fill:var(--m0)" x="{xs[0]:.1f}" y="{ys[-1]:.1f}" width="{across:.1f}" height="{down:.1f}"/>'
    )
    labels = []
    for rank, level in enumerate(reversed(levels)):
        path, segments = contours(xs, ys, losses, level)
        picture.parts.append(f'<path class="fill" style="fill:var(--m{rank + 1})" d="{path}"/>')
        lines = "".join(f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}" for a, b, c, d in segments)
        picture.parts.append(f'<path class="contour" d="{lines}"/>')
        if segments:
            best = min(segments, key=lambda s: _off_diagonal(s[0], s[1], xs, ys))
            labels.append((best[0], best[1], f"{level:g}"))
    for right, low, words in labels:
        picture.text(right, low, words, "middle", "level", shift=4)


def _off_diagonal(right: float, down: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """How far a point lies from the line along which contour labels are put."""
    return abs((right - xs[0]) / (xs[-1] - xs[0]) + (down - ys[0]) / (ys[0] - ys[-1]) + 0.12)


def _pilot_box(picture: Picture, runs: Runs, u_range: tuple[float, float], c_range: tuple[float, float]) -> None:
    """The pilots as dots and the edge of what they cover."""
    for unique, flops in zip(runs.U, runs.flops):
        if u_range[0] < unique < u_range[1] and c_range[0] < flops < c_range[1]:
            picture.parts.append(
                f'<circle class="pilot" cx="{picture.x(unique):.1f}" cy="{picture.y(flops):.1f}" r="2.2"/>'
            )
    edges = [
        (float(runs.U.max()), True, "pilots' data end here →"),
        (float(runs.flops.max()), False, "pilots' compute ends here ↑"),
    ]
    for edge, vertical, words in edges:
        bounds = u_range if vertical else c_range
        if not bounds[0] < edge < bounds[1]:
            continue
        at = picture.x(edge) if vertical else picture.y(edge)
        ends = (at, picture.y.start, at, picture.y.stop) if vertical else (picture.x.start, at, picture.x.stop, at)
        picture.parts.append('<line class="edge" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>'.format(*ends))
        crowded = vertical and at > 0.75 * picture.x.stop
        right, down = (at + (-6 if crowded else 6), picture.y.start - 8) if vertical else (picture.x.start + 8, at + 15)
        picture.text(right, down, words, "end" if crowded else "start", "halo")


def _budget_line(picture: Picture, plan: Plan) -> None:
    """Everything the budget can reach from where you stand."""
    asked = plan.question
    shares = np.concatenate([[0.0], np.geomspace(1e-3, 0.5, 24), 1 - np.geomspace(0.5, 1e-3, 24), [1.0]])
    data = [asked.unique + asked.data.quantity(s * asked.budget) for s in shares]
    flops = [asked.flops + asked.flops_for((1 - s) * asked.budget) for s in shares]
    picture.line([min(u, picture.x.high) for u in data], flops, "var(--ink)", "budget")
    at = picture.x(data[0]), picture.y(flops[0])
    goal = picture.x(plan.best["unique"]), picture.y(plan.best["compute"])
    if math.dist(at, goal) > _APART:  # else the goal's own label stands here
        picture.text(at[0] + 4, at[1] - 9, f"what {money(asked.budget, asked.currency)} reaches", "start", "halo")


def _best_path(plan: Plan) -> Floats:
    """(K, 2) unique data and compute of the best split as the budget grows to four times."""
    asked = plan.question
    stops = [(asked.unique, asked.flops)]
    shares = np.linspace(0.0, 1.0, 33)
    for factor in np.geomspace(0.05, 4.0, 14):
        budget = factor * asked.budget
        data = np.asarray([asked.unique + asked.data.quantity(s * budget) for s in shares])
        flops = np.asarray([asked.flops + asked.flops_for((1 - s) * budget) for s in shares])
        found = value(plan.law, data, flops, treatment=asked.treatment, draws=0, beyond=plan.beyond).log_loss
        lead = int(np.argmin(found))
        stops.append((float(data[lead]), float(flops[lead])))
    return np.asarray(stops)


def _flag(picture: Picture, unique: float, flops: float, words: str, css: str) -> None:
    right, down = picture.x(unique), picture.y(flops)
    picture.parts.append(f'<circle class="{css}" cx="{right:.1f}" cy="{down:.1f}" r="7"/>')
    left = right > 0.7 * picture.x.stop
    picture.text(
        right + (-12 if left else 12),
        down,
        words,
        "end" if left else "start",
        "flag",
        shift=20 if css == "here" else -10,
    )


def what_money_buys(plan: Plan) -> str:
    """Gain over money spent, a curve with a 90 % band for each arm."""
    asked = plan.question
    spent = np.concatenate([[0.0], np.geomspace(0.02, 1.0, 13)]) * asked.budget
    curves: list[tuple[str, Floats, Floats, Floats]] = []
    for arm in plan.arms:
        rows = [_arm_gain(plan, arm.kind, arm.name, float(x)) for x in spent]
        middle, low, high = np.asarray(rows).T
        curves.append((arm.name if arm.kind != "compute" else "GPU-hours", middle, low, high))
    top = max(float(c[3].max()) for c in curves)
    bottom = min(0.0, *(float(c[2].min()) for c in curves))
    picture = Picture.framed(
        "what money buys on each arm", (0.0, asked.budget), (bottom * 100, max(top * 108, 1.0)), size=(560, 340),
        margins=(14, 104, 46, 56),
    )  # fmt: skip
    picture.axes("spent on one thing", "better loss, %", lambda x: money(x, asked.currency), lambda x: f"{x:g}")
    ends = []
    for index, (name, middle, low, high) in enumerate(curves):
        picture.band(spent, low * 100, high * 100, COLOURS[index % 5])
        picture.line(spent, middle * 100, COLOURS[index % 5], dash="" if index == 0 else "7 4" if index == 1 else "2 3")
        ends.append((picture.y(float(middle[-1]) * 100), name, COLOURS[index % 5]))
    picture.labels(ends, 15)
    return picture.svg()


def _arm_gain(plan: Plan, kind: str, name: str, spent: float) -> tuple[float, float, float]:
    """Relative gain of spending on one arm: (estimate, 5 %, 95 %) over draws with the local error in."""
    asked, law = plan.question, plan.law
    unique, flops, treatment, share = asked.unique, asked.flops, asked.treatment, 1.0
    if kind == "data":
        unique += asked.data.quantity(spent)
    elif kind == "compute":
        flops += asked.flops_for(spent)
    else:
        treatment, share = name, min(asked.cleaning[name].quantity(spent) / unique, 1.0)
    before = value(law, asked.unique, asked.flops, treatment=asked.treatment, draws=_DRAWS, beyond=plan.beyond)
    after = value(law, unique, flops, treatment=treatment, share=share, draws=_DRAWS, beyond=plan.beyond)
    centre = 1 - float(np.exp(after.log_loss[0] - before.log_loss[0]))
    gains = 1 - np.exp(after.draws[:, 0] - before.draws[:, 0])
    low, high = np.quantile(gains, [0.05, 0.95]) if gains.size else (centre, centre)
    moved = min(np.log(max(unique / asked.unique, flops / asked.flops, 1.0)) / np.log(2.0), 1.0)
    error = z_of(0.9) * np.sqrt(2.0) * law.discrepancy.local * (moved if kind != "treatment" else share)
    return centre, centre - float(np.hypot(centre - low, error)), centre + float(np.hypot(high - centre, error))


def held_back(law: Law) -> tuple[str, str] | None:
    """Pilots the law had not seen: what a refit on the smaller ones said, against what happened; and a caption."""
    origin = _telling([origin for origin in law.origins if origin.axis == COMPUTE])
    if origin is None:
        return None
    weights = {m.form: m.far for m in law.members if m.form in origin.predicted and m.far > 0}
    if not weights:
        return None
    total = sum(weights.values())
    misses = origin.errors({name: weight / total for name, weight in weights.items()})
    told = origin.actual * np.exp(misses)
    wide = np.exp(z_of(0.9) * np.hypot(law.discrepancy.noise, law.discrepancy.rate * origin.horizon))
    picture, num_inside = _against(origin.actual, told, told / wide, told * wide)
    caption = (
        f"The law refitted to the {origin.num_fitted} pilots at most {10**-origin.decades:.2g} of the top compute, "
        f"asked for the {origin.actual.size} above. Median error {np.median(np.abs(misses)):.1%}; {num_inside} of "
        f"{origin.actual.size} inside the width that the whole law has at their distance (orange squares: outside). It "
        "was set on these same pilots: their share inside checks its shape and proves nothing."
    )
    return picture, caption


def foretold(score: Score) -> tuple[str, str]:
    """Runs that a law had not seen, against what it said of them, each with its own interval; and a caption."""
    picture, num_inside = _against(score.actual, score.estimate, score.low, score.high)
    caption = (
        f"A law fitted to the {score.num_pilots} cells at most {score.share:.2g} of the top compute, asked for the "
        f"{score.num_held} above. Median error {score.error:.1%}; {num_inside} of {score.num_held} inside the 90 % "
        "intervals that it gave (orange squares: outside)."
    )
    return picture, caption


def _against(actual: Floats, told: Floats, low: Floats, high: Floats) -> tuple[str, int]:
    """What happened, across; what was foretold, with its interval, upwards; and how many are inside theirs."""
    values = np.concatenate([told, actual])
    span = float(np.log(values.max() / values.min())) or 0.01
    bounds = (float(values.min()) * np.exp(-_ROOM * span), float(values.max()) * np.exp(_ROOM * span))
    picture = Picture.framed(
        "prediction against outcome", bounds, bounds, size=(430, 400), log_x=True, log_y=True, margins=(14, 18, 48, 58)
    )
    picture.axes("what happened", "what was foretold", lambda x: f"{x:.3g}", lambda x: f"{x:.3g}")
    picture.line(bounds, bounds, "var(--soft)", "diagonal", "5 4")
    inside = (low <= actual) & (actual <= high)
    for was, said, least, most, hit in zip(*(values.tolist() for values in (actual, told, low, high, inside))):
        hue = 0 if hit else 1
        picture.bar(was, least, most, COLOURS[hue])
        picture.marker(was, said, hue, f"foretold {said:.4g} ({least:.4g} to {most:.4g}), was {was:.4g}")
    return picture.svg(), int(inside.sum())


def _telling(origins: Sequence[Origin]) -> Origin | None:
    """The origin nearest to one decade that held back at least eight pilots, or the most."""
    most = max((o.actual.size for o in origins), default=0)
    able = [o for o in origins if o.actual.size >= min(8, most)]
    return min(able, key=lambda o: abs(o.decades - 1.0), default=None)


def probability_bar(plan: Plan) -> list[dict[str, object]]:
    """Shares of the votes for the page's stacked bar, largest first, with colours that keep to an arm."""
    order = {"data": 0, "compute": 1, "treatment": 2, "neither": 3}
    shares = [(name, share) for name, share in plan.probability.items() if share > 0.004]
    names = {"data": "data", "compute": "GPU-hours", "treatment": "better data", "neither": "neither"}
    return [
        {
            "name": names[name],
            "percent": 100 * share,
            "colour": COLOURS[order[name]] if order[name] < 3 else "var(--soft)",
        }
        for name, share in sorted(shares, key=lambda pair: -pair[1])
    ]


def _power(number: float) -> str:
    """1e18 → "10¹⁸"; other mantissas in front."""
    exponent = int(np.floor(np.log10(number) + 1e-9))
    mantissa = number / 10.0**exponent
    digits = str(exponent).translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"))
    return f"10{digits}" if abs(mantissa - 1) < 1e-6 else f"{mantissa:.2g}·10{digits}"
