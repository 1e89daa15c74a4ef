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

from motherlode.errors import RecipeError
from motherlode.modality import TokenSpace
from motherlode.networks.blocks import seeded
from motherlode.networks.language import attention
from motherlode.networks.language.loss import chunked_cross_entropy
from motherlode.networks.language.sizes import Frame, rounded_up
from motherlode.networks.shapes import Int
from motherlode.randomness import torch_generator

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
        network = _loader().from_config(config, attn_implementation=attention.register())
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


def read(folder: Path, space: TokenSpace, length: int) -> Any:
    """The causal language model in a Hugging Face folder, in float32; nothing is unpickled, no code of its is run.

    Args:
        folder: holds `config.json` and safetensors.
        space: the tokens of the data; a `tokenizer.json` in the folder must be that of the data.
        length: tokens of the data's windows.

    Raises:
        RecipeError: no such model, of an unknown kind, of other tokens, or made for shorter sequences.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise RecipeError("a model to start from must be a Hugging Face folder", str(folder), "it holds config.json")
    _check(AutoConfig.from_pretrained(folder, local_files_only=True), folder, space, length)
    try:
        network, found = _loader().from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            attn_implementation=attention.register(),
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise RecipeError("a model's weights must be readable safetensors", str(folder), str(error)) from error
    absent = sorted(found["missing_keys"])
    if absent:
        raise RecipeError("a model's folder must hold all its weights", f"{folder} lacks {', '.join(absent[:6])}")
    return network


def _loader() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM


def _check(config: Any, folder: Path, space: TokenSpace, length: int) -> None:
    if config.model_type not in _KINDS or getattr(config, "use_sliding_window", False):
        raise RecipeError(
            "a GPT starts from a causal language model with full attention",
            f"{folder}: {config.model_type}",
            f"its config.json must say one of: {', '.join(_KINDS)}",
        )
    if length > config.max_position_embeddings:
        raise RecipeError(
            "windows must not be longer than the model was made for",
            f"data.length {length}, {folder}: {config.max_position_embeddings}",
            f"use data.length: {config.max_position_embeddings} or less",
        )
    theirs, ours = folder / "tokenizer.json", Path(space.folder) / "tokenizer.json"
    same = theirs.is_file() and _vocabulary(theirs) == _vocabulary(ours)
    if theirs.is_file() and not same:
        raise RecipeError(
            "a model must start with the tokenizer it was trained with",
            f"{theirs} differs from the data's {ours}",
            f"use data.tokenizer: {folder}",
        )
    fits = (
        config.vocab_size >= space.vocabulary if same else rounded_up(config.vocab_size) == rounded_up(space.vocabulary)
    )
    if not fits:
        raise RecipeError(
            "a model's vocabulary must be the data's",
            f"{folder}: {config.vocab_size} tokens, data: {space.vocabulary}",
            "use the tokenizer the model was trained with: data.tokenizer",
        )


def _vocabulary(path: Path) -> dict[str, int]:
    """Token → id of a `tokenizer.json`."""
    from tokenizers import Tokenizer

    found: dict[str, int] = Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True)
    return found


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
