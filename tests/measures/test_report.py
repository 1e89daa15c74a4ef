"""Reports keep what a number depends on, refuse to compare unlike with unlike, and make a page whole in itself."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from motherlode.errors import CorruptError, MeasureError
from motherlode.measures import charts
from motherlode.measures.catalogue import CATALOGUE, GROUPS, expand
from motherlode.measures.interval import Interval
from motherlode.measures.report import Measure, Report

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c626001000000050001a5f645400000000049454e44ae426082"
)


def measure(name: str = "frechet", value: float = 200.0, half: float = 10.0, **changes: object) -> Measure:
    made = Measure.of(
        name,
        Interval(value, value - half, value + half, 0.9, "made up"),
        extractor="efficientnet-lite0",
        weights="f00d",
        dtype="float32",
        resize="bilinear 64",
        num_samples=1000,
        num_reference=900,
        reference="heldout of dataset 1f2e",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def report(**values: float) -> Report:
    return Report({name: measure(name, value) for name, value in values.items()}, {"title": "run"})


def test_a_number_carries_its_extractor() -> None:
    assert measure().label == "frechet[efficientnet-lite0]"
    assert measure(published=True, extractor="inception-v3").label == "FID"
    assert measure("kernel", published=True).label == "KID"
    assert measure("precision", published=True).label == "precision[efficientnet-lite0]"
    assert measure().direction == "lower"
    assert measure().error == pytest.approx(10 / 1.6449, rel=1e-3)


def test_saved_and_opened(tmp_path: Path) -> None:
    made = report(frechet=200.0, kernel=0.01)
    endless = measure("frechet_infinity", 3.0, math.nan)
    made = Report({**made, "frechet_infinity": endless}, made.facts)
    page = made.save(tmp_path)
    assert page == tmp_path / "report.html"
    for path in (tmp_path, tmp_path / "report.json"):
        opened = Report.open(path)
        assert list(opened) == ["frechet", "kernel", "frechet_infinity"]
        assert opened["frechet"] == made["frechet"]
        assert math.isnan(opened["frechet_infinity"].low)
        assert opened.facts == made.facts


def test_missing_later_and_broken_reports(tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match="must be a report"):
        Report.open(tmp_path)
    (tmp_path / "report.json").write_text('{"format": 99}')
    with pytest.raises(MeasureError, match="format known"):
        Report.open(tmp_path)
    (tmp_path / "report.json").write_text('{"format": 1, "measures": {}}')
    with pytest.raises(CorruptError, match="complete"):
        Report.open(tmp_path)
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(CorruptError):
        Report.open(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("extractor", "inception-v3", "same extractor"),
        ("weights", "beef", "same weights"),
        ("dtype", "bfloat16", "same dtype"),
        ("resize", "none", "same resize"),
        ("num_samples", 500, "same num samples"),
        ("num_reference", 500, "same num reference"),
        ("reference", "heldout of dataset 9999", "same reference"),
    ],
)
def test_unlike_is_not_compared_with_unlike(field: str, value: object, told: str) -> None:
    other = Report({"frechet": measure(**{field: value})})
    with pytest.raises(MeasureError, match=told) as caught:
        report(frechet=200.0).compare(other)
    assert str(value) in str(caught.value)


def test_like_is_compared_with_like() -> None:
    after, before = (
        report(frechet=150.0, inception_score=30.0, diversity=9.0),
        report(frechet=200.0, inception_score=60.0),
    )
    found = {difference.name: difference for difference in after.compare(before)}
    assert set(found) == {"frechet", "inception_score"}
    assert found["frechet"].verdict == "better"
    assert found["frechet"].change == -50
    assert found["inception_score"].verdict == "worse"
    assert report(frechet=195.0).compare(before)[0].verdict == "no clear change"
    assert report(diversity=90.0).compare(report(diversity=5.0))[0].verdict == "moved"
    # Halves add up in quadrature: 10 and 10 make 14.1.
    assert found["frechet"].change.high == pytest.approx(-50 + 10 * math.sqrt(2))
    with pytest.raises(MeasureError, match="share a measure"):
        report(frechet=1.0).compare(report(kernel=1.0))


def test_the_page_is_whole_and_needs_nothing(tmp_path: Path) -> None:
    history = [{"kind": "train", "step": i, "critic/loss": 1 / (i + 1), "generator/loss": i} for i in range(900)]
    values = dict.fromkeys(CATALOGUE, 0.5)
    made = Report(
        {name: measure(name, value, 0.1) for name, value in values.items()},
        {
            "title": "<b>run</b>",
            "notes": ["A note & more."],
            "cost": {"time": "12 s"},
            "variant": "ema",
        },
        {"Generated: samples <as> they come": PIXEL},
        history,
    )
    page = made.save(tmp_path).read_text(encoding="utf-8")
    assert "&lt;b&gt;run&lt;/b&gt;" in page
    assert "<b>run</b>" not in page
    assert "A note &amp; more." in page
    assert "data:image/png;base64," in page
    for definition in CATALOGUE.values():
        assert definition.title in page
    assert page.count('<svg class="bar"') == len(CATALOGUE)
    assert page.count('<svg class="curves"') == 2
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "<script" not in page
    assert "http" not in page
    assert "prefers-color-scheme: dark" in page


def test_an_empty_report_has_a_page(tmp_path: Path) -> None:
    assert "<h1>Report</h1>" in Report({}).save(tmp_path).read_text(encoding="utf-8")


def test_names_expand() -> None:
    assert expand(()) == list(CATALOGUE)
    assert expand(("coverage",)) == ["precision", "recall", "density", "coverage"]
    assert expand(("kernel", "frechet_floor")) == ["frechet_floor", "kernel"]
    assert "memorisation" in GROUPS
    with pytest.raises(MeasureError, match="did you mean 'frechet'"):
        expand(("frechett",))


def test_charts_have_round_ticks_and_break_at_nothing() -> None:
    assert charts.curves({"a": [(0.0, math.nan), (1.0, math.nan)]}) == ""
    drawn = charts.curves({"a": [(float(x), 3.0) for x in range(5000)], "b": [(0.0, 1.0), (1.0, math.inf), (2.0, 2.0)]})
    points = re.findall(r'points="([^"]*)"', drawn)
    assert [len(line.split()) for line in points] == [295, 2]
    assert "nan" not in drawn
    bar = charts.interval_bar(5.0, math.nan, math.nan, {"real": 2.0})
    assert "nan" not in bar
    assert "<rect" not in bar


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (0.0, "0"),
        (2578.6, "2\u2009579"),
        (-28.87, "−28.9"),
        (0.0066, "0.0066"),
        (1.0, "1"),
        (176.2, "176"),
        (2e-6, "2.0e−06"),
    ],
)
def test_numbers_are_written_as_a_person_would(x: float, text: str) -> None:
    assert charts.number(x) == text
