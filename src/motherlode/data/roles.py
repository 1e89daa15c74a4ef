"""Which column of a table is the sample, and which its label, caption, licence or path: as named, or as users say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from motherlode.data.source import SourceOptions
from motherlode.errors import SourceError
from motherlode.registry import did_you_mean

ROLES: Mapping[str, tuple[str, ...]] = {
    "media": ("image", "img", "audio", "video", "media", "bytes", "content", "data", "png", "jpg"),
    "path": (
        "file_name",
        "path",
        "file",
        "filename",
        "filepath",
        "file_path",
        "image_path",
        "image",
        "uri",
        "url",
        "audio",
        "video",
    ),
    "label": ("label", "labels", "class", "category", "target", "fine_label", "cls", "class_name"),
    "caption": ("caption", "text", "title", "description", "prompt", "transcript", "transcription", "sentence"),
    "licence": ("licence", "license", "rights"),
}
TEXT_ROLES: Mapping[str, tuple[str, ...]] = {
    "text": (
        *("text", "content", "document", "body", "article", "markdown", "code", "raw_content", "page_content"),
        *("contents", "story", "poem", "passage", "paragraphs", "lines", "sentence", "abstract", "review"),
    ),
    "path": ("path", "file_name", "file", "filename", "filepath", "file_path", "uri", "url", "source_url"),
    "label": ROLES["label"],
    "caption": ("caption", "title", "headline", "description", "prompt"),
    "licence": ROLES["licence"],
}
_MEDIA_FEATURES = frozenset({"Image", "Audio", "Video"})


def roles(
    names: Sequence[str],
    wanted: Mapping[str, str],
    where: str,
    need: str,
    known: Mapping[str, tuple[str, ...]] = ROLES,
) -> dict[str, str]:
    """Which column plays which role: as the user says, else by its name.

    Raises:
        SourceError: a column the user names is not there, or none can play the role `need`.
    """
    for role, column in wanted.items():
        if role not in known:
            raise SourceError("`columns` maps roles to columns", role, did_you_mean(role, list(known)))
        if column and column not in names:
            raise SourceError(
                f"the column for `{role}` must exist in {where}", column, did_you_mean(column, list(names))
            )
    lowered = {name.lower().strip(): name for name in names if name}
    found = {
        role: wanted[role] if role in wanted else next((lowered[n] for n in candidates if n in lowered), "")
        for role, candidates in known.items()
    }
    if not found.get(need):
        what = {"path": "paths", "text": "text"}.get(need, "media")
        raise SourceError(
            f"a table must have a column of {what}",
            f"{where} has {', '.join(map(str, names)) or 'no columns'}",
            _name_it(need),
        )
    return {role: column for role, column in found.items() if column}


def _name_it(role: str) -> str:
    return f"name it, `columns: {{{role}: …}}` in a file for --options (in Python columns={{'{role}': '…'}})"


def arrow_roles(
    schema: Any, options: SourceOptions, where: str, paths: Callable[[], list[str]] = list
) -> tuple[dict[str, str], list[str]]:
    """Roles of an Arrow schema's columns, and names of integer labels (from `datasets`' metadata, if any).

    Args:
        paths: columns that hold paths of media, asked where neither a type nor a name tells of any.
    """
    import pyarrow as pa

    features = _features(schema)
    columns = _text_columns(schema, options, where) if options.is_text else {}
    if not columns:
        columns = _media_columns(schema, features, options, where, paths)
    for role in ("label", "caption", "licence"):
        column = columns.get(role)
        if column and (column == columns.get("media") or pa.types.is_nested(schema.field(column).type)):
            del columns[role]
    label = features.get(columns.get("label", ""), {})
    names = label.get("names") if isinstance(label, dict) and label.get("_type") == "ClassLabel" else None
    return columns, list(names or [])


class Held(NamedTuple):
    """What the columns of an Arrow schema hold.

    Args:
        declared: types of media that `datasets` declared: "Image", "Audio", "Video".
        blobs: columns of bytes, or of {bytes, path} structs.
        texts: columns of strings that play no other role by their names.
    """

    declared: set[str]
    blobs: list[str]
    texts: list[str]


def held(schema: Any) -> Held:
    """See `Held`."""
    import pyarrow as pa

    declared = {str(f["_type"]) for f in _features(schema).values() if isinstance(f, dict) and "_type" in f}
    strings = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    blobs = [field.name for field in schema if _holds_bytes(field.type)]
    return Held(declared & _MEDIA_FEATURES, blobs, [name for name in strings if may_be_text(name)])


def _text_columns(schema: Any, options: SourceOptions, where: str) -> dict[str, str]:
    """Roles of the columns of a table of texts; empty where it has none but names files."""
    wanted = {"text" if role == "media" else role: column for role, column in options.columns.items()}
    _, blobs, texts = held(schema)
    if has_no_text(schema.names, wanted, texts) and (blobs or has_paths(schema.names)):
        return {}
    return text_roles(schema.names, wanted, where, texts)


def _media_columns(
    schema: Any, features: dict[str, Any], options: SourceOptions, where: str, paths: Callable[[], list[str]]
) -> dict[str, str]:
    """Roles of the columns of a table of media: bytes, {bytes, path} structs, or paths."""
    import pyarrow as pa

    wanted = dict(options.columns)
    if "media" not in wanted:
        binary = [f.name for f in schema if _holds_bytes(f.type)]
        declared = [n for n, f in features.items() if isinstance(f, dict) and f.get("_type") in _MEDIA_FEATURES]
        known = [name for name in ROLES["media"] if name in binary]
        strings = {
            f.name.lower(): f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)
        }
        named = [strings[name] for name in ROLES["path"] if name in strings]
        candidates = [n for n in declared if n in schema.names] + known + binary + named or paths()
        if not candidates:
            raise SourceError(
                "a table must have a column of media bytes or of paths",
                f"{where} has {', '.join(schema.names)}",
                _name_it("media"),
            )
        wanted["media"] = candidates[0]
    columns = roles(schema.names, wanted, where, need="media")
    columns.pop("path", None)
    return columns


def _features(schema: Any) -> dict[str, Any]:
    """The feature types that `datasets` writes into a schema's metadata; empty where there are none."""
    raw = (schema.metadata or {}).get(b"huggingface")
    try:
        return dict(json.loads(raw)["info"]["features"]) if raw else {}
    except (ValueError, KeyError, TypeError):
        return {}


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or str(kind) == "binary_view")


