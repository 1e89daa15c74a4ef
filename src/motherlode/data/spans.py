"""Large files of text as records, a block at a time, and where such files may be cut so that workers share one.

A record is a line, a paragraph or a row of CSV. Whatever the size of the file, a reader holds one block and one record
of at most `max_bytes`; of a longer record only the beginning is kept, and its size is counted. Cuts fall between
records, so a range of bytes can be read by itself. What it trades away: a CSV has to be scanned from its start to be
cut (a quote may open a cell of many lines), at about 1 GB/s; compressed files and UTF-16 are streamed by one worker.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from typing import IO, Any, NamedTuple, Protocol

import numpy as np

from motherlode.storage import open_uri

BLOCK_BYTES = 4 << 20
HEADER_BYTES = 4096
COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".xz": "xz"}
_WIDE_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_CSV_PLAIN = 1
_PROBE_BYTES = 1 << 16
_PIECE_BYTES = 1 << 16
_PARAGRAPH_END = re.compile(rb"\n(?:[ \t\r\f\v]*\n)+")
_OVERLAP_BYTES = 256


class Record(NamedTuple):
    """One record.

    Args:
        offset: where it begins in the file, in (decompressed) bytes.
        data: its bytes, the mark that ends it included; the first `HEADER_BYTES` of one that is too long.
        num_bytes: its whole size; more than `len(data)` where it is too long.
    """

    offset: int
    data: bytes
    num_bytes: int


class Splitter(Protocol):
    """Finds where records end. One object reads one stretch of bytes, in order."""

    must_scan: bool
    """Whether a cut can only be found by reading everything before it."""

    def ends(self, buffer: bytes, num_seen: int) -> list[int]:
        """Positions in `buffer`, ascending, at which records end; its first `num_seen` bytes were seen before."""
        ...

    def give_up(self) -> None:
        """The record under way is longer than any may be: let the next line break end it."""
        ...


class Lines:
    """Records end with a line feed."""

    must_scan = False

    def ends(self, buffer: bytes, num_seen: int) -> list[int]:
        """See `Splitter`."""
        found = []
        place = buffer.find(b"\n", num_seen) + 1
        while place:
            found.append(place)
            place = buffer.find(b"\n", place) + 1
        return found

    def give_up(self) -> None:
        """A line ends at its line break anyhow."""


class Paragraphs:
    """Records end with a blank line, or several."""

    must_scan = False

    def ends(self, buffer: bytes, num_seen: int) -> list[int]:
        """See `Splitter`; the last bytes seen are looked at again, for a blank line may lie across two blocks."""
        return [match.end() for match in _PARAGRAPH_END.finditer(buffer, max(num_seen - _OVERLAP_BYTES, 0))]

    def give_up(self) -> None:
        """A paragraph that is too long ends where it ends."""


class Whole:
    """The file is one record."""

    must_scan = True

    def ends(self, buffer: bytes, num_seen: int) -> list[int]:
        """See `Splitter`."""
        return []

    def give_up(self) -> None:
        """A file ends where it ends."""


class CsvRows:
    """Records end with a line feed outside quotes, by the rules of Python's csv module."""

    must_scan = True

    def __init__(self, delimiter: str) -> None:
        self._delimiter = ord(delimiter)
        self._state = 0

    def ends(self, buffer: bytes, num_seen: int) -> list[int]:
        """See `Splitter`."""
        from motherlode.data.csv_kernel import row_ends

        fresh = np.frombuffer(buffer, np.uint8)[num_seen:]
        ends_E = np.empty(len(fresh), np.int32)
        num_ends, self._state = row_ends(fresh, self._delimiter, self._state, ends_E)
        return (ends_E[:num_ends].astype(np.int64) + num_seen).tolist()  # type: ignore[no-any-return]

    def give_up(self) -> None:
        """Take the quote that is still open for a stray one."""
        self._state = _CSV_PLAIN


def records(
    file: io.BufferedReader, splitter: Splitter, max_bytes: int, *, first: int = 0, end: int | None = None
) -> Iterator[Record]:
    """The records of a file from byte `first`, at which it stands, to `end` or to its end; empty ones too.

    A last record without its end mark counts. Raises what reading the file raises.
    """
    buffer, lost, offset, position = b"", 0, first, first
    # One read a block: what came before the damage of a compressed file is not lost with it.
    while block := file.read1(BLOCK_BYTES if end is None else min(BLOCK_BYTES, end - position)):
        position += len(block)
        num_seen, start = len(buffer), 0
        buffer += block
        for stop in splitter.ends(buffer, num_seen):
            yield _record(offset, buffer[start:stop], lost, max_bytes)
            offset += stop - start + lost
            start, lost = stop, 0
        buffer = buffer[start:]
        if len(buffer) + lost > max_bytes and len(buffer) > HEADER_BYTES:
            lost += len(buffer) - HEADER_BYTES
            buffer = buffer[:HEADER_BYTES]
            splitter.give_up()
    if buffer:
        yield _record(offset, buffer, lost, max_bytes)


