"""One raw row, and what the reader of a partition knows: what all readers have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from motherlode.data.containers import full_path
from motherlode.data.source import Partition
from motherlode.modality import Modality

UNREADABLE = "unreadable"
TOO_LARGE = "too_large"


class Row(NamedTuple):
    """One raw row.

    Args:
        uri: where it came from, relative to its source.
        media: file bytes; the first `HEADER_BYTES` of a row that is `too_large`, empty for an unreadable one.
        label, caption, licence: text or None.
        reason: None, or why the row is dropped before it is examined.
        detail: more about the reason, for a person.
    """

    uri: str
    media: bytes
    label: str | None = None
    caption: str | None = None
    licence: str | None = None
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class Job:
    """A partition, and what its reader needs to know.

    Args:
        partition: what to read.
        modality: gives the endings that name media within a tar, and the files that arrays become.
        max_bytes: files above this are not read: reason `too_large`.
    """

    partition: Partition
    modality: Modality
    max_bytes: int

    def path(self, name: str) -> str:
        """The full path or URL of a file of the partition."""
        return full_path(self.partition.root, name)
