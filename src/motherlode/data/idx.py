"""The idx format of MNIST and its kin: a magic number, the sizes of the axes, then the values, big-endian.

A gzipped file cannot be read from the middle, so each process unpacks it whole, once, and keeps the last two
(60,000 images of 28x28: 47 MB, 0.25 s).
"""

from __future__ import annotations

import gzip
from functools import lru_cache
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from motherlode.storage import open_uri

MAX_BYTES = 4 << 30
_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_shape(path: str) -> tuple[int, ...]:
    """The sizes of the axes, from the header alone.

    Raises:
        ValueError: not an idx file.
    """
    with open_uri(path) as raw:
        return _header(_unpacked(raw, path))[1]


@lru_cache(maxsize=2)
def read_array(path: str) -> NDArray[Any]:
    """The array of a file; one cut short gives the whole rows it still holds.

    Raises:
        ValueError: not an idx file, or one larger than `MAX_BYTES`.
    """
    with open_uri(path) as raw:
        file = _unpacked(raw, path)
        dtype, shape = _header(file)
        row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * np.dtype(dtype).itemsize
        if shape[0] * row_bytes > MAX_BYTES:
            raise ValueError(f"{shape[0] * row_bytes} bytes is more than this reader holds at once")
        data = _read_what_is_there(file, shape[0] * row_bytes)
    num_rows = min(shape[0], len(data) // row_bytes) if row_bytes else 0
    return np.frombuffer(data, dtype, count=num_rows * row_bytes // np.dtype(dtype).itemsize).reshape(
        num_rows, *shape[1:]
    )


def label_names(path: str) -> list[str]:
    """Names the file of labels may have for a file of samples: `train-images-idx3-ubyte.gz` → `train-labels-idx1-…`."""
    named = path.replace("images", "labels")
    names = [named.replace("idx3", "idx1"), named.replace("idx4", "idx1"), named]
    names += [name.removesuffix(".gz") if name.endswith(".gz") else name + ".gz" for name in names]
    return [name for name in names if name != path]


def _unpacked(raw: IO[bytes], path: str) -> IO[bytes]:
    return cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if path.lower().endswith(".gz") else raw


def _header(file: IO[bytes]) -> tuple[str, tuple[int, ...]]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or not 1 <= magic[3] <= 4:
        raise ValueError("the file does not start as an idx file does")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError("the file ends within its header")
    return _DTYPES[magic[2]], tuple(int(size) for size in np.frombuffer(sizes, ">u4"))


def _read_what_is_there(file: IO[bytes], num_bytes: int) -> bytes:
    pieces = []
    try:
        while num_bytes > 0 and (piece := file.read(min(num_bytes, 1 << 22))):
            pieces.append(piece)
            num_bytes -= len(piece)
    except (EOFError, OSError):
        pass  # a torn gzip: what came before the tear is kept, and the caller sees that rows are missing
    return b"".join(pieces)
