"""Sound from a folder to batches: captions, whole voices held out, ragged samples in windows."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "modality"))
from audio_samples import RATE, broken, file, voice

import motherlode as ml
from motherlode.data.captions import Captions
from motherlode.data.dataset import Dataset
from motherlode.data.loader import Loader, whole_samples
from motherlode.errors import DatasetError, RecipeError, SourceError
from motherlode.modality.audio import MODALITY

JSON_LINES = """{"audio": "hello-world.wav", "sentence": "Hello, world: it is me."}
{"audio": "sub/other.wav", "sentence": "Other."}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labels, four voices, lengths between 0.2 and 1 s; captions beside them."""
    root = tmp_path_factory.mktemp("sounds") / "source"
    rng = np.random.default_rng(0)
    for label in ("no", "yes"):
        for speaker in range(4):
            for take in range(3):
                path = root / label / f"voice-{speaker}" / f"{take}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                seed = 100 * speaker + 10 * take + (label == "yes")
                path.write_bytes(file(voice(rng.uniform(0.2, 1.0), seed=seed, pitch=90 + 20 * speaker + 3 * take)))
                path.with_suffix(".txt").write_text(f"{label}, said {speaker}")
    return root


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    options = {"heldout_by": "folder", "heldout": 0.25, "clean": {"rate": 8000}}
    return ml.prepare(folder, modality="audio", out=folder.parent / "dataset", **options)


def test_whole_voices_are_held_out(dataset: Dataset) -> None:
    named = {split: {row["caption"][-1] for row in dataset.split(split).rows()} for split in ("train", "heldout")}
    assert 1 <= len(named["heldout"]) <= 2
    assert not named["train"] & named["heldout"]
    assert dataset.facts["findings"]["heldout_groups"] == sorted(f"voice-{number}" for number in named["heldout"])
    assert set(dataset.split("heldout").column("label")) == {0, 1}


def test_which_voices_does_not_change_when_data_grow(folder: Path, dataset: Dataset, tmp_path: Path) -> None:
    import shutil

    more = shutil.copytree(folder, tmp_path / "more")
    for speaker in range(4):
        (more / "yes" / f"voice-{speaker}" / "9.wav").write_bytes(file(voice(0.7, seed=77 + speaker)))
    grown = ml.prepare(more, modality="audio", out=tmp_path / "grown", heldout_by="folder", heldout=0.25)
    assert grown.facts["findings"]["heldout_groups"] == dataset.facts["findings"]["heldout_groups"]


def test_one_folder_cannot_be_held_out_of_itself(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="folders"):
        ml.prepare(folder / "yes" / "voice-0", modality="audio", out=tmp_path / "d", heldout_by="folder")


def test_every_row_has_its_measures_and_its_caption(dataset: Dataset) -> None:
    row = next(dataset.split("train").rows())
    assert row["audio"]["bytes"].startswith(b"fLaC")
    assert row["caption"].startswith(("yes", "no"))
    assert row["rate"] == 8000
    assert row["duration_sec"] == pytest.approx(row["num_values"] / 8000)
    spec = dataset.spec()
    assert (spec.rate, spec.num_labels, spec.shape[0]) == (8000.0, 2, 1)


def test_whole_samples_are_the_files_and_windows_lie_within_them(dataset: Dataset) -> None:
    spec = replace(dataset.spec(seconds=0.3), num_labels=2)
    assert spec.shape == (1, 2400)
    whole = whole_samples(dataset, "train", spec)
    rows = list(dataset.split("train").rows())
    assert len(whole) == len(rows)
    for sample, row in zip(whole, rows):
        assert np.array_equal(sample, MODALITY.decode(row["audio"]["bytes"], replace(spec, shape=(1, 0))))
    loader = Loader(dataset, "train", spec, seed=3, batch=4)
    samples, labels, drawn = loader.draw(5)
    assert samples.dtype == np.int16
    assert samples.shape == (4, 1, 2400)
    assert labels is not None
    for window, row in zip(samples, drawn):
        sample = whole[int(row)]
        if sample.shape[1] < 2400:
            assert np.array_equal(window[:, : sample.shape[1]], sample)
            assert not window[:, sample.shape[1] :].any()
        else:
            views = np.lib.stride_tricks.sliding_window_view(sample[0], 2400)
            assert (views == window[0]).all(axis=1).any()


def test_a_draw_is_a_function_of_seed_and_index_whatever_the_ranks(dataset: Dataset) -> None:
    spec = dataset.spec(seconds=0.1)
    one, again = (Loader(dataset, "train", spec, seed=3, batch=4) for _ in range(2))
    halves = [Loader(dataset, "train", spec, seed=3, batch=4, rank=rank, world=2) for rank in range(2)]
    for index in (0, 7):
        samples = one.draw(index)[0]
        assert np.array_equal(samples, again.draw(index)[0])
        assert np.array_equal(samples, np.concatenate([half.draw(index)[0] for half in halves]))
    assert not np.array_equal(one.draw(0)[0], Loader(dataset, "train", spec, seed=4, batch=4).draw(0)[0])
    places = {one.draw(index)[0].tobytes() for index in range(12)}
    assert len(places) == 12


def test_windows_of_any_length_share_one_cache_and_a_flipped_bit_is_mended(dataset: Dataset) -> None:
    spec = dataset.spec(seconds=0.1)
    before = Loader(dataset, "heldout", spec, seed=0, batch=2).take([0, 1])[0]
    other = Loader(dataset, "heldout", dataset.spec(seconds=0.2), seed=0, batch=2).take([0, 1])[0]
    assert np.array_equal(other[..., : before.shape[-1]], before)
    caches = list((dataset.path / ".cache").glob("heldout-*/samples.i16"))
    assert len(caches) == 1
    content = bytearray(caches[0].read_bytes())
    content[10] ^= 1
    caches[0].write_bytes(content)
    assert np.array_equal(Loader(dataset, "heldout", spec, seed=0, batch=2).take([0, 1])[0], before)


def test_another_rate_is_resampled_when_decoded(dataset: Dataset) -> None:
    spec = replace(dataset.spec(seconds=0.1), rate=4000.0)
    whole = whole_samples(dataset, "heldout", spec)
    counts = dataset.split("heldout").column("num_values")
    assert [sample.shape[1] for sample in whole] == [round(num / 2) for num in counts.tolist()]


def test_broken_sounds_are_counted_and_nothing_is_lost(tmp_path: Path) -> None:
    source = tmp_path / "mixed"
    source.mkdir()
    bad = broken()
    for number, (media, _) in enumerate(bad.values()):
        (source / f"bad-{number}.wav").write_bytes(media)
    for seed in range(3):
        (source / f"good-{seed}.wav").write_bytes(file(voice(seed=seed, pitch=100 + 30 * seed)))
    (source / "lonely.txt").write_text("a caption without a sound")
    made = ml.prepare(source, modality="audio", out=tmp_path / "dataset", heldout=0.0)
    expected: dict[str, int] = {}
    for _, reason in bad.values():
        expected[reason] = expected.get(reason, 0) + 1
    assert made.facts["dropped"] == expected
    assert made.facts["in"] == len(bad) + 3
    assert len(made) == 3
    assert made.facts["ignored"] == {".txt": 1}


def test_altered_copies_are_sounds_of_their_own(folder: Path, tmp_path: Path) -> None:
    made = ml.prepare(folder, modality="audio", out=tmp_path / "copies", augment=2, heldout=0.2)
    left_out = sum(made.facts["augmented_left_out"].values())
    assert made.facts["augmented"] + left_out == made.summary()["train"] - made.facts["augmented"]
    copies = [row for row in made.split("train").rows() if row["parent"]]
    assert len(copies) > 5
    assert all(row["rate"] == RATE for row in copies)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "; a comment\n\nhello-world: Hello, world: it is me.\nsub/other: Other."),
        ("list.txt", "hello-world|Hello, world: it is me.\nsub/other|Other."),
        ("list.tsv", "file\ttext\nhello-world.wav\tHello, world: it is me.\nsub/other.wav\tOther."),
        ("list.csv", 'path,transcript\nhello-world.wav,"Hello, world: it is me."\nsub/other.wav,Other.'),
        ("list.jsonl", JSON_LINES),
    ],
)
def test_captions_come_from_one_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    captions = Captions.read(str(tmp_path / name))
    assert captions.of("deep/hello-world.wav") == "Hello, world: it is me."
    assert captions.of("hello-world.flac") == "Hello, world: it is me."
    assert captions.of("other.wav") is None
    assert captions.num_unused == 1
    assert captions.of("sub/other.wav") == "Other."
    assert captions.num_unused == 0


def test_captions_without_sounds_and_sounds_without_captions_are_counted(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "captions.txt").write_text("voice-0/0: zero\nnobody: here")
    bare = tmp_path / "bare"
    bare.mkdir()
    for number in range(2):
        (bare / f"{number}.wav").write_bytes(file(voice(seed=number, pitch=100 + 50 * number)))
    (tmp_path / "captions.txt").write_text("0: zero\nnobody: here")
    options = {"captions": str(tmp_path / "captions.txt"), "heldout": 0.0}
    made = ml.prepare(bare, modality="audio", out=tmp_path / "dataset", **options)
    assert sorted(row["caption"] or "" for row in made) == ["", "zero"]
    assert made.facts["ignored"] == {"captions without a file": 1}
    with pytest.raises(SourceError, match="captions"):
        ml.prepare(bare, modality="audio", out=tmp_path / "no", captions=str(tmp_path / "missing.txt"))


def test_sound_has_no_resolution(dataset: Dataset) -> None:
    with pytest.raises(RecipeError, match="seconds"):
        dataset.spec(resolution=64)
