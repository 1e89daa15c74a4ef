from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from motherlode.families.bert.masking import choose, even_ratios, hide_fixed, hide_uniform, predictable
from motherlode.randomness import torch_generator
from motherlode.tokenizer import TokenSpace

SPACE = TokenSpace(vocabulary=40, bos=0, pad=1, mask=2, folder="nowhere")


def windows(rows: int = 6, length: int = 17, seed: int = 0) -> Tensor:
    """Random text with a document that begins within the first window and padding behind the second."""
    tokens = torch.randint(3, SPACE.vocabulary, (rows, length), generator=torch_generator(seed, "windows"))
    tokens[:, 0] = SPACE.bos
    tokens[0, 5] = SPACE.bos
    tokens[1, 11:] = SPACE.pad
    return tokens


def rng(number: int = 0) -> torch.Generator:
    return torch_generator(1, "hide", number)


def test_what_stands_for_no_text_and_what_comes_first_is_never_hidden() -> None:
    tokens = windows()
    tokens[2, 0] = 7  # a window that begins within a document
    special = (tokens == SPACE.bos) | (tokens == SPACE.pad)
    for number in range(30):
        for masked in (hide_uniform(tokens, SPACE, rng(number)), hide_fixed(tokens, SPACE, 0.9, rng(number))):
            assert (masked.inputs_BT == tokens)[special].all()
            assert (masked.inputs_BT == tokens)[:, 0].all()
            counted = masked.places_K[masked.weights_K > 0]
            assert predictable(tokens, SPACE).flatten()[counted].all()


def test_ratios_are_evenly_spread_and_each_is_uniform() -> None:
    draws = torch.stack([even_ratios(5, rng(number)) for number in range(3000)])
    assert ((draws >= 0) & (draws < 1)).all()
    steps = draws.sort(1).values.diff(dim=1)
    torch.testing.assert_close(steps, torch.full_like(steps, 0.2), atol=1e-6, rtol=0)
    for row in draws.T:  # Kolmogorov-Smirnov against the uniform, at 0.1 %
        deviation = (row.sort().values - torch.linspace(0, 1, len(row))).abs().max()
        assert deviation < 1.95 / math.sqrt(len(row))


def test_the_number_of_hidden_tokens_is_uniform_in_each_window() -> None:
    tokens = windows(rows=4, length=8, seed=3)
    tokens[0, 5] = 9
    tokens[1] = tokens[2]
    counts = torch.zeros(4, 8)
    for number in range(2800):
        hidden = (hide_uniform(tokens, SPACE, rng(number)).inputs_BT == SPACE.mask).sum(1)
        counts[torch.arange(4), hidden] += 1
    assert (counts[:, 0] == 0).all()
    # 400 each expected; chi-square with 6 degrees of freedom, 0.1 % at 22.5
    assert (((counts[:, 1:] - 400) ** 2 / 400).sum(1) < 22.5).all()


def test_every_set_of_places_is_as_likely() -> None:
    allowed = torch.tensor([[False, True, True, False, True, True]]).repeat(4000, 1)
    chosen = choose(allowed, torch.full((4000,), 2), rng())
    assert (chosen.sum(1) == 2).all()
    assert not chosen[:, [0, 3]].any()
    _, counts = chosen.unique(dim=0, return_counts=True)
    assert len(counts) == 6
    assert ((counts - 4000 / 6).square() / (4000 / 6)).sum() < 20.5  # 5 degrees of freedom, 0.1 %


@pytest.mark.parametrize("rows", [1, 2, 6])
def test_the_number_of_places_does_not_depend_on_chance_and_none_is_lost(rows: int) -> None:
    tokens = windows(max(rows, 2))[:rows]
    sizes = set()
    for number in range(200):
        masked = hide_uniform(tokens, SPACE, rng(number))
        sizes.add(len(masked.places_K))
        hidden = (masked.inputs_BT == SPACE.mask).flatten().nonzero().squeeze(1)
        assert masked.places_K[masked.weights_K > 0].tolist() == hidden.tolist()
        assert len(masked.places_K.unique()) == len(masked.places_K)
    assert len(sizes) == 1
    assert sizes.pop() <= rows * (tokens.shape[1] - 1)


def test_a_large_batch_asks_for_little_more_than_half_of_its_places() -> None:
    tokens = windows(rows=64, length=257)
    masked = hide_uniform(tokens, SPACE, rng())
    assert len(masked.places_K) < 0.53 * tokens.numel()


