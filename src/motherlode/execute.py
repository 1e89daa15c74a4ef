"""One `map` over partitions: in this process, in local processes, or on a Ray cluster, with the same results.

Results come back in the order of the partitions however many workers there are, so nothing downstream can depend on
the worker count. Local workers are forked from a clean server process (`forkserver`), which costs about 0.3 s once
but inherits no threads and no locks. What the server has imported its workers need not: half a second of work each.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from multiprocessing import forkserver, get_context, parent_process, resource_tracker
from typing import Literal, TypeVar

from motherlode.errors import MissingExtraError

Item = TypeVar("Item")
Result = TypeVar("Result")
Place = Literal["local", "ray"]


def num_cores() -> int:
    """The cores this process may use (its affinity mask, not the machine's count)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_ordered(
    function: Callable[[Item], Result],
    partitions: Iterable[Item],
    *,
    workers: int | None = None,
    on: Place = "local",
    preload: Sequence[str] = (),
) -> Iterator[Result]:
    """Apply `function` to every partition; yield the results in order.

    At most two partitions a worker are in flight, so a generator of a million partitions is never held in memory.

    Args:
        function: a picklable function of one picklable argument.
        partitions: the arguments.
        workers: processes; `None` takes every core, 1 (or 0) stays in this process.
        on: "local" or "ray" (needs `motherlode[ray]`; `workers` then bounds the tasks in flight).
        preload: modules for the server to import before the first worker; ignored once it runs.
    """
    workers = num_cores() if workers is None else workers
    if on == "ray":
        yield from _map_ray(function, partitions, workers)
    elif workers <= 1:
        yield from map(function, partitions)
    else:
        yield from _map_processes(function, partitions, workers, preload)


def start_server(preload: Sequence[str]) -> None:
    """Start the process from which workers are forked, unless it runs: what it imports, it imports beside this one.

    Args:
        preload: modules for it to import.
    """
    get_context("forkserver").set_forkserver_preload(["motherlode.server", *preload])
    with _interrupts_held():
        forkserver.ensure_running()


def _map_processes(
    function: Callable[[Item], Result], partitions: Iterable[Item], workers: int, preload: Sequence[str]
) -> Iterator[Result]:
    queue = iter(partitions)
    start_server(preload)
    context = get_context("forkserver")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_live_with_parent) as pool:

        def submit(count: int) -> list[Future[Result]]:
            with _script_left_alone(function):
                return [pool.submit(function, item) for item in islice(queue, count)]

        with _interrupts_held():
            pending = submit(2 * workers)
        try:
            while pending:
                result = pending.pop(0).result()
                pending += submit(1)
                yield result
        finally:
            for future in pending:
                future.cancel()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """What is started within sees no Ctrl-C, and this process sees it afterwards: each half-started process would end
    in a traceback of its own.
    """
    resource_tracker.ensure_running()  # the server needs it, and its start lets interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _live_with_parent() -> None:
    """A worker stops at Ctrl-C, as its parent does (it has inherited the server's mask), and ends where that is killed:
    it would else wait for work for good. What the server imported stays, and need not be looked through for garbage.
    """
    gc.freeze()
    gc.enable()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_after_parent, daemon=True).start()


def _end_after_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _script_left_alone(function: Callable[..., object]) -> Iterator[None]:
    """Start workers without running the user's script again in each, unless `function` is defined there.

    multiprocessing imports the main script in every worker, so that a script without `if __name__ == "__main__":` would
    start the whole work anew in each. It finds the script through these two attributes.
    """
    attributes = vars(sys.modules["__main__"])
    if getattr(getattr(function, "func", function), "__module__", None) == "__main__":
        yield
        return
    saved: dict[str, object] = {name: attributes[name] for name in ("__file__", "__spec__") if name in attributes}
    try:
        attributes.update(dict.fromkeys(saved))
        yield
    finally:
        attributes.update(saved)


def _map_ray(function: Callable[[Item], Result], partitions: Iterable[Item], workers: int) -> Iterator[Result]:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("running on Ray", "ray") from error
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    remote = ray.remote(function)
    queue = iter(partitions)
    pending = [remote.remote(item) for item in islice(queue, 2 * max(workers, 1))]
    while pending:
        result: Result = ray.get(pending.pop(0))
        pending.extend(remote.remote(item) for item in islice(queue, 1))
        yield result
