"""Every loss with every network on Fashion-MNIST at 32x32, for short equal budgets of CPU time: does each one learn?

    python bench/gan_losses.py [--seconds 20] [--num 2000] [--pictures FOLDER] [--only dcgan] [--losses hinge]

Prints a table of Fréchet distances (efficientnet-lite0, float32, against as many held-out images), one seed, the last
averaged generator. Too short a budget to rank the losses by: it shows which of them learn at all, and how fast.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from fashion import Judge, images, spec, train
from motherlode.families.gan import Gan, Options
from motherlode.modality.image import MODALITY
from motherlode.randomness import torch_generator

NETWORKS: dict[str, tuple[dict[str, Any], float]] = {
    "mlp": ({"network": "mlp"}, 5e-4),
    "dcgan": ({"network": "dcgan", "width": 32}, 1e-3),
    "resnet": ({"network": "resnet", "width": 16}, 1e-3),
}
LOSSES: dict[str, dict[str, Any]] = {
    "minimax": {},
    "nonsaturating": {},
    "least_squares": {},
    "hinge": {},
    "hinge, spectral norm": {"spectral": True},
    "wasserstein, clipped": {"clip": 0.02},
    "wasserstein, gradient penalty": {},
    "relativistic, R1 + R2": {},
    "nonsaturating, R1": {"penalty": {"r1": 1.0}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--num", type=int, default=2000)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--only", choices=list(NETWORKS), action="append")
    parser.add_argument("--losses", choices=list(LOSSES), action="append")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    pictures, judge = images("train", 32), Judge(32, asked.num)
    names = asked.only or list(NETWORKS)
    print(f"| Fréchet distance (steps) after {asked.seconds:.0f} core-seconds | {' | '.join(names)} |")
    print("|---|" + "---|" * len(names), flush=True)
    for title, extra in LOSSES.items():
        if asked.losses and title not in asked.losses:
            continue
        cells = []
        for name in names:
            options, lr = NETWORKS[name]
            made = Gan.build(Options(**options, **extra, loss=title.split(",")[0]), spec(32), seed=0)
            steps = train(made, pictures, asked.seconds, lr=lr)
            samples = made.sample(asked.num, rng=torch_generator(0, "sample"))
            cells.append(f"{judge(samples):.0f} ({steps})")
            if asked.pictures:
                file = f"{name}-{title.replace(', ', '-').replace(' ', '-')}.png"
                MODALITY.preview(samples[:64], asked.pictures / file, columns=16)
        print(f"| {title} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
