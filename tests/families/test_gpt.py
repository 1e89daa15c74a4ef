from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from motherlode.errors import RecipeError
from motherlode.families import Batch
from motherlode.families.gpt import FAMILY, Gpt, Options
from motherlode.families.gpt.model import _drawn
from motherlode.modality import SampleSpec
from motherlode.randomness import torch_generator
from motherlode.recipe import OptimizerOptions, TrainOptions, parse
from motherlode.tokenizer import TokenSpace
from motherlode.training import checkpoint
from motherlode.training.loop import Engine, Setting

LENGTH = 24
SPEC = SampleSpec("text", (LENGTH,), 0, TokenSpace(vocabulary=70, bos=0, pad=1, mask=2, folder="nowhere"))
TINY = {"width": 32, "depth": 2, "heads": 2}
ARCHITECTURES = ["nanochat", "qwen3"]


def tiny(**options: Any) -> Gpt:
    return Gpt.build(Options.model_validate({**TINY, **options}), SPEC, 0)


def batch(index: int = 0, rows: int = 4) -> Batch:
    """Windows of one sentence of 11 tokens, over and over, cut anywhere."""
    stream = torch.tensor([0, *range(3, 13)]).repeat(20)
    offsets = torch.randint(11, (rows,), generator=torch_generator(0, "windows", index))
    return Batch(torch.stack([stream[offset : offset + LENGTH] for offset in offsets]), None, torch.arange(rows))


class Windows:
    """Batches of the sentence."""

    def batch(self, index: int) -> Batch:
        return batch(index)

    def close(self) -> None:
        pass


def engine(family: Gpt, **train: Any) -> Engine:
    options = TrainOptions(batch=4, **train)
    return Engine(family, Windows(), Setting(), options, seed=0)  # type: ignore[arg-type]


