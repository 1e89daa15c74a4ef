"""Bits per byte and perplexity: exact for a uniform model, equal for any window that fits, and honest in doubt."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from motherlode.errors import MeasureError
from motherlode.measures.interval import clustered_share, ratio_interval
from motherlode.measures.language_likelihood import bits_per_byte, document_nats, num_targets, perplexity
from motherlode.measures.language_windows import Window, laid, spans
from motherlode.randomness import numpy_generator

from .language_doubles import BOS, Mute, Recurrent, Texts, Uniform, draw

VOCABULARY = 50


def nats(scorer: object, texts: Texts, window: int, stride: int, **options: object) -> np.ndarray:
    found = document_nats(scorer, texts, np.arange(len(texts)), bos=BOS, window=window, stride=stride, **options)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize(("window", "stride"), [(64, 32), (16, 8), (16, 15), (7, 1), (2, 1)])
def test_a_uniform_model_needs_log2_of_the_vocabulary(window: int, stride: int) -> None:
    texts = draw(40, VOCABULARY)
    found = nats(Uniform(VOCABULARY), texts, window, stride)
    tokens = num_targets(texts, range(len(texts)))
    expected = math.log2(VOCABULARY) * tokens.sum() / texts.num_bytes_N.sum()
    assert bits_per_byte(found, texts.num_bytes_N).value == pytest.approx(expected, rel=1e-6)
    assert perplexity(found, tokens).value == pytest.approx(VOCABULARY, rel=1e-5)
    assert perplexity(found, tokens).high == pytest.approx(VOCABULARY, rel=1e-5)


def test_documents_that_fit_are_scored_as_if_alone() -> None:
    texts, model = draw(30, VOCABULARY, longest=40), Recurrent(VOCABULARY)
    whole = nats(model, texts, 128, 64)
    alone = [
        float(model.token_nats(torch.from_numpy(texts.document(number))[None]).double().sum())
        for number in range(len(texts))
    ]
    assert whole == pytest.approx(alone, rel=1e-5)
    # Any window that holds each whole gives the same, whatever the stride and the rows' neighbours.
    assert nats(model, texts, 41, 3) == pytest.approx(alone, rel=1e-5)
    assert nats(model, texts, 64, 63, batch_tokens=64) == pytest.approx(alone, rel=1e-5)


def test_a_sliding_window_gives_each_token_its_context() -> None:
    texts, model = draw(6, VOCABULARY, longest=50, shortest=30), Recurrent(VOCABULARY)
    window, stride = 12, 5
    expected = []
    for number in range(len(texts)):
        tokens = texts.document(number)
        total, scored = 0.0, 1
        while scored < len(tokens):
            end = min(max(window, scored + stride), len(tokens)) if scored > 1 else min(window, len(tokens))
            start = max(0, end - window)
            one = model.token_nats(torch.from_numpy(tokens[start:end])[None])[0].double()
            total += float(one[scored - start - 1 :].sum())
            scored = end
        expected.append(total)
    assert nats(model, texts, window, stride) == pytest.approx(expected, rel=1e-5)
    assert nats(model, texts, window, stride) != pytest.approx(nats(model, texts, 128, 64), rel=1e-3)


def test_a_real_transformer_is_scored_as_by_its_own_loss() -> None:
    """One document a row: what transformers computes as the loss of the model is what is measured."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    model = transformers.LlamaForCausalLM(config).eval()

    class Hugging:
        def token_nats(self, tokens: Tensor) -> Tensor:
            logits = model(input_ids=tokens).logits[:, :-1]
            return torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
            ).view(len(tokens), -1)

    texts = draw(5, VOCABULARY, longest=60, shortest=35)
    found = nats(Hugging(), texts, 64, 32)
    with torch.no_grad():
        for number in range(len(texts)):
            tokens = torch.from_numpy(texts.document(number))[None]
            loss = float(model(input_ids=tokens, labels=tokens).loss)
            assert found[number] == pytest.approx(loss * (tokens.shape[1] - 1), rel=1e-4)


@given(st.integers(1, 200), st.integers(2, 50), st.data())
def test_every_token_is_a_target_once(num_tokens: int, window: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, window - 1))
    found = list(spans(num_tokens, window, stride))
    targets = [place for start, end, first in found for place in range(first, end)]
    assert targets == list(range(1, num_tokens))
    assert all(0 <= start < end and end - start <= window for start, end, _ in found)
    assert all(end - start == window for start, end, _ in found[1:])
    assert all(first - start >= window - stride for start, _, first in found[1:])
    assert all(before[1] == after[2] for before, after in pairwise(found))


