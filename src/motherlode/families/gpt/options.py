"""The GPT family's section of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from motherlode.recipe import Strict


class Options(Strict):
    """How a GPT is made and trained."""

    size: Literal["1M", "5M", "20M", "50M", "125M", "350M", "1B"] = Field(
        "5M", description="parameters of its blocks; the token tables come on top"
    )
    architecture: Literal["nanochat", "qwen3"] = Field("qwen3", description="which of transformers' classes")
    width: int | None = Field(None, ge=8, description="features of a token, instead of the size's own")
    depth: int | None = Field(None, ge=1, description="blocks, instead of the size's own")
    heads: int | None = Field(None, ge=1, description="attention heads, instead of the size's own")
    z_loss: float = Field(
        0.0, ge=0, description="weight of log² Z, which keeps logits from drifting; 1e-4 is customary"
    )
    start: str = Field(
        "", description="a Hugging Face folder whose weights to start from; size and architecture are then its own"
    )

    @model_validator(mode="after")
    def _start_decides_the_shape(self) -> Options:
        shape = {"size", "architecture", "width", "depth", "heads"} & self.model_fields_set
        if self.start and shape:
            raise ValueError(f"a model that starts from a folder has its shape: leave out {', '.join(sorted(shape))}")
        return self
