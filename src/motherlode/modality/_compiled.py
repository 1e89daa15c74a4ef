"""The one door to numba: kernels keep their Python types, and the compiler's cache sits beside the source.

A kernel compiles once a machine (seconds) and loads from the cache afterwards. Import modules that define kernels
inside the functions that call them: numba alone took 0.7 s to import on a busy machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile `function` to machine code at its first call; it releases the interpreter's lock while it runs."""
    return _made(function)


def inner(function: Function) -> Function:
    """Like `compiled`, for kernels that other kernels call at each word: it makes no array, and counts no references.

    Counting those to the arrays it is given, at its beginning and end, costs more than a word does: without it the
    n-grams of texts were found in half the time.
    """
    return _made(function, _nrt=False)


def inlined(function: Function) -> Function:
    """Like `inner`, and its code becomes part of the loop that calls it, whatever the compiler thinks of its size.

    For what is done at each word: a call, with what has to be put on the stack and fetched from there, took longer than
    hashing the word.
    """
    return _made(function, _nrt=False, forceinline=True)


def fast(function: Function) -> Function:
    """Like `compiled`, and sums of floats may be reordered for speed: results differ by rounding between machines."""
    return _made(function, fastmath=True)


def _made(function: Function, **more: bool) -> Function:
    options: dict[str, Any] = {"cache": True, "nogil": True, "boundscheck": False, "error_model": "numpy", **more}
    return cast("Function", njit(**options)(function))
