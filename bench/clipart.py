"""Drawings made of captions, judged: does a classifier of real drawings see the word that was asked for?

    python bench/clipart.py RUN [--only cat tree house] [--num 400] [--guidance 1 2 4] [--seed 1]
    python bench/clipart.py RUN --picture sheet.png --prompts "red car" cat heart --guidance 2 --seed 0

The words are `--only`, or the `--words` most frequent ones of the training captions that do not go together; a drawing
counts for a word where its caption holds that word and no other of them. The classifier is a logistic regression on
frozen features, trained on real training drawings as they come through the codec, so that it judges what is drawn and
not how sharp. Generated ones are asked for by held-out captions, and by each word alone. Ceiling: held-out drawings
through the codec. How near the nearest training picture is tells whether drawings are copies.

With `--picture`, nothing is judged: the first drawings of each prompt are shown beside it, none chosen.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fields import make, told
from motherlode.data.loader import whole_samples
from motherlode.generation.codecs import FieldCodec
from motherlode.generation.composer import Composition, composer
from motherlode.measures import find_extractor
from motherlode.training.run import Run

VAGUE = frozenset(
    {
        "for",
        "from",
        "left",
        "right",
        "part",
        "type",
        "style",
        "simple",
        "plain",
        "large",
        "small",
        "big",
        "new",
        "old",
        "one",
    }
)


def words_of(captions: list[str], num: int) -> list[str]:
    """The words that most captions hold, but for those that stand beside an earlier one more often than not."""
    held: dict[str, set[int]] = {}
    for number, caption in enumerate(captions):
        for word in set(caption.split()) - VAGUE:
            held.setdefault(word, set()).add(number)
    chosen: list[str] = []
    for word in sorted(held, key=lambda word: (-len(held[word]), word)):
        beside = max((len(held[word] & held[earlier]) for earlier in chosen), default=0)
        if len(word) > 2 and beside < len(held[word]) / 4:
            chosen.append(word)
        if len(chosen) == num:
            break
    return chosen


def answers_of(captions: list[str], words: list[str]) -> NDArray[np.int64]:
    """The number of the one word that each caption holds; -1 where it holds none or several."""
    held = [[number for number, word in enumerate(words) if word in caption.split()] for caption in captions]
    return np.array([numbers[0] if len(numbers) == 1 else -1 for numbers in held])


def through(codec: FieldCodec, pictures: list[NDArray[Any]]) -> NDArray[np.uint8]:
    """Pictures through the codec and back."""
    return np.stack([codec.samples(codes) for codes in codec.codec.codes(pictures)])


def fitted(features_ND: NDArray[np.float32], answers: NDArray[np.int64], num: int) -> torch.nn.Linear:
    """A logistic regression, every word with equal weight, by full-batch L-BFGS."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(features_ND.shape[1], num)
    x, y = torch.from_numpy(features_ND), torch.from_numpy(answers)
    weights = 1 / torch.bincount(y, minlength=num).clamp(min=1).float()
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(layer(x), y, weights) + 3e-3 * layer.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return layer


def nearest_db(pictures: NDArray[np.uint8], trained_on: NDArray[np.uint8]) -> NDArray[np.float32]:
    """PSNR of each picture against the training picture most like it, dB; both uint8 (N, C, H, W)."""
    known = torch.from_numpy(trained_on).flatten(1).float() / 255
    asked = torch.from_numpy(pictures).flatten(1).float() / 255
    squares = torch.cat([torch.cdist(part, known).amin(1).square() for part in asked.split(64)]) / known.shape[1]
    found: NDArray[np.float32] = (-10 * squares.log10()).numpy()
    return found


