"""The steps that look across rows: duplicates, outliers, label errors, sizes of labels, the split.

Each sees only what the one before it let through, so an outlier among copies counts once. Exact duplicates go first
because they are nearly free (a sort of 16-byte hashes), and spare the rest the work.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xxhash
from numpy.typing import NDArray

from motherlode.data import dedupe, minhash, outliers, recount
from motherlode.data.split import hash_units, hold_out
from motherlode.data.step import HELDOUT, TRAIN, Rows
from motherlode.errors import DatasetError
from motherlode.modality import Modality

_FEWEST_SHARED, _TWIN_SHARE = 3, 0.5
"""So many rows, and this share of the smaller label's, make two labels twins."""
_FAR_SHARE, _FAR_ROWS = 0.5, 2
"""A split that is off by more than this share of what was asked, and by more rows, is warned of."""


@dataclass(frozen=True)
class ExactDuplicates:
    """Keeps the first of the rows whose normal forms are equal byte for byte, or all of them, on one side."""

    keep: bool = False
    name: str = "exact duplicates"
    does: str = "keep one of the rows whose normal forms are equal byte for byte"

    def run(self, rows: Rows) -> None:
        """Drop all but the first unless told to keep them; labels that disagree make the first a suspect."""
        alive = rows.alive
        _, first_U, unique_A = np.unique(rows.ids_N[alive], return_index=True, return_inverse=True)
        kept_A = alive[first_U[unique_A.reshape(-1)]]
        copies = alive != kept_A
        differ_A = rows.labels_N[alive] != rows.labels_N[kept_A]
        conflicts = np.unique(kept_A[differ_A])
        # Where two labels hold the same rows throughout, no single label is wrong: the labels are.
        rows.suspects_N[kept_A[differ_A & ~_warn_of_twins(rows, alive, kept_A)]] = True
        rows.facts["label_conflicts"] = len(conflicts)
        if self.keep:
            rows.clusters_N[alive] = kept_A
            return
        rows.duplicates_N[alive[copies]] = kept_A[copies]
        rows.drop(alive[copies], "exact_duplicate", self.name)


@dataclass(frozen=True)
class NearDuplicates:
    """Finds rows that look alike and keeps one of each set, or keeps all and notes the sets."""

    modality: Modality
    keep: bool = False
    name: str = "near duplicates"
    does: str = "keep one of the rows that look alike (fingerprints propose, thumbnails decide)"

    def run(self, rows: Rows) -> None:
        """Cluster, and drop all but the first of each cluster unless told to keep them."""
        alive = rows.alive
        places = rows.places_N[alive]

        def thumbs(chosen: NDArray[np.int64]) -> NDArray[np.uint8]:
            found: NDArray[np.uint8] = rows.thumbs_PT[places[chosen]]
            return found

        similarity = dedupe.in_blocks(self.modality.similarity, thumbs, rows.thumbs_PT.shape[1])
        found = dedupe.near_duplicates(
            rows.fingerprints_PK[places], similarity, max_bits=self.modality.max_bits, threshold=self.modality.similar
        )
        _settle(rows, alive, found, self.keep, self.name)


