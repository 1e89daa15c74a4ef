"""What a person can do about files that are not read: by their endings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from motherlode import registry

_REMEDIES: dict[str, tuple[str, ...]] = {
    "to use a table beside files, name it as the source, or in the option `captions`": (".csv", ".tsv", ".jsonl"),
    "unpack archives first": (".zip", ".rar", ".7z", ".bz2", ".xz", ".zst", ".gz", ".tar.bz2", ".tar.xz"),
    "save documents as .pdf, .html or .txt": (
        *(".doc", ".docx", ".odt", ".rtf", ".pages", ".wpd"),
        *(".ppt", ".pptx", ".odp", ".key", ".djvu", ".ps"),
    ),
    "save e-books as .epub": (".mobi", ".azw", ".azw3", ".fb2", ".lit"),
    "save sheets as .csv": (".xls", ".xlsx", ".ods", ".numbers"),
    "save pictures as .png or .jpg": (
        *(".psd", ".xcf", ".svg", ".eps", ".ai", ".ico", ".tga", ".dcm", ".exr", ".hdr", ".jxl"),
        *(".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".raf", ".rw2", ".raw"),
    ),
}


_AMONG_NOTHING = {
    "save tables as .csv, .jsonl or .parquet": (".json", ".xml", ".pkl", ".npz", ".npy", ".h5", ".hdf5", ".db")
}
"""Files that often lie beside samples, and hold them only where nothing else does."""


def advise(endings: Iterable[str], *, is_all: bool = False) -> str:
    """A remedy for each kind of ending that has one; "" where none has.

    Args:
        endings: lower-case, with the dot.
        is_all: there is nothing else in the source.
    """
    found = {*endings}
    remedies = [*_readers(found)] if is_all else []
    known = {**_REMEDIES, **_AMONG_NOTHING} if is_all else _REMEDIES
    remedies += [remedy for remedy, kinds in known.items() if not found.isdisjoint(kinds)]
    return "; ".join(remedies)


def _readers(endings: set[str]) -> Iterator[str]:
    """The modalities that read such files."""
    for name in registry.names("modality"):
        read = endings & registry.find("modality", name).suffixes
        if read:
            yield f"--modality {name} reads {' '.join(sorted(read))}"