def stir(family: Gpt) -> Gpt:
    rng = torch_generator(1, "stir")
    with torch.no_grad():
        for parameter in family.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng) * 0.1)
    return family


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_checkpoint_is_a_hugging_face_folder(architecture: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    family = stir(tiny(architecture=architecture))
    folder = checkpoint.save(tmp_path, 1, family.state_dict(), {}, {}, family.files())
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    assert theirs.dtype == torch.float32
    tokens = batch().samples[:, :11].contiguous()
    with torch.no_grad():
        expected = family.network(input_ids=tokens).logits
        torch.testing.assert_close(theirs(input_ids=tokens).logits, expected, rtol=1e-5, atol=1e-5)
    made = theirs.generate(tokens[:1, :4], max_new_tokens=3, do_sample=False)
    assert made.shape[1] <= 7
    again = tiny(architecture=architecture)
    checkpoint.load_model(again, checkpoint.read_model(folder), "step-1")
    with torch.no_grad():
        assert torch.equal(again.network(input_ids=tokens).logits, expected)
    started = Gpt.build(Options(start=str(folder)), SPEC, 3)
    assert torch.equal(started.heldout_loss(batch(), rng()), family.heldout_loss(batch(), rng()))


def rng() -> torch.Generator:
    return torch_generator(0, "test")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_muon_takes_the_heads_of_attention_apart(architecture: str) -> None:
    family = tiny(architecture=architecture)
    named = dict(family.named_parameters())
    blocks = family.blocks()
    assert set(blocks) <= set(named)
    assert len(blocks) == 4 * TINY["depth"]
    name = next(name for name in blocks if name.endswith("q_proj.weight"))
    trainer = engine(family, optimizer=OptimizerOptions(name="muon", lr=0.1, momentum=0.0, scale="spectral"))
    trainer.step(1.0)  # the ends of branches are zero at first, and so are the gradients before them
    before = named[name].detach().clone()
    trainer.step(1.0)
    change = named[name].detach() - before
    norms = [float(torch.linalg.matrix_norm(head, 2)) for head in change.chunk(TINY["heads"])]
    assert norms == pytest.approx([0.1, 0.1], rel=0.15)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_learns_a_sentence_by_heart(architecture: str, name: str) -> None:
    family = tiny(architecture=architecture)
    optimizer = OptimizerOptions.model_validate({"name": name, "lr": 0.01, "betas": (0.9, 0.95)})
    trainer = engine(family, optimizer=optimizer)
    first = float(trainer.step(1.0)["model/loss"])
    for _ in range(60):
        last = float(trainer.step(1.0)["model/loss"])
    assert first > 4.0
    # What a window cut anywhere cannot know is its first step: 11 possible places.
    assert last < 0.25
    made = family.sample(3, rng=rng())
    assert made.shape == (3, LENGTH)
    assert made.dtype == torch.int64
    assert made[0].tolist() == [0, *range(3, 13), *[1] * (LENGTH - 11)]
    going_on = family.sample(1, condition=torch.tensor([[0, 3, 4, 5]]), rng=rng())
    assert going_on[0, :11].tolist() == [0, *range(3, 13)]
    assert float(family.heldout_loss(batch(99), rng())) == pytest.approx(last, abs=0.2)


def test_samples_have_the_models_own_distribution() -> None:
    family = stir(tiny())
    with torch.no_grad():
        logits = family.network(input_ids=torch.tensor([[0]])).logits[0, -1, :70]
    made = family.sample(4000, rng=rng())[:, 1]
    made[made == SPEC.tokens.pad] = 0  # type: ignore[union-attr]  # an end of text
    expected = torch.softmax(logits, 0)
    expected[0] += expected[1]
    expected[1] = 0
    counts = torch.bincount(made, minlength=70) / 4000
    assert float((counts - expected).abs().sum()) / 2 < 0.08


def test_samples_repeat_with_the_generator_and_ignore_padded_rows_of_the_table() -> None:
    family = stir(tiny())
    first, second = (family.sample(8, rng=torch_generator(0, "sample")) for _ in range(2))
    assert torch.equal(first, second)
    assert int(first.max()) < 70
    assert not family.learner.training or family.training
    assert family.learner.training


@pytest.mark.parametrize("shape", [(2, 3), (1, 0), (1, LENGTH), (3,)])
def test_refuses_prompts_that_leave_nothing_to_do(shape: tuple[int, ...]) -> None:
    with pytest.raises(RecipeError, match="a condition is a prompt"):
        tiny().sample(1, condition=torch.zeros(shape, dtype=torch.int64), rng=rng())


def test_heldout_loss_is_deterministic_and_has_no_gradient() -> None:
    family = stir(tiny(z_loss=1e-2))
    loss = family.heldout_loss(batch(), rng())
    assert not loss.requires_grad
    assert torch.equal(loss, family.heldout_loss(batch(), rng()))
    total, logs = family.turns(0)[0].loss(batch(), rng())
    assert float(logs["nats"]) == pytest.approx(float(loss), rel=1e-5)
    assert float(total.detach()) > float(loss)


@pytest.mark.parametrize("every", [1, 2])
def test_resumes_to_the_bit(every: int) -> None:
    options = {"optimizer": OptimizerOptions(name="muon", lr=0.01, every=every)}
    straight = engine(tiny(), **options)
    for _ in range(6):
        straight.step(1.0)
    first = engine(tiny(), **options)
    for _ in range(3):
        first.step(1.0)
    weights = {name: value.clone() for name, value in first.family.state_dict().items()}
    second = engine(tiny(), **options)
    second.family.load_state_dict(weights)
    second.load_optimizer_state({name: value.clone() for name, value in first.optimizer_state().items()})
    second.position = first.position
    for _ in range(3):
        second.step(1.0)
    for name, value in second.family.state_dict().items():
        assert torch.equal(value, straight.family.state_dict()[name]), name


def test_accumulation_gives_the_whole_batchs_gradients() -> None:
    whole, parts = (engine(tiny(), accumulate=number, optimizer=OptimizerOptions(name="sgd")) for number in (1, 2))
    for trainer in (whole, parts):
        trainer.step(1.0)
    for one, other in zip(whole.family.parameters(), parts.family.parameters()):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_refuses_what_is_no_sequence_of_tokens() -> None:
    with pytest.raises(RecipeError, match="sequences of tokens"):
        Gpt.build(Options(), SampleSpec("image", (3, 8, 8)), 0)


def test_a_start_decides_the_shape() -> None:
    with pytest.raises(RecipeError, match="leave out size, width"):
        parse(Options, {"start": "folder", "size": "1M", "width": 64})
    with pytest.raises(RecipeError, match="must be a Hugging Face folder"):
        Gpt.build(Options(start="no such folder"), SPEC, 0)


def test_warns_of_learning_by_heart() -> None:
    def looks(*losses: float, seen: Sequence[float]) -> list[Mapping[str, float]]:
        return [{"heldout_nats": loss, "gap": loss - train} for loss, train in zip(losses, seen, strict=True)]

    family = tiny()
    assert not family.warnings(looks(5.0, 4.0, 3.0, 2.9, 2.91, seen=(5.0, 4.0, 3.0, 2.9, 2.9)))
    assert not family.warnings(looks(3.0, 4.0, seen=(3.0, 2.0)))
    (warning,) = family.warnings(looks(5.0, 3.2, 3.0, 3.2, 3.5, seen=(5.0, 3.1, 2.7, 2.5, 2.3)))
    assert "by heart" in warning


def test_small_batches_that_differ_are_no_learning_by_heart() -> None:
    """Looks of a run that saw a fiftieth of its data, 1,024 tokens a look."""
    seen = (4.478, 4.714, 4.466, 4.460, 4.316, 4.095, 4.386)
    unseen = (4.846, 4.425, 4.345, 4.422, 4.288, 4.395, 4.480)
    history = [{"heldout_nats": loss, "gap": loss - train} for loss, train in zip(unseen, seen)]
    assert not any(tiny().warnings(history[:num]) for num in range(len(history) + 1))


def test_is_found_by_name_and_looks_at_its_gap() -> None:
    from motherlode import registry

    assert registry.find("family", "gpt") is FAMILY
    found = tiny().inspect(0, batch(0), batch(1))
    assert found["gap"] == pytest.approx(found["heldout_nats"] - found["train_nats"])


def test_the_sampler_is_a_frozen_copy() -> None:
    family = tiny()
    sampler = family.sampler()
    assert sampler is not family.network
    assert not any(parameter.requires_grad for parameter in sampler.parameters())
    tokens: Tensor = batch().samples
    assert sampler(tokens).logits.shape == (4, LENGTH, 128)


def test_draws_are_as_frequent_as_they_are_likely_and_the_impossible_never_comes() -> None:
    weights_V = torch.tensor([0.0, 0.1, 0.0, 0.6, 0.3, 0.0])
    rng = torch.Generator().manual_seed(0)
    drawn = _drawn(weights_V.expand(40_000, 6), rng)
    shares_V = torch.bincount(drawn, minlength=6) / 40_000
    torch.testing.assert_close(shares_V, weights_V, rtol=0, atol=0.01)
    assert not shares_V[[0, 2, 5]].any()
