from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from motherlode.errors import RecipeError
from motherlode.families import Batch
from motherlode.families.bert import FAMILY, Bert, Options
from motherlode.families.bert.masking import hide_uniform
from motherlode.modality import SampleSpec
from motherlode.randomness import torch_generator
from motherlode.recipe import GenerateOptions, OptimizerOptions, TrainOptions, parse
from motherlode.tokenizer import TokenSpace
from motherlode.training import checkpoint
from motherlode.training.loop import Engine, Setting

LENGTH = 24
SPACE = TokenSpace(vocabulary=64, bos=0, pad=1, mask=2, folder="nowhere")
SPEC = SampleSpec("text", (LENGTH,), 0, SPACE)
TINY: dict[str, Any] = {"width": 32, "depth": 2, "heads": 2, "local_tokens": 8}


def tiny(spec: SampleSpec = SPEC, seed: int = 0, **options: Any) -> Bert:
    return FAMILY.build(parse(Options, {**TINY, **options}), spec, seed)


def windows(rows: int = 4, seed: int = 0) -> Tensor:
    tokens = torch.randint(3, SPACE.vocabulary, (rows, LENGTH), generator=torch_generator(seed, "windows"))
    tokens[:, 0] = SPACE.bos
    return tokens


def batch(tokens: Tensor) -> Batch:
    return Batch(tokens, None, torch.arange(len(tokens)))


def rng(number: int = 0) -> torch.Generator:
    return torch_generator(0, "test", number)


def stir(family: Bert, size: float = 0.1) -> Bert:
    """Weights far from the first ones, so that nothing is hidden by their smallness."""
    noise = torch_generator(1, "stir")
    with torch.no_grad():
        for parameter in family.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=noise) * size)
    return family


class Feed:
    """The same windows over and over."""

    def __init__(self, tokens: Tensor) -> None:
        self.tokens = tokens

    def batch(self, index: int) -> Batch:
        return batch(self.tokens)

    def close(self) -> None:
        pass


def train(family: Bert, tokens: Tensor, steps: int, lr: float = 3e-3) -> float:
    options = TrainOptions(batch=len(tokens), optimizer=OptimizerOptions(name="adamw", lr=lr, betas=(0.9, 0.95)))
    engine = Engine(family, Feed(tokens), Setting(), options, seed=0)  # type: ignore[arg-type]
    # The rate falls over the second half: at a constant one the last steps would decide what has been learnt.
    return min(float(engine.step(min(1.0, 2.0 - 2.0 * step / steps))["model/loss"]) for step in range(steps))


@pytest.fixture(params=[0.3, "uniform"])
def rate(request: pytest.FixtureRequest) -> float | str:
    found: float | str = request.param
    return found


# ---------------------------------------------------------------------------------------------------------------- loss


