from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from motherlode.errors import TrainingError
from motherlode.randomness import torch_generator
from motherlode.recipe import OptimizerOptions
from motherlode.training.optimizers import TurnOptimizer, apart, orthogonalise, roles_of, together

SHAPES = {"dense": (6, 5), "bias": (6,), "conv": (4, 3, 2, 2)}


def parameters() -> dict[str, nn.Parameter]:
    return {
        name: nn.Parameter(torch.randn(shape, generator=torch_generator(0, name))) for name, shape in SHAPES.items()
    }


def gradients(step: int) -> dict[str, Tensor]:
    return {name: torch.randn(shape, generator=torch_generator(1, name, step)) for name, shape in SHAPES.items()}


def run(optimizer: TurnOptimizer, first: int, last: int) -> dict[str, Tensor]:
    for step in range(first, last):
        for name, gradient in gradients(step).items():
            optimizer.named[name].grad = gradient.clone()
        optimizer.step(1.0 / (step + 1))
    return {name: parameter.detach().clone() for name, parameter in optimizer.named.items()}


ORACLES: dict[str, Any] = {
    "adam": lambda p, o: torch.optim.Adam(p, o.lr, o.betas, o.eps, o.weight_decay),
    "adamw": lambda p, o: torch.optim.AdamW(p, o.lr, o.betas, o.eps, o.weight_decay),
    "sgd": lambda p, o: torch.optim.SGD(p, o.lr, o.momentum, weight_decay=o.weight_decay),
    "rmsprop": lambda p, o: torch.optim.RMSprop(p, o.lr, 0.99, o.eps, o.weight_decay),
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_moves_as_torch_does(name: str, weight_decay: float) -> None:
    options = OptimizerOptions.model_validate(
        {"name": name, "lr": 0.05, "betas": (0.6, 0.9), "weight_decay": weight_decay}
    )
    ours = run(TurnOptimizer(parameters(), options), 0, 6)
    theirs = parameters()
    oracle = ORACLES[name](list(theirs.values()), options)
    for step in range(6):
        for key, gradient in gradients(step).items():
            theirs[key].grad = gradient
        oracle.param_groups[0]["lr"] = 0.05 / (step + 1)
        oracle.step()
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "every"), [*((name, 1) for name in ORACLES), ("muon", 1), ("muon", 2), ("muon", 4)])
def test_state_survives_a_round_trip_to_the_bit(name: str, every: int) -> None:
    options = OptimizerOptions.model_validate({"name": name, "lr": 0.05, "every": every})
    straight = run(TurnOptimizer(parameters(), options), 0, 6)
    first = TurnOptimizer(parameters(), options)
    halfway = run(first, 0, 3)
    second = TurnOptimizer({key: nn.Parameter(value) for key, value in halfway.items()}, options)
    second.load(first.state())
    for key, value in run(second, 3, 6).items():
        assert torch.equal(value, straight[key]), key


def test_channels_last_weights_move_alike_and_keep_their_layout() -> None:
    options = OptimizerOptions(name="adam", lr=0.05)
    plain = run(TurnOptimizer(parameters(), options), 0, 4)
    turned = parameters()
    turned["conv"].data = turned["conv"].data.contiguous(memory_format=torch.channels_last)
    optimizer = TurnOptimizer(turned, options)
    for step in range(4):
        for name, gradient in gradients(step).items():
            # as autograd leaves it: in the parameter's own layout
            turned[name].grad = torch.empty_like(turned[name]).copy_(gradient)
        optimizer.step(1.0 / (step + 1))
    assert turned["conv"].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(turned["conv"].detach(), plain["conv"])
    second = TurnOptimizer(turned, options)
    second.load({key: value.contiguous() for key, value in optimizer.state().items()})
    for key, value in second.state().items():
        assert torch.equal(value, optimizer.state()[key])
        assert value.stride() == optimizer.state()[key].stride()


def test_parameters_without_gradient_stay() -> None:
    optimizer = TurnOptimizer(parameters(), OptimizerOptions(name="adam", lr=0.1))
    before = optimizer.named["bias"].detach().clone()
    optimizer.named["dense"].grad = torch.ones(6, 5)
    optimizer.step(1.0)
    assert torch.equal(optimizer.named["bias"].detach(), before)
    assert float(optimizer.state()["bias/step"]) == 0
    assert float(optimizer.state()["dense/step"]) == 1


