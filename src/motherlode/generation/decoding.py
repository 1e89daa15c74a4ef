"""What a causal language model does for generation: take tokens, give logits of what follows, and remember.

Two decoders have this form. `lean` is made for CPUs and for the two architectures a GPT is trained as; `plain` drives
any model of transformers on any device, through the model's own forward.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
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


def prepared(network: Any, dtype: torch.dtype | None = None) -> Callable[[int], Decoder]:
    """How to make decoders that compute what `network` does, the fastest way that there is.

    Args:
        network: a causal language model of transformers; it is not changed.
        dtype: of products; None: bf16 where that is faster, else float32.

    Returns:
        (number of slots) → a decoder; all of them share the weights and nothing else.
    """
    import torch

    from motherlode.generation import lean, plain

    window = window_of(network)
    if lean.fits(network):
        dtype = dtype or (torch.bfloat16 if lean.multiplies_bf16() else torch.float32)
        return partial(lean.Lean, lean.Weights(network, window, dtype))
    dtype = dtype or (torch.bfloat16 if network.device.type == "cuda" else torch.float32)
    if network.dtype != dtype:
        network = copy.deepcopy(network).to(dtype)
    return partial(plain.Plain, network, window)


def window_of(network: Any) -> int:
    """The most tokens that a text may have, its first included."""
    return int(network.config.max_position_embeddings)


def bytes_of_place(network: Any) -> int:
    """What one token of one text takes in the cache, in bf16: keys and values of every layer."""
    config = network.config
    num_groups = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * 2 * config.num_hidden_layers * num_groups * size)