def test_the_fixed_rate_loss_is_plain_cross_entropy_of_the_whole_head_at_hidden_places() -> None:
    family = stir(tiny())
    tokens = windows()
    loss, logs = family.turns(0)[0].loss(batch(tokens), rng())
    masked = family._hide(tokens, rng())
    places = masked.places_K[masked.weights_K > 0]
    logits = family.network(input_ids=masked.inputs_BT).logits
    expected = nn.functional.cross_entropy(logits.flatten(0, 1)[places], tokens.flatten()[places])
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(logs["masked_nats"], expected.detach())
    for mine, theirs in zip(
        torch.autograd.grad(loss, list(family.parameters())), torch.autograd.grad(expected, list(family.parameters()))
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_the_uniform_rate_loss_weighs_each_guess_by_all_over_hidden() -> None:
    family = stir(tiny(mask_rate="uniform"))
    tokens = windows()
    loss, _ = family.turns(0)[0].loss(batch(tokens), rng())
    inputs = family._hide(tokens, rng()).inputs_BT
    hidden = inputs == SPACE.mask
    nats = nn.functional.cross_entropy(family.network(input_ids=inputs).logits.mT, tokens, reduction="none")
    expected = ((LENGTH - 1) / hidden.sum(1) * (nats * hidden).sum(1)).sum() / (len(tokens) * (LENGTH - 1))
    torch.testing.assert_close(loss, expected)


def test_a_uniform_model_is_bounded_by_exactly_log_v(rate: float | str) -> None:
    family = tiny(mask_rate=rate)
    with torch.no_grad():
        family.network.head.norm.weight.zero_()
    for number in range(5):
        found = family.heldout_loss(batch(windows(seed=number)), rng(number))
        assert found.item() == pytest.approx(math.log(SPACE.vocabulary), rel=1e-5)


def test_it_begins_with_the_frequencies_of_the_tokens(rate: float | str) -> None:
    family = tiny(mask_rate=rate)
    tokens = windows(64)
    counts_V = torch.bincount(tokens.flatten(), minlength=SPACE.vocabulary)
    family.begin(lambda: counts_V)
    shares_V = counts_V.clamp_min(0.5) / counts_V.clamp_min(0.5).sum()
    with torch.no_grad():
        family.network.head.norm.weight.zero_()
    inputs = tokens.masked_fill(tokens != SPACE.bos, SPACE.mask)
    nats, _ = family.masked_nats(inputs, tokens)
    hidden = inputs == SPACE.mask
    assert torch.allclose(nats[hidden], -shares_V.log()[tokens[hidden]], atol=1e-4)


def test_on_a_distribution_that_can_be_counted_out_the_bound_falls_but_stays_above_the_entropy() -> None:
    """Four texts of three tokens, of chances 1/2, 1/4, 1/8, 1/8: entropy 1.75 bits."""
    texts = torch.tensor([[0, 5, 6, 7], [0, 5, 7, 6], [0, 6, 6, 6], [0, 8, 5, 7]])
    tokens = texts.repeat_interleave(torch.tensor([8, 4, 2, 2]), 0)
    space = TokenSpace(64, 0, 1, 2, "nowhere")
    family = tiny(SampleSpec("text", (4,), 0, space), mask_rate="uniform")
    entropy = 1.75 * math.log(2)

    def bound() -> float:
        found = []
        for places in (set(some) for size in (1, 2, 3) for some in itertools.combinations((1, 2, 3), size)):
            hidden = torch.tensor([place in places for place in range(4)])
            nats, _ = family.masked_nats(tokens.masked_fill(hidden, 2), tokens)
            # k is 1, 2 or 3, each set of k as likely: the mean over both of n / k · Σ nats.
            found.append(3 / len(places) * nats.sum(1).mean().item() / 3 / math.comb(3, len(places)))
        return sum(found)

    assert bound() > 4 * entropy
    with torch.no_grad():  # how often each token comes is soon learnt, but at a price
        family.network.decoder.bias.copy_(torch.bincount(tokens[:, 1:].flatten(), minlength=64).add(0.01).log())
    for lr, steps in ((3e-3, 250), (5e-4, 100)):
        train(family, tokens, steps, lr=lr)
        assert bound() > entropy
    assert bound() < 1.4 * entropy
    # And the estimate that training and checkpoints see agrees with it.
    estimates = [3 * family.heldout_loss(batch(tokens), rng(number)).item() for number in range(200)]
    assert sum(estimates) / 200 == pytest.approx(bound(), abs=0.02)


def test_the_heldout_loss_depends_on_the_generator_alone_and_leaves_no_trace(rate: float | str) -> None:
    family = stir(tiny(mask_rate=rate))
    first, again, other = (family.heldout_loss(batch(windows()), rng(number)) for number in (0, 0, 1))
    assert first == again
    assert first != other
    assert first.dim() == 0
    assert not first.requires_grad
    assert family.learner.training
    assert FAMILY.loss_name == "nats per token"


def test_masked_nats_are_those_of_the_whole_head() -> None:
    family = stir(tiny())
    tokens = windows()
    inputs = hide_uniform(tokens, SPACE, rng()).inputs_BT
    nats, hits = family.masked_nats(inputs, tokens)
    with torch.no_grad():
        logits = family.network(input_ids=inputs).logits
    expected = nn.functional.cross_entropy(logits.mT, tokens, reduction="none")
    hidden = inputs == SPACE.mask
    torch.testing.assert_close(nats[hidden], expected[hidden])
    assert (hits[hidden] == (logits.argmax(2) == tokens)[hidden]).all()
    assert not nats[~hidden].any()
    assert not hits[~hidden].any()
    within = torch.stack([tokens - 2, tokens + 3], 2).clamp(0, SPACE.vocabulary)
    nats, hits = family.masked_nats(inputs, tokens, within)
    ids = torch.arange(logits.shape[2])
    some = logits.masked_fill((ids < within[..., :1]) | (ids >= within[..., 1:]), -torch.inf)
    torch.testing.assert_close(nats[hidden], nn.functional.cross_entropy(some.mT, tokens, reduction="none")[hidden])
    assert (hits[hidden] == (some.argmax(2) == tokens)[hidden]).all()


def test_a_look_tells_losses_accuracy_and_when_the_data_is_learnt_by_heart(rate: float | str) -> None:
    family = tiny(mask_rate=rate)
    found = family.inspect(3, batch(windows()), batch(windows(seed=1)))
    assert set(found) == {"train_nats", "heldout_nats", "gap", "masked_accuracy"}
    assert found["gap"] == pytest.approx(found["heldout_nats"] - found["train_nats"], abs=1e-5)
    assert 0 <= found["masked_accuracy"] <= 1
    assert not family.warnings([{"heldout_nats": nats, "gap": 0.0} for nats in (3.0, 2.0, 1.9, 1.8)])
    (said,) = family.warnings([{"heldout_nats": nats, "gap": nats - 1.9} for nats in (3.0, 2.0, 2.2, 2.4, 2.6)])
    assert "by heart" in said


# ------------------------------------------------------------------------------------------------------------ documents


def test_a_packed_document_is_as_if_alone_and_padding_is_not_seen() -> None:
    family = stir(tiny())
    tokens = windows(1)
    tokens[0, 9] = SPACE.bos
    tokens[0, 20:] = SPACE.pad
    with torch.no_grad():
        packed = family.learner.hidden(tokens, tokens)[0]
        for start, end in ((0, 9), (9, 20)):
            alone = family.network.model(input_ids=tokens[:, start:end]).last_hidden_state[0]
            torch.testing.assert_close(packed[start:end], alone, atol=1e-5, rtol=1e-4)
            # The local blocks look eight tokens around, so that this is no test of a model that sees everything.
        other = tokens.clone()
        other[0, 1:9] = 5
        other[0, 20:] = SPACE.pad
        changed = family.learner.hidden(other, other)[0]
        assert (changed[9:20] == packed[9:20]).all()


def test_a_shown_beginning_that_is_none_parts_nothing() -> None:
    """Who sees whom follows from the truth: a random token that is shown may be one that begins documents."""
    family = stir(tiny())
    tokens = windows(1)
    shown = tokens.clone()
    shown[0, 6] = SPACE.bos
    with torch.no_grad():
        plain = family.network.model(input_ids=shown).last_hidden_state
        torch.testing.assert_close(family.learner.hidden(tokens, shown), plain, atol=1e-5, rtol=1e-4)


# ------------------------------------------------------------------------------------------------------------- writing


SENTENCE = torch.tensor([0, *range(10, 33)])


def test_a_text_learnt_by_heart_is_filled_in_from_both_sides_and_gone_on_with() -> None:
    family = tiny(mask_rate="uniform")
    train(family, SENTENCE.expand(16, -1), 250, lr=1e-2)
    gap, end = SENTENCE.clone()[None], SENTENCE.clone()[None]
    gap[0, 6:19] = SPACE.mask
    end[0, 4:] = SPACE.mask
    options = GenerateOptions(temperature=0, block_tokens=8, steps=4)
    for start in (gap, end):
        *_, filled = family.fill(start, options, rng=rng())
        assert filled[0].tolist() == SENTENCE.tolist()
    assert family.sample(2, condition=SENTENCE[None, :3].expand(2, -1), rng=rng()).tolist() == [SENTENCE.tolist()] * 2
    assert family.inspect(0, batch(SENTENCE[None]), batch(SENTENCE[None]))["masked_accuracy"] > 0.9


def test_samples_fill_the_window_keep_their_prompts_and_are_text(rate: float | str) -> None:
    family = stir(tiny(mask_rate=rate))
    prompts = windows(3)[:, :5]
    for num, condition in ((3, prompts), (2, None), (0, None)):
        found = family.sample(num, condition=condition, rng=rng())
        assert found.shape == (num, LENGTH)
        assert found.dtype == torch.int64
        written = found[:, 5 if condition is not None else 1 :]
        assert not torch.isin(written, torch.tensor([0, 1, 2])).any()
        assert (found < SPACE.vocabulary).all()
    assert (family.sample(3, condition=prompts, rng=rng())[:, :5] == prompts).all()
    same, other = (family.sample(2, rng=rng(number)) for number in (0, 1))
    assert (same == family.sample(2, rng=rng())).all()
    assert (same != other).any()


def test_ids_beyond_the_vocabulary_are_never_written() -> None:
    space = TokenSpace(10, 0, 1, 2, "nowhere")  # the table has 64 rows
    family = stir(tiny(SampleSpec("text", (LENGTH,), 0, space)))
    assert family.network.config.vocab_size == 64
    assert family.sample(20, rng=rng()).max() < 10


def test_writing_refuses_what_it_cannot_honour() -> None:
    family = tiny()
    with pytest.raises(RecipeError, match=r"prompt of 1\.\.24 tokens for each of 2"):
        family.sample(2, condition=windows(2)[:, :0], rng=rng())
    with pytest.raises(RecipeError, match=r"prompt of 1\.\.24"):
        family.sample(1, condition=torch.full((1, LENGTH + 1), 5), rng=rng())
    with pytest.raises(RecipeError, match=r"0\.\.63"):
        family.fill(torch.full((1, 5), 64), GenerateOptions(), rng=rng())
    with pytest.raises(RecipeError, match="at most 24"):
        family.fill(torch.full((1, 25), 5), GenerateOptions(), rng=rng())
    with pytest.raises(RecipeError, match="no such weights"):
        family.sample(1, rng=rng(), variant="ema")


# ------------------------------------------------------------------------------------------------------------ embedding


def test_an_embedding_is_the_mean_over_the_text_whatever_is_padded() -> None:
    family = stir(tiny())
    tokens = windows(2)
    short = tokens[:, :10]
    padded = torch.cat([short, torch.full((2, 7), SPACE.pad)], 1)
    found = family.embed(padded)
    assert found.shape == (2, 32)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, family.embed(short), atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        hidden = family.network.model(input_ids=short).last_hidden_state
    torch.testing.assert_close(found, hidden[:, 1:].mean(1), atol=1e-5, rtol=1e-4)
    chosen = torch.zeros(2, 10, dtype=torch.bool)
    chosen[0, 3] = True
    picked = family.embed(short, chosen)
    torch.testing.assert_close(picked[0], hidden[0, 3], atol=1e-5, rtol=1e-4)
    assert not picked[1].any()


# ----------------------------------------------------------------------------------------------------------- the folder


def save(family: Bert, folder: Path) -> Path:
    return checkpoint.save(folder, 7, family.state_dict(), {}, {}, family.files())


@pytest.mark.parametrize("length", [LENGTH, 2048])
def test_a_checkpoint_is_a_folder_that_transformers_loads_to_the_same_logits(tmp_path: Path, length: int) -> None:
    from transformers import AutoModelForMaskedLM

    family = stir(tiny(SampleSpec("text", (length,), 0, SPACE)))
    folder = save(family, tmp_path)
    theirs, found = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not any(found.values())
    tokens = windows()
    with torch.no_grad():
        expected = family.network(input_ids=tokens).logits
        torch.testing.assert_close(theirs(input_ids=tokens).logits, expected, atol=1e-5, rtol=1e-4)
        ours = family.learner.logits(family.learner.hidden(tokens, tokens))
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["ModernBertForMaskedLM"]


def test_a_checkpoint_is_read_back_whole_and_a_strange_one_is_not(tmp_path: Path) -> None:
    family, other = stir(tiny()), tiny(seed=1)
    tensors = checkpoint.read_model(save(family, tmp_path))
    assert "decoder.weight" not in tensors
    checkpoint.load_model(other, tensors, "here")
    for (name, mine), theirs in zip(family.network.state_dict().items(), other.network.state_dict().values()):
        assert (mine == theirs).all(), name
    assert other.network.decoder.weight is other.network.model.embeddings.tok_embeddings.weight
    with pytest.raises(RuntimeError, match=r"decoder\.bias"):
        other.load_state_dict({name: tensor for name, tensor in tensors.items() if name != "decoder.bias"})


def test_a_model_starts_from_a_folder_and_refuses_one_that_does_not_fit(tmp_path: Path) -> None:
    family = stir(tiny())
    folder = save(family, tmp_path)
    again = FAMILY.build(parse(Options, {"start": str(folder)}), SPEC, 3)
    tokens = windows()
    assert (again.embed(tokens) == family.embed(tokens)).all()
    assert again.state_dict().keys() == family.state_dict().keys()
    options = parse(Options, {"start": str(folder)})
    with pytest.raises(RecipeError, match="vocabulary"):
        FAMILY.build(options, SampleSpec("text", (LENGTH,), 0, TokenSpace(300, 0, 1, 2, "nowhere")), 0)
    with pytest.raises(RecipeError, match="longer"):
        FAMILY.build(options, SampleSpec("text", (LENGTH + 1,), 0, SPACE), 0)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "qwen3"}))
    with pytest.raises(RecipeError, match="ModernBERT"):
        FAMILY.build(options, SPEC, 0)


