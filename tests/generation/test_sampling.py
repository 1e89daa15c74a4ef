from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from motherlode import storage
from motherlode.errors import RecipeError, StorageError, TrainingError
from motherlode.generation import sampling
from motherlode.generation.sampling import CHUNK, chunks, generate
from motherlode.safety import provenance
from motherlode.training.run import Run


def test_samples_are_pictures_and_a_seed_names_them(tiny_run: Path) -> None:
    samples = generate(tiny_run, 5, seed=1)
    assert samples.dtype == torch.uint8
    assert samples.shape == (5, 1, 16, 16)
    assert torch.equal(samples, generate(Run.open(tiny_run), 5, seed=1))
    assert not torch.equal(samples, generate(tiny_run, 5, seed=2))


@pytest.mark.parametrize("num", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_sample_is_the_same_however_many_are_asked_for(tiny_run: Path, num: int) -> None:
    assert torch.equal(generate(tiny_run, num), generate(tiny_run, 4 * CHUNK)[:num])


def test_samples_differ_from_one_another_over_chunks(tiny_run: Path) -> None:
    samples = generate(tiny_run, 2 * CHUNK)
    assert len(torch.unique(samples.flatten(1), dim=0)) == 2 * CHUNK


def test_labels_can_be_asked_for_by_name_and_by_number(labelled_run: Path) -> None:
    names = Run.open(labelled_run).labels
    assert torch.equal(
        generate(labelled_run, 4, condition="Bag"), generate(labelled_run, 4, condition=names.index("Bag"))
    )
    assert torch.equal(generate(labelled_run, 4, condition="1"), generate(labelled_run, 4, condition=1))
    assert not torch.equal(generate(labelled_run, 4, condition=0), generate(labelled_run, 4, condition=1))
    turns = generate(labelled_run, 70, condition=["Bag", 3])
    assert torch.equal(turns[0::2], generate(labelled_run, 70, condition="Bag")[0::2])
    assert torch.equal(turns[1::2], generate(labelled_run, 70, condition=3)[1::2])


def test_a_labelled_model_draws_labels_where_none_is_asked_for(labelled_run: Path) -> None:
    assert generate(labelled_run, 3).shape == (3, 1, 16, 16)
    (chunk,) = chunks(labelled_run, 3)
    assert chunk.labels is None


@pytest.mark.parametrize(
    ("condition", "words"),
    [("Bug", "did you mean 'Bag'"), (10, "0 to 9"), (["Bag", "hat"], "choose one of"), ("-1", "choose")],
)
def test_an_unknown_label_is_refused(labelled_run: Path, condition: int | str | list[int | str], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        generate(labelled_run, 2, condition=condition)


def test_what_a_model_does_not_know_is_refused(tiny_run: Path) -> None:
    with pytest.raises(RecipeError, match="conditional: true"):
        generate(tiny_run, 2, condition="Bag")
    with pytest.raises(RecipeError, match="did you mean 'ema'"):
        generate(tiny_run, 2, variant="emma")
    with pytest.raises(RecipeError, match="at least 1"):
        generate(tiny_run, 0)
    with pytest.raises(TrainingError, match="choose one of: best, last, step-"):
        generate(tiny_run, 1, which="step-999")
    with pytest.raises(TrainingError, match=r"run\.json"):
        generate(tiny_run.parent, 1)


def test_each_set_of_weights_and_each_checkpoint_can_be_sampled(tiny_run: Path) -> None:
    assert not torch.equal(generate(tiny_run, 4, variant="ema"), generate(tiny_run, 4, variant="raw"))
    assert not torch.equal(
        generate(tiny_run, 4, variant="raw", which="last"), generate(tiny_run, 4, variant="raw", which="step-3")
    )


def test_files_hold_the_samples_and_say_where_they_came_from(labelled_run: Path, tmp_path: Path) -> None:
    run = Run.open(labelled_run)
    samples = generate(run, CHUNK + 6, seed=9, condition="Bag", out=tmp_path / "out", variant="raw")
    lines = storage.read_lines(tmp_path / "out" / "samples.jsonl")
    assert [line["file"] for line in lines] == [f"{number:02d}.png" for number in range(CHUNK + 6)]
    for line, sample in zip(lines, samples, strict=True):
        media = (tmp_path / "out" / line["file"]).read_bytes()
        assert storage.hash_bytes(media) == line["hash"]
        with Image.open(io.BytesIO(media)) as image:
            assert np.array_equal(np.asarray(image), sample[0].numpy())
        facts = provenance.read(media)
        assert facts is not None
        assert (facts["index"], facts["label"], facts["seed"], facts["variant"]) == (line["index"], "Bag", 9, "raw")
        assert facts["recipe"] == run.recipe.digest()
        assert facts["checkpoint"] == run.checkpoint("best").name
    record = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert record["title"] == "70 generated samples"
    assert (tmp_path / "out" / "grid.png").stat().st_size > 0
    storage.verify_manifest(tmp_path / "out")


def test_a_folder_of_someone_elses_is_left_alone(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.png").write_bytes(b"mine")
    (tmp_path / "file").write_bytes(b"mine")
    for name in ("mine", "file"):
        with pytest.raises(StorageError, match="choose another --out"):
            generate(tiny_run, 2, out=tmp_path / name)
    assert (tmp_path / "mine" / "photo.png").read_bytes() == b"mine"
    (tmp_path / "empty").mkdir()
    generate(tiny_run, 2, out=tmp_path / "empty")
    generate(tiny_run, 1, out=tmp_path / "empty")
    assert len(list((tmp_path / "empty").glob("[0-9]*.png"))) == 1


def test_a_disk_that_fills_leaves_nothing_behind(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="room"):
        generate(tiny_run, 2, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_memory_stays_flat(tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chunk is let go before the next one is made."""
    alive = 0
    most = 0

    class Counted(sampling.Chunk):
        def __init__(self, *arguments: object) -> None:
            nonlocal alive, most
            super().__init__(*arguments)  # type: ignore[arg-type]
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    monkeypatch.setattr(sampling, "Chunk", Counted)
    monkeypatch.setattr(sampling, "CHUNK", 4)
    run = Run.open(tiny_run)
    made = chunks(run, 40)
    for chunk in sampling.save(made, run, 40, tmp_path / "out", seed=0):
        del chunk
    assert most <= 2


def test_a_run_without_its_dataset_still_generates(tiny_run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(tiny_run, copy)
    recipe = (copy / "recipe.yaml").read_text()
    path = Run.open(tiny_run).recipe.data.path
    (copy / "recipe.yaml").write_text(recipe.replace(path, "/nowhere"))
    assert torch.equal(generate(copy, 3), generate(tiny_run, 3))


def test_the_weights_that_evaluate_chose_are_the_ones_used(tiny_run: Path, tmp_path: Path) -> None:
    for variant in ("ema", "raw"):
        copy = tmp_path / variant
        shutil.copytree(tiny_run, copy)
        storage.write_json(copy / "report.json", {"facts": {"variant": variant}})
        assert torch.equal(generate(copy, 3), generate(tiny_run, 3, variant=variant))
