"""How fast a GPT learns: our recipe against AdamW with a tuned rate on the same engine, and against nanoGPT's own.

    python bench/gpt_quality.py DATASET [--steps 300] [--seeds 0,1,2] [--threads 2] [--eager] [--nanogpt FOLDER]

Same network (6 layers, width 384, unless `--width` and `--depth` say otherwise), same windows, same precision. First
AdamW's rate is chosen among `--rates` on the first seed; then it trains for `--steps` on every seed with the best
one: its final held-out loss is the target of that seed. Ours trains with budgets of growing shares of those steps,
each a whole schedule of its own, until one reaches the target; the share at which the loss equals it is interpolated.
Time is share x seconds a step, the fastest quarter of the steps of either side, so that neighbours on a shared
machine do not decide (`--rates ""` leaves AdamW out). nanoGPT's train.py runs unchanged but for its seed (its
shakespeare recipe without dropout) for as many steps on the same tokens; its own validation loss, over random windows
that may cross documents, is the target. Everything is printed and appended to `--out` as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import pickle
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from motherlode.recipe import Recipe
from motherlode.training.assembly import Assembly
from motherlode.training.loop import Setting
from motherlode.training.precision import keep_freed_memory
from motherlode.training.schedule import rate_factor
from motherlode.training.score import find_score

SHARES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
BATCH = 16


def train(asked: argparse.Namespace, name: str, steps: int, seed: int, train_options: dict[str, Any]) -> dict[str, Any]:
    """Train to the end of `steps`: the held-out loss, and seconds a step."""
    recipe = Recipe(
        name="bench",
        seed=seed,
        data={"path": str(asked.dataset)},  # type: ignore[arg-type]
        model={"family": "gpt", "width": asked.width, "depth": asked.depth},
        train={"batch": BATCH, "budget": {"steps": steps}, **train_options},  # type: ignore[arg-type]
    )
    setting = Setting("cpu", "bf16", compile=not asked.eager, threads=asked.threads)
    with setting.pool():
        assembly = Assembly.of(recipe)
        engine = assembly.engine(setting)
        seconds = []
        for step in range(steps):
            start = time.perf_counter()
            engine.step(rate_factor(recipe.train.schedule, (step + 0.5) / steps))
            seconds.append(time.perf_counter() - start)
        score = find_score(assembly, engine.family, setting)
        assert score is not None
        loss = score.best(engine.family, steps)["score"]
        engine.close()
    found = {
        "name": name,
        "steps": steps,
        "seed": seed,
        "loss": loss,
        "step_sec": float(np.mean(np.sort(seconds)[: max(1, steps // 4)])),
    }
    tell(asked, found)
    return found


def adamw(rate: float) -> dict[str, Any]:
    """The customary AdamW: warm-up, cosine to a tenth, clipped gradients, decay of 0.1."""
    return {
        "optimizer": {"name": "adamw", "lr": rate, "betas": (0.9, 0.95), "weight_decay": 0.1},
        "schedule": {"name": "cosine", "warmup": 0.05, "floor": 0.1},
        "clip": 1.0,
    }


def reach(asked: argparse.Namespace, target: float, seed: int) -> dict[str, Any]:
    """The share of `--steps` at which our recipe's final loss is `target`, and our seconds a step."""
    before: tuple[float, float] | None = None
    for share in SHARES:
        found = train(asked, "ours", max(2, round(share * asked.steps)), seed, {})
        if found["loss"] <= target:
            exact = share
            if before is not None:
                (low, high_loss), low_loss = before, found["loss"]
                exact = low + (share - low) * (high_loss - target) / (high_loss - low_loss)
            return {"share": exact, "step_sec": found["step_sec"]}
        before = share, found["loss"]
    return {"share": float("inf"), "step_sec": found["step_sec"]}


