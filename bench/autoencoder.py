"""Our VAE against pythae's on Fashion-MNIST, 28x28: images a second, and reconstructions after equal seconds.

    python -m venv /tmp/pythae && /tmp/pythae/bin/pip install pythae      (it needs torch, pydantic and numpy besides)
    python bench/autoencoder.py --peer /tmp/pythae/bin/python [--seconds 60] [--rounds 6] [--steps 6]
    python bench/autoencoder.py --codebooks [--steps 400]
    python bench/autoencoder.py --samples FOLDER... --reference datasets/fashion [--num 2000]

The peer is pythae's VAE on its own convolutional networks for MNIST, latent 32, Bernoulli likelihood, Adam at 1e-3,
batch 64, float32, in the loop its trainer runs; and once more on networks of our shape, so that what the networks win
and what the engine wins can be told apart. Each side runs in a process of its own on one thread; for speed they take
turns of a few steps and each counts its fastest turn, for quality each trains for equal CPU seconds. Judged on the
first 2,000 held-out pictures: nats of the negative ELBO (one draw), mean absolute error and PSNR of reconstructions.

With `--codebooks`, how much of a codebook of 512 held-out pictures use after equal steps, by what keeps codes alive.

With `--samples`, the Fréchet distance of folders of generated pictures (of a VAE, a VAE-GAN, a GPT over codes: whatever
`lode generate --out` wrote) to the held-out split, all with one extractor and one number of samples.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fashion import Feed, images
from motherlode.families import Batch
from motherlode.families.autoencoder import FAMILY, Autoencoder, Options
from motherlode.modality import SampleSpec
from motherlode.modality.image import MODALITY
from motherlode.networks.quantise import VectorQuantiser, perplexity
from motherlode.randomness import torch_generator
from motherlode.recipe import OptimizerOptions, TrainOptions
from motherlode.training.loop import Engine, Setting
from motherlode.training.precision import keep_freed_memory

SIDES = ("peer", "peer's loop, our networks", "ours")
SHAPE = (1, 28, 28)
LATENT = 32
BATCH = 64
NUM_JUDGED = 2000


def ours() -> Autoencoder:
    """The family's defaults with a Bernoulli likelihood; no mixture, as the peer has none."""
    options = Options(kind="vae", reconstruction="bernoulli", latent=LATENT, mixture=0)
    return FAMILY.build(options, SampleSpec("image", SHAPE), seed=0)


class Ours:
    """The family in the product's own loop, in the setting that `auto` picks where bf16 is fast."""

    def __init__(self) -> None:
        keep_freed_memory()
        setting = Setting("cpu", "bf16", "channels_last")
        self.family = setting.place(ours())
        train = TrainOptions(batch=BATCH, optimizer=OptimizerOptions(lr=1e-3, betas=(0.9, 0.99)))
        feed = Feed(images("train", SHAPE[1]), BATCH, setting, 0)
        self.engine = Engine(self.family, feed, setting, train, seed=0)  # type: ignore[arg-type]

    def step(self) -> None:
        """One training step."""
        self.engine.step(1.0)

    def judge(self, samples: Tensor) -> dict[str, float]:
        """What it makes of held-out samples in [-1, 1]."""
        self.family.eval()
        batch = Batch(samples, None, torch.arange(len(samples)))
        nats = float(self.family.heldout_loss(batch, torch_generator(0, "judge")))  # type: ignore[arg-type]
        return {"nelbo": nats, **errors(self.family.reconstruct(samples), samples)}  # type: ignore[arg-type]

    @property
    def network(self) -> nn.Module:
        """Everything that learns."""
        return self.family


