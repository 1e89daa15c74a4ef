"""The data card: what came in, what was dropped and why, what is left, in pictures first.

`card.html` is one file without scripts or outside references, light or dark as the reader's system is; `card.md` says
the same for a repository page. Both are made of the counts in `dataset.json`, the columns of the shards and the contact
sheets, and hold neither times nor paths of this machine, so they are the same wherever the dataset is made.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from motherlode import registry
from motherlode.data import charts
from motherlode.data.dataset import Dataset
from motherlode.data.excerpts import Sample
from motherlode.data.pictures import Sheet, words

if TYPE_CHECKING:
    from jinja2 import Template

FOLDER = "card"
_REASONS = {
    "unreadable": "could not be opened, or lies behind damage in its container",
    "too_large": "larger than max_bytes, so not read",
    "exact_duplicate": "byte for byte the same after normalisation",
    "boilerplate": "made mostly of lines that many documents of its source share",
    "contaminated": "shares a run of words with a text held out for evaluation",
    "outlier": "far from everything else",
    "label_error": "its neighbours have another label",
    "unlabelled": "has no label where the others have one",
    "rare_label": "too few rows of its label",
    "over_label_cap": "beyond the cap of its label",
}
"""What the reasons mean that no modality gives; the modality knows its own."""
_PERSONAL = "personal_"
"""Begins the names of notes that count personal data."""
_MOST_TEXTS = 12
_FEW_VALUES = 6


def write_card(
    dataset: Dataset, sheets: Sequence[Sheet], options: dict[str, Any], samples: Sequence[Sample] | None = None
) -> None:
    """Write `card.html` and `card.md` into the dataset's folder; the sheets lie in `card/` already.

    Args:
        samples: of texts, in the place of sheets.
    """
    context = _context(dataset, sheets, options)
    if samples is not None:
        context |= _text_context(dataset, samples)
    for ending, template in templates(is_text=samples is not None).items():
        (dataset.path / f"card.{ending}").write_text(template.render(context), encoding="utf-8")


@cache
def templates(*, is_text: bool) -> dict[str, Template]:
    """The templates of a card by the ending of what they make, compiled once: a tenth of a second."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("motherlode.data"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    name = "text" if is_text else "card"
    return {ending: environment.get_template(f"{name}.{ending}") for ending in ("html", "md")}


def _context(dataset: Dataset, sheets: Sequence[Sheet], options: dict[str, Any]) -> dict[str, Any]:
    facts = dataset.facts
    licences, sources = (_counts(dataset, name) for name in ("licence", "source"))
    meanings = _meanings(dataset)
    return {
        "title": " + ".join(facts["sources"]),
        "facts": facts,
        "summary": dataset.summary(),
        "funnel": charts.funnel([(step["name"], step["in"], step["kept"]) for step in facts["steps"]]),
        "reasons": [
            {"name": name, "words": words(name), "count": count, "meaning": meanings.get(name, "")}
            for name, count in facts["dropped"].items()
        ],
        "sheets": [_picture(dataset.path, sheet, meanings) for sheet in sheets],
        "histograms": list(_histograms(dataset)),
        "labels": _labels(dataset),
        "label_chart": charts.bars(*_labels(dataset)) if dataset.labels else "",
        "licences": licences,
        "sources": sources,
        "findings": facts["findings"],
        "settings": _settings(options),
    }


def _meanings(dataset: Dataset) -> dict[str, str]:
    return _REASONS | dict(registry.find("modality", dataset.modality).reasons)


def _text_context(dataset: Dataset, samples: Sequence[Sample]) -> dict[str, Any]:
    """What a card of texts has besides: documents to read, and how much of them each source gives."""
    facts, meanings = dataset.facts, _meanings(dataset)
    total = {name: sum(values.values()) for name, values in facts.items() if name.startswith("source_")}
    num_sources = sum(rows > 0 for rows in facts["source_rows"].values())
    shares = [
        {
            "name": name,
            "documents": f"{rows:,}",
            "size": in_units(facts["source_bytes"][name], "B"),
            "tokens": in_units(facts["source_tokens"][name]),
            "share": f"{facts['source_bytes'][name] / total['source_bytes']:.1%}",
            "passes": f"{total['source_bytes'] / num_sources / facts['source_bytes'][name]:.2g}" if rows else "",
        }
        for name, rows in facts["source_rows"].items()
    ]
    found = facts["findings"].get("notes", {})
    personal = {name: count for name, count in found.items() if name.startswith(_PERSONAL)}
    notes = {words(name).lower(): count for name, count in found.items() if name not in personal}
    held_bytes = sum(shard["media_bytes"] for shard in facts["shards"]["heldout"])
    return {
        "samples": [
            {
                "sheet": sample.sheet,
                "items": sample.items,
                "meaning": meanings.get(sample.sheet.name.removeprefix("dropped-"), ""),
            }
            for sample in samples
        ],
        "shares": shares,
        "personal": {name.removeprefix(_PERSONAL).replace("_", " "): count for name, count in personal.items()},
        "findings": facts["findings"] | {"notes": notes},
        "size": {
            "train": in_units(total["source_bytes"], "B"),
            "heldout": in_units(held_bytes, "B"),
            "tokens": in_units(total["source_tokens"]),
        },
    }


