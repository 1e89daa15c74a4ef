"""The files that make a folder load with `AutoTokenizer.from_pretrained`, from a tokenizer of ours or of anyone.

`tokenizer_files(folder)` is what a checkpoint and an export put beside their weights. A folder that already has a
`tokenizer_config.json` is someone's finished tokenizer: its files are handed on, byte for byte unless it lacks the
longest input that is asked for. One that holds `tokenizer.json` alone, as `prepare` and `train` write it, gets a
`tokenizer_config.json` naming its special tokens, and its `tokenizer.json` learns to put the bos token first, because
every document the model saw began with one: without it `model.generate(**tokenizer("Once"))` starts in a state that
training never visited. `Tokenizer.encode` adds no special tokens, before and after. It takes about 10 ms for a
vocabulary of 8,192.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from motherlode import fields
from motherlode.errors import StorageError

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
_EXTRAS = (
    fields.FILE,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "chat_template.jinja",
)
_ANY_LENGTH = 1e9
"""transformers writes 1e30 where there is no bound."""
_SPECIALS = {"bos_token": "<|bos|>", "eos_token": "<|bos|>", "pad_token": "<|pad|>", "mask_token": "<|mask|>"}
"""The name of each role of a tokenizer of ours. A document ends where the next one begins: bos is eos too."""


def tokenizer_files(folder: str | Path, *, length_tokens: int = 0) -> dict[str, bytes]:
    """File name → content of a complete Hugging Face tokenizer.

    Args:
        folder: holds `tokenizer.json`, with or without a `tokenizer_config.json`.
        length_tokens: the longest input of the model it goes with; 0 where there is no bound.

    Raises:
        StorageError: there is no `tokenizer.json`, or it is not one.
    """
    folder = Path(folder)
    try:
        raw = (folder / TOKENIZER).read_bytes()
        content = json.loads(raw)
        added = {token["content"]: token["id"] for token in content["added_tokens"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError("a tokenizer's folder must hold tokenizer.json", str(folder), repr(error)) from error
    present = {name: (folder / name).read_bytes() for name in _EXTRAS if (folder / name).is_file()}
    if (folder / CONFIG).is_file():
        return {TOKENIZER: raw, CONFIG: _bounded((folder / CONFIG).read_bytes(), length_tokens), **present}
    roles = {role: token for role, token in _SPECIALS.items() if token in added}
    if "bos_token" in roles:
        content["post_processor"] = _beginning(content.get("post_processor"), roles["bos_token"], added)
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "padding_side": "left",
        **roles,
    }
    layout = {name: data for name, data in present.items() if name == fields.FILE}
    return {TOKENIZER: _json_bytes(content), CONFIG: _bounded(_json_bytes(config), length_tokens), **layout}


def _bounded(config: bytes, length_tokens: int) -> bytes:
    """A `tokenizer_config.json` that names the longest input, where there is a bound and it names none."""
    if not length_tokens:
        return config
    found = json.loads(config)
    return (
        config
        if found.get("model_max_length", _ANY_LENGTH) < _ANY_LENGTH
        else _json_bytes({**found, "model_max_length": length_tokens})
    )


def _beginning(present: Any, bos: str, ids: dict[str, int]) -> Any:
    """A post-processor that puts `bos` before a text; one that adds tokens of its own already stays as it is."""
    if present is not None and present.get("type") != "ByteLevel":
        return present
    own = {"SpecialToken": {"id": bos, "type_id": 0}}
    first = {"Sequence": {"id": "A", "type_id": 0}}
    second = {"Sequence": {"id": "B", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [own, first],
        "pair": [own, first, second],
        "special_tokens": {bos: {"id": bos, "ids": [ids[bos]], "tokens": [bos]}},
    }


def _json_bytes(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()
