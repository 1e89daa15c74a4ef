from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from motherlode.families.bert.unmask import guess, unmask
from motherlode.randomness import torch_generator

MASK, VOCABULARY = 2, 30


def rng(number: int = 0) -> torch.Generator:
    return torch_generator(0, "unmask", number)


def canvas() -> Tensor:
    """Two prompts with masks behind, and one text with masks within; 20 tokens each."""
    tokens = torch.randint(3, VOCABULARY, (3, 20), generator=rng(99))
    tokens[0, 4:] = MASK
    tokens[1, 9:] = MASK
    tokens[2, 3:5] = tokens[2, 11:18] = MASK
    return tokens


class Model:
    """Fixed random logits for each place and token; remembers what it was asked."""

    def __init__(self, scale: float = 1.0) -> None:
        self.logits = torch.randn(20, VOCABULARY, generator=rng(7)) * scale
        self.logits[:, MASK] = -torch.inf
        self.seen: list[Tensor] = []

    def __call__(self, tokens_BT: Tensor, places_BK: Tensor) -> Tensor:
        self.seen.append(tokens_BT.clone())
        return self.logits[places_BK]


def fill(model: Model, tokens: Tensor, number: int = 0, **settings: float) -> Tensor:
    chosen = {"block_tokens": 8, "steps": 4, "temperature": 1.0, **settings}
    return list(unmask(model, tokens, MASK, rng=rng(number), **chosen))[-1]  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{}, {"steps": 1}, {"steps": 100, "block_tokens": 3}, {"temperature": 0.0}])
def test_every_mask_is_filled_and_all_else_stays(settings: dict[str, float]) -> None:
    tokens = canvas()
    given = tokens.clone()
    filled = fill(Model(), tokens, **settings)
    assert (filled != MASK).all()
    assert (filled == given)[given != MASK].all()
    assert (tokens == given).all()


def test_the_same_seed_writes_the_same_and_another_does_not() -> None:
    first, again, other = (fill(Model(), canvas(), number) for number in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_blocks_are_filled_from_left_to_right_each_in_its_steps() -> None:
    model = Model()
    tokens = canvas()
    stages = list(unmask(model, tokens, MASK, block_tokens=8, steps=4, temperature=1.0, rng=rng()))
    assert len(stages) == 2
    assert len(model.seen) == 8
    for row in range(3):
        masks = (tokens[row] == MASK).nonzero().squeeze(1)
        assert (stages[0][row, masks[:8]] != MASK).all()
        assert (stages[0][row, masks[8:]] == MASK).all()
    assert (stages[1] != MASK).all()
    # Two masks a step in a block of eight.
    left = [int((seen[0] == MASK).sum()) for seen in model.seen]
    assert left == [16, 14, 12, 10, 8, 6, 4, 2]


def test_uneven_blocks_give_the_first_steps_what_is_left_over() -> None:
    model = Model()
    tokens = torch.full((1, 10), MASK)
    fill(model, tokens, block_tokens=10, steps=4)
    assert [int((seen == MASK).sum()) for seen in model.seen] == [10, 7, 4, 2]


def test_without_masks_the_tokens_come_back_and_the_model_is_not_asked() -> None:
    model = Model()
    tokens = torch.full((2, 5), 9)
    (only,) = unmask(model, tokens, MASK, block_tokens=4, steps=2, temperature=1.0, rng=rng())
    assert (only == tokens).all()
    assert not model.seen


def test_at_temperature_zero_the_likeliest_tokens_are_written_the_surest_first() -> None:
    model = Model(scale=3.0)
    tokens = torch.full((1, 20), MASK)
    filled = fill(model, tokens, block_tokens=20, steps=20, temperature=0.0)
    assert (filled[0] == model.logits.argmax(1)).all()
    order = [
        int(((before == MASK) & (after != MASK)).nonzero()[0, 1])
        for before, after in zip(model.seen, [*model.seen[1:], filled])
    ]
    confidence = model.logits.double().softmax(1).max(1).values[order]
    assert (confidence.diff() <= 0).all()


def test_guesses_follow_the_softmax_at_their_temperature() -> None:
    logits = torch.tensor([2.0, 0.0, -1.0, -torch.inf, 1.0])
    for temperature in (0.5, 1.0, 2.0):
        guesses, confidence = guess(logits.expand(1, 20_000, 5), temperature, rng())
        expected = torch.softmax(logits / temperature, 0)
        found = torch.bincount(guesses[0], minlength=5) / 20_000
        torch.testing.assert_close(found, expected, atol=4 * 0.5 / math.sqrt(20_000), rtol=0)
        torch.testing.assert_close(confidence[0].float(), torch.softmax(logits, 0)[guesses[0]])


def test_rare_tokens_are_drawn_as_rarely_as_they_should_be() -> None:
    """In float32 the largest draw of Gumbel's distribution is near 16.6 and tails beyond are lost."""
    logits = torch.full((1, 2000, 1000), -9.0)
    logits[..., 0] = 0.0
    guesses, _ = guess(logits, 1.0, rng())
    expected = 999 * math.exp(-9) / (1 + 999 * math.exp(-9))
    share = (guesses != 0).double().mean().item()
    assert share == pytest.approx(expected, abs=4 * math.sqrt(expected / 2000))
