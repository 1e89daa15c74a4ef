"""What a BERT costs, and where masked diffusion overtakes a GPT as data are repeated.

    python bench/bert.py speed [--threads 2] [--compile]
    python bench/bert.py passes DATASET --work FOLDER [--documents 60] [--passes 4 16 64] [--seeds 1]

`speed`: tokens a second of this family against transformers' own class in a bare loop that makes all logits, as its
documentation shows it; same shape, precision and optimiser, turn by turn in one process, CPU time.
`passes`: a GPT and a masked-diffusion BERT of one shape learn the same documents over and over, each pair of arm and
passes a run of its own with its own decay, by the family's own recipe. Bits a byte of the same held-out documents,
their ends given to both: exact for the GPT, a bound for the BERT. Intervals are over documents.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import motherlode as ml
from motherlode import registry
from motherlode import tokenizer as tokenizers
from motherlode.data.dataset import Dataset
from motherlode.data.tokens import open_packed
from motherlode.families.bert import Bert, Options
from motherlode.measures.interval import Interval
from motherlode.measures.language_likelihood import bits_per_byte, document_nats
from motherlode.measures.language_masked import bound_nats
from motherlode.modality import SampleSpec
from motherlode.randomness import numpy_generator
from motherlode.recipe import OptimizerOptions, Recipe, TrainOptions, parse
from motherlode.tokenizer import TokenSpace
from motherlode.training.assembly import Assembly
from motherlode.training.loop import Draw, Engine, Feed, Setting
from motherlode.training.precision import keep_freed_memory

SHAPE = {"width": 384, "depth": 6, "heads": 6}
VOCABULARY, LENGTH, BATCH = 8192, 256, 16
SPACE = TokenSpace(VOCABULARY, 0, 1, 2, "nowhere")
OPTIMIZER = OptimizerOptions(name="adamw", lr=1e-3, betas=(0.9, 0.95))
ARMS: dict[str, dict[str, Any]] = {
    "gpt": {"family": "gpt"},
    "diffusion": {"family": "bert", "mask_rate": "uniform"},
}
BOUND_DRAWS = 4


class Windows:
    """Random tokens with documents of about 200."""

    def draw(self, index: int) -> Draw:
        """Batch number `index`."""
        random = numpy_generator(0, "windows", index)
        tokens = random.integers(3, VOCABULARY, (BATCH, LENGTH), dtype=np.int32)
        tokens[random.random(tokens.shape) < 1 / 200] = SPACE.bos
        return tokens, None, np.arange(BATCH)


def ours(options: Options, setting: Setting) -> Iterator[None]:
    """The product's engine."""
    family = setting.place(Bert.build(options, SampleSpec("text", (LENGTH,), 0, SPACE), 0))
    feed = Feed(Windows(), registry.find("modality", "text"), setting, augment=(), seed=0, rank=0)
    engine = Engine(family, feed, setting, TrainOptions(batch=BATCH, optimizer=OPTIMIZER), seed=0)
    while True:
        engine.step(1.0)
        yield


def bare(setting: Setting) -> Iterator[None]:
    """transformers' class with labels, scaled-dot-product attention, documents not kept apart."""
    from transformers import AutoModelForMaskedLM

    config = Bert.build(Options(**SHAPE), SampleSpec("text", (LENGTH,), 0, SPACE), 0).network.config
    network = AutoModelForMaskedLM.from_config(config, attn_implementation="sdpa")
    if setting.compile:
        network.compile()
    optimizer = torch.optim.AdamW(network.parameters(), OPTIMIZER.lr, OPTIMIZER.betas, fused=True)
    windows = Windows()
    for index in range(10**9):
        tokens = torch.from_numpy(windows.draw(index)[0]).long()
        hidden = torch.rand(tokens.shape) < 0.3
        optimizer.zero_grad()
        with setting.autocast():
            labels = tokens.masked_fill(~hidden, -100)
            loss = network(input_ids=tokens.masked_fill(hidden, SPACE.mask), labels=labels).loss
        loss.backward()
        optimizer.step()
        yield


def step_sec(steps: Iterator[None], num: int) -> float:
    start = time.process_time()
    for _ in range(num):
        next(steps)
    return (time.process_time() - start) / num


