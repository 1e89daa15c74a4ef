"""Takes the measures of one pool of samples against one of real data, each feature extracted once.

A pool is anything that hands over uint8 samples by number: a run that makes them, a decoded dataset, a folder of files.
The panel holds features only; pictures are fetched again for the few rows that are shown. Measures that the data or the
extractor cannot support are left out with a note that says why, never with a number that means something else.

Shape legend: N samples, C channels, H height, W width, D features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import MeasureError
from motherlode.measures.cache import cached_features, extract
from motherlode.measures.catalogue import CATALOGUE, expand
from motherlode.measures.coverage import precision_recall_density_coverage
from motherlode.measures.features import Extractor, Features
from motherlode.measures.frechet import frechet_infinity, frechet_influence
from motherlode.measures.inception import inception_score
from motherlode.measures.interval import DEFAULT_LEVEL, Interval, around, mean_interval
from motherlode.measures.kernel import kernel_distance
from motherlode.measures.memorisation import Memorisation, memorised
from motherlode.measures.perceptual import Lpips, diversity, perceptual_distance
from motherlode.measures.report import Measure
from motherlode.measures.restoration import absolute_errors, code_use, psnr_decibels
from motherlode.randomness import numpy_generator

Progress = Callable[[str, float], None]
"""Told what is being done and which share of the whole is done."""

PIECE_ROWS = 512
_DIVERSITY_SAMPLES = 1000
_MOST_TRAIN = 20_000
_NUM_PLANTED = 128
_NEED_TRAIN = frozenset({"frechet_floor", "overfitting"})


@runtime_checkable
class Pool(Protocol):
    """Samples by number.

    Attributes:
        description: what they are, as it stands in a report ("heldout of dataset 1f2e…").
        identity: plain JSON that decides their content, so that features can be cached; None to make them anew.
    """

    description: str
    identity: dict[str, Any] | None

    def __len__(self) -> int: ...

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 samples (N, C, H, W) of these rows."""
        ...


