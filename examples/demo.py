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
from typing import Any

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "data" / "fashion-11k.parquet"
RECIPE = HERE / "recipes" / "demo.yaml"
NUM_STRIPS = 6
ODD_BUT_GOOD = {"palette", "alpha", "sixteen_bit", "exif_rotated", "cmyk", "animated"}


def lode(*words: str | Path, made: Path | None = None) -> None:
    """Show a command, run it unless it has already made something, and stop the demo where it fails."""
    arguments = [str(word) for word in words]
    shown = [
        Path(word).relative_to(Path.cwd()) if Path(word).is_relative_to(Path.cwd()) else word for word in arguments
    ]
    print(f"\n$ lode {shlex.join(str(word) for word in shown)}", flush=True)
    if made is not None:
        print(f"already done: {made}")
        return
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
    estimate = out / "estimate.json"
    lode("estimate", RECIPE, *settings, "--save", estimate, made=estimate if (run / "run.json").exists() else None)
    lode("train", RECIPE, *settings)
    lode("evaluate", run, made=newer(run / "report.json", run / "run.json"))
    lode("generate", run, "--num", "64", "--out", out / "generated")
    lode("export", run, "--format", "safetensors", "--format", "onnx", "--out", out / "export")
    strip(run, out / "learning.png")
    summary(out, data, run, time.monotonic() - start)


def newer(made: Path, source: Path) -> Path | None:
    """`made`, where it exists and is newer than what it was made from."""
    return made if made.exists() and made.stat().st_mtime > source.stat().st_mtime else None


def strip(run: Path, target: Path) -> None:
    """The first two rows of a few of the run's sample grids, side by side, a line a moment: the model learning."""
    from PIL import Image

    grids = sorted((run / "samples").glob("step-*.png"), key=lambda path: int(path.stem.partition("-")[2]))
    chosen = [grids[round(index * (len(grids) - 1) / (NUM_STRIPS - 1))] for index in range(NUM_STRIPS)]
    with Image.open(chosen[0]) as first:
        width, height = first.width, first.height // 8
    picture = Image.new("RGB", (2 * width, height * len(chosen)), "white")
    for line, path in enumerate(chosen):
        with Image.open(path) as grid:
            for row in range(2):
                part = grid.convert("RGB").crop((0, row * height, width, (row + 1) * height))
                picture.paste(part, (row * width, line * height))
    picture.save(target)


def caught(data: Path) -> list[tuple[str, str]]:
    """What became of the dirt that was planted in the sample, by what should become of it."""
    import motherlode as ml

    dataset = ml.Dataset.open(data)
    dropped = {row["image"]["path"] for row in dataset.split("dropped").rows()}
    suspects = {row["image"]["path"] for row in dataset if row["label_suspect"]}
    planted: Counter[str] = Counter()
    handled: Counter[str] = Counter()
    with SOURCE.with_suffix(".truth.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            gone = not dropped.isdisjoint((row["path"], row["origin"]))
            group, right = {
                "exact_copy": ("copies dropped", gone),
                "reencoded": ("copies dropped", gone),
                "wrong_label": ("wrong labels suspected", row["path"] in suspects),
            }.get(row["plant"], ("broken, blank or badly lit dropped", gone))
            if row["plant"].startswith("near_") and row["plant"] != "near_constant":
                group, right = "look-alikes (resized, cropped, mirrored, …) dropped", gone
            elif row["plant"] in ODD_BUT_GOOD:
                group, right = "odd but good (CMYK, 16 bits, rotated, …) kept", not gone
            planted[group] += 1
            handled[group] += right
    return [(group, f"{handled[group]} of {number}") for group, number in planted.items()]


def compared(estimate: dict[str, Any], facts: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """What was foreseen against what came: name, estimate, run, and by how much the run differed."""
    rows = []
    for name, key, unit, scale in (
        ("steps", "steps", "", 1.0),
        ("samples/s", "rate", "", 1.0),
        ("operations", "flops", "TFLOP", 1e-12),
        ("time", "seconds", "s", 1.0),
        ("memory", "memory_bytes", "MB", 1e-6),
    ):
        found = {"steps": facts["step"], "rate": facts["samples_per_sec"], "memory_bytes": facts["peak_memory_bytes"]}
        before = estimate["samples"] / estimate["seconds"] if key == "rate" else estimate[key]
        after = found.get(key, facts.get(key))
        rows.append(
            (name, f"{before * scale:,.4g} {unit}", f"{after * scale:,.4g} {unit}", f"{after / before - 1:+.0%}")
        )
    return rows


def summary(out: Path, data: Path, run: Path, seconds: float) -> None:
    """What was made, where to look, and the numbers."""
    facts = json.loads((run / "run.json").read_text())
    estimate = json.loads((out / "estimate.json").read_text())
    dataset = json.loads((data / "dataset.json").read_text())
    measures = json.loads((run / "report.json").read_text())["measures"]
    lines = [f"\nPrepared {dataset['in']:,} raw images and kept {dataset['kept']:,}. Of the dirt planted among them:"]
    lines += [f"  {number:>12}  {group}" for group, number in caught(data)]
    lines += ["", f"Trained in {facts['decision']['setting']['precision']}. Foreseen, and what came:"]
    lines += [f"  {name:<11}{before:>16}{after:>16}{gap:>8}" for name, before, after, gap in compared(estimate, facts)]
    lines += ["", "Measured, with 90 % intervals:"]
    for name in ("frechet", "frechet_floor", "inception_score", "precision", "coverage", "copies"):
        if name in measures:
            found = measures[name]
            label = f"{name}[{found['extractor']}]"
            lines.append(f"  {label:<38}{found['value']:>9.4g}  ({found['low']:.4g} to {found['high']:.4g})")
    places = {
        data / "card.html": "what is in the data, and what was dropped and why",
        out / "learning.png": "the model learning",
        run / "report.html": "the measures, the samples, and the real images nearest to them",
        out / "generated": "64 new images, which say where they came from",
        out / "export": "the model for other programs, with its card",
    }
    lines += ["", "Look at:"] + [f"  {place!s:<34}{what}" for place, what in places.items()]
    lines += ["", f"All of it took {seconds:.0f} s; run it again and what is done is not done twice."]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
