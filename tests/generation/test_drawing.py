"""The oracle is transformers' own filters; draws at evenly spread uniform numbers have exactly the filtered shares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from motherlode.generation import drawing
from motherlode.generation.drawing import draw

VOCABULARY = 300
PLAIN = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "penalty": 1.0}


def drawn(logits: Any, uniforms: Any, seen: Any = None, allowed: Any = None, **options: Any) -> Any:
    """Tokens for one row of logits at each uniform number."""
    num = len(uniforms)
    rows = np.repeat(np.asarray(logits, np.float32)[None], num, axis=0)
    out = np.full(num, -1)
    chosen = {**PLAIN, **options}
    seen = np.zeros((1, len(logits)), bool) if seen is None else seen
    allowed = np.ones(len(logits), bool) if allowed is None else allowed
    none = np.zeros(num, np.int64)
    draw(rows, np.asarray(uniforms, np.float64), *chosen.values(), seen, none, allowed[None], none, out)
    return out


def theirs(logits: Any, seen: Any, options: dict[str, Any]) -> Any:
    """Probabilities by transformers' processors, in its order."""
    from transformers import generation

    chosen = {**PLAIN, **options}
    processors: list[Any] = []
    if chosen["penalty"] != 1:
        processors.append(generation.RepetitionPenaltyLogitsProcessor(chosen["penalty"]))
    processors.append(generation.TemperatureLogitsWarper(chosen["temperature"]))
    if chosen["top_k"]:
        processors.append(generation.TopKLogitsWarper(chosen["top_k"]))
    if chosen["top_p"] < 1:
        processors.append(generation.TopPLogitsWarper(chosen["top_p"]))
    if chosen["min_p"]:
        processors.append(generation.MinPLogitsWarper(chosen["min_p"]))
    scores = torch.from_numpy(np.asarray(logits, np.float64))[None]
    ids = torch.from_numpy(np.flatnonzero(seen[0]))[None]
    for processor in processors:
        scores = processor(ids, scores)
    return torch.softmax(scores, 1)[0].numpy()


@pytest.mark.parametrize("scale", [0.5, 2.0, 9.0])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.3},
        {"temperature": 2.5},
        {"top_k": 1},
        {"top_k": 5},
        {"top_k": 100},
        {"top_k": 299},
        {"top_k": 1000},
        {"top_p": 0.1},
        {"top_p": 0.5},
        {"top_p": 0.95},
        {"top_p": 0.999},
        {"min_p": 0.05},
        {"min_p": 1.0},
        {"penalty": 1.3},
        {"penalty": 0.7},
        {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.02, "penalty": 1.2},
    ],
    ids=str,
)
def test_shares_are_those_of_transformers(options: dict[str, Any], scale: float) -> None:
    rng = np.random.default_rng(int(scale * 10))
    logits = (rng.standard_normal(VOCABULARY) * scale).astype(np.float32)
    seen = rng.random((1, VOCABULARY)) < 0.2
    num = 20_000
    found = drawn(logits, (np.arange(num) + 0.5) / num, seen, **options)
    counts = np.bincount(found, minlength=VOCABULARY)
    shares = theirs(logits, seen, options)
    # A token's stretch of [0, 1) holds as many of the evenly spread numbers as it is long, give or take one.
    assert np.abs(counts - shares * num).max() <= 1.001
    assert not counts[shares == 0].any()


def test_draws_rise_with_the_uniform_number_and_reach_both_ends() -> None:
    logits = np.random.default_rng(1).standard_normal(1000)
    uniforms = np.concatenate([[0.0], np.sort(np.random.default_rng(2).random(500)), [1 - 2.0**-53]])
    found = drawn(logits, uniforms)
    assert (np.diff(found) >= 0).all()
    assert found[0] == 0
    assert found[-1] == 999


@pytest.mark.parametrize("num", [1, 2, 127, 128, 129, 1000])
def test_any_size_of_vocabulary(num: int) -> None:
    found = drawn(np.zeros(num), (np.arange(5 * num) + 0.5) / (5 * num))
    assert np.array_equal(np.bincount(found, minlength=num), np.full(num, 5))


def test_temperature_zero_takes_the_likeliest_and_of_equals_the_first() -> None:
    logits = np.random.default_rng(3).standard_normal(100)
    logits[[20, 70]] = 9.0
    assert set(drawn(logits, np.linspace(0, 0.999, 50), temperature=0.0)) == {20}
    seen = np.zeros((1, 100), bool)
    seen[0, 20] = True
    assert set(drawn(logits, [0.5], seen, temperature=0.0, penalty=1.5)) == {70}


def test_what_is_not_allowed_is_never_drawn() -> None:
    rng = np.random.default_rng(4)
    logits = rng.standard_normal(VOCABULARY) + 30
    allowed = rng.random(VOCABULARY) < 0.1
    for options in ({}, {"temperature": 0.0}, {"top_k": 200}, {"top_p": 0.9999}, {"temperature": 90.0}):
        assert allowed[drawn(logits, rng.random(2000), allowed=allowed, **options)].all()
    one = np.zeros(VOCABULARY, bool)
    one[17] = True
    assert set(drawn(logits, rng.random(50), allowed=one, top_k=3, top_p=0.5)) == {17}


def test_each_row_has_the_tokens_of_its_state() -> None:
    allowed = np.eye(3, 50, dtype=bool)
    out = np.full(6, -1)
    states = np.array([2, 0, 1, 1, 2, 0])
    rows = np.random.default_rng(6).standard_normal((6, 50)).astype(np.float32)
    draw(rows, np.full(6, 0.7), *PLAIN.values(), np.zeros((1, 50), bool), np.zeros(6, np.int64), allowed, states, out)
    assert np.array_equal(out, states)


def test_extreme_logits_and_temperatures() -> None:
    logits = np.linspace(-3e38, 3e38, 50)
    assert set(drawn(logits, np.linspace(0, 0.999, 9))) == {49}
    assert set(drawn(logits, np.linspace(0, 0.999, 9), temperature=100.0, top_p=0.5, top_k=7)) == {49}
    assert set(drawn(np.full(50, -1e30), np.linspace(0, 0.999, 400))) == set(range(50))


def test_ties_at_a_threshold_stay() -> None:
    logits = np.array([2.0, 1.0, 1.0, 1.0, 0.0])
    uniforms = np.linspace(0, 0.999, 200)
    assert set(drawn(logits, uniforms, top_k=2)) == {0, 1, 2, 3}
    assert set(drawn(logits, uniforms, top_p=0.6)) == {0, 1, 2, 3}


@pytest.mark.parametrize("by_mass", [False, True])
def test_thresholds_are_those_of_a_sort(by_mass: bool) -> None:
    rng = np.random.default_rng(5)
    for _ in range(300):
        values = np.round(rng.random(rng.integers(1, 60)), rng.integers(1, 4)) + 0.01
        falling = np.sort(values)[::-1]
        reached = np.cumsum(falling if by_mass else np.ones(len(values)))
        goal = float(rng.choice(reached) - 1e-9)
        expected = falling[np.searchsorted(reached, goal)]
        assert drawing._threshold(values.copy(), goal, by_mass) == expected
