"""What the GAN benchmarks share: Fashion-MNIST, a clock of CPU time, training in the product's loop, and a score."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from motherlode.data.idx import read_array
from motherlode.families import Batch
from motherlode.families.gan import Gan
from motherlode.measures import find_extractor, frechet_distance
from motherlode.modality import SampleSpec
from motherlode.modality.image import MODALITY
from motherlode.randomness import torch_generator
from motherlode.recipe import OptimizerOptions, TrainOptions
from motherlode.training.loop import Engine, Setting
from motherlode.training.precision import keep_freed_memory

HOMES = ("datasets/raw/dataset-fashion-mnist/usr/share/datasets/fashion-mnist", "/usr/share/datasets/fashion-mnist")


def _home() -> Path:
    home = next((Path(path) for path in HOMES if Path(path).is_dir()), None)
    if home is None:
        raise SystemExit("run bench/fetch_data.sh first")
    return home


def images(part: str, side: int) -> Tensor:
    """uint8 (N, 1, side, side) of "train" or "t10k", the 28x28 pictures in a black margin."""
    pictures = np.asarray(read_array(str(_home() / f"{part}-images-idx3-ubyte.gz")))
    margin = (side - pictures.shape[1]) // 2
    return torch.from_numpy(np.pad(pictures, ((0, 0), (margin, margin), (margin, margin)))[:, None])


def labels(part: str) -> Tensor:
    """int64 (N,) of "train" or "t10k"."""
    return torch.from_numpy(np.asarray(read_array(str(_home() / f"{part}-labels-idx1-ubyte.gz"))).astype(np.int64))


class Feed:
    """Random batches of a set of images, a function of their number."""

    def __init__(self, pictures: Tensor, batch: int, setting: Setting, seed: int) -> None:
        self.pictures, self.size, self.setting, self.seed = pictures, batch, setting, seed

    def batch(self, index: int) -> Batch:
        """Batch number `index`."""
        rows = torch.randint(len(self.pictures), (self.size,), generator=torch_generator(self.seed, "rows", index))
        return Batch(self.setting.arrange(MODALITY.normalise(self.pictures[rows])), None, rows)

    def close(self) -> None:
        """Nothing to let go."""


def core_seconds(limit: float) -> Iterator[float]:
    """Yield the CPU seconds of this process since the start, until `limit` of them are gone."""
    start = time.process_time()
    while (spent := time.process_time() - start) < limit:
        yield spent


def train(
    family: Gan, pictures: Tensor, limit: float, *, batch: int = 32, lr: float = 5e-4, seed: int = 0, bf16: bool = True
) -> int:
    """Train in the product's loop for `limit` CPU seconds at a constant rate; returns the steps taken."""
    keep_freed_memory()
    setting = Setting("cpu", "bf16", "channels_last") if bf16 else Setting()
    setting.place(family)
    options = TrainOptions(batch=batch, optimizer=OptimizerOptions(lr=lr, betas=(0.5, 0.99)))
    engine = Engine(family, Feed(pictures, batch, setting, seed), setting, options, seed=seed)  # type: ignore[arg-type]
    for _ in core_seconds(limit):
        engine.step(1.0)
    return engine.position.step


class Judge:
    """Fréchet distance to the first `num` held-out images, by efficientnet-lite0 in float32."""

    def __init__(self, side: int, num: int) -> None:
        self.num = num
        self.extractor = find_extractor("efficientnet-lite0")
        self.reference = self.extractor(images("t10k", side)[:num]).features_ND

    def __call__(self, samples: Tensor) -> float:
        """Of normalised samples (num, 1, side, side)."""
        return frechet_distance(self.extractor(MODALITY.denormalise(samples)).features_ND, self.reference)


def spec(side: int) -> SampleSpec:
    """Grey, without labels."""
    return SampleSpec("image", (1, side, side), 0)
