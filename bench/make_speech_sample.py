"""Spoken digits from espeak-ng: a folder a digit, in it a folder a voice, in it clips at different pitches and speeds.

    python bench/make_speech_sample.py /tmp/spoken-digits                       about 4,000 clips, 60 s on one core
    python bench/make_speech_sample.py examples/data/spoken-digits.parquet --voices 12 --clips 1 --rate 8000

Prepared with the option `heldout_by: folder`, whole voices are held out: what is measured is speech by speakers that no
model has heard. espeak-ng is a program under the GPL; what it speaks is free.
"""

from __future__ import annotations

import argparse
import subprocess
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr

from motherlode.randomness import numpy_generator

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = ("en-gb", "en-us", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-rp", "en-gb-x-gbcwmd")
VOICES = (
    *("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "klatt", "klatt2", "klatt4"),
    *("Alex", "Alicia", "Andrea", "Andy", "Annie", "adam", "anika", "antonio", "aunty", "belinda", "benjamin"),
    *("boris", "caleb", "david", "Denis", "Diogo", "ed", "edward", "Gene", "grandma", "grandpa", "gustave", "Henrique"),
    *("Hugo", "iven", "Jacky", "john", "kaukovalta", "Lee", "linda", "marco", "max", "michel", "miguel", "norbert"),
    *("pablo", "paul", "quincy", "rob", "robert", "sandro", "shelby", "steph", "travis", "victor", "Zac"),
)


def speak(word: str, voice: str, pitch: int, speed: int) -> tuple[np.ndarray, int]:
    """What espeak-ng says, float32 (T,), and its rate."""
    command = ["espeak-ng", "-v", voice, "-p", str(pitch), "-s", str(speed), "--stdout", word]
    made = subprocess.run(command, check=True, capture_output=True).stdout
    samples, rate = soundfile.read(BytesIO(made), dtype="float32")
    return samples, rate


def clip(folder: Path, word: str, voice: str, number: int, rate: int, seed: int) -> None:
    """Write one clip; its accent, pitch and speed are a function of its name and the seed."""
    rng = numpy_generator(seed, f"{word} {voice}", number)
    accent = ACCENTS[int(rng.integers(len(ACCENTS)))]
    pitch, speed = int(rng.integers(25, 76)), int(rng.integers(130, 201))
    samples, spoken_rate = speak(word, f"{accent}+{voice}", pitch, speed)
    if rate:
        samples, spoken_rate = soxr.resample(samples, spoken_rate, rate, quality="VHQ"), rate
        loud = np.flatnonzero(np.abs(samples) > 0.005)
        samples = samples[loud[0] : loud[-1]] * (0.5 / np.abs(samples).max())
    path = folder / word / voice / f"{accent}-p{pitch}-s{speed}-{number}.{'flac' if rate else 'wav'}"
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, spoken_rate, subtype="PCM_16")
    path.with_suffix(".txt").write_text(word + "\n")


def to_parquet(folder: Path, path: Path) -> None:
    """Every clip of a folder as one table: the file, whose path names label and voice, the label and what is said."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(folder.rglob("*.flac"))
    names = [str(file.relative_to(folder)) for file in files]
    clips = [{"bytes": file.read_bytes(), "path": name} for file, name in zip(files, names, strict=True)]
    words = [name.split("/")[0] for name in names]
    table = pa.table({"audio": clips, "label": words, "caption": words})
    pq.write_table(table, path, compression="none", use_dictionary=["label", "caption"])


def main() -> None:
    """Write the folder, or one Parquet file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--voices", type=int, default=len(VOICES), help="how many voices")
    parser.add_argument("--clips", type=int, default=6, help="clips of each digit by each voice")
    parser.add_argument("--rate", type=int, default=0, help="resample to this and write trimmed FLAC; 0: as spoken")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.folder.suffix == ".parquet":
        with TemporaryDirectory() as folder:
            make(Path(folder), asked)
            to_parquet(Path(folder), asked.folder)
    else:
        make(asked.folder, asked)


def make(folder: Path, asked: argparse.Namespace) -> None:
    """Speak all clips into a folder."""
    wanted = [(word, voice, n) for word in DIGITS for voice in VOICES[: asked.voices] for n in range(asked.clips)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda w: clip(folder, *w, asked.rate, asked.seed), wanted))
    print(f"{len(wanted):,} clips in {folder}")


if __name__ == "__main__":
    main()
