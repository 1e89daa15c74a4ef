"""Which word is said: a small network on mel spectra, trained on real clips, to score clips that a model made.

    python bench/recogniser.py train /data/spoken-digits /tmp/recogniser.pt
    python bench/recogniser.py codec /tmp/recogniser.pt /data/spoken-digits runs/speech-codec
    python bench/recogniser.py score /tmp/recogniser.pt generated/           (labels from samples.jsonl, or folders)
    python bench/recogniser.py things /tmp/things.pt runs/things --num 600 --guidance 1 2

It learns from the training voices, moved, noisy and at other speeds, and is tested on held-out voices; what it scores
on real held-out clips is the ceiling beside which generated ones are to be seen. `recogniser(path)` gives other scripts
a function from waveforms to words.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor, nn
from torch.nn import functional

from motherlode.data.dataset import Dataset
from motherlode.data.loader import whole_samples
from motherlode.measures.audio_distance import log_mel, mel_distance, signal_to_distortion
from motherlode.modality.audio import MODALITY
from motherlode.modality.audio.augment import augment
from motherlode.randomness import numpy_generator, torch_generator

RATE, SECONDS, BANDS = 8000, 1.0, 40
LENGTH = int(RATE * SECONDS)


class Recogniser(nn.Module):
    """Four convolutions over a mel spectrum (bands are channels), the greatest over time, one linear layer."""

    def __init__(self, num_labels: int, width: int = 96) -> None:
        super().__init__()
        sizes = (BANDS, width, width, width, width)
        self.layers = nn.ModuleList([nn.Conv1d(a, b, 5, padding=2) for a, b in pairwise(sizes)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(width) for _ in self.layers])
        self.head = nn.Linear(2 * width, num_labels)

    def forward(self, samples_NCT: Tensor) -> Tensor:
        """Logits (N, labels) of normalised clips of a second, silence behind them."""
        level = log_mel(samples_NCT, RATE, BANDS).squeeze(1)
        maps = (level - level.mean((1, 2), keepdim=True)) / level.std((1, 2), keepdim=True).clamp_min(1e-3)
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            maps = functional.relu(norm(layer(maps)))
            if number % 2 == 0:
                maps = functional.max_pool1d(maps, 2)
        return self.head(torch.cat([maps.amax(2), maps.mean(2)], 1))


def window(sample_CT: Any) -> np.ndarray:
    """A clip as float32 (1, T) of a second: loudest part first found, silence behind."""
    sample = np.asarray(sample_CT, np.float32).mean(axis=0)
    heard = np.flatnonzero(np.abs(sample) > 0.02 * max(float(np.abs(sample).max()), 1e-6))
    sample = sample[heard[0] : heard[-1] + 1] if len(heard) else sample
    result = np.zeros((1, LENGTH), np.float32)
    result[0, : min(len(sample), LENGTH)] = sample[:LENGTH]
    return result


def clips(dataset: Dataset, split: str) -> tuple[Tensor, Tensor]:
    """Every clip of a split (N, 1, T) and its label."""
    whole = whole_samples(dataset, split, dataset.spec())
    samples = np.stack([window(np.asarray(sample, np.float32) / 32768) for sample in whole])
    return torch.from_numpy(samples), torch.from_numpy(dataset.split(split).column("label").astype(np.int64))


def train(dataset: Dataset, path: Path, passes: int, seed: int) -> None:
    """Train, test on held-out voices, and keep."""
    samples, labels = clips(dataset, "train")
    heldout, truth = clips(dataset, "heldout")
    torch.manual_seed(seed)
    model = Recogniser(len(dataset.labels))
    steps, batch = passes * len(samples) // 64, 64
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
    started = perf_counter()
    for step in range(steps):
        rows = torch.from_numpy(numpy_generator(seed, "recogniser", step).integers(0, len(samples), batch))
        policy = ("speed", "shift", "noise", "gain", "codec")
        heard = augment(samples[rows], policy, 0.5, torch_generator(seed, "recogniser", step))
        loss = functional.cross_entropy(model(heard), labels[rows], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    torch.save({"state": model.state_dict(), "labels": dataset.labels}, path)
    print(f"{steps} steps, {perf_counter() - started:.0f} s; train loss {float(loss.detach()):.3f}")
    with torch.no_grad():
        said = model(heldout).argmax(1)
    report("real clips of held-out voices", said, truth)


def report(what: str, said: Tensor, truth: Tensor) -> None:
    """Print a share with its 90 % interval (Wilson)."""
    from motherlode.data.step import wilson

    hits, num = int((said == truth).sum()), len(truth)
    low, high = wilson(hits, num)
    print(f"{what}: {hits / num:.1%} right [{low:.1%}, {high:.1%}], n = {num}")


def recogniser(path: Path) -> tuple[Callable[[list[np.ndarray]], list[str]], list[str]]:
    """A function from clips (float32 (C, T) at 8 kHz, full scale ±1) to what is said, and the labels it knows."""
    kept = torch.load(path, weights_only=True)
    model = Recogniser(len(kept["labels"]))
    model.load_state_dict(kept["state"])
    model.eval()

    @torch.no_grad()
    def hear(sounds: list[np.ndarray]) -> list[str]:
        stacked = torch.from_numpy(np.stack([window(sound) for sound in sounds]))
        return [kept["labels"][index] for index in model(stacked).argmax(1).tolist()]

    return hear, kept["labels"]


def codec(path: Path, dataset: Dataset, run: Path) -> None:
    """What is understood of held-out clips once a codec has made them again."""
    from motherlode.training.run import Run

    opened = Run.open(run)
    family = opened.load("best").eval()
    stride = family.code_space.stride[0]
    hear, labels = recogniser(path)
    whole = whole_samples(dataset, "heldout", opened.spec)
    truth = dataset.split("heldout").column("label")
    real, made, distances = [], [], []
    for sample in whole:
        length = -(-sample.shape[1] // stride) * stride
        clip = np.zeros((1, 1, length), np.int16)
        clip[0, :, : sample.shape[1]] = sample
        normal = MODALITY.normalise(torch.from_numpy(clip))
        with torch.no_grad():
            again = family.from_codes(family.codes(normal))
        real.append(normal[0].numpy())
        made.append(again[0].numpy())
        distances.append((float(mel_distance(again, normal, RATE)), float(signal_to_distortion(again, normal))))
    names = torch.from_numpy(truth.astype(np.int64))
    for what, sounds in (("real", real), ("made again", made)):
        said = torch.tensor([labels.index(word) for word in hear(sounds)])
        report(f"{what} clips of held-out voices", said, names)
    mels, ratios = np.array(distances).T
    print(f"mel distance {mels.mean():.2f} dB, SI-SDR {ratios.mean():.1f} dB, n = {len(mels)}")


def score(path: Path, folder: Path) -> None:
    """What is understood of generated files; the truth is their label in samples.jsonl, or their folder."""
    hear, labels = recogniser(path)
    index = folder / "samples.jsonl"
    if index.is_file():
        rows = [json.loads(line) for line in index.read_text().splitlines()]
        named = [(folder / row["file"], row["label"]) for row in rows]
    else:
        named = [(file, file.parent.name) for file in sorted(folder.rglob("*.*")) if file.suffix in (".wav", ".flac")]
    sounds = []
    for file, _ in named:
        samples, rate = soundfile.read(BytesIO(file.read_bytes()), dtype="float32", always_2d=True)
        assert rate == RATE, f"{file} is at {rate} Hz"
        sounds.append(samples.T)
    said = torch.tensor([labels.index(word) for word in hear(sounds)])
    report(str(folder), said, torch.tensor([labels.index(label) for _, label in named]))


def things(path: Path, run: Path, num: int, guidance: float, seed: int) -> list[np.ndarray]:
    """Held-out pictures, each asked for in a language: is the right thing said, and in that language?

    Labels are "<language> <word>", words in one order in each language (`bench/make_voices.py`).
    """
    from make_voices import THINGS
    from motherlode.generation.composer import composer
    from motherlode.training.corpus import keys_of
    from motherlode.training.run import Run

    hear, _ = recogniser(path)
    opened = Run.open(run)
    made_with = composer(opened, opened.recipe.generate.model_copy(update={"guidance": guidance}))
    split = opened.dataset.split("heldout")
    shown = Dataset.open(opened.recipe.data.fields["picture"].path)
    pictures = whole_samples(shown, "train", made_with.codec("picture").spec)
    places = {key: row for row, key in enumerate(keys_of(shown, ["train"]).tolist())}
    partners = [places.get(key, -1) for key in keys_of(opened.dataset, ["heldout"]).tolist()]
    rows = [row for row in np.random.default_rng(0).permutation(len(partners)) if partners[row] >= 0][:num]
    wanted = [opened.labels[int(split.column("label")[row])] for row in rows]
    given = {
        "caption": [word.split()[0] for word in wanted],
        "picture": [np.asarray(pictures[partners[row]]) for row in rows],
    }
    asked = made_with.asked(given)
    made = list(made_with.compositions(asked, made_with.parts(asked, range(len(rows)), seed)))
    clips = [np.asarray(one.made["speech"]) for one in made]
    heard = hear([np.asarray(clip, np.float32) / 32768 for clip in clips])
    names = {
        f"{one} {word}": (one, place) for one, all_ in THINGS.items() for place, word in enumerate(all_.split(","))
    }
    meant, said = np.array([names[word] for word in wanted]), np.array([names[word] for word in heard])
    report(f"guidance {guidance:g}, right thing in the right language", *_flags((meant == said).all(1)))
    report("  right language", *_flags(meant[:, 0] == said[:, 0]))
    report("  right thing, in whatever language", *_flags(meant[:, 1] == said[:, 1]))
    report("  what it means to say", *_flags(np.array([one.made["label"] for one in made]) == np.array(wanted)))
    report("  says what it means", *_flags(np.array([one.made["label"] for one in made]) == np.array(heard)))
    return clips


def _flags(right: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(right), torch.ones(len(right), dtype=torch.bool)


def main() -> None:
    """Train, or score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "codec", "score", "things"))
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--passes", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num", type=int, default=600)
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0])
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.what == "train":
        train(Dataset.open(asked.paths[0]), asked.paths[1], asked.passes, asked.seed)
    elif asked.what == "codec":
        codec(asked.paths[0], Dataset.open(asked.paths[1]), asked.paths[2])
    elif asked.what == "things":
        for guidance in asked.guidance:
            things(asked.paths[0], asked.paths[1], asked.num, guidance, asked.seed)
    else:
        score(asked.paths[0], asked.paths[1])


if __name__ == "__main__":
    main()
