import math
from typing import Any

import numpy as np
import pytest
import torch
from tiny_coders import IMAGE, SHAPES, engine, make, nelbo, pictures

from motherlode.errors import RecipeError
from motherlode.families import Batch
from motherlode.families.autoencoder.losses import Likelihood
from motherlode.modality import SampleSpec
from motherlode.randomness import torch_generator


@pytest.mark.parametrize("kind", ["plain", "vae"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_every_kind_learns_in_every_dimension(kind: str, dims: int) -> None:
    spec = SampleSpec("image", SHAPES[dims])
    family = make(spec, kind=kind, blocks=1)
    before = nelbo(family, spec)
    trainer = engine(family, optimizer={"lr": 3e-3})
    for _ in range(30):
        trainer.step(1.0)
    assert nelbo(family, spec) < before
    assert family.reconstruct(pictures(3, spec)).shape == (3, *spec.shape)
    made = family.sample(5, rng=torch_generator(0, "s"))
    assert made.shape == (5, *spec.shape)
    assert float(made.abs().max()) <= 1


def test_the_same_seed_makes_the_same_run_and_the_state_is_whole() -> None:
    first, second = engine(make()), engine(make())
    assert [float(first.step(1.0)["autoencoder/loss"]) for _ in range(3)] == [
        float(second.step(1.0)["autoencoder/loss"]) for _ in range(3)
    ]
    family, restored = first.family, make(seed=5)
    restored.load_state_dict(family.state_dict())
    one, other = (
        family_.turns(3)[0].loss(first.feed.batch(7), torch_generator(0, "x"))[0] for family_ in (family, restored)
    )
    assert one.item() == other.item()


def test_the_held_out_loss_is_an_upper_bound_that_importance_sampling_confirms() -> None:
    """−log p(x) by importance sampling from the posterior (Burda et al. 2016) lies below −ELBO, and not far."""
    family = make(reconstruction="gaussian", deviation=0.5)
    trainer = engine(family, optimizer={"lr": 3e-3})
    for _ in range(60):
        trainer.step(1.0)
    samples = pictures(1, IMAGE, 5)
    num = 4000
    with torch.no_grad():
        mean, log_variance = (half.float() for half in family.encoder(samples).chunk(2, 1))
        noise = torch.randn(num, mean.shape[1], generator=torch_generator(0, "i"))
        latents = mean + (0.5 * log_variance).exp() * noise
        outputs = family.decoder(latents)
        density = torch.distributions.Normal(outputs, 0.5).log_prob(samples).flatten(1).sum(1)
        log_p = density + 256 * math.log(2 / 255)
        normal = torch.distributions.Normal(0.0, 1.0)
        log_prior = normal.log_prob(latents).sum(1)
        log_q = torch.distributions.Normal(mean, (0.5 * log_variance).exp()).log_prob(latents).sum(1)
        bound = -(log_p + log_prior - log_q).mean()
        exact = math.log(num) - torch.logsumexp(log_p + log_prior - log_q, 0)
        batch = Batch(samples.expand(64, -1, -1, -1), None, torch.arange(64))
        told = np.mean([float(family.heldout_loss(batch, torch_generator(0, "h", index))) for index in range(20)])
    assert told == pytest.approx(float(bound), abs=0.5)
    assert float(exact) < float(bound)
    assert float(bound - exact) < 0.2 * float(bound)


def test_free_nats_make_small_divergences_cost_nothing() -> None:
    batch = Batch(pictures(8), None, torch.arange(8))
    family, free = make(beta=1.0), make(beta=1.0, free_nats=100.0)
    paid, logs = family._loss(batch, torch_generator(0, "x"))
    unpaid, _ = free._loss(batch, torch_generator(0, "x"))
    assert paid.item() == pytest.approx(float(logs["reconstruction"] + logs["kl"] / 256), rel=1e-5)
    assert unpaid.item() == pytest.approx(float(logs["reconstruction"]) + 6 * 100 / 256, rel=1e-5)
    (gradient,) = torch.autograd.grad(unpaid, [free.encoder.mix.bias])
    paid_gradient = torch.autograd.grad(paid, [family.encoder.mix.bias])[0]
    assert not torch.allclose(gradient, paid_gradient)


def test_sampling_draws_from_the_prior_or_the_mixture() -> None:
    family = make()
    assert family.variants == ("mixture", "normal")
    rngs = [torch_generator(0, "s") for _ in range(3)]
    normal = family.sample(4, rng=rngs[0], variant="normal")
    assert torch.allclose(normal, family.sample(4, rng=rngs[1]), atol=1e-6)  # not fitted yet: standard normal
    assert family.mixture is not None
    family.mixture.means += 5
    assert not torch.allclose(normal, family.sample(4, rng=rngs[2]), atol=1e-3)
    with pytest.raises(RecipeError, match="mixture, normal"):
        family.sample(1, rng=rngs[0], variant="ema")
    with pytest.raises(RecipeError, match="no condition"):
        family.sample(1, condition=torch.zeros(1, dtype=torch.int64), rng=rngs[0])
    with pytest.raises(RecipeError, match="kind: vae"):
        make(kind="plain", mixture=0).sample(1, rng=rngs[0])


@pytest.mark.parametrize(
    ("spec", "options", "fix"),
    [
        (IMAGE, {"kind": "vae", "reconstruction": "l2"}, "gaussian"),
        (IMAGE, {"deviation": 0.0}, "learned"),
        (SampleSpec("image", (1, 18, 18)), {"places": "grid"}, r"\[20, 20\]|\[16, 16\]"),
        (IMAGE, {"strides": [[2, 2, 2]]}, "strides"),
        (IMAGE, {"kind": "vq", "lapped": True}, "lapped: false"),
        (SampleSpec("audio", SHAPES[1]), {"kind": "plain", "lapped": True}, "lapped: false"),
        (IMAGE, {"kind": "vq", "emphasis": 0.9}, "emphasis: 0"),
    ],
)
def test_what_cannot_be_built_says_why(spec: SampleSpec, options: dict[str, Any], fix: str) -> None:
    with pytest.raises(RecipeError, match=fix):
        make(spec, **options)


def test_a_lapped_coder_of_sound_begins_where_others_have_to_get() -> None:
    spec = SampleSpec("audio", SHAPES[1])
    options = {"kind": "plain", "places": "grid", "strides": [4, 5], "latent": 20}
    sounds = pictures(4, spec)
    errors = [
        float((make(spec, lapped=lapped, **options).reconstruct(sounds) - sounds).square().mean())
        for lapped in (True, False)
    ]
    assert errors[0] < 0.05 * errors[1]
    trainer = engine(make(spec, lapped=True, **(options | {"kind": "rvq", "codebook": {"start_steps": 5}})))
    losses = [float(trainer.step(1.0)["autoencoder/loss"]) for _ in range(40)]
    assert np.mean(losses[-5:]) < np.mean(losses[6:11])


def test_emphasis_weighs_errors_high_up_and_a_likelihood_stays_one() -> None:
    time = torch.arange(320.0)
    low, high = (0.1 * torch.sin(torch.pi * share * time)[None, None] for share in (0.05, 0.8))
    silence = torch.zeros(1, 1, 320)
    plain, emphasised = Likelihood("l2", "learned", 65536), Likelihood("l2", "learned", 65536, emphasis=0.9)
    assert plain(low, silence).item() == pytest.approx(plain(high, silence).item(), rel=0.02)
    assert emphasised(high, silence) > 50 * emphasised(low, silence)
    weights = torch.eye(320) - 0.9 * torch.diag(torch.ones(319), -1)
    assert torch.linalg.det(weights).item() == pytest.approx(1, rel=1e-4)
    expected = plain((low[0] @ weights.t())[None], silence)
    torch.testing.assert_close(emphasised(low, silence), expected)


def test_odd_sides_are_padded_and_cropped() -> None:
    spec = SampleSpec("image", (1, 19, 21))
    assert make(spec).sample(2, rng=torch_generator(0, "s")).shape == (2, 1, 19, 21)


class TestCodes:
    @pytest.mark.parametrize("dims", [1, 2, 3])
    @pytest.mark.parametrize("kind", ["vq", "rvq", "fsq"])
    def test_every_kind_learns_and_makes_codes_of_any_size(self, kind: str, dims: int) -> None:
        spec = SampleSpec("image", SHAPES[dims])
        book = {"codes": 256 if kind == "fsq" else 16, "quantisers": 3, "start_steps": 5}
        family = make(spec, kind=kind, codebook=book, latent=None)
        trainer = engine(family, optimizer={"lr": 3e-3})
        for _ in range(6):
            trainer.step(1.0)
        before = nelbo(family, spec)
        for _ in range(30):
            trainer.step(1.0)
        assert nelbo(family, spec) < before
        space = family.code_space
        assert space is not None
        assert len(space.sizes) == (3 if kind == "rvq" else 1)
        size = [2 * step for step in space.stride]
        samples = pictures(3, SampleSpec("image", (spec.shape[0], *size)))
        codes = family.codes(samples)
        assert codes.shape == (3, *[2] * dims, len(space.sizes))
        assert family.from_codes(codes).shape == samples.shape
        whole = pictures(2, spec)
        assert torch.allclose(family.from_codes(family.codes(whole)), family.reconstruct(whole), atol=1e-5)

    def test_what_is_no_code_or_cannot_be_encoded_says_so(self) -> None:
        family = make(kind="vq", codebook={"codes": 16})
        for wrong in (
            torch.full((1, 4, 4, 1), 16),
            torch.zeros(1, 4, 4, 2, dtype=torch.int64),
            -torch.ones(1, 4, 4, 1),
        ):
            with pytest.raises(RecipeError, match="codes must be"):
                family.from_codes(wrong.long())
        with pytest.raises(RecipeError, match="multiples of"):
            family.codes(torch.zeros(1, 1, 18, 16))
        with pytest.raises(RecipeError, match=r"data\.fields"):
            family.sample(1, rng=torch_generator(0, "s"))
        with pytest.raises(RecipeError, match="kind: vq"):
            make().codes(torch.zeros(1, 1, 16, 16))
        with pytest.raises(RecipeError, match="levels"):
            make(kind="fsq", codebook={"codes": 300}, latent=None)
        with pytest.raises(RecipeError, match="grid"):
            make(kind="vq", places="vector")
        assert make().code_space is None

    def test_the_codebook_starts_after_its_steps_and_the_state_is_whole(self) -> None:
        options: dict[str, Any] = {"kind": "rvq", "codebook": {"codes": 8, "quantisers": 2, "start_steps": 3}}
        whole = engine(make(**options))
        for _ in range(8):
            whole.step(1.0)
        parts = engine(make(**options))
        for _ in range(3):
            parts.step(1.0)
        resumed = engine(make(seed=0, **options))
        resumed.family.load_state_dict(parts.family.state_dict())
        resumed.load_optimizer_state(parts.optimizer_state())
        resumed.position = parts.position
        for _ in range(5):
            resumed.step(1.0)
        for name, value in whole.family.state_dict().items():
            assert torch.equal(value, resumed.family.state_dict()[name]), name

    def test_a_look_tells_of_codes_and_shows_pairs(self) -> None:
        family = make(kind="vq", codebook={"codes": 16, "start_steps": 1})
        trainer = engine(family)
        for _ in range(4):
            trainer.step(1.0)
        batch = Batch(pictures(32), None, torch.arange(32))
        found = family.inspect(4, batch, batch)
        assert 1 <= found["perplexity"] <= 16
        assert 0 < found["codes_seen"] <= 1
        shown = family.preview(64, lambda: batch, rng=torch_generator(0, "p"))
        assert shown.shape == (64, 1, 16, 16)
        assert torch.equal(shown[:8], batch.samples[:8])
        assert torch.allclose(shown[8:16], family.reconstruct(batch.samples[:8]), atol=1e-5)
        half = make().preview(64, lambda: batch, rng=torch_generator(0, "p"))
        assert torch.allclose(half[32:], make().sample(32, rng=torch_generator(0, "p")), atol=1e-5)


def test_warnings_tell_of_dead_codes_collapse_and_learning_by_heart() -> None:
    healthy = [{"loss_train": 10.0, "loss_unseen": 10.5, "active": 1.0, "codes_alive": 1.0}] * 4
    family = make()
    assert family.warnings(healthy) == []
    assert family.warnings([{**healthy[0], "codes_alive": 0.1}] * 2) == []  # too early to say
    (dead,) = family.warnings([{**healthy[0], "codes_alive": 0.1}] * 3)
    assert "kind: fsq" in dead
    (collapsed,) = family.warnings([{**healthy[0], "active": 0.0}] * 3)
    assert "free_nats" in collapsed
    (rote,) = family.warnings([*healthy, {**healthy[0], "loss_train": 5.0, "loss_unseen": 12.0}])
    assert "by heart" in rote