def _record(offset: int, data: bytes, lost: int, max_bytes: int) -> Record:
    num_bytes = len(data) + lost
    return Record(offset, data[:HEADER_BYTES] if num_bytes > max_bytes else data, num_bytes)


def cuts(
    file: io.BufferedReader, splitter: Splitter, num_bytes: int, step: int, max_bytes: int, first: int = 0
) -> Iterator[tuple[int, int]]:
    """Ranges of about `step` bytes that cover [first, num_bytes) and begin and end between records."""
    if num_bytes - first <= step:
        yield from [(first, num_bytes)] if num_bytes > first else []
        return
    start = first
    if splitter.must_scan:
        file.seek(first)
        places = _scanned(records(file, splitter, max_bytes, first=first, end=num_bytes), first, step)
    else:
        places = _sought(file, splitter, num_bytes, first, step)
    for place in places:
        yield start, place
        start = place
    if start < num_bytes:
        yield start, num_bytes


def _scanned(found: Iterator[Record], first: int, step: int) -> Iterator[int]:
    target = first + step
    for record in found:
        if record.offset >= target:
            yield record.offset
            target = record.offset + step


def _sought(file: IO[bytes], splitter: Splitter, num_bytes: int, first: int, step: int) -> Iterator[int]:
    target = first + step
    while target < num_bytes:
        # A record may end right at the target, so its last byte is looked at too.
        start = target - 1
        file.seek(start)
        buffer = b""
        found: list[int] = []
        while not found and (block := file.read(_PROBE_BYTES)):
            num_seen = len(buffer)
            buffer += block
            found = splitter.ends(buffer, num_seen)
            if not found:
                start += max(len(buffer) - _OVERLAP_BYTES, 0)
                buffer = buffer[-_OVERLAP_BYTES:]
        if not found or start + found[0] >= num_bytes:
            return
        yield start + found[0]
        target = start + found[0] + step


def is_compressed(path: str) -> bool:
    """Whether the ending names a compression we read."""
    return path.lower().endswith(tuple(COMPRESSED))


def open_text(path: str) -> tuple[io.BufferedReader, bool]:
    """A file as UTF-8 or another encoding that holds ASCII, decompressed, and whether it may be cut into ranges.

    UTF-16 and UTF-32 (known by their marks) become UTF-8 on the way; a mark of UTF-8 is left to the reader. Reading a
    damaged compressed file raises OSError or EOFError where the damage lies.
    """
    file = io.BufferedReader(_plain(path), BLOCK_BYTES)
    head = file.peek(4)
    for mark, name in _WIDE_MARKS.items():
        if head.startswith(mark):
            file.read(len(mark))
            return io.BufferedReader(_Recoded(file, name), BLOCK_BYTES), False
    return file, not is_compressed(path)


def _plain(path: str) -> Any:
    """The decompressed bytes of a file as a raw stream."""
    import lzma

    import pyarrow as pa

    codec = next((codec for ending, codec in COMPRESSED.items() if path.lower().endswith(ending)), "")
    file = open_uri(path)
    if not codec:
        return file
    return _Pieces(
        lzma.open(file) if codec == "xz" else pa.CompressedInputStream(pa.PythonFile(file, "r"), codec), file
    )


class _Pieces(io.RawIOBase):
    """A decompressed file, given out in small pieces."""

    def __init__(self, file: Any, packed: IO[bytes]) -> None:
        self._file, self._packed = file, packed

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, target: Any) -> int:
        """Fill the beginning of `target`."""
        piece = self._file.read(min(len(target), _PIECE_BYTES))
        target[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """Close the files beneath too; that of xz does not close its own."""
        self._file.close()
        self._packed.close()
        super().close()


class _Recoded(io.RawIOBase):
    """A file of another encoding as UTF-8; what cannot be decoded becomes U+FFFD."""

    def __init__(self, file: IO[bytes], encoding: str) -> None:
        self._file = file
        self._decoder: Any = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._ready = b""
        self._is_over = False

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, target: Any) -> int:
        """Fill `target` with the next bytes of UTF-8."""
        while not self._ready and not self._is_over:
            block = self._file.read(max(len(target) // 4, 4))
            self._is_over = not block
            self._ready = self._decoder.decode(block, final=self._is_over).encode("utf-8", "replace")
        num = min(len(target), len(self._ready))
        target[:num], self._ready = self._ready[:num], self._ready[num:]
        return num

    def close(self) -> None:
        """Close the file beneath too."""
        self._file.close()
        super().close()
