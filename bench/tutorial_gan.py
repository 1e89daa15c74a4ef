"""The tutorial GAN beside the same networks trained by the family, on Fashion-MNIST for equal CPU time.

    python bench/tutorial_gan.py [--seconds 20] [--seeds 3] [--num 2000] [--pictures docs/images]

What stands between the two, with one fault mended, is run with one seed.

The tutorial circulates for Keras. Its three faults are kept here one for one, and each can be mended alone: a sigmoid
in front of a loss that expects logits, one optimiser that minimises the sum of both losses over both networks, and
one batch of noise drawn before training and used at every step.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from fashion import Judge, core_seconds, images, spec, train
from motherlode.families.gan import Gan, Options
from motherlode.modality.image import MODALITY
from motherlode.networks.mlp import MlpCritic, MlpGenerator
from motherlode.randomness import torch_generator

SHAPE = (1, 28, 28)
BATCH = 128
FAULTS = ("sigmoid", "one optimiser", "fixed noise")


def tutorial(pictures: Tensor, limit: float, seed: int, faults: tuple[str, ...]) -> tuple[Callable[[int], Tensor], int]:
    """Train as the tutorial does, with the faults given; returns a sampler and the number of steps."""
    family = Gan.build(Options(network="mlp"), spec(28), seed)
    generator, critic = family.generator, family.critic
    assert isinstance(generator, MlpGenerator)
    assert isinstance(critic, MlpCritic)
    judge = nn.Sequential(critic, nn.Sigmoid()) if "sigmoid" in faults else critic
    rng = torch_generator(seed, "tutorial")
    both = torch.optim.Adam([*generator.parameters(), *critic.parameters()], 1e-3)
    apart = [torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999)) for network in (critic, generator)]
    ones, zeros = torch.ones(BATCH), torch.zeros(BATCH)
    fixed = torch.randn(BATCH, 100, generator=rng)
    steps = 0
    for _ in core_seconds(limit):
        rows = torch.randint(len(pictures), (BATCH,), generator=rng)
        real = MODALITY.normalise(pictures[rows])
        noise = fixed if "fixed noise" in faults else torch.randn(BATCH, 100, generator=rng)
        fake = generator(noise)
        if "one optimiser" in faults:
            on_real, on_fake = judge(real), judge(fake)
            critic_loss = binary_cross_entropy_with_logits(on_real, ones) + binary_cross_entropy_with_logits(
                on_fake, zeros
            )
            generator_loss = binary_cross_entropy_with_logits(on_fake, ones)
            both.zero_grad()
            (critic_loss + generator_loss).backward()
            both.step()
        else:
            apart[0].zero_grad()
            on_fake = binary_cross_entropy_with_logits(judge(fake.detach()), zeros)
            (binary_cross_entropy_with_logits(judge(real), ones) + on_fake).backward()
            apart[0].step()
            apart[1].zero_grad()
            binary_cross_entropy_with_logits(judge(fake), ones).backward()
            apart[1].step()
        steps += 1

    def sample(num: int) -> Tensor:
        with torch.no_grad():
            return generator(torch.randn(num, 100, generator=torch_generator(seed, "sample")))

    return sample, steps


def ours(pictures: Tensor, limit: float, seed: int) -> tuple[Callable[[int], Tensor], int]:
    """The family with the same networks and the rate and batch of the default recipe."""
    family = Gan.build(Options(network="mlp"), spec(28), seed)
    steps = train(family, pictures, limit, batch=32, lr=5e-4, seed=seed, bf16=False)
    return lambda num: family.sample(num, rng=torch_generator(seed, "sample")), steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU seconds for each training")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--num", type=int, default=2000, help="samples, and held-out images, the distance is taken on")
    parser.add_argument("--pictures", type=Path, help="folder for the sample grids")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    pictures, judge = images("train", 28), Judge(28, asked.num)
    rows: dict[str, Callable[[int], tuple[Callable[[int], Tensor], int]]] = {
        "tutorial": lambda seed: tutorial(pictures, asked.seconds, seed, FAULTS)
    }
    for fault in FAULTS:
        rest = tuple(other for other in FAULTS if other != fault)
        rows[f"tutorial without the fault `{fault}`"] = lambda seed, rest=rest: tutorial(
            pictures, asked.seconds, seed, rest
        )
    rows["tutorial without all three"] = lambda seed: tutorial(pictures, asked.seconds, seed, ())
    rows["family"] = lambda seed: ours(pictures, asked.seconds, seed)
    print(f"| {asked.seconds:.0f} core-seconds | steps | Fréchet distance, median of the seeds (each) |")
    print("|---|---|---|", flush=True)
    for name, run in rows.items():
        found, counts = [], []
        for seed in range(asked.seeds if name in ("tutorial", "family") else 1):
            sample, steps = run(seed)
            made = sample(asked.num)
            found.append(judge(made))
            counts.append(steps)
            if seed == 0 and asked.pictures and name in ("tutorial", "family"):
                MODALITY.preview(made[:60], asked.pictures / f"tutorial-gan-{name}.png", columns=12)
        spread = f"{statistics.median(found):.0f} ({', '.join(f'{one:.0f}' for one in sorted(found))})"
        print(f"| {name} | {statistics.median(counts):.0f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
