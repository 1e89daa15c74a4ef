"""Quality a GAN recipe reaches on full Fashion-MNIST in 120 CPU seconds of one core.

    python bench/gan_quality.py [RECIPE.yaml...] [--set KEY=VALUE] [--seconds 120] [--seeds 3] [--out FOLDER]

The recipes' own networks, losses, optimisers and schedules in the product's loop, one thread; loading data and judging
are not counted, and the schedule runs over the CPU seconds. 10,000 samples are judged against the 10,000 test images at
32x32 (recipes that train at 28x28 get the black margin afterwards): the Fréchet distance of efficientnet-lite0 at 64
pixels in bfloat16 (the peers' protocol) and float32, and the Inception Score of `classifier.py`. The averaged weights
are judged. Every result is added to FOLDER/results.jsonl; the table gives medians over seeds with their ends.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from classifier import load, logits
from fashion import core_seconds, images, labels
from motherlode import registry
from motherlode.families import Batch, Family
from motherlode.measures import find_extractor, frechet_distance
from motherlode.measures.inception import inception_score
from motherlode.modality import SampleSpec
from motherlode.modality.image import MODALITY
from motherlode.randomness import torch_generator
from motherlode.recipe import Recipe
from motherlode.training.loop import Engine, Setting
from motherlode.training.precision import keep_freed_memory
from motherlode.training.schedule import rate_factor

RECIPES = [path for path in sorted(Path("examples/recipes").glob("*.yaml")) if path.stem != "demo"]
SIDE = 32
NUM = 10_000
PEERS = """peers, one seed, another machine (frechet bf16 / inception):
real against real 19.4 / 8.66; MLP GAN 1056 / 4.85;
customary DCGAN (batch 128, lr 2e-4) 1136 / 4.44; DCGAN batch 32, lr 5e-4 241 / 6.34; WGAN-GP 1784 / 2.23;
relativistic + R1 + R2 on DCGAN's networks 334 / 6.58"""


class Feed:
    """Batches of all training images, epoch by epoch, a function of their number."""

    def __init__(self, pictures: Tensor, answers: Tensor, batch: int, setting: Setting, seed: int) -> None:
        self.pictures, self.answers, self.size = pictures, answers, batch
        self.setting, self.seed = setting, seed
        self.epoch, self.order = -1, torch.empty(0)

    def batch(self, index: int) -> Batch:
        """Batch number `index`."""
        epoch, place = divmod(index, len(self.pictures) // self.size)
        if epoch != self.epoch:
            rng = torch_generator(self.seed, "order", epoch)
            self.epoch, self.order = epoch, torch.randperm(len(self.pictures), generator=rng)
        rows = self.order[place * self.size :][: self.size]
        samples = self.setting.arrange(MODALITY.normalise(self.pictures[rows]))
        return Batch(samples, self.answers[rows], rows)

    def close(self) -> None:
        """Nothing to let go."""


class Judge:
    """Scores of uint8 pictures against the test images."""

    def __init__(self, num: int) -> None:
        self.num = num
        self.classifier = load()
        self.extractors = {
            dtype: find_extractor(f"efficientnet-lite0?dtype={dtype}") for dtype in ("bfloat16", "float32")
        }
        test = images("t10k", SIDE)
        self.reference = {dtype: extractor(test).features_ND for dtype, extractor in self.extractors.items()}
        self.ceiling = float(inception_score(logits(self.classifier, test)))

    def __call__(self, pictures: Tensor) -> dict[str, float]:
        """Of uint8 pictures (num, 1, 32, 32)."""
        scores = {
            dtype: float(frechet_distance(extractor(pictures).features_ND, self.reference[dtype]))
            for dtype, extractor in self.extractors.items()
        }
        return scores | {"inception": float(inception_score(logits(self.classifier, pictures)))}


def setting_of(recipe: Recipe) -> Setting:
    """The recipe's precision; `auto` is bfloat16 with channels last, as `lode train` measures it to be on this CPU."""
    if recipe.train.precision == "fp32":
        return Setting(layout="contiguous" if recipe.train.layout == "auto" else recipe.train.layout)
    return Setting("cpu", "bf16", "channels_last")


def train(recipe: Recipe, seconds: float, seed: int) -> tuple[Family, int]:
    """Train for `seconds` of CPU time; returns the family and the steps it took."""
    side = recipe.data.resolution or 28
    options = recipe.family_options()
    family = registry.find("family", recipe.family).build(options, SampleSpec("image", (1, side, side), 10), seed)
    setting = setting_of(recipe)
    setting.place(family)
    feed = Feed(images("train", side), labels("train"), recipe.train.batch, setting, seed)
    engine = Engine(family, feed, setting, recipe.train, seed=seed)  # type: ignore[arg-type]
    for spent in core_seconds(seconds):
        engine.step(rate_factor(recipe.train.schedule, spent / seconds))
    return family, engine.position.step


def sample(family: Family, num: int, seed: int) -> Tensor:
    """uint8 (num, 1, 32, 32)."""
    pictures = MODALITY.denormalise(family.sample(num, rng=torch_generator(seed, "judged")))
    margin = (SIDE - pictures.shape[-1]) // 2
    return pad(pictures, [margin] * 4)


def run(recipe: Recipe, seed: int, seconds: float, judge: Judge, out: Path) -> dict[str, Any]:
    """Train, judge, write down."""
    start = time.perf_counter()
    family, steps = train(recipe, seconds, seed)
    wall_sec = time.perf_counter() - start
    pictures = sample(family, judge.num, seed)
    found = judge(pictures)
    row = {"recipe": recipe.name, "seed": seed, "seconds": seconds, "num": judge.num, "steps": steps, **found}
    row |= {"wall_sec": wall_sec, "model": recipe.model, "train": recipe.train.model_dump(mode="json")}
    out.mkdir(parents=True, exist_ok=True)
    MODALITY.preview(MODALITY.normalise(pictures[:100]), out / f"{recipe.name}-{seed}.png", columns=10)
    with (out / "results.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(
        f"{recipe.name} seed {seed}: {steps} steps, frechet {found['bfloat16']:.1f} ({found['float32']:.1f} fp32), "
        f"inception {found['inception']:.2f}, {wall_sec:.0f} s by the clock",
        flush=True,
    )
    return row


def summary(name: str, rows: list[dict[str, Any]]) -> str:
    """A row of the table: medians (least to most)."""
    cells = []
    for key, digits in (("steps", 0), ("bfloat16", 0), ("float32", 0), ("inception", 2)):
        values = [row[key] for row in rows]
        cells.append(f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", type=Path, default=RECIPES)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipes")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--num", type=int, default=NUM)
    parser.add_argument("--out", type=Path, default=Path("work/gan_quality"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    judge = Judge(asked.num)
    lines = []
    for path in asked.recipes:
        recipe = Recipe.load(path, asked.set)
        seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
        rows = [run(recipe, seed, asked.seconds, judge, asked.out) for seed in seeds]
        lines.append(summary(recipe.name, rows))
    print(f"\n{asked.seconds:.0f} core-seconds, {asked.num} samples, median of {asked.seeds} seeds (least-most)")
    print("| recipe | steps | frechet bf16 | frechet fp32 | inception |\n|---|---|---|---|---|")
    print("\n".join(lines))
    print(f"the test images themselves: inception {judge.ceiling:.2f}\n{PEERS}")


if __name__ == "__main__":
    main()
