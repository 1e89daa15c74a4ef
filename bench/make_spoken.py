"""Drawings of twenty things, and clips that name them: word to picture and speech in one document.

    python bench/make_spoken.py DRAWINGS OUT_FOLDER

DRAWINGS is the dataset prepared of what `make_clipart.py` and `make_emoji.py` write. Whose title holds one of the words
and no other of them is written as `pictures/<name>.png` with the word beside it, and a voice of espeak-ng that says it
as `speech/<word>/<voice>/<name>.flac`: the voices are synthetic. Equal stems join the two when both are prepared
(speech with `exact_duplicates: off` and `near_duplicates: off`). Mirrored copies get a clip of their own.
"""

from __future__ import annotations

import argparse
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from make_voices import SPEAKERS, spoken, write
from motherlode.data.dataset import Dataset
from motherlode.randomness import numpy_generator

# fmt: off
THINGS = (
    "flag", "heart", "arrow", "hand", "cat", "tree", "moon", "star", "bird", "car", "clock", "book", "house", "flower",
    "fish", "cloud", "umbrella", "dog", "ball", "hat",
)
# fmt: on
MOST_DRAWINGS = 150
"""Of one thing, so that flags are not most of everything."""


def chosen(dataset: Dataset) -> list[tuple[str, str, bytes]]:
    """Name, word and PNG of the rows with a title, or one and its keywords, that holds one of the words."""
    found, counts = [], Counter[str]()
    for split in ("train", "heldout"):
        for batch in dataset.split(split).batches([dataset.column, "caption"]):
            for image, caption in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist()):
                folder, _, row = image["path"].rpartition("/")
                words = [word for word in THINGS if word in caption.split()]
                if row.startswith("word") or len(words) != 1:
                    continue
                counts[words[0]] += 1
                if counts[words[0]] <= 2 * MOST_DRAWINGS:
                    found.append((f"{folder}-{row.removesuffix('.png')}", words[0], image["bytes"]))
    print({word: min(counts[word], 2 * MOST_DRAWINGS) for word in THINGS})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    rows = chosen(Dataset.open(asked.dataset))
    (asked.folder / "pictures").mkdir(parents=True)

    def one(row: tuple[str, str, Any]) -> None:
        name, word, content = row
        rng = numpy_generator(0, f"spoken {name}")
        voice, pitch = SPEAKERS[int(rng.integers(len(SPEAKERS)))], int(rng.integers(35, 66))
        clip = asked.folder / "speech" / word / voice / f"{name}.flac"
        write(clip, spoken(word, f"en-us+{voice}", pitch, int(rng.integers(150, 191))), word)
        picture = asked.folder / "pictures" / f"{name}.png"
        picture.write_bytes(content)
        picture.with_suffix(".txt").write_text(word + "\n")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, rows))
    print(f"{len(rows):,} pictures and clips in {asked.folder}")


if __name__ == "__main__":
    main()
