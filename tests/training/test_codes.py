"""Codes of a dataset: made once, by the codec they are asked of, and whole whatever stops the making."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import field_parts
import numpy as np
import pytest
import torch

from motherlode.data.dataset import Dataset
from motherlode.data.loader import whole_samples
from motherlode.errors import RecipeError
from motherlode.fields import Field
from motherlode.training import codes as codes_module
from motherlode.training.codes import Codec, open_codes


@pytest.fixture(autouse=True)
def means(monkeypatch: pytest.MonkeyPatch) -> None:
    field_parts.install(monkeypatch)


@pytest.fixture
def dataset(fashion: Path, tmp_path: Path) -> Dataset:
    import shutil

    folder = tmp_path / "data"
    shutil.copytree(fashion, folder, ignore=shutil.ignore_patterns(".cache"))
    return Dataset.open(folder)


def codec(dataset: Dataset, folder: Path, **options: Any) -> Codec:
    field_parts.codec_run(folder, dataset.spec(), **options)
    return Codec.open(folder, "image")


def test_codes_are_those_of_the_samples_one_by_one(dataset: Dataset, tmp_path: Path) -> None:
    coder = codec(dataset, tmp_path / "codec", quantisers=2)
    values_T, counts_N = open_codes(dataset, coder)
    pictures = np.concatenate(
        [np.stack(list(whole_samples(dataset, split, coder.run.spec))) for split in ("train", "heldout")]
    )
    assert len(counts_N) == len(dataset) == len(pictures)
    assert (counts_N == 4 * 4 * 2).all()
    for row in (0, 5, len(pictures) - 1):
        wanted = coder.codes([pictures[row]])[0]
        assert wanted.shape == (4, 4, 2)
        assert (values_T[row * 32 : (row + 1) * 32] == wanted.ravel()).all()
    again = coder.family.from_codes(torch.from_numpy(coder.codes([pictures[0]])[0][None]))
    assert again.shape == (1, *coder.run.spec.shape)


def test_they_are_made_once_and_anew_for_another_codec(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = codec(dataset, tmp_path / "codec")
    before = open_codes(dataset, first)[0].copy()
    moved = Codec.open((tmp_path / "codec").rename(tmp_path / "moved"), "image")
    with monkeypatch.context() as patch:
        patch.setattr(Codec, "codes", None)
        assert (open_codes(dataset, moved)[0] == before).all()
    other = codec(dataset, tmp_path / "other", top=1.5)
    assert other.digest != moved.digest
    assert (open_codes(dataset, other)[0] != before).any()
    assert (open_codes(dataset, moved)[0] == before).all()


def test_a_killed_making_goes_on_at_its_piece(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coder = codec(dataset, tmp_path / "codec")
    monkeypatch.setattr(codes_module, "PIECE_SAMPLES", 50)
    made: list[int] = []
    real = Codec.codes

    def counted(self: Codec, samples: Any) -> Any:
        made.append(len(samples))
        if len(made) == 4:
            raise KeyboardInterrupt
        return real(self, samples)

    monkeypatch.setattr(Codec, "codes", counted)
    with pytest.raises(KeyboardInterrupt):
        open_codes(dataset, coder)
    values_T = open_codes(dataset, coder)[0].copy()
    assert sum(made) == len(dataset) + 50
    monkeypatch.setattr(Codec, "codes", real)
    monkeypatch.setattr(codes_module, "PIECE_SAMPLES", 1024)
    (folder,) = dataset.path.glob(".cache/codes-*")
    flipped = bytearray((folder / "values.bin").read_bytes())
    flipped[5] ^= 1
    (folder / "values.bin").write_bytes(flipped)
    assert (open_codes(dataset, coder)[0] == values_T).all()


def test_samples_of_any_length_are_filled_with_zeros_to_whole_places(dataset: Dataset, tmp_path: Path) -> None:
    coder = codec(dataset, tmp_path / "codec")
    picture = np.full((1, 25, 28), 200, np.uint8)
    filled = np.zeros((1, 28, 28), np.uint8)
    filled[:, :25] = 200
    alone, among = coder.codes([picture]), coder.codes([filled, picture, filled[:, :7]])
    assert alone[0].shape == (4, 4, 1)
    assert (alone[0] == among[1]).all()
    assert (among[0] == among[1]).all()
    assert among[2].shape == (1, 4, 1)


def test_a_file_becomes_tokens(dataset: Dataset, tmp_path: Path) -> None:
    coder = codec(dataset, tmp_path / "codec")
    field = Field("image", "codes", 90, 100, (8,), (4, 4), "image")
    row = next(dataset.split("train").rows())
    tokens = coder.tokens_of(field, row["image"]["bytes"])
    assert (tokens == 100 + open_codes(dataset, coder)[0][:16]).all()


def test_what_is_no_codec_is_refused(dataset: Dataset, tiny_run: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="train the codec first"):
        Codec.open(tmp_path / "nothing", "image")
    with pytest.raises(RecipeError, match="codebook"):
        Codec.open(tiny_run, "image")
    field_parts.codec_run(tmp_path / "stopped", dataset.spec(), status="stopped")
    with pytest.raises(RecipeError, match="finished"):
        Codec.open(tmp_path / "stopped", "image")


def tones(folder: Path, num: int) -> Dataset:
    """Sounds of .2 to .5 s at 8 kHz, one pitch each."""
    import soundfile

    from motherlode.data.prepare import prepare

    (folder / "raw").mkdir(parents=True)
    for number in range(num):
        times = np.arange(1600 + 211 * (number % 12)) / 8000
        soundfile.write(
            folder / "raw" / f"{number:03d}.wav", 0.5 * np.sin(2 * np.pi * (200 + 37 * number) * times), 8000
        )
    options: dict[str, Any] = {"near_duplicates": "off", "outliers": "off", "workers": 1, "heldout": 0.25}
    return prepare(folder / "raw", modality="audio", out=folder / "tones", **options)


def test_sounds_are_coded_whole(tmp_path: Path) -> None:
    dataset = tones(tmp_path, 24)
    spec = dataset.spec()
    field_parts.codec_run(tmp_path / "codec", spec, stride=80, quantisers=2)
    coder = Codec.open(tmp_path / "codec", "speech")
    assert coder.is_ragged
    values_T, counts_N = open_codes(dataset, coder)
    samples = [sample for split in ("train", "heldout") for sample in whole_samples(dataset, split, spec)]
    assert counts_N.tolist() == [2 * -(-sample.shape[1] // 80) for sample in samples]
    starts_N = np.cumsum(counts_N) - counts_N
    field = Field("speech", "codes", 90, 100, (8, 8), (0,), "audio")
    for row, content in enumerate(dataset.split("train").rows()):
        tokens = coder.tokens_of(field, content["audio"]["bytes"])
        stored = values_T[starts_N[row] : starts_N[row] + counts_N[row]]
        assert (tokens == field.tokens_of(stored)).all()
        assert (field.codes_of(tokens).ravel() == stored).all()