def in_units(number: float, unit: str = "") -> str:
    """A number with three signs and a prefix: "3.4 MB" of unit B, "12 k" of none."""
    for prefix in ("", "k", "M", "G"):
        if number < 999.5 or prefix == "G":
            break
        number /= 1000
    return f"{number:,.3g} {prefix}{unit}".rstrip() if number < 999.5 else f"{number:,.0f} {prefix}{unit}"


def _picture(folder: Path, sheet: Sheet, meanings: Mapping[str, str]) -> dict[str, str]:
    data = base64.b64encode((folder / FOLDER / f"{sheet.name}.webp").read_bytes()).decode()
    reason = sheet.name.removeprefix("dropped-")
    return {
        "file": f"{FOLDER}/{sheet.name}.webp",
        "title": sheet.title,
        "text": sheet.text,
        "group": sheet.group,
        "meaning": meanings.get(reason, "") if sheet.group in ("dropped", "doubles") else "",
        "source": f"data:image/webp;base64,{data}",
    }


def _histograms(dataset: Dataset) -> Iterator[dict[str, str]]:
    """One chart a measured column: numbers as histograms of kept against dropped, texts as bars."""
    train, heldout, dropped = (dataset.split(name) for name in ("train", "heldout", "dropped"))
    is_text = str(train.schema.field(dataset.column).type) == "string"
    for name in dataset.facts["measured"]:
        if str(train.schema.field(name).type) == "string":
            counts = _counts(dataset, name)
            yield _few_values(name, counts)
            continue
        kept = np.concatenate([train.column(name), heldout.column(name)])
        values, counts_V = np.unique(kept, return_counts=True)
        if len(values) <= (_FEW_VALUES if np.issubdtype(kept.dtype, np.integer) else 1):
            named = [charts.short(float(value)) for value in values]
            yield _few_values(name, dict(zip(named, counts_V.tolist())))
            continue
        kept = kept.astype(np.float64)
        others = dropped.column(name).astype(np.float64)
        chart = charts.histogram(kept, others[others != 0], may_log=is_text)
        yield {"name": words(name), "chart": chart, "text": ""}


def _few_values(name: str, counts: dict[str, int]) -> dict[str, str]:
    if len(counts) > 1:
        return {"name": words(name), "chart": charts.bars(counts, narrow=True), "text": ""}
    return {"name": words(name), "chart": "", "text": f"{next(iter(counts), 'nothing')} everywhere"}


def _labels(dataset: Dataset) -> tuple[dict[str, int], dict[str, int]]:
    """Rows of each label in all, and of those the held-out ones."""
    names = dataset.labels
    if not names:
        return {}, {}
    by_split = [
        np.bincount(np.maximum(dataset.split(split).column("label"), 0), minlength=len(names))
        for split in ("train", "heldout")
    ]
    total = by_split[0] + by_split[1]
    return dict(zip(names, total.tolist())), dict(zip(names, by_split[1].tolist()))


def _counts(dataset: Dataset, column: str) -> dict[str, int]:
    """How often each value of a column occurs among the kept rows, most frequent first."""
    import pyarrow.compute as pc

    counts: Counter[str] = Counter()
    for split in ("train", "heldout"):
        for batch in dataset.split(split).batches([column], 1 << 16):
            found = pc.value_counts(batch.column(column))
            counts.update({item["values"] or "not stated": item["counts"] for item in found.to_pylist()})
    return dict(counts.most_common(_MOST_TEXTS))


def _settings(options: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Options as `section.key` → text; what was left at its default too, for a card should stand alone."""
    settings: dict[str, str] = {}
    for name, value in options.items():
        if name == "source" or value in (None, {}, [], ()):
            continue
        if isinstance(value, dict):
            settings |= _settings(value, f"{prefix}{name}.")
        else:
            settings[prefix + name] = str(value)
    return settings
