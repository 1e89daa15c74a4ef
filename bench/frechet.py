"""How fast the Fréchet distance is, beside the customary one with `scipy.linalg.sqrtm`, on the same features.

    python bench/frechet.py [num_samples] [num_features]

Features are Gaussian with a decaying spectrum, float32 as extractors give them. Times are the best of three for ours
and of two for sqrtm; both include means and covariances. Processor seconds are printed too: with OMP_NUM_THREADS=1
they say what the wall clock would on an idle core, however busy the machine.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from motherlode.measures.frechet import frechet_distance, frechet_interval
from motherlode.randomness import numpy_generator


def timed(function: Callable[[], float], repeats: int) -> tuple[float, float, float]:
    """Least wall seconds, least processor seconds, and the value."""
    wall_sec, processor_sec, value = [], [], 0.0
    for _ in range(repeats):
        start, processor_start = time.perf_counter(), time.process_time()
        value = float(function())
        wall_sec.append(time.perf_counter() - start)
        processor_sec.append(time.process_time() - processor_start)
    return min(wall_sec), min(processor_sec), value


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
    rows = {
        "motherlode": timed(lambda: frechet_distance(a_ND, b_ND), 3),
        "with its interval": timed(lambda: frechet_interval(a_ND, b_ND), 1),
        "scipy sqrtm": timed(lambda: with_sqrtm(a_ND, b_ND), 2),
    }
    print(f"{num:,} x {num_features:,} features, two sets          wall s  processor s   distance")
    for name, (wall_sec, processor_sec, value) in rows.items():
        print(f"  {name:40s} {wall_sec:8.2f} {processor_sec:12.2f}   {value:.6f}")
    ours, theirs = rows["motherlode"], rows["scipy sqrtm"]
    print(f"  {theirs[0] / ours[0]:.1f}x faster by the clock, {theirs[1] / ours[1]:.1f}x in processor time")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
