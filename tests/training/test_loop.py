from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from doubles import SHAPE, Pair, TinyLoader, TinyModality, tiny_assembly, tiny_recipe
from torch import Tensor, nn

from motherlode.errors import DivergedError, TrainingError
from motherlode.families import Turn
from motherlode.modality import SampleSpec
from motherlode.training.loop import Engine, Feed, Setting, split

pytestmark = pytest.mark.usefixtures("tiny")


def engine(
    tmp_path: Path, *, setting: Setting | None = None, model: dict[str, Any] | None = None, **train: Any
) -> Engine:
    recipe = tiny_recipe(tmp_path, model=model, **train)
    return tiny_assembly(recipe).engine(setting or Setting())


def weights(engine: Engine) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in engine.family.state_dict().items()}


def assert_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


def test_every_turn_draws_a_batch_and_position_counts(tmp_path: Path) -> None:
    trained = engine(tmp_path)
    for _ in range(3):
        trained.step(1.0)
    assert trained.position.as_dict() == {"step": 3, "draws": 6, "samples": 24}


def test_turns_may_change_from_step_to_step(tmp_path: Path) -> None:
    trained = engine(tmp_path, model={"family": "pair", "every": 3})
    logged = [set(trained.step(1.0)) for _ in range(4)]
    assert trained.position.draws == 4 + 2
    assert "generator/loss" in logged[3]
    assert "generator/loss" not in logged[1]


def test_samples_count_the_busiest_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = engine(tmp_path)
    turns = Pair.turns

    def five_critic_turns(family: Pair, step: int) -> list[Turn]:
        critic, generator = turns(family, step)
        return [critic] * 5 + [generator]

    monkeypatch.setattr(Pair, "turns", five_critic_turns)
    trained.step(1.0)
    assert trained.position.as_dict() == {"step": 1, "draws": 6, "samples": 40}


def test_only_the_turns_module_gets_gradients(tmp_path: Path) -> None:
    trained = engine(tmp_path)
    family = trained.family
    assert isinstance(family, Pair)
    critic_turn, generator_turn = family.turns(0)
    seen = []

    def look() -> None:
        seen.append({name for name, p in family.named_parameters() if p.grad is not None})
        for parameter in family.parameters():
            parameter.grad = None

    for turn in (critic_turn, generator_turn):
        trained._take(Turn(turn.name, turn.module, turn.loss, look), 1.0, False, {})
    assert seen[0] == {name for name, _ in family.named_parameters() if name.startswith("critic")}
    assert seen[1] == {name for name, _ in family.named_parameters() if name.startswith("generator")}


def test_frozen_parameters_never_move(tmp_path: Path) -> None:
    trained = engine(tmp_path)
    assert isinstance(trained.family, Pair)
    trained.family.critic[1].weight.requires_grad_(False)  # type: ignore[union-attr]
    fresh = Engine(trained.family, trained.feed, Setting(), trained.train, seed=0)
    before = weights(fresh)
    fresh.step(1.0)
    after = weights(fresh)
    assert torch.equal(before["critic.1.weight"], after["critic.1.weight"])
    assert not torch.equal(before["critic.4.weight"], after["critic.4.weight"])
    assert not any("critic.1.weight" in name for name in fresh.optimizer_state())


@pytest.mark.parametrize("accumulate", [2, 8])
def test_accumulation_equals_the_full_batch(tmp_path: Path, accumulate: int) -> None:
    options = {"optimizer": {"name": "sgd", "lr": 0.1}, "clip": 0.5}
    whole, parts = engine(tmp_path, **options), engine(tmp_path, accumulate=accumulate, **options)
    for _ in range(5):
        full, accumulated = whole.step(1.0), parts.step(1.0)
    for name, value in full.items():
        torch.testing.assert_close(accumulated[name], value, rtol=1e-5, atol=1e-6)
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], value, rtol=1e-5, atol=1e-6)


def test_an_uneven_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"multiple of ranks x train.accumulate(.|\n)*use batch: 9"):
        engine(tmp_path, accumulate=3)


def test_split_keeps_order_and_labels() -> None:
    feed = Feed(TinyLoader(), TinyModality(), Setting(), augment=(), seed=0, rank=0)  # type: ignore[arg-type]
    batch = feed.batch(0)
    parts = split(batch, 4)
    assert torch.equal(torch.cat([part.samples for part in parts]), batch.samples)
    assert torch.equal(torch.cat([part.rows for part in parts]), batch.rows)
    assert batch.labels is not None
    assert torch.equal(torch.cat([part.labels for part in parts if part.labels is not None]), batch.labels)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_nothing_moves_once_a_number_is_not_finite(tmp_path: Path, what: str) -> None:
    trained = engine(tmp_path, model={"family": "pair", "explode_at": 2, "explode": what})
    trained.step(1.0)
    trained.step(1.0)
    before, states = weights(trained), trained.optimizer_state()
    states = {name: value.clone() for name, value in states.items()}
    with pytest.raises(
        DivergedError, match=rf"the {what} of every turn must be finite(.|\n)*critic, step 2(.|\n)*lear"
    ):
        trained.step(1.0)
    assert_equal(weights(trained), before)
    assert_equal(trained.optimizer_state(), states)
    assert trained.position.step == 2


