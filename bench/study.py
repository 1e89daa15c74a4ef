"""The studies that docs/studies/ keeps: data of the book's, tables, held-back cells, and grids at other prices.

python bench/study.py prepare datasets/study       the raw, the cleaned and the held-out datasets of the book's study
lode study docs/studies/book.yaml                  trains it (about 12 minutes of one core's time)
python bench/study.py table studies/book           writes docs/studies/book.csv; so for studies/fashion
python bench/study.py score docs/studies/book.csv  held-back cells, coverage, and grids at other prices
python bench/study.py draw docs/studies/book.csv   the pictures of its page, as book.html in this folder
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from motherlode.studies.backtest import holdout
from motherlode.studies.fit import fit_law
from motherlode.studies.runs import Runs, read_runs

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "examples" / "data" / "book.jsonl.gz"
COLUMNS = (
    "treatment", "size", "seed", "unique", "steps", "N", "D", "U", "compute", "loss", "seconds", "paid_seconds",
    "paid_flops",
)  # fmt: skip
HEADERS = {
    "book": "# A study of GPTs on the King James Bible (text of 1611, out of copyright), a row a run; CC0. See "
    "book.md.\n"
    "# N parameters, D tokens seen, U tokens owned before any treatment, compute FLOPs, loss bits a byte on 119 "
    "held-out chapters\n",
    "fashion": "# A study of VAEs on Fashion-MNIST (Zalando SE, MIT), a row a run; CC0. See fashion.md.\n"
    "# N parameters, D images seen, U images owned, compute FLOPs, loss NELBO in nats on 2,048 held-out images\n",
}
DECAY = 0.12
EVERY = (1, 2, 3)


def split_book(out: Path) -> tuple[Path, Path]:
    """Every tenth chapter is held out; of what was planted, all that was made from a held-out chapter is left out."""
    with gzip.open(BOOK, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    chapters = [row for row in rows if not row["plant"]]
    held = {row["name"] for row in chapters[5::10]}
    train = [row for row in rows if row["name"] not in held and (row["origin"] or "") not in held]
    parts = {"train": train, "heldout": [row for row in chapters if row["name"] in held]}
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, part in parts.items():
        path = out / f"{name}.jsonl"
        lines = (json.dumps({key: row[key] for key in ("text", "book", "name")}, ensure_ascii=False) for row in part)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        paths.append(path)
    return paths[0], paths[1]


def write_table(study: Path, target: Path) -> None:
    records = [json.loads(line) for line in (study / "cells.jsonl").read_text().splitlines()]
    order = {key: number for number, key in enumerate(json.loads((study / "study.json").read_text())["cells"])}
    kept = sorted((record for record in records if record["key"] in order), key=lambda record: order[record["key"]])
    with target.open("w", newline="", encoding="utf-8") as file:
        file.write(HEADERS[study.name])
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for record in kept:
            table.writerow([_short(record.get(name)) for name in COLUMNS])


def _short(value: Any) -> Any:
    return float(f"{value:.7g}") if isinstance(value, float) else value


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def as_runs(rows: list[dict[str, str]]) -> Runs:
    names = ("N", "D", "U", "compute", "loss", "treatment", "seed", "seconds")
    return read_runs({name: [row[name] for row in rows] for name in names})


def strands(rows: list[dict[str, str]]) -> dict[tuple[str, ...], list[dict[str, str]]]:
    found: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        found.setdefault((row["treatment"], row["size"], row["unique"], row["seed"]), []).append(row)
    return {key: sorted(part, key=lambda row: int(row["steps"])) for key, part in found.items()}


def cost(rows: list[dict[str, str]], trunks: bool) -> float:
    """FLOPs of training these rows, each from scratch or from trunks."""
    total = 0.0
    for part in strands(rows).values():
        flops = np.array([float(row["compute"]) for row in part])
        whole = trunks and len(part) > 1
        total += (1 - DECAY) * flops.max() + DECAY * flops.sum() if whole else flops.sum()
    return float(total)


def score(path: Path) -> None:
    rows = [row for row in read_table(path) if row["loss"]]
    for name in ("raw", "all treatments"):
        chosen = [row for row in rows if name != "raw" or row["treatment"] == "raw"]
        for cut in (0.1, 0.25):
            found = holdout(as_runs(chosen), cut, bootstrap=300)
            if found is not None:
                print(
                    f"{name}, cells at most {cut:g} of the top compute: {found.num_pilots} fitted, {found.num_held} "
                    f"held back, median error {found.error:.2%}, coverage {found.coverage:.0%}, width {found.width:.1%}"
                )
    stopped([row for row in rows if row["treatment"] == "raw"], 0.1)
    compare(rows)


def stopped(rows: list[dict[str, str]], cut: float) -> None:
    """Held-back cells as a plan uses the law: training may end before it hurts, in the cells and in the law alike."""
    runs = as_runs(rows)
    below = runs.flops <= cut * runs.flops.max()
    law = fit_law(runs.where(below), bootstrap=300)
    misses, inside = [], []
    for i in np.flatnonzero(~below):
        size, owned, seen = runs.N[i], runs.U[i], runs.D[i]
        same = (size == runs.N) & (owned == runs.U) & (seen >= runs.D)
        grid = np.geomspace(runs.D[same].min(), seen, 40)
        estimate, low, high = law.predict(size, grid, owned)
        best = int(np.argmin(estimate))
        actual = float(runs.loss[same].min())
        misses.append(abs(float(estimate[best]) / actual - 1))
        inside.append(low[best] <= actual <= high[best])
    print(
        f"raw, the same held-back cells, stopped where they are best: median error {np.median(misses):.2%}, coverage "
        f"{np.mean(inside):.0%} of {len(inside)}"
    )


def compare(rows: list[dict[str, str]]) -> None:
    """Grids of other prices, judged on the same held-back cells: those above a tenth of the top compute."""
    raw = [row for row in rows if row["treatment"] == "raw"]
    top = max(float(row["compute"]) for row in raw)
    held = as_runs([row for row in raw if float(row["compute"]) > 0.1 * top])
    small = [row for row in raw if float(row["compute"]) <= 0.1 * top]
    naive = cost(small, trunks=False)
    print(f"\n{'grid':34s} {'cells':>5s} {'from scratch':>13s} {'with trunks':>12s} {'error':>7s}")
    for every in EVERY:
        for first in range(every):
            kept = [row for part in strands(small).values() for row in part[first::every]]
            law = fit_law(as_runs(kept), bootstrap=0)
            error = float(np.median(np.abs(law.predict(held.N, held.D, held.U)[0] / held.loss - 1)))
            shares = [cost(kept, trunks) / naive for trunks in (False, True)]
            name = "every length" if every == 1 else f"lengths {first + 1}, {first + 1 + every}, …"
            print(f"{name:34s} {len(kept):5d} {shares[0]:13.2f} {shares[1]:12.2f} {error:7.2%}")


def draw(path: Path) -> None:
    """Measured cells and the law through them, a panel an amount of data; and what data and compute can buy."""
    from motherlode.studies import pictures
    from motherlode.studies.report import template

    law = fit_law(as_runs([row for row in read_table(path) if row["loss"]]), bootstrap=300)
    page = template("study.html.j2").render(
        title=path.stem, lead=f"{len(law.runs)} cells.", facets=pictures.pilots_and_curves(law),
        map=pictures.law_map(law), warnings=law.warnings, tiles=(), why_no_law="", held_back=None, treatments=(),
        amiss=(), cells=(), method=(),
    )  # fmt: skip
    Path(f"{path.stem}.html").write_text(page, encoding="utf-8")


def prepare(out: Path) -> None:
    """Raw and held-out rows are written as they come: `prepare` would drop exact copies, which raw data have."""
    import motherlode as ml

    sys.path.insert(0, str(ROOT / "tests" / "data"))
    from texts import write_texts

    train, heldout = split_book(out)
    raw, held = ([json.loads(line)["text"] for line in path.open(encoding="utf-8")] for path in (train, heldout))
    write_texts(out / "raw", {"book": raw})
    write_texts(out / "heldout", {"book": held[:1]}, held)
    ml.prepare(train, modality="text", out=out / "cleaned", heldout=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prepare", "table", "score", "draw"))
    parser.add_argument("path", type=Path)
    given = parser.parse_args()
    if given.what == "prepare":
        prepare(given.path)
    elif given.what == "table":
        write_table(given.path, ROOT / "docs" / "studies" / f"{given.path.name}.csv")
    elif given.what == "draw":
        draw(given.path)
    else:
        score(given.path)


if __name__ == "__main__":
    main()
