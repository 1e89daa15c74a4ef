"""Windows of tokens: each token once an epoch, nested subsets, exact shares of sources, the same for any ranks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from motherlode.data.dataset import Dataset
from motherlode.data.sequences import Sequences, gather
from motherlode.data.tokens import find_tokenizer
from motherlode.errors import DatasetError
from motherlode.modality import SampleSpec
from motherlode.recipe import DataOptions

from .texts import prose, write_texts

LENGTH = 17
TEXTS = {
    "prose": [prose(number, 15 + number % 23) for number in range(60)],
    "code": [f"def f{number}(x): return x * {number}  # {prose(number, 9)}" for number in range(40)],
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_texts(tmp_path_factory.mktemp("texts") / "data", TEXTS, [prose(7, 200)], shard_rows=25)


@pytest.fixture(scope="module")
def spec(dataset: Dataset) -> SampleSpec:
    tokenizer = find_tokenizer(dataset, DataOptions(path=str(dataset.path), vocabulary=320))
    return SampleSpec("text", (LENGTH,), tokens=tokenizer.space())


def test_a_ring_of_documents_is_cut_anywhere() -> None:
    stream = np.arange(100, dtype=np.uint16)
    starts, sizes = np.array([50, 10, 80]), np.array([7, 3, 5])
    ring = np.concatenate([stream[start : start + size] for start, size in zip(starts, sizes, strict=True)])
    for first in range(40):
        out = np.empty(11, np.int32)
        gather(stream, starts, np.cumsum(sizes), first, out)
        assert out.tolist() == [int(ring[(first + place) % len(ring)]) for place in range(11)]


def test_an_epoch_predicts_every_token_once(dataset: Dataset, spec: SampleSpec) -> None:
    loader = Sequences(dataset, "train", spec, seed=3, batch=1)
    ring = np.concatenate([loader.packed.document(int(number)) for number in loader._groups[0].documents])
    for epoch in range(3):
        targets: Counter[int] = Counter()
        rows = []
        for index in range(epoch * len(loader), (epoch + 1) * len(loader)):
            tokens_BT, labels, row_B = loader.draw(index)
            assert labels is None
            targets.update(tokens_BT[0, 1:].tolist())
            rows += row_B.tolist()
        assert sorted(rows) == list(range(len(loader)))
        everything = Counter(ring.tolist())
        assert not targets - everything
        assert sum((everything - targets).values()) < LENGTH - 1


def test_tokens_are_counted_as_often_as_they_stand_in_the_documents_in_use(dataset: Dataset, spec: SampleSpec) -> None:
    for num in (None, 3):
        loader = Sequences(dataset, "train", spec, seed=3, batch=1, num_samples=num)
        stream = np.concatenate([loader.packed.document(int(number)) for number in loader.documents])
        assert spec.tokens is not None
        assert (loader.token_counts() == np.bincount(stream, minlength=spec.tokens.vocabulary)).all()


def test_windows_share_one_token(dataset: Dataset, spec: SampleSpec) -> None:
    loader = Sequences(dataset, "train", spec, seed=0, batch=4)
    tokens_BT, _ = loader.take(loader.rows)
    assert (tokens_BT[1:, 0] == tokens_BT[:-1, -1]).all()


def test_later_epochs_are_cut_elsewhere(dataset: Dataset, spec: SampleSpec) -> None:
    loader = Sequences(dataset, "train", spec, seed=0, batch=len(Sequences(dataset, "train", spec, seed=0, batch=1)))
    first, second = (sorted(map(tuple, loader.draw(epoch)[0].tolist())) for epoch in (0, 1))
    assert first != second


def test_a_batch_does_not_depend_on_the_ranks(dataset: Dataset, spec: SampleSpec) -> None:
    weights = {"prose": 0.3, "code": 0.7}
    alone = Sequences(dataset, "train", spec, seed=5, batch=6, weights=weights)
    ranks = [Sequences(dataset, "train", spec, seed=5, batch=6, weights=weights, rank=r, world=3) for r in range(3)]
    for index in (0, 1, 37, 4000):
        parts = [rank.draw(index)[0] for rank in ranks]
        assert (np.concatenate(parts) == alone.draw(index)[0]).all()


def _documents(loader: Sequences) -> set[int]:
    return {int(number) for group in loader._groups for number in group.documents}


def test_subsets_are_nested_and_keep_the_shares_of_sources(dataset: Dataset, spec: SampleSpec) -> None:
    loaders = [Sequences(dataset, "train", spec, seed=1, batch=1, num_samples=num) for num in (10, 30, 100)]
    sets = [_documents(loader) for loader in loaders]
    assert sets[0] < sets[1] < sets[2]
    assert [loader.num_documents for loader in loaders] == [10, 30, 100]
    assert loaders[0].num_tokens < loaders[1].num_tokens < loaders[2].num_tokens
    sources: NDArray[np.int32] = loaders[0].packed.sources_N
    assert Counter(sources[sorted(sets[0])].tolist()) == {0: 6, 1: 4}


def test_sources_come_in_their_shares(dataset: Dataset, spec: SampleSpec) -> None:
    loader = Sequences(dataset, "train", spec, seed=0, batch=100, weights={"prose": 1, "code": 3})
    border = len(loader._groups[0])
    rows = np.concatenate([loader.draw(index)[2] for index in range(40)])
    assert (rows >= border).mean() == pytest.approx(0.75, abs=1e-3)
    passes = loader.repetition(4000)
    assert passes["code"] == pytest.approx(3000 / len(loader._groups[1]))
    assert passes["prose"] == pytest.approx(1000 / border)
    seen = Counter(rows[rows < border].tolist())
    assert max(seen.values()) - min(seen.values()) <= 1


def test_a_source_of_weight_zero_is_never_drawn(dataset: Dataset, spec: SampleSpec) -> None:
    loader = Sequences(dataset, "train", spec, seed=0, batch=64, weights={"prose": 0, "code": 1})
    assert loader.num_documents == len(TEXTS["code"])


def test_bad_requests_say_what_to_do(dataset: Dataset, spec: SampleSpec) -> None:
    def open_with(**more: object) -> Sequences:
        return Sequences(dataset, "train", spec, seed=0, batch=4, **more)  # type: ignore[arg-type]

    with pytest.raises(DatasetError, match="did you mean 'prose'"):
        open_with(weights={"prase": 1.0, "code": 1.0})
    with pytest.raises(DatasetError, match="weigh every source"):
        open_with(weights={"code": 1.0})
    with pytest.raises(DatasetError, match="must not be larger"):
        open_with(num_samples=1000)
    with pytest.raises(DatasetError, match="evenly"):
        open_with(world=3)
    long = SampleSpec("text", (100_000,), tokens=spec.tokens)
    with pytest.raises(DatasetError, match=r"lower data\.length"):
        Sequences(dataset, "train", long, seed=0, batch=1)
