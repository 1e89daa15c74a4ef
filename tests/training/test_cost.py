from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from doubles import SHAPE, Pair, PairOptions
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from motherlode.errors import RecipeError
from motherlode.families import Turn
from motherlode.modality import SampleSpec
from motherlode.recipe import BudgetOptions, PriceOptions
from motherlode.training.cost import (
    FlopCounter,
    FlopTable,
    bill,
    budget_steps,
    count_flops,
    peak_memory_bytes,
    samples_per_step,
)

SPEC = SampleSpec("tiny", SHAPE, 3)
SIZE, WIDTH = math.prod(SHAPE), 8


def build(**options: Any) -> Pair:
    return Pair.build(PairOptions(**options), SPEC, 0)


def test_a_linear_gan_against_its_closed_form() -> None:
    # A product of (B, n) and (n, m) is 2Bnm operations; so is each of its two gradients, the input's only where needed.
    generator, critic = [(4, WIDTH), (WIDTH, SIZE)], [(SIZE, WIDTH), (WIDTH, 1)]

    def products(layers: list[tuple[int, int]], times: int) -> int:
        return times * 2 * sum(n * m for n, m in layers)

    first = 2 * critic[0][0] * critic[0][1]
    # Critic turn: fake made; real and fake judged; weight gradients of both; input gradients but for the first layer.
    critic_turn = products(generator, 1) + products(critic, 2 * 3) - 2 * first
    # Generator turn: made, judged; gradients of the judge's inputs alone; weights' and inputs' of the generator.
    generator_turn = products(generator, 3) - 2 * 4 * WIDTH + products(critic, 2)
    batch = 40
    table = count_flops(build, SPEC, batch=batch, parts=1)
    assert table.per_step == (batch * (critic_turn + generator_turn),)
    assert count_flops(build, SPEC, batch=batch, parts=4).per_step == table.per_step


def test_steps_that_differ_are_counted_over_sixteen() -> None:
    table = count_flops(lambda: build(every=4), SPEC, batch=8, parts=1)
    assert len(table.per_step) == 16
    assert table.per_step[0] == table.per_step[4] > table.per_step[1] == table.per_step[2]
    assert table.until(0) == 0
    assert table.until(5) == sum(table.per_step[:5])
    assert table.until(35) == 2 * sum(table.per_step) + sum(table.per_step[:3])
    assert table.mean == sum(table.per_step) / 16


def test_counter_agrees_with_torchs_own() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 4, 4, 2, 1))

    def run() -> None:
        net(torch.ones(2, 3, 8, 8)).square().mean().backward()
        torch.nn.functional.scaled_dot_product_attention(*torch.ones(3, 1, 2, 4, 8).unbind())

    with FlopCounter() as ours:
        run()
    with FlopCounterMode(display=False) as theirs:
        run()
    assert ours.total == theirs.get_total_flops() > 0


def test_constant_costs_do_not_grow_with_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A term without a batch dimension (weights alone) is paid once a part."""
    turns = Pair.turns

    def with_weight_penalty(family: Pair, step: int) -> Sequence[Turn]:
        def loss(batch: Any, rng: torch.Generator) -> Any:
            weight = family.critic[1].weight
            return (weight @ weight.T).sum(), {}

        return [*turns(family, step), Turn("critic", family.critic, loss)]

    plain = count_flops(build, SPEC, batch=10, parts=1).mean
    monkeypatch.setattr(Pair, "turns", with_weight_penalty)
    extra = 3 * 2 * WIDTH * SIZE * WIDTH  # the product and its two gradients
    assert count_flops(build, SPEC, batch=10, parts=1).mean == pytest.approx(plain + extra)
    assert count_flops(build, SPEC, batch=10, parts=5).mean == pytest.approx(plain + 5 * extra)


def test_samples_of_a_step_are_those_of_its_busiest_turn() -> None:
    assert samples_per_step(build(), 8) == 8


def test_budgets() -> None:
    prices = {"samples": 32.0, "flops": 1e6, "seconds": 0.5}
    assert budget_steps(BudgetOptions(steps=7), **prices) == 7
    assert budget_steps(BudgetOptions(samples=3200), **prices) == 100
    assert budget_steps(BudgetOptions(flops=5e7), **prices) == 50
    assert budget_steps(BudgetOptions(minutes=2), **prices) == 240
    assert budget_steps(BudgetOptions(samples=1), **prices) == 1
    with pytest.raises(RecipeError, match="budget in steps"):
        budget_steps(BudgetOptions(flops=5e7), samples=1, flops=0, seconds=1)


def test_bill() -> None:
    price = PriceOptions(currency="EUR", hour=3.0, watts=200, kwh=0.5)
    paid = bill(price, "cpu", 1, 7200)
    assert paid["kwh"] == pytest.approx(0.4)
    assert paid["money"] == pytest.approx(6.2)
    assert paid["gpu_hours"] == 0
    assert "recipe" in paid["kwh_assumption"]
    gpus = bill(PriceOptions(hour=10.0), "cuda:0", 4, 1800)
    assert gpus["gpu_hours"] == 2
    assert gpus["kwh"] == pytest.approx(4 * 0.35 * 0.5)
    assert "assumed 350 W a GPU" in gpus["kwh_assumption"]


def test_peak_memory_grows_with_what_is_held() -> None:
    before = peak_memory_bytes("cpu")
    held = bytearray(before + (64 << 20))
    held[::4096] = b"x" * len(held[::4096])
    assert peak_memory_bytes("cpu") > before + (32 << 20)


def test_table_of_one_step() -> None:
    assert FlopTable((5.0,)).until(3) == 15.0
