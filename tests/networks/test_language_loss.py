from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from motherlode.networks.language.loss import chunked_cross_entropy
from motherlode.randomness import torch_generator

NUM, WIDTH, VOCABULARY = 37, 16, 50


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    rng = torch_generator(0, "loss")
    hidden = torch.randn(NUM, WIDTH, generator=rng)
    head = torch.randn(VOCABULARY, WIDTH, generator=rng)
    bias = torch.randn(VOCABULARY, generator=rng)
    targets = torch.randint(VOCABULARY, (NUM,), generator=rng)
    weights = torch.rand(NUM, generator=rng) * (torch.rand(NUM, generator=rng) < 0.8)
    return hidden, head, bias, targets, weights


def oracle(
    hidden: Tensor, head: Tensor, bias: Tensor | None, targets: Tensor, weights: Tensor, softcap: float | None, z: float
) -> Tensor:
    logits = functional.linear(hidden, head, bias)
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    nll = functional.cross_entropy(logits, targets, reduction="none")
    return (weights * (nll + z * logits.logsumexp(1).square())).sum()


@pytest.mark.parametrize("softcap", [None, 3.0])
@pytest.mark.parametrize("z_weight", [0.0, 1e-2])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("chunk", [5, 37, 512])
def test_values_and_gradients_are_those_of_the_whole(
    softcap: float | None, z_weight: float, with_bias: bool, chunk: int
) -> None:
    leaves = [tensor.double().requires_grad_() for tensor in inputs()[:3]]
    _, _, _, targets, weights = inputs()
    weights = weights.double()
    bias = leaves[2] if with_bias else None
    wanted = leaves if with_bias else leaves[:2]
    expected = oracle(leaves[0], leaves[1], bias, targets, weights, softcap, z_weight)
    expected_grads = torch.autograd.grad(3.0 * expected, wanted)
    floats = [tensor.detach().float().requires_grad_() for tensor in leaves]
    loss, surprise = chunked_cross_entropy(
        floats[0],
        floats[1],
        targets,
        weights.float(),
        bias_V=floats[2] if with_bias else None,
        softcap=softcap,
        z_weight=z_weight,
        chunk=chunk,
    )
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert not surprise.requires_grad
    plain = oracle(leaves[0], leaves[1], bias, targets, torch.eye(NUM)[3].double(), softcap, 0.0)
    assert float(surprise[3]) == pytest.approx(float(plain.detach()), rel=1e-5)
    for ours, theirs in zip(torch.autograd.grad(3.0 * loss, floats[: len(wanted)]), expected_grads):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-5)


def test_a_token_of_weight_zero_is_ignored() -> None:
    hidden, head, _, targets, _ = inputs()
    weights = torch.ones(NUM) / (NUM - 10)
    weights[:10] = 0.0
    hidden.requires_grad_()
    loss, _ = chunked_cross_entropy(hidden, head, targets, weights, chunk=8)
    ignored = targets.clone()
    ignored[:10] = -100
    expected = functional.cross_entropy(hidden @ head.T, ignored, ignore_index=-100)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, hidden)
    assert not gradient[:10].any()
    assert gradient[10:].any(1).all()


def test_without_gradients_the_loss_is_the_same() -> None:
    hidden, head, bias, targets, weights = inputs()
    with_grad, _ = chunked_cross_entropy(hidden.requires_grad_(), head, targets, weights, bias_V=bias, softcap=5.0)
    with torch.no_grad():
        without, _ = chunked_cross_entropy(hidden, head, targets, weights, bias_V=bias, softcap=5.0)
    assert torch.equal(with_grad.detach(), without)


def test_bf16_gradients_are_near_those_of_float32() -> None:
    hidden, head, _, targets, weights = inputs()
    leaves = [hidden.requires_grad_(), head.requires_grad_()]
    exact, _ = chunked_cross_entropy(leaves[0], leaves[1], targets, weights, softcap=15.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, _ = chunked_cross_entropy(leaves[0], leaves[1], targets, weights, softcap=15.0)
    assert float(rough.detach()) == pytest.approx(float(exact.detach()), rel=2e-2)
    for ours, theirs in zip(torch.autograd.grad(rough, leaves), torch.autograd.grad(exact, leaves)):
        assert ours.dtype == torch.float32
        assert float((ours - theirs).norm() / theirs.norm()) < 0.03


def test_extreme_logits_stay_finite() -> None:
    hidden, head, _, targets, weights = inputs()
    hidden = (hidden * 1e4).requires_grad_()
    loss, _ = chunked_cross_entropy(hidden, head, targets, weights, z_weight=1e-4)
    (gradient,) = torch.autograd.grad(loss, hidden)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()