def test_a_uniform_model_has_a_bound_of_log_v_in_every_draw() -> None:
    tokens = windows()
    for number in range(50):
        masked = hide_uniform(tokens, SPACE, rng(number))
        nats = torch.full((len(masked.places_K),), math.log(SPACE.vocabulary))
        loss = (masked.weights_K * nats).sum() / masked.num_tokens
        assert loss.item() == pytest.approx(math.log(SPACE.vocabulary), rel=1e-5)


def _conditional(joint: Tensor, tokens: list[int], hidden: list[int]) -> Tensor:
    """−log p(token | those not hidden) at each hidden place, by summing over a joint (V, V, V)."""
    seen = joint
    for place, token in enumerate(tokens):
        if place not in hidden:
            seen = seen.index_select(place, torch.tensor([token]))
    nats = []
    for place in hidden:
        others = [axis for axis in range(len(tokens)) if axis != place]
        marginal = seen.sum(others)
        nats.append(-(marginal[tokens[place]] / marginal.sum()).log())
    return torch.stack(nats)


def test_the_bound_of_true_conditionals_is_the_likelihood_itself() -> None:
    """Mean over orders of Σ −log p(token | those revealed): for a consistent model each order gives −log p(x)."""
    joint = torch.rand(3, 3, 3, generator=torch_generator(0, "joint"), dtype=torch.float64) ** 3
    joint = joint / joint.sum()
    offset = 3  # ids of text begin after the special ones
    for text in itertools.product(range(3), repeat=3):
        tokens = torch.tensor([[SPACE.bos, *(token + offset for token in text)]])
        # Every ratio and, in 60 draws each, every set.
        losses = []
        for number in range(60):
            for ratio in (0.1, 0.5, 0.9):
                masked = hide_uniform(tokens, SPACE, rng(number), torch.tensor([ratio]))
                hidden = (masked.places_K - 1).tolist()
                nats = _conditional(joint, list(text), hidden)
                losses.append((masked.weights_K * nats).sum())
        mean, error = torch.stack(losses).mean(), torch.stack(losses).std() / math.sqrt(len(losses))
        assert mean.item() == pytest.approx(-joint[text].log().item(), abs=4 * error.item() + 1e-6)


def test_a_fixed_rate_hides_its_share_and_shows_eight_of_ten_as_masks() -> None:
    tokens = windows(rows=400, length=101)
    masked = hide_fixed(tokens, SPACE, 0.3, rng())
    real = masked.weights_K > 0
    places, targets = masked.places_K[real], tokens.flatten()[masked.places_K[real]]
    per_row = torch.bincount(places // 101, minlength=400)
    assert per_row[2:].unique().tolist() == [30]
    assert per_row[1] == round(10 * 0.3)
    assert masked.num_tokens == real.sum()
    shown = masked.inputs_BT.flatten()[places]
    as_mask = (shown == SPACE.mask).float().mean().item()
    as_itself = (shown == targets).float().mean().item()
    # Random ids are the mask itself, or the very token, one time in 40 each.
    assert as_mask == pytest.approx(0.8 + 0.1 / 40, abs=0.015)
    assert as_itself == pytest.approx(0.1 + 0.1 / 40, abs=0.012)
    untouched = torch.ones(tokens.numel(), dtype=torch.bool)
    untouched[places] = False
    assert (masked.inputs_BT.flatten() == tokens.flatten())[untouched].all()


def test_a_measure_sees_nothing_but_masks() -> None:
    tokens = windows()
    masked = hide_fixed(tokens, SPACE, 0.5, rng(), mask_all=True)
    changed = masked.inputs_BT != tokens
    assert (masked.inputs_BT[changed] == SPACE.mask).all()
    assert changed.sum() == masked.num_tokens


def test_at_least_one_token_is_hidden_and_an_empty_window_hides_none() -> None:
    tokens = torch.full((2, 9), SPACE.pad)
    tokens[:, 0] = SPACE.bos
    tokens[0, 1] = 8
    for masked in (hide_fixed(tokens, SPACE, 0.01, rng()), hide_uniform(tokens, SPACE, rng())):
        assert masked.num_tokens == 1
        assert masked.places_K[masked.weights_K > 0].tolist() == [1]
        assert torch.isfinite(masked.weights_K).all()
