"""What the worker processes of `prepare` import, and the server that does it for them, started ahead of time.

Nothing heavy is imported here, so that the server can be started before anything is: while one process reads options
and plans, the other imports numba, kernels and models on another core (.3 of .9 s less to wait).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice

from motherlode import execute

PRELOAD = ("motherlode.data.parts", "motherlode.data.write", "pyarrow.parquet")
ALONE_BYTES = 1 << 20
"""Sources smaller than this are cleaned sooner by one process than others can be started."""
_TEXT = ("motherlode.modality.text.ready",)
_TEXT_ENDINGS = (".jsonl", ".ndjson", ".txt", ".md", ".html", ".htm")
_MOST_LOOKED_AT = 1000


def start_ahead(sources: Sequence[str], modality: str | None, workers: int | None) -> None:
    """Start the server at once where workers for texts will surely be needed; elsewhere it starts when they are.

    Args:
        sources: as given by a user; only files of this machine, and the first ones below folders, are looked at.
        modality: as given; None where the files have to tell.
        workers: processes wanted; None: one a core.
    """
    files = [file for source in sources for file in _files(source)]
    is_text = modality == "text" or (modality is None and all(name.endswith(_TEXT_ENDINGS) for name, _ in files))
    if is_text and (workers or execute.num_cores()) > 1 and sum(size for _, size in files) > ALONE_BYTES:
        execute.start_server((*PRELOAD, *_TEXT))


def _files(source: str) -> list[tuple[str, int]]:
    """(name, bytes) of a file, or of the first files below a folder."""
    if os.path.isfile(source):
        return [(source.lower(), os.path.getsize(source))]
    found: list[tuple[str, int]] = []
    folders = [source]
    while folders and len(found) < _MOST_LOOKED_AT:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in islice(entries, _MOST_LOOKED_AT):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file():
                    found.append((entry.name.lower(), entry.stat().st_size))
    return found
