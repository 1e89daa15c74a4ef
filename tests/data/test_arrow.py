from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motherlode.data import arrow

DTYPES = st.sampled_from([np.bool_, np.int8, np.int32, np.int64, np.float32, np.float64])


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.binary(max_size=9))))
def test_blobs_are_what_pyarrow_would_make(items: list[bytes | None]) -> None:
    made = arrow.blobs(items)
    made.validate(full=True)
    assert made.equals(pa.array(items, pa.binary()))


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=9).filter(lambda text: text.isprintable()))))
def test_texts_are_what_pyarrow_would_make(items: list[str | None]) -> None:
    made = arrow.texts(items)
    made.validate(full=True)
    assert made.equals(pa.array(items, pa.string()))


def test_names_that_are_not_text_are_escaped() -> None:
    assert arrow.texts(["caf\udce9.png"]).to_pylist() == ["caf\\udce9.png"]


@settings(deadline=None)
@given(DTYPES, st.lists(st.booleans(), max_size=40), st.integers(0, 5))
def test_numbers_go_there_and_back(dtype: type, flags: list[bool], start: int) -> None:
    values = (np.arange(len(flags)) % 7 - 1).astype(dtype)
    missing = np.array(flags, np.bool_)
    made = arrow.numbers(values, missing)
    made.validate(full=True)
    assert made.equals(pa.array(values, mask=missing))
    expected = np.where(missing, np.array(1, dtype), values)[start:]
    assert np.array_equal(arrow.to_numpy(made.slice(start), 1), expected)


@given(st.integers(0, 9), st.integers(0, 4))
def test_fixed_bytes_go_there_and_back(num: int, start: int) -> None:
    rows = np.arange(num * 3, dtype=np.uint64).reshape(num, 3)
    made = arrow.fixed_bytes(rows)
    made.validate(full=True)
    assert np.array_equal(arrow.from_fixed_bytes(made.slice(start), np.uint64), rows[start:])


def test_too_much_for_one_array_is_refused() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 2**30

    with pytest.raises(OverflowError, match="bytes in one array"):
        arrow.blobs([Huge(), Huge(), Huge()])


def test_pandas_stays_out() -> None:
    code = (
        "import sys, numpy as np\nfrom motherlode.data import arrow\n"
        "arrow.blobs([b'a', None]); arrow.texts(['a']); arrow.to_numpy(arrow.numbers(np.zeros(3)), 0)\n"
        "assert 'pyarrow' in sys.modules and 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
