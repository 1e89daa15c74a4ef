"""Runs of texts, written as training writes them but without training: random weights say as much about decoding."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from motherlode import registry, storage
from motherlode.modality import SampleSpec
from motherlode.randomness import torch_generator
from motherlode.recipe import Recipe, parse
from motherlode.tokenizer import TokenSpace
from motherlode.tokenizer_files import tokenizer_files
from motherlode.training import checkpoint
from motherlode.training.run import RECIPE, Run

CORPUS = [
    "Once upon a time there was a miner who dug for a lode of silver, deep beneath the hill.",
    "The lode runs on and on; the miner digs, and finds a little more ore each day.",
    "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。",
    "床前明月光，疑是地上霜。举头望明月，低头思故乡。",
    "🙂🙃 naïve café – “quoted” … \n\n\tTabs and spaces  here.",
]
WINDOW = 64
SIZES: dict[str, Any] = {"size": "1M", "width": 32, "depth": 2, "heads": 2}


def stirred(network: nn.Module, seed: int = 0, scale: float = 0.3) -> None:
    """Random weights, large enough that what a model says depends on what it read."""
    rng = torch_generator(seed, "stir")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng), alpha=scale if parameter.dim() > 1 else 0.1)


def text_run(folder: Path, space: TokenSpace, generate: dict[str, Any] | None = None, **model: Any) -> Run:
    """A run with one checkpoint, and no dataset."""
    options = {"family": "gpt", **SIZES, **model}
    content = {
        "name": folder.name,
        "out": str(folder.parent),
        "data": {"path": "/nowhere", "length": WINDOW},
        "model": options,
        "generate": generate or {},
    }
    recipe = parse(Recipe, content)
    spec = SampleSpec("text", (WINDOW,), tokens=space)
    family = registry.find("family", recipe.family).build(recipe.family_options(), spec, 0)
    stirred(family)
    files = {**family.files(), **tokenizer_files(space.folder)}
    checkpoint.save(folder / "checkpoints", 1, family.state_dict(), {}, {}, files)
    (folder / "tokenizer").mkdir()
    for name, data in tokenizer_files(space.folder).items():
        (folder / "tokenizer" / name).write_bytes(data)
    recipe.save(folder / RECIPE)
    facts = {
        "name": recipe.name,
        "version": "0",
        "created": "2026-11-24T00:00:00+00:00",
        "status": "finished",
        "family": recipe.family,
        "spec": asdict(replace(spec, tokens=replace(space, folder="tokenizer"))),
        "labels": [],
        "dataset": "0123456789abcdef",
        "dataset_path": "/nowhere",
        "train_samples": 10,
        "parameters": sum(parameter.numel() for parameter in family.parameters()),
        "step": 1,
        "total_steps": 1,
        "samples": 16,
        "flops": 1e9,
        "seconds": 1.0,
        "device": "cpu",
        "ranks": 1,
        "peak_memory_bytes": 1e9,
        "kwh": 0.0,
        "kwh_assumption": "none",
        "money": 0.0,
        "currency": "USD",
        "warnings": [],
        "best": None,
    }
    storage.write_json(folder / "run.json", facts)
    return Run.open(folder)
