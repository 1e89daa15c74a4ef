"""Reads a model of transformers from a Hugging Face folder, and refuses one that does not fit the data.

Nothing is unpickled and no code of the folder's is run: `config.json` and safetensors, nothing else. A tokenizer beside
the weights must be the data's, for the same ids would else mean other tokens and training would go on without a word.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from motherlode.errors import RecipeError
from motherlode.networks.language import attention
from motherlode.networks.language.sizes import rounded_up
from motherlode.tokenizer import TokenSpace


def read(folder: Path, space: TokenSpace, length: int, *, loader: str, kinds: tuple[str, ...], purpose: str) -> Any:
    """The network in a folder, in float32, with the attention of this package.

    Args:
        folder: holds `config.json` and safetensors.
        space: the tokens of the data; a `tokenizer.json` in the folder must be that of the data.
        length: tokens of the data's windows.
        loader: which of transformers' auto classes reads it.
        kinds: model types that will do.
        purpose: what the model is to be, for the message that refuses another kind.

    Raises:
        RecipeError: no such model, of an unknown kind, of other tokens, made for shorter sequences, or not whole.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise RecipeError("a model to start from must be a Hugging Face folder", str(folder), "it holds config.json")
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type not in kinds or getattr(config, "use_sliding_window", False):
        fix = f"its config.json must say one of: {', '.join(kinds)}"
        raise RecipeError(f"a model to start from must be {purpose}", f"{folder}: {config.model_type}", fix)
    _check(config, folder, space, length)
    try:
        network, found = auto_class(loader).from_pretrained(
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
        raise RecipeError(
            "a model's folder must hold all its weights", f"{folder} lacks {', '.join(absent[:6])}", "copy it whole"
        )
    return network


def auto_class(name: str) -> Any:
    """One of transformers' auto classes, e.g. "AutoModelForCausalLM"."""
    import transformers

    return getattr(transformers, name)


def _check(config: Any, folder: Path, space: TokenSpace, length: int) -> None:
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
