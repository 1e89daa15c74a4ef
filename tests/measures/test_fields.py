"""Scores of made fields: a model that knows nothing has the log of what may come, one that knows all has nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from motherlode.fields import Field, Layout, Task
from motherlode.measures.fields import score_fields

TEXT, BOS, PAD, END = 40, 0, 1, 5
TASK = Task("all", ("label",), ("caption", "image", "sound", "label2"))


def layout() -> Layout:
    fields = [
        Field("label", "label", 0, 0, (3,)),
        Field("caption", "text", 0, 0, (TEXT,)),
        Field("image", "codes", 0, 0, (16,), (2, 2), "image"),
        Field("sound", "codes", 0, 0, (8, 4), (0,), "audio"),
        Field("label2", "label", 0, 0, (5,)),
    ]
    return Layout.build(fields, [TASK], end=END, num_text_tokens=TEXT)


def documents(num: int = 20) -> list[np.ndarray]:
    rng, found = np.random.default_rng(0), layout()
    made = []
    for row in range(num):
        parts = {
            "label": found.field("label").tokens_of(rng.integers(0, 3, 1)),
            "caption": rng.integers(6, TEXT, 1 + row % 5),
            "image": found.field("image").tokens_of(rng.integers(0, 16, (2, 2, 1))),
            "sound": found.field("sound").tokens_of(rng.integers(0, 4, (2 + row % 3, 2))),
            "label2": found.field("label2").tokens_of(rng.integers(0, 5, 1)),
        }
        made.append(found.document(BOS, parts, TASK.order))
    return made


def knowing(tokens_BT: Tensor) -> Tensor:
    """All of what comes next."""
    return 1e4 * torch.nn.functional.one_hot(tokens_BT.roll(-1, 1), layout().num_tokens + 3).float()


def test_a_model_that_knows_nothing() -> None:
    def flat(tokens_BT: Tensor) -> Tensor:
        return torch.zeros(*tokens_BT.shape, layout().num_tokens + 64)

    found = score_fields(flat, documents(), layout(), TASK, pad=PAD)
    assert set(found) == set(TASK.make)
    assert found["image"].nats_N == pytest.approx(np.full(20, 4 * math.log(16)))
    assert found["image"].tokens_N.tolist() == [4] * 20
    assert found["label2"].nats_N == pytest.approx(np.full(20, math.log(5)))
    words = np.array([2 + row % 5 for row in range(20)])  # and the end
    assert found["caption"].tokens_N.tolist() == words.tolist()
    assert found["caption"].nats_N == pytest.approx(words * math.log(TEXT))
    places = np.array([2 + row % 3 for row in range(20)])
    # The first place has 8 to choose from; every later one, and the end, may be the end too.
    wanted = math.log(8) + places * math.log(9) + places * math.log(4)
    assert found["sound"].nats_N == pytest.approx(wanted)
    assert found["sound"].tokens_N.tolist() == (2 * places + 1).tolist()


def test_a_model_that_knows_all() -> None:
    found = score_fields(knowing, documents(), layout(), TASK, pad=PAD)
    for scored in found.values():
        assert scored.nats_N == pytest.approx(np.zeros(20))
        assert scored.hits_N.all()


def test_what_may_not_come_costs_nothing() -> None:
    """Much mass on tokens of other fields, and a little more on the right one than on the wrong ones of its own."""

    def astray(tokens_BT: Tensor) -> Tensor:
        logits = torch.zeros(*tokens_BT.shape, layout().num_tokens)
        logits[..., layout().field("image").begin] = 50.0
        return logits + knowing(tokens_BT)[..., : layout().num_tokens] / 1e4

    found = score_fields(astray, documents(), layout(), TASK, pad=PAD)["label2"]
    assert found.nats_N == pytest.approx(np.full(20, math.log(math.e + 4) - 1))
    assert found.hits_N.all()


def test_it_does_not_matter_what_shares_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(0)
    table = torch.randn(layout().num_tokens, layout().num_tokens, generator=rng)
    together = score_fields(lambda tokens: table[tokens], documents(), layout(), TASK, pad=PAD)
    monkeypatch.setattr("motherlode.measures.fields._BATCH_DOCUMENTS", 1)
    alone = score_fields(lambda tokens: table[tokens], documents(), layout(), TASK, pad=PAD)
    for name in TASK.make:
        assert together[name].nats_N == pytest.approx(alone[name].nats_N)
        assert (together[name].hits_N == alone[name].hits_N).all()