def nanogpt(asked: argparse.Namespace, seed: int) -> dict[str, Any]:
    """nanoGPT's train.py on the tokens our recipe draws from: its validation loss and seconds a step."""
    from motherlode.data.tokens import find_tokenizer, open_packed

    recipe = Recipe(name="bench", data={"path": str(asked.dataset)}, model={"family": "gpt"})  # type: ignore[arg-type]
    dataset = Assembly.of(recipe).dataset
    tokenizer = find_tokenizer(dataset, recipe.data)
    with TemporaryDirectory() as name:
        place = Path(name)
        for script in ("train.py", "model.py", "configurator.py"):
            shutil.copy(asked.nanogpt / script, place / script)
        data = place / "data" / "bench"
        data.mkdir(parents=True)
        for split, file in (("train", "train.bin"), ("heldout", "val.bin")):
            open_packed(dataset, split, tokenizer).tokens_T.astype(np.uint16).tofile(data / file)
        (data / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": -(-len(tokenizer) // 64) * 64}))
        options = {
            "device": "cpu", "compile": False, "dataset": "bench", "eval_iters": 16, "eval_interval": asked.steps,
            "gradient_accumulation_steps": 1, "batch_size": BATCH, "block_size": 256, "n_layer": asked.depth,
            "n_head": asked.width // 64, "n_embd": asked.width, "dropout": 0.0, "learning_rate": 1e-3, "min_lr": 1e-4,
            "beta2": 0.99, "warmup_iters": min(100, asked.steps // 4), "max_iters": asked.steps,
            "lr_decay_iters": asked.steps, "always_save_checkpoint": False,
        }  # fmt: skip
        source = (place / "train.py").read_text()
        (place / "train.py").write_text(source.replace("1337 + seed_offset", f"{1337 + seed} + seed_offset"))
        command = [sys.executable, "train.py", *(f"--{key}={value}" for key, value in options.items())]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True)
    losses = re.findall(r"step \d+: train loss [\d.]+, val loss ([\d.]+)", done.stdout)
    seconds = [float(number) / 1000 for number in re.findall(r"time ([\d.]+)ms", done.stdout)]
    quarter = np.sort(seconds)[: max(1, len(seconds) // 4)]
    found = {"name": "nanogpt", "steps": asked.steps, "seed": seed, "loss": float(losses[-1])}
    found["step_sec"] = float(np.mean(quarter))
    tell(asked, found)
    return found


def tell(asked: argparse.Namespace, found: dict[str, Any]) -> None:
    """Print, and keep."""
    print(json.dumps(found), flush=True)
    with asked.out.open("a") as file:
        file.write(json.dumps(found) + "\n")


def compare(asked: argparse.Namespace, peer: dict[str, Any], seed: int) -> None:
    """Our time to the peer's final loss, as a share of its time."""
    ours = reach(asked, peer["loss"], seed)
    ratio = ours["share"] * ours["step_sec"] / peer["step_sec"]
    tell(asked, {"against": peer["name"], "seed": seed, "steps_ratio": ours["share"], "time_ratio": ratio})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rates", default="1e-3,2e-3,4e-3,8e-3", help="of AdamW; empty: nanoGPT alone")
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--eager", action="store_true", help="do not compile")
    parser.add_argument("--nanogpt", type=Path, help="folder of nanoGPT")
    parser.add_argument("--out", type=Path, default=Path("gpt_quality.jsonl"))
    asked = parser.parse_args()
    keep_freed_memory()
    torch.set_flush_denormal(True)
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    tried = {
        float(rate): train(asked, f"adamw {rate}", asked.steps, seeds[0], adamw(float(rate)))
        for rate in asked.rates.split(",")
        if rate
    }
    best = min(tried, key=lambda rate: tried[rate]["loss"], default=0.0)
    for seed in seeds:
        if best:
            peer = tried[best] if seed == seeds[0] else train(asked, f"adamw {best}", asked.steps, seed, adamw(best))
            compare(asked, peer, seed)
        if asked.nanogpt:
            compare(asked, nanogpt(asked, seed), seed)


if __name__ == "__main__":
    main()
