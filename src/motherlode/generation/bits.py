"""bf16 inside compiled code: numbers kept in uint16, computed with in float32.

numba has no type for bf16, but bf16 is the upper half of a float32, so loading is a shift, and storing a rounding and a
shift; both run on vectors. Each function becomes a few machine instructions at the place of its call. For an array of
float32 they do nothing, so one kernel serves both types.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from numba import types
from numba.extending import intrinsic

_SHIFT, _JUST_UNDER_HALF = 16, 0x7FFF


def _wide(_context: Any, stored: Any) -> Any:
    def build(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        if stored == types.float32:
            return values[0]
        upper = builder.zext(values[0], context.get_value_type(types.uint32))
        bits = builder.shl(upper, context.get_constant(types.uint32, _SHIFT))
        return builder.bitcast(bits, context.get_value_type(types.float32))

    return types.float32(stored), build


def _narrow(_context: Any, number: Any, like: Any) -> Any:
    def build(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        if like.dtype == types.float32:
            return values[0]
        shift, one, half = (context.get_constant(types.uint32, n) for n in (_SHIFT, 1, _JUST_UNDER_HALF))
        bits = builder.bitcast(values[0], context.get_value_type(types.uint32))
        is_odd = builder.and_(builder.lshr(bits, shift), one)
        rounded = builder.add(builder.add(bits, half), is_odd)
        return builder.trunc(builder.lshr(rounded, shift), context.get_value_type(types.uint16))

    return like.dtype(number, like), build


def _from_bits(_context: Any, bits: Any) -> Any:
    found = types.float32 if bits == types.int32 else types.float64

    def build(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.bitcast(values[0], context.get_value_type(found))

    return found(bits), build


wide = cast("Callable[[Any], Any]", intrinsic(_wide))
"""(stored number) → float32."""

narrow = cast("Callable[[Any, Any], Any]", intrinsic(_narrow))
"""(float32, array) → the number as the array stores it; bf16 is rounded to the nearest, ties to even."""

from_bits = cast("Callable[[Any], Any]", intrinsic(_from_bits))
"""(int32 or int64) → the float32 or float64 of the same bits."""
