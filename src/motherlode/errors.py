"""The one way Motherlode says no.

Every error states three things: the invariant that does not hold, the value received, and the likely fix.
The command line prints them without a traceback and exits with code 2; `--debug` shows the traceback.
Bad *samples* never raise: they are dropped with a reason and counted.
"""

from __future__ import annotations


class MotherlodeError(Exception):
    """Base of every error a user can mend.

    Args:
        invariant: what must hold, as a sentence ("the source folder must exist").
        received: the value that breaks it; shown with `repr` unless it is a string.
        fix: what the user can do about it.
    """

    exit_code = 2

    def __init__(self, invariant: str, received: object = None, fix: str = "") -> None:
        self.invariant = invariant
        self.received = received
        self.fix = fix
        super().__init__(self._text())

    def _text(self) -> str:
        lines = [self.invariant]
        if self.received is not None:
            value = self.received if isinstance(self.received, str) else repr(self.received)
            lines.append(f"  received: {value}")
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


class RecipeError(MotherlodeError):
    """A recipe, an option or a command-line value is not one we know or can honour."""


class SourceError(MotherlodeError):
    """A source of raw samples is missing, empty or of no known kind."""


class DatasetError(MotherlodeError):
    """A prepared dataset is missing, incomplete or altered since it was written."""


class StorageError(MotherlodeError):
    """A disk is full, a folder is not writable, or a file on it is not what its manifest says."""


class CorruptError(StorageError):
    """A file's content does not match the hash recorded when it was written."""


class LockedError(StorageError):
    """Another process holds the folder."""


class TrainingError(MotherlodeError):
    """Training cannot start, resume or go on."""


class DivergedError(TrainingError):
    """A loss or a gradient became non-finite; nothing was written after it."""


class MeasureError(MotherlodeError):
    """A measure cannot be taken, or two measures cannot be compared."""


class MissingExtraError(MotherlodeError):
    """An optional dependency is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional dependency", None, f"pip install 'motherlode[{extra}]'")
