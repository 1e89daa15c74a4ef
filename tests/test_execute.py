from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from motherlode.errors import MissingExtraError
from motherlode.execute import map_ordered, num_cores


def square(number: int) -> int:
    return number * number


def process_id(_: int) -> int:
    return os.getpid()


def refuse(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_results_come_in_order_whatever_the_workers(workers: int) -> None:
    assert list(map_ordered(square, range(20), workers=workers)) == [number**2 for number in range(20)]


def test_one_worker_stays_in_this_process_and_two_do_not() -> None:
    assert set(map_ordered(process_id, range(3), workers=1)) == {os.getpid()}
    assert os.getpid() not in set(map_ordered(process_id, range(3), workers=2))


def collects_garbage(_: int) -> bool:
    return gc.isenabled()


def test_the_server_collects_no_garbage_and_its_workers_do() -> None:
    assert all(map_ordered(collects_garbage, range(4), workers=2))
    code = "import gc, motherlode.server; print(gc.isenabled())"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"


def test_a_long_list_of_partitions_is_never_held() -> None:
    drawn: list[int] = []

    def partitions() -> Iterator[int]:
        for number in range(1000):
            drawn.append(number)
            yield number

    results = map_ordered(square, partitions(), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(drawn) <= 3 + 2 * 2
    results.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_reaches_the_caller(workers: int) -> None:
    results = map_ordered(refuse, range(10), workers=workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


def test_ray_is_an_extra() -> None:
    try:
        import ray  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError, match=r"motherlode\[ray\]"):
            list(map_ordered(square, [1], on="ray"))
    else:
        assert list(map_ordered(square, range(5), on="ray", workers=2)) == [0, 1, 4, 9, 16]


def test_there_is_a_core() -> None:
    assert num_cores() >= 1


def test_a_script_without_the_idiom_is_not_run_again_by_its_workers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('ran')\n"
        "from motherlode.execute import map_ordered\n"
        "from math import factorial\n"
        "print(sum(map_ordered(factorial, range(5), workers=2)))\n"
        "import __main__\n"
        "assert __main__.__file__ == __file__\n"
    )
    done = subprocess.run([sys.executable, str(script)], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["ran", "34"]


@pytest.mark.slow
@pytest.mark.parametrize("wait_sec", [0.0, 0.3, 1.0])
def test_ctrl_c_while_workers_start_is_one_interrupt_and_no_traceback_of_theirs(wait_sec: float) -> None:
    """A terminal sends it to every process of the group, the server that still imports among them."""
    code = """
import signal
import sys
import time
from time import sleep
from motherlode.execute import map_ordered
# whoever runs the tests may ignore or hold back interrupts, and a process inherits that
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
signal.signal(signal.SIGINT, signal.default_int_handler)
print("begun", flush=True)
try:
    for _ in map_ordered(sleep, [0.2] * 100, workers=2, preload=("motherlode.data.parts", "pyarrow.parquet")):
        pass
except KeyboardInterrupt:
    sys.exit(130)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(wait_sec)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="asks /proc which processes there are")
def test_workers_end_with_a_parent_that_is_killed() -> None:
    code = """
import os
import time
from motherlode.execute import map_ordered
results = map_ordered(os.getpgid, [0] * 100, workers=2)
next(results)
print("begun", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    assert len(_of_group(process.pid)) > 2
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while _of_group(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _of_group(process.pid)


def _of_group(group: int) -> list[int]:
    """Processes of a group that still run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, its_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.append(int(folder.name))
    return found
