from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import mlcroissant
import numpy as np
import pytest

from motherlode.data import charts
from motherlode.data.dataset import Dataset
from motherlode.data.prepare import prepare

from .conftest import FASHION, write_folder


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(FASHION, out=tmp_path_factory.mktemp("card") / "fashion", workers=1)


class _Strict(HTMLParser):
    """Collects addresses and checks that tags are balanced."""

    void = frozenset({"meta", "img", "rect", "line", "polyline", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_says_every_count(fashion: Dataset) -> None:
    page = (fashion.path / "card.html").read_text()
    parser = _Strict()
    parser.feed(page)
    assert not parser.open
    assert parser.addresses
    assert all(address.startswith("data:image/webp;base64,") for address in parser.addresses)
    assert "<script" not in page
    assert "prefers-color-scheme: dark" in page
    summary = fashion.summary()
    for number in (summary["in"], summary["kept"], summary["train"]):
        assert f"<b>{number:,}</b>" in page
    for reason, count in summary["dropped"].items():
        title = reason.replace("_", " ").capitalize()
        assert re.search(rf"<b>{title}</b> <span>{count:,}", page), reason
    for label in fashion.labels:
        assert label in page
    assert "MIT, © 2017 Zalando SE" in page


def test_the_markdown_says_the_same_and_its_pictures_exist(fashion: Dataset) -> None:
    text = (fashion.path / "card.md").read_text()
    for address in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (fashion.path / address).stat().st_size > 100
    for step in fashion.facts["steps"]:
        assert f"| {step['name']} |" in text
    assert text.startswith("---\nconfigs:")
    assert fashion.id in text


def test_a_hostile_label_is_text_and_not_markup(tmp_path: Path) -> None:
    raw = write_folder(tmp_path / "<b>raw", {"<script>alert(1)<": 8, "b": 8})
    page = (prepare(raw, out=tmp_path / "d", workers=1).path / "card.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;" in page
    assert "&lt;b&gt;raw" in page


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_croissant_reads_it(fashion: Dataset) -> None:
    described = mlcroissant.Dataset(jsonld=str(fashion.path / "croissant.json"))
    assert not described.metadata.issues.errors
    for split in ("train", "heldout"):
        records = list(described.records(split))
        rows = list(fashion.split(split).rows())
        assert len(records) == len(rows)
        assert records[0][f"{split}/id"].decode() == rows[0]["id"]
        assert records[0][f"{split}/label"] == rows[0]["label"]
        assert records[0][f"{split}/image"].size == (rows[0]["width"], rows[0]["height"])
    dropped = list(described.records("dropped"))
    assert len(dropped) == sum(fashion.summary()["dropped"].values())
    assert "dropped/image" not in dropped[0]
    names = {record["labels/number"]: record["labels/name"] for record in described.records("labels")}
    assert [names[number] for number in sorted(names)] == fashion.labels


def test_a_funnel_is_as_wide_as_its_rows() -> None:
    drawing = charts.funnel([("read", 200, 200), ("clean", 200, 50)])
    widths = [float(w) for w in re.findall(r'class="(?:kept|dropped)" x="[\d.]+" y="\d+" width="([\d.]+)"', drawing)]
    assert widths == pytest.approx([620, 155, 465], abs=0.1)
    assert "−150 (75.0%)" in drawing


def test_a_histogram_holds_every_value_and_survives_odd_ones() -> None:
    values = np.array([0.0] * 30 + [1.0] * 10 + [np.nan, np.inf])
    drawing = charts.histogram(values)
    heights = [float(h) for h in re.findall(r'height="([\d.]+)"', drawing)]
    assert heights == pytest.approx([90, 30])
    assert charts.histogram(np.array([np.nan])) == ""
    assert "<polyline" in charts.histogram(values, np.array([0.5]))


def test_bars_sum_what_does_not_fit() -> None:
    drawing = charts.bars({f"n{i}": i + 1 for i in range(40)}, {"n39": 20}, most=10)
    assert "31 more" in drawing
    assert f"{sum(range(1, 32)):,}" in drawing
    assert drawing.count('class="part"') == 1
