"""Masked accuracy and the diffusion bound: exact for a uniform model, unbiased for exact conditionals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from motherlode.errors import MeasureError
from motherlode.measures.interval import ratio_interval
from motherlode.measures.language_likelihood import bits_per_byte, num_targets
from motherlode.measures.language_masked import bound_nats, masked_hits

from .language_doubles import BOS, MASK, Mute, Texts, Uniform, Urn, draw

VOCABULARY = 12


def bound(scorer: object, texts: Texts, window: int = 64, stride: int = 32, **options: object) -> np.ndarray:
    numbers = np.arange(len(texts))
    found = bound_nats(scorer, texts, numbers, bos=BOS, mask=MASK, window=window, stride=stride, **options)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize("draws", [1, 2, 5])
@pytest.mark.parametrize(("window", "stride"), [(64, 32), (16, 8), (16, 15), (3, 2)])
def test_the_bound_of_a_uniform_model_is_exact_in_every_draw(window: int, stride: int, draws: int) -> None:
    texts = draw(30, VOCABULARY)
    found = bound(Uniform(VOCABULARY), texts, window, stride, draws=draws)
    tokens = num_targets(texts, range(len(texts)))
    assert found == pytest.approx(math.log(VOCABULARY) * tokens, rel=1e-6)
    expected = math.log2(VOCABULARY) * tokens.sum() / texts.num_bytes_N.sum()
    assert bits_per_byte(found, texts.num_bytes_N).value == pytest.approx(expected, rel=1e-6)


def test_the_bound_is_tight_on_average_where_conditionals_are_exact() -> None:
    """Pólya's urn knows p(x | any others) exactly: every order of unmasking gives the same −ln p."""
    texts, urn = draw(8, VOCABULARY, longest=12, shortest=4), Urn(VOCABULARY)
    exact = np.array([urn.nats(texts.document(number)) for number in range(len(texts))])
    drawn = np.array([bound(urn, texts, seed=seed, draws=2) for seed in range(150)])
    error = drawn.std(0, ddof=1) / math.sqrt(len(drawn))
    assert (np.abs(drawn.mean(0) - exact) < 4 * error).all()
    assert drawn.mean() == pytest.approx(exact.mean(), rel=0.01)


def test_strata_take_noise_out() -> None:
    texts, urn = draw(6, VOCABULARY, longest=30, shortest=20), Urn(VOCABULARY)
    one = np.array([np.mean([bound(urn, texts, seed=4 * s + k, draws=1) for k in range(4)], 0) for s in range(30)])
    four = np.array([bound(urn, texts, seed=1000 + s, draws=4) for s in range(30)])
    assert four.std(0).mean() < one.std(0).mean()


def test_the_same_seed_masks_the_same_whatever_the_order() -> None:
    texts, urn = draw(20, VOCABULARY), Urn(VOCABULARY)
    numbers = np.arange(20)
    first = bound_nats(urn, texts, numbers, bos=BOS, mask=MASK, window=16, stride=8, seed=3)
    turned = bound_nats(urn, texts, numbers[::-1].copy(), bos=BOS, mask=MASK, window=16, stride=8, seed=3)
    assert first is not None
    assert turned is not None
    assert first == pytest.approx(turned[::-1], rel=1e-5)
    assert bound(urn, texts, 16, 8, seed=3) != pytest.approx(bound(urn, texts, 16, 8, seed=4), rel=1e-3)


def test_context_stands_unmasked_before_a_block() -> None:
    seen: list[Tensor] = []

    class Watching(Uniform):
        def masked_nats(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            seen.append(inputs)
            return super().masked_nats(inputs, targets)

    texts = draw(1, VOCABULARY, longest=40, shortest=40)
    bound(Watching(VOCABULARY), texts, 16, 6, draws=8)
    rows = torch.cat(seen)
    fragments = rows[rows[:, 0] != BOS]
    assert len(fragments) > 8
    assert not (fragments[:, :10] == MASK).any()
    assert (fragments[:, 10:] == MASK).any()


def test_accuracy_counts_what_is_right() -> None:
    # The double is right where the token is 2; a fifth of these tokens are.
    texts = Texts([np.tile([2, 3, 4, 5, 6], 40) for _ in range(20)])
    found = masked_hits(Uniform(VOCABULARY), texts, np.arange(20), bos=BOS, mask=MASK, window=32)
    assert found is not None
    hits, masked = found
    share = ratio_interval(hits, masked)
    assert share.low < 0.2 < share.high
    # Three tenths of each window's tokens are masked.
    assert masked.sum() / (20 * 200) == pytest.approx(0.3, abs=0.02)
    everything = masked_hits(Uniform(VOCABULARY), texts, np.arange(20), bos=BOS, mask=MASK, window=32, rate=1.0)
    assert everything is not None
    assert everything[0].sum() == 20 * 40
    assert everything[1].sum() == 20 * 200


def test_accuracy_of_a_model_that_sees_the_others() -> None:
    texts, urn = Texts([np.full(30, number % 10 + 2) for number in range(20)]), Urn(VOCABULARY)
    found = masked_hits(urn, texts, np.arange(20), bos=BOS, mask=MASK, window=64)
    assert found is not None
    assert (found[0] == found[1]).all()


def test_what_cannot_be_scored() -> None:
    texts = draw(3, VOCABULARY)
    numbers = np.arange(3)
    assert masked_hits(Mute(), texts, numbers, bos=BOS, mask=MASK, window=8) is None
    assert bound_nats(Mute(), texts, numbers, bos=BOS, mask=MASK, window=8, stride=4) is None
    with pytest.raises(MeasureError, match="smaller than the window"):
        bound(Uniform(VOCABULARY), texts, 8, 8)
