"""Tokens a second of a GPT (6 layers, width 384, 6 heads, windows of 256, batch 16, vocabulary 8192) against its peers.

    python bench/gpt_speed.py [--threads 2] [--rounds 6] [--steps 3] [--nanogpt FOLDER] [--sides ours,qwen3,…]

Sides, each in a process of its own, taking turns of a few steps; each counts its fastest turn, because on a shared
machine the slow ones measure the neighbours (CPU seconds, which the neighbours touch less, are printed beside):

- ours: the family with its own recipe in the product's loop, bf16 and compiled; `ours-adamw` with AdamW; `ours-eager`;
  `ours-nanochat` and `ours-qwen3` with that class; `ours-alternate` with half of the matrices moved by Muon on a step
- qwen3: transformers' Qwen3 class in a bare loop, bf16 and compiled, its own loss, torch's fused AdamW
- trainer: the same class in transformers' `Trainer`, bf16 and compiled; `trainer-gpt2`, `trainer-eager`
- nanogpt: nanoGPT's train.py as it is, float32 on a CPU; needs `--nanogpt`, a folder with train.py, model.py and
  configurator.py. `nanogpt-compile` with its own `--compile`
- peak: matrix products of 2048³, bf16 and float32

What a token costs is counted by torch on our model; its share of the bf16 peak is measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

LENGTH, BATCH, VOCABULARY = 256, 16, 8192
WIDTH, DEPTH, HEADS = 384, 6, 6
TOKENS = LENGTH * BATCH
_DOCUMENT_TOKENS = 700


def stream(num: int = 1 << 20) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Random tokens in documents of about the usual length: what they say does not change the speed."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(3, VOCABULARY, num, dtype=np.uint16)
    tokens[rng.integers(0, num, num // _DOCUMENT_TOKENS)] = 0
    return tokens


def batches() -> Iterator[Tensor]:
    """Windows, int64 (B, T)."""
    tokens, rng = stream(), np.random.default_rng(1)
    while True:
        starts = rng.integers(0, len(tokens) - LENGTH, BATCH)
        yield torch.from_numpy(np.stack([tokens[start : start + LENGTH] for start in starts]).astype(np.int64))


def family(**shape: Any) -> Any:
    """Our model, at its default architecture unless `shape` says otherwise."""
    from motherlode.families.gpt import Gpt, Options
    from motherlode.modality import SampleSpec
    from motherlode.tokenizer import TokenSpace

    space = TokenSpace(VOCABULARY, bos=0, pad=1, mask=2, folder="")
    options = Options(width=WIDTH, depth=DEPTH, heads=HEADS, **shape)
    return Gpt.build(options, SampleSpec("text", (LENGTH,), 0, space), seed=0)


def our_steps(*, adamw: bool = False, eager: bool = False, every: int = 0, **shape: Any) -> Iterator[float]:
    """The family in the product's loop; `every` of its optimiser is the family's where it is 0 here."""
    from motherlode.families import Batch
    from motherlode.recipe import TrainOptions
    from motherlode.training.loop import Engine, Setting
    from motherlode.training.precision import keep_freed_memory

    keep_freed_memory()
    feed = batches()

    class Windows:
        def batch(self, _index: int) -> Batch:
            return Batch(next(feed), None, torch.arange(BATCH))

        def close(self) -> None:
            pass

    setting = Setting("cpu", "bf16", compile=not eager)
    model = setting.place(family(**shape))
    defaults = dict(model.defaults)
    if every:
        defaults["optimizer"] = {**defaults["optimizer"], "every": every}
    if adamw:
        defaults["optimizer"] = {"name": "adamw", "lr": 3e-3, "betas": (0.9, 0.95)}
    engine = Engine(model, Windows(), setting, TrainOptions(**{**defaults, "batch": BATCH}), seed=0)  # type: ignore[arg-type]
    while True:
        yield float(engine.step(1.0)["model/loss"])


def peer_model(kind: str = "qwen3") -> Any:
    """A network of transformers' of the same size, as it comes."""
    from transformers import GPT2Config, GPT2LMHeadModel, Qwen3Config, Qwen3ForCausalLM

    if kind == "gpt2":
        shape: dict[str, Any] = {"n_embd": WIDTH, "n_layer": DEPTH, "n_head": HEADS, "n_positions": LENGTH}
        return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, **shape))
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=WIDTH,
            intermediate_size=WIDTH * 8 // 3,
            num_hidden_layers=DEPTH,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            head_dim=WIDTH // HEADS,
            max_position_embeddings=LENGTH,
        )
    )


