"""Compiled kernels and matrix products release the interpreter's lock; this runs them on slices, on every core."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

from motherlode.execute import num_cores

Result = TypeVar("Result")
_LEAST_ITEMS = 256


def on_all_cores(function: Callable[[slice], Result], num: int, least: int = _LEAST_ITEMS) -> list[Result]:
    """Results of `function` on consecutive slices of `num` items, in threads: its kernels release the lock.

    The calling thread takes a slice itself, and the others are kept: started anew for pieces of some milliseconds, they
    waited for the lock one after another, and two took as long as one.

    Args:
        function: of a slice of the items; it must not call this in turn.
        num: how many items there are.
        least: items that are worth a thread.
    """
    num_pieces = min(num_cores(), max(1, num // least))
    edges = [num * i // num_pieces for i in range(num_pieces + 1)]
    mine, *others = (slice(start, stop) for start, stop in pairwise(edges))
    pending = [_helpers().submit(function, part) for part in others]
    return [function(mine), *(future.result() for future in pending)]


@cache
def _helpers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(num_cores())


os.register_at_fork(after_in_child=_helpers.cache_clear)  # threads do not come along


def give_back_memory() -> None:
    """Return what was freed to the system, where the C library can be told to (glibc).

    Every thread has a heap of its own, which keeps what it freed: after the search for near-duplicates that came to
    some 200 MB, held while other processes wrote.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
