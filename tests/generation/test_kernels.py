"""The oracles are NumPy and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numba import njit
from numpy.typing import NDArray
from torch.nn import functional

from motherlode.generation import kernels
from motherlode.generation.bits import narrow, wide

rng = np.random.default_rng(0)


def floats(*shape: int) -> NDArray[np.float32]:
    return rng.standard_normal(shape).astype(np.float32)


def as_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    found: NDArray[np.uint16] = torch.from_numpy(values).bfloat16().view(torch.uint16).numpy()
    return found


def as_floats(stored: NDArray[Any]) -> NDArray[np.float32]:
    if stored.dtype == np.float32:
        return stored
    found: NDArray[np.float32] = torch.from_numpy(stored).view(torch.bfloat16).float().numpy()
    return found


STORED = pytest.mark.parametrize(
    ("store", "error"), [(np.ascontiguousarray, 1e-5), (as_bf16, 1e-2)], ids=["float32", "bf16"]
)


def test_bf16_is_rounded_as_torch_rounds_it() -> None:
    @njit
    def rounded(values: Any, out: Any) -> None:
        for i in range(len(values)):
            out[i] = narrow(values[i], out)

    @njit
    def widened(values: Any, out: Any) -> None:
        for i in range(len(values)):
            out[i] = wide(values[i])

    halves = (np.arange(1 << 16, dtype=np.uint32) << np.uint32(16) | np.uint32(0x8000)).view(np.float32)
    values = np.concatenate([halves[np.isfinite(halves)], floats(10_000) * 1e3, np.float32([0, -0.0, 1e-40, -1e38])])
    out = np.empty(len(values), np.uint16)
    rounded(values, out)
    assert np.array_equal(out, as_bf16(values))
    back = np.empty(len(out), np.float32)
    widened(out, back)
    assert np.array_equal(back, as_floats(out))


def test_the_exponential_is_that_of_numpy() -> None:
    @njit
    def each_32(values: Any, out: Any) -> None:
        for i in range(len(values)):
            out[i] = kernels.exp_32(values[i])

    @njit
    def each_64(values: Any, out: Any) -> None:
        for i in range(len(values)):
            out[i] = kernels.exp_64(values[i])

    single = np.concatenate([np.linspace(-86.9, 87.9, 100_001), [0.0, -1e-30]]).astype(np.float32)
    found_32 = np.full_like(single, np.nan)
    each_32(single, found_32)
    np.testing.assert_allclose(found_32, np.exp(single.astype(np.float64)), rtol=3e-7)
    double = np.concatenate([np.linspace(-699.0, 0.0, 100_001), [-1e-300]])
    found_64 = np.full_like(double, np.nan)
    each_64(double, found_64)
    np.testing.assert_allclose(found_64, np.exp(double), rtol=5e-16)
    far = np.array([-701.0, -1e300])
    found = np.full_like(far, np.nan)
    each_64(far, found)
    assert np.array_equal(found, [0.0, 0.0])


@STORED
def test_add_norm_adds_and_normalises(store: Any, error: float) -> None:
    x, more, gain = floats(5, 96), floats(5, 96), floats(96)
    out = store(np.zeros_like(x))
    total = x.copy()
    kernels.add_norm(total, store(more), gain, np.float32(1e-6), out)
    expected = x + as_floats(store(more))
    np.testing.assert_allclose(total, expected, rtol=1e-6)
    theirs = functional.rms_norm(torch.from_numpy(expected), (96,), torch.from_numpy(gain), 1e-6)
    np.testing.assert_allclose(as_floats(out), theirs, rtol=error, atol=error)
    untouched = x.copy()
    kernels.add_norm(untouched, store(more)[:0], gain, np.float32(1e-6), out)
    assert np.array_equal(untouched, x)


@STORED
def test_activations(store: Any, error: float) -> None:
    inner = floats(3, 64) * 4
    stored = store(inner.copy())
    kernels.relu_squared(stored)
    np.testing.assert_allclose(as_floats(stored), np.maximum(as_floats(store(inner)), 0) ** 2, rtol=error)
    both, out = store(floats(3, 128) * 9), store(floats(3, 64))
    kernels.gate(both, out)
    first, second = (torch.from_numpy(half.copy()) for half in np.split(as_floats(both), 2, axis=1))
    np.testing.assert_allclose(as_floats(out), functional.silu(first) * second, rtol=error, atol=1e-6)


@STORED
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_attention_sees_its_own_slot_up_to_its_own_place(store: Any, error: float, groups: int) -> None:
    queries, keys, values = floats(3, 4, 16), store(floats(5, groups, 40, 16)), store(floats(5, groups, 40, 16))
    slots, places = np.array([4, 0, 4]), np.array([0, 39, 20])
    out = store(np.zeros_like(queries))
    kernels.attend(queries, keys, values, slots, places, np.empty(40, np.float32), out)
    for n in range(3):
        seen = [as_floats(kept)[slots[n], :, : places[n] + 1] for kept in (keys, values)]
        k, v = (torch.from_numpy(kept.repeat(4 // groups, axis=0).copy()) for kept in seen)
        theirs = functional.scaled_dot_product_attention(torch.from_numpy(queries[n])[:, None], k, v)
        np.testing.assert_allclose(as_floats(out)[n], theirs[:, 0], rtol=error, atol=error)
