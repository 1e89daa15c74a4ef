"""The autoencoder family's section of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from motherlode.recipe import Strict

Reconstruction = Literal["bernoulli", "gaussian", "laplace", "l1", "l2"]
Step = Annotated[int, Field(ge=1, le=64)]


class Options(Strict):
    """How an autoencoder is made and trained."""

    kind: Literal["plain", "vae"] = Field("vae", description="what lies between encoder and decoder")
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
