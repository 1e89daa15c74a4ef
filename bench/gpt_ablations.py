"""What each part of the GPT recipe is worth: the recipe, and the recipe without one thing at a time.

    python bench/gpt_ablations.py RECIPE [--steps 60] [--seeds 0,1,2] [--out gpt_ablations.jsonl] [--only NAME …]

Each run is a whole schedule of `--steps` steps on the recipe's data, one thread, not compiled; the loss is the one
training judges checkpoints by, in nats a token on the same held-out windows. What is printed at the end is the mean
over the seeds and its distance from the recipe's, with the spread of that distance over the seeds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from motherlode.families.gpt import Gpt
from motherlode.networks.language import decoder
from motherlode.recipe import Recipe
from motherlode.training.assembly import Assembly
from motherlode.training.loop import Setting
from motherlode.training.schedule import rate_factor
from motherlode.training.score import find_score

CHANGES: dict[str, tuple[str, ...]] = {
    "the recipe": (),
    "no rates a group": ("train.optimizer.rates={embedding: 1, head: 1, vector: 1}",),
    "embedding rate 1": ("train.optimizer.rates={embedding: 1, head: 0.2, vector: 0.2}",),
    "embedding rate 3": ("train.optimizer.rates={embedding: 3, head: 0.2, vector: 0.2}",),
    "head rate 1": ("train.optimizer.rates={embedding: 10, head: 1, vector: 0.2}",),
    "constant rate": ("train.schedule={name: constant}",),
    "decay .4": ("train.schedule={name: wsd, decay: 0.4}",),
    "decay 1": ("train.schedule={name: wsd, decay: 1.0}",),
    "warm-up .05": ("train.schedule={name: wsd, decay: 0.65, warmup: 0.05}",),
    "z-loss 1e-4": ("model.z_loss=1e-4",),
    "Muon sized as AdamW": (
        "train.optimizer={name: muon, lr: 0.003, scale: adamw, momentum: 0.95, betas: [0.8, 0.95]}",
    ),
    "Muon on every second step": ("train.optimizer.every=2",),
    "NanoChat's class": ("model.architecture=nanochat",),
    "Qwen3's class": ("model.architecture=qwen3",),
}
PATCHES: dict[str, Callable[[], Any]] = {
    "branch ends not zero": lambda: patch.object(decoder, "_ENDS", ()),
    "heads together": lambda: patch.object(Gpt, "blocks", lambda _family: {}),
}
NO_SOFTCAP = "no softcap"


def train(asked: argparse.Namespace, name: str, seed: int) -> float:
    """The held-out loss of one variant."""
    changes = (*CHANGES.get(name, ()), f"seed={seed}", f"train.budget={{steps: {asked.steps}}}")
    recipe = Recipe.load(asked.recipe, changes)
    setting = Setting("cpu", "bf16", threads=1)
    start = time.process_time()
    with setting.pool(), ExitStack() as stack:
        if name in PATCHES:
            stack.enter_context(PATCHES[name]())
        assembly = Assembly.of(recipe)
        engine = assembly.engine(setting)
        if name == NO_SOFTCAP:
            engine.family.network.config.final_logit_softcapping = None  # type: ignore[union-attr]
        for step in range(asked.steps):
            engine.step(rate_factor(recipe.train.schedule, (step + 0.5) / asked.steps))
        score = find_score(assembly, engine.family, setting)
        assert score is not None
        loss = float(score.best(engine.family, asked.steps)["score"])
        engine.close()
    found = {"name": name, "seed": seed, "steps": asked.steps, "loss": loss, "cpu_sec": time.process_time() - start}
    print(json.dumps(found), flush=True)
    with asked.out.open("a") as file:
        file.write(json.dumps(found) + "\n")
    return loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("gpt_ablations.jsonl"))
    names = [*CHANGES, *PATCHES, NO_SOFTCAP]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    asked = parser.parse_args()
    torch.set_flush_denormal(True)
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    base = np.array([train(asked, names[0], seed) for seed in seeds])
    print(f"{names[0]}: {base.mean():.3f}")
    for name in asked.only:
        if name != names[0]:
            worse = np.array([train(asked, name, seed) for seed in seeds]) - base
            spread: Any = worse.std(ddof=1) if len(seeds) > 1 else float("nan")
            print(f"{name}: {worse.mean():+.3f} (spread {spread:.3f} over {len(seeds)} seeds)", flush=True)


if __name__ == "__main__":
    main()
