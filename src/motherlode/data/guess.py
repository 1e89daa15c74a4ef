"""What a source's samples are, when the user does not say: by the endings of its files and the columns of its tables.

Names and headers are read, no sample. Where the files speak for two modalities, neither wins: the user is asked.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from motherlode import registry
from motherlode.data import containers, documents, spans
from motherlode.data.options import PrepareOptions
from motherlode.data.roles import TEXT_ROLES, has_no_text, has_paths, held
from motherlode.data.source import Entry, Place, SourceLike, refuse_prepared, resolve
from motherlode.errors import RecipeError, SourceError
from motherlode.modality import Modality

MOST_FILES = 10_000
_MEDIA_SHARE, _TEXT_SHARE = 0.51, 0.8
"""Shares of the files from which they decide: pictures often have texts beside them, documents seldom pictures."""


def settled(options: PrepareOptions) -> tuple[PrepareOptions, str]:
    """The options with a modality in the place of `auto`, and what shows it; pictures where nothing does.

    Raises:
        SourceError, RecipeError: as `guess`.
    """
    if options.modality != "auto":
        return options, ""
    name, why = guess(options.source, options.columns)
    return options.model_copy(update={"modality": name or "image"}), why


def guess(source: SourceLike, columns: Mapping[str, str] | None = None) -> tuple[str | None, str]:
    """The modality of a source and what shows it; (None, "") where nothing does.

    Args:
        columns: what the user says of the columns of its tables, by role.

    Raises:
        SourceError: the source is missing, is a dataset that `prepare` made, or is tables whose columns tell nothing.
        RecipeError: it holds samples of two modalities.
    """
    modalities: list[Modality] = [registry.find("modality", name) for name in registry.names("modality")]
    votes: Counter[str] = Counter()
    shown: dict[str, str] = {}
    unclear = ""
    for place in resolve(source):
        refuse_prepared(place)
        entries = list(islice(place.entries(), MOST_FILES))
        for entry in _without_sidecars(entries, modalities):
            name, why = _vote(place, entry, modalities, columns or {})
            if name:
                votes[name] += 1
                shown.setdefault(name, why)
            else:
                unclear = unclear or why
    if not votes and unclear:
        raise SourceError(
            "the columns of a table must tell what its samples are",
            unclear,
            "name the one that holds them in a file for --options: `columns: {text: …}`, or, for media or paths of "
            "media, `columns: {media: …}` and --modality",
        )
    if not votes:
        return None, ""
    texts = {modality.name for modality in modalities if modality.stored == "text"}
    name, count = votes.most_common(1)[0]
    if count < (_TEXT_SHARE if name in texts else _MEDIA_SHARE) * votes.total():
        held = ", ".join(f"{number:,} {other}" for other, number in votes.most_common())
        wish = " or ".join(f"--modality {other}" for other in votes)
        raise RecipeError("a source of several modalities must be told which to read", held, wish)
    return name, shown[name]


def _without_sidecars(entries: list[Entry], modalities: Iterable[Modality]) -> Iterator[Entry]:
    """The files but for those that go with one of media of the same name."""
    media = {suffix for modality in modalities if modality.stored == "media" for suffix in modality.suffixes}
    stems = {os.path.splitext(entry.path)[0] for entry in entries if entry.suffix in media}
    return (entry for entry in entries if entry.suffix in media or os.path.splitext(entry.path)[0] not in stems)


def _vote(place: Place, entry: Entry, modalities: list[Modality], columns: Mapping[str, str]) -> tuple[str | None, str]:
    """The modality that one file speaks for, and how; (None, its columns) for a table that speaks for none."""
    where = containers.full_path(place.root, entry.path)
    try:
        if entry.kind == "table":
            return _of_columns(where, *documents.head(where), modalities, columns)
        if entry.kind in ("parquet", "arrow"):
            schema, values = containers.first_row(where, entry.kind)
            declared, blobs, texts = held(schema)
            if not (declared or blobs):
                return _of_columns(where, schema.names, texts, values, modalities, columns)
            if columns.get("text"):
                return _text(modalities), "a column is named as text"
            found = _of_types(declared, blobs, texts, modalities)
            return found if found[0] else (None, _told(where, schema.names))
    except (*documents.DAMAGE, SourceError):
        return None, ""
    name = _of_ending(entry.path, modalities)
    return name, f"files end in {entry.suffix}" if name else ""


def _of_ending(path: str, modalities: Iterable[Modality]) -> str | None:
    name = path.lower()
    if spans.is_compressed(name):
        name = os.path.splitext(name)[0]
    ending = os.path.splitext(name)[1]
    return next((modality.name for modality in modalities if ending in modality.suffixes), None)


def _text(modalities: Iterable[Modality]) -> str | None:
    return next((modality.name for modality in modalities if modality.stored == "text"), None)


def _told(where: str, names: Iterable[str]) -> str:
    return f"{where} has {', '.join(map(str, names)) or 'no columns'}"


def _of_columns(
    where: str,
    names: list[str],
    texts: list[str],
    values: Mapping[str, Any],
    modalities: list[Modality],
    columns: Mapping[str, str],
) -> tuple[str | None, str]:
    """By the files a table names, where they are media or there is nothing else; else by its column of text.

    Args:
        where: the table.
        names: of its columns.
        texts: those of them that may hold texts.
        values: its first row.
        modalities: all.
        columns: what the user says of them, by role.
    """
    media = {modality.name for modality in modalities if modality.stored == "media"}
    if columns.get("text"):
        return _text(modalities), "a column is named as text"
    is_text = not has_no_text(names, {}, texts)
    named = {columns.get("media"), columns.get("path")}
    has_text = not {name.lower().strip() for name in names}.isdisjoint(TEXT_ROLES["text"])
    for name in names:
        found = _of_ending(str(values.get(name)), modalities)
        is_path = has_paths([name]) or name in named
        # A lone column of strings may be a text, but not where it names a picture or a sound.
        if found in media and (is_path or not has_text or name.lower().startswith(str(found))):
            return found, "a table names such files"
        if found and is_path and not is_text:
            return found, "a table names such files"
    return (_text(modalities), "a column holds text") if is_text else (None, _told(where, names))


def _of_types(
    declared: set[str], blobs: list[str], texts: list[str], modalities: list[Modality]
) -> tuple[str | None, str]:
    """By the type that `datasets` declared, by a column of bytes, by a column of text beside them."""
    media = [modality for modality in modalities if modality.stored == "media"]
    for modality in media:
        if modality.column.capitalize() in declared or modality.column in map(str.lower, blobs):
            return modality.name, f"a column holds {modality.name} files"
    named = {name.lower() for name in texts} & {*TEXT_ROLES["text"]}
    if blobs and not named:
        # A column of bytes is named as files of its kind end, as webdataset has it: jpg, flac, mp4.
        ended = {modality.name for modality in media if modality.suffixes & {f".{name.lower()}" for name in blobs}}
        if len(ended) == 1:
            return ended.pop(), "a column holds bytes"
    return (_text(modalities), "a column holds text") if named else (None, "")
