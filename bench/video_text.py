"""Does a clip show what its caption says? Items by a classifier of frames, directions by where the bright moves.

    python bench/video_text.py datasets/moving-fashion runs/video-vq [runs/video-text] --num 400 --guidance 2

The classifier is that of `classifier.py`, trained on real frames of the 50,000 training pictures of Fashion-MNIST that
are in none of the clips; it is trained on the first call and kept. It sees four frames of a clip. What it gets right of
real held-out clips, and of them once they went through the codec, are the ceilings that are printed first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import motherlode as ml
from classifier import Classifier, load, logits, save, train
from fashion import images, labels
from make_video_sample import CANVAS, DIRECTIONS, ITEM, ITEMS, NUM, caption_of, frame_of, order_of, shrunk
from motherlode.data.step import wilson
from motherlode.modality import SampleSpec
from motherlode.modality.video import MODALITY
from motherlode.randomness import numpy_generator
from motherlode.training.run import Run

WEIGHTS = Path("datasets/raw/moving-fashion-classifier.safetensors")
NUM_FRAMES = 4
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


def judge_of_items() -> Classifier:
    """The classifier of frames; trained where there is none yet."""
    if not WEIGHTS.exists():
        pictures, answers = images("train", 28).numpy()[:, 0], labels("train")
        rows = order_of(len(pictures), 0)[NUM:]
        places = numpy_generator(0, "places of frames").uniform(0, CANVAS - ITEM, (len(rows), 2))
        frames = np.stack([frame_of(shrunk(pictures[row]), *place) for row, place in zip(rows, places)])
        save(train(torch.from_numpy(frames)[:, None], answers[rows], epochs=8), WEIGHTS)
    return load(WEIGHTS)


def items_seen(judge: Classifier, clips: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The item of each clip: the judge's logits summed over four frames."""
    places = np.linspace(0, clips.shape[2] - 1, NUM_FRAMES).round().astype(np.int64)
    found = logits(judge, torch.from_numpy(clips[:, 0, places]).flatten(0, 1)[:, None])
    items: NDArray[np.int64] = found.view(len(clips), NUM_FRAMES, -1).sum(1).argmax(1).numpy()
    return items


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


def generated(run: Path, num: int, guidance: float, temperature: float, out: Path) -> tuple[NDArray[np.uint8], Truth]:
    """Clips of `num` captions, every item and direction in turn, and what they should show."""
    pairs = [(number % len(ITEMS), number // len(ITEMS) % len(DIRECTIONS)) for number in range(num)]
    prompts = [{"caption": caption_of(ITEMS[item], list(DIRECTIONS)[way])} for item, way in pairs]
    opened = Run.open(run)
    options = opened.recipe.generate.model_copy(update={"guidance": guidance, "temperature": temperature})
    made = ml.generate(opened, num=num, seed=0, prompt=prompts, options=options, out=out)
    clips = np.stack([composition.made["video"] for composition in made])
    return clips, (np.array([item for item, _ in pairs]), np.array([way for _, way in pairs]))


SHOWN = (
    ("sneaker", "left"),
    ("dress", "up"),
    ("bag", "right"),
    ("trousers", "down"),
    ("ankle boot", "right"),
    ("pullover", "left"),
    ("sandal", "up"),
    ("t-shirt", "down"),
)
"""What the picture shows of what was made."""


def show(path: Path, real: NDArray[np.uint8], back: NDArray[np.uint8], made: NDArray[np.uint8], asked: Truth) -> None:
    """A moving picture: real clips, the same through the codec, the first two clips made of each of `SHOWN`."""
    rows = [real[: len(SHOWN)], back[: len(SHOWN)]]
    places = [
        np.flatnonzero((asked[0] == ITEMS.index(item)) & (asked[1] == list(DIRECTIONS).index(way)))
        for item, way in SHOWN
    ]
    rows += [made[[place[turn] for place in places]] for turn in (0, 1)]
    MODALITY.preview(MODALITY.normalise(torch.from_numpy(np.concatenate(rows))), path, columns=len(SHOWN))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("codec", type=Path)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--num", type=int, default=400)
    parser.add_argument("--guidance", type=float, nargs="*", default=[1.0, 2.0])
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=Path("video-text-samples"))
    chosen = parser.parse_args()
    codec = Run.open(chosen.codec)
    spec = codec.spec
    judge = judge_of_items()
    real, truth = clips_of(chosen.dataset, "heldout", spec, 400)
    tell("real held-out clips", judge, real, truth)
    family = codec.load("best").eval()
    normal = MODALITY.normalise(torch.from_numpy(real))
    with torch.inference_mode():
        back = torch.cat([family.from_codes(family.codes(part)) for part in normal.split(50)])
    coded = MODALITY.denormalise(back).numpy()
    tell("the same through the codec", judge, coded, truth)
    for guidance in chosen.guidance if chosen.run is not None else ():
        out = chosen.out / f"guidance-{guidance}"
        made, asked = generated(chosen.run, chosen.num, guidance, chosen.temperature, out)
        tell(f"generated, guidance {guidance}", judge, made, asked)
        show(chosen.out / f"guidance-{guidance}.webp", real, coded, made, asked)


if __name__ == "__main__":
    main()