class Peer:
    """pythae's VAE in the loop of its trainer.

    Args:
        own: on its own networks for MNIST; else on ours.
    """

    def __init__(self, own: bool) -> None:
        from pythae.data.datasets import BaseDataset
        from pythae.models import VAE, VAEConfig
        from pythae.models.nn.benchmarks.mnist.convnets import Decoder_Conv_AE_MNIST, Encoder_Conv_VAE_MNIST

        config = VAEConfig(input_dim=SHAPE, latent_dim=LATENT, reconstruction_loss="bce")
        torch.manual_seed(0)
        pair = (Encoder_Conv_VAE_MNIST(config), Decoder_Conv_AE_MNIST(config)) if own else _dressed(config)
        self.model = VAE(config, *pair)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        pictures = images("train", SHAPE[1]).float() / 255
        data = BaseDataset(pictures, torch.zeros(len(pictures)))
        self.batches = self._batches(torch.utils.data.DataLoader(data, BATCH, shuffle=True))
        self.model.train()

    def _batches(self, loader: Any) -> Iterator[Any]:
        while True:
            yield from loader

    def step(self) -> None:
        """One training step."""
        self.optimizer.zero_grad()
        loss = self.model(next(self.batches)).loss
        loss.backward()
        self.optimizer.step()
        loss.item()

    @torch.no_grad()
    def judge(self, samples: Tensor) -> dict[str, float]:
        """What it makes of held-out samples in [-1, 1]."""
        self.model.eval()
        pictures = (samples + 1) / 2
        torch.manual_seed(0)
        pieces = pictures.split(250)
        nats = float(np.mean([float(self.model({"data": piece}).loss) for piece in pieces]))
        made = torch.cat(
            [self.model.decoder(self.model.encoder(piece).embedding)["reconstruction"] for piece in pieces]
        )
        return {"nelbo": nats, **errors(2 * made.view_as(pictures) - 1, samples)}

    @property
    def network(self) -> nn.Module:
        """Everything that learns."""
        module: nn.Module = self.model
        return module


def _dressed(config: Any) -> tuple[nn.Module, nn.Module]:
    """Our networks in the peer's classes."""
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            BaseEncoder.__init__(self)
            self.inner, self.latent_dim = ours().encoder, config.latent_dim

        def forward(self, x: Tensor) -> Any:
            mean, log_variance = self.inner(2 * x - 1).chunk(2, 1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            BaseDecoder.__init__(self)
            self.inner = ours().decoder

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=torch.sigmoid(self.inner(z)))

    return Encoder(), Decoder()


def errors(made: Tensor, real: Tensor) -> dict[str, float]:
    """Mean absolute error as a share of the range, and mean PSNR in dB."""
    away = (made.float() - real.float()) / 2
    psnr = -10 * torch.log10(away.square().flatten(1).mean(1)).mean()
    return {"l1": float(away.abs().mean()), "psnr": float(psnr)}