def test_rows_are_dense_and_keep_documents_apart() -> None:
    texts = draw(300, VOCABULARY, longest=60)
    windows = [Window(number, texts.document(number), texts.document(number), 1) for number in range(len(texts))]
    used = held = 0
    for rows in laid(windows, 64, 8, BOS):
        held += rows.tokens_BT.size
        for window, row, start in rows.places:
            assert (rows.tokens_BT[row, start : start + len(window.tokens)] == window.tokens).all()
            used += len(window.tokens)
    assert used == sum(len(window.tokens) for window in windows)
    assert used / held > 0.9


def test_a_fragment_stands_first_in_its_row() -> None:
    windows = [Window(0, np.full(20, 5), np.full(20, 5), 3), Window(1, np.array([BOS, 7]), np.array([BOS, 7]), 1)]
    for rows in laid(windows, 24, 4, BOS):
        assert {window.owner: start for window, _, start in rows.places} == {0: 0, 1: 20}


def test_memory_is_flat() -> None:
    """Ten times the text is scored in batches of the same size."""
    largest = []
    for num in (30, 300):
        sizes: list[int] = []

        class Watched(Uniform):
            def token_nats(self, tokens: Tensor, sizes: list[int] = sizes) -> Tensor:
                sizes.append(tokens.numel())
                return super().token_nats(tokens)

        nats(Watched(VOCABULARY), draw(num, VOCABULARY), 32, 16, batch_tokens=128)
        largest.append(max(sizes))
    assert largest == [128, 128]


def test_what_cannot_be_scored() -> None:
    texts = draw(3, VOCABULARY)
    assert document_nats(Mute(), texts, np.arange(3), bos=BOS, window=8, stride=4) is None
    for stride in (0, 8, 9):
        with pytest.raises(MeasureError, match="smaller than the window"):
            nats(Uniform(VOCABULARY), texts, 8, stride)

    class Sure:
        def token_nats(self, tokens: Tensor) -> Tensor:
            return torch.full((len(tokens), tokens.shape[1] - 1), math.inf)

    with pytest.raises(MeasureError, match="must be finite"):
        nats(Sure(), texts, 8, 4)


@pytest.mark.parametrize("num", [20, 150])
def test_the_interval_holds_for_documents_of_heavy_tailed_length(num: int) -> None:
    """Lengths log-normal with σ = 2, and long documents easier: the hard case, since few hold most of the bytes."""

    def corpus(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = numpy_generator(seed, "test coverage")
        log_bytes = rng.normal(7, 2, size)
        rate = np.maximum(1.5 + 0.4 * rng.standard_normal(size) - 0.075 * (log_bytes - 7), 0.1)
        num_bytes = np.ceil(np.exp(log_bytes)).astype(np.int64)
        return rate * num_bytes * math.log(2), num_bytes

    truth = bits_per_byte(*corpus(2_000_000, 10_000)).value
    held = [(found := bits_per_byte(*corpus(num, seed))).low <= truth <= found.high for seed in range(400)]
    assert 0.85 <= np.mean(held) <= 0.97


def test_ratios_of_equal_clusters_are_students_mean() -> None:
    tops = numpy_generator(0, "test ratios").normal(3, 1, 40)
    found = ratio_interval(tops, np.ones(40), 0.9)
    assert found.value == pytest.approx(tops.mean())
    # Equal weights: the jackknife's error is the standard error, and Satterthwaite's degrees of freedom are N − 1.
    assert (found.high - found.low) / 2 == pytest.approx(1.6849 * tops.std(ddof=1) / math.sqrt(40), rel=1e-3)
    assert math.isnan(ratio_interval(tops[:1], np.ones(1)).low)


def test_shares_of_clusters_are_no_surer_than_their_clusters() -> None:
    hits = np.repeat([0.0, 100.0], [15, 5])
    found = clustered_share(hits, np.full(20, 100.0))
    # Twenty documents that are all right or all wrong are worth twenty outcomes, not two thousand.
    assert found.value == 0.25
    assert 0.28 < found.high - found.low < 0.4
    assert clustered_share(np.zeros(20), np.full(20, 100.0)).high > 0.08


@pytest.mark.parametrize(("num", "share"), [(15, 0.3), (60, 0.05), (250, 0.02)])
def test_the_interval_of_a_share_holds_for_documents_that_differ(num: int, share: float) -> None:
    """Sizes log-normal, and each document's own share drawn from a wide beta distribution: most have none."""
    held = []
    for seed in range(400):
        rng = numpy_generator(seed, "test shares")
        totals = np.ceil(np.exp(rng.normal(4, 1, num)))
        hits = rng.binomial(totals.astype(np.int64), rng.beta(3 * share, 3 * (1 - share), num))
        found = clustered_share(hits, totals)
        held.append(found.low <= share <= found.high)
    assert 0.83 <= np.mean(held) <= 1
