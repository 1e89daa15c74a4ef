"""The oracle is transformers: the logits of the module's own forward without a cache."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from motherlode.generation import decoding, lean
from motherlode.generation.lean import Lean, Weights
from motherlode.generation.plain import Plain

from .runs import stirred

COMMON: dict[str, Any] = {
    "vocab_size": 192,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 16,
    "intermediate_size": 96,
    "max_position_embeddings": 90,
    "pad_token_id": None,
}
KINDS = ("nanochat", "qwen3")


def lean_decoder(model: Any, num_slots: int, dtype: torch.dtype) -> Lean:
    return Lean(Weights(model, 90, dtype), num_slots)


def plain_decoder(model: Any, num_slots: int, dtype: torch.dtype) -> Plain:
    return Plain(model.to(dtype), 90, num_slots)


MAKERS = pytest.mark.parametrize("make", [lean_decoder, plain_decoder])


def network(kind: str, **changes: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**COMMON, **changes}))
    stirred(made)
    return made.eval()


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def tokens(num_texts: int, num_tokens: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, COMMON["vocab_size"], (num_texts, num_tokens))


def expected(model: Any, ids_T: Any) -> Any:
    with torch.no_grad():
        return model(torch.from_numpy(np.asarray(ids_T))[None]).logits[0].numpy()


def differences(decoder: Any, model: Any, ids_RT: Any) -> list[float]:
    """Prompts of different lengths, then token by token: the largest difference from the module at each."""
    num = len(ids_RT)
    ends = [5 + 7 * number for number in range(num)]
    logits = [expected(model, ids_T) for ids_T in ids_RT]
    found = decoder.feed(range(num), [ids_T[:end] for ids_T, end in zip(ids_RT, ends)])
    worst = [np.abs(found[r] - logits[r][ends[r] - 1]).max() for r in range(num)]
    for step in range(ids_RT.shape[1] - max(ends)):
        found = decoder.feed(range(num), [ids_T[end + step : end + step + 1] for ids_T, end in zip(ids_RT, ends)])
        worst += [np.abs(found[r] - logits[r][ends[r] + step]).max() for r in range(num)]
    return [float(number) for number in worst]


@pytest.mark.parametrize("groups", [1, 2, 4])
@MAKERS
def test_logits_are_those_of_the_module(kind: str, groups: int, make: Any) -> None:
    model = network(kind, num_key_value_heads=groups)
    assert lean.fits(model)
    # 88 places are more than a slot begins with.
    found = differences(make(model, 3, torch.float32), model, tokens(3, 88))
    assert max(found) < 2e-5 * np.abs(expected(model, tokens(3, 40)[0])).max()


def test_bf16_stays_as_near_as_bf16_can(kind: str) -> None:
    model = network(kind)
    found = differences(lean_decoder(model, 3, torch.bfloat16), model, tokens(3, 40))
    scale = expected(model, tokens(3, 40)[0]).std()
    assert 0 < max(found) < 0.15 * scale
    assert np.mean(found) < 0.05 * scale


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("width", "num"), [(48, 192), (1536, 384)])
def test_a_product_of_a_row_does_not_depend_on_the_others(width: int, num: int, dtype: torch.dtype) -> None:
    """With AMX one row of 48 and 33 rows of 1,536 were summed in orders of their own."""
    rng = torch.Generator().manual_seed(0)
    product = lean._product([torch.randn(num, width, generator=rng)], dtype)
    x_RC = torch.randn(256, width, generator=rng).to(dtype)
    together = product(x_RC)
    for rows in (1, 2, 7, 33, 100):
        assert torch.equal(torch.cat([product(part) for part in x_RC.split(rows)]), together)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_do_not_depend_on_the_batch_to_the_bit(kind: str, dtype: torch.dtype) -> None:
    model = network(kind)
    ids_RT = tokens(21, 60)
    together, alone = lean_decoder(model, 21, dtype), lean_decoder(model, 1, dtype)
    first = together.feed(range(21), [ids_T[: 3 + 2 * number] for number, ids_T in enumerate(ids_RT)])
    second = together.feed(range(21), [ids_T[-1:] for ids_T in ids_RT])
    for number, ids_T in enumerate(ids_RT):
        alone.clear(0)
        assert np.array_equal(alone.feed([0], [ids_T[: 3 + 2 * number]])[0], first[number])
        assert np.array_equal(alone.feed([0], [ids_T[-1:]])[0], second[number])


def test_long_prompts_go_through_in_parts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(kind)
    ids_RT = tokens(3, 80)
    whole = lean_decoder(model, 3, torch.float32).feed(range(3), list(ids_RT))
    monkeypatch.setattr(lean, "_MOST_TOKENS", 37)
    parts = lean_decoder(model, 3, torch.float32).feed(range(3), list(ids_RT))
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(parts[1], expected(model, ids_RT[1])[-1], rtol=1e-4, atol=1e-4)


@MAKERS
def test_a_cleared_slot_knows_nothing_of_the_text_before(kind: str, make: Any) -> None:
    model = network(kind)
    decoder = make(model, 2, torch.float32)
    first, second = tokens(2, 50)
    decoder.feed([1, 0], [first, second])
    decoder.clear(1)
    np.testing.assert_allclose(decoder.feed([1], [second[:9]])[0], expected(model, second[:9])[-1], atol=1e-4)
    np.testing.assert_allclose(decoder.feed([0], [first[:1]])[0], expected(model, [*second, first[0]])[-1], atol=1e-4)


def test_weights_are_not_changed_and_training_goes_on(kind: str) -> None:
    model = network(kind).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for decoder in (lean_decoder(model, 1, torch.bfloat16), plain_decoder(model, 1, torch.float32)):
        decoder.feed([0], [tokens(1, 9)[0]])
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("llama", {}),
        ("qwen3", {"attention_bias": True}),
        ("qwen3", {"hidden_act": "gelu"}),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
        ("nanochat", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}),
    ],
)
def test_what_lean_does_not_know_goes_through_the_module(name: str, changes: dict[str, Any]) -> None:
    model = network(name, **changes)
    assert not lean.fits(model)
    decoder = decoding.prepared(model, torch.float32)(3)
    assert isinstance(decoder, Plain)
    if not changes.get("use_sliding_window"):
        assert max(differences(decoder, model, tokens(3, 40))) < 1e-4


def test_another_type_of_numbers_leaves_the_network_as_it_is() -> None:
    model = network("llama")
    found = differences(decoding.prepared(model, torch.bfloat16)(3), model, tokens(3, 40))
    assert model.dtype == torch.float32
    assert 0 < np.mean(found) < 0.15 * expected(model, tokens(3, 40)[0]).std()


def test_the_lean_one_is_taken_where_it_fits(kind: str) -> None:
    assert isinstance(decoding.prepared(network(kind))(2), Lean)
