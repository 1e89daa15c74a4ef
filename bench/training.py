"""What the product's loop costs on top of a bare one: seconds a step, same networks, same losses, same optimiser.

    python bench/training.py [--threads 1] [--rounds 20]

The bare loop is what one would write by hand for a GAN: draw a batch, forward, backward, torch's fused Adam, no guard,
no gradient norm, no metrics. Both run in one process and take turns of a few steps; each counts the median of its
turns' CPU time, because on a shared machine the clock measures the neighbours.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from motherlode import registry
from motherlode.families import Batch
from motherlode.families.gan import Gan, Options
from motherlode.modality import SampleSpec
from motherlode.randomness import numpy_generator, torch_generator
from motherlode.recipe import OptimizerOptions, TrainOptions
from motherlode.training.loop import Draw, Engine, Feed, Setting
from motherlode.training.precision import keep_freed_memory

SHAPE = (1, 32, 32)
BATCH = 32
CASES = {"mlp, width 256": Options(network="mlp"), "dcgan, width 64": Options(network="dcgan")}


class Pictures:
    """A loader of random pictures in memory."""

    def __init__(self) -> None:
        self.samples = numpy_generator(0, "pictures").integers(0, 256, (4096, *SHAPE), dtype=np.uint8)

    def draw(self, index: int) -> Draw:
        """Batch number `index`."""
        rows = numpy_generator(0, "order", index).integers(0, len(self.samples), BATCH)
        return self.samples[rows], None, rows


def build(options: Options, setting: Setting) -> Gan:
    return setting.place(Gan.build(options, SampleSpec("image", SHAPE, 0), 0))  # type: ignore[return-value]


def bare(options: Options, setting: Setting) -> Iterator[None]:
    """The loop one would write by hand."""
    family = build(options, setting)
    loader = Pictures()
    optimizers = {
        name: torch.optim.Adam(module.parameters(), 5e-4, (0.5, 0.99), fused=True)
        for name, module in (("critic", family.critic), ("generator", family.generator))
    }
    draw = 0
    for step in range(10**9):
        for turn in family.turns(step):
            samples_np, _, rows_np = loader.draw(draw)
            samples = torch.from_numpy(samples_np).float().div_(127.5).sub_(1.0)
            batch = Batch(setting.arrange(samples), None, torch.from_numpy(rows_np))
            rng = torch_generator(0, turn.name, draw)
            optimizers[turn.name].zero_grad()
            with setting.autocast():
                loss, _ = turn.loss(batch, rng)
            torch.autograd.backward(loss, inputs=list(turn.module.parameters()))
            optimizers[turn.name].step()
            if turn.after is not None:
                turn.after()
            draw += 1
        yield


def ours(options: Options, setting: Setting) -> Iterator[None]:
    """The product's engine: guard, gradient norms, metrics, position."""
    modality = registry.find("modality", "image")
    feed = Feed(Pictures(), modality, setting, augment=(), seed=0, rank=0)
    train = TrainOptions(batch=BATCH, optimizer=OptimizerOptions())
    engine = Engine(build(options, setting), feed, setting, train, seed=0)
    while True:
        engine.step(1.0)
        yield


def step_ms(steps: Iterator[None], num: int) -> float:
    start = time.process_time()
    for _ in range(num):
        next(steps)
    return 1e3 * (time.process_time() - start) / num


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    keep_freed_memory()
    loops: dict[str, Callable[[Options, Setting], Iterator[None]]] = {"bare": bare, "ours": ours}
    for case, options in CASES.items():
        for setting in (Setting(), Setting(precision="bf16", layout="channels_last")):
            sides = {name: make(options, setting) for name, make in loops.items()}
            for side in sides.values():
                step_ms(side, 3)
            times: dict[str, list[float]] = {name: [] for name in sides}
            for _ in range(asked.rounds):
                for name, side in sides.items():
                    times[name].append(step_ms(side, 4))
            middle = {name: statistics.median(values) for name, values in times.items()}
            print(
                f"{case}, batch {BATCH}, {setting}: bare {middle['bare']:.2f} ms a step, ours {middle['ours']:.2f}, "
                f"ratio {middle['ours'] / middle['bare']:.3f}"
            )


if __name__ == "__main__":
    main()
