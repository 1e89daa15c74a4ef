"""Steps: what `prepare` does to rows, one after another, and the ledger of what each let through.

A step looks at the rows that are still in, drops some for a reason, and notes what it learned. Rows live as columns
over the whole dataset (about 100 bytes a row), never as objects; the bytes stay on disk. The ledger is read off the
columns, so it cannot disagree with what was dropped, and the sum is checked again against the files written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import DatasetError

if TYPE_CHECKING:
    from motherlode.data.texts import Texts

WARN_SHARE = 0.3
TRAIN, HELDOUT, DROPPED = 0, 1, 2
SPLITS = ("train", "heldout", "dropped")

READ = "read"
CLEAN = "clean"


class Progress(Protocol):
    """Told how far a stage of the work has come; `total` is None where it is not known yet."""

    def __call__(self, stage: str, done: int, total: int | None, counts: Mapping[str, int]) -> None:
        """Report; must return soon, for the work waits."""
        ...


def silent(stage: str, done: int, total: int | None, counts: Mapping[str, int]) -> None:
    """The `Progress` that tells nobody."""


@dataclass
class Rows:
    """Every raw row, as aligned columns of N.

    Args:
        ids_N: 16 raw bytes each, the hash of the normal form.
        labels_N: index into `label_names`, -1 for none.
        label_names: sorted.
        num_bytes_N: size of the media.
        sources_N: index into `source_names`.
        places_N: position among the rows that were fit when they were read, -1 for the others.
        fingerprints_PK, thumbs_PT, features_PD: of the rows that have any; on disk, indexed by arrays of places
            (`gather.DiskRows`).
        texts: the rows' media, where they are texts, and the folder of the parts.
        reasons_N, steps_N: index into `reason_names` and `step_names`, -1 while the row is in.
        duplicates_N: for a row dropped as a duplicate, the row it duplicates; else -1.
        clusters_N: row number of the row that stands for its near-duplicates; its own where it has none.
        splits_N: TRAIN or HELDOUT; DROPPED for the rest.
        suspects_N: whether the label is suspected to be wrong.
        groups_N: index into `group_names`: rows of a group go to one side of the split; empty where all may part.
        outliers_N: distance to the nearest neighbours, in units of the typical one; NaN where not computed.
        facts: what was found, by name.
        open_facts: those that are worked out aside: they are only told and decide nothing, so nothing waits for them.
        aside: the thread that does it.
        warnings: what a person should be told before training on these rows.
    """

    ids_N: NDArray[np.void]
    labels_N: NDArray[np.int32]
    label_names: list[str]
    num_bytes_N: NDArray[np.int64]
    sources_N: NDArray[np.int16]
    source_names: list[str]
    places_N: NDArray[np.int64]
    fingerprints_PK: Any
    thumbs_PT: Any
    features_PD: Any
    texts: Texts
    reasons_N: NDArray[np.int16]
    steps_N: NDArray[np.int8]
    reason_names: list[str]
    step_names: list[str]
    groups_N: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    group_names: list[str] = field(default_factory=list)
    duplicates_N: NDArray[np.int64] = field(init=False)
    clusters_N: NDArray[np.int64] = field(init=False)
    splits_N: NDArray[np.int8] = field(init=False)
    suspects_N: NDArray[np.bool_] = field(init=False)
    outliers_N: NDArray[np.float32] = field(init=False)
    facts: dict[str, Any] = field(default_factory=dict)
    open_facts: dict[str, Future[Any]] = field(default_factory=dict)
    aside: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        num_rows = len(self.ids_N)
        self.duplicates_N = np.full(num_rows, -1, np.int64)
        self.clusters_N = np.arange(num_rows, dtype=np.int64)
        self.splits_N = np.full(num_rows, DROPPED, np.int8)
        self.suspects_N = np.zeros(num_rows, np.bool_)
        self.outliers_N = np.full(num_rows, np.nan, np.float32)

    def __len__(self) -> int:
        return len(self.ids_N)

    @property
    def alive(self) -> NDArray[np.int64]:
        """Numbers of the rows that are still in, ascending."""
        return np.flatnonzero(self.reasons_N < 0)

    def drop(self, rows: NDArray[np.int64], reason: str, step: str) -> None:
        """Take rows out."""
        self.reasons_N[rows] = _code(self.reason_names, reason)
        self.steps_N[rows] = _code(self.step_names, step)


class Step(Protocol):
    """One step over the rows that are still in."""

    @property
    def name(self) -> str:
        """Names it in the ledger and in `dropped`."""
        ...

    @property
    def does(self) -> str:
        """What it does, as a phrase for the card."""
        ...

    def run(self, rows: Rows) -> None:
        """Drop rows through `rows.drop`, and note findings in `rows.facts`."""
        ...


_REMEDIES = {"unlabelled": "with the option `labels: none` all are kept, and none has a label"}
"""What to do where a reason dropped more than `WARN_SHARE`, if that is one thing."""


@dataclass(frozen=True)
class StepCount:
    """What one step let through."""

    name: str
    does: str
    num_in: int
    dropped: dict[str, int]

    @property
    def num_dropped(self) -> int:
        """Rows dropped for any reason."""
        return sum(self.dropped.values())

    @property
    def num_kept(self) -> int:
        """Rows let through."""
        return self.num_in - self.num_dropped

    @property
    def warning(self) -> str | None:
        """What a person should be told when the step dropped more than `WARN_SHARE`."""
        if not self.num_in or self.num_dropped <= WARN_SHARE * self.num_in:
            return None
        worst = max(self.dropped, key=lambda reason: self.dropped[reason])
        share = self.num_dropped / self.num_in
        return (
            f"step {self.name} dropped {share:.0%} of its rows ({self.num_dropped:,} of {self.num_in:,}), mostly as "
            f"{worst} ({self.dropped[worst]:,}): {_REMEDIES.get(worst, 'look at them in the card before you train')}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "does": self.does,
            "in": self.num_in,
            "kept": self.num_kept,
            "dropped": dict(sorted(self.dropped.items())),
        }


def ledger(rows: Rows, steps: Iterable[tuple[str, str]]) -> list[StepCount]:
    """Counts of each (name, does), in order, read off the columns.

    Raises:
        DatasetError: a row was dropped by no step of the list, so the sum would not come out.
    """
    pairs, counts = np.unique(np.stack([rows.steps_N, rows.reasons_N]), axis=1, return_counts=True)
    by_step: dict[str, dict[str, int]] = {}
    for (step, reason), count in zip(pairs.T.tolist(), counts.tolist()):
        if reason >= 0:
            by_step.setdefault(rows.step_names[step], {})[rows.reason_names[reason]] = count
    num_in = len(rows)
    found: list[StepCount] = []
    for name, does in steps:
        found.append(StepCount(name, does, num_in, by_step.pop(name, {})))
        num_in = found[-1].num_kept
    check_sum(len(rows), num_in, sum(count.num_dropped for count in found))
    return found


def check_sum(num_in: int, num_kept: int, num_dropped: int) -> None:
    """The promise that nothing is lost: in = kept + dropped.

    Raises:
        DatasetError: it is not so.
    """
    if num_in != num_kept + num_dropped:
        raise DatasetError(
            "rows in must be rows kept and rows dropped",
            f"in {num_in:,}, kept {num_kept:,}, dropped {num_dropped:,}",
            "the dataset is incomplete: prepare it again",
        )


def dropped_by_reason(counts: Sequence[StepCount]) -> dict[str, int]:
    """Drops of all steps together, most frequent first."""
    total: dict[str, int] = {}
    for count in counts:
        for reason, number in count.dropped.items():
            total[reason] = total.get(reason, 0) + number
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def wilson(successes: int, trials: int, z: float = 1.645) -> tuple[float, float]:
    """Wilson's interval of a share (1927), at 90 % by default: honest at 0 and at 1."""
    if not trials:
        return 0.0, 1.0
    return wilson_ends(successes / trials, trials, z)


def wilson_ends(share: float, num: float, z: float) -> tuple[float, float]:
    """Ends of Wilson's interval (1927) of a share of `num` outcomes, which need not be whole."""
    centre = (share + z * z / (2 * num)) / (1 + z * z / num)
    half = z / (1 + z * z / num) * math.sqrt(share * (1 - share) / num + z * z / (4 * num * num))
    # At 0 and at 1 an end is that very number, where rounding would leave 1e-19.
    return max(0.0, centre - half) if share > 0 else 0.0, min(1.0, centre + half) if share < 1 else 1.0


def _code(names: list[str], name: str) -> int:
    if name not in names:
        names.append(name)
    return names.index(name)
