"""Speech to train on beside recordings: prompts read by espeak-ng, and things named in three languages.

    python bench/make_voices.py recording /data/asterisk-en /tmp/allison    the short prompts of one recorded voice
    python bench/make_voices.py prompts datasets/allison /tmp/voices        its training texts and new ones, read
    python bench/make_voices.py things /data/fashion /tmp/things            pictures, and clips that name them

Captions of prompts begin with the voice's name ("allison: please hold"), so that one model learns several voices and is
asked for one of them. New texts are walks over the pairs of words of training texts; no text that is held out is among
them. Things are Fashion-MNIST's ten classes; a clip's caption is the language, its folder what is said and by whom.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import soxr
from PIL import Image

from make_speech_sample import speak
from motherlode.data.dataset import Dataset
from motherlode.data.loader import whole_samples
from motherlode.randomness import numpy_generator

RATE, LONGEST_SEC, NEW_TEXTS, PICTURES = 8000, 3.0, 1500, 10_000
RECORDED = "allison"
READERS = {"mark": "en-us+m3", "fay": "en-us+f2"}
READ_PITCH, READ_WORDS_A_MINUTE = 50, 160
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPEAKERS = ("m1", "m2", "m3", "m4", "m7", "f1", "f2", "f3", "f4", "f5", "klatt", "anika")
THINGS = {
    "english": "t-shirt,trousers,pullover,dress,coat,sandal,shirt,sneaker,bag,ankle boot",
    "deutsch": "Unterhemd,Hose,Pulli,Kleid,Mantel,Latschen,Hemd,Turnschuh,Tasche,Stiefel",
    "français": "maillot,pantalon,tricot,robe,manteau,sandale,chemise,basket,sac,bottine",
}
CODES = {"english": "en-us", "deutsch": "de", "français": "fr"}


def spelled(text: str) -> str:
    """A prompt as it is said: lower case, digits and signs as words."""
    text = re.sub(r"\[.*?\]", "", text.lower()).replace("#", " pound ")
    text = re.sub(r"\d", lambda found: f" {DIGITS[int(found[0])]} ", text)
    return " ".join(re.sub(r"[^a-z' ]", " ", text).split())


def write(path: Path, samples: np.ndarray, caption: str) -> None:
    """A clip at 8 kHz without silence at its ends, and its caption beside it."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples[loud[0] : loud[-1]] * (0.5 / np.abs(samples).max()), RATE, subtype="PCM_16")
    path.with_suffix(".txt").write_text(caption + "\n")


def spoken(text: str, voice: str, pitch: int, speed: int) -> np.ndarray:
    """What espeak-ng says, at 8 kHz."""
    samples, rate = speak(text, voice, pitch, speed)
    resampled: np.ndarray = soxr.resample(samples, rate, RATE, quality="VHQ")
    return resampled


def recording(dataset: Dataset, folder: Path) -> None:
    """The short prompts of a dataset of one voice, both splits, with the voice's name before their text."""
    num = 0
    for split in ("train", "heldout"):
        for batch in dataset.split(split).batches(["audio", "caption"]):
            for item, text in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist()):
                samples, rate = soundfile.read(BytesIO(item["bytes"]), dtype="float32")
                if rate == RATE and len(samples) <= LONGEST_SEC * RATE and spelled(text or ""):
                    write(folder / f"{Path(item['path']).stem}.flac", samples, f"{RECORDED}: {spelled(text)}")
                    num += 1
    print(f"{num:,} prompts in {folder}")


def walks(texts: Sequence[str], num: int, forbidden: set[str]) -> Iterator[str]:
    """New texts of two to eight words, each pair of neighbours out of some text."""
    after = defaultdict(list)
    for text in texts:
        words = text.split()
        for word, following in zip(["", *words], [*words, ""]):
            after[word].append(following)
    rng, known = numpy_generator(0, "walks"), set(texts) | forbidden
    while num:
        words: list[str] = []
        while True:
            word = after[words[-1] if words else ""][int(rng.integers(len(after[words[-1] if words else ""])))]
            if not word or len(words) > 8:
                break
            words.append(word)
        text = " ".join(words)
        if 2 <= len(words) <= 8 and text not in known:
            known.add(text)
            num -= 1
            yield text


def prompts(dataset: Dataset, folder: Path) -> None:
    """Training clips of a prepared recording, its texts read by every reader, and new texts each read by two."""
    forbidden = {text.split(": ")[1] for text in dataset.split("heldout").column("caption")}
    texts, num = [], 0
    for batch in dataset.split("train").batches(["audio", "caption"]):
        for item, caption in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist()):
            if caption.split(": ")[1] in forbidden:  # the same words, recorded twice
                continue
            write(folder / RECORDED / f"{num:05d}.flac", soundfile.read(BytesIO(item["bytes"]))[0], caption)
            texts.append(caption.split(": ")[1])
            num += 1
    old = sorted(set(texts))
    wanted = [(text, reader) for text in [*old, *walks(old, NEW_TEXTS, forbidden)] for reader in READERS]

    def read(number: int) -> None:
        text, reader = wanted[number]
        samples = spoken(text, READERS[reader], READ_PITCH, READ_WORDS_A_MINUTE)
        if len(samples) <= LONGEST_SEC * RATE:
            write(folder / reader / f"{reader}-{number:05d}.flac", samples, f"{reader}: {text}")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read, range(len(wanted))))
    print(f"{num:,} recorded and up to {len(wanted):,} read clips in {folder}")


def things(dataset: Dataset, folder: Path) -> None:
    """Pictures as PNG, and for each a clip of the same name that says what it shows, in one of three languages."""
    pictures = whole_samples(dataset, "train", dataset.spec())
    labels = dataset.split("train").column("label")

    def one(number: int) -> None:
        language = list(THINGS)[number % 3]
        word = THINGS[language].split(",")[int(dataset.labels[labels[number]])]
        rng = numpy_generator(0, "thing", number)
        speaker = SPEAKERS[int(rng.integers(len(SPEAKERS)))]
        pitch, speed = int(rng.integers(35, 66)), int(rng.integers(150, 191))
        clip = folder / "speech" / f"{language} {word}" / speaker / f"{number:05d}.flac"
        write(clip, spoken(word, f"{CODES[language]}+{speaker}", pitch, speed), language)
        picture = folder / "pictures" / f"{number:05d}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(pictures[number])[0]).save(picture)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, range(PICTURES)))
    print(f"{PICTURES:,} pictures and clips in {folder}")


def main() -> None:
    """Write one folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("recording", "prompts", "things"))
    parser.add_argument("dataset", type=Path)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    {"recording": recording, "prompts": prompts, "things": things}[asked.what](
        Dataset.open(asked.dataset), asked.folder
    )


if __name__ == "__main__":
    main()
