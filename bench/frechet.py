"""How fast the Fréchet distance is, beside the customary one with `scipy.linalg.sqrtm`, on the same features.

    python bench/frechet.py [num_samples] [num_features]

Features are Gaussian with a decaying spectrum, float32 as extractors give them. Times are the best of three for ours
and one run for sqrtm, which is slow; both include means and covariances.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from motherlode.measures.frechet import frechet_distance, frechet_interval
from motherlode.randomness import numpy_generator


def timed(function: Callable[[], float], repeats: int) -> tuple[float, float]:
    best, value = float("inf"), 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        value = float(function())
        best = min(best, time.perf_counter() - start)
    return best, value


def with_sqrtm(a_ND: np.ndarray, b_ND: np.ndarray) -> float:
    from scipy.linalg import sqrtm

    covariance_a, covariance_b = np.cov(a_ND, rowvar=False), np.cov(b_ND, rowvar=False)
    offset = a_ND.mean(0, dtype=np.float64) - b_ND.mean(0, dtype=np.float64)
    root = sqrtm(covariance_a @ covariance_b).real
    return float(offset @ offset + np.trace(covariance_a) + np.trace(covariance_b) - 2 * np.trace(root))


def main(num: int = 10_000, num_features: int = 1280) -> None:
    rng = numpy_generator(0, "bench frechet")
    spectrum = (1 + np.arange(num_features)) ** -0.5
    mix = rng.standard_normal((num_features, num_features)) * spectrum[:, None]
    a_ND = (rng.standard_normal((num, num_features)) @ mix).astype(np.float32)
    b_ND = (rng.standard_normal((num, num_features)) @ mix * 1.1 + 0.1).astype(np.float32)
    frechet_distance(a_ND[:2000, :64], b_ND[:2000, :64])  # imports
    ours_sec, ours = timed(lambda: frechet_distance(a_ND, b_ND), 3)
    span_sec, _ = timed(lambda: frechet_interval(a_ND, b_ND), 1)
    theirs_sec, theirs = timed(lambda: with_sqrtm(a_ND, b_ND), 1)
    print(f"{num:,} x {num_features:,} features, two sets")
    print(f"  motherlode            {ours_sec:6.2f} s   {ours:.6f}")
    print(f"  motherlode, interval  {span_sec:6.2f} s")
    print(f"  scipy sqrtm           {theirs_sec:6.2f} s   {theirs:.6f}")
    print(f"  {theirs_sec / ours_sec:.1f}x faster, values differ by {abs(ours / theirs - 1):.1e}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
