import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_coders import IMAGE, SHAPES, engine, make, pictures

from motherlode.errors import RecipeError
from motherlode.families.autoencoder.judges import Perceptual
from motherlode.modality import SampleSpec
from motherlode.randomness import torch_generator

SOUND = SampleSpec("image", (1, 640))
PATCH = {"kind": "patch", "width": 8, "ramp_steps": 4}
STFT = {"kind": "stft", "width": 4, "windows": [32, 64], "ramp_steps": 4}


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        (IMAGE, {"kind": "vae", "critic": PATCH}),
        (IMAGE, {"kind": "vae", "critic": {**PATCH, "samples": True, "balance": False}, "reconstruction_weight": 0.0}),
        (IMAGE, {"kind": "vq", "critic": {**PATCH, "loss": "nonsaturating"}, "spectral": {"weight": 1.0}}),
        (SampleSpec("image", SHAPES[3]), {"kind": "fsq", "latent": None, "critic": PATCH, "codebook": {"codes": 256}}),
        (
            SOUND,
            {"kind": "rvq", "critic": STFT, "spectral": {"weight": 1.0, "windows": [32, 128]}, "activation": "snake"},
        ),
    ],
)
def test_terms_combine_and_both_sides_learn(spec: SampleSpec, options: dict[str, Any]) -> None:
    options = {"codebook": {"codes": 16, "quantisers": 2, "start_steps": 1}, **options}
    family = make(spec, **options)
    before = {name: value.clone() for name, value in family.named_parameters()}
    trainer = engine(family, 8)
    for _ in range(4):
        scalars = trainer.step(1.0)
    assert {"autoencoder/features", "critic/real", "critic/fake"} <= set(scalars)
    assert all(bool(torch.isfinite(value).all()) for value in scalars.values())
    for part in ("encoder.", "decoder.", "critic."):
        # The hinge loss moves the bias of a head by as many reals as fakes: not at all at first.
        names = [name for name in before if name.startswith(part) and not name.endswith("head.bias")]
        moved = [not torch.equal(dict(family.named_parameters())[name], before[name]) for name in names]
        assert all(moved), part


def test_the_critic_learns_from_the_first_step_and_is_not_heard_then() -> None:
    heard, alone = make(critic={**PATCH, "ramp_steps": 10}), make()
    pair = engine(heard), engine(alone)
    for trainer in pair:
        trainer.step(1.0)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, heard.state_dict()[name]), name
    start = make(critic={**PATCH, "ramp_steps": 10}).critic
    assert start is not None
    assert heard.critic is not None
    assert not torch.equal(start.head.weight, heard.critic.head.weight)


def test_a_balanced_term_pulls_as_hard_as_its_weight_says() -> None:
    family = make(critic={**PATCH, "weight": 0.25, "feature_weight": 0.0})
    samples = pictures(8)
    outputs = family.decoder(torch.randn(8, 6, generator=torch_generator(0, "z")))
    cost = family.likelihood(outputs, samples)
    total, _ = family._judges(outputs, family.likelihood.mean(outputs), samples, cost, 100, None)
    (pull,) = torch.autograd.grad(cost, outputs, retain_graph=True)
    (term,) = torch.autograd.grad(total, outputs, retain_graph=True)
    assert float(term.norm()) == pytest.approx(0.25 * float(pull.norm()), rel=1e-4)
    loose = make(critic={**PATCH, "weight": 0.25, "feature_weight": 0.0, "balance": False})
    plain, _ = loose._judges(outputs, family.likelihood.mean(outputs), samples, cost, 100, None)
    (unscaled,) = torch.autograd.grad(plain, outputs)
    assert torch.allclose(term / term.norm(), unscaled / unscaled.norm(), atol=1e-4)


def test_perceptual_distance_grows_with_what_is_seen() -> None:
    distance = Perceptual("efficientnet-lite0", 32, IMAGE)
    real = pictures(4)
    nearly = (real + 0.05 * torch.randn(real.shape, generator=torch_generator(0, "n"))).requires_grad_()
    near, far = distance(nearly, real), distance(pictures(4, seed=9), real)
    assert 0 < near.item() < far.item()
    assert distance(real, real).item() == pytest.approx(0, abs=1e-6)
    (gradient,) = torch.autograd.grad(near, nearly)
    assert float(gradient.norm()) > 0
    family = make(perceptual={"weight": 0.1, "resolution": 32})
    assert not [name for name in family.state_dict() if "extractor" in name]
    assert "autoencoder/perceptual" in engine(family, 4).step(1.0)


@pytest.mark.parametrize(
    ("spec", "options", "fix"),
    [
        (IMAGE, {"critic": {"kind": "stft"}}, "patch"),
        (SOUND, {"critic": {"kind": "stft", "windows": [1024]}}, "windows"),
        (IMAGE, {"critic": {"kind": "patch", "stages": 5}}, "stages"),
        (IMAGE, {"kind": "vq", "critic": {"kind": "patch", "samples": True}}, "samples: false"),
        (IMAGE, {"reconstruction_weight": 0.0}, "critic"),
        (SOUND, {"perceptual": {"weight": 1.0}}, "perceptual"),
    ],
)
def test_what_cannot_be_judged_says_why(spec: SampleSpec, options: dict[str, Any], fix: str) -> None:
    with pytest.raises(RecipeError, match=fix):
        make(spec, **options)


COMPILED = """
from tiny_coders import engine, make
from motherlode.training.loop import Setting
options = {"kind": "vq", "blocks": 0, "codebook": {"codes": 16, "start_steps": 1}, "critic": %r}
plain, compiled = engine(make(**options), 8), engine(make(**options), 8)
Setting(compile=True).place(compiled.family)
for _ in range(4):
    one, other = (float(trainer.step(1.0)["autoencoder/loss"]) for trainer in (plain, compiled))
    assert abs(one - other) < 1e-2 * one, (one, other)
"""


@pytest.mark.slow
def test_a_balanced_critic_can_be_compiled() -> None:
    """Two slopes pass through the compiled critic before the loss does. Elsewhere, without the checks of shapes."""
    command = [sys.executable, "-c", COMPILED % (PATCH,)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
