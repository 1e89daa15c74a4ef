"""The text modality as the rest of Motherlode uses it: tokens to files, previews, excerpts, planted copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from text_samples import CHINESE, DECLARATION, ENGLISH, POEMS

from motherlode import registry, tokenizer
from motherlode.errors import DatasetError, RecipeError
from motherlode.modality import SampleSpec
from motherlode.modality.text import MODALITY, preview, shingles
from motherlode.modality.text.options import REASONS, Clean
from motherlode.modality.text.plant import plant


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> SampleSpec:
    folder = tmp_path_factory.mktemp("tokenizer")
    found = tokenizer.train([ENGLISH, POEMS, CHINESE] * 3, 300, folder)
    return SampleSpec("text", (32,), tokens=found.space())


def test_the_registry_finds_it_and_its_parts_agree() -> None:
    assert registry.find("modality", "text") is MODALITY
    assert MODALITY.search == "bands"
    assert MODALITY.reasons is REASONS
    assert {".txt", ".md", ".html", ".pdf", ".epub", ".py"} <= MODALITY.suffixes
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in MODALITY.suffixes)
    assert not MODALITY.suffixes & {".jsonl", ".csv", ".parquet", ".arrow"}


def test_an_empty_batch_has_all_columns() -> None:
    found = MODALITY.examine([], Clean())
    one = MODALITY.examine([ENGLISH.encode()], Clean())
    assert found.media == []
    assert {name: column.dtype.kind for name, column in found.columns.items()} == {
        name: column.dtype.kind for name, column in one.columns.items()
    }
    assert found.fingerprints_NK.shape == (0, one.fingerprints_NK.shape[1])
    assert one.thumbs_NT.shape == (1, 0)
    assert MODALITY.features(one.thumbs_NT).shape == (1, 0)


def test_fingerprints_are_those_of_the_normal_form_and_zero_for_dropped_ones() -> None:
    media = [ENGLISH.encode(), b"x", (ENGLISH + "joe@acme.org").encode()]
    found = MODALITY.examine(media, Clean())
    assert found.reasons == [None, "too_short", None]
    text = np.frombuffer(found.media[2], np.uint8)
    expected = shingles.band_hashes(text, np.array([0, len(text)], np.int64))
    assert (found.fingerprints_NK[2] == expected[0]).all()
    assert not found.fingerprints_NK[1].any()


def test_tokens_become_files_and_back(spec: SampleSpec) -> None:
    text = "床前明月光 mount"
    ids = MODALITY.decode(text.encode(), spec)
    assert ids.shape == (32,)
    assert ids.dtype == np.int32
    assert spec.tokens is not None
    assert (ids[-3:] == spec.tokens.pad).all()
    assert MODALITY.encode(ids, spec) == text.encode()
    assert len(MODALITY.decode(ENGLISH.encode(), spec)) == 32
    samples = torch.from_numpy(ids)[None]
    assert MODALITY.denormalise(MODALITY.normalise(samples)).dtype == torch.int64


def test_tokens_need_a_tokenizer() -> None:
    with pytest.raises(DatasetError, match="tokenizer"):
        MODALITY.encode(np.zeros(3, np.int64))
    with pytest.raises(DatasetError, match="tokenizer"):
        MODALITY.decode(b"x", SampleSpec("text", (8,)))


def test_texts_are_not_augmented_and_have_no_thumbnails() -> None:
    samples = torch.zeros(2, 3, dtype=torch.int64)
    assert MODALITY.augment(samples, (), 1.0, torch.Generator()) is samples
    with pytest.raises(RecipeError):
        MODALITY.augment(samples, ("flip",), 1.0, torch.Generator())
    with pytest.raises(DatasetError):
        MODALITY.similarity(np.zeros((1, 0), np.uint8), np.zeros((1, 0), np.uint8))


def test_a_spec_is_windows_of_tokens() -> None:
    columns = {"characters": np.array([5, 7])}
    assert MODALITY.spec(columns, resolution=None, channels=None).shape == (256,)
    assert MODALITY.spec(columns, resolution=64, channels=None).shape == (64,)
    assert MODALITY.shapes(columns) == [(5,), (7,)]


def test_a_preview_is_a_text_file(spec: SampleSpec, tmp_path: Path) -> None:
    samples = torch.from_numpy(np.stack([MODALITY.decode(text.encode(), spec) for text in ("床前明月光", "the mount")]))
    path = MODALITY.preview(samples, tmp_path / "step-1.png", spec=spec)
    assert path == tmp_path / "step-1.txt"
    text = path.read_text(encoding="utf-8")
    assert text.index("─ 1\n床前明月光") < text.index("─ 2\nthe mount")
    MODALITY.contact_sheet([b"\xff\x00", ENGLISH.encode()], tmp_path / "kept.png", captions=["broken"])
    assert "broken\n\ufffd\ufffd" in (tmp_path / "kept.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        (b"short", "short"),
        (b"a\x1b[31m\x00b\xff", "a\ufffd[31m\ufffdb\ufffd"),
        ("left\u202eright\u200b".encode(), "left\ufffdright\ufffd"),
        (("line one\n" * 5 + "x" * 50).encode(), "line one\n" * 4 + "line one…"),
        (("月" * 60 + "y").encode(), "月" * 49 + "…"),
    ],
)  # fmt: skip
def test_excerpts_are_short_and_printable(media: bytes, expected: str) -> None:
    assert preview.snippet(media, 50) == expected


@pytest.mark.parametrize("text", [ENGLISH, CHINESE * 2, "\n\n".join(DECLARATION.values())])
def test_planted_copies_stay_alike(text: str) -> None:
    media = text.strip().encode()
    copies = plant(media)
    assert len(copies) == 5
    assert plant(media) == copies
    original = shingle_set(media)
    likeness = {kind: shingles.jaccard(original, shingle_set(copy)) for kind, copy in copies.items()}
    assert all(copy != media for kind, copy in copies.items() if kind not in ("case", "whitespace"))
    assert sum(value >= 0.75 for value in likeness.values()) >= 4, likeness


def shingle_set(media: bytes) -> np.ndarray:
    text = np.frombuffer(media, np.uint8)
    return np.unique(shingles.gram_hashes(text, np.array([0, len(text)], np.int64), shingles.SHINGLE_TOKENS)[0])


@pytest.mark.parametrize("media", [b"", b"x", b"one two", "字".encode()])
def test_planting_in_tiny_texts_does_not_raise(media: bytes) -> None:
    assert len(plant(media)) == 5
