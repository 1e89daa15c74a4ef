"""Batches that hold a share of another dataset's samples, against the loaders they are drawn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from motherlode.data.dataset import Dataset
from motherlode.data.loader import Loader
from motherlode.data.mixing import FOREIGN, Mixed, places
from motherlode.data.prepare import prepare
from motherlode.errors import DatasetError, RecipeError
from motherlode.modality import SampleSpec
from motherlode.recipe import Recipe, parse
from motherlode.training.assembly import Assembly

SAMPLE = Path(__file__).parents[1] / "fixtures" / "fashion-500.parquet"
SPEC = SampleSpec("image", (1, 8, 8))


def mixed(own: Dataset, other: Dataset, *, batch: int, share: float, rank: int = 0, world: int = 1) -> Mixed:
    (count,) = places({"other": share}, batch, world).values()
    loaders = [
        Loader(dataset, "train", SPEC, seed=0, batch=part, rank=rank, world=world)
        for dataset, part in ((own, batch - count), (other, count))
    ]
    return Mixed(loaders[0], loaders[1:], seed=0, rank=rank)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(SAMPLE, out=tmp_path_factory.mktemp("own") / "own", workers=1)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare(SAMPLE, out=tmp_path_factory.mktemp("other") / "other", seed=3, heldout=0.4, workers=1)


def test_shares_are_exact_and_each_dataset_keeps_its_epochs(own: Dataset, other: Dataset) -> None:
    draws = mixed(own, other, batch=16, share=0.25)
    alone = Loader(own, "train", SPEC, seed=0, batch=12)
    rest = Loader(other, "train", SPEC, seed=0, batch=4)
    for index in range(3):
        samples, labels, rows = draws.draw(index)
        assert samples.shape == (16, 1, 8, 8)
        assert labels is None
        ours, theirs = alone.draw(index), rest.draw(index)
        assert (rows == FOREIGN).sum() == 4
        assert sorted(rows[rows != FOREIGN]) == sorted(ours[2])
        assert np.array_equal(samples[rows != FOREIGN], alone.take(rows[rows != FOREIGN])[0])
        assert {item.tobytes() for item in samples[rows == FOREIGN]} == {item.tobytes() for item in theirs[0]}
        # Neither comes first: an accumulated part of a batch holds both.
        assert not np.array_equal(np.sort(rows), rows)


def test_a_batch_is_a_function_of_its_number(own: Dataset, other: Dataset) -> None:
    first, second = (mixed(own, other, batch=8, share=0.5) for _ in range(2))
    for index in (9, 2, 9):
        assert np.array_equal(first.draw(index)[0], second.draw(index)[0])


def test_ranks_share_both_parts(own: Dataset, other: Dataset) -> None:
    whole = mixed(own, other, batch=16, share=0.25).draw(5)
    parts = [mixed(own, other, batch=16, share=0.25, rank=rank, world=2).draw(5) for rank in range(2)]
    assert [(rows == FOREIGN).sum() for _, _, rows in parts] == [2, 2]
    together = {item.tobytes() for samples, _, _ in parts for item in samples}
    assert together == {item.tobytes() for item in whole[0]}


@pytest.mark.parametrize(("share", "batch", "world"), [(0.01, 16, 1), (0.99, 16, 1), (0.2, 4, 4)])
def test_a_batch_too_small_for_a_share_is_refused(share: float, batch: int, world: int) -> None:
    with pytest.raises(DatasetError, match=r"raise train\.batch"):
        places({"other": share}, batch, world)


def recipe(own: Path, out: Path, mix: dict[str, float]) -> Recipe:
    return parse(
        Recipe,
        {
            "name": "run",
            "out": str(out),
            "data": {"path": str(own), "resolution": 8, "channels": 1, "mix": mix},
            "model": {"family": "gan", "network": "mlp", "width": 8, "noise": 4},
            "train": {"batch": 16, "budget": {"steps": 1}},
        },
    )


def test_a_recipe_mixes(own: Dataset, other: Dataset, tmp_path: Path) -> None:
    plain = Assembly.of(recipe(own.path, tmp_path, {}))
    mixing = Assembly.of(recipe(own.path, tmp_path, {str(other.path): 0.5}))
    assert (mixing.draws.draw(0)[2] == FOREIGN).sum() == 8
    assert mixing.passes(2 * len(mixing.loader)) == {"all": 1.0}
    assert "data.mix" not in " ".join(plain.identity)
    assert mixing.identity[f"data.mix.{other.id}"] == 0.5
    with pytest.raises(RecipeError, match="leave some of each batch"):
        recipe(own.path, tmp_path, {"a": 0.5, "b": 0.5})


def test_another_modality_is_refused(own: Dataset, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(12):
        (texts / f"{number}.txt").write_text(
            f"The story number {number} is about the sea and the ships that sail it.\n"
        )
    poems = prepare(texts, modality="text", out=tmp_path / "set", workers=1)
    with pytest.raises(DatasetError, match="must be image too"):
        _ = Assembly.of(recipe(own.path, tmp_path, {str(poems.path): 0.5})).draws
