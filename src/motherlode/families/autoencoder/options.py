"""The autoencoder family's section of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from motherlode.recipe import Strict

Reconstruction = Literal["bernoulli", "gaussian", "laplace", "l1", "l2"]
Step = Annotated[int, Field(ge=1, le=64)]


class CodebookOptions(Strict):
    """Codes between encoder and decoder, of the kinds vq, rvq and fsq."""

    codes: int = Field(512, ge=2, le=1 << 16, description="codes of each quantiser")
    quantisers: int = Field(8, ge=1, le=64, description="rvq: how many, each on what the ones before it left over")
    levels: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (), description="fsq: levels of each number of a place; default: the published ones for so many codes"
    )
    commitment: float = Field(0.25, ge=0, description="weight of the distance of features to their codes")
    decay: float = Field(0.99, ge=0, lt=1, description="of the moving averages that codes are")
    start_steps: int = Field(50, ge=0, description="steps without codes, after which k-means makes the first ones")
    revive: float = Field(
        0.03, ge=0, lt=1, description="codes chosen less often than this share of the mean are moved; 0: never"
    )
    estimator: Literal["straight", "rotation"] = Field(
        "straight", description="how gradients pass the codebook: straight through, or by the rotation trick"
    )
    dropout: float = Field(
        0.5, ge=0, le=1, description="rvq: share of samples that learn with the first few quantisers only"
    )


class SpectralOptions(Strict):
    """Distance of spectra over windows of several sizes, beside the distance of values; for sounds above all."""

    weight: float = Field(0.0, ge=0, description="0: none")
    windows: tuple[Annotated[int, Field(ge=4)], ...] = Field(
        (), description="values of each; default: 64 to 1024 for sound, 8 and 16 for pictures and volumes"
    )


class PerceptualOptions(Strict):
    """Distance of the features of a frozen, pretrained network; of pictures only."""

    weight: float = Field(0.0, ge=0, description="0: none")
    extractor: str = Field(
        "efficientnet-lite0", description="efficientnet-lite0, or a path to a TorchScript module of feature maps"
    )
    resolution: int = Field(64, ge=8, description="samples are resized to this before the extractor")


class CriticOptions(Strict):
    """A critic that learns beside the autoencoder to tell reconstructions from samples."""

    kind: Literal["none", "patch", "stft"] = Field("none", description="patch: pictures, volumes; stft: sounds")
    width: int = Field(32, ge=1, description="channels of its first layer")
    stages: int = Field(2, ge=1, le=6, description="patch: how often it halves")
    windows: tuple[Annotated[int, Field(ge=16)], ...] = Field(
        (128, 512), min_length=1, description="stft: of each part"
    )
    loss: Literal["hinge", "nonsaturating", "least_squares"] = Field("hinge", description="what both sides play for")
    weight: float = Field(0.3, ge=0, description="of the critic's verdict")
    feature_weight: float = Field(1.0, ge=0, description="of the distance of the critic's features")
    balance: bool = Field(
        True, description="weights are shares of the pull of the reconstruction loss, whatever the losses' own scales"
    )
    ramp_steps: int = Field(500, ge=0, description="both weights grow to their values over the first steps")
    samples: bool = Field(False, description="vae: judge samples of the prior as well (VAE-GAN)")


class Options(Strict):
    """How an autoencoder is made and trained."""

    kind: Literal["plain", "vae", "vq", "rvq", "fsq"] = Field(
        "vae", description="what lies between encoder and decoder"
    )
    codebook: CodebookOptions = CodebookOptions()
    latent: int | None = Field(
        None, ge=1, description="numbers a sample becomes (a place, where there is a grid); default: 32"
    )
    places: Literal["auto", "vector", "grid"] = Field(
        "auto", description="one vector a sample, or one a place, for samples of any size; auto: vector for plain, vae"
    )
    strides: tuple[Step | tuple[Step, ...], ...] = Field(
        (), description="of each stage, from the samples inwards; default: halve as often as the size allows"
    )
    width: int = Field(32, ge=1, description="channels after the first stage, doubled at each further one")
    stem: int | None = Field(None, ge=0, description="channels at full size; default: half the width for sound, else 0")
    blocks: int = Field(1, ge=0, description="residual blocks after each stage")
    norm: Literal["none", "group"] = Field("none", description="in the blocks")
    activation: Literal["silu", "elu", "relu", "snake"] | None = Field(
        None, description="default: elu for sound, else silu"
    )
    up: Literal["transposed", "nearest"] = Field(
        "transposed", description="how the decoder grows; nearest: repeat places and convolve, slower"
    )
    lapped: bool = Field(
        False, description="sound on a grid: begin as a lapped transform (MDCT), which stays beside the networks"
    )
    reconstruction: Reconstruction | Literal["auto"] = Field(
        "auto", description="what values are judged by; auto: gaussian for vae, l1 for sound, else l2"
    )
    deviation: float | Literal["learned"] = Field(
        "learned", description="of the gaussian or laplace likelihood, in values of [-1, 1]: one number, or learned"
    )
    reconstruction_weight: float = Field(
        1.0, ge=0, description="of the values; 0: judged by features or spectra alone (VAE-GAN)"
    )
    emphasis: float = Field(
        0.0, ge=0, lt=1, description="sound: values are compared after x(t) - emphasis * x(t - 1), as in speech coding"
    )
    spectral: SpectralOptions = SpectralOptions()
    perceptual: PerceptualOptions = PerceptualOptions()
    critic: CriticOptions = CriticOptions()
    beta: float = Field(1.0, ge=0, description="vae: weight of the KL divergence")
    free_nats: float = Field(0.0, ge=0, description="vae: KL nats of each latent number that cost nothing (free bits)")
    mixture: int = Field(10, ge=0, description="components of the mixture fitted to latents to sample from; 0: none")
