"""How fast and how large `prepare` is, against a bare loop that only decodes and resizes, in the same run.

    python bench/prepare.py speed-small     60,000 PNG of 28x28 in one Parquet file (Fashion-MNIST, `make data`)
    python bench/prepare.py speed-large     2,500 JPEG of 640x480 in a folder
    python bench/prepare.py memory          peak memory at 10,000 and at 100,000 pictures

The bare loop is Pillow in as many processes: open, convert, resize, nothing kept. `prepare` is timed with its defaults,
and once more without the steps that look across rows, whose work the loop does not do at all. Wall seconds mean little
on a shared machine; the processor seconds of one process, taken after them, hardly depend on who else is working.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import resource
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


def large_source(folder: Path, num: int) -> Path:
    """Photograph-like noise of many scales: JPEG at quality 90, about 60 kB each."""
    from PIL import Image

    out = folder / "photos"
    out.mkdir()
    random = np.random.default_rng(0)
    for number in range(num):
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


def bare(source: Path, workers: int) -> None:
    """The bare loop, its processes included."""
    function = bare_parquet if source.is_file() else bare_folder
    if workers == 1:
        function((str(source), 0, 1))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as pool:
        sum(pool.map(function, [(str(source), part, workers) for part in range(workers)]))


def timed(*words: str) -> tuple[float, float]:
    """Wall seconds of a fresh interpreter, and processor seconds (whole only where it works in one process)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def prepared(source: Path, out: Path, workers: int, options: dict[str, str]) -> tuple[float, float]:
    """Seconds of `prepare`, compiled kernels cached."""
    code = "import sys, json, motherlode as ml; ml.prepare(sys.argv[1], out=sys.argv[2], **json.loads(sys.argv[3]))"
    seconds = timed("-c", code, str(source), str(out), json.dumps(options | {"workers": workers}))
    shutil.rmtree(out)
    return seconds


def speed(source: Path, num: int, folder: Path, workers: int) -> None:
    prepared(source, folder / "warm", 1, ONLY_ROWS)
    for processes, kind, which in ((workers, "wall", 0), (1, "processor", 1)):
        loop = [timed(__file__, "bare", "--source", str(source), "--workers", str(processes))[which]]
        whole = prepared(source, folder / "a", processes, {})[which]
        alone = prepared(source, folder / "b", processes, ONLY_ROWS)[which]
        loop.append(timed(__file__, "bare", "--source", str(source), "--workers", str(processes))[which])
        mean = sum(loop) / 2
        print(f"{processes} process(es), {kind} seconds for {num:,} pictures:")
        for name, seconds in (("bare loop", mean), ("prepare", whole), ("prepare, each row by itself", alone)):
            print(f"  {name:<30}{seconds:8.2f} s {num / seconds:10,.0f} pictures/s   ratio {mean / seconds:.2f}")


def memory(folder: Path, workers: int) -> None:
    """Peak resident memory of the first process and of the largest worker, looked at every 20 ms."""
    import psutil

    code = "import sys, motherlode as ml; ml.prepare(sys.argv[1], out=sys.argv[2], workers=int(sys.argv[3]))"
    for num in (10_000, 100_000):
        source = small_source(folder, num)
        command = [sys.executable, "-c", code, str(source), str(folder / f"out-{num}"), str(workers)]
        with psutil.Popen(command) as process:
            first = other = 0
            while process.poll() is None:
                with contextlib.suppress(psutil.Error):
                    first = max(first, process.memory_info().rss)
                    other = max([other, *(child.memory_info().rss for child in process.children(recursive=True))])
                time.sleep(0.02)
            if process.returncode:
                sys.exit(process.returncode)
        print(
            f"{num:>8,} pictures: {first / 1e6:.0f} MB in the first process, {other / 1e6:.0f} MB in the largest worker"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed-small", "speed-large", "memory", "bare"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--num", type=int, help="pictures; default 60,000 small ones or 2,500 large ones")
    parser.add_argument("--source", type=Path)
    chosen = parser.parse_args()
    if chosen.what == "bare":
        bare(chosen.source, chosen.workers)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if chosen.what == "memory":
            memory(folder, chosen.workers)
        elif chosen.what == "speed-small":
            num = chosen.num or 60_000
            speed(small_source(folder, num), num, folder, chosen.workers)
        else:
            num = chosen.num or 2500
            speed(large_source(folder, num), num, folder, chosen.workers)


if __name__ == "__main__":
    main()
