"""Does a clip show what its caption says? Items by a classifier of frames, directions by where the bright moves.

    python bench/video_text.py datasets/moving-fashion runs/video-vq [runs/video-text] --num 200 --guidance 1.5

The classifier is that of `classifier.py`, trained on Fashion-MNIST's real training pictures; it sees three frames of
each clip, the item cut out and enlarged. What it gets right of real held-out clips, and of them once they went through
the codec, are the ceilings that are printed first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import motherlode as ml
from classifier import Classifier, load, logits
from make_video_sample import DIRECTIONS, ITEM, ITEMS, caption_of
from motherlode.data.step import wilson
from motherlode.modality import SampleSpec
from motherlode.modality.video import MODALITY
from motherlode.training.run import Run

NUM_FRAMES = 3
DARK = 40
"""Grey levels below which nothing is there."""
Truth = tuple[NDArray[np.int64], NDArray[np.int64]]


def clips_of(dataset: Path, split: str, spec: SampleSpec, most: int) -> tuple[NDArray[np.uint8], Truth]:
    """uint8 (N, 1, F, H, W), and (items, directions) by number."""
    data = ml.Dataset.open(dataset)
    clips, items, directions = [], [], []
    for row, _ in zip(data.split(split).rows(), range(most)):
        clips.append(MODALITY.decode(row["video"]["bytes"], spec))
        items.append(ITEMS.index(data.labels[row["label"]]))
        directions.append(list(DIRECTIONS).index(row["caption"].split()[-1]))
    return np.stack(clips), (np.array(items), np.array(directions))


def items_seen(judge: Classifier, clips: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The item of each clip: the judge's logits summed over three frames, each cut out around its bright middle."""
    places = np.linspace(1, clips.shape[2] - 2, NUM_FRAMES).round().astype(np.int64)
    pictures = np.stack([[cut_out(frame) for frame in clip[0, places]] for clip in clips])
    found = logits(judge, torch.from_numpy(pictures).flatten(0, 1)[:, None])
    items: NDArray[np.int64] = found.view(len(clips), NUM_FRAMES, -1).sum(1).argmax(1).numpy()
    return items


def cut_out(frame_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (32, 32): the 20x20 about the middle of what is bright, enlarged to 28x28 in a black margin."""
    rows, columns = (np.flatnonzero((frame_HW > DARK).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return frame_HW
    top, left = ((found[0] + found[-1] + 1 - ITEM) // 2 for found in (rows, columns))
    wide = np.pad(frame_HW, ITEM)
    item = wide[top + ITEM : top + 2 * ITEM, left + ITEM : left + 2 * ITEM]
    enlarged = Image.fromarray(item).resize((28, 28), Image.Resampling.BICUBIC)
    return np.pad(np.asarray(enlarged), 2)


def directions_seen(clips: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The direction in which the centre of brightness moves furthest from the first frames to the last."""
    light = clips[:, 0].astype(np.float64)
    light[light < DARK] = 0
    total = light.sum(axis=(2, 3)) + 1e-9
    centre_y = (light.sum(axis=3) * np.arange(light.shape[2])).sum(axis=2) / total
    centre_x = (light.sum(axis=2) * np.arange(light.shape[3])).sum(axis=2) / total
    moved = np.stack([part[:, -2:].mean(axis=1) - part[:, :2].mean(axis=1) for part in (centre_y, centre_x)], axis=1)
    ways = np.array(list(DIRECTIONS.values()))
    found: NDArray[np.int64] = (moved @ ways.T).argmax(axis=1)
    return found


def tell(name: str, judge: Classifier, clips: NDArray[np.uint8], truth: Truth) -> None:
    """A line of shares right, with 90 % intervals."""
    parts = []
    for what, seen, wanted in zip(("item", "direction"), (items_seen(judge, clips), directions_seen(clips)), truth):
        hits = int((seen == wanted).sum())
        low, high = wilson(hits, len(clips))
        parts.append(f"{what} {hits / len(clips):.1%} ({low:.1%} to {high:.1%})")
    print(f"{name}: {', '.join(parts)}, n = {len(clips)}", flush=True)


def generated(run: Path, num: int, guidance: float, out: Path) -> tuple[NDArray[np.uint8], Truth]:
    """Clips of `num` captions, every item and direction in turn, and what they should show."""
    pairs = [(number % len(ITEMS), number // len(ITEMS) % len(DIRECTIONS)) for number in range(num)]
    prompts = [{"caption": caption_of(ITEMS[item], list(DIRECTIONS)[way])} for item, way in pairs]
    opened = Run.open(run)
    options = opened.recipe.generate.model_copy(update={"guidance": guidance})
    made = ml.generate(opened, num=num, seed=0, prompt=prompts, options=options, out=out)
    clips = np.stack([composition.made["video"] for composition in made])
    return clips, (np.array([item for item, _ in pairs]), np.array([way for _, way in pairs]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("codec", type=Path)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--num", type=int, default=200)
    parser.add_argument("--guidance", type=float, nargs="*", default=[1.0, 1.5])
    parser.add_argument("--out", type=Path, default=Path("video-text-samples"))
    chosen = parser.parse_args()
    codec = Run.open(chosen.codec)
    spec = codec.spec
    judge = load()
    real, truth = clips_of(chosen.dataset, "heldout", spec, 400)
    tell("real held-out clips", judge, real, truth)
    family = codec.load("best").eval()
    normal = MODALITY.normalise(torch.from_numpy(real))
    with torch.inference_mode():
        back = torch.cat([family.from_codes(family.codes(part)) for part in normal.split(50)])
    tell("the same through the codec", judge, MODALITY.denormalise(back).numpy(), truth)
    for guidance in chosen.guidance if chosen.run is not None else ():
        out = chosen.out / f"guidance-{guidance}"
        made, asked = generated(chosen.run, chosen.num, guidance, out)
        tell(f"generated, guidance {guidance}", judge, made, asked)


if __name__ == "__main__":
    main()
