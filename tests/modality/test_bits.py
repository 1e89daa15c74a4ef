"""Blocks of bytes as words of bits, against Python's own view of the same bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from motherlode.modality._bits import bits_between, copy_block, eight_bytes, half_as_float, lowest, num_set, one_byte
from motherlode.modality._compiled import compiled
from motherlode.modality.text import kernels


@compiled
def look(
    block_B: NDArray[np.uint8], fold: int, low: int, high: int
) -> tuple[np.uint64, int, int, np.uint64, np.uint64]:
    address = block_B.ctypes.data
    bits = bits_between(address, fold, low, high)
    return bits, lowest(bits), num_set(bits), eight_bytes(address + 3), one_byte(address + 63)


@compiled
def copied(block_B: NDArray[np.uint8], out_B: NDArray[np.uint8]) -> None:
    copy_block(block_B.ctypes.data, out_B.ctypes.data + 1)


@compiled
def floats_of(halves_N: NDArray[np.uint16], out_N: NDArray[np.float32]) -> None:
    for i in range(halves_N.shape[0]):
        out_N[i] = half_as_float(halves_N[i])


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=64, max_size=64), st.sampled_from([(0, 48, 57), (32, 97, 122), (0, 128, 255), (0, 0, 32)]))
def test_bits_say_which_bytes_are_in_range(data: bytes, bounds: tuple[int, int, int]) -> None:
    fold, low, high = bounds
    bits, first, num, word, last = look(np.frombuffer(data, np.uint8), *bounds)
    wanted = [low <= byte | fold <= high for byte in data]
    assert [bool(int(bits) >> k & 1) for k in range(64)] == wanted
    assert first == (wanted.index(True) if any(wanted) else 64)
    assert num == sum(wanted)
    assert word == int.from_bytes(data[3:11], "little")
    assert last == data[63]


def test_a_block_is_copied_and_nothing_else() -> None:
    block, out = np.arange(64, dtype=np.uint8), np.full(66, 255, np.uint8)
    copied(block, out)
    assert out.tolist() == [255, *range(64), 255]


def test_halves_are_floats() -> None:
    halves_N = np.arange(1 << 16, dtype=np.uint16)
    found_N = np.empty(len(halves_N), np.float32)
    floats_of(halves_N, found_N)
    np.testing.assert_array_equal(found_N, halves_N.view(np.float16).astype(np.float32))


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("ab Z9\t\n\r\x00\x1b\x7fé中"), max_size=200), st.integers(0, 20))
def test_plain_bytes_are_counted_up_to_a_block(text: str, place: int) -> None:
    data = text.encode()
    num = kernels.num_plain(np.frombuffer(data, np.uint8), place, len(data)) if place <= len(data) else 0
    plain = 0
    while (
        plain < 64
        and place + plain < len(data)
        and (32 <= data[place + plain] < 127 or data[place + plain] in b"\t\n\r")
    ):
        plain += 1
    # Vertical tabs and form feeds come between line feed and return, and are not plain.
    assert num == plain
