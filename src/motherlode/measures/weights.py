"""Brings published weights in: from a path or a URL, checked by sha256, by layer name and by shape, never unpickled.

A download is kept under its sha256 in the cache folder, so it happens once. `.safetensors` files are read as such;
`.pth` files through torch's `weights_only` loader, which admits tensors and nothing that could run.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from motherlode import storage
from motherlode.errors import CorruptError, MeasureError

_CHUNK_BYTES = 1 << 20


def sha256_file(path: Path) -> str:
    """SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def locate(source: str | Path, sha256: str | None = None) -> tuple[Path, str]:
    """A local file for a path or URL, and its sha256.

    Args:
        source: a local path, or any fsspec URL (https://, s3://, …), which needs `sha256`.
        sha256: what the file's hash must be (a prefix of at least 8 digits will do).

    Raises:
        MeasureError: no such file, or a URL without a hash.
        CorruptError: the hash differs.
    """
    source = str(source)
    if "://" in source:
        if not sha256 or len(sha256) != 64:
            raise MeasureError(
                "weights from a URL need their sha256", source, "give the 64 hex digits the publisher states"
            )
        path = storage.cache_folder() / "weights" / sha256.lower()
        if not path.is_file():
            _download(source, path)
    else:
        path = Path(source).expanduser()
    if not path.is_file():
        raise MeasureError("the file of weights must exist", str(path), storage.near_path(path, "name a file"))
    digest = sha256_file(path)
    if sha256 and (len(sha256) < 8 or not digest.startswith(sha256.lower())):
        raise CorruptError(
            "weights must have the sha256 they were asked for with", f"{path}: {digest}", f"fetch the file of {sha256}"
        )
    return path, digest


def load_state(source: str | Path, sha256: str | None = None) -> tuple[dict[str, Tensor], str]:
    """The tensors of a weights file by name, and the file's sha256.

    Raises:
        MeasureError: the file holds something else than named tensors. Further ones: see `locate`.
    """
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path, digest = locate(source, sha256)
    try:
        try:
            state: Any = load_file(path)
        except SafetensorError:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise MeasureError(
            "weights must be a safetensors file or a state dict of tensors", str(path), str(error).splitlines()[0]
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise MeasureError("weights must be a state dict of tensors", str(path), "save `module.state_dict()` alone")
    return {str(key): value for key, value in state.items()}, digest


def load_into(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Copy `state` into `module`; names and shapes must agree (`num_batches_tracked` counters may be absent).

    A module built on the device "meta" (which spares it its random initialisation) is brought to the CPU.

    Raises:
        MeasureError: naming the first layer that is missing, unknown or of another shape.
    """
    wanted = {key: value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    given = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    for key in [*wanted, *given]:
        if key not in given or key not in wanted:
            problem = "lacks" if key in wanted else "has the unknown"
            raise MeasureError(f"weights of {what} must hold its layers", f"the file {problem} layer {key!r}", _FIX)
        if given[key].shape != wanted[key].shape:
            shapes = f"{key}: {tuple(given[key].shape)}, published {tuple(wanted[key].shape)}"
            raise MeasureError(f"layers of {what} must have their published shapes", shapes, _FIX)
    if any(value.is_meta for value in wanted.values()):
        module.to_empty(device="cpu")
        for key, value in module.named_buffers():
            if key.endswith("num_batches_tracked"):
                value.zero_()
    module.load_state_dict(given, strict=False)


_FIX = "is this the file of another network, or of torchvision's variant of it?"


def _download(url: str, path: Path) -> None:
    with storage.atomic_path(path) as temporary:
        try:
            with storage.open_uri(url) as source, temporary.open("wb") as target:
                shutil.copyfileobj(source, target, _CHUNK_BYTES)
        except (OSError, ImportError, ValueError) as error:
            raise MeasureError("the URL of the weights must be readable", url, str(error)) from error
