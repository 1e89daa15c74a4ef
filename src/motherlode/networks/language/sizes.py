"""How wide and deep a language model of a given size is.

A size names the parameters of the blocks, 12·width²·depth: what computes, and what scaling laws count (Kaplan et al.
2020, N without embeddings). The token tables come on top, 2·V·width: at a vocabulary of 8192 they are two thirds of all
parameters of the 1M and a twentieth of the 1B. Depth grows with width (width / depth from 26 to 85), heads stay 32, 64
or 128 wide.
"""

from __future__ import annotations

from dataclasses import dataclass

from motherlode.errors import RecipeError

_MULTIPLE = 64
"""Vocabularies and inner widths are rounded up to this: matrix kernels are slow on odd sizes."""


@dataclass(frozen=True)
class Frame:
    """Width, depth and heads of a transformer.

    Args:
        width: features of a token.
        depth: blocks.
        heads: of attention; they share the width.
    """

    width: int
    depth: int
    heads: int

    def __post_init__(self) -> None:
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise RecipeError(
                "a model's width must be a multiple of twice its heads: rotary positions turn pairs of features",
                f"width {self.width}, heads {self.heads}",
                f"use heads: {_nearest_heads(self.width, self.heads)}",
            )

    @property
    def num_block_parameters(self) -> int:
        """Parameters of the matrices in the blocks: 4·width² of attention and 8·width² of the MLP, each."""
        return 12 * self.width**2 * self.depth


SIZES = {
    "1M": Frame(128, 5, 4),
    "5M": Frame(256, 6, 4),
    "20M": Frame(512, 6, 8),
    "50M": Frame(640, 10, 10),
    "125M": Frame(896, 13, 14),
    "350M": Frame(1280, 18, 10),
    "1B": Frame(1792, 26, 14),
}


def frame_of(size: str, width: int | None = None, depth: int | None = None, heads: int | None = None) -> Frame:
    """The frame of a size, with what the recipe says otherwise; heads follow a changed width.

    Args:
        size: one of `SIZES`.
        width: instead of the size's own; likewise `depth` and `heads`.

    Raises:
        RecipeError: width and heads do not go together.
    """
    preset = SIZES[size]
    chosen = width or preset.width
    kept = heads or (preset.heads if chosen == preset.width else max(1, round(chosen / 64)))
    if heads is None and chosen % (2 * kept):
        kept = _nearest_heads(chosen, kept)
    return Frame(chosen, depth or preset.depth, kept)


def rounded_up(number: int) -> int:
    """`number`, or the next multiple of 64 above it."""
    return -(-number // _MULTIPLE) * _MULTIPLE


def _nearest_heads(width: int, wanted: int) -> int:
    """The number of heads nearest to `wanted` that divides the width into even parts; 1 where none does."""
    return min((n for n in range(1, width + 1) if width % (2 * n) == 0), key=lambda n: abs(n - wanted), default=1)
