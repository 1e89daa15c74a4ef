"""One file of captions for a folder of files: who is meant by a name, and what is said of it.

Lines `name: text` (as Asterisk lists its prompts), `name|text` (LJ Speech) or `name<tab>text`; or a CSV, TSV or
JSON-lines table with a column of names and one of texts. A name is a path without its ending, below the folder or below
any part of it; the first caption of a name counts. Lines that begin with `;` or `#` are comments.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from motherlode import storage
from motherlode.data.spans import open_text
from motherlode.errors import SourceError

_SIGNS = ("|", "\t", ": ")
_COMMENTS = (";", "#")


@dataclass
class Captions:
    """Captions by name; notes which were asked for."""

    by_name: dict[str, str]
    _used: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, path: str) -> Captions:
        """Read a file of captions.

        Raises:
            SourceError: it is missing, or no line of it reads as a name and a text.
        """
        found: dict[str, str] = {}
        try:
            for name, text in _pairs(path):
                found.setdefault(_stem(name.strip()), text.strip())
        except (OSError, EOFError) as error:
            raise SourceError(
                "the file of captions must be readable", path, storage.why_unreadable(error, path)
            ) from error
        found = {name: text for name, text in found.items() if name and text}
        if not found:
            raise SourceError("a file of captions must hold some", path, "lines `name: text`, or a CSV with columns")
        return cls(found)

    def of(self, path: str) -> str | None:
        """The caption of a file: by its path below the folder, else by ever shorter ends of it."""
        parts = _stem(path).split("/")
        for start in range(len(parts)):
            name = "/".join(parts[start:])
            if name in self.by_name:
                self._used.add(name)
                return self.by_name[name]
        return None

    @property
    def num_unused(self) -> int:
        """How many were not asked for so far."""
        return len(self.by_name) - len(self._used)


def _pairs(path: str) -> Iterator[tuple[str, str]]:
    from motherlode.data.containers import table_rows
    from motherlode.data.roles import roles
    from motherlode.data.source import Entry

    entry = Entry(path, 0, "")
    with open_text(path)[0] as file:
        if entry.kind == "table":
            for row in table_rows(file, entry, path):
                columns = roles(list(row), {}, path, need="path")
                if "caption" not in columns:
                    raise SourceError("a table of captions must have a column of them", path, "name one `caption`")
                yield str(row.get(columns["path"]) or ""), str(row.get(columns["caption"]) or "")
            return
        for line in file:
            text = line.decode("utf-8", errors="replace").strip()
            sign = next((sign for sign in _SIGNS if sign in text), None)
            if sign and not text.startswith(_COMMENTS):
                name, _, said = text.partition(sign)
                yield name, said


def _stem(name: str) -> str:
    """A path without the ending of a file, if it has one."""
    stem, ending = os.path.splitext(name)
    return stem if 1 < len(ending) <= 6 and " " not in ending else name
