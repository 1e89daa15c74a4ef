"""Runs over fields, measured: is what they make what was asked for, and does one model of several tasks keep up?

    python bench/fields.py images runs/fashion-both --guidance 1 2 --picture docs/images/fields-fashion.png
    python bench/fields.py speech runs/digits --guidance 1 2 --judge /tmp/recogniser.pt --sounds docs/audio/digits.flac
    python bench/fields.py tasks runs/fashion-both runs/fashion-draw runs/fashion-name

Pictures are judged by the classifier of `bench/classifier.py`, spoken digits by the recogniser of
`bench/recogniser.py`; both were trained on real samples. The ceiling beside each figure is what the same judge says of
held-out samples that went through the codec and back.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from make_sample import CLASSES
from motherlode.data.loader import whole_samples
from motherlode.generation.composer import Composition, composer
from motherlode.measures import find_extractor, frechet_distance
from motherlode.measures.interval import share_interval
from motherlode.measures.report import Report
from motherlode.training.evaluate import evaluate
from motherlode.training.run import Run

LEVEL = 0.95


def make(
    run: Run,
    task: str,
    given: dict[str, list[Any]],
    num: int,
    guidance: float,
    seed: int,
    *,
    which: str = "best",
    **options: Any,
) -> list[Composition]:
    """`num` samples of a checkpoint, asked for in turn; prints how fast they came. Further options as in a recipe."""
    drawn = run.recipe.generate.model_copy(update={"task": task, "guidance": guidance, **options})
    opened = composer(run, drawn, which=which)
    asked = opened.asked(given)
    start = time.perf_counter()
    made = list(opened.compositions(asked, opened.parts(asked, range(num), seed)))
    seconds = time.perf_counter() - start
    tokens = sum(one.num_tokens for one in made)
    print(f"  {num} samples in {seconds:.1f} s: {num / seconds:.1f} samples/s, {tokens / seconds:,.0f} tokens/s")
    return made


def told(name: str, hits: NDArray[np.bool_]) -> None:
    """Print a share."""
    found = share_interval(hits, LEVEL)
    print(f"  {name}: {found.value:.1%} [{found.low:.1%}, {found.high:.1%}] of {len(hits):,}")


# ------------------------------------------------------------------------------------------------------------ pictures


def padded(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """28x28 pictures in the black margin the classifier knows, uint8 (N, 1, 32, 32)."""
    margin = (32 - pictures.shape[-1]) // 2
    return torch.from_numpy(np.pad(pictures, ((0, 0), (0, 0), (margin, margin), (margin, margin))))


def number_of(label: str) -> int:
    """What the classifier calls a class that a dataset knows by its name, or by its number."""
    return CLASSES.index(label) if label in CLASSES else int(label)


def images(asked: argparse.Namespace) -> None:
    """Label to picture: the classifier's accuracy, and the Fréchet distance to held-out pictures."""
    from classifier import load, logits

    run, judge = Run.open(asked.run), load()
    extractor = find_extractor("efficientnet-lite0")
    codec = composer(run).codec(asked.field).codec
    real = whole_samples(run.dataset, "heldout", codec.run.spec)
    rows = run.dataset.split("heldout").column("label")
    answers = np.array([number_of(name) for name in run.labels])[rows]
    given = [run.labels[label] for label in rows]
    if asked.given != "label":
        given = [str(text) for text in run.dataset.split("heldout").column(asked.given)]
    names = {name: int(label) for label, name in sorted(zip(answers, given))}
    chosen = np.random.default_rng(0).permutation(len(real))[: asked.num]
    held = padded(np.stack([real[row] for row in chosen]))
    reference = extractor(held).features_ND
    trained_on = whole_samples(run.dataset, "train", codec.run.spec)
    features = extractor(padded(np.stack([trained_on[row] for row in chosen])))
    print(f"held-out pictures, n = {len(chosen)}")
    told("right of real ones", logits(judge, held).argmax(1).numpy() == answers[chosen])
    print(
        f"  frechet[efficientnet-lite0] of training pictures: {frechet_distance(features.features_ND, reference):.2f}"
    )
    codes = codec.codes([real[row] for row in chosen])
    again = padded(
        codec.run.modality.denormalise(codec.family.from_codes(torch.from_numpy(np.stack(codes))))
        .numpy()
        .astype(np.uint8)
    )
    told("right of those through the codec", logits(judge, again).argmax(1).numpy() == answers[chosen])
    distance = frechet_distance(extractor(again).features_ND, reference)
    print(f"  frechet[efficientnet-lite0] of those through the codec: {distance:.2f}")
    for guidance in asked.guidance:
        print(f"label to picture, guidance {guidance}")
        made = make(run, asked.task, {asked.given: list(names)}, asked.num, guidance, asked.seed)
        pictures = padded(np.stack([np.asarray(one.made[asked.field]) for one in made]))
        labels = np.array([names[one.given[asked.given]] for one in made])
        told("right", logits(judge, pictures).argmax(1).numpy() == labels)
        print(f"  frechet[efficientnet-lite0]: {frechet_distance(extractor(pictures).features_ND, reference):.2f}")
        if asked.picture is not None and guidance == asked.guidance[-1]:
            columns = [np.flatnonzero(labels == label)[:8] for label in sorted(set(names.values()))]
            shown = codec.run.modality.normalise(pictures[np.stack(columns, 1).ravel()])
            codec.run.modality.preview(shown, asked.picture, columns=len(columns))


