"""Measures with everything they depend on, and the refusal to compare what is not alike.

A Fréchet distance without its extractor, precision, resize, reference and number of samples is a number without a unit:
published values for one set of images differ by 66 against 5 between code bases. So a `Measure` cannot be made without
them, and `Report.compare` raises where one of them differs. Where two reports scored the same documents, they are
compared document by document: what makes a document hard for both models is no doubt about which is better.
`report.json` is the record; `report.html` is for people, one file that needs no network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from motherlode import storage
from motherlode.errors import CorruptError, MeasureError
from motherlode.measures.catalogue import definition
from motherlode.measures.interval import Interval, normal_quantile

FORMAT = 1
JSON = "report.json"
HTML = "report.html"
_UNLIKE = ("extractor", "weights", "dtype", "resize", "reference", "num_samples", "num_reference")


@dataclass(frozen=True)
class Measure:
    """One number and what it was taken with.

    Attributes:
        name: in the catalogue, e.g. "frechet".
        value: the number.
        low, high: ends of the interval; NaN where none can be given.
        level: of the interval.
        method: how the interval was found.
        extractor: name of the features, e.g. "efficientnet-lite0"; of a likelihood, the tokenizer.
        weights: fingerprint of that extractor with its weights and options.
        dtype, resize: what the extractor computed in, and did to images first, or how texts were cut into windows.
        num_samples: generated samples; of a likelihood, documents.
        num_reference: real samples they were compared with; 0 where there are none.
        reference: what those are, e.g. "heldout of dataset 1f2e…".
        direction: "lower" or "higher" is better; "none" where neither is.
        published: the extractor has the weights of the measure's paper, so its short name (FID) may be used.
    """

    name: str
    value: float
    low: float
    high: float
    level: float
    method: str
    extractor: str
    weights: str
    dtype: str
    resize: str
    num_samples: int
    num_reference: int
    reference: str
    direction: str
    published: bool = False

    @classmethod
    def of(cls, name: str, interval: Interval, **taken_with: Any) -> Measure:
        """A measure from an interval; `taken_with` are the remaining fields."""
        return cls(
            name=name,
            value=float(interval),
            low=interval.low,
            high=interval.high,
            level=interval.level,
            method=interval.method,
            direction=definition(name).direction,
            **taken_with,
        )

    @property
    def label(self) -> str:
        """Its name with its extractor: "frechet[efficientnet-lite0]", or "FID" where that name is earned."""
        defined = definition(self.name)
        if self.published and defined.short:
            return defined.short
        named = self.extractor and "extractor" not in defined.across
        return f"{self.name}[{self.extractor}]" if named else self.name

    @property
    def error(self) -> float:
        """The standard error its interval stands for."""
        return (self.high - self.low) / (2 * normal_quantile(self.level))

    def as_dict(self) -> dict[str, Any]:
        """For JSON: NaN becomes null."""
        return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in _items(self)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Measure:
        """The inverse of `as_dict`."""
        known = {field.name for field in fields(cls)}
        content = {key: value for key, value in content.items() if key in known}
        ends = {key: math.nan if content.get(key) is None else content[key] for key in ("low", "high")}
        return cls(**{**content, **ends})


@dataclass(frozen=True)
class Difference:
    """How one measure moved from a report to another.

    Attributes:
        name: of the measure.
        before, after: both values.
        change: after − before, with an interval that treats the two as independent.
        verdict: "better", "worse", "moved" (where neither way is better), "no clear change", or "not known: a bound".
    """

    name: str
    before: Measure
    after: Measure
    change: Interval
    verdict: str


@dataclass(frozen=True)
class Passage:
    """A text to be read in a report.

    Attributes:
        text: as it is.
        note: what to know about it, in a few words.
        mark: (start, end) of the characters to be marked; equal for none.
        beside: a text to be read beside it.
    """

    text: str
    note: str = ""
    mark: tuple[int, int] = (0, 0)
    beside: Passage | None = None


class Report(Mapping[str, Measure]):
    """Measures by name, and the facts and pictures around them.

    Args:
        measures: in the order to be shown.
        facts: what was measured; "title", "notes" (a list of sentences) and "cost" (label → text) are shown.
        pictures: caption → PNG bytes, shown in `report.html` and kept nowhere else.
        history: lines of a run's `metrics.jsonl`, drawn as curves.
        texts: caption → texts, shown in `report.html` and kept nowhere else.
        pulls: measure → how far each document draws it (`interval.ratio_pulls`), for paired comparison.
    """

    def __init__(
        self,
        measures: Mapping[str, Measure],
        facts: Mapping[str, Any] | None = None,
        pictures: Mapping[str, bytes] | None = None,
        history: list[dict[str, Any]] | None = None,
        *,
        texts: Mapping[str, Sequence[Passage]] | None = None,
        pulls: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        self._measures = dict(measures)
        self.facts = dict(facts or {})
        self.pictures = dict(pictures or {})
        self.history = list(history or [])
        self.texts = {caption: list(passages) for caption, passages in (texts or {}).items()}
        self.pulls = {name: [float(f"{pull:.6g}") for pull in found] for name, found in (pulls or {}).items()}

    def __getitem__(self, name: str) -> Measure:
        return self._measures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._measures)

    def __len__(self) -> int:
        return len(self._measures)

    def __repr__(self) -> str:
        shown = ", ".join(f"{measure.label} {measure.value:.4g}" for measure in self.values())
        return f"Report({shown})"

    def compare(self, other: Report) -> list[Difference]:
        """How the measures both reports hold moved from `other` to this one, but for those of `unlike`.

        A measure is compared with itself, or, where the other report lacks it, with the one it bounds.

        Raises:
            MeasureError: they share none, or all of them were taken with another extractor, weights, precision,
                resize, reference or number of samples; the message names the field.
        """
        pairs, refused = self._pairs(other), self.unlike(other)
        if not pairs:
            raise MeasureError(
                "two reports must share a measure to be compared", f"{[*self]} and {[*other]}", "take the same measures"
            )
        if len(refused) == len(pairs):
            raise next(iter(refused.values()))
        return [
            difference(other[theirs], self[mine], other.pulls.get(theirs), self.pulls.get(mine))
            for mine, theirs in pairs
            if mine not in refused
        ]

    def unlike(self, other: Report) -> dict[str, MeasureError]:
        """Measures both reports hold that were not taken alike, and the error that says in what they differ."""
        refused: dict[str, MeasureError] = {}
        for mine, theirs in self._pairs(other):
            try:
                difference(other[theirs], self[mine])
            except MeasureError as error:
                refused[mine] = error
        return refused

    def _pairs(self, other: Report) -> list[tuple[str, str]]:
        """(name here, name there) of the measures that belong together."""
        shared = [(name, name) for name in self if name in other]
        for mine, others in ((self, other), (other, self)):
            bounds = [(name, definition(name).bounds) for name in mine if name not in others]
            found = [pair for pair in bounds if pair[1] in others and pair[1] not in mine]
            shared += found if mine is self else [pair[::-1] for pair in found]
        return shared

    def save(self, folder: str | Path) -> Path:
        """Write `report.json` and `report.html` into a folder; returns the path of the latter."""
        from motherlode.measures.page import render

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        measures = {name: measure.as_dict() for name, measure in self.items()}
        content = {"format": FORMAT, "measures": measures, "order": [*measures], "facts": self.facts}
        content |= {"pulls": self.pulls} if self.pulls else {}
        storage.write_json(folder / JSON, content)
        storage.write_text(folder / HTML, render(self))
        return folder / HTML

    @classmethod
    def open(cls, path: str | Path) -> Report:
        """Read a report from its folder or its `report.json`; the pictures stay in `report.html`.

        Raises:
            MeasureError: there is none, or it is of a later format.
            CorruptError: it cannot be read.
        """
        path = Path(path)
        path = path / JSON if path.is_dir() else path
        if not path.is_file():
            raise MeasureError(
                "there must be a report to open", str(path), storage.near_path(path, "`lode evaluate` writes one")
            )
        content = storage.read_json(path)
        try:
            if content["format"] > FORMAT:
                raise MeasureError("the report must be of a format known here", content["format"], "upgrade motherlode")
            measures = {name: Measure.from_dict(content["measures"][name]) for name in content["order"]}
            return cls(measures, content["facts"], pulls=content.get("pulls"))
        except (KeyError, TypeError) as error:
            raise CorruptError("a report must be complete", str(path), f"evaluate again ({error!r})") from error


def difference(
    before: Measure,
    after: Measure,
    pulls_before: Sequence[float] | None = None,
    pulls_after: Sequence[float] | None = None,
) -> Difference:
    """The change from one measure to another of the same kind, or to the one it bounds.

    Args:
        before, after: both measures.
        pulls_before, pulls_after: of the same documents in the same order, where known: their errors are compared
            document by document.

    Raises:
        MeasureError: they were not taken alike; the message names the field.
    """
    first_defined, defined = definition(before.name), definition(after.name)
    if before.name != after.name and before.name != defined.bounds and first_defined.bounds != after.name:
        raise MeasureError("only like measures compare", f"{before.name} and {after.name}", "compare equal names")
    for field in _UNLIKE:
        first, second = getattr(before, field), getattr(after, field)
        if first != second and field not in defined.across:
            raise MeasureError(
                f"{before.name} can be compared only at the same {field.replace('_', ' ')}",
                f"{first} and {second}",
                "evaluate both with the same settings",
            )
    error, how = math.hypot(before.error, after.error), "normal, independent samples"
    if pulls_before is not None and pulls_after is not None and len(pulls_before) == len(pulls_after) > 1:
        error, how = _paired_error(before, after, pulls_before, pulls_after), "paired, document by document"
    half = normal_quantile(after.level) * error
    value = after.value - before.value
    change = Interval(value, value - half, value + half, after.level, how)
    return Difference(after.name, before, after, change, _verdict(before, after, change))


def _paired_error(
    before: Measure, after: Measure, pulls_before: Sequence[float], pulls_after: Sequence[float]
) -> float:
    """Standard error of a difference over the same documents, as wide as the wider interval of the two was made."""
    num = len(pulls_before)
    plain = [math.sqrt(sum(pull * pull for pull in pulls)) / num for pulls in (pulls_before, pulls_after)]
    widened = [measure.error / error for measure, error in zip((before, after), plain) if error > 0]
    moved = math.sqrt(sum((y - x) ** 2 for x, y in zip(pulls_before, pulls_after))) / num
    return moved * max([1.0, *widened])


def _verdict(before: Measure, after: Measure, change: Interval) -> str:
    if not (change.low > 0 or change.high < 0):
        return "no clear change"
    if after.direction == "none":
        return "moved"
    better = (change < 0) == (after.direction == "lower")
    # A bound says nothing where the other value lies below it.
    loose = after.name if not better else before.name
    other = before.name if not better else after.name
    if definition(loose).bounds == other:
        return "not known: a bound"
    return "better" if better else "worse"


def _items(measure: Measure) -> list[tuple[str, Any]]:
    return list(asdict(measure).items())
