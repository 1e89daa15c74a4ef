"""Keeps the features of real samples, which cost minutes to make and never change.

They lie under a hash of everything they depend on: dataset, split, rows, shape, and the extractor with its weights,
precision and resize. They are memory-mapped, checked against their manifest when opened (5 GB/s), and made again where
a file is damaged. The folder can be deleted at any time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from motherlode import storage
from motherlode.errors import CorruptError, StorageError
from motherlode.measures.features import Extractor, Features
from motherlode.measures.language_features import TextExtractor


def extract(
    extractor: Extractor | TextExtractor,
    pieces: Iterable[Any],
    progress: Callable[[int], None] | None = None,
) -> Features:
    """Features of uint8 samples that come in pieces (N, C, H, W), or of texts; only the features are held."""
    features, logits = [], []
    for piece in pieces:
        found = extractor(piece)
        features.append(found.features_ND)
        if found.logits_NK is not None:
            logits.append(found.logits_NK)
        if progress:
            progress(len(piece))
    return Features(np.concatenate(features), np.concatenate(logits) if logits else None)


def cached_features(
    extractor: Extractor | TextExtractor,
    depends_on: dict[str, Any],
    pieces: Callable[[], Iterable[Any]],
    progress: Callable[[int], None] | None = None,
    folder: Path | None = None,
) -> Features:
    """Features of real samples, from the cache or made and kept.

    Args:
        extractor: its fingerprint is part of the key.
        depends_on: what identifies the samples, as plain JSON: dataset id, split, shape, rows.
        pieces: gives the samples, where they are needed.
        progress: told how many samples were done.
        folder: of the cache; default `$MOTHERLODE_CACHE/features`.
    """
    key = storage.hash_bytes(json.dumps([extractor.fingerprint, depends_on], sort_keys=True).encode())
    home = (folder or storage.cache_folder() / "features") / key
    try:
        return _open(home)
    except (CorruptError, FileNotFoundError):
        pass
    features = extract(extractor, pieces(), progress)
    try:
        with storage.atomic_folder(home) as temporary:
            np.save(temporary / "features.npy", features.features_ND)
            if features.logits_NK is not None:
                np.save(temporary / "logits.npy", features.logits_NK)
            storage.write_json(temporary / "key.json", {"extractor": extractor.name, **depends_on})
    except StorageError:
        pass  # a cache that cannot be written (read-only home, full disk) costs time, not the result
    return features


def _open(home: Path) -> Features:
    if not home.is_dir():
        raise FileNotFoundError(home)
    storage.verify_manifest(home)
    features = np.load(home / "features.npy", mmap_mode="r")
    logits = np.load(home / "logits.npy", mmap_mode="r") if (home / "logits.npy").is_file() else None
    return Features(features, logits)
