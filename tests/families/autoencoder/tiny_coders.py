"""What the tests of autoencoders share: tiny models, smooth pictures, the product's own engine on them."""

from typing import Any

import torch
from torch import Tensor

from motherlode.families import Batch
from motherlode.families.autoencoder import FAMILY, Autoencoder, Options
from motherlode.modality import SampleSpec
from motherlode.randomness import torch_generator
from motherlode.recipe import TrainOptions, parse
from motherlode.training.loop import Engine, Setting

IMAGE = SampleSpec("image", (1, 16, 16))
SHAPES = {1: (1, 320), 2: (3, 16, 16), 3: (1, 4, 16, 16)}


def make(spec: SampleSpec = IMAGE, seed: int = 0, **options: Any) -> Autoencoder:
    return FAMILY.build(parse(Options, {"width": 8, "latent": 6, **options}), spec, seed)


def pictures(num: int, spec: SampleSpec = IMAGE, seed: int = 0) -> Tensor:
    """Smooth samples with something to learn."""
    rng = torch_generator(seed, "pictures")
    coarse = torch.randn(num, spec.shape[0], *[4] * (len(spec.shape) - 1), generator=rng)
    mode = {2: "linear", 3: "bilinear", 4: "trilinear"}[len(spec.shape)]
    return torch.tanh(torch.nn.functional.interpolate(coarse, spec.shape[1:], mode=mode) * 2)


class Feed:
    def __init__(self, spec: SampleSpec, size: int) -> None:
        self.spec, self.size = spec, size

    def batch(self, index: int) -> Batch:
        return Batch(pictures(self.size, self.spec, index), None, torch.arange(self.size))

    def close(self) -> None:
        pass


def engine(family: Autoencoder, size: int = 16, **train: Any) -> Engine:
    options = TrainOptions(batch=size, **train)
    return Engine(family, Feed(family.spec, size), Setting(), options, seed=0)  # type: ignore[arg-type]


def nelbo(family: Autoencoder, spec: SampleSpec = IMAGE) -> float:
    batch = Batch(pictures(64, spec, 999), None, torch.arange(64))
    return float(family.heldout_loss(batch, torch_generator(0, "held out")))