def test_options_and_data_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RecipeError, match="leave out"):
        parse(Options, {"start": "folder", "size": "1M"})
    for wrong in (0.0, 1.0, "often"):
        with pytest.raises(RecipeError, match="mask_rate"):
            parse(Options, {"mask_rate": wrong})
    with pytest.raises(RecipeError, match="mask token"):
        tiny(SampleSpec("text", (LENGTH,), 0, TokenSpace(64, 0, 1, -1, "folder")))
    with pytest.raises(RecipeError, match="sequences of tokens"):
        tiny(SampleSpec("image", (1, 8, 8)))


def test_sizes_are_those_of_a_gpt_within_a_tenth() -> None:
    """Of the blocks: a gated layer of 8/3 the width, rounded to 64, weighs as much as one of four times the width."""
    from motherlode.networks.language.sizes import SIZES

    for size in ("1M", "5M"):
        family = FAMILY.build(parse(Options, {"size": size}), SPEC, 0)
        blocks = sum(p.numel() for name, p in family.named_parameters() if ".layers." in name and p.dim() == 2)
        assert blocks == pytest.approx(SIZES[size].num_block_parameters, rel=0.05)


def test_the_same_seed_builds_the_same_network_and_the_ambient_generator_is_left_alone() -> None:
    state = torch.default_generator.get_state()
    first, again, other = tiny(), tiny(), tiny(seed=1)
    assert (torch.default_generator.get_state() == state).all()
    tokens = windows()
    assert (first.embed(tokens) == again.embed(tokens)).all()
    assert (first.embed(tokens) != other.embed(tokens)).any()


def test_the_exported_network_is_frozen_and_gives_logits() -> None:
    family = tiny()
    network = family.sampler()
    assert network(windows()).logits.shape == (4, LENGTH, 64)
    assert not any(parameter.requires_grad for parameter in network.parameters())
