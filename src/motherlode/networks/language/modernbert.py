"""transformers' own ModernBERT, built for windows of packed documents.

The class is `ModernBertForMaskedLM`, so whatever reads Hugging Face folders reads what it learns. Ours is what goes in
and what comes out: attention stays within a document and positions restart with it, as if each were alone, and the head
runs only at the places where a token has to be guessed. The head is the cost: at 1M parameters and a vocabulary of
8,192, 0.5 of 0.9 MFLOPs a token are its share.

Warner et al. 2024, "Smarter, better, faster, longer" (2412.13663).

Shape legend: B batch, T tokens of a window, C width, K places where a token is guessed, V
vocabulary.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from motherlode.networks.blocks import seeded
from motherlode.networks.language import attention
from motherlode.networks.language import folder as folders
from motherlode.networks.language.loss import chunked_cross_entropy
from motherlode.networks.language.sizes import Frame, rounded_up
from motherlode.networks.shapes import Float, Int
from motherlode.tokenizer import TokenSpace

_SHORT_TOKENS = 1024
_SHORT_THETA, _LONG_THETA = 10_000.0, 160_000.0


def build(frame: Frame, space: TokenSpace, length: int, seed: int, reach: tuple[int, int]) -> Any:
    """A `ModernBertForMaskedLM` with random weights that depend on `seed` alone.

    The gated feed-forward layer is 8/3 as wide as the model, rounded to a multiple of 64: as many weights as an
    ungated one of four times the width. Rotary angles are ModernBERT's: base 10,000, in global layers 160,000 for
    windows of more than 1,024 tokens.

    Args:
        frame: width, depth and heads.
        space: the tokens; their table gets a multiple of 64 rows.
        length: tokens of a window; the model is made for no longer ones.
        seed: of the initial weights.
        reach: how many tokens blocks that look around them see; and one block in how many sees everything.
    """
    from transformers import ModernBertConfig

    local_tokens, global_every = reach
    theta = _SHORT_THETA if length <= _SHORT_TOKENS else _LONG_THETA
    config = ModernBertConfig(
        vocab_size=rounded_up(space.vocabulary),
        hidden_size=frame.width,
        intermediate_size=max(64, round(frame.width * 8 / 3 / 64) * 64),
        num_hidden_layers=frame.depth,
        num_attention_heads=frame.heads,
        max_position_embeddings=length,
        local_attention=local_tokens,
        layer_types=["sliding_attention" if index % global_every else "full_attention" for index in range(frame.depth)],
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": theta},
            "sliding_attention": {"rope_type": "default", "rope_theta": _SHORT_THETA},
        },
        # A token that is padding gets no gradient; one that also begins documents must.
        pad_token_id=None if space.pad == space.bos else space.pad,
        bos_token_id=space.bos,
        cls_token_id=space.bos,
        eos_token_id=None,
        sep_token_id=None,
        dtype="float32",
        architectures=["ModernBertForMaskedLM"],
    )
    with seeded(seed, "network"):
        return folders.auto_class("AutoModelForMaskedLM").from_config(config, attn_implementation=attention.register())


def read(folder: Path, space: TokenSpace, length: int) -> Any:
    """The ModernBERT in a Hugging Face folder; see `folder.read`."""
    return folders.read(
        folder, space, length, loader="AutoModelForMaskedLM", kinds=("modernbert",), purpose="a ModernBERT"
    )


class MaskedNetwork(nn.Module):
    """A masked language model over packed documents: tokens to loss, in one piece that can be compiled.

    Args:
        network: `ModernBertForMaskedLM`.
        space: the tokens.
    """

    def __init__(self, network: Any, space: TokenSpace) -> None:
        super().__init__()
        self.network = network
        self.bos = space.bos
        self.pad = None if space.pad == space.bos else space.pad

    def forward(
        self,
        tokens_BT: Int[Tensor, "batch tokens"],
        inputs_BT: Int[Tensor, "batch tokens"],
        places_K: Int[Tensor, " places"],
        weights_K: Float[Tensor, " places"],
    ) -> tuple[Tensor, Tensor]:
        """Σ weight · nats, 0-d, and the nats of each place, float32 (K,), without gradient.

        Args:
            tokens_BT: the truth.
            inputs_BT: what the model sees of it.
            places_K: b·T + t, where it has to guess.
            weights_K: what each guess counts.
        """
        guessing_KC = self.network.head(self.hidden(tokens_BT, inputs_BT).flatten(0, 1)[places_K])
        decoder = self.network.decoder
        targets_K = tokens_BT.flatten()[places_K]
        return chunked_cross_entropy(guessing_KC, decoder.weight, targets_K, weights_K, bias_V=decoder.bias)

    def hidden(
        self, tokens_BT: Int[Tensor, "batch tokens"], inputs_BT: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens width"]:
        """What the model knows at each place, before the head; documents do not see each other, nor padding.

        Args:
            tokens_BT: tell where documents begin.
            inputs_BT: what the model sees.
        """
        starts_BT = attention.document_starts(tokens_BT, self.bos)
        if self.pad is not None:
            starts_BT = starts_BT.masked_fill(tokens_BT == self.pad, -1)
        place_T = torch.arange(inputs_BT.shape[1], device=inputs_BT.device)
        same_B1TT = attention.document_mask(starts_BT, causal=False)
        near_TT = (place_T[:, None] - place_T).abs() <= self.network.config.sliding_window
        output = self.network.model(
            input_ids=inputs_BT,
            attention_mask={"full_attention": same_B1TT, "sliding_attention": same_B1TT & near_TT},
            position_ids=place_T - starts_BT,
        )
        hidden_BTC: Tensor = output.last_hidden_state
        return hidden_BTC

    def logits(self, hidden: Float[Tensor, "*places width"]) -> Float[Tensor, "*places vocabulary"]:
        """The head, on hidden states of any leading shape."""
        logits: Tensor = self.network.decoder(self.network.head(hidden))
        return logits
