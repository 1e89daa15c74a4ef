"""The Fréchet distance between two sets of features, exact, in float64, with an interval.

    d² = ‖μ_a − μ_b‖² + tr Σ_a + tr Σ_b − 2 tr (Σ_a Σ_b)^½            (Dowson & Landau 1982; Heusel 2017, eq. 6)

The last trace is found without a matrix square root: from the singular values of X Yᵀ where there are fewer samples
than features, else from the eigenvalues of Lᵀ Σ_b L with Σ_a = L Lᵀ. Always float64: float32 linear algebra puts the
distance off by 0.4-0.6 %. For 10,000 x 1,280 features it took 0.55-0.68 s on two idle cores, two thirds of it for the
covariances; the customary way over `scipy.linalg.sqrtm` took 2.2-4.4 s in the same runs (bench/frechet.py).

The estimate is biased upwards by roughly c/n, so two distances compare only at equal n. `frechet_interval` says how
far the estimate *at this n* would move with other samples; `frechet_infinity` removes the bias by extrapolation.

Shape legend: N, M samples; D features.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import MeasureError
from motherlode.measures.interval import DEFAULT_LEVEL, Interval, around, normal_quantile
from motherlode.measures.matrix import as_matrix, as_pair
from motherlode.randomness import numpy_generator

Float = NDArray[np.float64]

_CHUNK_ROWS = 1024
_RIDGE = 1e-8
_LEAST_ROWS_A_FEATURE = 4


class Moments:
    """Mean and covariance of features that arrive in pieces; memory is one D x D matrix and one chunk.

    Args:
        shift_D: a rough mean, taken off before products are summed so that nothing cancels; default: the mean of the
            first piece.
    """

    def __init__(self, shift_D: Float | None = None) -> None:
        self.num = 0
        self._shift_D = shift_D
        self._sum_D: Float = np.zeros(0)
        self._gram_DD: Float = np.zeros((0, 0))

    def update(self, features_ND: Any) -> Moments:
        """Add samples, (N, D); returns itself."""
        from scipy.linalg import blas

        features_ND = as_matrix(features_ND, least=1)
        num_features = features_ND.shape[1]
        if self.num == 0:
            if self._shift_D is None:
                self._shift_D = features_ND[:_CHUNK_ROWS].mean(0, dtype=np.float64)
            self._sum_D = np.zeros(num_features)
            self._gram_DD = np.zeros((num_features, num_features), order="F")
        if num_features != len(self._sum_D):
            raise MeasureError("every piece must have the same features", f"{num_features}, then {len(self._sum_D)}")
        buffer_CD = np.empty((min(_CHUNK_ROWS, len(features_ND)), num_features))
        for start in range(0, len(features_ND), _CHUNK_ROWS):
            piece_CD = features_ND[start : start + _CHUNK_ROWS]
            centred_CD = np.subtract(piece_CD, self._shift(), out=buffer_CD[: len(piece_CD)])
            self._sum_D += centred_CD.sum(0)
            self._gram_DD = blas.dsyrk(1.0, centred_CD.T, beta=1.0, c=self._gram_DD, lower=1, overwrite_c=1)
        self.num += len(features_ND)
        return self

    @property
    def mean_D(self) -> Float:
        """The mean."""
        mean: Float = self._shift() + self._sum_D / self.num
        return mean

    @property
    def lower_DD(self) -> Float:
        """The unbiased covariance; only the lower triangle is filled."""
        if self.num < 2:
            raise MeasureError("a covariance needs at least 2 samples", self.num, "take more samples")
        from scipy.linalg import blas

        scale = 1 / (self.num - 1)
        covariance_DD: Float = blas.dsyr(
            -scale / self.num, self._sum_D, a=self._gram_DD * scale, lower=1, overwrite_a=1
        )
        return covariance_DD

    @property
    def covariance_DD(self) -> Float:
        """The unbiased covariance, whole."""
        return _whole(self.lower_DD)

    def __add__(self, other: Moments) -> Moments:
        """Both sets together; they must share their shift."""
        if not np.array_equal(self._shift(), other._shift()):
            raise MeasureError("moments can be added only if they share their shift", None, "give both `shift_D`")
        both = Moments(self._shift())
        both.num = self.num + other.num
        both._sum_D = self._sum_D + other._sum_D
        both._gram_DD = self._gram_DD + other._gram_DD
        return both

    def _shift(self) -> Float:
        if self._shift_D is None:
            raise MeasureError("moments need samples", 0, "call `update` first")
        return self._shift_D


def frechet_distance(features_a_ND: Any, features_b_ND: Any) -> float:
    """The squared Fréchet distance between Gaussians fitted to two sets of features.

    Args:
        features_a_ND: array or tensor (N, D), N ≥ 2.
        features_b_ND: array or tensor (M, D), M ≥ 2.

    Returns:
        A float ≥ 0, lower is closer. Depends on N and M: compare only at equal ones.

    Raises:
        MeasureError: wrong shapes, fewer than two samples, or values that are not finite.
    """
    a_ND, b_MD = as_pair(features_a_ND, features_b_ND)
    if min(len(a_ND), len(b_MD)) > a_ND.shape[1]:
        return frechet_from_moments(Moments().update(a_ND), Moments().update(b_MD))
    mean_a_D, x_ND = _scaled(a_ND)
    mean_b_D, y_MD = _scaled(b_MD)
    values = _singular_values(x_ND, y_MD)
    return _assemble(mean_a_D - mean_b_D, float(np.vdot(x_ND, x_ND)), float(np.vdot(y_MD, y_MD)), float(values.sum()))


def frechet_from_moments(a: Moments, b: Moments) -> float:
    """The same distance from streamed moments, for sets too large for memory; best where both N exceed D."""
    lower_a_DD, lower_b_DD = a.lower_DD, b.lower_DD
    root = trace_sqrt_product(lower_a_DD, lower_b_DD)
    return _assemble(a.mean_D - b.mean_D, float(np.trace(lower_a_DD)), float(np.trace(lower_b_DD)), root)


def trace_sqrt_product(covariance_a_DD: Float, covariance_b_DD: Float) -> float:
    """tr (Σ_a Σ_b)^½ of two covariances, of which only the lower triangles are read; singular ones are fine.

    The eigenvalues of Σ_a Σ_b are those of Lᵀ Σ_b L, which is symmetric; where Cholesky fails, L = Q Λ^½ from `eigh`.
    """
    from scipy.linalg import eigh, eigvalsh, lapack

    support_D = (np.diag(covariance_a_DD) > 0) & (np.diag(covariance_b_DD) > 0)
    if not support_D.all():  # a constant feature adds nothing, and would spoil Cholesky
        covariance_a_DD = covariance_a_DD[np.ix_(support_D, support_D)]
        covariance_b_DD = covariance_b_DD[np.ix_(support_D, support_D)]
    if not support_D.any():
        return 0.0
    factor_DD, failed = lapack.dpotrf(covariance_a_DD, lower=1)
    if failed:
        values_D, vectors_DD = eigh(covariance_a_DD, lower=True, check_finite=False)
        root_DD = vectors_DD * np.sqrt(np.clip(values_D, 0, None))
        product_DD = root_DD.T @ _whole(covariance_b_DD) @ root_DD
    else:
        product_DD, _ = lapack.dsygst(covariance_b_DD, factor_DD, itype=2, lower=1)
    values_D = eigvalsh(product_DD, lower=True, overwrite_a=True, check_finite=False)
    return float(np.sqrt(np.clip(values_D, 0, None)).sum())


def frechet_interval(features_a_ND: Any, features_b_ND: Any, *, level: float = DEFAULT_LEVEL) -> Interval:
    """`frechet_distance` with an interval for its expected value *at these N and M*.

    The standard error is that of the distance's influence function (the infinitesimal jackknife): one extra
    decomposition instead of hundreds of resamplings, which would also add their own bias, since a bootstrap's
    duplicates make the covariances smaller.
    """
    value, influence_a_N, influence_b_M = frechet_influence(features_a_ND, features_b_ND)
    error = math.hypot(_error(influence_a_N), _error(influence_b_M))
    spread = around(value, error, level, "influence function; for this n, whose bias it keeps")
    return Interval(value, max(0.0, spread.low), spread.high, level, spread.method)


def frechet_influence(features_a_ND: Any, features_b_ND: Any) -> tuple[float, Float, Float]:
    """The distance, and how much each sample of either set pulls it (the influence function, centred).

    ∂d²/∂Σ_a = I − T with T the optimal map from a to b (Σ_b = T Σ_a T), so the influence of x is
    2 (μ_a − μ_b)·(x − μ_a) + (x − μ_a)ᵀ (I − T) (x − μ_a) − tr (I − T) Σ_a, and likewise for b.
    Two distances that share samples differ with the error of the difference of their influences.
    """
    a_ND, b_MD = as_pair(features_a_ND, features_b_ND)
    mean_a_D, x_ND = _scaled(a_ND)
    mean_b_D, y_MD = _scaled(b_MD)
    offset_D = mean_a_D - mean_b_D
    if min(len(a_ND), len(b_MD)) > a_ND.shape[1]:
        root, pull_a_N, pull_b_M = _pull_from_covariances(x_ND, y_MD)
    else:
        root, pull_a_N, pull_b_M = _pull_from_samples(x_ND, y_MD)
    value = _assemble(offset_D, float(np.vdot(x_ND, x_ND)), float(np.vdot(y_MD, y_MD)), root)

    def influence(centred_ND: Float, pull_N: Float, direction_D: Float) -> Float:
        num = len(centred_ND)
        norms_N = np.einsum("nd,nd->n", centred_ND, centred_ND)
        raw_N: Float = 2 * math.sqrt(num - 1) * (centred_ND @ direction_D) + (num - 1) * (norms_N - pull_N)
        raw_N -= raw_N.mean()
        return raw_N

    return value, influence(x_ND, pull_a_N, offset_D), influence(y_MD, pull_b_M, -offset_D)


def frechet_infinity(
    features_a_ND: Any, features_b_ND: Any, *, level: float = DEFAULT_LEVEL, seed: int = 0
) -> Interval:
    """The distance extrapolated to infinitely many samples (after Chong & Forsyth 2020, arXiv:1911.07023).

    With d(n) = d_∞ + c/n + O(1/n²), d_∞ ≈ 2 d(n) − d(n/2). The halves are matched and disjoint, so their sampling error
    is the whole set's; what the three ways of halving scatter beyond it is added. On Gaussians with 4 samples a feature
    the bias fell from 60-120 % of the distance to 2 %.

    Raises:
        MeasureError: fewer than 4 D samples a set: the expansion was not tested there.
    """
    a_ND, b_MD = as_pair(features_a_ND, features_b_ND)
    least = _LEAST_ROWS_A_FEATURE * a_ND.shape[1]
    if min(len(a_ND), len(b_MD)) < least:
        raise MeasureError(
            f"extrapolation needs at least {_LEAST_ROWS_A_FEATURE} samples a feature, here {least}",
            f"{min(len(a_ND), len(b_MD))} samples",
            "take more samples, or report the distance at this n",
        )
    whole = frechet_interval(a_ND, b_MD, level=level)
    a, b = (_quarters(x, seed, name) for x, name in ((a_ND, "a"), (b_MD, "b")))
    halves = [
        [frechet_from_moments(a[i] + a[j], b[i] + b[j]) for i, j in pair]
        for pair in (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
    ]
    splits = np.mean(halves, axis=1)
    scatter = float(splits.std(ddof=1)) / math.sqrt(len(splits))
    error = math.hypot((whole.high - whole.value) / normal_quantile(level), scatter)
    value = 2 * whole.value - float(splits.mean())
    return around(value, error, level, "2 d(n) − d(n/2); influence function and scatter of halves")


def _quarters(features_ND: NDArray[Any], seed: int, name: str) -> list[Moments]:
    """Moments of four random quarters, with one shift."""
    order_N = numpy_generator(seed, f"frechet quarters {name}").permutation(len(features_ND))
    shift_D = features_ND[order_N[:_CHUNK_ROWS]].mean(0, dtype=np.float64)
    return [Moments(shift_D).update(features_ND[rows]) for rows in np.array_split(order_N, 4)]


def _scaled(features_ND: NDArray[Any]) -> tuple[Float, Float]:
    """The mean, and the centred samples over √(n − 1), so that Σ = Xᵀ X."""
    mean_D = features_ND.mean(0, dtype=np.float64)
    return mean_D, (features_ND - mean_D) / math.sqrt(len(features_ND) - 1)


def _assemble(offset_D: Float, trace_a: float, trace_b: float, root: float) -> float:
    """The distance from its parts; rounding may leave a hair below zero."""
    return max(0.0, float(offset_D @ offset_D) + trace_a + trace_b - 2 * root)


def _singular_values(x_ND: Float, y_MD: Float) -> Float:
    """Singular values of X Yᵀ; where M > D, Y is first replaced by a D x D factor of Yᵀ Y."""
    from scipy.linalg import svdvals

    if len(x_ND) > len(y_MD):
        x_ND, y_MD = y_MD, x_ND
    if len(y_MD) > y_MD.shape[1]:
        y_MD = np.asarray(np.linalg.qr(y_MD, mode="r"))
    values: Float = svdvals(x_ND @ y_MD.T, check_finite=False)
    return values


def _pull_from_samples(x_ND: Float, y_MD: Float) -> tuple[float, Float, Float]:
    """tr (Σ_a Σ_b)^½ and xᵀ T x for few samples: with X Yᵀ = U S Vᵀ, X T Xᵀ = U S Uᵀ and Y T⁻¹ Yᵀ = V S Vᵀ.

    U and V S come from the eigenvectors of X Yᵀ Y Xᵀ, a third of a full decomposition's time; the sum of S, which is
    the distance, from singular values, since squares lose the small ones.
    """
    from scipy.linalg import eigh

    if len(x_ND) > len(y_MD):
        root, pull_b_M, pull_a_N = _pull_from_samples(y_MD, x_ND)
        return root, pull_a_N, pull_b_M
    product_NM = x_ND @ y_MD.T
    squares_N, left_NN = eigh(product_NM @ product_NM.T, check_finite=False, overwrite_a=True)
    values_N = np.sqrt(np.clip(squares_N, squares_N[-1] * 1e-14 + 1e-300, None))
    scaled_right_MN = product_NM.T @ left_NN
    root = float(_singular_values(x_ND, y_MD).sum())
    return root, np.square(left_NN) @ values_N, np.square(scaled_right_MN) @ (1 / values_N)


def _pull_from_covariances(x_ND: Float, y_MD: Float) -> tuple[float, Float, Float]:
    """The same for many samples: Σ_a = L Lᵀ, Lᵀ Σ_b L = V Λ Vᵀ, T = W Wᵀ with W = L⁻ᵀ V Λ^¼.

    A ridge of 1e-8 of the mean variance keeps singular covariances invertible, and the pulls are float32 products: both
    move errors, not the distance, by less than errors are known.
    """
    from scipy.linalg import blas, cholesky, eigh, solve_triangular

    sigma_a_DD, sigma_b_DD = (_whole(blas.dsyrk(1.0, z.T, lower=1)) for z in (x_ND, y_MD))
    root = trace_sqrt_product(sigma_a_DD, sigma_b_DD)
    for sigma_DD in (sigma_a_DD, sigma_b_DD):
        sigma_DD.flat[:: len(sigma_DD) + 1] += _RIDGE * max(np.trace(sigma_DD) / len(sigma_DD), 1e-300)
    lower_DD = cholesky(sigma_a_DD, lower=True, check_finite=False)
    values_D, vectors_DD = eigh(lower_DD.T @ sigma_b_DD @ lower_DD, check_finite=False, overwrite_a=True)
    quarter_D = np.clip(values_D, 1e-30 + values_D.max() * 1e-18, None) ** 0.25
    forward_DD = solve_triangular(lower_DD, vectors_DD * quarter_D, lower=True, trans="T", check_finite=False)
    backward_DD = lower_DD @ (vectors_DD / quarter_D)
    return root, _squared_norms(x_ND, forward_DD), _squared_norms(y_MD, backward_DD)


def _squared_norms(x_ND: Float, map_DD: Float) -> Float:
    """‖Wᵀ x‖² of each row."""
    mapped_ND = x_ND.astype(np.float32) @ map_DD.astype(np.float32)
    norms_N: Float = np.square(mapped_ND).sum(1, dtype=np.float64)
    return norms_N


def _whole(lower_DD: Float) -> Float:
    """A symmetric matrix from its lower triangle."""
    whole_DD: Float = np.tril(lower_DD)
    whole_DD += np.tril(whole_DD, -1).T
    return whole_DD


def _error(influence_N: Float) -> float:
    """Standard error of a mean influence."""
    return float(influence_N.std(ddof=1)) / math.sqrt(len(influence_N))
