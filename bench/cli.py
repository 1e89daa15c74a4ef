"""How long the command line takes to answer.

    python bench/cli.py [--repeats 10]

Prints the best and the median of cold starts of `lode --help` and of what it is made of, so that a slow import shows up
as a ratio and not only as a feeling. The figure to keep: `lode --help` in half a second or less.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import typer": ["-c", "import typer"],
    "import motherlode": ["-c", "import motherlode"],
    "lode --help": ["-m", "motherlode.cli", "--help"],
    "lode train --help": ["-m", "motherlode.cli", "train", "--help"],
    "import motherlode.recipe": ["-c", "import motherlode.recipe"],
    "import torch": ["-c", "import torch"],
}


def seconds(words: list[str]) -> float:
    """Wall-clock seconds of one cold start."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Time each command in turn, in rounds, so that a busy moment falls on all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    repeats = parser.parse_args().repeats
    found: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats):
        for name, words in COMMANDS.items():
            found[name].append(seconds(words))
    print(f"{'':<28}{'best':>8}{'median':>8}   of {repeats} cold starts, seconds")
    for name, times in found.items():
        print(f"{name:<28}{min(times):>8.2f}{statistics.median(times):>8.2f}")


if __name__ == "__main__":
    main()
