"""How fast and how large `prepare` is, against a bare loop that only decodes and resizes, in the same run.

    python bench/prepare.py speed-small     60,000 PNG of 28x28 in one Parquet file (Fashion-MNIST, `make data`)
    python bench/prepare.py speed-large     2,500 JPEG of 640x480 in a folder
    python bench/prepare.py memory          peak memory at 10,000 and at 100,000 pictures

The bare loop is Pillow in as many processes: open, convert, resize, nothing kept. `prepare` is timed with its defaults,
and once more without the steps that look across rows, whose work the loop does not do at all.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

FASHION = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")
NUM_LARGE = 2500
ONLY_ROWS = {"near_duplicates": "off", "outliers": "off", "label_errors": "off"}


def small_source(folder: Path, num: int) -> Path:
    """Fashion-MNIST as PNG in one Parquet file; beyond its 60,000, random patterns of the same size."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from motherlode import registry

    encode = registry.find("modality", "image").encode
    with gzip.open(FASHION) as file:
        real = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    random = np.random.default_rng(0)
    media = [encode(np.ascontiguousarray(sample)) for sample in real[:num]]
    while len(media) < num:
        blocks = random.integers(0, 256, (1, 7, 7), np.uint8)
        media.append(encode(np.ascontiguousarray(blocks.repeat(4, 1).repeat(4, 2))))
    path = folder / f"small-{num}.parquet"
    pq.write_table(pa.table({"image": media}), path, row_group_size=1000, compression="none")
    return path


def large_source(folder: Path) -> Path:
    """Photograph-like noise of many scales: JPEG at quality 90, about 60 kB each."""
    from PIL import Image

    out = folder / "photos"
    out.mkdir()
    random = np.random.default_rng(0)
    for number in range(NUM_LARGE):
        canvas = np.zeros((480, 640, 3), np.float32)
        for octave in range(2, 8):
            size = (2**octave, int(2**octave * 0.75))
            layer = Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), np.uint8))
            canvas += np.asarray(layer.resize((640, 480), Image.Resampling.BILINEAR), np.float32) * 0.7**octave
        canvas = 255 * (canvas - canvas.min()) / np.ptp(canvas)
        Image.fromarray(canvas.astype(np.uint8)).save(out / f"{number:05d}.jpg", quality=90)
    return out


def bare_parquet(task: tuple[str, int, int]) -> int:
    import pyarrow.parquet as pq
    from PIL import Image

    path, part, parts = task
    file = pq.ParquetFile(path)
    groups = range(part * file.num_row_groups // parts, (part + 1) * file.num_row_groups // parts)
    media = file.read_row_groups(list(groups), columns=["image"]).column("image").to_pylist()
    for item in media:
        Image.open(io.BytesIO(item)).convert("L").resize((32, 32), Image.Resampling.BILINEAR)
    return len(media)


def bare_folder(task: tuple[str, int, int]) -> int:
    from PIL import Image

    folder, part, parts = task
    paths = sorted(Path(folder).iterdir())[part::parts]
    for path in paths:
        Image.open(path).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
    return len(paths)


def bare(source: Path, workers: int) -> float:
    """Seconds of the bare loop, its processes included."""
    function = bare_parquet if source.is_file() else bare_folder
    start = time.perf_counter()
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        sum(pool.map(function, [(str(source), part, workers) for part in range(workers)]))
    return time.perf_counter() - start


def prepared(source: Path, out: Path, workers: int, **options: str) -> tuple[float, int]:
    """Seconds of `prepare` in a fresh interpreter (compiled kernels cached), and the rows it kept."""
    code = (
        "import sys, json, motherlode as ml\n"
        "if __name__ == '__main__':\n"
        "    d = ml.prepare(sys.argv[1], out=sys.argv[2], workers=int(sys.argv[3]), **json.loads(sys.argv[4]))\n"
        "    print(len(d))"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write(code)
        script.flush()
        command = [sys.executable, script.name, str(source), str(out), str(workers), json.dumps(options)]
        start = time.perf_counter()
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds = time.perf_counter() - start
    shutil.rmtree(out)
    return seconds, int(done.stdout)


def speed(source: Path, num: int, folder: Path, workers: int) -> None:
    prepared(source, folder / "warm", workers, **ONLY_ROWS)
    rows = []
    for name, seconds in (
        ("bare loop", bare(source, workers)),
        ("prepare", prepared(source, folder / "a", workers)[0]),
        ("prepare, each row by itself", prepared(source, folder / "b", workers, **ONLY_ROWS)[0]),
        ("bare loop, again", bare(source, workers)),
    ):
        rows.append((name, seconds))
        print(f"{name:<30}{seconds:8.2f} s {num / seconds:10,.0f} pictures/s", flush=True)
    loop = (rows[0][1] + rows[3][1]) / 2
    print(f"ratio of speeds: prepare {loop / rows[1][1]:.2f}, each row by itself {loop / rows[2][1]:.2f} (aim: 0.80)")


def memory(folder: Path, workers: int) -> None:
    for num in (10_000, 100_000):
        source = small_source(folder, num)
        code = (
            "import sys, resource, motherlode as ml\n"
            "if __name__ == '__main__':\n"
            "    ml.prepare(sys.argv[1], out=sys.argv[2], workers=int(sys.argv[3]))\n"
            "    peak = [resource.getrusage(who).ru_maxrss / 1e3 for who in (0, -1)]\n"
            "    print(f'{peak[0]:.0f} MB in the first process, {peak[1]:.0f} MB in the largest other')"
        )
        script = folder / "memory.py"
        script.write_text(code)
        command = [sys.executable, str(script), str(source), str(folder / f"out-{num}"), str(workers)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"{num:>8,} pictures: {done.stdout.strip()}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed-small", "speed-large", "memory"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--num", type=int, default=60_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if chosen.what == "memory":
            memory(folder, chosen.workers)
        elif chosen.what == "speed-small":
            speed(small_source(folder, chosen.num), chosen.num, folder, chosen.workers)
        else:
            speed(large_source(folder), NUM_LARGE, folder, chosen.workers)


if __name__ == "__main__":
    main()
