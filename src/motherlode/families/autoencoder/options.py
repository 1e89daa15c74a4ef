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
    reconstruction: Reconstruction | Literal["auto"] = Field(
        "auto", description="what values are judged by; auto: gaussian for vae, l1 for sound, else l2"
    )
    deviation: float | Literal["learned"] = Field(
        "learned", description="of the gaussian or laplace likelihood, in values of [-1, 1]: one number, or learned"
    )
    beta: float = Field(1.0, ge=0, description="vae: weight of the KL divergence")
    free_nats: float = Field(0.0, ge=0, description="vae: KL nats of each latent number that cost nothing (free bits)")
    mixture: int = Field(10, ge=0, description="components of the mixture fitted to latents to sample from; 0: none")
