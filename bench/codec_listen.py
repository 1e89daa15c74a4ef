"""Held-out clips and what a codec makes of them: spectrograms one above the other, and a file with each pair.

python bench/codec_listen.py runs/speech-codec /data/spoken-digits docs/images/codec.png docs/audio/codec.flac
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from motherlode.data.dataset import Dataset
from motherlode.data.loader import whole_samples
from motherlode.modality.audio import MODALITY, normal
from motherlode.modality.audio.preview import spectrogram
from motherlode.training.run import Run

_WIDTH, _HEIGHT, _GAP = 150, 90, 4


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("sound", type=Path)
    parser.add_argument("--num", type=int, default=8)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    run, dataset = Run.open(asked.run), Dataset.open(asked.dataset)
    family = run.load("best").eval()
    stride, rate = family.code_space.stride[0], round(run.spec.rate)
    whole = whole_samples(dataset, "heldout", run.spec)
    rows = np.linspace(0, len(whole) - 1, asked.num).astype(int)
    sheet = Image.new("RGB", (asked.num * (_WIDTH + _GAP) + _GAP, 2 * (_HEIGHT + _GAP) + _GAP), (246, 246, 244))
    pieces = []
    for place, row in enumerate(rows.tolist()):
        clip = whole[row][:, : 2 * rate]
        padded = np.zeros((1, 1, -(-clip.shape[1] // stride) * stride), np.int16)
        padded[0, :, : clip.shape[1]] = clip
        with torch.no_grad():
            made = family.from_codes(family.codes(MODALITY.normalise(torch.from_numpy(padded))))
        again = MODALITY.denormalise(made)[0, :, : clip.shape[1]].numpy()
        for line, sound in enumerate((clip, again)):
            tile = spectrogram(sound[0] / np.float32(32768), rate, _WIDTH, _HEIGHT)
            sheet.paste(tile, (_GAP + place * (_WIDTH + _GAP), _GAP + line * (_HEIGHT + _GAP)))
            pieces += [sound, np.zeros((1, rate // 5), np.int16)]
    asked.picture.parent.mkdir(parents=True, exist_ok=True)
    asked.sound.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(asked.picture)
    asked.sound.write_bytes(normal.write(np.ascontiguousarray(np.concatenate(pieces, axis=1).T), rate))


if __name__ == "__main__":
    main()
