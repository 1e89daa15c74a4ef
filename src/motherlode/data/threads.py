"""Compiled kernels and matrix products release the interpreter's lock; this runs them on slices, on every core."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

from motherlode.execute import num_cores

Result = TypeVar("Result")
_LEAST_ITEMS = 256


def on_all_cores(function: Callable[[slice], Result], num: int, least: int = _LEAST_ITEMS) -> list[Result]:
    """Results of `function` on consecutive slices of `num` items, in threads: its kernels release the lock.

    Args:
        function: of a slice of the items.
        num: how many items there are.
        least: items that are worth a thread.
    """
    num_pieces = min(num_cores(), max(1, num // least))
    edges = [num * i // num_pieces for i in range(num_pieces + 1)]
    parts = [slice(start, stop) for start, stop in pairwise(edges)]
    if num_pieces == 1:
        return [function(parts[0])]
    with ThreadPoolExecutor(num_pieces) as pool:
        return list(pool.map(function, parts))


def give_back_memory() -> None:
    """Return what was freed to the system, where the C library can be told to (glibc).

    Every thread has a heap of its own, which keeps what it freed: after the search for near-duplicates that came to
    some 200 MB, held while other processes wrote.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
