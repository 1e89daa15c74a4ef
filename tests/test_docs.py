"""Every command and every line of Python in README.md and docs/ runs, on a few pictures and small budgets."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from motherlode import registry, schema
from motherlode.cli import app
from motherlode.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
_BLOCK = re.compile(r"^```(console|python|yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SMALLER = {
    "photos.yaml": (
        ("minutes: 2.0", "steps: 4"),
        ("# width:", "width: 8 #"),
        ("# resolution:", "resolution: 16 #"),
        ("# channels:", "channels: 1 #"),
        ("extractor: auto", "extractor: raw-pixels"),
        ("num_samples: 10000", "num_samples: 100"),
    ),
    "book.yaml": (
        ("minutes: 2.0", "steps: 4"),
        ("# width:", "width: 16 #"),
        ("# depth:", "depth: 1 #"),
        ("# heads:", "heads: 1 #"),
        ("length: 256", "length: 32"),
        ("vocabulary: ", "vocabulary: 300 # "),
        ("num_samples: 10000", "num_samples: 8"),
        ("max_tokens: 200", "max_tokens: 8"),
    ),
    "clips.yaml": (("minutes: 2.0", "steps: 4"), ("width: 32", "width: 4")),
}
"""What makes a starter recipe train in a second, by its name."""


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of each fenced block that a reader would run."""
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield match[1], match[2]


def is_runnable(page: Path) -> bool:
    """Whether a page has commands or Python; YAML alone is only shown."""
    return any(language != "yaml" for language, _ in blocks(page))


def run_page(page: Path) -> int:
    """Run a page's blocks in the working directory, in order; how many commands and blocks ran."""
    num_run = 0
    names: dict[str, Any] = {}
    for language, text in blocks(page):
        if language == "python":
            exec(compile(text, str(page), "exec"), names)
            num_run += 1
            continue
        if language == "yaml":
            name = text.partition("\n")[0].removeprefix("# ")
            if name.endswith(".yaml"):  # a file that the reader is to write
                Path(name).write_text(text)
            continue
        for line in text.splitlines():
            if line.startswith("$ lode "):
                run_command(line.removeprefix("$ lode "))
                num_run += 1
    return num_run


def run_command(line: str) -> None:
    words = shlex.split(line)
    result = CliRunner().invoke(app, words, prog_name="lode")
    assert result.exit_code == 0, f"lode {line}\n{result.output}"
    if words[0] == "init":
        make_small(Path(f"{Path(words[1]).name}.yaml"))


def make_small(recipe: Path) -> None:
    """Shrink a starter recipe so that its training takes a second; each change must find its line."""
    text = recipe.read_text()
    for old, new in _SMALLER[recipe.name]:
        assert old in text, f"the starter recipe has no {old!r} to make smaller"
        text = text.replace(old, new, 1)
    recipe.write_text(text)
    Recipe.load(recipe)


def write_photos(folder: Path, first: int, last: int) -> None:
    """Rows of the sample as files, a folder a label."""
    table = pq.read_table(ROOT / "tests" / "fixtures" / "fashion-500.parquet").slice(first, last - first)
    for number, row in enumerate(table.to_pylist()):
        path = folder / row["label"] / f"{number:03d}{Path(row['image']['path']).suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row["image"]["bytes"])


def write_book(folder: Path, num_chapters: int) -> None:
    """Chapters of the sample as files, a folder a book."""
    with gzip.open(ROOT / "examples" / "data" / "book.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if not row["plant"]][:num_chapters]
    for row in rows:
        path = folder / row["book"] / f"{row['name']}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(row["text"], encoding="utf-8")


def write_speech(folder: Path) -> None:
    """Clips of the sample as files: a folder a word, in it one a voice."""
    for row in pq.read_table(ROOT / "examples" / "data" / "spoken-digits.parquet").to_pylist():
        path = folder / row["audio"]["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row["audio"]["bytes"])
        path.with_suffix(".txt").write_text(row["caption"])


def write_clips(folder: Path, num_clips: int) -> None:
    """Clips of the sample as files, a folder a label, each with its caption beside it."""
    table = pq.read_table(ROOT / "examples" / "data" / "moving-fashion.parquet").slice(0, num_clips)
    for row in table.to_pylist():
        path = folder / row["label"] / row["video"]["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row["video"]["bytes"])
        path.with_suffix(".txt").write_text(row["caption"])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader has after following the README: photos, a dataset, a recipe, a run."""
    stage = tmp_path_factory.mktemp("stage")
    write_photos(stage / "photos", 0, 400)
    write_photos(stage / "more-photos", 400, 501)
    write_book(stage / "book", 60)
    write_speech(stage / "speech")
    write_clips(stage / "clips", 80)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(stage)
        assert run_page(ROOT / "README.md") >= 9
    return stage


def test_the_readme_runs_and_leaves_what_it_promises(stage: Path) -> None:
    for promised in (
        "datasets/photos/card.html",
        "photos.yaml",
        "runs/photos/samples",
        "runs/photos/report.html",
        "runs/photos/generated/seed-0/grid.png",
        "runs/photos/export/model.onnx",
        "runs/photos/export/README.md",
    ):
        assert (stage / promised).exists(), promised


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if is_runnable(page)], ids=lambda page: page.name)
def test_every_page_runs(stage: Path, page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages share the reader's folder, as they do for a reader: in any order, after the README."""
    monkeypatch.chdir(stage)
    assert run_page(page) > 0


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "LAB.md", *PAGES]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_generated_parts_are_current() -> None:
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_every_option_says_what_it_is_for() -> None:
    from motherlode.data.prepare import PrepareOptions

    models = [Recipe, PrepareOptions]
    models += [registry.find("family", name).Options for name in registry.names("family")]
    models += [registry.find("modality", name).Options for name in registry.names("modality")]
    silent = [".".join(entry.place) for model in models for entry in schema.entries(model) if not entry.about]
    assert silent == []


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_the_recipes_that_ship_are_recipes(path: Path) -> None:
    assert Recipe.load(path).name


def test_the_sample_that_ships_is_what_its_page_says() -> None:
    import csv
    from collections import Counter

    folder = ROOT / "examples" / "data"
    file = pq.ParquetFile(folder / "fashion-11k.parquet")
    page = (folder / "README.md").read_text()
    with (folder / "fashion-11k.truth.csv").open() as truth:
        rows = list(csv.DictReader(truth))
    assert f"{file.metadata.num_rows:,} raw rows" in page
    assert f"and {len(rows)} planted ones" in page
    counts = Counter(row["plant"] for row in rows)
    for kind in counts:
        assert f"`{kind}`" in page
    media = file.read(["image"]).column("image").to_pylist()
    for row in rows:
        assert media[int(row["row"])]["path"] == row["path"]
    copies = {row["path"]: row["origin"] for row in rows if row["plant"] == "exact_copy"}
    by_path = {item["path"]: item["bytes"] for item in media}
    assert len(copies) == 200
    assert all(by_path[path] == by_path[origin] for path, origin in copies.items())
    assert (folder / "fashion-11k.parquet").stat().st_size < 8e6
