"""Sixty-four bytes at a time, for compiled loops over text: which of them lie in a range, as the bits of one word.

Loops that look at each byte spend most of their time on branches that the processor cannot foresee; these take none.
A block is compared in a few vector instructions (LLVM picks those of the machine), and what is left to do is to walk
over the bits that are set: the ends of words, the digits, the line feeds. Addresses are those of an array's data
(`array.ctypes.data`). Nothing here checks bounds.
"""

# Numba passes types and values by position, wanted or not.
# ruff: noqa: ARG001

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

BLOCK = 64
"""Bytes of a block, and bits of a word."""
ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_BYTE = ir.IntType(8)
_BLOCK = ir.VectorType(_BYTE, BLOCK)


def _instruction(function: Callable[..., Any]) -> Any:
    """For compiled loops to call: what takes the types of its arguments gives its own and the code for it."""
    return intrinsic(function)


def _splat(builder: Any, value: Any) -> Any:
    """A block of one byte."""
    one = builder.insert_element(ir.Constant(_BLOCK, ir.Undefined), builder.trunc(value, _BYTE), ir.IntType(32)(0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), [0] * BLOCK)
    return builder.shuffle_vector(one, ir.Constant(_BLOCK, ir.Undefined), lanes)


@_instruction
def bits_between(typing: Any, address: Any, fold: Any, low: Any, high: Any) -> Any:
    """Word whose bit k says whether low <= byte | fold <= high for byte k of the 64 at an address.

    A fold of 32 compares ASCII letters in both cases at once.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = builder.load(builder.inttoptr(arguments[0], _BLOCK.as_pointer()), align=1)
        folded, least, most = (_splat(builder, value) for value in arguments[1:])
        shifted = builder.sub(builder.or_(block, folded), least)
        found = builder.icmp_unsigned("<=", shifted, builder.sub(most, least))
        return builder.bitcast(found, ir.IntType(BLOCK))

    return types.uint64(types.int64, types.int64, types.int64, types.int64), generate


@_instruction
def eight_bytes(typing: Any, address: Any) -> Any:
    """The eight bytes at an address as one word, in the order of the machine."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(builder.inttoptr(arguments[0], ir.IntType(BLOCK).as_pointer()), align=1)

    return types.uint64(types.int64), generate


@_instruction
def one_byte(typing: Any, address: Any) -> Any:
    """The byte at an address."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.zext(builder.load(builder.inttoptr(arguments[0], _BYTE.as_pointer())), ir.IntType(BLOCK))

    return types.uint64(types.int64), generate


@_instruction
def copy_block(typing: Any, source: Any, target: Any) -> Any:
    """Copy 64 bytes from one address to another."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, target = (builder.inttoptr(argument, _BLOCK.as_pointer()) for argument in arguments)
        builder.store(builder.load(source, align=1), target, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@_instruction
def lowest(typing: Any, word: Any) -> Any:
    """Place of the lowest bit that is set, 64 where none is."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.IntType(1)(0))

    return types.int64(types.uint64), generate


@_instruction
def num_set(typing: Any, word: Any) -> Any:
    """How many bits are set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


@_instruction
def half_as_float(typing: Any, bits: Any) -> Any:
    """The float16 of some 16 bits as float32: one instruction for eight or sixteen of them in a loop."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate
