"""Windows of whole documents: each row once an epoch, tasks by weight, nothing cut, the same for any ranks."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from motherlode.data.compositions import Compositions, Part, fit
from motherlode.errors import DatasetError
from motherlode.fields import Field, Layout, Task
from motherlode.modality import SampleSpec
from motherlode.randomness import numpy_generator
from motherlode.tokenizer import TokenSpace

NUM, TEXT, BOS, PAD, END = 300, 50, 0, 1, 5
TASKS = (
    Task("draw", ("label",), ("image",), 3.0),
    Task("name", ("image",), ("label",), 1.0),
    Task("tell", (), ("caption", "sound"), 2.0),
)


def layout(tasks: tuple[Task, ...] = TASKS) -> Layout:
    fields = [
        Field("caption", "text", 0, 0, (TEXT,)),
        Field("label", "label", 0, 0, (3,), labels=("a", "b", "c")),
        Field("image", "codes", 0, 0, (16,), (2, 2), "image"),
        Field("sound", "codes", 0, 0, (8, 4), (0,), "audio"),
    ]
    return Layout.build(fields, tasks, end=END, num_text_tokens=TEXT)


def ragged(field: Field, rows: list[list[int]]) -> Part:
    counts_N = np.array([len(row) for row in rows], np.int64)
    values_T = np.array([value for row in rows for value in row], np.uint16)
    return Part(field, values_T, np.cumsum(counts_N) - counts_N, np.where(counts_N > 0, counts_N, -1))


def parts(found: Layout, num: int = NUM) -> list[Part]:
    rng = np.random.default_rng(0)
    sound = [rng.integers(0, 4, 2 * rng.integers(1, 7)).tolist() if row % 5 else [] for row in range(num)]
    captions = [rng.integers(6, TEXT, rng.integers(1, 9)).tolist() for _ in range(num)]
    content = {
        "caption": captions,
        "label": [[int(label)] for label in rng.integers(0, 3, num)],
        "image": [rng.integers(0, 16, 4).tolist() for _ in range(num)],
        "sound": sound,
    }
    return [ragged(field, content[field.name]) for field in found.fields]


def spec(found: Layout, length: int = 40) -> SampleSpec:
    return SampleSpec("text", (length,), tokens=TokenSpace(found.num_tokens, BOS, PAD, 2, "/nowhere"))


def composed(found: Layout | None = None, *, length: int = 40, **options: Any) -> Compositions:
    found = found or layout()
    return Compositions(parts(found), found, spec(found, length), **{"seed": 3, "batch": 4, **options})


def documents(tokens_BT: NDArray[np.int32]) -> list[tuple[int, ...]]:
    """The documents of windows, padding off."""
    found = []
    for row in tokens_BT:
        row = row[row != PAD]
        assert row[0] == BOS
        starts = [*np.flatnonzero(row == BOS).tolist(), len(row)]
        found += [tuple(row[first:end].tolist()) for first, end in pairwise(starts)]
    return found


def test_an_epoch_holds_one_whole_document_of_every_row() -> None:
    loader = composed(batch=1)
    possible = [
        {tuple(loader.document(row, task).tolist()) for task in range(3) if row in loader.able(task)}
        for row in range(NUM)
    ]
    index = 0
    for epoch in range(3):
        num_windows = loader._num_windows(epoch)
        drawn = [loader.draw(index + place) for place in range(num_windows)]
        index += num_windows
        assert sorted(int(row_B[0]) for _, _, row_B in drawn) == list(range(num_windows))
        found = documents(np.concatenate([tokens_BT for tokens_BT, _, _ in drawn]))
        assert len(found) == NUM
        unmatched = Counter(found)
        for options in possible:
            hit = next(document for document in options if unmatched[document] > 0)
            unmatched[hit] -= 1
        assert not +unmatched


def test_epochs_differ_and_are_the_same_again() -> None:
    first, again = composed(batch=8), composed(batch=8)
    batches = [first.draw(index)[0] for index in range(60)]
    for index in (59, 3, 40):
        assert (again.draw(index)[0] == batches[index]).all()
    assert (composed(batch=8, seed=4).draw(0)[0] != batches[0]).any()


def test_a_batch_does_not_depend_on_the_ranks() -> None:
    alone = composed(batch=6, drop_given=0.2)
    ranks = [composed(batch=6, drop_given=0.2, rank=rank, world=3) for rank in range(3)]
    for index in (0, 5, 31):
        shared = np.concatenate([loader.draw(index)[0] for loader in ranks])
        assert (alone.draw(index)[0] == shared).all()


def test_tasks_come_by_weight_among_those_a_row_can_do() -> None:
    loader = composed()
    counts: Counter[tuple[bool, int]] = Counter()
    for epoch in range(60):
        packed = loader._epoch(epoch)
        has = loader.parts["sound"].counts_N[packed.rows_D] >= 0
        counts.update(zip(has.tolist(), packed.tasks_D.tolist(), strict=True))
    with_sound = np.array([counts[True, task] for task in range(3)])
    without = np.array([counts[False, task] for task in range(3)])
    assert np.abs(with_sound / with_sound.sum() - np.array([3, 1, 2]) / 6).max() < 0.02
    assert without[2] == 0
    assert abs(without[0] / without.sum() - 0.75) < 0.03


def test_given_fields_are_left_empty_as_often_as_asked() -> None:
    loader = composed(drop_given=0.25)
    found = loader.layout
    empty = 0
    shown = 0
    for epoch in range(40):
        packed = loader._epoch(epoch)
        assert not packed.bare_D[packed.tasks_D == 2].any()  # nothing is given there
        empty += int(packed.bare_D.sum())
        shown += int((packed.tasks_D != 2).sum())
    assert abs(empty / shown - 0.25) < 0.02
    bare = loader.document(7, 0, bare=True)
    begin = found.field("label").begin
    assert bare[:3].tolist() == [BOS, begin, END]
    assert bare[3:].tolist() == loader.document(7, 0)[4:].tolist()


def test_subsets_lie_within_larger_ones() -> None:
    small, large = composed(num_samples=40), composed(num_samples=150)
    assert set(small.documents) < set(large.documents)
    assert small.num_documents == 40
    with pytest.raises(DatasetError, match="subset"):
        composed(num_samples=NUM + 1)


def test_tokens_are_counted_as_they_stand_in_the_windows() -> None:
    loader = composed(drop_given=0.3)
    tokens_BT, _ = loader.take(loader.rows)
    wanted_V = np.bincount(tokens_BT.ravel(), minlength=loader.layout.num_tokens)
    wanted_V[PAD] = 0
    assert (loader.token_counts() == wanted_V).all()
    assert loader.num_tokens == wanted_V.sum()


def test_what_is_too_long_is_left_out_and_counted() -> None:
    found = layout((TASKS[2],))
    sizes = composed(found).sizes(0)
    longest = int(sizes.max())
    loader = composed(found, length=longest - 4)
    assert loader.dropped == {"too long": int((sizes > longest - 4).sum()), "without sound": NUM // 5}
    assert loader.num_documents == NUM - sum(loader.dropped.values())
    assert loader.facts()["dropped"] == loader.dropped
    with pytest.raises(DatasetError, match=f"data.length: {longest}"):
        composed(found, length=7)


def test_no_row_with_all_fields_is_an_error() -> None:
    found = layout((TASKS[0],))
    lacking = [
        Part(part.field, part.values_T, part.starts_N, np.where(part.field.name == "label", -1, part.counts_N))
        for part in parts(found)
    ]
    with pytest.raises(DatasetError, match="without label: 300"):
        Compositions(lacking, found, spec(found), seed=0, batch=1)


def test_facts_tell_what_is_in_the_windows() -> None:
    facts = composed().facts()
    assert sum(facts["documents"].values()) == NUM
    assert facts["tokens"]["image"] == {"mean": 4.0, "most": 4}
    assert 0 <= facts["padding"] < 0.2
    assert composed(length=13).facts()["padding"] > facts["padding"]


def test_fitting_wastes_little_and_overfills_nothing() -> None:
    sizes = numpy_generator(0, "sizes").integers(3, 60, 5000)
    windows = fit(sizes, 128, 128)
    filled = np.bincount(windows, weights=sizes)
    assert filled.max() <= 128
    assert len(filled) < 1.01 * np.ceil(sizes.sum() / 128)
    assert fit(np.full(7, 50), 128, 2).tolist() == [0, 0, 1, 1, 2, 2, 3]


def test_one_row_is_enough() -> None:
    found = layout((TASKS[0],))
    loader = Compositions(parts(found, 1), found, spec(found), seed=0, batch=3)
    tokens_BT, _, row_B = loader.draw(5)
    assert row_B.tolist() == [0, 0, 0]
    assert documents(tokens_BT) == [tuple(loader.document(0, 0).tolist())] * 3