def test_clipping_scales_to_the_limit(tmp_path: Path) -> None:
    options = {"optimizer": {"name": "sgd", "lr": 1.0, "momentum": 0.0}}
    free, clipped = engine(tmp_path, **options), engine(tmp_path, clip=1e-3, **options)
    start = weights(free)
    norm = float(free.step(1.0)["critic/gradient_norm"])
    assert float(clipped.step(1.0)["critic/gradient_norm"]) == pytest.approx(norm)
    for name in ("critic.1.weight", "critic.4.bias"):
        moved, held = weights(free)[name] - start[name], weights(clipped)[name] - start[name]
        torch.testing.assert_close(held, moved * (1e-3 / norm), rtol=1e-3, atol=1e-8)


def test_turns_take_their_own_optimiser(tmp_path: Path) -> None:
    trained = engine(tmp_path, optimizers={"generator": {"name": "sgd", "lr": 1e-9}})
    before = weights(trained)
    trained.step(1.0)
    assert (weights(trained)["generator.0.weight"] - before["generator.0.weight"]).abs().max() < 1e-8
    assert (weights(trained)["critic.1.weight"] - before["critic.1.weight"]).abs().max() > 1e-5
    assert "generator/generator.0.weight/momentum_buffer" in trained.optimizer_state()


@pytest.mark.parametrize("model", [{}, {"dropout": 0.5}, {"every": 3}])
def test_going_on_from_a_position_equals_never_stopping(tmp_path: Path, model: dict[str, Any]) -> None:
    options: dict[str, Any] = {"model": {"family": "pair", **model}}
    straight, first, second = (engine(tmp_path, **options) for _ in range(3))
    for _ in range(7):
        losses = straight.step(0.5)
    for _ in range(4):
        first.step(0.5)
    torch.rand(99)  # whatever the ambient generator does in between
    second.family.load_state_dict(first.family.state_dict())
    second.load_optimizer_state(first.optimizer_state())
    second.position = first.position
    for _ in range(3):
        again = second.step(0.5)
    assert_equal(again, losses)
    assert_equal(weights(second), weights(straight))
    assert_equal(second.optimizer_state(), straight.optimizer_state())


def test_state_of_a_turn_not_yet_taken_is_kept(tmp_path: Path) -> None:
    first = engine(tmp_path)
    first.step(1.0)
    second = engine(tmp_path)
    second.load_optimizer_state(first.optimizer_state())
    assert_equal(second.optimizer_state(), first.optimizer_state())


def test_augmentation_depends_on_the_draw_alone() -> None:
    def feed(policy: tuple[str, ...]) -> Feed:
        return Feed(TinyLoader(), TinyModality(), Setting(), augment=policy, seed=0, rank=0)  # type: ignore[arg-type]

    plain, flipped, again = feed(()).batch(3), feed(("flip",)).batch(3), feed(("flip",)).batch(3)
    assert torch.equal(flipped.samples, again.samples)
    changed = (flipped.samples != plain.samples).flatten(1).any(1)
    assert 0 < int(changed.sum()) < len(changed)
    assert torch.equal(flipped.samples[changed], plain.samples[changed].flip(-1))


class SlowLoader(TinyLoader):
    def __init__(self) -> None:
        super().__init__()
        self.threads: set[str] = set()

    def draw(self, index: int) -> Any:
        time.sleep(2e-3)
        self.threads.add(threading.current_thread().name)
        return super().draw(index)


def test_slow_draws_are_fetched_ahead_and_are_the_same() -> None:
    slow, fast = SlowLoader(), TinyLoader()
    ahead = Feed(slow, TinyModality(), Setting(), augment=(), seed=0, rank=0)  # type: ignore[arg-type]
    direct = Feed(fast, TinyModality(), Setting(), augment=(), seed=0, rank=0)  # type: ignore[arg-type]
    for index in (0, 1, 2, 3, 4, 9, 10, 2):
        assert torch.equal(ahead.batch(index).samples, direct.batch(index).samples)
    ahead.close()
    assert any(name.startswith("draw") for name in slow.threads)


def test_channels_last_places_weights_and_batches() -> None:
    class Net(Pair):
        pass

    setting = Setting(layout="channels_last")
    family = Net.build(Pair.Options(), SampleSpec("tiny", SHAPE, 3), 0)
    family.critic.append(nn.Conv2d(4, 4, 3))
    setting.place(family)
    convolution = family.critic[-1]
    assert isinstance(convolution, nn.Conv2d)
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)
    batch = Feed(TinyLoader(), TinyModality(), setting, augment=(), seed=0, rank=0).batch(0)  # type: ignore[arg-type]
    assert batch.samples.is_contiguous(memory_format=torch.channels_last)
    assert setting.arrange(torch.zeros(2, 3, 4, 4, 4)).is_contiguous(memory_format=torch.channels_last_3d)
    assert setting.arrange(torch.zeros(2, 3)).shape == (2, 3)


def test_bf16_autocast_keeps_float32_weights(tmp_path: Path) -> None:
    plain, low = engine(tmp_path), engine(tmp_path, setting=Setting(precision="bf16"))
    for _ in range(4):
        a, b = plain.step(1.0), low.step(1.0)
    assert all(parameter.dtype == torch.float32 for parameter in low.family.parameters())
    assert float(b["critic/loss"]) == pytest.approx(float(a["critic/loss"]), rel=0.02)
    assert float(b["critic/loss"]) != float(a["critic/loss"])
