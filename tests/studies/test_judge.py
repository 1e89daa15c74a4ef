"""What cells are judged by: bits a byte on held-out texts, the same for all."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from texts import prose, write_texts

from motherlode import tokenizer
from motherlode.recipe import parse
from motherlode.studies.judge import _bytes_per_token
from motherlode.studies.options import StudyOptions
from motherlode.studies.study import study
from motherlode.training.run import Run


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts") / "prose"
    write_texts(
        folder,
        {"prose": [prose(number, 60) for number in range(80)]},
        [prose(number, 60) for number in range(80, 110)],
    )
    return folder


def test_a_study_of_texts_is_judged_in_bits_a_byte(texts: Path, tmp_path: Path) -> None:
    content = {
        "name": "prose",
        "out": str(tmp_path),
        "recipe": {
            "name": "base",
            "data": {"path": str(texts), "length": 32, "vocabulary": 300},
            "model": {"family": "gpt", "width": 16, "depth": 1, "heads": 1},
            "train": {"batch": 8, "precision": "fp32", "layout": "contiguous"},
        },
        "unique": [40],
        "passes": [1, 2],
        "num_heldout": 32,
    }
    found = study(parse(StudyOptions, content), workers=1)
    assert (found.measure, found.unit) == ("loss", "tokens")
    assert found.counts()["finished"] == 2
    assert found.records[1]["loss"] < found.records[0]["loss"] < 8.0
    run = Run.open(found.folder / "runs" / found.records[0]["run"])
    assert found.records[0]["N"] == run.facts["learnable_parameters"]
    assert found.records[0]["D"] == run.facts["samples"] * 31
    assert found.records[0]["U"] == run.facts["train_samples"] * 31
    assert not (run.path / "samples").exists()
    assert found.records[0]["loss"] == pytest.approx(_by_hand(run), rel=0.05)  # the same texts, cut elsewhere


def _by_hand(run: Run) -> float:
    """Bits a byte of the last checkpoint over held-out texts, by transformers' own loss."""
    from transformers import AutoModelForCausalLM

    folder = run.checkpoint("last")
    model = AutoModelForCausalLM.from_pretrained(folder)
    pieces = tokenizer.load(folder)
    bos = run.spec.tokens.bos  # type: ignore[union-attr]
    ids = np.concatenate([[bos, *tokens] for tokens in pieces.encode([prose(number, 60) for number in range(80, 110)])])
    windows = torch.tensor(ids[: len(ids) // 32 * 32]).reshape(-1, 32)
    with torch.no_grad():
        nats = float(model(input_ids=windows, labels=windows).loss)
    return nats / math.log(2) / _bytes_per_token(str(folder), windows[:, 1:].numpy())


def test_bytes_of_tokens_are_those_of_the_text(texts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tokenizer"
    words = [prose(number, 40) for number in range(20)]
    tokenizer.train(words, 300, folder)
    whole = np.concatenate(tokenizer.load(folder).encode(words))
    assert _bytes_per_token(str(folder), whole) == pytest.approx(sum(len(text.encode()) for text in words) / len(whole))
