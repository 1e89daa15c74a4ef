"""The oracle is transformers: what `AutoTokenizer` makes of the folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from motherlode.errors import StorageError
from motherlode.tokenizer_files import tokenizer_files

TEXT = "Once upon a time 春眠不觉晓 🙂 don 't ."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A byte-level BPE of 300 tokens, as training writes it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|bos|>", "<|pad|>", "<|mask|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT * 5], trainer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def written(files: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def test_transformers_loads_it_with_its_special_tokens_and_begins_with_bos(folder: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(written(tokenizer_files(folder, length_tokens=64), tmp_path / "out"))
    ours = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert (loaded.bos_token, loaded.eos_token, loaded.pad_token, loaded.mask_token) == (
        "<|bos|>",
        "<|bos|>",
        "<|pad|>",
        "<|mask|>",
    )
    assert loaded.model_max_length == 64
    assert loaded(TEXT)["input_ids"] == [loaded.bos_token_id, *ours.encode(TEXT, add_special_tokens=False).ids]
    assert loaded.decode(loaded(TEXT)["input_ids"], skip_special_tokens=True) == TEXT
    batch = loaded([TEXT, "Once"], padding=True)
    assert batch["input_ids"][1][0] == loaded.pad_token_id


def test_encoding_without_special_tokens_is_what_it_was(folder: Path, tmp_path: Path) -> None:
    out = written(tokenizer_files(folder), tmp_path / "out")
    before = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT, add_special_tokens=False).ids
    after = Tokenizer.from_file(str(out / "tokenizer.json")).encode(TEXT, add_special_tokens=False).ids
    assert before == after


def test_a_finished_tokenizer_is_handed_on_byte_for_byte(folder: Path, tmp_path: Path) -> None:
    out = written(tokenizer_files(folder), tmp_path / "out")
    (out / "chat_template.jinja").write_text("{{ messages }}")
    again = tokenizer_files(out)
    assert set(again) == {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    assert all((out / name).read_bytes() == content for name, content in again.items())


def test_a_finished_tokenizer_is_told_the_longest_input_where_it_names_none(folder: Path, tmp_path: Path) -> None:
    out = written(tokenizer_files(folder), tmp_path / "out")
    config = json.loads(tokenizer_files(out, length_tokens=64)["tokenizer_config.json"])
    assert config["model_max_length"] == 64
    (out / "tokenizer_config.json").write_text(json.dumps(config))
    assert tokenizer_files(out, length_tokens=32)["tokenizer_config.json"] == json.dumps(config).encode()


def test_a_tokenizer_without_our_special_tokens_claims_none(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    content["added_tokens"] = []
    (folder / "tokenizer.json").write_text(json.dumps(content))
    config = json.loads(tokenizer_files(folder)["tokenizer_config.json"])
    assert not {key for key in config if key.endswith("_token")}


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"\xff\xfe", b"[]"], ids=["absent", "empty", "cut", "not text", "a list"]
)
def test_what_is_no_tokenizer_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(StorageError, match=r"tokenizer\.json"):
        tokenizer_files(tmp_path)