@runtime_checkable
class Restored(Pool, Protocol):
    """Reconstructions of the reference, row by row."""

    def code_counts(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """How often each sample has each code, (N, K), of each quantiser; [] where there are no codes."""
        ...


@dataclass
class Panel:
    """The measures of `samples` against `reference`.

    Args:
        samples: what is measured.
        reference: real samples it was not made from.
        train: real samples it was made from; None leaves out what needs them.
        extractor: of features.
        num_samples: of `samples`, and at most that many of `reference`.
        level: of intervals.
        seed: of subsets and resampling.
        progress: see `Progress`.
        perceptual: what diversity is seen by; default: `extractor`.
        restored: reconstructions of `reference`; None where nothing makes them.
        notes: what was left out, and why; filled by `take`.
        wanted: names of the measures being taken; set by `take`.
    """

    samples: Pool
    reference: Pool
    train: Pool | None
    extractor: Extractor
    num_samples: int
    level: float = DEFAULT_LEVEL
    seed: int = 0
    progress: Progress | None = None
    perceptual: Extractor | Lpips | None = None
    restored: Restored | None = None
    notes: list[str] = field(default_factory=list)
    wanted: frozenset[str] = frozenset()

    @property
    def takers(self) -> dict[str, Callable[[Any], dict[str, Measure]]]:
        """Groups of measures that can be taken here, and what takes each."""
        return TAKERS

    def take(self, names: tuple[str, ...] = ()) -> dict[str, Measure]:
        """The measures of these names (or groups; all for ()), in the catalogue's order."""
        wanted = expand(names, self.takers)
        self.wanted = frozenset(wanted)
        groups = list(dict.fromkeys(CATALOGUE[name].group for name in wanted))
        self._look(groups)
        found: dict[str, Measure] = {}
        for index, group in enumerate(groups):
            self._tell(f"measuring {group.replace('_', ' ')}", 0.7 + 0.3 * index / len(groups))
            found |= self.takers[group](self)
        self._tell("measured", 1.0)
        return {name: found[name] for name in wanted if name in found}

    def _look(self, groups: list[str]) -> None:
        """Extract the features these groups need, first, so that progress goes forward only."""
        if set(groups) - _OF_RECONSTRUCTIONS - {"diversity"}:
            _ = self.sample_features
        if set(groups) - {"inception_score", "diversity", "codes"}:
            _ = self.reference_features
        if self.train is not None and ("memorisation" in groups or self.wanted & _NEED_TRAIN):
            _ = self.train_features

    @cached_property
    def sample_rows(self) -> NDArray[np.int64]:
        """Rows of `samples` in use."""
        return np.arange(min(self.num_samples, len(self.samples)))

    @cached_property
    def reference_rows(self) -> NDArray[np.int64]:
        """Rows of `reference` in use: a random subset where it holds more."""
        return self._subset(len(self.reference), self.num_samples, "reference rows")

    @cached_property
    def train_rows(self) -> NDArray[np.int64]:
        """Rows of `train` in use, in random order, so that a beginning of it is a fair subset."""
        if self.train is None:
            return np.arange(0)
        return self._subset(len(self.train), max(_MOST_TRAIN, self.num_samples), "train rows")

    @cached_property
    def sample_features(self) -> Features:
        """Features of the samples."""
        return self.features_of(self.samples, self.sample_rows, "generating and looking at samples", 0.0, 0.35)

    @cached_property
    def reference_features(self) -> Features:
        """Features of the reference."""
        return self.features_of(self.reference, self.reference_rows, "looking at held-out data", 0.35, 0.5)

    @cached_property
    def train_features(self) -> Features:
        """Features of the training samples in use."""
        if self.train is None:
            raise MeasureError("this measure needs the training data", None, "give `train`")
        return self.features_of(self.train, self.train_rows, "looking at training data", 0.5, 0.7)

    @cached_property
    def restored_features(self) -> Features:
        """Features of the reconstructions of the reference."""
        if self.restored is None:
            raise MeasureError("this measure needs reconstructions", None, "evaluate a run that makes them")
        return self.features_of(self.restored, self.reference_rows, "looking at reconstructions", 0.7, 0.7)

    @cached_property
    def memorised(self) -> Memorisation:
        """What the memorisation measures and the picture of nearest neighbours share."""
        planted = None
        if self.train is not None:
            planted = self.extractor(self.altered(self.train.take(self.train_rows[:_NUM_PLANTED]))).features_ND
        return memorised(
            self.sample_features.features_ND,
            self.train_features.features_ND,
            self.reference_features.features_ND,
            planted_PD=planted,
            level=self.level,
            seed=self.seed,
        )

    def measure(
        self,
        name: str,
        interval: Interval,
        num_samples: int,
        num_reference: int,
        reference: str | None = None,
        extractor: Extractor | Lpips | None = None,
    ) -> Measure:
        """A measure taken with this panel's extractor, or another."""
        extractor = extractor or self.extractor
        return Measure.of(
            name,
            interval,
            extractor=extractor.name,
            weights=extractor.fingerprint,
            dtype=extractor.dtype,
            resize=extractor.resize,
            published=extractor.published,
            num_samples=num_samples,
            num_reference=num_reference,
            reference=self.reference.description if reference is None else reference,
        )

    def plain(self, name: str, interval: Interval, num: int) -> Measure:
        """A measure of reconstructions that looks at values or codes and not at features."""
        return Measure.of(
            name,
            interval,
            extractor="",
            weights="",
            dtype=str(self.reference.take(self.reference_rows[:1]).dtype),
            resize="",
            num_samples=num,
            num_reference=num,
            reference=self.reference.description,
        )

    def altered(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Copies of samples as a model might return them, to see whether they are found out."""
        return _altered(samples, self.seed)

    def _subset(self, num: int, most: int, stream: str) -> NDArray[np.int64]:
        if num <= most:
            return np.arange(num)
        return numpy_generator(0, stream).permutation(num)[:most]

    def features_of(
        self,
        pool: Pool,
        rows: NDArray[np.int64],
        what: str,
        start: float,
        end: float,
        extractor: Extractor | None = None,
    ) -> Features:
        """Features of rows of a pool, from the cache where the pool says what it holds.

        Args:
            pool: gives the samples.
            rows: which.
            what: told as progress from `start` to `end`.
            start, end: shares of the whole.
            extractor: default: the panel's own.
        """
        extractor = extractor or self.extractor
        done = 0

        def tell(num: int) -> None:
            nonlocal done
            done += num
            self._tell(what, start + (end - start) * done / len(rows))

        def pieces() -> Iterator[NDArray[np.uint8]]:
            for first in range(0, len(rows), PIECE_ROWS):
                yield pool.take(rows[first : first + PIECE_ROWS])

        self._tell(what, start)
        if pool.identity is None:
            return extract(extractor, pieces(), tell)
        return cached_features(extractor, {**pool.identity, "rows": rows.tolist()}, pieces, tell)

    def _tell(self, what: str, share: float) -> None:
        if self.progress:
            self.progress(what, share)


def _frechet(panel: Panel) -> dict[str, Measure]:
    samples_ND = panel.sample_features.features_ND
    real_ND = panel.reference_features.features_ND
    num, num_real = len(samples_ND), len(real_ND)
    value, pull_N, pull_real_N = frechet_influence(samples_ND, real_ND)
    method = "influence function; for this n, whose bias it keeps"
    found = {"frechet": panel.measure("frechet", spread_of(panel, value, method, pull_N, pull_real_N), num, num_real)}
    if "frechet_infinity" in panel.wanted:
        try:
            endless = frechet_infinity(samples_ND, real_ND, level=panel.level, seed=panel.seed)
            found["frechet_infinity"] = panel.measure("frechet_infinity", endless, num, num_real)
        except MeasureError as error:
            panel.notes.append(f"The distance at endless samples was left out: {error.invariant}.")
    if panel.train is None or not _NEED_TRAIN & panel.wanted:
        return found
    train_ND = panel.train_features.features_ND
    if "frechet_floor" in panel.wanted:
        floor, a_N, b_N = frechet_influence(train_ND[:num], real_ND)
        spread = spread_of(panel, floor, method, a_N, b_N)
        found["frechet_floor"] = panel.measure("frechet_floor", spread, len(a_N), num_real)
        if len(a_N) < num:
            panel.notes.append(
                f"The floor was taken with {len(a_N):,} training images, all there are, and so lies a little high."
            )
    if "overfitting" in panel.wanted:
        size = min(num_real, len(train_ND))
        if size < num_real:
            value, pull_N, pull_real_N = frechet_influence(samples_ND, real_ND[:size])
        near, pull_near_N, pull_train_N = frechet_influence(samples_ND, train_ND[:size])
        gap = spread_of(
            panel, near - value, "influence function, samples shared", pull_near_N - pull_N, pull_real_N, pull_train_N
        )
        reference = f"train against {panel.reference.description}"
        found["overfitting"] = panel.measure("overfitting", gap, num, size, reference)
    return found


def spread_of(panel: Panel, value: float, method: str, *pulls: NDArray[np.float64]) -> Interval:
    """An interval from the influences of independent sets of samples."""
    error = math.sqrt(sum(float(pull.var(ddof=1)) / len(pull) for pull in pulls))
    return around(value, error, panel.level, method)


def _kernel(panel: Panel) -> dict[str, Measure]:
    samples_ND, real_ND = panel.sample_features.features_ND, panel.reference_features.features_ND
    distance = kernel_distance(samples_ND, real_ND, level=panel.level, seed=panel.seed)
    return {"kernel": panel.measure("kernel", distance, len(samples_ND), len(real_ND))}


def _score(panel: Panel) -> dict[str, Measure]:
    logits_NK = panel.sample_features.logits_NK
    if logits_NK is None:
        panel.notes.append(f"The Inception Score was left out: {panel.extractor.name} is no classifier.")
        return {}
    score = inception_score(logits_NK, level=panel.level)
    return {"inception_score": panel.measure("inception_score", score, len(logits_NK), 0, "")}


def _coverage(panel: Panel) -> dict[str, Measure]:
    samples_ND, real_ND = panel.sample_features.features_ND, panel.reference_features.features_ND
    size = min(len(samples_ND), len(real_ND))
    if size <= 5:
        panel.notes.append("Precision and its kin were left out: they need more than 5 samples of either kind.")
        return {}
    found = precision_recall_density_coverage(real_ND[:size], samples_ND[:size], level=panel.level)
    return {name: panel.measure(name, found[name], size, size) for name in found.keys()}  # noqa: SIM118


def _diversity(panel: Panel) -> dict[str, Measure]:
    found = {}
    eye = panel.perceptual or panel.extractor
    pools = (("diversity", panel.samples, panel.sample_rows), ("diversity_real", panel.reference, panel.reference_rows))
    for name, pool, rows in pools:
        if name not in panel.wanted:
            continue
        try:
            rows = rows[:_DIVERSITY_SAMPLES]
            spread = diversity(pool.take(rows), eye, level=panel.level, seed=panel.seed)
        except MeasureError as error:
            panel.notes.append(f"Diversity was left out: {error.invariant}.")
            break
        found[name] = panel.measure(name, spread, len(rows), 0, "", eye)
    return found


def _memorisation(panel: Panel) -> dict[str, Measure]:
    if panel.train is None:
        return {}
    result = panel.memorised
    if len(panel.train_rows) < len(panel.train):
        panel.notes.append(
            f"Copies were looked for in {len(panel.train_rows):,} of {len(panel.train):,} training images."
        )
    num, num_train = len(panel.sample_rows), len(panel.train_rows)
    both = f"train and {panel.reference.description}"
    matched = min(num_train, len(panel.reference_rows))
    found = {
        "closer_to_train": panel.measure("closer_to_train", result.closer_to_train, num, matched, both),
        "distance_ratio": panel.measure("distance_ratio", result.distance_ratio, num, matched, both),
        "authentic": panel.measure("authentic", result.authentic, num, num_train, panel.train.description),
        "copies": panel.measure("copies", result.copies, num, num_train, panel.train.description),
    }
    if result.planted_found is not None:
        planted = min(_NUM_PLANTED, num_train)
        found["planted_found"] = panel.measure(
            "planted_found", result.planted_found, planted, num_train, panel.train.description
        )
    return found


def _altered(samples: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Copies as a model might return them: a third moved by one pixel, a third 5 % darker, a third a little noisy."""
    altered = samples.astype(np.float32)
    altered[0::3] = np.roll(altered[0::3], 1, axis=-1)
    altered[1::3] *= 0.95
    altered[2::3] += numpy_generator(seed, "planted copies").normal(0, 2, altered[2::3].shape)
    return np.clip(np.rint(altered), 0, 255).astype(np.uint8)


def _reconstruction(panel: Panel) -> dict[str, Measure]:
    if panel.restored is None:
        return {}
    found, num = {}, len(panel.reference_rows)
    for name, values_N in _pairwise(panel, panel.restored).items():
        spread = mean_interval(values_N, panel.level, "Student, over samples")
        found[name] = panel.plain(name, spread, num)
    if "reconstruction_perceptual" in panel.wanted:
        eye, rows = panel.perceptual or panel.extractor, panel.reference_rows[:_DIVERSITY_SAMPLES]
        try:
            distances_N = perceptual_distance(panel.reference.take(rows), panel.restored.take(rows), eye)
        except MeasureError as error:
            panel.notes.append(f"The perceptual distance of reconstructions was left out: {error.invariant}.")
        else:
            spread = mean_interval(distances_N, panel.level, "Student, over samples")
            name = "reconstruction_perceptual"
            found[name] = panel.measure(name, spread, len(rows), len(rows), extractor=eye)
    if "reconstruction_frechet" in panel.wanted:
        made_ND = panel.restored_features.features_ND
        value, pull_N, pull_real_N = frechet_influence(made_ND, panel.reference_features.features_ND)
        method = "influence function over pairs; for this n, whose bias it keeps"
        spread = spread_of(panel, value, method, pull_N + pull_real_N)
        found["reconstruction_frechet"] = panel.measure("reconstruction_frechet", spread, num, num)
    return found


def _pairwise(panel: Panel, restored: Restored) -> dict[str, NDArray[np.float64]]:
    """Errors of each reconstruction, a piece of the rows at a time."""
    errors, decibels = [], []
    for first in range(0, len(panel.reference_rows), PIECE_ROWS):
        rows = panel.reference_rows[first : first + PIECE_ROWS]
        real, made = panel.reference.take(rows), restored.take(rows)
        errors.append(absolute_errors(real, made))
        decibels.append(psnr_decibels(real, made))
    return {"reconstruction_error": np.concatenate(errors), "psnr": np.concatenate(decibels)}


def _codes(panel: Panel) -> dict[str, Measure]:
    counts = panel.restored.code_counts(panel.reference_rows) if panel.restored is not None else []
    if not counts:
        return {}
    found = {
        name: panel.plain(name, spread, len(counts[0])) for name, spread in code_use(counts[0], panel.level).items()
    }
    if len(counts) > 1:
        used = ", ".join(f"{(part.sum(0) > 0).mean():.0%}" for part in counts)
        panel.notes.append(f"Codes in use are those of the first quantiser; of all of them in turn: {used}.")
    return found


_OF_RECONSTRUCTIONS = frozenset({"reconstruction", "codes"})
TAKERS: dict[str, Callable[[Any], dict[str, Measure]]] = {
    "frechet": _frechet,
    "kernel": _kernel,
    "inception_score": _score,
    "coverage": _coverage,
    "diversity": _diversity,
    "memorisation": _memorisation,
    "reconstruction": _reconstruction,
    "codes": _codes,
}
