"""The GAN family's section of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from motherlode.recipe import Strict


class PenaltyOptions(Strict):
    """Penalties on the critic's slope; each weight defaults to what its loss needs."""

    gradient: float | None = Field(
        None, ge=0, description="weight of (slope − 1)² between real and fake; default: 10 for an unclipped wasserstein"
    )
    r1: float | None = Field(
        None, ge=0, description="γ: half of it times slope² on real; default: 1 for relativistic, else 0"
    )
    r2: float | None = Field(None, ge=0, description="the same on fake samples; default: as r1")
    form: Literal["auto", "exact", "difference", "random"] = Field(
        "auto", description="how the slope is taken; auto: exact, by differentiating twice"
    )
    every: int = Field(1, ge=1, description="take R1 and R2 on one step in this many, with their weight multiplied")


class AugmentOptions(Strict):
    """Augmentation of what the critic sees, real and fake alike (DiffAugment, ADA)."""

    policy: tuple[str, ...] = Field((), description="names of the modality's augmentations; empty: none")
    strength: float | Literal["adaptive"] = Field(
        "adaptive", description="probability in 0..1; adaptive: 0 until the critic overfits, then as much as it takes"
    )
    target: float = Field(0.5, gt=0, lt=1, description="overfitting gap that adaptive augmentation holds")
    speed_samples: int = Field(500_000, ge=1, description="samples in which adaptive strength can go from 0 to 1")
    most: float = Field(0.8, ge=0, le=1, description="largest adaptive strength: beyond it augmentations leak")


class FeatureOptions(Strict):
    """A critic that looks through a frozen, pretrained network (projected GAN)."""

    extractor: str = Field(
        "efficientnet-lite0", description="efficientnet-lite0, or a path to a TorchScript module of feature maps"
    )
    resolution: int = Field(64, ge=8, description="samples are resized to this before the extractor")
    width: int = Field(64, ge=1, description="channels of the small heads that judge the features")


class Options(Strict):
    """How a GAN is made and trained."""

    network: Literal["mlp", "dcgan", "resnet"] = Field("dcgan", description="what both networks are built of")
    width: int | None = Field(
        None, ge=1, description="channels of the finest grid; default: mlp 256, dcgan 32, resnet 16"
    )
    blocks: int = Field(1, ge=1, description="resnet: residual blocks on each grid")
    group_size: int = Field(0, ge=0, description="resnet: channels a group of its convolutions sees; 0: all of them")
    noise: int = Field(100, ge=1, description="size of the noise vector")
    critic_norm: Literal["auto", "batch", "none"] = Field(
        "auto", description="of a dcgan critic; auto: batch, unless a penalty or clipping forbids it"
    )
    spectral: bool = Field(False, description="spectral norm on the critic's layers")
    loss: Literal["minimax", "nonsaturating", "least_squares", "hinge", "wasserstein", "relativistic"] = Field(
        "nonsaturating", description="what generator and critic play for"
    )
    clip: float | None = Field(None, gt=0, description="clip the critic's weights to ± this after each step (WGAN)")
    penalty: PenaltyOptions = PenaltyOptions()
    critic_steps: int = Field(1, ge=1, description="critic steps for each generator step")
    share_fakes: bool = Field(
        True, description="the generator learns on the fakes the last critic step judged: one generator pass less"
    )
    conditional: bool = Field(False, description="condition both networks on the data's labels")
    average_samples: float = Field(
        10_000, ge=0, description="half-life, in samples, of the averaged generator; 0: no average"
    )
    augment: AugmentOptions = AugmentOptions()
    features: FeatureOptions | None = Field(None, description="a frozen feature critic instead of the network's own")
    critic_start: str | None = Field(
        None, description="folder of an autoencoder's run: its encoder is what the critic judges by, and learns on"
    )
    critic_frozen: bool = Field(False, description="the encoder of `critic_start` stays as it is; only the head learns")
