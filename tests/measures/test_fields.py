"""Scores of made fields: a model that knows nothing has the log of what may come, one that knows all has nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from motherlode.errors import MeasureError
from motherlode.fields import Field, Layout, Task
from motherlode.measures.fields import bound_fields, score_fields

TEXT, BOS, PAD, MASK, END = 40, 0, 1, 2, 5
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


def flat_nats(inputs_BT: Tensor, targets_BT: Tensor, within_BT2: Tensor) -> tuple[Tensor, Tensor]:
    """Everything that may stand at a place is as likely."""
    return (within_BT2[..., 1] - within_BT2[..., 0]).double().log(), targets_BT == within_BT2[..., 0]


@pytest.mark.parametrize("draws", [1, 3])
def test_the_bound_of_a_masked_model_that_knows_nothing_is_exact_in_every_draw(draws: int) -> None:
    found = bound_fields(flat_nats, documents(), layout(), TASK, pad=PAD, mask=MASK, draws=draws)
    assert set(found) == set(TASK.make)
    assert found["image"].nats_N == pytest.approx(np.full(20, 4 * math.log(16)))
    assert found["image"].tokens_N.tolist() == [4] * 20
    assert found["label2"].nats_N == pytest.approx(np.full(20, math.log(5)))
    # It is told how long what has no fixed size is: no ends.
    assert found["caption"].nats_N == pytest.approx(np.array([1 + row % 5 for row in range(20)]) * math.log(TEXT))
    assert found["sound"].tokens_N.tolist() == [2 * (2 + row % 3) for row in range(20)]
    first = layout().field("label2").first
    right = [document[-2] == first for document in documents()]
    assert found["label2"].hits_N.tolist() == right
    assert 0 < sum(right) < 20


def test_places_with_more_to_choose_from_count_for_more() -> None:
    """Eight codes and four in turn: exact on average only, as which of them are hidden is chance."""
    drawn = [
        bound_fields(flat_nats, documents(3), layout(), TASK, pad=PAD, mask=MASK, seed=seed)["sound"].nats_N
        for seed in range(60)
    ]
    places, error = np.array([2, 3, 4]), np.std(drawn, 0, ddof=1) / math.sqrt(60)
    assert (np.abs(np.mean(drawn, 0) - places * (math.log(8) + math.log(4))) < 4 * error).all()


def urn_nats(inputs_BT: Tensor, targets_BT: Tensor, within_BT2: Tensor) -> tuple[Tensor, Tensor]:
    """Pólya's urn among the ids that a place may take: p = (1 + how often it is seen) / (their number + all seen)."""
    nats_BT = torch.zeros(inputs_BT.shape, dtype=torch.float64)
    for row, place in (inputs_BT == MASK).nonzero().tolist():
        first, behind = within_BT2[row, place].tolist()
        seen = inputs_BT[row][(inputs_BT[row] >= first) & (inputs_BT[row] < behind)]
        like = int((seen == targets_BT[row, place]).sum())
        nats_BT[row, place] = -math.log((1 + like) / (behind - first + len(seen)))
    return nats_BT, torch.zeros_like(nats_BT, dtype=torch.bool)


def test_the_bound_is_the_surprise_where_conditionals_are_exact() -> None:
    """In an urn every order of revealing gives the same −ln p, so the mean over draws is it."""
    some, image = documents(6), layout().field("image")
    exact = np.zeros(6)
    for row, document in enumerate(some):
        codes = document[(document >= image.first) & (document < image.first + 16)]
        for place, code in enumerate(codes):
            exact[row] -= math.log((1 + (codes[:place] == code).sum()) / (16 + place))
    drawn = np.array(
        [
            bound_fields(urn_nats, some, layout(), TASK, pad=PAD, mask=MASK, draws=2, seed=seed)["image"].nats_N
            for seed in range(100)
        ]
    )
    assert drawn.std(0).min() > 0
    assert (np.abs(drawn.mean(0) - exact) < 4 * drawn.std(0, ddof=1) / math.sqrt(len(drawn))).all()


def test_what_is_made_behind_a_field_is_hidden_and_what_is_given_is_not() -> None:
    rows: list[Tensor] = []

    def watching(inputs_BT: Tensor, targets_BT: Tensor, within_BT2: Tensor) -> tuple[Tensor, Tensor]:
        rows.extend(inputs_BT)
        return flat_nats(inputs_BT, targets_BT, within_BT2)

    (document,) = some = documents(1)
    bound_fields(watching, some, layout(), TASK, pad=PAD, mask=MASK, draws=2)
    ends = np.flatnonzero(document == END)
    assert len(rows) == 1 + 2 + 2 + 1  # a caption of one token, a label, and two looks at each of the others
    for row in rows:
        masked = np.flatnonzero(row.numpy() == MASK)
        field = int(np.searchsorted(ends, masked[0]))
        assert field > 0, "the label is given"
        behind = [
            place for place in range(ends[field] + 2, len(document)) if place not in ends and place - 1 not in ends
        ]
        assert set(behind) <= set(masked)
        assert (row.numpy()[: masked[0]] == document[: masked[0]]).all()


def test_a_model_that_fills_no_masks_has_no_bound() -> None:
    with pytest.raises(MeasureError, match="fills in none"):
        bound_fields(lambda *_: None, documents(), layout(), TASK, pad=PAD, mask=MASK)
