"""What the worker processes of `prepare` import, and the server that does it for them, started ahead of time.

Nothing heavy is imported here, so that the server can be started before anything is: while one process reads options
and plans, the other imports numba, kernels and models on another core (.3 of .9 s less to wait). A modality that is
worth it says so in a file, `ahead.json`: asking the modality itself would import it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from motherlode import execute

PRELOAD = ("motherlode.data.parts", "motherlode.data.write", "pyarrow.parquet")
ALONE_BYTES = 1 << 20
"""Sources smaller than this are cleaned sooner by one process than others can be started."""
_MODALITIES = Path(__file__).parents[1] / "modality"
_MOST_LOOKED_AT = 1000


def start_ahead(sources: Sequence[str], modality: str | None, workers: int | None) -> None:
    """Start the server at once where it is sure what workers will import; elsewhere it starts when they are needed.

    Args:
        sources: as given by a user; only files of this machine, and the first ones below folders, are looked at.
        modality: as given; None where the files have to tell.
        workers: processes wanted; None: one a core.
    """
    files = [file for source in sources for file in _files(source)]
    if (workers or execute.num_cores()) == 1 or sum(size for _, size in files) <= ALONE_BYTES:
        return
    for path in sorted(_MODALITIES.glob("*/ahead.json")):
        ahead = json.loads(path.read_text())
        endings = tuple(ahead["endings"])
        if modality == path.parent.name or (modality is None and all(name.endswith(endings) for name, _ in files)):
            execute.start_server((*PRELOAD, *ahead["preload"]))
            return


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