# -------------------------------------------------------------------------------------------------------------- speech


def speech(asked: argparse.Namespace) -> None:
    """Text to spoken digit: the recogniser's accuracy."""
    from recogniser import recogniser

    run = Run.open(asked.run)
    hear, labels = recogniser(asked.judge)
    opened = composer(run)
    coder = opened.codec(asked.field)
    codec = coder.codec
    captions, numbers = (run.dataset.split("heldout").column(name) for name in ("caption", "label"))
    words = {str(caption): run.labels[int(number)] for caption, number in zip(captions, numbers)}
    real = whole_samples(run.dataset, "heldout", codec.run.spec)
    chosen = np.random.default_rng(0).permutation(len(real))[: asked.num]
    answers = np.array([run.labels[number] for number in numbers[chosen]])
    assert set(run.labels) <= set(labels)

    def right(clips: list[NDArray[Any]], wanted: NDArray[Any]) -> NDArray[np.bool_]:
        return np.array(hear([np.asarray(clip, np.float32) / 32768 for clip in clips])) == wanted

    print(f"held-out voices, n = {len(chosen)}")
    told("right of real clips", right([real[row] for row in chosen], answers))
    again = [coder.samples(codes) for codes in codec.codes([real[row] for row in chosen])]
    told("right of those through the codec", right(again, answers))
    clips: list[NDArray[Any]] = []
    for guidance in asked.guidance:
        print(f"text to speech, guidance {guidance}")
        made = make(run, asked.task, {"caption": sorted(words)}, asked.num, guidance, asked.seed)
        clips = [np.asarray(one.made[asked.field]) for one in made]
        told("right", right(clips, np.array([words[one.given["caption"]] for one in made])))
        print(f"  {sum(clip.shape[1] for clip in clips) / codec.run.spec.rate:.0f} s of speech")
    if asked.sounds is not None:
        import soundfile

        rate = int(codec.run.spec.rate)
        pause = np.zeros((1, rate // 5), np.int16)
        line = [piece for clip in clips[: len(words)] for piece in (clip, pause)]
        asked.sounds.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(asked.sounds, np.concatenate(line, 1).T, rate)


# --------------------------------------------------------------------------------------------------------------- tasks


def tasks(asked: argparse.Namespace) -> None:
    """The first run's tasks against those of the others, on the same held-out documents."""
    reports: dict[str, Report] = {}
    for path in (asked.run, *asked.others):
        run = Run.open(path)
        reports[path] = evaluate(run, num_samples=asked.num, level=LEVEL)
        facts = run.facts
        print(f"{path}: {facts['step']:,} steps, {facts['flops']:.3g} FLOP, {facts['passes']['all']:.2f} passes")
        for name, measure in reports[path].items():
            print(f"  {name}: {measure.value:.4f} [{measure.low:.4f}, {measure.high:.4f}]")
    for path in asked.others:
        for change in reports[asked.run].compare(reports[path]):
            print(f"  {change.name}: {asked.run} less {path}: {change.change!r} ({change.verdict})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    for verb, task, field in ((images, "draw", "image"), (speech, "say", "speech")):
        command = verbs.add_parser(verb.__name__, help=verb.__doc__)
        command.set_defaults(verb=verb)
        command.add_argument("run")
        command.add_argument("--task", default=task)
        command.add_argument("--field", default=field)
        command.add_argument("--num", type=int, default=1000)
        command.add_argument("--given", default="label", help="column of what is given: label, or one of texts")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--guidance", type=float, nargs="+", default=[1.0])
        command.add_argument("--picture", type=Path, default=None)
        command.add_argument("--sounds", type=Path, default=None)
        command.add_argument("--judge", type=Path, default=Path("datasets/raw/recogniser.pt"))
    command = verbs.add_parser("tasks", help=tasks.__doc__)
    command.set_defaults(verb=tasks)
    command.add_argument("run")
    command.add_argument("others", nargs="*")
    command.add_argument("--num", type=int, default=2000)
    asked = parser.parse_args()
    asked.verb(asked)


if __name__ == "__main__":
    main()