def test_refuses_a_state_that_is_not_its_own() -> None:
    adam = TurnOptimizer(parameters(), OptimizerOptions(name="adam"))
    sgd = TurnOptimizer(parameters(), OptimizerOptions(name="sgd"))
    with pytest.raises(TrainingError, match="must belong to this model"):
        sgd.load(adam.state())


@pytest.mark.parametrize("shape", [(64, 64), (128, 512), (512, 32), (3, 48)])
def test_orthogonalise_against_svd(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch_generator(3, "matrix"))
    u, values, vt = torch.linalg.svd(matrix, full_matrices=False)
    result = orthogonalise(matrix)
    inner = u.T @ result @ vt.T
    # Singular vectors are kept: in the basis of the SVD the result is diagonal.
    off = inner - torch.diag(inner.diagonal())
    assert off.abs().max() < 1e-3
    # Singular values within the interval the polynomials were fitted to end within 8.5 % of 1, smaller ones below.
    fitted = values > 5.1e-3 * torch.linalg.vector_norm(values)
    assert (inner.diagonal()[fitted] - 1).abs().max() < 0.085
    assert inner.diagonal().max() < 1.085


def test_orthogonalise_of_zero_is_zero() -> None:
    assert torch.equal(orthogonalise(torch.zeros(4, 8)), torch.zeros(4, 8))


def test_muon_update_has_the_size_its_scale_rule_states() -> None:
    options = OptimizerOptions(name="muon", lr=0.1, momentum=0.0)
    weights = {"conv": nn.Parameter(torch.zeros(32, 16, 3, 3))}
    weights["conv"].grad = torch.randn(32, 16, 3, 3, generator=torch_generator(0, "gradient"))
    u, _, vt = torch.linalg.svd(weights["conv"].grad.reshape(32, -1), full_matrices=False)
    TurnOptimizer(weights, options).step(1.0)
    update = weights["conv"].detach().reshape(32, -1)
    assert update.square().mean().sqrt() == pytest.approx(0.1 * 0.2, rel=0.13)
    exact = -0.1 * 0.2 * math.sqrt(144) * (u @ vt)
    assert (update - exact).norm() < 0.13 * exact.norm()


def test_muon_leaves_vectors_and_embeddings_to_adamw() -> None:
    model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 3))
    optimizer = TurnOptimizer(dict(model.named_parameters()), OptimizerOptions(name="muon", lr=0.1), roles_of(model))
    assert set(optimizer.state()) == {
        "0.weight/exp_avg",
        "0.weight/exp_avg_sq",
        "0.weight/step",
        "1.weight/momentum_buffer",
        "1.bias/exp_avg",
        "1.bias/exp_avg_sq",
        "1.bias/step",
    }


def test_muon_learns_a_linear_map_faster_than_sgd() -> None:
    target = torch.randn(8, 8, generator=torch_generator(0, "target"))
    inputs = torch.randn(256, 8, generator=torch_generator(0, "inputs")) * torch.logspace(-1.5, 0.5, 8)

    def loss_after(name: str, lr: float) -> float:
        weight = nn.Parameter(torch.zeros(8, 8))
        optimizer = TurnOptimizer(
            {"w": weight}, OptimizerOptions.model_validate({"name": name, "lr": lr, "momentum": 0.9})
        )
        for step in range(60):
            weight.grad = None
            loss = (inputs @ (weight - target)).square().mean()
            loss.backward()
            optimizer.step(1.0 - step / 60)
        return float((inputs @ (weight.detach() - target)).square().mean())

    assert loss_after("muon", 0.3) < loss_after("sgd", 0.05)


