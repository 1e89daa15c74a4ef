"""`lode doctor`: what this machine can do, measured in about three seconds."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import torch

EXAMPLES = (
    "lode doctor",
    "lode doctor --folder /mnt/big  (free space and write speed there)",
)
# extra → (a module it brings, what one can do with it)
EXTRAS = {
    "features": ("efficientnet_lite_pytorch", "measure with ImageNet features instead of hand-made ones"),
    "export": ("onnxruntime", "export to ONNX, checked in onnxruntime"),
    "audio": ("soundfile", "read, resample and write sound"),
    "speech": ("silero_vad", "find speech in sound; score it as listeners would"),
    "video": ("av", "read and write video files"),
    "ray": ("ray", "spread `prepare` over a Ray cluster"),
}
_GEMM_SIDE = 1024
_GEMM_SEC = 0.4
_PROBE_BYTES = 32 << 20


def command(
    folder: Path = typer.Option(Path(), "--folder", help="Where datasets and runs will live."),
) -> None:
    """Show what this machine can do."""
    import torch

    from motherlode.cli import console
    from motherlode.version import __version__

    console.facts(
        [("motherlode", __version__), ("python", _python()), ("torch", torch.__version__), *_machine()],
        title="This machine",
    )
    speeds = list(_gemm())
    console.table(
        ("device", "type", "speed", "against fp32"), [row[:4] for row in speeds], title="\nMatrix multiplication"
    )
    console.results.print(f"  {advice({(row[0], row[1]): row[4] for row in speeds})}\n")
    console.facts(_disk(folder), title="Disk")
    rows = [
        (name, _installed(module), what, "" if find_spec(module) else f"pip install 'motherlode[{name}]'")
        for name, (module, what) in EXTRAS.items()
    ]
    console.table(("extra", "installed", "what for", "how"), rows, title="\nExtras")


def advice(gflops: dict[tuple[str, str], float]) -> str:
    """What the measured speeds (device, type) → GFLOP/s mean for a recipe."""
    device = "cuda" if ("cuda", "fp32") in gflops else "cpu"
    gain = gflops.get((device, "bf16"), 0.0) / gflops[device, "fp32"]
    if gain >= 1.2:
        return (
            f"bf16 is {gain:.1f}x faster than fp32 on {device}: `precision: auto` will try it and keep what is faster"
        )
    return f"bf16 brings nothing on {device} here ({gain:.1f}x): `precision: auto` will stay with fp32"


def measure_gemm(device: torch.device, dtype: torch.dtype, seconds: float = _GEMM_SEC) -> float:
    """GFLOP/s of a square matrix product, the median over `seconds` of repetitions."""
    import torch

    a_MK = torch.ones(_GEMM_SIDE, _GEMM_SIDE, device=device, dtype=dtype)
    b_KN = a_MK.clone()
    times: list[float] = []
    _ = (a_MK @ b_KN).sum().item()
    until = perf_counter() + seconds
    while len(times) < 3 or perf_counter() < until:
        start = perf_counter()
        product = a_MK @ b_KN
        _ = product[0, 0].item()
        times.append(perf_counter() - start)
    return 2 * _GEMM_SIDE**3 / sorted(times)[len(times) // 2] / 1e9


def _gemm() -> Iterator[tuple[str, str, str, str, float]]:
    import torch

    devices = ["cpu"] + ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()
    for name in devices:
        base = 0.0
        for label, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            speed = measure_gemm(torch.device(name), dtype)
            base = base or speed
            yield name, label, f"{speed:,.0f} GFLOP/s", f"{speed / base:.2f}x", speed


def _machine() -> Iterator[tuple[str, object]]:
    import psutil
    import torch

    from motherlode.cli.console import size
    from motherlode.execute import num_cores

    memory = psutil.virtual_memory()
    yield "cores", f"{num_cores()} usable of {psutil.cpu_count()}, {torch.get_num_threads()} threads"
    yield "memory", f"{size(memory.available)} free of {size(memory.total)}"
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        yield f"gpu {index}", f"{card.name}, {size(card.total_memory)}"
    if not torch.cuda.is_available():
        yield "gpu", "none that torch can use"


def _disk(folder: Path) -> Iterator[tuple[str, object]]:
    from motherlode.cli.console import size
    from motherlode.errors import StorageError

    if not folder.is_dir():
        raise StorageError("the folder must exist", str(folder), "create it, or choose another --folder")
    usage = shutil.disk_usage(folder)
    yield "folder", folder.resolve()
    yield "free", f"{size(usage.free)} of {size(usage.total)}"
    yield "writing", f"{size(_PROBE_BYTES / _write_sec(folder))}/s with fsync"


def _write_sec(folder: Path) -> float:
    from motherlode.storage import atomic_path

    probe = folder / ".lode-doctor"
    start = perf_counter()
    with atomic_path(probe) as temporary:
        temporary.write_bytes(bytes(_PROBE_BYTES))
    seconds = perf_counter() - start
    probe.unlink()
    return seconds


def _python() -> str:
    import platform

    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _installed(module: str) -> str:
    if find_spec(module) is None:
        return "no"
    try:
        return version(module)
    except PackageNotFoundError:
        return "yes"
