"""Makes `report.html` of a report: one file, no script, no network, light or dark as the reader's system is."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from motherlode.measures import charts
from motherlode.measures.catalogue import FIELD, HARNESS, definition
from motherlode.measures.report import Measure, Passage, Report

_HEADINGS = {
    "frechet": "Distance to real images",
    "kernel": "Distance to real images",
    "motion": "How it moves",
    "flicker": "How it moves",
    "inception_score": "Fidelity and variety",
    "coverage": "Fidelity and variety",
    "diversity": "Fidelity and variety",
    "memorisation": "Memorisation",
    "reconstruction": "What comes back",
    "codes": "What comes back",
    "listeners": "What listeners would say",
    "likelihood": "How well it predicts",
    "overfitting_bits": "How well it predicts",
    "bound": "How well it predicts",
    "masked": "How well it predicts",
    "mauve": "Fidelity and variety",
    "variety": "Fidelity and variety",
    "verbatim": "Memorisation",
    HARNESS: "Tasks",
    FIELD: "What is made of what",
}
_HEADLINE = (
    "frechet",
    "frechet_motion",
    "kernel",
    "precision",
    "recall",
    "coverage",
    "copies",
    "psnr",
    "reconstruction_frechet",
    "codebook_use",
    "bits_per_byte",
    "bits_per_byte_bound",
    "perplexity",
    "masked_accuracy",
    "mauve",
    "distinct_2",
    "repetition",
    "verbatim",
)
_CURVES = {"heldout": "held-out score", "inspect": "diagnostics"}
_ARROWS = {"lower": "lower is better", "higher": "higher is better", "none": ""}


def render(report: Report) -> str:
    """The page as text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("motherlode.measures"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        title=report.facts.get("title", "Report"),
        subtitle=report.facts.get("subtitle", ""),
        notes=report.facts.get("notes", []),
        cost=report.facts.get("cost", {}),
        headline=list(_headline(report)),
        sections=list(_sections(report)),
        pictures=list(_pictures(report)),
        texts=list(_texts(report)),
        curves=list(_curves(report)),
        settings=_settings(report),
    )


def _headline(report: Report) -> Iterator[dict[str, str]]:
    """The numbers a reader wants first."""
    for name in _HEADLINE:
        if name in report:
            measure = report[name]
            floor = report.get(definition(name).floor)
            yield {
                "title": definition(name).title,
                "value": _value(measure, measure.value),
                "range": _range(measure),
                "floor": "" if floor is None else f"{definition(floor.name).mark} {_value(floor, floor.value)}",
            }


def _sections(report: Report) -> Iterator[dict[str, Any]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, measure in report.items():
        defined = definition(name)
        marks = {}
        floor = report.get(defined.floor)
        if floor is not None:
            marks[definition(floor.name).mark] = floor.value
        if defined.target is not None:
            marks[defined.mark] = defined.target
        rows.setdefault(_HEADINGS[defined.group], []).append(
            {
                "title": defined.title,
                "label": measure.label,
                "value": _value(measure, measure.value),
                "range": _range(measure),
                "bar": charts.interval_bar(measure.value, measure.low, measure.high, marks),
                "marks": [f"{label} {_value(measure, at)}" for label, at in marks.items()],
                "better": _ARROWS[measure.direction],
                "meaning": defined.meaning,
                "counts": _counts(measure),
                "method": f"{measure.level:.0%} interval: {measure.method}",
            }
        )
    for heading, found in rows.items():
        yield {"heading": heading, "rows": found}


def _counts(measure: Measure) -> str:
    samples = charts.number(float(measure.num_samples))
    real = charts.number(float(measure.num_reference))
    return f"{samples} against {real} real" if measure.num_reference else samples


def _range(measure: Measure) -> str:
    """Both ends of the interval; nothing where there is none."""
    if measure.low != measure.low:
        return ""
    return f"{_value(measure, measure.low)} to {_value(measure, measure.high)}"


def _value(measure: Measure, x: float) -> str:
    """Shares as percentages, the rest as they are."""
    if definition(measure.name).share and x == x:
        return f"{100 * x:.1f}".removesuffix(".0") + "\u202f%"
    return charts.number(x)


def _kind(picture: bytes) -> str:
    return "image/webp" if picture[8:12] == b"WEBP" else "image/png"


def _pictures(report: Report) -> Iterator[dict[str, str]]:
    for caption, content in report.pictures.items():
        data = base64.b64encode(content).decode()
        title, _, text = caption.partition(": ")
        yield {"title": title, "text": text, "source": f"data:{_kind(content)};base64,{data}"}


def _texts(report: Report) -> Iterator[dict[str, Any]]:
    for caption, passages in report.texts.items():
        title, _, about = caption.partition(": ")
        yield {
            "title": title,
            "text": about,
            "pairs": any(passage.beside is not None for passage in passages),
            "passages": [[_parts(one) for one in (passage, passage.beside) if one] for passage in passages],
        }


def _parts(passage: Passage) -> dict[str, str]:
    """A text cut where its mark begins and ends."""
    start, end = passage.mark
    text = passage.text
    return {"before": text[:start], "marked": text[start:end], "after": text[end:], "note": passage.note}


def _curves(report: Report) -> Iterator[dict[str, str]]:
    """Losses of every turn, then what the looks measured, one chart a prefix ("critic/loss" → critic)."""
    series: dict[str, dict[str, list[charts.Point]]] = {}
    for line in report.history:
        for key, value in line.items():
            prefix, slash, name = key.partition("/")
            if slash and isinstance(value, int | float):
                series.setdefault(prefix, {}).setdefault(name, []).append((float(line["step"]), float(value)))
    for prefix, found in series.items():
        for names in _by_scale(found):
            chart = charts.curves({name: found[name] for name in names})
            if chart:
                yield {"title": _CURVES.get(prefix, prefix), "chart": chart}


def _by_scale(series: dict[str, list[charts.Point]]) -> list[list[str]]:
    """Names split into charts so that no line is flat because another is a hundred times larger."""
    sizes = {name: sum(abs(y) for _, y in points) / len(points) for name, points in series.items()}
    groups: list[list[str]] = []
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        if groups and sizes[name] * 6 >= sizes[groups[-1][0]] and len(groups[-1]) < 5:
            groups[-1].append(name)
        else:
            groups.append([name])
    return groups


def _settings(report: Report) -> dict[str, str]:
    """What all measures were taken with, said once where they agree."""
    settings: dict[str, str] = {}
    for title, field in (("extractor", "extractor"), ("computed in", "dtype"), ("resize or window", "resize")):
        found = dict.fromkeys(str(getattr(measure, field)) for measure in report.values() if getattr(measure, field))
        settings[title] = " · ".join(found)
    settings["reference"] = next((measure.reference for measure in report.values() if measure.reference), "")
    settings["intervals"] = ", ".join(dict.fromkeys(f"{m.level:.0%}" for m in report.values()))
    for key in ("variant", "checkpoint", "seed", "dataset", "created"):
        if report.facts.get(key) not in (None, ""):
            settings[key] = str(report.facts[key])
    return {key: value for key, value in settings.items() if value}
