"""Held-out clips and what a codec makes of them: spectrograms one above the other, and a file with each pair.

    python bench/codec_listen.py runs/speech-codec datasets/voices docs/images/codec.png docs/audio/codec.flac
    python bench/codec_listen.py ... --clips /tmp/clips     then  python bench/prompt_judge.py /tmp/clips/{real,again}

Prints how far all held-out clips are from what comes back of them. `--clips` writes each of them, with its caption
beside it, for a judge of what is said. An autoencoder without codes may be heard too: what codes alone lose is what it
has more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from motherlode.data.dataset import Dataset
from motherlode.data.loader import whole_samples
from motherlode.families.autoencoder.model import Autoencoder
from motherlode.families.autoencoder.networks import plan_of
from motherlode.measures.audio_distance import mel_distance, signal_to_distortion
from motherlode.measures.interval import Interval, around
from motherlode.modality.audio import MODALITY, normal
from motherlode.modality.audio.preview import spectrogram
from motherlode.training.run import Run

_WIDTH, _HEIGHT, _GAP = 150, 90, 4
_LEVEL = 0.9
Sound = NDArray[np.int16]


def through(family: Autoencoder, clip: Sound) -> Sound:
    """A clip int16 (1, T), encoded and decoded."""
    (stride,) = plan_of(family.options, family.spec).stride
    padded = np.zeros((1, 1, -(-clip.shape[1] // stride) * stride), np.int16)
    padded[0, :, : clip.shape[1]] = clip
    made = family.reconstruct(MODALITY.normalise(torch.from_numpy(padded)))
    again: Sound = MODALITY.denormalise(made)[0, :, : clip.shape[1]].numpy()
    return again


def mean(values: list[float]) -> Interval:
    """Of one value a clip."""
    return around(float(np.mean(values)), float(np.std(values) / len(values) ** 0.5), _LEVEL, "normal, over clips")


def tell(pairs: list[tuple[Sound, Sound]], rate: float) -> None:
    """Print the distances of clips to what came back of them."""
    measures = {
        "mel distance, dB": lambda made, real: mel_distance(made, real, rate),
        "SI-SDR, dB": signal_to_distortion,
    }
    for name, measure in measures.items():
        found = mean([measure(again[None], clip[None]).value for clip, again in pairs])
        print(f"{name}: {found.value:.2f} [{found.low:.2f}, {found.high:.2f}], n = {len(pairs)}, 90 %")


def write_clips(folder: Path, pairs: list[tuple[Sound, Sound]], captions: list[str], rate: int) -> None:
    """`real/` and `again/`, a FLAC a clip and its caption beside it."""
    for name, sounds in zip(("real", "again"), zip(*pairs)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, (sound, caption) in enumerate(zip(sounds, captions)):
            path = folder / name / f"{number:04d}.flac"
            path.write_bytes(normal.write(np.ascontiguousarray(sound.T), rate))
            path.with_suffix(".txt").write_text(caption + "\n")


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("sound", type=Path)
    parser.add_argument("--num", type=int, default=8)
    parser.add_argument("--clips", type=Path, default=None)
    parser.add_argument("--checkpoint", default="best")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    run, dataset = Run.open(asked.run), Dataset.open(asked.dataset)
    family, rate = run.load(asked.checkpoint).eval(), round(run.spec.rate)
    assert isinstance(family, Autoencoder)
    pairs = [(clip, through(family, clip)) for clip in map(np.asarray, whole_samples(dataset, "heldout", run.spec))]
    tell(pairs, rate)
    if asked.clips is not None:
        write_clips(asked.clips, pairs, dataset.split("heldout").column("caption").tolist(), rate)
    sheet = Image.new("RGB", (asked.num * (_WIDTH + _GAP) + _GAP, 2 * (_HEIGHT + _GAP) + _GAP), (246, 246, 244))
    pieces = []
    for place, row in enumerate(np.linspace(0, len(pairs) - 1, asked.num).astype(int).tolist()):
        for line, sound in enumerate(whole[:, : 2 * rate] for whole in pairs[row]):
            tile = spectrogram(sound[0] / np.float32(32768), rate, _WIDTH, _HEIGHT)
            sheet.paste(tile, (_GAP + place * (_WIDTH + _GAP), _GAP + line * (_HEIGHT + _GAP)))
            pieces += [sound, np.zeros((1, rate // 5), np.int16)]
    asked.picture.parent.mkdir(parents=True, exist_ok=True)
    asked.sound.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(asked.picture)
    asked.sound.write_bytes(normal.write(np.ascontiguousarray(np.concatenate(pieces, axis=1).T), rate))


if __name__ == "__main__":
    main()
