"""Images a second of the DCGAN at 32x32, width 64, against the same networks trained the way the peers do by default.

    python bench/gan_speed.py [--threads 2] [--batch 64] [--rounds 8] [--steps 4]

The peer is the customary script (two losses, two plain Adams, float32, contiguous, eager, batch 64, written out below)
on networks of equal function and equal initial weights. Each side runs in a process of its own, so that neither
profits from the other's settings; they take turns of a few steps, and each counts its fastest turn, because on a shared
machine the slow ones measure the neighbours. Both learn from the same images in the same order with the same noise, so
their losses can be compared: printed as the mean over the last quarter of the steps.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from motherlode.families import Batch
from motherlode.families.gan import Gan, Options
from motherlode.modality import SampleSpec
from motherlode.randomness import torch_generator

SHAPE = (1, 32, 32)
NUM_NOISE = 100


def images(batch: int, index: int) -> Tensor:
    """Batch number `index` of smooth random pictures: float32 in [-1, 1]; their content does not change the speed."""
    rng = torch_generator(0, "pictures", index)
    coarse = torch.randn((batch, 1, 5, 5), generator=rng)
    return torch.tanh(nn.functional.interpolate(coarse, SHAPE[1:], mode="bicubic") * 2)


def noise(batch: int, index: int) -> Tensor:
    """The noise the loop's critic turn draws at step `index`, each step taking two draws."""
    return torch.randn(batch, NUM_NOISE, generator=torch_generator(0, "critic", 2 * index))


def family() -> Gan:
    """Our networks, with the paper's batch norm in the critic."""
    options = Options(network="dcgan", width=64, critic_norm="batch", noise=NUM_NOISE, average_samples=0)
    return Gan.build(options, SampleSpec("image", SHAPE, 0), seed=0)