def text_roles(names: Sequence[str], wanted: dict[str, str], where: str, texts: Sequence[str]) -> dict[str, str]:
    """Roles of a table's columns, the text first; where no name tells it, a lone column of texts is it.

    Args:
        texts: the columns that hold texts and play no other role.

    Raises:
        SourceError: no column can be the text.
    """
    if has_no_text(names, wanted, ()) and len(texts) == 1:
        wanted = {**wanted, "text": texts[0]}
    found = roles(names, wanted, where, need="text", known=TEXT_ROLES)
    return {role: name for role, name in found.items() if role == "text" or name != found["text"]}


def has_no_text(names: Sequence[str], wanted: Mapping[str, str], texts: Sequence[str]) -> bool:
    """Whether nothing tells which column is the text: neither the user nor a name, nor is there one column of texts."""
    lowered = {name.lower().strip() for name in names}
    return not wanted.get("text") and len(texts) != 1 and not lowered & {*TEXT_ROLES["text"]}


def has_paths(names: Sequence[str]) -> bool:
    """Whether a column's name says that it names files."""
    return any(name.lower().strip() in TEXT_ROLES["path"] for name in names)


def may_be_text(name: str) -> bool:
    """Whether a column of this name plays no other role."""
    lowered = name.lower().strip()
    return lowered not in ("id", "language", "lang", "date", "source") and not any(
        lowered in known for role, known in TEXT_ROLES.items() if role != "text"
    )