def bare_steps() -> Iterator[float]:
    """The customary loop: autocast, compile, the model's own loss, fused AdamW."""
    model = peer_model()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-4, fused=True)
    compiled = torch.compile(model)
    for tokens in batches():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = compiled(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        yield loss.item()


def trainer_steps(kind: str, *, compiled: bool, turn: Callable[[float], None]) -> None:
    """transformers' `Trainer`; calls `turn` with the loss after each step."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Windows(torch.utils.data.IterableDataset[dict[str, Tensor]]):
        def __iter__(self) -> Iterator[dict[str, Tensor]]:
            for tokens in batches():
                for row in tokens:
                    yield {"input_ids": row, "labels": row}

    class Turns(TrainerCallback):
        def on_step_end(self, *_args: Any, **_others: Any) -> None:
            turn(float("nan"))

    with TemporaryDirectory() as folder:
        options = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            max_steps=1 << 30,
            use_cpu=True,
            bf16=True,
            torch_compile=compiled,
            optim="adamw_torch_fused",
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        Trainer(peer_model(kind), options, train_dataset=Windows(), callbacks=[Turns()]).train()


def nanogpt_steps(folder: Path, *, compiled: bool, turn: Callable[[float], None]) -> None:
    """nanoGPT's own script, unchanged, in a folder of its own; its clock calls `turn` at the end of each step."""
    import pickle
    import runpy

    class Clock:
        """Stands for the module `time`: the script asks it the time once before its loop and once a step."""

        asked = -1

        @classmethod
        def time(cls) -> float:
            cls.asked += 1
            if cls.asked:
                turn(float("nan"))
            return time.time()

    with TemporaryDirectory() as name:
        place = Path(name)
        for script in ("train.py", "model.py", "configurator.py"):
            shutil.copy(folder / script, place / script)
        data = place / "data" / "speed"
        data.mkdir(parents=True)
        for split in ("train.bin", "val.bin"):
            stream().tofile(data / split)
        (data / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": VOCABULARY}))
        options = {
            "device": "cpu", "compile": compiled, "dataset": "speed", "eval_iters": 1, "eval_interval": 1 << 30,
            "gradient_accumulation_steps": 1, "batch_size": BATCH, "block_size": LENGTH, "n_layer": DEPTH,
            "n_head": HEADS, "n_embd": WIDTH, "always_save_checkpoint": False, "log_interval": 1 << 30,
        }  # fmt: skip
        os.chdir(place)
        sys.argv = ["train.py", *(f"--{key}={value}" for key, value in options.items())]
        sys.path.insert(0, name)
        sys.modules["time"] = Clock  # type: ignore[assignment]
        runpy.run_path("train.py", run_name="__main__")


def peak_steps() -> Iterator[dict[str, float]]:
    """GFLOP/s of a matrix product of 2048³ in each precision."""
    size = 2048
    pairs = {dtype: torch.randn(2, size, size).to(dtype) for dtype in (torch.bfloat16, torch.float32)}
    while True:
        rates = {}
        for dtype, (left, right) in pairs.items():
            start = time.perf_counter()
            left @ right
            rates[str(dtype).removeprefix("torch.")] = 2e-9 * size**3 / (time.perf_counter() - start)
        yield rates


def work(side: str, threads: int, nanogpt: Path | None) -> None:
    """Answer each line on stdin, a number of steps, with seconds (wall, CPU) and what the steps gave."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the peers print is no answer
    state: dict[str, Any] = {"left": 0, "given": []}

    def turn(value: Any) -> None:
        """A step has ended: answer where it was the last one asked for, and wait for the next question."""
        state["given"].append(value)
        state["left"] -= 1
        if state["left"] <= 0:
            seconds = time.perf_counter() - state["wall"], time.process_time() - state["cpu"]
            print(json.dumps([*seconds, state["given"]]), file=answer, flush=True)
            ask()

    def ask() -> None:
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        state.update(left=int(line), given=[], wall=time.perf_counter(), cpu=time.process_time())

    ask()
    if side.startswith("trainer"):
        trainer_steps("gpt2" if "gpt2" in side else "qwen3", compiled="eager" not in side, turn=turn)
    elif side.startswith("nanogpt"):
        assert nanogpt is not None
        nanogpt_steps(nanogpt, compiled="compile" in side, turn=turn)
    else:
        steps: Iterator[Any] = {
            "ours": our_steps,
            "ours-adamw": lambda: our_steps(adamw=True),
            "ours-eager": lambda: our_steps(eager=True),
            "ours-alternate": lambda: our_steps(every=2),
            "ours-nanochat": lambda: our_steps(architecture="nanochat"),
            "ours-qwen3": lambda: our_steps(architecture="qwen3"),
            "qwen3": bare_steps,
            "peak": peak_steps,
        }[side]()
        for value in steps:
            turn(value)


class Side:
    """One side, in a process of its own."""

    def __init__(self, name: str, asked: argparse.Namespace) -> None:
        self.name = name
        command = [sys.executable, str(Path(__file__).resolve()), "--side", name, "--threads", str(asked.threads)]
        command += ["--nanogpt", str(asked.nanogpt)] if asked.nanogpt else []
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.given: list[Any] = []

    def run(self, steps: int, *, count: bool = True) -> None:
        """Have it take `steps` steps."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(steps, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} failed: run it by itself with --side {self.name} and a number on stdin")
        wall, cpu, given = json.loads(line)
        if count:
            self.wall.append(wall / steps)
            self.cpu.append(cpu / steps)
            self.given += given

    def close(self) -> None:
        """Let the process go."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def flops_a_token() -> float:
    """Operations of a token, forward and backward, as torch counts them on our model."""
    from motherlode.training.cost import count_flops

    model = family()
    spec = __import__("motherlode.modality", fromlist=["SampleSpec"]).SampleSpec("text", (LENGTH,), 0, model.space)
    return count_flops(family, spec, batch=BATCH, parts=1).mean / TOKENS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--nanogpt", type=Path, help="folder of nanoGPT")
    parser.add_argument("--sides", default="", help="comma-separated; default: all that can run")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        work(asked.side, asked.threads, asked.nanogpt)
        return
    everything = ["ours", "ours-adamw", "qwen3", "trainer", "trainer-gpt2", *(["nanogpt"] if asked.nanogpt else [])]
    names = [*(asked.sides.split(",") if asked.sides else everything), "peak"]
    sides = []
    for name in names:  # one after the other: each compiles for a minute or more
        sides.append(Side(name, asked))
        sides[-1].run(3, count=False)
    for _ in range(asked.rounds):
        for side in sides:
            side.run(asked.steps)
    for side in sides:
        side.close()
    report(sides, asked)


def report(sides: list[Side], asked: argparse.Namespace) -> None:
    peak = {dtype: max(rates[dtype] for rates in sides[-1].given) for dtype in ("bfloat16", "float32")}
    print(f"{asked.threads} threads; peak {peak['bfloat16']:.0f} GFLOP/s in bf16, {peak['float32']:.0f} in float32")
    flops = flops_a_token()
    first = sides[0]
    for side in sides[:-1]:
        rate = TOKENS / min(side.wall)
        line = f"{side.name}: {rate:.0f} tokens/s, median {TOKENS / np.median(side.wall):.0f}"
        line += f"; {1e6 * min(side.cpu) / TOKENS:.0f} CPU-µs a token"
        if side.name.startswith("ours"):
            line += f"; {1e-9 * rate * flops / peak['bfloat16']:.0%} of the bf16 peak ({flops / 1e6:.1f} MFLOP a token)"
        else:
            ratio, median = min(side.wall) / min(first.wall), np.median(side.wall) / np.median(first.wall)
            cpu = min(side.cpu) / min(first.cpu)
            line += f"; {first.name} is {ratio:.2f} times as fast (medians {median:.2f}, CPU time {cpu:.2f})"
        print(line)


if __name__ == "__main__":
    main()
