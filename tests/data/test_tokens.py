"""Packing: documents whole and in order, the same bytes whatever was interrupted, a refusal of bad tokenizers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from motherlode import storage
from motherlode import tokenizer as tokenizers
from motherlode.data import tokens
from motherlode.data.dataset import Dataset
from motherlode.errors import DatasetError
from motherlode.recipe import DataOptions

from .texts import prose, write_texts

CHINESE = "床前明月光,疑是地上霜。举头望明月,低头思故乡。"
TEXTS = [prose(number, 20 + 13 * number % 90) for number in range(30)] + [CHINESE, "😀 <|bos|> \x00 end"]


def options(dataset: Dataset, **more: object) -> DataOptions:
    return DataOptions(path=str(dataset.path), vocabulary=300, **more)  # type: ignore[arg-type]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return write_texts(tmp_path / "data", {"prose": TEXTS}, [prose(99, 40)], shard_rows=10)


def test_every_document_comes_back_behind_its_beginning(dataset: Dataset) -> None:
    tokenizer = tokenizers.load(tokens.find_tokenizer(dataset, options(dataset)).folder)
    packed = tokens.open_packed(dataset, "train", tokenizer)
    bos = tokenizer.space().bos
    assert len(packed) == len(TEXTS)
    assert packed.tokens_T.dtype == np.uint16
    for number, text in enumerate(TEXTS):
        document = packed.document(number)
        assert document[0] == bos
        assert (document[1:] != bos).all()
        assert tokenizer.decode(document[1:].tolist()) == text
        assert packed.num_bytes_N[number] == len(text.encode())
    assert packed.num_tokens == len(packed.tokens_T)


def test_bytes_of_tokens_add_up_to_the_text(dataset: Dataset) -> None:
    tokenizer = tokens.find_tokenizer(dataset, options(dataset))
    for text, ids in zip(TEXTS, tokenizer.encode(TEXTS), strict=True):
        assert tokenizer.decode_bytes(ids) == text.encode()
        assert int(tokenizer.num_bytes_V[ids].sum()) == len(text.encode())


def test_the_same_text_trains_the_same_tokenizer_once(dataset: Dataset) -> None:
    first = tokens.find_tokenizer(dataset, options(dataset))
    stamp = (first.folder / tokenizers.FILE).stat().st_mtime_ns
    again = tokens.find_tokenizer(dataset, options(dataset))
    assert (again.folder / tokenizers.FILE).stat().st_mtime_ns == stamp
    text = (first.folder / tokenizers.FILE).read_text()
    (first.folder / tokenizers.FILE).unlink()
    assert (tokens.find_tokenizer(dataset, options(dataset)).folder / tokenizers.FILE).read_text() == text


def test_heldout_text_is_not_learnt_from(tmp_path: Path) -> None:
    word = "zyzzyva" * 3
    dataset = write_texts(tmp_path / "data", {"prose": TEXTS}, [f"{word} {word} {word}"] * 50)
    assert not any(b"zyz" in token for token in tokens.find_tokenizer(dataset, options(dataset)).token_bytes)


def test_packing_takes_up_where_it_was_killed(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tokens.find_tokenizer(dataset, options(dataset))
    whole = np.array(tokens.open_packed(dataset, "train", tokenizer).tokens_T)
    (folder,) = dataset.path.glob(".cache/tokens-train-*")
    for path in folder.iterdir():
        path.unlink()
    packed_shards: list[str] = []
    real = tokens._pack_shard

    def killed(dataset: Dataset, shard: str, *rest: object) -> object:
        if len(packed_shards) == 2:
            raise KeyboardInterrupt
        packed_shards.append(shard)
        return real(dataset, shard, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(tokens, "_pack_shard", killed)
    with pytest.raises(KeyboardInterrupt):
        tokens.open_packed(dataset, "train", tokenizer)
    packed_shards.clear()
    assert (np.array(tokens.open_packed(dataset, "train", tokenizer).tokens_T) == whole).all()
    assert len(packed_shards) == len(dataset.split("train").shards) - 2


def test_a_flipped_bit_is_packed_again(dataset: Dataset) -> None:
    tokenizer = tokens.find_tokenizer(dataset, options(dataset))
    whole = np.array(tokens.open_packed(dataset, "train", tokenizer).tokens_T)
    (path,) = dataset.path.glob(".cache/tokens-train-*/values.bin")
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(bytes(content))
    assert (np.array(tokens.open_packed(dataset, "train", tokenizer).tokens_T) == whole).all()


def test_what_follows_the_model_in_a_tokenizer_does_not_matter(dataset: Dataset, tmp_path: Path) -> None:
    from motherlode.tokenizer_files import tokenizer_files

    tokenizer = tokens.find_tokenizer(dataset, options(dataset))
    folder = tmp_path / "copy"
    folder.mkdir()
    for name, content in tokenizer_files(tokenizer.folder).items():
        (folder / name).write_bytes(content)
    copy = tokenizers.load(folder)
    assert storage.hash_file(folder / tokenizers.FILE) != storage.hash_file(tokenizer.folder / tokenizers.FILE)
    assert copy.digest == tokenizer.digest
    assert copy.space().bos == tokenizer.space().bos


def test_a_vocabulary_must_be_one_the_text_can_fill(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match="larger than the text can fill"):
        tokens.find_tokenizer(dataset, DataOptions(path=str(dataset.path), vocabulary=50_000))


def test_no_tokenizer_and_a_broken_one_are_told_apart(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"must hold tokenizer\.json"):
        tokens.find_tokenizer(dataset, options(dataset, tokenizer=str(tmp_path)))
    (tmp_path / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(DatasetError, match="must be readable"):
        tokens.find_tokenizer(dataset, options(dataset, tokenizer=str(tmp_path)))


def test_tokenizers_of_others_have_bytes_too(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    backend = Tokenizer(models.WordPiece({"[UNK]": 0, "[CLS]": 1, "[MASK]": 2, "ore": 3, "##s": 4}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(["[UNK]", "[CLS]", "[MASK]"])
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = tokenizers.load(tmp_path)
    assert tokenizer.token_bytes == [b"", b"", b"", b"ore", b"s"]
    assert (tokenizer.space().bos, tokenizer.space().mask) == (1, 2)


def test_a_tokenizer_without_a_beginning_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models

    Tokenizer(models.WordPiece({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(DatasetError, match="begins or ends documents"):
        tokenizers.load(tmp_path).space()


def test_how_a_tokenizer_fits_is_counted_on_heldout_text(tmp_path: Path) -> None:
    dataset = write_texts(tmp_path / "data", {"prose": TEXTS}, [prose(4, 60), prose(9, 30)])
    tokenizer = tokens.find_tokenizer(dataset, options(dataset))
    ids = tokenizer.encode([prose(4, 60), prose(9, 30)])
    num_bytes = len(prose(4, 60)) + len(prose(9, 30))
    found = tokens.describe(dataset, tokenizer)
    assert found["bytes_per_token"] == pytest.approx(num_bytes / sum(map(len, ids)))
    assert found["vocabulary"] == 300
