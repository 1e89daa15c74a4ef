"""How fast and how large `prepare` is on texts, against the speed of reading them, in the same run.

    python bench/prepare_text.py speed DOCS.jsonl       ceilings, the engine, the whole of `prepare`, and each stage
    python bench/prepare_text.py memory DOCS.jsonl...   peak memory of a run on each file

The engine: start, read, normalise, filter, drop exact duplicates and verified near-duplicates. The whole: also repeated
lines, the check of the near-duplicates, the overlap of the splits, shards, card. Both are timed from the start of the
interpreter, as `lode prepare` does them. Files come from bench/text_corpus.py. Wall seconds mean little on a shared
machine; the processor seconds of one process, taken besides, hardly depend on who else is working: half of them is what
two idle cores would take.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 4 << 20
_LOOK_SEC = 0.05


def scan(task: tuple[str, str, int, int]) -> int:
    """Read a share of a file and do the least with it."""
    import orjson
    import xxhash

    path, what, part, parts = task
    size = os.path.getsize(path)
    first, end = size * part // parts, size * (part + 1) // parts
    total = 0
    with open(path, "rb") as file:
        file.seek(first)
        if what == "lines":
            if first:
                file.readline()
            while file.tell() < end and (line := file.readline()):
                total += xxhash.xxh3_64_intdigest(orjson.loads(line)["text"].encode()) & 1
            return total
        state = xxhash.xxh3_64()
        while first < end and (data := file.read(min(_CHUNK_BYTES, end - first))):
            first += len(data)
            if what == "hash":
                state.update(data)
    return state.intdigest()


def ceilings(path: Path, workers: int, num_bytes: int) -> None:
    names = {"read": "read", "hash": "read, xxh3", "lines": "read, JSON, xxh3"}
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        list(pool.map(scan, [(str(path), "lines", part, workers * 64) for part in range(workers)]))
        for what, name in names.items():
            start = time.perf_counter()
            list(pool.map(scan, [(str(path), what, part, workers) for part in range(workers)]))
            show(f"{name}, {workers} processes", time.perf_counter() - start, num_bytes)


def show(name: str, seconds: float, num_bytes: int) -> None:
    print(f"  {name:<52}{seconds:8.2f} s {num_bytes / seconds / 1e6:8,.1f} MB/s", flush=True)


STAGES = """
import json, sys, time
from pathlib import Path
began = float(sys.argv[5])
from motherlode.data.workers import start_ahead
start_ahead([sys.argv[1]], "text", json.loads(sys.argv[3])["workers"])
from motherlode.data import prepare as p
from motherlode import registry
from motherlode.recipe import parse
stages, state = {}, {"name": "start", "at": (began, 0.0)}
def progress(stage, done, total, counts):
    now = time.time(), time.process_time()
    wall, used = stages.get(state["name"], (0.0, 0.0))
    stages[state["name"]] = wall + now[0] - state["at"][0], used + now[1] - state["at"][1]
    state.update(name=stage, at=now)
options = p.parse_options(sys.argv[1], modality="text", out=sys.argv[2], **json.loads(sys.argv[3]))
if sys.argv[4] == "whole":
    p.run(options, progress)
else:
    modality = registry.find("modality", "text")
    options = options.resolved(modality)
    work = Path(sys.argv[2] + ".engine")
    work.mkdir()
    clean = parse(modality.Options, options.clean, where="prepare", within=("clean",))
    made = p.Work(options, modality, clean, work, p._plan_to_disk(options, modality, work), progress)
    rows = made.gather(made.read())
    from motherlode.data.steps import ExactDuplicates, NearTexts
    for step in (ExactDuplicates(), NearTexts(modality, check=False)):
        progress(step.name, 0, 1, {})
        step.run(rows)
progress("end", 1, 1, {})
print(json.dumps(stages))
"""


def staged(path: Path, what: str, options: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """(Wall, processor) seconds of each stage in a fresh interpreter; the second is that of its first process alone."""
    with tempfile.TemporaryDirectory() as folder:
        words = (str(path), f"{folder}/out", json.dumps(options), what, str(time.time()))
        done = subprocess.run([sys.executable, "-c", STAGES, *words], check=True, stdout=subprocess.PIPE, text=True)
        found: dict[str, tuple[float, float]] = json.loads(done.stdout.splitlines()[-1])
        return found


def speed(path: Path, workers: int) -> None:
    with path.open("rb") as file:
        num_bytes = sum(len(json.loads(line)["text"].encode()) for line in file)
    print(f"{path.name}: {num_bytes / 1e6:.0f} MB of text")
    ceilings(path, workers, num_bytes)
    for name, what in (("engine", "engine"), ("prepare", "whole")):
        for processes, kind, which in ((workers, "wall", 0), (1, "processor", 1)):
            stages = staged(path, what, {"workers": processes})
            seconds = sum(stage[which] for stage in stages.values())
            show(f"{name}, {processes} process(es), {kind}, from the start of Python", seconds, num_bytes)
            print("    " + ", ".join(f"{stage} {times[which]:.2f}" for stage, times in stages.items()), flush=True)


def memory(paths: list[Path], workers: int) -> None:
    """Peak memory: resident of the largest process, and proportional of all together, looked at every 50 ms."""
    import psutil

    code = (
        "import sys, motherlode as ml\n"
        "ml.prepare(sys.argv[1], modality='text', out=sys.argv[2], workers=int(sys.argv[3]))"
    )
    for path in paths:
        with tempfile.TemporaryDirectory() as temporary:
            command = [sys.executable, "-c", code, str(path), str(Path(temporary) / "out"), str(workers)]
            first = largest = together = 0
            start = time.perf_counter()
            with psutil.Popen(command) as process:
                while process.poll() is None:
                    with contextlib.suppress(psutil.Error):
                        children = process.children(recursive=True)
                        first = max(first, process.memory_info().rss)
                        largest = max([largest, *(child.memory_info().rss for child in children)])
                        shares = [child.memory_full_info().pss for child in [process, *children]]
                        together = max(together, sum(shares))
                    time.sleep(_LOOK_SEC)
            if process.returncode:
                print(f"{path.name}: failed; until then", end=" ")
            print(
                f"{path.name}, {path.stat().st_size / 1e6:,.0f} MB: {first / 1e6:.0f} MB in the first process, "
                f"{largest / 1e6:.0f} MB in the largest worker, {together / 1e6:.0f} MB in all together "
                f"({time.perf_counter() - start:.0f} s)",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "memory"])
    parser.add_argument("docs", type=Path, nargs="+")
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    if chosen.what == "memory":
        memory(chosen.docs, chosen.workers)
    else:
        for path in chosen.docs:
            speed(path, chosen.workers)


if __name__ == "__main__":
    main()