def work(name: str) -> None:
    """Answer each line of stdin: steps, seconds of CPU time to train for, or "judge"."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    side: Ours | Peer = Ours() if name == "ours" else Peer(own=name == "peer")
    held_out = MODALITY.normalise(images("t10k", SHAPE[1])[:NUM_JUDGED])
    taken = 0
    for line in sys.stdin:
        asked = json.loads(line)
        start = time.process_time()
        if asked == "judge":
            found: Any = side.judge(held_out)
        elif "steps" in asked:
            for _ in range(asked["steps"]):
                side.step()
            found = time.process_time() - start
        else:
            while time.process_time() - start < asked["seconds"]:
                side.step()
                taken += 1
            found = taken
        if asked == {"steps": 0}:
            found = sum(parameter.numel() for parameter in side.network.parameters())
        print(json.dumps(found), flush=True)


def started(name: str, python: str) -> Callable[[Any], Any]:
    """A side in a process of its own; call it with what to do."""
    own = Path(__file__).resolve()
    env = {**os.environ, "PYTHONPATH": str(own.parents[1] / "src"), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [python if name != "ours" else sys.executable, str(own), "--side", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )

    def ask(what: Any) -> Any:
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps(what), file=process.stdin, flush=True)
        return json.loads(process.stdout.readline())

    return ask


def compare(python: str, seconds: float, rounds: int, steps: int) -> None:
    sides = {name: started(name, python) for name in SIDES}
    for name, ask in sides.items():
        print(f"{name}: {ask({'steps': 0}):,} parameters")
        ask({"steps": 3})
    fastest = dict.fromkeys(SIDES, float("inf"))
    for _ in range(rounds):
        for name, ask in sides.items():
            fastest[name] = min(fastest[name], ask({"steps": steps}) / steps)
    for name in SIDES:
        print(f"{name}: {BATCH / fastest[name]:.0f} images a CPU-second")
    peer, loop, own = (fastest[name] for name in SIDES)
    print(f"ratio: {peer / own:.2f} to the peer, {loop / own:.2f} to its loop on our networks")
    if seconds:
        for name in SIDES:  # afresh, so that what was timed is not trained
            ask = started(name, python)
            taken = ask({"seconds": seconds})
            found = ask("judge")
            print(
                f"{name}, {seconds:.0f} CPU-seconds, {taken} steps: NELBO {found['nelbo']:.1f} nats, "
                f"l1 {found['l1']:.4f}, PSNR {found['psnr']:.2f} dB",
                flush=True,
            )


CODEBOOKS: dict[str, dict[str, Any]] = {
    "from noise, codes never moved": {"kind": "vq", "codebook": {"revive": 0.0}},
    "from k-means, codes never moved": {"kind": "vq", "codebook": {"revive": 0.0}},
    "from noise, dead codes moved": {"kind": "vq"},
    "from k-means, dead codes moved": {"kind": "vq"},
    "the same with the rotation trick": {"kind": "vq", "codebook": {"estimator": "rotation"}},
    "finite scalars, 8 x 8 x 8": {"kind": "fsq", "codebook": {"levels": [8, 8, 8]}},
}


def compare_codebooks(steps: int, seed: int) -> None:
    """Each for equal steps on batches of 64, at a constant rate; judged on the first 2,000 held-out pictures."""
    torch.set_num_threads(1)
    keep_freed_memory()
    held_out = MODALITY.normalise(images("t10k", SHAPE[1])[:NUM_JUDGED])
    start = VectorQuantiser.start
    for name, options in CODEBOOKS.items():
        VectorQuantiser.start = (lambda *_: None) if "from noise" in name else start  # type: ignore[method-assign]
        family = FAMILY.build(Options(**options), SampleSpec("image", SHAPE), seed)
        setting = Setting("cpu", "bf16", "channels_last")
        setting.place(family)
        feed = Feed(images("train", SHAPE[1]), BATCH, setting, seed)
        train = TrainOptions(batch=BATCH, optimizer=OptimizerOptions(lr=1e-3, betas=(0.9, 0.99)))
        engine = Engine(family, feed, setting, train, seed=seed)  # type: ignore[arg-type]
        for _ in range(steps):
            engine.step(1.0)
        family.eval()
        codes, psnr = family.codes(held_out), errors(family.reconstruct(held_out), held_out)["psnr"]
        print(
            f"{name}: {len(codes.unique())} of 512 codes, perplexity {perplexity(codes, 512):.0f}, PSNR {psnr:.2f} dB",
            flush=True,
        )


def judge_folders(folders: list[str], reference: str, num: int, extractor: str) -> None:
    from motherlode.training.evaluate import evaluate

    for folder in folders:
        report = evaluate(
            samples=folder, reference=reference, num_samples=num, measures=("frechet",), extractor=extractor
        )
        print(f"{folder}: {report['frechet'].label} {report['frechet'].value:.1f} [{report['frechet'].low:.1f}, "
              f"{report['frechet'].high:.1f}], n = {report['frechet'].num_samples}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="a python that has pythae")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--codebooks", action="store_true")
    parser.add_argument("--samples", nargs="+")
    parser.add_argument("--reference", default="datasets/fashion")
    parser.add_argument("--num", type=int, default=2000)
    parser.add_argument("--extractor", default="efficientnet-lite0")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        work(asked.side)
    elif asked.codebooks:
        compare_codebooks(asked.steps, asked.seed)
    elif asked.samples:
        judge_folders(asked.samples, asked.reference, asked.num, asked.extractor)
    elif asked.peer:
        compare(asked.peer, asked.seconds, asked.rounds, asked.steps)
    else:
        parser.error("give --peer, --codebooks or --samples")


if __name__ == "__main__":
    main()
