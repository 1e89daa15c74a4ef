"""Which of twenty prompts is said? An independent recogniser (pocketsphinx, its own model of English) must choose.

    pip install pocketsphinx soxr soundfile          (a venv of its own will do: nothing of Motherlode is used)
    python bench/prompt_judge.py FOLDER [FOLDER ...] [--texts TEXTS] [--choices 20]

A folder is one that `lode generate` wrote (what was asked for stands in samples.jsonl), or sounds with a text beside
each. The other nineteen are those of the texts that are nearest in length, so that length tells little; by chance 5 %
are right. Free recognition is scored too, by its share of wrong words: no grammar, a general language model.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import soundfile
import soxr
from pocketsphinx import Decoder

RATE, LEVEL_Z = 16000, 1.96


def clips(folder: Path) -> list[tuple[str, Path]]:
    """What each sound of a folder should say, and the sound; the voice's name before a text is left out."""
    index = folder / "samples.jsonl"
    if index.is_file():
        rows = [json.loads(line) for line in index.read_text().splitlines()]
        found = [(row["given"]["caption"], folder / row["made"]["speech"]["file"]) for row in rows]
    else:
        found = [(path.with_suffix(".txt").read_text().strip(), path) for path in sorted(folder.rglob("*.flac"))]
    return [(text.split(": ")[-1], path) for text, path in found]


def heard(path: Path) -> bytes:
    """A sound as the recogniser takes it: 16 kHz, one loudness, a little silence and noise around it."""
    samples, rate = soundfile.read(path, dtype="float32")
    samples = soxr.resample(samples, rate, RATE)
    samples = np.pad(samples * (0.5 / max(float(np.abs(samples).max()), 1e-6)), RATE // 5)
    samples = samples + np.random.default_rng(0).normal(0, 1e-4, len(samples))
    return (samples * 32767).astype("<i2").tobytes()


def said(decoder: Decoder, search: str, sound: bytes) -> str:
    """What the recogniser makes of a sound."""
    decoder.activate_search(search)
    decoder.start_utt()
    decoder.process_raw(sound, full_utt=True)
    decoder.end_utt()
    return decoder.hyp().hypstr if decoder.hyp() else ""


def wrong_words(found: str, wanted: str) -> int:
    """Fewest words put in, left out or changed (Levenshtein)."""
    row = list(range(len(found.split()) + 1))
    for place, word in enumerate(wanted.split(), 1):
        before, row[0] = row[0], place
        for other, theirs in enumerate(found.split(), 1):
            before, row[other] = row[other], min(row[other] + 1, row[other - 1] + 1, before + (word != theirs))
    return row[-1]


def interval(hits: int, num: int) -> str:
    """A share with its 95 % interval (Wilson)."""
    share, spread = hits / num, LEVEL_Z**2 / num
    half = LEVEL_Z * math.sqrt(share * (1 - share) / num + spread / (4 * num)) / (1 + spread)
    middle = (share + spread / 2) / (1 + spread)
    return f"{share:.1%} [{middle - half:.1%}, {middle + half:.1%}]"


def main() -> None:
    """Judge folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--texts", type=Path, help="one a line, to choose among; default: those of the first folder")
    parser.add_argument("--choices", type=int, default=20)
    parser.add_argument("--show", type=int, default=0, help="print what is heard in so many clips")
    parser.add_argument("--quick", action="store_true", help="choices only: free recognition of noise takes minutes")
    asked = parser.parse_args()
    decoder = Decoder(loglevel="FATAL")
    free = decoder.current_search()
    lines = asked.texts.read_text().splitlines() if asked.texts else [text for text, _ in clips(asked.folders[0])]
    texts = sorted({line.split(": ")[-1] for line in lines})
    texts = [text for text in texts if all(decoder.lookup_word(word) for word in text.split())]
    for folder in asked.folders:
        hits, wrong, words, num = 0, 0, 0, 0
        for text, path in clips(folder):
            if text not in texts:
                continue
            others = sorted((other for other in texts if other != text), key=lambda other: abs(len(other) - len(text)))
            grammar = " | ".join([text, *others[: asked.choices - 1]])
            decoder.add_jsgf_string("choice", f"#JSGF V1.0;\ngrammar choice;\npublic <choice> = {grammar} ;")
            sound = heard(path)
            hits += said(decoder, "choice", sound) == text
            found = "" if asked.quick else said(decoder, free, sound)
            wrong, words, num = wrong + wrong_words(found, text), words + len(text.split()), num + 1
            if num <= asked.show:
                print(f"  {text} | {found}")
        freely = "" if asked.quick else f", words wrong {wrong / words:.0%}"
        print(f"{folder}: right of {asked.choices} {interval(hits, num)}{freely}, n = {num}", flush=True)


if __name__ == "__main__":
    main()
