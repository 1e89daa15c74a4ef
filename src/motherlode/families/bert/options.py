"""The BERT family's section of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from motherlode.recipe import Strict

Rate = Annotated[float, Field(gt=0, lt=1)]


class Options(Strict):
    """How a BERT is made and trained."""

    size: Literal["1M", "5M", "20M", "50M", "125M", "350M", "1B"] = Field(
        "5M", description="parameters of its blocks; the token table comes on top"
    )
    width: int | None = Field(None, ge=8, description="features of a token, instead of the size's own")
    depth: int | None = Field(None, ge=1, description="blocks, instead of the size's own")
    heads: int | None = Field(None, ge=1, description="attention heads, instead of the size's own")
    local_tokens: int | None = Field(
        None, ge=2, description="how far, in both directions together, local blocks look; default: 1/8 of a window"
    )
    global_every: int = Field(3, ge=1, description="one block in so many, the first among them, looks at everything")
    mask_rate: Rate | Literal["uniform"] = Field(
        0.3, description="share of tokens hidden; uniform: any share, weighted to bound the likelihood (diffusion)"
    )
    start: str = Field("", description="a Hugging Face folder whose weights to start from; the shape is then its own")

    @model_validator(mode="after")
    def _start_decides_the_shape(self) -> Options:
        shape = {"size", "width", "depth", "heads", "local_tokens", "global_every"} & self.model_fields_set
        if self.start and shape:
            raise ValueError(f"a model that starts from a folder has its shape: leave out {', '.join(sorted(shape))}")
        return self