def fitting(run: Run, captions: list[str], num_codes: int) -> list[str]:
    """Captions whose documents fit the model's window: `bos`, two marks a field, caption, codes."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(run.path / "tokenizer" / "tokenizer.json"))
    room = run.recipe.data.length - 5 - num_codes
    return [caption for caption in captions if len(tokenizer.encode(caption).ids) <= room]


def drawn(run: Run, asked: argparse.Namespace, prompts: list[str], num: int, guidance: float) -> list[Composition]:
    """`num` drawings of prompts in turn."""
    how = {"which": asked.checkpoint, "temperature": asked.temperature}
    return make(run, asked.task, {"caption": prompts}, num, guidance, asked.seed, **how)


def show(run: Run, asked: argparse.Namespace) -> None:
    """Write a sheet: two columns of prompts, each with its first drawings, enlarged."""
    made = drawn(run, asked, asked.prompts, asked.shown * len(asked.prompts), asked.guidance[-1])
    side, margin, words_wide = 80, 4, 120
    tall = -(-len(asked.prompts) // 2)
    wide = words_wide + asked.shown * (side + margin)
    page = Image.new("RGB", (2 * wide, tall * (side + margin)), "white")
    pen = ImageDraw.Draw(page)
    for number, prompt in enumerate(asked.prompts):
        left, top = number // tall * wide, number % tall * (side + margin)
        pen.text((left + 8, top + side // 2 - 8), prompt, fill="black", font_size=15)
        drawings = [np.asarray(one.made["image"]) for one in made if one.given["caption"] == prompt]
        for place, drawing in enumerate(drawings):
            picture = Image.fromarray(drawing.transpose(1, 2, 0)).resize((side, side), Image.Resampling.BICUBIC)
            page.paste(picture, (left + words_wide + place * (side + margin), top))
    asked.picture.parent.mkdir(parents=True, exist_ok=True)
    page.save(asked.picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--task", default="draw")
    parser.add_argument("--words", type=int, default=16)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--num", type=int, default=400)
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0, 2.0, 4.0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--checkpoint", default="best")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--prompts", nargs="+", default=[])
    parser.add_argument("--shown", type=int, default=5, help="drawings of each prompt")
    asked = parser.parse_args()
    run = Run.open(asked.run)
    if asked.picture is not None:
        show(run, asked)
        return
    codec = composer(run).codec("image")
    extractor = find_extractor("efficientnet-lite0")
    captions = {
        split: [str(text) for text in run.dataset.split(split).column("caption")] for split in ("train", "heldout")
    }
    words = asked.only or words_of(captions["train"], asked.words)
    print("words:", " ".join(words))
    features: dict[str, NDArray[np.float32]] = {}
    answers: dict[str, NDArray[np.int64]] = {}
    for split, texts in captions.items():
        found = answers_of(texts, words)
        rows = np.flatnonzero(found >= 0)
        real = whole_samples(run.dataset, split, codec.spec)
        pictures = through(codec, [real[row] for row in rows])
        if split == "train":
            trained_on = np.stack([real[row] for row in range(len(real))])
        else:
            print(f"  their nearest training picture: {np.median(nearest_db(pictures, trained_on)):.1f} dB, the median")
        features[split] = extractor(torch.from_numpy(pictures)).features_ND
        answers[split] = found[rows]
        print(f"{split}: {len(rows)} drawings with one of the words")
    mean, sd = features["train"].mean(0), features["train"].std(0) + 1e-3
    judge = fitted((features["train"] - mean) / sd, answers["train"], len(words))

    def tell(name: str, features_ND: NDArray[np.float32], right: NDArray[np.int64]) -> None:
        with torch.inference_mode():
            top = np.asarray(judge(torch.from_numpy((features_ND - mean) / sd)).topk(3).indices.numpy())
        hits = top[:, 0] == right
        told(f"{name}, first guess", hits)
        told(f"{name}, among three", (top == right[:, None]).any(1))
        shares = {words[number]: hits[right == number].mean() for number in np.unique(right)}
        print(f"  each word counting the same: {np.mean(list(shares.values())):.1%}")
        print("  " + " ".join(f"{word} {share:.0%}" for word, share in shares.items()))

    tell("held-out drawings through the codec", features["heldout"], answers["heldout"])
    commonest = np.bincount(answers["heldout"]).max() / len(answers["heldout"])
    print(f"  chance: {1 / len(words):.1%}; always the commonest word: {commonest:.1%}")
    texts = [text for text, answer in zip(captions["heldout"], answers_of(captions["heldout"], words)) if answer >= 0]
    texts = fitting(run, texts, codec.codec.codes([real[0]])[0].size)
    print(f"held-out captions that fit: {len(texts)}")
    for guidance in asked.guidance:
        for name, prompts in (("of held-out captions", texts), ("of the word alone", words)):
            made = drawn(run, asked, prompts, asked.num, guidance)
            drawings = np.stack([np.asarray(one.made["image"]) for one in made])
            right = answers_of([one.given["caption"] for one in made], words)
            tell(f"drawings {name}, guidance {guidance}", extractor(torch.from_numpy(drawings)).features_ND, right)
            print(f"  their nearest training picture: {np.median(nearest_db(drawings, trained_on)):.1f} dB, the median")


if __name__ == "__main__":
    main()
