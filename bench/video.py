"""Measures on clips: shot cuts found, copies found, memory of `prepare`. Run one part by name.

python bench/video.py cuts --pictures FOLDER      # films spliced from pans and zooms over photographs
python bench/video.py copies --pictures FOLDER    # planted copies of such clips, none of which is alike another
python bench/video.py memory                      # peak memory of `prepare` on 1,000 and on 20,000 small clips
python bench/video.py kill                        # `prepare` killed again and again ends in the same bytes
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from PIL import Image

from motherlode.data.dataset import Dataset
from motherlode.data.prepare import prepare
from motherlode.modality.video.decode import open_film
from motherlode.modality.video.files import write_mp4
from motherlode.modality.video.options import Clean
from motherlode.modality.video.shots import at_rate, is_cut, look_at
from motherlode.randomness import numpy_generator

RATE, WIDTH, HEIGHT = 24.0, 160, 96
SAMPLED = 8.0


def pictures_in(folder: Path) -> list[Image.Image]:
    """Photographs, no longer than 900 pixels."""
    found = []
    for path in sorted(folder.rglob("*.jp*g")):
        image = Image.open(path).convert("RGB")
        image.thumbnail((900, 900))
        if min(image.size) >= 2 * HEIGHT:
            found.append(image)
    if not found:
        raise SystemExit(f"no photographs (*.jpg) of {2 * HEIGHT} pixels or more in {folder}")
    return found


def shot(image: Image.Image, frames: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """uint8 (F, H, W, 3): a camera moves and zooms over a photograph, up to half a picture's width a second."""
    scale = rng.uniform(0.3, 0.6, 2)
    start, end = rng.uniform(0, 1, (2, 2))
    end = start + np.clip(end - start, -0.4, 0.4) * frames / RATE
    result = []
    for share in np.linspace(0, 1, frames):
        width = image.width * (scale[0] + (scale[1] - scale[0]) * share)
        height = width * HEIGHT / WIDTH
        place = np.clip(start + (end - start) * share, 0, 1)
        left, top = place[0] * (image.width - width), place[1] * max(image.height - height, 0)
        box = (left, top, left + width, min(top + height, image.height))
        result.append(np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, box=box)))
    return np.stack(result)


def measure_cuts(pictures: list[Image.Image], num: int) -> None:
    """Films of five shots each from other photographs, or other places of the same."""
    found = planted = right = frames = 0
    for number in range(num):
        rng = numpy_generator(0, "cuts", number)
        lengths = rng.integers(24, 96, 5)
        order = rng.permutation(len(pictures))[:5]
        film = np.concatenate([shot(pictures[i], n, rng) for i, n in zip(order, lengths)])
        cuts = np.cumsum(lengths)[:-1] / RATE * SAMPLED
        with open_film(write_mp4(film, RATE, quality=28), Clean()) as opened:
            looks = [look_at(frame.pixels()) for frame in at_rate(opened.frames, SAMPLED)]
        at = np.array([k for k in range(1, len(looks)) if is_cut(looks[k - 1], looks[k])])
        hits = sum(bool(len(at)) and float(np.abs(at - cut).min()) <= 1 for cut in cuts)
        found, planted, right, frames = found + len(at), planted + 4, right + hits, frames + len(looks)
    print(f"{num} films, {frames:,} frames: {right} of {planted} cuts found, {found - right} found where none was")


def measure_copies(pictures: list[Image.Image], num: int) -> None:
    """What `prepare` finds of its own planted copies among clips of photographs."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "clips").mkdir()
        for number in range(num):
            rng = numpy_generator(1, "copies", number)
            film = shot(pictures[number % len(pictures)], 60, rng)
            (home / "clips" / f"{number:05d}.mp4").write_bytes(write_mp4(film, RATE, quality=20))
        start = time.perf_counter()
        data = prepare(home / "clips", modality="video", out=home / "out", outliers="off")
        took = time.perf_counter() - start
        planted = data.facts["findings"]["planted"]
        print(f"{num} clips of {len(pictures)} photographs in {took:.1f} s; kept {data.facts['kept']}")
        print(
            f"dropped {data.facts['dropped']}, precision {planted['precision']:.3f} of {planted['originals']} originals"
        )
        for kind, item in planted["recall"].items():
            print(f"  {kind}: {item['value']:.3f} ({item['low']:.3f} to {item['high']:.3f})")


def small_clips(folder: Path, num: int) -> Path:
    """A table of clips of a square that moves; 100 different encodings of noise under 20,000 names and places."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    schema = pa.schema({"video": pa.binary()})
    with pq.ParquetWriter(folder / "clips.parquet", schema) as writer:
        for first in range(0, num, 500):
            writer.write_table(pa.table({"video": [_noise(number) for number in range(first, first + 500)]}, schema))
    return folder / "clips.parquet"


def _noise(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 5, 3)).astype(np.uint8)
    wide = np.asarray(Image.fromarray(coarse).resize((60, 32), Image.Resampling.BILINEAR))
    return write_mp4(np.stack([wide[:, t : t + 32] for t in range(16)]), SAMPLED, quality=23)


def peak_memory(command: list[str]) -> tuple[int, float]:
    """Most that a command and its children held at once (proportional set size), and the seconds it took."""
    start = time.perf_counter()
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        most = max(most, sum(map(_held, [process, *_children(process)])))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit("prepare failed")
    return most, time.perf_counter() - start


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = process.children(recursive=True)
    except psutil.Error:
        return []
    return found


def _held(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


def _command(source: Path, out: Path) -> list[str]:
    code = f"import motherlode as ml; ml.prepare({str(source)!r}, modality='video', out={str(out)!r}, workers=2)"
    return [sys.executable, "-c", code]


def measure_memory() -> None:
    with tempfile.TemporaryDirectory() as name:
        for num in (1_000, 20_000):
            home = Path(name) / str(num)
            source = small_clips(home, num)
            most, took = peak_memory(_command(source, home / "out"))
            print(f"{num:,} clips: {most / 1e6:.0f} MB at most, {took:.0f} s, {num / took:.0f} clips/s", flush=True)


def measure_kill() -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        source = small_clips(home, 3_000)
        subprocess.run(_command(source, home / "whole"), check=True)
        kills = 0
        for wait_sec in _waits():
            process = subprocess.Popen(_command(source, home / "killed"), start_new_session=True)
            try:
                process.wait(wait_sec)
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
        shards = {p.relative_to(home / "whole"): p.read_bytes() for p in (home / "whole").rglob("*.parquet")}
        same = all((home / "killed" / path).read_bytes() == content for path, content in shards.items())
        ids = Dataset.open(home / "whole").id == Dataset.open(home / "killed").id
        print(f"killed {kills} times: {len(shards)} shards, the same bytes: {same}, the same id: {ids}")


def _waits() -> Iterator[float]:
    yield from (3.0, 5.0, 7.0, 9.0, 11.0)
    yield 600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("cuts", "copies", "memory", "kill"))
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--num", type=int, default=60)
    chosen = parser.parse_args()
    if chosen.part in ("cuts", "copies"):
        pictures = pictures_in(chosen.pictures or Path())
        (measure_cuts if chosen.part == "cuts" else measure_copies)(pictures, chosen.num)
    elif chosen.part == "memory":
        measure_memory()
    else:
        measure_kill()


if __name__ == "__main__":
    main()
