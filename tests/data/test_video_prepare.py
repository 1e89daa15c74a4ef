"""Folders, tables and tars of clips become a dataset: every file is counted, killed work goes on, bytes agree."""

from __future__ import annotations

import json
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from motherlode.data.dataset import Dataset
from motherlode.data.loader import Loader
from motherlode.data.prepare import prepare
from motherlode.modality import SampleSpec
from motherlode.modality.video import MODALITY
from motherlode.modality.video.files import write_ffv1, write_mp4

SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "data" / "moving-fashion.parquet"


def scene(seed: int, frames: int = 18) -> np.ndarray:
    """uint8 (F, 32, 40, 3): a camera pans over random colours."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 8, 3)).astype(np.float32)
    wide = np.kron(small, np.ones((8, 8, 1), np.float32))
    return np.stack([wide[:, t : t + 40] for t in range(frames)]).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two labels, captions beside the files, one copy, and four that are unfit."""
    home = tmp_path / "clips"
    for number in range(12):
        path = home / ("left" if number % 2 else "right") / f"{number:02d}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(write_mp4(scene(number), 8.0, quality=10))
        path.with_suffix(".txt").write_text(f"clip number {number}")
    (home / "left" / "copy.mp4").write_bytes(write_mp4(scene(1), 8.0, quality=30))
    (home / "left" / "empty.mp4").write_bytes(b"")
    (home / "left" / "text.mkv").write_text("no film")
    (home / "right" / "cut.mp4").write_bytes((home / "right" / "00.mp4").read_bytes()[:900])
    (home / "right" / "still.mp4").write_bytes(write_mp4(scene(50, frames=1), 8.0))
    (home / "right" / "alone.txt").write_text("a caption without a clip")
    return home


def test_a_folder_is_counted_to_the_last_file(folder: Path, tmp_path: Path) -> None:
    data = prepare(folder, modality="video", out=tmp_path / "out", heldout=0.25, outliers="off", workers=1)
    assert data.facts["in"] == 17
    assert data.facts["kept"] == 12
    assert data.facts["dropped"] == {
        "empty": 1, "near_duplicate": 1, "single_frame": 1, "truncated": 1, "unknown_format": 1,
    }  # fmt: skip
    assert data.labels == ["left", "right"]
    rows = {row["video"]["path"]: row for row in data}
    assert rows["right/04.mp4"]["caption"] == "clip number 4"
    assert (rows["right/04.mp4"]["frames"], rows["right/04.mp4"]["rate"]) == (16, 8.0)
    assert data.spec() == SampleSpec("video", (3, 16, 32, 32), num_labels=2, rate=8.0)
    assert (tmp_path / "out" / "card.html").is_file()
    croissant = json.loads((tmp_path / "out" / "croissant.json").read_text())
    kinds = {field["dataType"] for records in croissant["recordSet"] for field in records["field"]}
    assert "sc:VideoObject" in kinds


def test_any_number_of_workers_and_a_second_go_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    made = [prepare(folder, modality="video", out=tmp_path / f"out{n}", workers=n) for n in (1, 2)]
    files = [{p.relative_to(data.path): p.read_bytes() for p in data.path.rglob("*.parquet")} for data in made]
    assert files[0] == files[1]
    assert prepare(folder, modality="video", out=tmp_path / "out1").id == made[0].id


def test_the_loader_hands_over_the_very_frames(folder: Path, tmp_path: Path) -> None:
    data = prepare(folder, modality="video", out=tmp_path / "out", workers=1, clean={"resolution": 32})
    spec = data.spec()
    loader = Loader(data, "train", spec, seed=0, batch=4)
    samples, labels, rows = loader.draw(0)
    assert samples.shape == (4, 3, 16, 32, 32)
    assert samples.dtype == np.uint8
    assert labels is not None
    first = list(data.split("train").rows())[int(rows[0])]
    assert np.array_equal(samples[0], MODALITY.decode(first["video"]["bytes"], spec))


def test_a_tar_with_captions(tmp_path: Path) -> None:
    path = tmp_path / "clips.tar"
    with tarfile.open(path, "w") as archive:
        for number in range(6):
            for name, content in ((f"{number}.mkv", write_ffv1(scene(number), 8.0)), (f"{number}.txt", b"a pan")):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, BytesIO(content))
    data = prepare(path, modality="video", out=tmp_path / "out", workers=1, outliers="off")
    assert [row["caption"] for row in data] == ["a pan"] * 6


def test_altered_copies_keep_rate_and_length(folder: Path, tmp_path: Path) -> None:
    data = prepare(folder, modality="video", out=tmp_path / "out", workers=1, outliers="off", augment="2x",
                   augment_policy=("flip", "brightness"), clean={"rate": 12.0, "min_frames": 12})  # fmt: skip
    train = [row for row in data if row["parent"] is not None]
    assert train
    assert {row["rate"] for row in train} == {12.0}
    assert data.facts["augmented"] == len(train)


def test_the_sample_that_ships(tmp_path: Path) -> None:
    data = prepare(SAMPLE, modality="video", out=tmp_path / "out", workers=1)
    assert data.facts["in"] == 240
    assert len(data) >= 236
    assert data.spec() == SampleSpec("video", (1, 16, 32, 32), num_labels=10, rate=8.0)
    planted = data.facts["findings"]["planted"]
    assert planted["precision"] == 1.0
    assert min(item["value"] for item in planted["recall"].values()) >= 0.85
    assert isinstance(Dataset.open(data.path), Dataset)