def speed(asked: argparse.Namespace) -> None:
    torch.set_num_threads(asked.threads)
    keep_freed_memory()
    setting = Setting(precision="bf16", compile=asked.compile)
    sides = {
        "transformers, all logits": bare(setting),
        "mask_rate 0.3": ours(Options(**SHAPE), setting),
        "mask_rate uniform": ours(Options(**SHAPE, mask_rate="uniform"), setting),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        step_sec(side, 3)
    for _ in range(asked.rounds):
        for name, side in sides.items():
            times[name].append(step_sec(side, 2))
    base = statistics.median(times["transformers, all logits"])
    for name, values in times.items():
        middle = statistics.median(values)
        rate = BATCH * LENGTH / middle
        print(f"{name}, {setting}: {rate:.0f} tokens a CPU second, {base / middle:.2f} of transformers'")


def recipe_of(asked: argparse.Namespace, arm: str, passes: int, seed: int) -> Recipe:
    content = {
        "name": f"{arm}-{asked.documents}-{passes}-{seed}",
        "out": str(asked.work),
        "seed": seed,
        "data": {
            "path": str(asked.dataset),
            "length": asked.length,
            "vocabulary": asked.vocabulary,
            "num_samples": asked.documents,
        },
        "model": {**ARMS[arm], "width": asked.width, "depth": asked.depth, "heads": asked.heads},
        "train": {
            "batch": asked.batch,
            "precision": "bf16",
            "compile": "off",
            "sample_every": 1.0,
            "checkpoint_every": 1.0,
            "show": False,
            "budget": {"steps": 1},
        },
    }
    windows = len(Assembly.of(parse(Recipe, content)).loader)
    content["train"]["budget"] = {"steps": max(1, round(passes * windows / asked.batch))}  # type: ignore[index]
    return parse(Recipe, content)


def score(run: ml.Run, num_documents: int) -> Interval:
    """Bits a byte of held-out documents under a run's last weights."""
    family, space, length = run.load("last"), run.spec.tokens, run.spec.shape[0]
    assert space is not None
    packed = open_packed(Dataset.open(run.recipe.data.path), "heldout", tokenizers.load(space.folder))
    numbers = np.arange(min(num_documents, len(packed)))
    given: dict[str, Any] = {"bos": space.bos, "window": length, "stride": length // 2}
    with torch.autocast("cpu", torch.bfloat16):
        nats_N = document_nats(family, packed, numbers, **given)
        if nats_N is None:
            nats_N = bound_nats(family, packed, numbers, mask=space.mask, draws=BOUND_DRAWS, **given)
    assert nats_N is not None
    return bits_per_byte(nats_N, packed.num_bytes_N[numbers])


def passes(asked: argparse.Namespace) -> None:
    torch.set_num_threads(asked.threads)
    for arm in asked.arms:
        for num in asked.passes:
            for seed in range(asked.seeds):
                run = ml.train(recipe_of(asked, arm, num, seed))
                found = score(run, asked.heldout)
                print(
                    f"{arm}, {asked.documents} documents, {num} passes, seed {seed}: {found.value:.3f} bits a byte "
                    f"({found.low:.3f}-{found.high:.3f}, {found.level:.0%})",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    fast = verbs.add_parser("speed")
    fast.add_argument("--rounds", type=int, default=8)
    fast.add_argument("--compile", action="store_true")
    often = verbs.add_parser("passes")
    often.add_argument("dataset", type=Path)
    often.add_argument("--work", type=Path, required=True)
    often.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    often.add_argument("--documents", type=int, default=60)
    often.add_argument("--heldout", type=int, default=60)
    often.add_argument("--passes", type=int, nargs="+", default=[4, 16, 64])
    often.add_argument("--seeds", type=int, default=1)
    often.add_argument("--batch", type=int, default=16)
    for name, default in {"length": 128, "vocabulary": 1024, "width": 128, "depth": 4, "heads": 4}.items():
        often.add_argument(f"--{name}", type=int, default=default)
    for verb in (fast, often):
        verb.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    {"speed": speed, "passes": passes}[asked.verb](asked)


if __name__ == "__main__":
    main()