class Talker(nn.Module):
    """A table, a matrix, a gain and a head, told apart as transformers' models tell them."""

    def __init__(self, *, tied: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.gain = nn.Parameter(torch.ones(4))
        self.matrix = nn.Linear(4, 4, bias=False)
        self.head = nn.Linear(4, 7, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def get_output_embeddings(self) -> nn.Module:
        return self.head


def test_roles_come_from_the_modules() -> None:
    assert roles_of(Talker()) == {"table.weight": "embedding", "head.weight": "head"}
    assert roles_of(nn.Sequential(Talker(tied=True))) == {"0.table.weight": "embedding"}
    assert roles_of(nn.Linear(2, 2)) == {}


def moved(options: OptimizerOptions) -> dict[str, float]:
    """How far each parameter moves in one step from gradients of one, in learning rates: AdamW's first step is 1."""
    model = Talker()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    TurnOptimizer(dict(model.named_parameters()), options, roles_of(model)).step(1.0)
    return {
        name: float((before[name] - parameter.detach()).abs().max()) / options.lr
        for name, parameter in model.named_parameters()
    }


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_each_role_has_its_rate(name: str) -> None:
    rates = {"embedding": 10.0, "head": 0.5, "vector": 0.0}
    options = OptimizerOptions.model_validate({"name": name, "lr": 1e-3, "rates": rates})
    found = moved(options)
    assert found["table.weight"] == pytest.approx(10.0, rel=1e-3)
    assert found["head.weight"] == pytest.approx(0.5, rel=1e-3)
    assert found["gain"] == 0.0
    # A constant 4 x 4 matrix of rank one, made orthogonal, has entries of 1/4: times 0.2 sqrt(4) for Muon.
    assert found["matrix.weight"] == pytest.approx(1.0 if name == "adamw" else 0.1, rel=0.13)


def test_rates_of_tables_and_heads_follow_the_width() -> None:
    found = moved(OptimizerOptions(name="muon", lr=1e-3, rates={"head": 0.5}, width=64))
    assert found["table.weight"] == pytest.approx(4.0, rel=1e-3)
    assert found["head.weight"] == pytest.approx(2.0, rel=1e-3)
    assert found["gain"] == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize(("shape", "norm"), [((8, 32), 1.0), ((32, 8), 2.0), ((16, 16), 1.0)])
def test_a_spectral_update_has_the_norm_its_rule_states(shape: tuple[int, int], norm: float) -> None:
    weight = nn.Parameter(torch.zeros(shape))
    weight.grad = torch.randn(shape, generator=torch_generator(0, "gradient"))
    TurnOptimizer({"w": weight}, OptimizerOptions(name="muon", lr=0.1, momentum=0.0, scale="spectral")).step(1.0)
    assert float(torch.linalg.matrix_norm(weight.detach(), 2)) == pytest.approx(0.1 * norm, rel=0.15)


@pytest.mark.parametrize("shape", [(5, 24, 40), (3, 40, 24)])
def test_several_matrices_at_once_are_each_by_itself(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch_generator(0, "stack"))
    matrices[1] *= 1e3
    alone = torch.stack([orthogonalise(matrix) for matrix in matrices])
    torch.testing.assert_close(orthogonalise(matrices), alone, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("shape", [(40, 5, 6), (20, 64, 64), (3, 96, 384), (3, 384, 96)])
def test_rounding_to_bf16_sends_no_singular_value_away(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch_generator(0, "stack"))
    rough = orthogonalise(matrices, torch.bfloat16)
    assert rough.dtype == torch.float32
    values = torch.linalg.svdvals(rough)
    assert float(values.max()) < 1.2
    assert float((values.median(1).values - 1).abs().max()) < 0.2
    exact = orthogonalise(matrices)
    assert float((rough - exact).norm() / exact.norm()) < 0.2


def test_muon_in_bf16_moves_nearly_as_in_float32() -> None:
    ends = []
    for precision in (torch.float32, torch.bfloat16):
        optimizer = TurnOptimizer(parameters(), OptimizerOptions(name="muon", lr=0.05), precision=precision)
        ends.append(run(optimizer, 0, 6))
    start = parameters()
    for name, exact in ends[0].items():
        change = exact - start[name].detach()
        assert float((ends[1][name] - exact).norm() / change.norm()) < 0.2


def test_small_singular_values_are_lifted_and_none_is_sent_away() -> None:
    values = torch.logspace(-5, 0, 48)
    result = orthogonalise(torch.diag(values)).diagonal()
    norm = 1.02 * torch.linalg.vector_norm(values)
    assert result.max() < 1.085
    assert (result[values > 5e-3 * norm] > 0.915).all()
    lifted = result[values < 1e-4 * norm] / (values[values < 1e-4 * norm] / norm)
    assert lifted.min() > 200


@pytest.mark.parametrize("block", [(4, 6), (2, 6), (4, 3), (2, 2)])
def test_blocks_come_together_again(block: tuple[int, int]) -> None:
    matrix = torch.arange(24.0).view(4, 6)
    blocks = apart(matrix, block)
    assert blocks.shape == (24 // (block[0] * block[1]), *block)
    assert torch.equal(blocks[0], matrix[: block[0], : block[1]])
    assert torch.equal(blocks[-1], matrix[-block[0] :, -block[1] :])
    assert torch.equal(together(blocks, 4, 6), matrix)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("shape", "block"), [((24, 40), (8, 40)), ((40, 24), (40, 8))])
def test_each_head_moves_as_if_alone(shape: tuple[int, int], block: tuple[int, int], precision: torch.dtype) -> None:
    options = OptimizerOptions(name="muon", lr=0.1, scale="spectral")
    gradient = torch.randn(shape, generator=torch_generator(0, "gradient"))

    def move(gradients: list[Tensor], blocks: dict[str, tuple[int, int]]) -> list[Tensor]:
        weights = {str(index): nn.Parameter(torch.zeros_like(part)) for index, part in enumerate(gradients)}
        for weight, part in zip(weights.values(), gradients):
            weight.grad = part
        TurnOptimizer(weights, options, {}, precision, blocks).step(1.0)
        return [weight.detach() for weight in weights.values()]

    (whole,) = move([gradient], {"0": block})
    alone = torch.stack(move(list(apart(gradient, block)), {}))
    # The step is sized by the whole weight: a head of columns alone would be tall, and move further.
    factor = (max(1.0, shape[0] / shape[1]) / max(1.0, block[0] / block[1])) ** 0.5
    torch.testing.assert_close(apart(whole, block), alone * factor, rtol=2e-2, atol=1e-3)


def test_weights_take_turns_and_go_as_many_times_as_far() -> None:
    options = OptimizerOptions(name="muon", lr=0.1, momentum=0.5, every=2)
    weights = {name: nn.Parameter(torch.zeros(6, 5)) for name in ("first", "second")}
    optimizer = TurnOptimizer(weights, options)
    gradients = [torch.randn(6, 5, generator=torch_generator(0, "gradient", step)) for step in range(2)]
    moved = []
    for gradient in gradients:
        for weight in weights.values():
            weight.grad = gradient.clone()
        optimizer.step(1.0)
        moved.append([bool(weight.any()) for weight in weights.values()])
    assert moved == [[False, True], [True, True]]
    # Nesterov's momentum over both gradients, twice as far.
    once = nn.Parameter(torch.zeros(6, 5))
    once.grad = (gradients[1] + 0.5 * (gradients[1] + 0.5 * gradients[0])) / 1.5
    TurnOptimizer({"w": once}, OptimizerOptions(name="muon", lr=0.2, momentum=0.5)).step(1.0)
    torch.testing.assert_close(weights["first"].detach(), once.detach(), rtol=1e-4, atol=1e-6)


def test_weight_decay_takes_the_same_share_of_every_weight_whatever_its_rate() -> None:
    model = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 4))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    options = OptimizerOptions(name="muon", lr=0.1, weight_decay=0.2, rates={"embedding": 10.0, "vector": 0.1})
    TurnOptimizer(dict(model.named_parameters()), options, roles_of(model)).step(0.5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, before[name] * (1 - 0.5 * 0.1 * 0.2))


def test_a_rate_of_nothing_moves_nothing() -> None:
    weight = nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    TurnOptimizer({"w": weight}, OptimizerOptions(name="adamw", weight_decay=0.2, rates={"vector": 0.0})).step(1.0)
    torch.testing.assert_close(weight.detach(), torch.ones(3))
