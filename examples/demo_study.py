"""A mini-study on real text in under three minutes on one core: both shortages, a law, and a plan with its pictures.

    python examples/demo_study.py [--out demo]

It trains about thirty tiny GPTs on chapters of a book: with much text and little training, and with little text seen
over and over. Where the letters of its chart part company, data have run out. Run it again: what is done is not done
twice.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "data" / "book.jsonl.gz"
STUDY = HERE / "study.yaml"
QUESTION = ("--budget", "0.001", "--gpu-hour", "0.05", "--data-price", "0.05/M", "--compute", "3e11")
OWNERS = {"rich": "700k", "poor": "4k"}
"""Tokens owned by two who ask the same question: one has hardly read the data once, one has worn them out."""


def lode(*words: str | Path) -> None:
    """Show a command, run it, and stop where it fails."""
    arguments = [str(word) for word in words]
    print(f"\n$ lode {shlex.join(arguments)}", flush=True)
    code = subprocess.run([sys.executable, "-m", "motherlode.cli", *arguments], check=False).returncode
    if code:
        sys.exit(code)


def mini_study(out: Path) -> list[Path]:
    """Prepare the book, run the study, plan for two owners; returns the plans' pages."""
    data = out / "book"
    if not (data / "dataset.json").exists():
        lode("prepare", SOURCE, "--out", data, "--modality", "text", "--heldout", "0.1")
    changes = [f"recipe.data.path={data}", f"out={out / 'studies'}"]
    lode("study", STUDY, *[word for change in changes for word in ("--set", change)])
    for owner, tokens in OWNERS.items():
        lode("plan", out / "studies" / "book", *QUESTION, "--unique", tokens, "--out", out / f"plan-{owner}")
    return [out / f"plan-{owner}" / "plan.html" for owner in OWNERS]


def regimes(study: Path) -> list[str]:
    """What more passes did, at the least and at the most unique data: one line each."""
    cells = [json.loads(line) for line in (study / "cells.jsonl").read_text().splitlines()]
    done = [cell for cell in cells if cell["loss"] is not None]
    largest = max(cell["N"] for cell in done)
    lines = []
    for unique in sorted({cell["unique"] for cell in done}):
        row = sorted((cell for cell in done if cell["unique"] == unique and cell["N"] == largest), key=lambda c: c["D"])
        best = min(row, key=lambda cell: cell["loss"])
        lines.append(
            f"  {unique:>5} texts: {row[0]['loss']:.2f} bits a byte at {row[0]['D'] / row[0]['U']:.3g} passes, "
            f"best {best['loss']:.2f} at {best['D'] / best['U']:.3g}, {row[-1]['loss']:.2f} at "
            f"{row[-1]['D'] / row[-1]['U']:.3g}"
        )
    return lines


def main() -> None:
    """Run the mini-study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for everything it makes (default: demo)")
    out: Path = parser.parse_args().out
    start = time.monotonic()
    pages = mini_study(out)
    print("\nOf the largest model:\n" + "\n".join(regimes(out / "studies" / "book")))
    print(f"\nLook at:\n  {out / 'studies' / 'book' / 'report.html'}   the cells and the law")
    for page, tokens in zip(pages, OWNERS.values()):
        print(f"  {page}   what to buy where one owns {tokens} tokens")
    print(f"\nThe mini-study took {time.monotonic() - start:.0f} s.")


if __name__ == "__main__":
    main()
