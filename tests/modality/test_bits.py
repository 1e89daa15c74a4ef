"""Blocks of bytes as words of bits, against Python's own view of the same bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from motherlode.modality._bits import as_float, bits_between, copy_block, eight_bytes, lowest, num_set, one_byte
from motherlode.modality._compiled import compiled
from motherlode.modality.text import kernels, runs, shingles


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
def float_of(word: np.uint32) -> np.float32:
    return as_float(word)


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


def test_bits_of_a_float() -> None:
    assert float_of(np.float32(-1.5).view(np.uint32)) == -1.5


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


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("abcdeXYZ019_ .,é中\u212a"), max_size=300), st.integers(1, 9))
def test_tokens_are_the_same_however_little_room_there_is(text: str, room: int) -> None:
    buffer = np.frombuffer(text.encode(), np.uint8)
    whole, some = np.empty(len(buffer) + 1, np.uint64), np.empty(room, np.uint64)
    num, end = runs.hash_tokens(buffer, 0, len(buffer), shingles.classes(), whole)
    assert end == len(buffer)
    found, place = [], 0
    while place < len(buffer):
        num_more, place = runs.hash_tokens(buffer, place, len(buffer), shingles.classes(), some)
        found += some[:num_more].tolist()
    assert found == whole[:num].tolist()
