"""Held-out spoken words of which a run keeps the first part and makes the rest: what is understood, seen and heard.

    python bench/continued.py /tmp/recogniser.pt runs/digits --keep 0.4 --picture continued.png --sound continued.flac

The run is told the word. What the recogniser understands of the kept part alone, with silence behind it, is the
baseline; of the whole clip through the codec, the ceiling.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from motherlode.data.loader import whole_samples
from motherlode.generation.composer import composer
from motherlode.modality.audio import normal
from motherlode.modality.audio.preview import spectrogram
from motherlode.training.run import Run
from recogniser import recogniser, report

_WIDTH, _HEIGHT, _GAP = 150, 90, 4


def main() -> None:
    """Continue, judge, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judge", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--keep", type=float, default=0.4)
    parser.add_argument("--num", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--sound", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    run, (hear, _) = Run.open(asked.run), recogniser(asked.judge)
    made_with = composer(run, run.recipe.generate.model_copy(update={"keep": asked.keep}))
    coder, split = made_with.codec("speech"), run.dataset.split("heldout")
    whole = whole_samples(run.dataset, "heldout", coder.spec)
    rows = np.random.default_rng(0).permutation(len(whole))[: asked.num].tolist()
    clips = [np.asarray(whole[row]) for row in rows]
    words = [str(split.column("caption")[row]) for row in rows]
    openings = made_with.asked({"caption": words, "speech": clips})
    made = made_with.compositions(openings, made_with.parts(openings, range(len(rows)), asked.seed))
    continued = [np.asarray(one.made["speech"]) for one in made]
    through = [coder.media(coder.tokens(clip)) for clip in clips]
    kept = [clip[:, : round(asked.keep * clip.shape[1])] for clip in through]
    truth = torch.ones(len(rows), dtype=torch.bool)
    for what, sounds in (("whole, through the codec", through), ("kept part alone", kept), ("continued", continued)):
        heard = hear([sound.astype(np.float32) / 32768 for sound in sounds])
        report(what, torch.tensor([word == wanted for word, wanted in zip(heard, words, strict=True)]), truth)
    rate, lines = int(coder.spec.rate), list(zip(through, kept, continued, strict=True))[:8]
    longest = max(sound.shape[1] for line in lines for sound in line)
    if asked.picture:
        sheet = Image.new("RGB", (len(lines) * (_WIDTH + _GAP) + _GAP, 3 * (_HEIGHT + _GAP) + _GAP), (246, 246, 244))
        for column, line in enumerate(lines):
            for row, sound in enumerate(line):
                padded = np.pad(sound[0], (0, longest - sound.shape[1])) / np.float32(32768)
                tile = spectrogram(padded, rate, _WIDTH, _HEIGHT)
                sheet.paste(tile, (_GAP + column * (_WIDTH + _GAP), _GAP + row * (_HEIGHT + _GAP)))
        sheet.save(asked.picture)
    if asked.sound:
        pause = np.zeros((1, rate // 4), np.int16)
        pieces = [piece for line in lines for sound in line for piece in (sound, pause)]
        asked.sound.write_bytes(normal.write(np.ascontiguousarray(np.concatenate(pieces, axis=1).T), rate))


if __name__ == "__main__":
    main()
