"""Arrow arrays built from their buffers: as fast as a join, and without the 0.3 s that pyarrow spends importing pandas.

`pyarrow.array` asks pandas whether its argument is one of its own, and so imports it wherever it is installed, once in
every process. These builders take lists of bytes or text and NumPy arrays, which is all that a part needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

import numpy as np
from numpy.typing import NDArray


def blobs(items: Sequence[bytes | None], kind: str = "binary") -> Any:
    """An Arrow array of type `binary` or `string`; None becomes null.

    Raises:
        OverflowError: the items hold 2 GiB or more together.
    """
    import pyarrow as pa

    held = [item or b"" for item in items]
    ends = np.fromiter(chain((0,), accumulate(map(len, held))), np.int64, len(held) + 1)
    if ends[-1] > np.iinfo(np.int32).max:
        raise OverflowError(f"{ends[-1]} bytes in one array")
    buffers = [_validity(items), pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(b"".join(held))]
    return pa.Array.from_buffers(pa.binary() if kind == "binary" else pa.string(), len(held), buffers)


def texts(items: Sequence[str | None]) -> Any:
    """An Arrow string array; what cannot be UTF-8 (odd file names) is escaped."""
    return blobs([None if item is None else item.encode("utf-8", "backslashreplace") for item in items], "string")


def numbers(values: NDArray[Any], is_null: NDArray[np.bool_] | None = None) -> Any:
    """An Arrow array over the memory of a numeric or Boolean NumPy array."""
    import pyarrow as pa

    data = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else np.ascontiguousarray(values)
    validity = None if is_null is None else pa.py_buffer(np.packbits(~is_null, bitorder="little"))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [validity, pa.py_buffer(data)])


def to_numpy(column: Any, missing: Any) -> NDArray[Any]:
    """A numeric or Boolean Arrow array as a NumPy array of its own, nulls as `missing`."""
    import pyarrow as pa

    num, start = len(column), column.offset
    validity, data = column.buffers()
    if pa.types.is_boolean(column.type):
        values = _bits(data, start, num)
    else:
        values = np.frombuffer(data or b"", column.type.to_pandas_dtype())[start : start + num].copy()
    if column.null_count:
        values[~_bits(validity, start, num)] = missing
    return values


def fixed_bytes(rows_ND: NDArray[Any]) -> Any:
    """Rows of an array as fixed-size binary, without a copy where they lie together."""
    import pyarrow as pa

    rows_ND = np.ascontiguousarray(rows_ND)
    width = rows_ND.shape[1] * rows_ND.itemsize
    return pa.Array.from_buffers(pa.binary(width), len(rows_ND), [None, pa.py_buffer(rows_ND)])


def from_fixed_bytes(column: Any, dtype: Any) -> NDArray[Any]:
    """The inverse of `fixed_bytes`, without a copy."""
    width = column.type.byte_width
    flat = np.frombuffer(column.buffers()[1], np.uint8)
    return flat[column.offset * width : (column.offset + len(column)) * width].reshape(len(column), width).view(dtype)


def _bits(buffer: Any, start: int, num: int) -> NDArray[np.bool_]:
    packed = np.frombuffer(buffer or b"", np.uint8)
    return np.unpackbits(packed, bitorder="little")[start : start + num].astype(np.bool_)


def _validity(items: Sequence[object]) -> Any:
    """Bitmap of what is there; None where all is."""
    import pyarrow as pa

    if None not in items:
        return None
    return pa.py_buffer(np.packbits(np.array([item is not None for item in items], np.bool_), bitorder="little"))
