"""transformers' own decoders, built for windows of packed documents, and their loss.

The classes are `NanoChatForCausalLM` (rotary positions, normalised queries and keys, ReLU², soft-capped logits, a head
of its own) and `Qwen3ForCausalLM` (SwiGLU, gains on the norms), so whatever reads Hugging Face folders reads what they
learn. Ours are the initial weights, attention within documents, and a loss without all logits.

Initial weights are as in nanochat (Karpathy 2025): matrices uniform with variance 1 / fan-in, the projections that end
a branch zero, so that every block begins as the identity; tokens normal(0, 1), the head normal(0, 0.001).

Shape legend: B batch, T tokens of a window, C width, V vocabulary.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from motherlode.networks.blocks import seeded
from motherlode.networks.language import attention
from motherlode.networks.language import folder as folders
from motherlode.networks.language.loss import chunked_cross_entropy
from motherlode.networks.language.sizes import Frame, rounded_up
from motherlode.networks.shapes import Int
from motherlode.randomness import torch_generator
from motherlode.tokenizer import TokenSpace

Architecture = Literal["nanochat", "qwen3"]
_KINDS = ("nanochat", "qwen3", "qwen2", "llama")
"""Model types of transformers whose logits are the head's, soft-capped or not, and whose attention can be masked."""
_TOKENS_STD, _HEAD_STD = 1.0, 0.001
_ENDS = ("o_proj", "fc2", "down_proj")
"""Projections that end a branch."""


def build(architecture: Architecture, frame: Frame, space: TokenSpace, length: int, seed: int) -> Any:
    """A causal language model with random weights that depend on `seed` alone.

    Args:
        architecture: "nanochat" or "qwen3".
        frame: width, depth, heads. The inner width is 4 times the width; for SwiGLU 8/3, as many weights.
        space: the tokens; tables get a multiple of 64 rows.
        length: tokens of a window; the model is made for no longer ones.
        seed: of the initial weights.
    """
    config = configure(architecture, frame, space, length)
    with seeded(seed, "network"):
        network = folders.auto_class("AutoModelForCausalLM").from_config(
            config, attn_implementation=attention.register()
        )
    network.config.architectures = [type(network).__name__]
    _initialise(network, seed)
    return network


def configure(architecture: Architecture, frame: Frame, space: TokenSpace, length: int) -> Any:
    """The transformers config of such a model; see `build`."""
    from transformers import NanoChatConfig, Qwen3Config

    common: dict[str, Any] = {
        "vocab_size": rounded_up(space.vocabulary),
        "hidden_size": frame.width,
        "num_hidden_layers": frame.depth,
        "num_attention_heads": frame.heads,
        "num_key_value_heads": frame.heads,
        "head_dim": frame.width // frame.heads,
        "max_position_embeddings": length,
        "bos_token_id": space.bos,
        "eos_token_id": space.bos,
        # A token that is padding gets no gradient; one that also begins documents must.
        "pad_token_id": None if space.pad == space.bos else space.pad,
        "tie_word_embeddings": False,
        "dtype": "float32",
    }
    if architecture == "nanochat":
        return NanoChatConfig(intermediate_size=4 * frame.width, **common)
    return Qwen3Config(intermediate_size=rounded_up(frame.width * 8 // 3), **common)


@torch.no_grad()
def _initialise(network: nn.Module, seed: int) -> None:
    rng = torch_generator(seed, "weights")
    for name, parameter in network.named_parameters():
        if parameter.dim() < 2:
            continue
        module = name.split(".")[-2]
        if module == "embed_tokens":
            parameter.normal_(0.0, _TOKENS_STD, generator=rng)
        elif module == "lm_head":
            parameter.normal_(0.0, _HEAD_STD, generator=rng)
        elif module in _ENDS:
            parameter.zero_()
        else:
            limit = math.sqrt(3.0 / parameter.shape[1])
            parameter.uniform_(-limit, limit, generator=rng)


def head_blocks(network: Any) -> dict[str, tuple[int, int]]:
    """Rows and columns of one head's matrix in each weight of attention, by the weight's name in the network."""
    config = network.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    blocks = {}
    for name, parameter in network.named_parameters():
        module = name.split(".")[-2]
        if parameter.dim() == 2 and module in ("q_proj", "k_proj", "v_proj"):
            blocks[name] = (size, parameter.shape[1])
        elif parameter.dim() == 2 and module == "o_proj":
            blocks[name] = (parameter.shape[0], size)
    return blocks


def read(folder: Path, space: TokenSpace, length: int) -> Any:
    """The causal language model in a Hugging Face folder; see `folder.read`."""
    return folders.read(
        folder,
        space,
        length,
        loader="AutoModelForCausalLM",
        kinds=_KINDS,
        purpose="a causal language model with full attention",
    )


class CausalNetwork(nn.Module):
    """A causal language model over packed documents: tokens to loss, in one piece that can be compiled.

    Args:
        network: a causal language model of transformers.
        space: the tokens.
        z_weight: of log² Z in the loss.
    """

    def __init__(self, network: Any, space: TokenSpace, z_weight: float = 0.0) -> None:
        super().__init__()
        self.network = network
        self.bos = space.bos
        self.pad = None if space.pad == space.bos else space.pad
        self.z_weight = z_weight

    def forward(self, tokens_BT: Int[Tensor, "batch tokens"]) -> tuple[Tensor, Tensor]:
        """The loss, and the mean −log p of a predicted token (nats), both 0-d float32; the second without gradient.

        Each token but the first of a window is predicted from those of its document before it; `bos` too, which is how
        a model learns where texts end. Padding is not predicted.
        """
        targets_N = tokens_BT.roll(-1, 1).flatten()
        counts_BT = torch.ones_like(tokens_BT, dtype=torch.float32)
        counts_BT[:, -1] = 0.0
        weights_N = counts_BT.flatten()
        if self.pad is not None:
            weights_N = weights_N * (targets_N != self.pad)
        weights_N = weights_N / weights_N.sum().clamp_min(1.0)
        hidden_NC = self.hidden(tokens_BT).flatten(0, 1)
        loss, surprise_N = chunked_cross_entropy(
            hidden_NC,
            self.network.lm_head.weight,
            targets_N,
            weights_N,
            softcap=getattr(self.network.config, "final_logit_softcapping", None),
            z_weight=self.z_weight,
        )
        return loss, (weights_N * surprise_N).sum()

    @torch.no_grad()
    def nats(self, tokens_BT: Int[Tensor, "batch tokens"]) -> Tensor:
        """−log p of every token but the first of a row, float32 (B, T − 1), without gradients."""
        targets_N = tokens_BT[:, 1:].flatten()
        _, surprise_N = chunked_cross_entropy(
            self.hidden(tokens_BT)[:, :-1].flatten(0, 1),
            self.network.lm_head.weight,
            targets_N,
            torch.ones_like(targets_N, dtype=torch.float32),
            softcap=getattr(self.network.config, "final_logit_softcapping", None),
        )
        return surprise_N.view(len(tokens_BT), -1)

    def hidden(self, tokens_BT: Int[Tensor, "batch tokens"]) -> Tensor:
        """What the model knows at each token, (B, T, C), before the head; documents do not see each other."""
        starts_BT = attention.document_starts(tokens_BT, self.bos)
        positions_BT = torch.arange(tokens_BT.shape[1], device=tokens_BT.device) - starts_BT
        output = self.network.model(
            input_ids=tokens_BT,
            attention_mask=attention.document_mask(starts_BT),
            position_ids=positions_BT,
            use_cache=False,
        )
        hidden_BTC: Tensor = output.last_hidden_state
        return hidden_BTC
