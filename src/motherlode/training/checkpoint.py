"""Checkpoints: folders `checkpoints/step-N/` of two safetensors files, state.json and a manifest of hashes.

A family may add files of its own (`config.json`, a tokenizer), which make the folder one that transformers loads.

A folder is built aside, fsynced and renamed, so a kill at any instant leaves whole checkpoints only. Reading verifies
every hash; a damaged checkpoint is set aside (`damaged-step-N`) with a warning and the one before is used. Position is
all there is to resume: (step, draws), because every batch and every random number is a function of them. Nothing is
ever unpickled.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from motherlode import storage
from motherlode.errors import CorruptError, StorageError, TrainingError

MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
_FILES = (MODEL, OPTIMIZER, STATE)
_NAME = re.compile(r"step-(\d+)")
_MAX_SHOWN = 6


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder holds.

    Args:
        step: training steps taken.
        model: the family's `state_dict`.
        optimizer: `turn/parameter/key` → tensor.
        state: position, digests and the architecture's description.
    """

    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def folder_of(checkpoints: Path, step: int) -> Path:
    """Where the checkpoint of `step` lies."""
    return checkpoints / f"step-{step}"


def steps(checkpoints: Path) -> list[int]:
    """Steps that have a checkpoint, ascending."""
    if not checkpoints.is_dir():
        return []
    matches = (_NAME.fullmatch(path.name) for path in checkpoints.iterdir())
    return sorted(int(match[1]) for match in matches if match)


def save(
    checkpoints: Path,
    step: int,
    weights: Mapping[str, Tensor],
    optimizer: Mapping[str, Tensor],
    state: Mapping[str, Any],
    files: Mapping[str, bytes] = MappingProxyType({}),
) -> Path:
    """Write a checkpoint, whole or not at all.

    Args:
        checkpoints: folder of all of them.
        step: training steps taken.
        weights: the family's `state_dict`.
        optimizer: `turn/parameter/key` → tensor.
        state: further contents of `state.json`.
        files: further files by name.

    Raises:
        StorageError: the disk is full or the folder not writable; earlier checkpoints are untouched.
    """
    target = folder_of(checkpoints, step)
    with storage.atomic_folder(target) as folder:
        _write_tensors(folder / MODEL, weights)
        _write_tensors(folder / OPTIMIZER, optimizer)
        storage.write_json(folder / STATE, {**state, "step": step, "architecture": describe(weights)})
        for name, content in files.items():
            (folder / name).write_bytes(content)
    return target


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors on the CPU; tied ones, which safetensors refuses, once a name."""
    seen: set[int] = set()
    ready = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        address = tensor.untyped_storage().data_ptr()
        ready[name] = tensor.clone() if address in seen else tensor
        seen.add(address)
    try:
        save_file(ready, path, metadata={"format": "pt"})
    except SafetensorError as error:
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else 0, str(error)) from error


def read(folder: Path) -> Checkpoint:
    """Read and verify one checkpoint.

    Raises:
        CorruptError: naming the file that is missing or altered.
    """
    storage.verify_manifest(folder, _FILES)
    state = storage.read_json(folder / STATE)
    return Checkpoint(int(state["step"]), load_tensors(folder / MODEL), load_tensors(folder / OPTIMIZER), state)


def read_model(folder: Path) -> dict[str, Tensor]:
    """Read and verify the weights alone.

    Raises:
        CorruptError: naming the file that is missing or altered.
    """
    storage.verify_manifest(folder, (MODEL,))
    return load_tensors(folder / MODEL)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        CorruptError: it is not one.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CorruptError("this must be a safetensors file", str(path), f"restore it ({error})") from error


def latest(checkpoints: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """The newest checkpoint that verifies; damaged newer ones are renamed `damaged-step-N` and warned about.

    Returns:
        The checkpoint, or None where none was ever written.

    Raises:
        CorruptError: there are checkpoints but none verifies; the message names each damaged file.
    """
    damage: list[str] = []
    damaged: list[Path] = []
    found = None
    for step in reversed(steps(checkpoints)):
        folder = folder_of(checkpoints, step)
        try:
            found = read(folder)
            break
        except CorruptError as error:
            damage.append(str(error.received))
            damaged.append(folder)
    if found is None and damaged:
        raise CorruptError(
            "at least one checkpoint must be intact",
            "; ".join(damage),
            "restore one of these files from a copy, or train again under another name",
        )
    for folder, what in zip(damaged, damage):
        _retire(folder)
        warn(f"{folder.name} is damaged ({what}): going on from step-{found.step if found else 0}")
    return found


def _retire(folder: Path) -> None:
    aside = folder.with_name(f"damaged-{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        os.replace(folder, aside)
    except OSError as error:
        raise storage.explain(error, folder) from error


def prune(checkpoints: Path, keep: int, best: int | None) -> None:
    """Delete all checkpoints but the last `keep` and the best one."""
    spared = {*steps(checkpoints)[-keep:], best}
    for step in steps(checkpoints):
        if step not in spared:
            # Renamed first: a kill within the deletion must not leave half a checkpoint under a good name.
            doomed = checkpoints / f".step-{step}.{os.getpid()}.tmp"
            try:
                os.replace(folder_of(checkpoints, step), doomed)
            except OSError as error:
                raise storage.explain(error, checkpoints) from error
            shutil.rmtree(doomed, ignore_errors=True)


def publish(run: Path, best: Path) -> None:
    """Show the best checkpoint's weights and its further files in the run's own folder, which so loads as it does.

    Weights are linked, not copied, where the disk can. Nothing is done for a family that has no further files.
    """
    further = [path for path in best.iterdir() if path.name not in (*_FILES, storage.MANIFEST)]
    try:
        for path in [*further, best / MODEL] if further else []:
            with storage.atomic_path(run / path.name) as temporary:
                temporary.unlink(missing_ok=True)
                try:
                    os.link(path, temporary)
                except OSError:
                    shutil.copyfile(path, temporary)
    except OSError as error:
        raise storage.explain(error, run) from error


def sweep(folder: Path) -> None:
    """Delete what a killed process left half-written in a run's folder; call it under the run's lock."""
    for place in (folder, folder / "checkpoints", folder / "samples", folder / "tokenizer"):
        for path in place.glob(".*.tmp"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def describe(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Name → dtype and shape of everything in a `state_dict`, e.g. "float32[64, 3, 4, 4]"."""
    return {name: _describe_tensor(tensor) for name, tensor in tensors.items()}


