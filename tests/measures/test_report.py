"""Reports keep what a number depends on, refuse to compare unlike with unlike, and make a page whole in itself."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from motherlode.errors import CorruptError, MeasureError
from motherlode.measures import charts
from motherlode.measures.catalogue import CATALOGUE, GROUPS, expand
from motherlode.measures.interval import Interval, ratio_interval, ratio_pulls
from motherlode.measures.report import Measure, Passage, Report
from motherlode.randomness import numpy_generator

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
    assert expand((), ("likelihood",)) == ["bits_per_byte", "bits_per_byte_xz", "perplexity"]
    with pytest.raises(MeasureError, match="not one of such data"):
        expand(("frechet",), ("likelihood",))


def test_charts_have_round_ticks_and_break_at_nothing() -> None:
    assert charts.curves({"a": [(0.0, math.nan), (1.0, math.nan)]}) == ""
    drawn = charts.curves({"a": [(float(x), 3.0) for x in range(5000)], "b": [(0.0, 1.0), (1.0, math.inf), (2.0, 2.0)]})
    points = re.findall(r'points="([^"]*)"', drawn)
    assert [len(line.split()) for line in points] == [295, 2]
    assert "nan" not in drawn
    bar = charts.interval_bar(5.0, math.nan, math.nan, {"real": 2.0})
    assert "nan" not in bar
    assert "<rect" not in bar


def test_texts_are_shown_as_they_are_and_marked(tmp_path: Path) -> None:
    passages = [
        Passage(
            "<b>床前明月光</b> and more", "longest match 5 tokens", (3, 8), Passage("疑是 床前明月光 &c", mark=(3, 8))
        ),
        Passage("plain\n\ntext"),
    ]
    made = Report(
        {"verbatim": measure("verbatim", 0.02, 0.01)}, texts={"Most copied: beside where it stands": passages}
    )
    page = made.save(tmp_path).read_text(encoding="utf-8")
    assert "&lt;b&gt;<mark>床前明月光</mark>&lt;/b&gt; and more" in page
    assert "疑是 <mark>床前明月光</mark> &amp;c" in page
    assert "plain\n\ntext" in page
    assert page.count("<mark>") == 2
    assert '<section class="texts pairs">' in page
    assert "2 % to" not in page
    assert "1\u202f% to 3\u202f%" in page


def test_tokenizers_may_differ_where_bytes_are_the_unit() -> None:
    words = {"extractor": "tokenizer-8192-aa", "weights": "aa"}
    bytes_ = {"extractor": "tokenizer-262-bb", "weights": "bb"}
    after = Report({"bits_per_byte": measure("bits_per_byte", 1.2, 0.1, **words)})
    before = Report({"bits_per_byte": measure("bits_per_byte", 1.9, 0.1, **bytes_)})
    assert after.compare(before)[0].verdict == "better"
    assert after["bits_per_byte"].label == "bits_per_byte"
    after = Report({"perplexity": measure("perplexity", 20.0, 1.0, **words)})
    before = Report({"perplexity": measure("perplexity", 3.0, 1.0, **bytes_)})
    with pytest.raises(MeasureError, match="same extractor"):
        after.compare(before)
    assert after["perplexity"].label == "perplexity[tokenizer-8192-aa]"


def test_a_bound_is_compared_with_what_it_bounds() -> None:
    def one(name: str, value: float) -> Report:
        return Report({name: measure(name, value, 0.05, resize="window 64, stride 32")})

    exact = one("bits_per_byte", 1.5)
    assert one("bits_per_byte_bound", 1.2).compare(exact)[0].verdict == "better"
    assert one("bits_per_byte_bound", 1.9).compare(exact)[0].verdict == "not known: a bound"
    assert exact.compare(one("bits_per_byte_bound", 1.2))[0].verdict == "worse"
    assert exact.compare(one("bits_per_byte_bound", 1.9))[0].verdict == "not known: a bound"
    assert one("bits_per_byte_bound", 1.5).compare(exact)[0].verdict == "no clear change"
    assert one("bits_per_byte_bound", 1.9).compare(one("bits_per_byte_bound", 1.2))[0].verdict == "worse"


def test_the_same_documents_are_compared_in_pairs(tmp_path: Path) -> None:
    """Two models differ by 0.02 bits on every document; the documents differ by 0.5 among themselves."""
    rng = numpy_generator(0, "test pairs")
    num_bytes = rng.integers(100, 5000, 200)
    bits = (1.5 + 0.5 * rng.standard_normal(200)) * num_bytes
    better = bits - 0.02 * num_bytes + 0.001 * rng.standard_normal(200) * num_bytes

    def one(bits_N: np.ndarray) -> Report:
        value, pulls = ratio_pulls(bits_N, num_bytes)
        interval = ratio_interval(bits_N, num_bytes)
        made = replace(measure("bits_per_byte", value), low=interval.low, high=interval.high)
        return Report({"bits_per_byte": made}, pulls={"bits_per_byte": pulls.tolist()})

    before, after = one(bits), one(better)
    found = after.compare(before)[0]
    assert found.verdict == "better"
    assert found.change.low < -0.02 < found.change.high
    assert found.change.method == "paired, document by document"
    # The change is known fifty times as well as either value.
    assert found.change.high - found.change.low < 0.02 * (before["bits_per_byte"].high - before["bits_per_byte"].low)
    before.save(tmp_path)
    assert after.compare(Report.open(tmp_path))[0].change == pytest.approx(found.change, rel=1e-4)
    alone = Report(dict(before))
    assert after.compare(alone)[0].verdict == "no clear change"


def test_pairs_hold_what_they_claim() -> None:
    held = []
    for seed in range(200):
        rng = numpy_generator(seed, "test pairs")
        num_bytes = np.ceil(np.exp(rng.normal(7, 1.5, 60)))
        first = (1.5 + 0.5 * rng.standard_normal(60)) * num_bytes
        second = first + 0.1 * rng.standard_normal(60) * num_bytes
        reports = []
        for bits in (first, second):
            interval = ratio_interval(bits, num_bytes)
            made = replace(measure("bits_per_byte", interval.value), low=interval.low, high=interval.high)
            reports.append(
                Report({"bits_per_byte": made}, pulls={"bits_per_byte": ratio_pulls(bits, num_bytes)[1].tolist()})
            )
        held.append(reports[1].compare(reports[0])[0].verdict == "no clear change")
    assert 0.86 <= np.mean(held) <= 0.98


def test_a_harness_defines_its_own_measures(tmp_path: Path) -> None:
    made = Report({"harness:arc_easy:acc": measure("harness:arc_easy:acc", 0.4, 0.02, direction="higher")})
    page = made.save(tmp_path).read_text(encoding="utf-8")
    assert "arc_easy: acc" in page
    assert "Tasks" in page
    assert Report.open(tmp_path).compare(made)[0].verdict == "no clear change"


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
