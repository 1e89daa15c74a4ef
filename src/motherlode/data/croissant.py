"""Croissant metadata (mlcommons.org/croissant/1.0): what the dataset's files are and hold, for machines.

Shards are listed with their SHA-256 and grouped as file sets that lie beside `croissant.json`, so the folder may be
moved or published as it is. No date of publication is given: a dataset does not know when it will be published.
"""

from __future__ import annotations

from typing import Any

from motherlode import storage
from motherlode.data.dataset import Dataset
from motherlode.data.step import SPLITS

FILE = "croissant.json"
CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_MOST_LICENCES = 20
_TYPES = {"string": "sc:Text", "bool": "sc:Boolean", "float": "sc:Float", "double": "sc:Float"}
_MEDIA_TYPES = {"image": "sc:ImageObject", "audio": "sc:AudioObject", "video": "sc:VideoObject"}
_MEANINGS = {
    "id": "hash of the sample's content in its normal form",
    "label": "number of the label in the record set `labels`",
    "caption": "text that goes with the sample",
    "path": "where the sample came from, within its source",
    "licence": "licence of the sample",
    "source": "which of the sources it came from",
    "cluster": "id of the row that stands for its near-duplicates",
    "label_suspect": "whether its nearest neighbours contradict its label",
    "outlier": "distance to its nearest neighbours, 1 being ordinary",
    "parent": "for an altered copy, the id of the row it was made from",
    "transformation": "for an altered copy, the alterations",
    "reason": "why the row was dropped",
    "step": "the step that dropped it",
    "detail": "more about the reason",
    "duplicate_of": "id of the row it repeats",
}


def write_croissant(dataset: Dataset, licence: str | None) -> None:
    """Write `croissant.json` into the dataset's folder."""
    storage.write_json(dataset.path / FILE, describe(dataset, licence))


def describe(dataset: Dataset, licence: str | None) -> dict[str, Any]:
    """The metadata as JSON values."""
    facts = dataset.facts
    name = " + ".join(facts["sources"])
    splits = [split for split in SPLITS if facts["shards"][split] and len(dataset.split(split))]
    result: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "description": (
            f"{facts['kept']:,} of {facts['in']:,} samples of {name}, cleaned, deduplicated and split into train and "
            "held-out; dropped samples are kept with their reasons."
        ),
        "version": "1.0.0",
        "identifier": facts["id"],
        "distribution": [part for split in splits for part in _distribution(dataset, split)],
        "recordSet": [_records(dataset, split) for split in splits],
    }
    licences = [licence] if licence else sorted(licences_of(dataset))[:_MOST_LICENCES]
    if licences:
        result["license"] = licences[0] if len(licences) == 1 else licences
    if dataset.labels:
        result["recordSet"].append(_label_records(dataset.labels))
    return result


def _distribution(dataset: Dataset, split: str) -> list[dict[str, Any]]:
    shards = [
        {
            "@type": "cr:FileObject",
            "@id": shard["path"],
            "name": shard["path"],
            "contentUrl": shard["path"],
            "contentSize": f"{shard['file_bytes']} B",
            "encodingFormat": "application/x-parquet",
            "sha256": shard["sha256"],
        }
        for shard in dataset.facts["shards"][split]
    ]
    file_set = {
        "@type": "cr:FileSet",
        "@id": f"{split}-files",
        "name": f"{split}-files",
        "description": f"all shards of {split}",
        "encodingFormat": "application/x-parquet",
        "includes": f"{split}/*.parquet",
    }
    return [*shards, file_set]


def _records(dataset: Dataset, split: str) -> dict[str, Any]:
    import pyarrow.parquet as pq

    schema = pq.read_schema(dataset.path / dataset.facts["shards"][split][0]["path"])
    # Dropped media may be broken or hostile: a reader should not decode them unasked. Dropped texts are text.
    columns = [
        (name, kind)
        for name, kind in zip(schema.names, map(str, schema.types))
        if split != "dropped" or name != dataset.column or kind == "string"
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "description": f"{len(dataset.split(split)):,} rows",
        "field": [_field(dataset, split, name, kind) for name, kind in columns],
    }


def licences_of(dataset: Dataset) -> set[str]:
    """Every licence that a kept row states."""
    found: set[str] = set()
    for split in ("train", "heldout"):
        for batch in dataset.split(split).batches(["licence"], 1 << 16):
            found.update(name for name in batch.column("licence").unique().to_pylist() if name)
    return found


def _field(dataset: Dataset, split: str, name: str, kind: str) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": f"{split}-files"}, "extract": {"column": name}}
    is_sample = name == dataset.column
    is_media = is_sample and kind != "string"
    if is_media:
        source["transform"] = {"jsonPath": "bytes"}
    return {
        "@type": "cr:Field",
        "@id": f"{split}/{name}",
        "name": name,
        "description": "the sample itself" if is_sample else _MEANINGS.get(name, "measured on the sample"),
        "dataType": _MEDIA_TYPES.get(name, "sc:Text") if is_media else _TYPES.get(kind, "sc:Integer"),
        "source": source,
    }


def _label_records(labels: list[str]) -> dict[str, Any]:
    fields = [("labels/number", "number", "sc:Integer"), ("labels/name", "name", "sc:Text")]
    return {
        "@type": "cr:RecordSet",
        "@id": "labels",
        "name": "labels",
        "description": "names of the labels",
        "key": {"@id": "labels/number"},
        "field": [{"@type": "cr:Field", "@id": key, "name": name, "dataType": kind} for key, name, kind in fields],
        "data": [{"labels/number": number, "labels/name": name} for number, name in enumerate(labels)],
    }