@dataclass(frozen=True)
class NearTexts:
    """Finds texts that are alike but for a few words, and keeps one of each set, or keeps all and notes the sets."""

    modality: Modality
    keep: bool = False
    check: bool = True
    name: str = "near duplicates"
    does: str = "keep one of the texts that share most of their phrases (min-hashes propose, the texts decide)"

    def run(self, rows: Rows) -> None:
        """Cluster, and drop all but the first of each cluster unless told to keep them; have it checked on a sample."""
        alive = rows.alive

        def shingles(chosen: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
            block = rows.texts.fetch(alive[chosen])
            return self.modality.grams(block.buffer_B, block.offsets_N1)

        found = minhash.near_duplicates(
            rows.fingerprints_PK,
            rows.places_N[alive],
            rows.num_bytes_N[alive],
            shingles,
            rows.texts.folder / "bands.bin",
            threshold=self.modality.similar,
        )
        if self.check:
            searched = copy(rows)  # texts and sizes as they are now: repeated lines may yet be cut
            rows.open_facts["near_duplicate_check"] = rows.aside.submit(
                recount.check, searched, alive, found.cluster_N, self.modality
            )
        _settle(rows, alive, found, self.keep, self.name)
        rows.facts["near_duplicates"]["rows_in_crowds"] = found.num_exhausted


def _warn_of_twins(rows: Rows, alive: NDArray[np.int64], kept_A: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Warn of pairs of labels that hold the same rows, as where a folder was copied under another name.

    Args:
        alive: rows that are in.
        kept_A: for each of them the row it equals, or itself.

    Returns:
        bool (A,): rows whose label is twin of the other one's.
    """
    label_A, other_A = rows.labels_N[alive], rows.labels_N[kept_A]
    twins_A = np.zeros(len(alive), np.bool_)
    differ_A = (label_A != other_A) & (np.minimum(label_A, other_A) >= 0)
    if not differ_A.any():
        return twins_A
    counts_L = np.bincount(label_A[label_A >= 0], minlength=len(rows.label_names))
    pairs_P2, pair_D, shared_P = np.unique(
        np.sort(np.stack([label_A[differ_A], other_A[differ_A]], 1), 1), axis=0, return_inverse=True, return_counts=True
    )
    fewer_P = counts_L[pairs_P2].min(1)
    is_twin_P = (shared_P >= _FEWEST_SHARED) & (shared_P >= _TWIN_SHARE * fewer_P)
    twins_A[differ_A] = is_twin_P[pair_D.reshape(-1)]
    for (first, second), shared, fewer in zip(pairs_P2[is_twin_P], shared_P[is_twin_P], fewer_P[is_twin_P]):
        names = f"{rows.label_names[first]} and {rows.label_names[second]}"
        rows.warnings.append(
            f"the labels {names} hold the same rows ({shared:,} of the {fewer:,} of the smaller one): leave one of the "
            "folders out, or, if they mean the same, join them; else only one of the two labels keeps a row"
        )
    return twins_A


def _settle(rows: Rows, alive: NDArray[np.int64], found: dedupe.Clusters, keep: bool, step: str) -> None:
    """Note the sets of near-duplicates, and drop all rows but the first of each unless they are kept."""
    kept_A = alive[found.cluster_N]
    rows.clusters_N[alive] = kept_A
    copies = alive != kept_A
    rows.facts["near_duplicates"] = {
        "candidate_pairs": found.num_candidates,
        "verified_pairs": found.num_verified,
        "clusters": len(np.unique(kept_A[copies])),
        "rows_beyond_the_first": int(copies.sum()),
    }
    if not keep:
        rows.duplicates_N[alive[copies]] = kept_A[copies]
        rows.drop(alive[copies], "near_duplicate", step)


@dataclass(frozen=True)
class Outliers:
    """Scores rows by their distance to their nearest neighbours."""

    drop: bool = True
    name: str = "outliers"
    does: str = "drop rows far from all others in feature space"

    def run(self, rows: Rows) -> None:
        """Score every row; drop those flagged unless told only to report."""
        alive = rows.alive
        score_A = outliers.knn_outliers(rows.features_PD, rows.places_N[alive])
        rows.outliers_N[alive] = score_A
        flagged = alive[outliers.is_outlier(score_A)]
        rows.facts["outliers"] = len(flagged)
        if self.drop:
            rows.drop(flagged, "outlier", self.name)


@dataclass(frozen=True)
class LabelErrors:
    """Suspects labels that a row's neighbours contradict."""

    drop: bool = False
    name: str = "label errors"
    does: str = "suspect labels that the nearest neighbours contradict"

    def run(self, rows: Rows) -> None:
        """Mark suspects; drop them only if told to."""
        if len(rows.label_names) > 1:
            alive = rows.alive
            flags_A = outliers.label_errors(
                rows.features_PD, rows.labels_N[alive].astype(np.int64), rows.places_N[alive]
            )
            rows.suspects_N[alive[flags_A]] = True
        suspects = rows.alive[rows.suspects_N[rows.alive]]
        rows.facts["label_suspects"] = len(suspects)
        if self.drop:
            rows.drop(suspects, "label_error", self.name)


@dataclass(frozen=True)
class LabelSizes:
    """Drops rows without a label where others have one, and labels too rare; caps labels too common."""

    least: int
    most: int | None
    seed: int
    name: str = "labels"
    does: str = "drop rows without a label, and labels with too few rows; cap those with too many"

    def run(self, rows: Rows) -> None:
        """Drop by label; renumber the labels that remain."""
        if not rows.label_names:
            return
        alive = rows.alive
        rows.drop(alive[rows.labels_N[alive] < 0], "unlabelled", self.name)
        alive = rows.alive
        counts_L = np.bincount(rows.labels_N[alive], minlength=len(rows.label_names))
        rows.drop(alive[counts_L[rows.labels_N[alive]] < self.least], "rare_label", self.name)
        if self.most is not None:
            alive = rows.alive
            draw_A = hash_units(rows.ids_N[alive], self.seed)
            for label in np.flatnonzero(counts_L > self.most):
                members = np.flatnonzero(rows.labels_N[alive] == label)
                order = np.argsort(draw_A[members], kind="stable")
                rows.drop(alive[members[order[self.most :]]], "over_label_cap", self.name)
        self._renumber(rows)

    def _renumber(self, rows: Rows) -> None:
        """Forget labels that no row is left with; a dropped row keeps its label's name in its part."""
        left = np.unique(rows.labels_N[rows.alive])
        lookup = np.full(len(rows.label_names) + 1, -1, np.int32)
        lookup[left] = np.arange(len(left), dtype=np.int32)
        rows.labels_N = lookup[rows.labels_N]
        rows.label_names = [rows.label_names[label] for label in left]


@dataclass(frozen=True)
class Split:
    """Puts every row on one side; near-duplicates together."""

    share: float
    seed: int
    name: str = "split"
    does: str = "put each row in train or held-out by its content; look-alikes on one side"

    def run(self, rows: Rows) -> None:
        """Set `splits_N` of the rows that are in.

        Raises:
            DatasetError: rows are to be held out by groups, and there is only one.
        """
        alive = rows.alive
        if not len(alive):
            return
        if len(rows.groups_N):
            self._by_group(rows, alive)
            return
        leaders, unit_A = np.unique(rows.clusters_N[alive], return_inverse=True)
        unit_A = unit_A.reshape(-1)
        order = np.lexsort((rows.ids_N[alive], unit_A))
        smallest_U = alive[order[np.searchsorted(unit_A[order], np.arange(len(leaders)))]]
        held_U = hold_out(rows.ids_N[smallest_U], rows.labels_N[smallest_U], self.share, self.seed)
        rows.splits_N[alive] = np.where(held_U[unit_A], HELDOUT, TRAIN)
        self._warn(rows, rows.labels_N[smallest_U])

    def _warn(self, rows: Rows, labels_U: NDArray[np.int32]) -> None:
        """Say where the split is not what was asked, and why."""
        num_rows, num_held = len(rows.alive), int((rows.splits_N == HELDOUT).sum())
        wanted = self.share * num_rows
        near = abs(num_held - wanted) <= max(_FAR_ROWS, _FAR_SHARE * wanted)
        if not self.share or (num_held > 1 and near):
            return
        if len(labels_U) == 1:
            what = "there is one row" if num_rows == 1 else f"all {num_rows:,} rows are alike"
            rows.warnings.append(f"nothing is held out, for {what}: what is trained on this cannot be measured")
            return
        if num_held == 1:
            rows.warnings.append("one row is held out: too few for `lode evaluate`, which needs two")
            return
        num_small = int((np.unique(labels_U, return_counts=True)[1] * self.share < 1).sum())
        why = "look-alikes stay together"
        if rows.label_names and num_small:
            why = f"{num_small:,} labels are small, and hold out one row each, or none where they have no other; "
            why += "`labels: none` splits without regard to them"
        rows.warnings.append(
            f"{num_held:,} of {num_rows:,} rows ({num_held / num_rows:.0%}) are held out, where {self.share:.0%} were "
            f"asked for: {why}"
        )

    def _by_group(self, rows: Rows, alive: NDArray[np.int64]) -> None:
        """Groups go whole, those with look-alikes of one another together; decided by their names."""
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        num_groups = len(rows.group_names)
        _, cluster_A = np.unique(rows.clusters_N[alive], return_inverse=True)
        group_A, cluster_A = rows.groups_N[alive], cluster_A.reshape(-1) + num_groups
        size = int(cluster_A.max()) + 1
        edges = coo_matrix((np.ones(len(alive), np.int8), (group_A, cluster_A)), shape=(size, size))
        _, part_V = connected_components(edges, directed=False)
        present = np.unique(group_A)
        units, unit_P = np.unique(part_V[present], return_inverse=True)
        if len(units) < 2 and self.share:
            raise DatasetError(
                "rows held out by folder must lie in folders that have no look-alikes in common",
                f"{len(present)} folders, {len(units)} apart",
                "hold out single rows, or let near-duplicates be dropped",
            )
        names = [min(rows.group_names[group] for group in present[unit_P == unit]) for unit in range(len(units))]
        ids_U = np.frombuffer(b"".join(xxhash.xxh3_128_digest(name.encode()) for name in names), np.dtype("V16"))
        held_U = hold_out(ids_U, np.full(len(units), -1, np.int32), self.share, self.seed)
        held_V = np.zeros(size, np.bool_)
        held_V[present] = held_U[unit_P.reshape(-1)]
        rows.splits_N[alive] = np.where(held_V[group_A], HELDOUT, TRAIN)
        rows.facts["heldout_groups"] = sorted(rows.group_names[group] for group in present[held_V[present]])


Choice = Literal["drop", "report", "off"]
