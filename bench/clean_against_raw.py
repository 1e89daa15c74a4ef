"""Does cleaning text pay? One model, equal tokens, raw against cleaned documents, judged on clean text new to both.

    python bench/clean_against_raw.py docs.jsonl --work /tmp/clean --steps 600 --seeds 3

The corpus is cleaned, and its held-out part put aside with everything that resembles it. What is left is trained on
twice: as it came (every copy and every document that a filter would drop), and as `lode prepare` leaves it. Bits per
byte are those of the same held-out documents; the interval is over documents and seeds, paired. The recipe is the
family's own.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np

import motherlode as ml
from motherlode import tokenizer as tokenizers
from motherlode.data.dataset import Dataset
from motherlode.data.tokens import open_packed
from motherlode.measures.language_likelihood import document_nats
from motherlode.recipe import Recipe, parse

ARMS = ("raw", "clean")
_RESAMPLES = 2000
_KEEP_ALL = {"exact_duplicates": "off", "near_duplicates": "off", "paragraphs": "off"}


def write_arms(cleaned: Dataset, work: Path) -> None:
    """`raw.jsonl` and `clean.jsonl`: what may be trained on. Whatever repeats a held-out document is in neither."""
    heldout = {row["id"] for row in cleaned.split("heldout").rows()}
    clean = [row["text"] for row in cleaned.split("train").rows()]
    rest = [
        row["text"] for row in cleaned.split("dropped").rows() if row["text"] and row["duplicate_of"] not in heldout
    ]
    for name, texts in (("clean", clean), ("raw", clean + rest)):
        lines = (json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
        (work / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def run_of(arm: str, data: Path, tokenizer: Path, given: argparse.Namespace, seed: int) -> ml.Run:
    """One trained model."""
    recipe = parse(
        Recipe,
        {
            "name": f"{arm}-{seed}",
            "out": str(given.work / "runs"),
            "seed": seed,
            "data": {"path": str(data), "tokenizer": str(tokenizer), "length": given.length},
            "model": {"family": "gpt", "size": given.size},
            "train": {"budget": {"steps": given.steps}, "sample_every": 1.0, "checkpoint_every": 1.0},
        },
    )
    return ml.train(recipe)


def nats_of(run: ml.Run, cleaned: Dataset, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(nats, bytes) of held-out documents of the cleaned corpus under a run's last weights."""
    family = run.load("last")
    space = run.spec.tokens
    assert space is not None
    packed = open_packed(cleaned, "heldout", tokenizers.load(space.folder))
    length = run.spec.shape[0]
    nats_N = document_nats(family, packed, documents, bos=space.bos, window=length, stride=length // 2)
    assert nats_N is not None
    return nats_N, packed.num_bytes_N[documents]


def bits(nats: np.ndarray, num_bytes: np.ndarray) -> float:
    """Bits per byte of all documents together."""
    return float(nats.sum() / num_bytes.sum() / math.log(2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--size", default="1M")
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--documents", type=int, default=300)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    cleaned = ml.prepare(given.corpus, modality="text", out=given.work / "cleaned", heldout=0.05)
    print(cleaned.summary())
    write_arms(cleaned, given.work)
    thresholds = json.loads((cleaned.path / "prepare.json").read_text())["options"]["clean"]
    for arm in ARMS:
        options = {"heldout": 0.0, "clean": {**thresholds, **_off()}, **_KEEP_ALL}
        data = ml.prepare(given.work / f"{arm}.jsonl", modality="text", out=given.work / arm, **options)
        print(arm, data.summary())
    shared = _tokenizer(given)
    rng = np.random.default_rng(0)
    documents = np.sort(rng.permutation(len(cleaned.split("heldout")))[: given.documents])
    nats: dict[str, list[np.ndarray]] = {arm: [] for arm in ARMS}
    for seed in range(given.seeds):
        for arm in ARMS:
            found, num_bytes = nats_of(run_of(arm, given.work / arm, shared, given, seed), cleaned, documents)
            nats[arm].append(found)
            print(f"seed {seed} {arm}: {bits(found, num_bytes):.4f} bits per byte")
    stacks = {arm: np.stack(found) for arm, found in nats.items()}
    gains = []
    for _ in range(_RESAMPLES):
        rows = rng.integers(len(documents), size=len(documents))
        seeds = rng.integers(given.seeds, size=given.seeds)
        raw, clean = (bits(stacks[arm][seeds][:, rows].mean(0), num_bytes[rows]) for arm in ARMS)
        gains.append(raw - clean)
    raw, clean = (bits(stacks[arm].mean(0), num_bytes) for arm in ARMS)
    low, high = np.quantile(gains, [0.05, 0.95])
    print(
        f"raw {raw:.4f}, clean {clean:.4f} bits per byte; cleaning gains {raw - clean:+.4f} (90 %: {low:+.4f} to "
        f"{high:+.4f}), {given.seeds} seeds, {len(documents)} documents, {given.steps} steps"
    )


def _off() -> dict[str, object]:
    """Thresholds at which no filter drops anything: the texts are clean already, or are to stay as they are."""
    return {
        "min_words": 0, "max_symbols": 1, "max_digits": 1, "min_word_length": 0, "max_word_length": 0,
        "min_stop_words": 0, "max_bullets": 1, "max_ellipses": 1, "max_repeated_lines": 1,
        "max_repeated_paragraphs": 1, "max_top_phrase": 0, "max_repeated_phrases": 1,
    }  # fmt: skip


def _tokenizer(given: argparse.Namespace) -> Path:
    """One tokenizer for both arms, trained on the clean one: bits per byte allow two, but one difference is enough."""
    from motherlode.data.tokens import find_tokenizer
    from motherlode.recipe import DataOptions

    options = DataOptions(path=str(given.work / "clean"), vocabulary=4096)
    return find_tokenizer(Dataset.open(given.work / "clean"), options).folder


if __name__ == "__main__":
    main()