def _describe_tensor(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def load_model(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    where: str,
    spread: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = dict,
) -> None:
    """Put weights into `module`.

    Args:
        module: a family.
        tensors: its whole weights.
        where: they come from, for the message.
        spread: makes of them what `module` takes, where it holds parts of them only.

    Raises:
        TrainingError: they belong to another architecture; the message names the tensors that differ.
    """
    have, wanted = describe(tensors), describe(module.state_dict())
    if have != wanted:
        raise TrainingError(
            "a checkpoint must fit the model it is loaded into",
            f"{where}: {differences(have, wanted, 'checkpoint', 'model')}",
            "use the recipe this checkpoint was trained with, or another name for the new run",
        )
    with torch.no_grad():
        module.load_state_dict(spread(tensors))


def differences(old: Mapping[str, Any], new: Mapping[str, Any], old_name: str, new_name: str) -> str:
    """What differs between two flat mappings, in words; at most six entries are spelt out."""
    keys = sorted(key for key in {*old, *new} if old.get(key, ...) != new.get(key, ...))
    return listed(f"{key}: {old_name} {_shown(old, key)}, {new_name} {_shown(new, key)}" for key in keys)


def listed(items: Iterable[str]) -> str:
    """The first few items, and how many there are beyond."""
    items = list(items)
    rest = f"; and {len(items) - _MAX_SHOWN} more" if len(items) > _MAX_SHOWN else ""
    return "; ".join(items[:_MAX_SHOWN]) + rest


def _shown(mapping: Mapping[str, Any], key: str) -> str:
    return str(mapping[key]) if key in mapping else "has none"


def check_identity(state: Mapping[str, Any], identity: Mapping[str, Any], where: str) -> None:
    """Refuse a checkpoint that another recipe or dataset wrote.

    Raises:
        TrainingError: naming the keys that differ.
    """
    written = state.get("identity", {})
    if written != identity:
        raise TrainingError(
            "a checkpoint must come from the recipe that resumes it",
            f"{where}: {differences(written, identity, 'checkpoint', 'recipe')}",
            "use the recipe it was trained with, or another name for the new run",
        )


def size_bytes(folder: Path) -> int:
    """Bytes on disk of one checkpoint."""
    try:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except OSError as error:
        raise StorageError("a checkpoint must be readable", str(folder), str(error)) from error
