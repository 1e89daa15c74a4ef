"""Outliers and label errors that were planted are found, and a real data set is left nearly whole."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from motherlode.data import outliers
from motherlode.modality.image import MODALITY

FASHION = Path("/usr/share/datasets/fashion-mnist")


def cloud(num: int = 1500, num_labels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, num_labels, num)
    centres = rng.normal(0, 4, (num_labels, 12))
    return (centres[labels] + rng.normal(0, 1, (num, 12))).astype(np.float32), labels.astype(np.int64)


def test_neighbours_are_scikit_learns() -> None:
    points, _ = cloud(400)
    rows, distance = outliers._nearest(points, np.arange(400), 5)
    expected, expected_rows = NearestNeighbors(n_neighbors=6).fit(points).kneighbors(points)
    assert np.allclose(distance, expected[:, 1:], atol=1e-2)
    assert (rows == expected_rows[:, 1:]).mean() > 0.999


def test_whitening_gives_unit_variances() -> None:
    points, _ = cloud()
    covariance = np.cov(outliers.whiten(points), rowvar=False)
    assert np.allclose(covariance, np.diag(np.diag(covariance)), atol=1e-3)
    assert np.diag(covariance).max() == pytest.approx(1.0, abs=1e-3)


def test_planted_outliers_are_flagged() -> None:
    points, _ = cloud()
    rng = np.random.default_rng(1)
    points[:10] = rng.normal(0, 1, (10, 12)) * 30
    score = outliers.knn_outliers(points)
    flags = outliers.is_outlier(score)
    assert score.dtype == np.float32
    assert flags[:10].all()
    assert flags[10:].mean() < 0.01
    assert float(np.median(score)) == pytest.approx(1.0, abs=1e-3)


def test_reference_is_capped_and_scores_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    points, _ = cloud()
    full = outliers.knn_outliers(points)
    monkeypatch.setattr(outliers, "MAX_REFERENCE", 500)
    capped = outliers.knn_outliers(points)
    assert np.corrcoef(full, capped)[0, 1] > 0.9


@pytest.mark.parametrize("num", [0, 1, 5])
def test_few_rows(num: int) -> None:
    points = np.zeros((num, 4), np.float32)
    assert outliers.knn_outliers(points).tolist() == [1.0] * num
    assert not outliers.label_errors(points, np.zeros(num, np.int64)).any()
    assert not outliers.is_outlier(np.ones(num, np.float32)).any()


def test_equal_rows_are_no_outliers() -> None:
    assert not outliers.is_outlier(outliers.knn_outliers(np.ones((50, 4), np.float32))).any()


def test_planted_label_errors_are_flagged() -> None:
    points, labels = cloud()
    wrong = np.arange(0, 1500, 20)
    given = labels.copy()
    given[wrong] = (given[wrong] + 1) % 3
    given[3] = -1
    flags = outliers.label_errors(points, given)
    assert not flags[3]
    assert flags[wrong].mean() > 0.85
    assert flags.sum() < 1.2 * len(wrong)


@pytest.mark.skipif(not FASHION.is_dir(), reason="Fashion-MNIST is not installed")
def test_fashion_label_noise() -> None:
    with gzip.open(FASHION / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)[:3000]
    with gzip.open(FASHION / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)[:3000].astype(np.int64)
    found = MODALITY.examine([MODALITY.encode(image) for image in images], MODALITY.Options())
    assert sum(reason is not None for reason in found.reasons) <= 30, "99 % of clean data is kept"
    features = MODALITY.features(found.thumbs_NT)
    rng = np.random.default_rng(0)
    wrong = rng.choice(3000, 150, replace=False)
    given = labels.copy()
    given[wrong] = (given[wrong] + rng.integers(1, 10, 150)) % 10
    flags = outliers.label_errors(features, given)
    assert flags[wrong].mean() > 0.8, "recall"
    assert flags[wrong].sum() / flags.sum() > 0.55, "precision; the labels were not clean before"
    assert outliers.is_outlier(outliers.knn_outliers(features)).mean() < 0.01