def peer_networks() -> tuple[nn.Module, nn.Module]:
    """The customary modules, with the weights of `family()`."""
    ours = family()
    generator = nn.Sequential(
        nn.ConvTranspose2d(NUM_NOISE, 256, 4, 1, 0, bias=False), nn.BatchNorm2d(256), nn.ReLU(True),
        nn.ConvTranspose2d(256, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU(True),
        nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(True),
        nn.ConvTranspose2d(64, 1, 4, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip
    critic = nn.Sequential(
        nn.Conv2d(1, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2, True),
        nn.Conv2d(64, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2, True),
        nn.Conv2d(128, 256, 4, 2, 1, bias=False), nn.BatchNorm2d(256), nn.LeakyReLU(0.2, True),
        nn.Conv2d(256, 1, 4, 1, 0, bias=False), nn.Flatten(0),
    )  # fmt: skip
    with torch.no_grad():
        for theirs, mine in ((generator, ours.generator), (critic, ours.critic)):
            for one, other in zip(theirs.parameters(), mine.parameters(), strict=True):
                one.copy_(_customary_layout(other, one))
    return generator, critic


def _customary_layout(mine: Tensor, theirs: Tensor) -> Tensor:
    """Our first and last layers are matrices over (cells, channels); theirs are kernels (…, channels, 4, 4)."""
    if mine.shape == theirs.shape:
        return mine
    if len(mine) == 1:
        return mine.view(1, 4, 4, -1).permute(0, 3, 1, 2)
    return mine.view(4, 4, -1, NUM_NOISE).permute(3, 2, 0, 1)


def peer_steps(batch: int) -> Iterator[tuple[float, float]]:
    """The customary loop: critic on real, critic on fake, generator on the same fakes."""
    generator, critic = peer_networks()
    criterion = nn.BCEWithLogitsLoss()
    optimizers = [torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999)) for network in (critic, generator)]
    ones, zeros = torch.ones(batch), torch.zeros(batch)
    index = 0
    while True:
        critic.zero_grad()
        loss_real = criterion(critic(images(batch, index)), ones)
        loss_real.backward()
        fake = generator(noise(batch, index)[:, :, None, None])
        loss_fake = criterion(critic(fake.detach()), zeros)
        loss_fake.backward()
        optimizers[0].step()
        generator.zero_grad()
        loss = criterion(critic(fake), ones)
        loss.backward()
        optimizers[1].step()
        index += 1
        yield (loss_real + loss_fake).item(), loss.item()


def our_steps(batch: int) -> Iterator[tuple[float, float]]:
    """The family in the product's own loop, in the setting `auto` picks where bf16 is fast."""
    from motherlode.recipe import OptimizerOptions, TrainOptions
    from motherlode.training.loop import Engine, Setting
    from motherlode.training.precision import keep_freed_memory

    class Pictures:
        def batch(self, index: int) -> Batch:
            samples = images(batch, index // 2).contiguous(memory_format=torch.channels_last)
            return Batch(samples, None, torch.arange(batch))

        def close(self) -> None:
            pass

    torch.set_flush_denormal(True)
    keep_freed_memory()
    setting = Setting("cpu", "bf16", "channels_last")
    model = setting.place(family())
    train = TrainOptions(batch=batch, optimizer=OptimizerOptions(lr=2e-4, betas=(0.5, 0.999)))
    engine = Engine(model, Pictures(), setting, train, seed=0)  # type: ignore[arg-type]
    while True:
        scalars = engine.step(1.0)
        yield float(scalars["critic/loss"]), float(scalars["generator/loss"])


def work(side: str, batch: int, threads: int) -> None:
    """Answer each line on stdin, a number of steps, with their seconds (wall, CPU) and losses."""
    torch.set_num_threads(threads)
    steps = peer_steps(batch) if side == "peer" else our_steps(batch)
    for line in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        losses = [next(steps) for _ in range(int(line))]
        seconds = time.perf_counter() - wall, time.process_time() - cpu
        print(json.dumps([*seconds, losses]), flush=True)


class Side:
    """One side, in a process of its own."""

    def __init__(self, name: str, batch: int, threads: int) -> None:
        self.name, self.batch = name, batch
        command = [sys.executable, __file__, "--side", name, "--batch", str(batch), "--threads", str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.losses: list[Any] = []

    def run(self, steps: int, *, count: bool = True) -> None:
        """Have it take `steps` steps."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(steps, file=self.process.stdin, flush=True)
        wall, cpu, losses = json.loads(self.process.stdout.readline())
        self.losses += losses
        if count:
            self.wall.append(wall / steps)
            self.cpu.append(cpu / steps)

    def rate(self) -> float:
        """Images a second in its fastest turn."""
        return self.batch / min(self.wall)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=64, help="ours; the peer's is 64")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--side", choices=["peer", "ours"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        work(asked.side, asked.batch, asked.threads)
        return
    sides = [Side("peer", 64, asked.threads), Side("ours", asked.batch, asked.threads)]
    for side in sides:
        side.run(2, count=False)
    for _ in range(asked.rounds):
        for side in sides:
            side.run(asked.steps)
    for side in sides:
        last = np.array(side.losses[-len(side.losses) // 4 :]).mean(0)
        print(
            f"{side.name}: {side.rate():.1f} images/s, median {side.batch / np.median(side.wall):.1f}; "
            f"{1e3 * min(side.cpu) / side.batch:.2f} CPU-ms an image; "
            f"losses: critic {last[0]:.3f}, generator {last[1]:.3f}"
        )
        side.process.stdin.close()  # type: ignore[union-attr]
    fastest = sides[1].rate() / sides[0].rate()
    median = sides[1].batch / np.median(sides[1].wall) / (64 / np.median(sides[0].wall))
    cpu = min(sides[0].cpu) / 64 / (min(sides[1].cpu) / asked.batch)
    print(
        f"ratio at {asked.threads} threads, batch {asked.batch}: "
        f"{fastest:.2f} (medians {median:.2f}, CPU time {cpu:.2f})"
    )


if __name__ == "__main__":
    main()
