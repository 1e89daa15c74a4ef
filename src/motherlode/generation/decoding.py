"""What a causal language model does for generation: take tokens, give logits of what follows, and remember.

Two decoders have this form. `lean` is made for CPUs and for the two architectures a GPT is trained as; `plain` drives
any model of transformers on any device, through the model's own forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


class Decoder(Protocol):
    """A model and a cache with so many slots, each of which holds one text.

    Shape legend: R texts, V vocabulary.
    """

    def feed(self, slots: Sequence[int], tokens: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """Append tokens to texts.

        Args:
            slots: of the texts, all different.
            tokens: for each of them one token or more; a text must stay within the window.

        Returns:
            Logits (R, V) of the token after the last.
        """
        ...

    def clear(self, slot: int) -> None:
        """Forget the text in a slot."""
        ...


def decoder(network: Any, num_slots: int, dtype: torch.dtype | None = None) -> Decoder:
    """The fastest decoder that computes what `network` does.

    Args:
        network: a causal language model of transformers; it is not changed.
        num_slots: texts in the cache at a time.
        dtype: of products; None: bf16 where the processor multiplies it, else float32.
    """
    import torch

    from motherlode.generation import lean, plain

    window = window_of(network)
    is_fast = lean.multiplies_bf16() if network.device.type == "cpu" else network.device.type == "cuda"
    dtype = dtype or (torch.bfloat16 if is_fast else torch.float32)
    if lean.fits(network):
        return lean.Lean(network, num_slots, window, dtype)
    return plain.Plain(network, num_slots, window, dtype)


def window_of(network: Any) -> int:
    """The most tokens that a text may have, its first included."""
    return int(network.config.max_position_embeddings)
