"""A critic that begins from what an autoencoder has learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from motherlode.errors import CorruptError, RecipeError
from motherlode.families.gan import FAMILY, Options
from motherlode.modality import SampleSpec
from motherlode.recipe import Recipe, parse
from motherlode.training.run import Run, train

SPEC = SampleSpec("image", (1, 16, 16))


@pytest.fixture(scope="module", params=["vae", "vq"])
def coder(request: pytest.FixtureRequest, fashion: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    content = {
        "name": request.param,
        "out": str(tmp_path_factory.mktemp("coders")),
        "data": {"path": str(fashion), "resolution": 16},
        "model": {"family": "autoencoder", "kind": request.param, "width": 8, "latent": 4, "blocks": 0},
        "train": {"batch": 16, "budget": {"steps": 6}, "sample_every": 1, "checkpoint_every": 1, "precision": "fp32"},
    }
    return train(parse(Recipe, content))


def make(**options: Any) -> Any:
    return FAMILY.build(parse(Options, {"width": 8, "noise": 6, **options}), SPEC, 0)


def test_the_critic_sees_what_the_encoder_sees(coder: Run) -> None:
    family = make(critic_start=str(coder.path))
    backbone = coder.load().backbone()
    assert backbone is not None
    for name, value in backbone.state_dict().items():
        assert torch.equal(family.critic.backbone.state_dict()[name], value), name
    assert family.critic(torch.zeros(3, *SPEC.shape)).shape == (3,)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_gan_trains_on_it(coder: Run, fashion: Path, tmp_path: Path, frozen: bool) -> None:
    content = {
        "name": "gan",
        "out": str(tmp_path),
        "data": {"path": str(fashion), "resolution": 16},
        "model": {"family": "gan", "width": 8, "critic_start": str(coder.path), "critic_frozen": frozen},
        "train": {"batch": 16, "budget": {"steps": 4}, "sample_every": 1, "checkpoint_every": 1, "precision": "fp32"},
    }
    trained = train(parse(Recipe, content)).load("last")
    start = make(critic_start=str(coder.path)).critic.backbone.state_dict()
    same = [torch.equal(value, start[name]) for name, value in trained.critic.backbone.state_dict().items()]  # type: ignore[union-attr]
    assert all(same) if frozen else not any(same)


def test_what_it_cannot_begin_from_says_why(coder: Run, fashion: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="autoencoder first"):
        make(critic_start=str(tmp_path))
    with pytest.raises(RecipeError, match=r"\(1, 16, 16\), here image \(3, 16, 16\)"):
        FAMILY.build(parse(Options, {"critic_start": str(coder.path)}), SampleSpec("image", (3, 16, 16)), 0)
    with pytest.raises(RecipeError, match="one of the two"):
        make(critic_start=str(coder.path), features={})
    with pytest.raises(RecipeError, match="critic_start"):
        make(critic_frozen=True)
    with pytest.raises(RecipeError, match="only the dcgan critic"):
        make(critic_start=str(coder.path), critic_norm="batch")


def test_damage_is_found(coder: Run, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(coder.path, copy)
    weights = next(copy.glob("checkpoints/*/model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-4] + b"oops")
    with pytest.raises(CorruptError, match=r"model\.safetensors"):
        make(critic_start=str(copy))
