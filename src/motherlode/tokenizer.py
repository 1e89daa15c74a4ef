"""Text to token ids and back: byte-level BPE trained on the data, or any tokenizer folder of Hugging Face.

Byte-level means that every text has tokens and every token has bytes, so bits per byte are exact and nothing is ever
unknown. The library is `tokenizers` (Rust; 3-6 MB/s a core); ours are the special tokens, the bytes behind each id, and
the refusal of a vocabulary that the text cannot fill.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode import fields, storage
from motherlode.errors import DatasetError

FILE = "tokenizer.json"
BOS, PAD, MASK = "<|bos|>", "<|pad|>", "<|mask|>"
SPECIAL = (BOS, PAD, MASK, "<|user|>", "<|assistant|>", "<|end|>")
"""In the order of their ids, which come first."""
NUM_BYTES = 256
LEAST_VOCABULARY = NUM_BYTES + len(SPECIAL)
_LONGEST_TOKEN_BYTES = 64
# Words keep their leading space, digits go by three, punctuation apart: what GPT-4 splits by, without its contractions.
_WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
_BOS_NAMES = (BOS, "<|endoftext|>", "<|begin_of_text|>", "<s>", "[CLS]", "<bos>", "<|im_start|>")
_PAD_NAMES = (PAD, "<|padding|>", "[PAD]", "<pad>", "<|endoftext|>", "</s>")
_MASK_NAMES = (MASK, "[MASK]", "<mask>", "<|mdm_mask|>")


@dataclass(frozen=True)
class TokenSpace:
    """The tokens in which a model sees sequences.

    Args:
        vocabulary: number of token ids, special ones included.
        bos: begins every document of a packed stream.
        pad: fills short sequences.
        mask: stands for a token to be guessed; -1 where the tokenizer has none.
        folder: where the tokenizer's files lie (`tokenizer.json`).
    """

    vocabulary: int
    bos: int
    pad: int
    mask: int
    folder: str


class Tokenizer:
    """A `tokenizer.json`, and what a model needs to know of it.

    Args:
        folder: that holds it.
        backend: `tokenizers.Tokenizer`.
    """

    def __init__(self, folder: Path, backend: Any) -> None:
        self.folder = folder
        self.backend = backend
        # A document that spells out "<|bos|>" is text like any other.
        backend.encode_special_tokens = True
        backend.no_truncation()
        backend.no_padding()

    def __len__(self) -> int:
        return int(self.backend.get_vocab_size(with_added_tokens=True))

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Token ids of each text, int32 (T,), without special ones."""
        found = self.backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(encoding.ids, np.int32) for encoding in found]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, special ones left out; bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes behind token ids."""
        table = self.token_bytes
        return b"".join(table[number] for number in ids if 0 <= number < len(table))

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """The bytes behind each id, b"" for special ones; exact for byte-level tokenizers."""
        special = {number for number, token in self.backend.get_added_tokens_decoder().items() if token.special}
        inverse = _byte_of_sign() if self._is_byte_level else None
        table = []
        for number in range(len(self)):
            token = self.backend.id_to_token(number)
            if token is None or number in special:
                table.append(b"")
            elif inverse is not None and all(sign in inverse for sign in token):
                table.append(bytes(inverse[sign] for sign in token))
            else:
                table.append(_plain_bytes(token))
        return table

    @cached_property
    def num_bytes_V(self) -> NDArray[np.int64]:
        """How many bytes stand behind each id, int64 (V,)."""
        return np.array([len(token) for token in self.token_bytes], np.int64)

    @cached_property
    def digest(self) -> str:
        """Hash of all that decides `encode` and what added tokens mean, by which packed tokens are found again."""
        content = json.loads(self.backend.to_str())
        deciding = {key: content.get(key) for key in ("added_tokens", "normalizer", "pre_tokenizer", "model")}
        if (self.folder / fields.FILE).is_file():
            deciding["fields"] = (self.folder / fields.FILE).read_text(encoding="utf-8")
        return storage.hash_bytes(json.dumps(deciding, sort_keys=True).encode())

    def space(self) -> TokenSpace:
        """The tokens a model sees.

        Raises:
            DatasetError: no token can stand at the beginning of a document.
        """
        bos = self._first_of(_BOS_NAMES)
        if bos < 0:
            raise DatasetError(
                "a tokenizer must have a token that begins or ends documents",
                f"{self.folder}: none of {' '.join(_BOS_NAMES)}",
                "add one to its tokenizer.json, or use data.tokenizer: auto",
            )
        pad = self._first_of(_PAD_NAMES)
        return TokenSpace(len(self), bos, bos if pad < 0 else pad, self._first_of(_MASK_NAMES), str(self.folder))

    @property
    def _is_byte_level(self) -> bool:
        content = json.loads(self.backend.to_str())
        return "ByteLevel" in json.dumps([content.get("decoder"), content.get("pre_tokenizer")])

    def _first_of(self, names: Sequence[str]) -> int:
        found = (self.backend.token_to_id(name) for name in names)
        return next((int(number) for number in found if number is not None), -1)


def train(texts: Iterable[str], vocabulary: int, folder: Path) -> Tokenizer:
    """Train byte-level BPE (Sennrich et al. 2016; bytes as in Radford et al. 2019) and write it to `folder`.

    Args:
        texts: what to learn from; the same texts give the same tokenizer.
        vocabulary: ids in all, special ones and the 256 bytes included.
        folder: gets `tokenizer.json`.

    Raises:
        DatasetError: the text is too small or too uniform to fill that vocabulary.
    """
    from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Backend

    if vocabulary < LEAST_VOCABULARY:
        raise DatasetError(
            f"a vocabulary must have at least {LEAST_VOCABULARY} tokens: the bytes and the special ones",
            vocabulary,
            f"use data.vocabulary: {LEAST_VOCABULARY} for a byte-level model",
        )
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[AddedToken(name, special=True) for name in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=_LONGEST_TOKEN_BYTES,
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    found = backend.get_vocab_size()
    if found < vocabulary:
        raise DatasetError(
            "a vocabulary must not be larger than the text can fill",
            f"{vocabulary} asked for, {found} found",
            f"use data.vocabulary: {found} or less, or prepare more text",
        )
    folder.mkdir(parents=True, exist_ok=True)
    storage.write_text(folder / FILE, backend.to_str(pretty=False))
    return Tokenizer(folder, backend)


def load(folder: str | Path) -> Tokenizer:
    """The tokenizer in a folder (or of a `tokenizer.json`).

    Raises:
        DatasetError: there is none, or it cannot be read.
    """
    path = Path(folder)
    path = path.parent if path.name == FILE else path
    if not (path / FILE).is_file():
        raise DatasetError(
            "a tokenizer folder must hold tokenizer.json",
            str(path),
            storage.near_path(path, "save it with `save_pretrained` of a fast tokenizer, or use data.tokenizer: auto"),
        )
    return _load(path, (path / FILE).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _load(folder: Path, _stamp: int) -> Tokenizer:
    from tokenizers import Tokenizer as Backend

    try:
        return Tokenizer(folder, Backend.from_file(str(folder / FILE)))
    except Exception as error:
        raise DatasetError("tokenizer.json must be readable by `tokenizers`", str(folder), str(error)) from error


def _plain_bytes(token: str) -> bytes:
    """Bytes of a token that is no byte-level one: SentencePiece's space and byte tokens, WordPiece's continuations."""
    if len(token) == len("<0x00>") and token.startswith("<0x") and token.endswith(">"):
        return bytes([int(token[3:5], 16)])
    return token.removeprefix("##").replace("▁", " ").encode()


@lru_cache(maxsize=1)
def _byte_of_sign() -> dict[str, int]:
    """The byte each printable sign stands for in byte-level vocabularies (Radford et al. 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(NUM_BYTES) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(NUM_BYTES + number): byte for number, byte in enumerate(others)
    }
