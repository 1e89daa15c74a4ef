"""The whole of Motherlode in under five minutes on two cores: what `make demo` runs.

    python examples/demo.py [--minutes 2] [--out demo]

It runs the commands you would run, on the dirty sample that ships here, and ends with what it made, where to look, and
how the estimate compared with the real run. Run it again: what is done is not done twice.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "data" / "fashion-11k.parquet"
RECIPE = HERE / "recipes" / "demo.yaml"
NUM_STRIPS = 6


def lode(*words: str | Path) -> None:
    """Show a command, run it, and stop the demo where it fails."""
    arguments = [str(word) for word in words]
    shown = [
        Path(word).relative_to(Path.cwd()) if Path(word).is_relative_to(Path.cwd()) else word for word in arguments
    ]
    print(f"\n$ lode {shlex.join(str(word) for word in shown)}", flush=True)
    code = subprocess.run([sys.executable, "-m", "motherlode.cli", *arguments], check=False).returncode
    if code:
        sys.exit(code)


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0, help="training time (default: 2)")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for everything it makes (default: demo)")
    arguments = parser.parse_args()
    out: Path = arguments.out
    start = time.monotonic()
    data, run = out / "fashion", out / "runs" / "demo"
    changes = [f"data.path={data}", f"out={out / 'runs'}", f"train.budget.minutes={arguments.minutes:g}"]
    settings = [word for change in changes for word in ("--set", change)]

    lode("prepare", SOURCE, "--out", data)
    lode("estimate", RECIPE, *settings, "--save", out / "estimate.json")
    lode("train", RECIPE, *settings)
    lode("evaluate", run)
    lode("generate", run, "--num", "64", "--out", out / "generated")
    lode("export", run, "--format", "safetensors", "--format", "onnx", "--out", out / "export")
    strip(run, out / "learning.png")
    summary(out, data, run, time.monotonic() - start)


def strip(run: Path, target: Path) -> None:
    """The top rows of a few of the run's sample grids, one below the other: the model learning."""
    from PIL import Image

    grids = sorted((run / "samples").glob("step-*.png"), key=lambda path: int(path.stem.partition("-")[2]))
    chosen = [grids[round(index * (len(grids) - 1) / (NUM_STRIPS - 1))] for index in range(NUM_STRIPS)]
    with Image.open(chosen[0]) as first:
        width, height = first.width, first.height // 4
    picture = Image.new("RGB", (width, (height + 4) * len(chosen)), "white")
    for row, path in enumerate(chosen):
        with Image.open(path) as grid:
            picture.paste(grid.convert("RGB").crop((0, 0, width, height)), (0, row * (height + 4)))
    picture.save(target)


def caught(data: Path) -> list[str]:
    """What became of the dirt that was planted in the sample: one line a kind."""
    import motherlode as ml

    dataset = ml.Dataset.open(data)
    dropped = {row["image"]["path"] for row in dataset.split("dropped").rows()}
    planted: Counter[str] = Counter()
    found: Counter[str] = Counter()
    with SOURCE.with_suffix(".truth.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            planted[row["plant"]] += 1
            found[row["plant"]] += row["path"] in dropped
    return [f"{kind} {found[kind]}/{number}" for kind, number in sorted(planted.items())]


def summary(out: Path, data: Path, run: Path, seconds: float) -> None:
    """What was made, where to look, and the numbers."""
    facts = json.loads((run / "run.json").read_text())
    estimate = json.loads((out / "estimate.json").read_text())
    dataset = json.loads((data / "dataset.json").read_text())
    report = json.loads((run / "report.json").read_text())
    print(f"""
What happened
  prepared   {dataset["in"]:,} raw images, kept {dataset["kept"]:,}; planted dirt that was dropped: {", ".join(caught(data))}
  trained    {facts["step"]:,} steps, {facts["samples"]:,} samples at {facts["samples_per_sec"]:,.0f}/s in {facts["decision"]}
  estimate   {estimate}
  measured   {report}
  everything took {seconds:.0f} s

Where to look
  {data / "card.html"}        what is in the data, what was dropped and why
  {out / "learning.png"}      the model learning
  {run / "report.html"}       the measures, with their intervals and the samples
  {out / "generated"}         64 new images that say where they came from
  {out / "export"}            the model for other programs, with its card
""")


if __name__ == "__main__":
    main()
