from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from motherlode.data import minhash, minhash_kernels, threads
from motherlode.data.dedupe import Clusters
from motherlode.data.minhash import REACH, near_duplicates
from motherlode.modality.text import MODALITY, shingles

from .text_parts import joined

THRESHOLD = 0.75


class Corpus:
    """Texts in memory, and a note of which were asked for."""

    def __init__(self, texts: list[str]) -> None:
        self.buffer, self.offsets = joined([text.encode() for text in texts])
        self.bands = shingles.band_hashes(self.buffer, self.offsets)
        self.sizes = np.diff(self.offsets)
        self.most_bytes = 0

    def grams(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        assert (np.diff(rows) > 0).all()
        pieces = [self.buffer[self.offsets[row] : self.offsets[row + 1]] for row in rows.tolist()]
        self.most_bytes = max(self.most_bytes, sum(map(len, pieces)))
        return shingles.gram_hashes(*joined([bytes(piece) for piece in pieces]), shingles.SHINGLE_TOKENS)

    def search(self, folder: Path, places: NDArray[np.int64] | None = None, **bounds: int) -> Clusters:
        places = np.arange(len(self.sizes)) if places is None else places

        def grams(rows: NDArray[np.int64]) -> Any:
            return self.grams(places[rows])

        return near_duplicates(
            self.bands, places, self.sizes[places], grams, folder / "bands.bin", threshold=THRESHOLD, **bounds
        )

    def components(self) -> NDArray[np.int64]:
        """By comparing all pairs."""
        hashes, starts = shingles.shingle_sets(self.buffer, self.offsets)
        sets = [set(hashes[starts[i] : starts[i + 1]].tolist()) for i in range(len(self.sizes))]
        root = list(range(len(sets)))
        for j in range(len(sets)):
            for i in range(j):
                either = len(sets[i] | sets[j])
                if either and len(sets[i] & sets[j]) >= THRESHOLD * either:
                    low, high = sorted((root[i], root[j]))
                    root = [low if item == high else item for item in root]
        return np.array(root)


def edited(words: list[str], num: int, rng: np.random.Generator) -> str:
    """The words with some of them replaced."""
    words = words.copy()
    for place in rng.integers(0, len(words), num).tolist():
        words[place] = f"new{rng.integers(1 << 30)}"
    return " ".join(words)


def planted(num_groups: int, seed: int = 0, chinese: bool = False) -> list[str]:
    """Groups of one to six versions of one text, with none to one word in 25 changed."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(num_groups):
        if chinese:
            words = [chr(code) for code in rng.integers(0x4E00, 0x9FFF, rng.integers(40, 200))]
        else:
            words = [f"w{number}" for number in rng.integers(0, 5000, rng.integers(40, 200))]
        counts = rng.integers(0, len(words) // 25 + 1, rng.integers(1, 7)).tolist()
        texts += [edited(words, count, rng) for count in counts]
    order = rng.permutation(len(texts))
    return [texts[place] for place in order]


@pytest.mark.parametrize("chinese", [False, True])
def test_planted_copies_against_all_pairs(tmp_path: Path, chinese: bool) -> None:
    corpus = Corpus(planted(60, chinese=chinese))
    found, truth = corpus.search(tmp_path).cluster_N, corpus.components()
    assert np.array_equal(truth[found], truth), "joins nothing that comparing all pairs would not"
    should = truth != np.arange(len(truth))
    assert should.sum() > 40
    assert (found != np.arange(len(found)))[should].mean() > 0.95
    assert list(tmp_path.iterdir()) == []


def test_bands_decide_only_what_is_looked_at(tmp_path: Path) -> None:
    """Where all texts share every band, all pairs of a small bucket are compared, and the texts decide."""
    texts = planted(3, seed=3)[: REACH + 1]
    corpus = Corpus(texts)
    corpus.bands = np.ones((len(texts), 4), np.uint64)
    assert np.array_equal(corpus.search(tmp_path).cluster_N, corpus.components())
    corpus.bands = np.arange(4 * len(texts), dtype=np.uint64).reshape(-1, 4) + np.uint64(1)
    assert corpus.search(tmp_path).num_candidates == 0


def test_texts_that_are_short_or_empty(tmp_path: Path) -> None:
    texts = ["", "one two", "One, two!", " . ", "", "one two three", "红豆", "红 豆", "one two three four five"]
    assert Corpus(texts).search(tmp_path).cluster_N.tolist() == [0, 1, 1, 3, 4, 5, 6, 6, 8]
    assert Corpus([]).search(tmp_path).cluster_N.tolist() == []
    assert Corpus(["", ""]).search(tmp_path).num_candidates == 0


def test_only_the_rows_meant_are_searched(tmp_path: Path) -> None:
    text = " ".join(f"w{i}" for i in range(50))
    corpus = Corpus([text, "something else altogether", text, text])
    assert corpus.search(tmp_path, np.array([1, 2, 3])).cluster_N.tolist() == [0, 1, 1]


def test_ranges_of_hashes_and_batches_do_not_change_the_result(tmp_path: Path) -> None:
    corpus = Corpus(planted(80, seed=1))
    whole = corpus.search(tmp_path)
    most = corpus.most_bytes
    for band_bytes in (400, 5000):
        assert np.array_equal(corpus.search(tmp_path, band_bytes=band_bytes).cluster_N, whole.cluster_N)
    corpus.most_bytes = 0
    small = corpus.search(tmp_path, batch_bytes=4000)
    assert np.array_equal(small.cluster_N, whole.cluster_N)
    assert corpus.most_bytes < min(most, 4001)


def test_the_number_of_threads_does_not_change_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Corpus(planted(80, seed=2))
    monkeypatch.setattr(threads, "_LEAST_ITEMS", 1)
    found = []
    for num in (1, 2, 5):
        monkeypatch.setattr(threads, "num_cores", lambda num=num: num)
        found.append(corpus.search(tmp_path))
    assert np.array_equal(found[0].cluster_N, found[1].cluster_N)
    assert np.array_equal(found[0].cluster_N, found[2].cluster_N)
    assert found[0].num_candidates == found[1].num_candidates == found[2].num_candidates


def test_a_pile_of_copies_costs_one_comparison_each(tmp_path: Path) -> None:
    """100,000 texts of one bucket in every band: all pairs would be 5e9."""
    num = 100_000
    text = np.array([11, 12, 13], np.uint64)

    def same(rows: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        return np.tile(text, len(rows)), np.arange(len(rows) + 1) * len(text)

    bands = np.ones((num, 16), np.uint64)
    found = near_duplicates(bands, np.arange(num), np.full(num, 100), same, tmp_path / "b", threshold=THRESHOLD)
    assert (found.cluster_N == 0).all()
    assert found.num_candidates == num - 1


def test_a_pile_of_strangers_costs_a_bounded_number_of_comparisons(tmp_path: Path) -> None:
    num = 3000
    bands = np.ones((num, 16), np.uint64)

    def different(rows: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        return rows.astype(np.uint64) + np.uint64(1), np.arange(len(rows) + 1)

    found = near_duplicates(bands, np.arange(num), np.full(num, 100), different, tmp_path / "b", threshold=THRESHOLD)
    assert (found.cluster_N == np.arange(num)).all()
    assert found.num_exhausted > 0
    # What failed in one band is remembered in the next, but for pairs whose slots others took.
    assert REACH * (num - REACH) <= found.num_candidates <= 2 * REACH * num


def test_copies_in_a_crowded_bucket_lie_side_by_side(tmp_path: Path) -> None:
    """1,000 strangers and 20 pairs of copies share one band; the next band brings the copies together."""
    num, copies = 1040, 20
    rng = np.random.default_rng(0)
    bands = rng.integers(1, 1 << 63, (num, 2), np.uint64)
    bands[:, 0] = 7
    values = np.arange(1, num + 1, dtype=np.uint64)
    pairs = rng.permutation(num)[: 2 * copies].reshape(copies, 2)
    bands[pairs[:, 1]] = bands[pairs[:, 0]]
    values[pairs[:, 1]] = values[pairs[:, 0]]
    found = near_duplicates(
        bands,
        np.arange(num),
        np.full(num, 8),
        lambda rows: (values[rows], np.arange(len(rows) + 1)),
        tmp_path / "b",
        threshold=THRESHOLD,
    )
    assert np.array_equal(found.cluster_N[pairs].min(axis=1), found.cluster_N[pairs].max(axis=1))
    assert (found.cluster_N != np.arange(num)).sum() == copies


def test_likeness_is_the_jaccard_index_of_sets() -> None:
    from motherlode.data import minhash_kernels

    rng = np.random.default_rng(0)
    sets = [rng.integers(0, 40, rng.integers(0, 60)).astype(np.uint64) for _ in range(60)]
    starts = np.concatenate([[0], np.cumsum([len(item) for item in sets])])
    pairs = np.array([(i, j) for j in range(60) for i in range(j)])
    for threshold in (0.2, 0.5, 0.75, 1.0):
        found = np.empty(len(pairs), np.bool_)
        minhash_kernels.alike(np.concatenate(sets), starts, pairs, threshold, found)
        for (i, j), is_alike in zip(pairs.tolist(), found.tolist(), strict=True):
            both, either = len({*sets[i]} & {*sets[j]}), len({*sets[i]} | {*sets[j]})
            assert is_alike == (both > 0 and both / either >= threshold - 1e-12)


def test_scratch_is_removed_when_the_search_fails(tmp_path: Path) -> None:
    def fail(rows: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        near_duplicates(
            np.ones((4, 2), np.uint64), np.arange(4), np.full(4, 9), fail, tmp_path / "b", threshold=THRESHOLD
        )
    assert list(tmp_path.iterdir()) == []
    assert minhash.BATCH_BYTES < minhash.BAND_BYTES


def test_making_ready_loads_the_loops_of_the_search() -> None:
    minhash.make_ready(MODALITY.grams)
    assert minhash_kernels.alike.signatures
    assert minhash_kernels.propose.signatures
