from __future__ import annotations

import html
import re
from collections import Counter
from pathlib import Path

import mlcroissant
import numpy as np
import pytest

from motherlode.data import charts, excerpts
from motherlode.data.card import in_units
from motherlode.data.dataset import Dataset
from motherlode.data.prepare import prepare

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "<script>alert(1)</script> \u202egnp.exe {{ 7 * 7 }} & | ` words that nobody else has written in this place"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Documents of two sources, some alike, one hostile, few enough for all to be shown; no test may write to it."""
    raw = tmp_path_factory.mktemp("raw")
    for folder in ("docs", "src"):
        (raw / folder).mkdir()
    pages = [page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs").glob("*.md"))[:10]]
    for number, page in enumerate(pages):
        (raw / "docs" / f"{number}.md").write_text(page)
    (raw / "docs" / "copy.md").write_text(pages[0])
    (raw / "docs" / "alike.md").write_text(pages[0].replace("the", "these", 2))
    (raw / "docs" / "<b>hostile.md").write_text(HOSTILE)
    for number, module in enumerate(sorted((ROOT / "src" / "motherlode" / "data").glob("*.py"))[:8]):
        (raw / "src" / f"{number}.py").write_text(module.read_text(encoding="utf-8"))
    (raw / "src" / "digits.txt").write_text("12 34 56 78 " * 40)
    sources = {"pages": raw / "docs", "code": raw / "src"}
    return prepare(sources, modality="text", out=raw / "set", workers=1, paragraphs="off", heldout=0.2)


def test_the_page_shows_documents_to_be_read(made: Dataset) -> None:
    page = (made.path / "card.html").read_text()
    assert "<img" not in page
    assert "<script" not in page
    assert "http" not in re.sub(r"<p>.*?</p>", "", page, flags=re.DOTALL).replace("https://", "")
    assert not (made.path / "card").exists()
    shown = [
        html.unescape(text) for text in re.findall(r"<article>\s*(?:<div.*?</div>\s*)?<p>(.*?)</p>", page, re.DOTALL)
    ]
    counts = made.summary()
    groups = [min(counts["kept"], 20), *(min(count, 20) for count in counts["dropped"].values())]
    pairs = min(counts["dropped"]["near_duplicate"], 20)
    assert len(shown) == sum(groups) + pairs
    texts = [row["text"] for split in ("train", "heldout", "dropped") for row in made.split(split).rows()]
    for excerpt in shown:
        plain = re.sub(r"<mark>|</mark>|<i>.*?</i>", "", excerpt)
        assert any(excerpts.visible(text[:40])[:30] in plain or plain[:30] in text for text in texts)
    for reason, count in counts["dropped"].items():
        assert f"<b>{reason.replace('_', ' ').capitalize()}</b> <span>{count:,}" in page


def test_what_a_document_says_is_text_and_no_markup(made: Dataset) -> None:
    page = (made.path / "card.html").read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert "\u202e" not in page
    assert "{{ 7 * 7 }}" in page
    assert "&lt;b&gt;hostile.md" in page
    assert "<b>hostile" not in page


def test_the_differences_of_near_duplicates_are_marked(made: Dataset) -> None:
    page = (made.path / "card.html").read_text()
    marked = re.findall(r"<mark>(.*?)</mark>", page)
    assert set(marked) >= {"these"} or set(marked) >= {"the"}
    assert 'class="role kept"' in page


def test_sources_are_compared(made: Dataset) -> None:
    page = (made.path / "card.html").read_text()
    for name, rows in made.facts["source_rows"].items():
        assert f'<td>{name}</td><td class="n">{rows:,}</td>' in page
    sizes = made.facts["source_bytes"]
    even = sum(sizes.values()) / 2
    assert f">{even / sizes['code']:.2g}<" in page
    markdown = (made.path / "card.md").read_text()
    assert "| pages |" in markdown
    assert markdown.startswith("---\nconfigs:")
    # Documents stand in blocks of code, where nothing in them is markup.
    assert "    <script>" in markdown or "<script>" not in markdown


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_croissant_reads_it(made: Dataset) -> None:
    described = mlcroissant.Dataset(jsonld=str(made.path / "croissant.json"))
    assert not described.metadata.issues.errors
    for split in ("train", "heldout", "dropped"):
        records = list(described.records(split))
        rows = list(made.split(split).rows())
        assert [record[f"{split}/text"].decode() for record in records] == [row["text"] for row in rows]
        assert [record[f"{split}/path"].decode() for record in records] == [row["path"] for row in rows]


def test_differences_are_those_of_the_texts() -> None:
    first = "same start " * 30 + "the cat sat " + "middle words " * 40 + "on the mat"
    second = "same start " * 30 + "the dog sat " + "middle words " * 40 + "on a mat"
    ours, theirs = excerpts.differences(first, second)
    assert [piece.text for piece in ours if piece.kind == "here"] == ["cat", "the"]
    assert [piece.text for piece in theirs if piece.kind == "here"] == ["dog", "a"]
    assert sum(len(piece.text) for piece in ours) < 500
    ours, theirs = excerpts.differences("床前明月光疑是地上霜", "床前看月光疑是地上霜")
    assert [piece.text for piece in ours if piece.kind == "here"] == ["明"]
    ours, theirs = excerpts.differences("same", "same")
    assert ours == theirs == [excerpts.Piece("same", "same")]
    ours, theirs = excerpts.differences("", "x" * 5000)
    assert [piece.kind for piece in theirs] == ["here"]
    assert len(theirs[0].text) == excerpts.NUM_SIGNS


def test_long_documents_are_cut_and_unseen_signs_shown() -> None:
    shown = excerpts.beginning("a\x00b\rc\u202e" + "x" * 1000)
    assert shown[0].text.startswith("a␀b␍c⟨U+202E⟩x")
    assert shown[1].text == f" … {1006 - excerpts.NUM_SIGNS:,} more"


def test_a_logarithmic_axis_says_so() -> None:
    lengths = np.exp(np.random.default_rng(0).normal(7, 2, 3000))
    assert "logarithmic" not in charts.histogram(lengths)
    assert "logarithmic" in charts.histogram(lengths, may_log=True)
    assert "logarithmic" not in charts.histogram(np.arange(1000.0), may_log=True)
    heights = [float(h) for h in re.findall(r'height="([\d.]+)"/>', charts.histogram(lengths, may_log=True))]
    assert Counter(height > 20 for height in heights)[True] > 10


def test_numbers_as_people_say_them() -> None:
    assert [in_units(value, "B") for value in (0, 999, 1000, 999_600, 3_400_000, 2.5e12)] == [
        "0 B",
        "999 B",
        "1 kB",
        "1 MB",
        "3.4 MB",
        "2,500 GB",
    ]
    assert in_units(12_345) == "12.3 k"
