"""The arithmetic of scaling laws, compiled: values, gradients, minimisation, bootstrap, and the value of a purchase.

Everything above this file speaks of forms by name and of parameters by their natural names; here a form is a number and
its parameters a vector `theta` over *centred* logarithms (n = log N − centre and so on), because the natural A and α
lie on a ridge a minimiser cannot walk along. All kernels are cached on disk: the first call on a machine compiles
(about a minute in all), later processes load them.

Shape legend: M rows of a table, P parameters of a form, B bootstrap draws, G starting points, K linear coefficients.
"""

from __future__ import annotations

from math import exp, inf, log, log1p

import numpy as np
from numba import njit

CHINCHILLA, EFFECTIVE, PENALTY, BOUNDED, BROKEN, EFFECTIVE_BOTH, PACED = range(7)
PENALISED = (PENALTY, PACED)  # forms in which a run can be trained too long

# Our own door to numba: floor 1's brings pydantic, a third of a second at each start of `lode plan`.
compiled = njit(cache=True, nogil=True, error_model="numpy")


@compiled
def _power_terms(theta, n, d, grad):  # type: ignore[no-untyped-def]
    """E + A·N^−α + B·D^−β and its gradient in the first five slots."""
    irreducible = exp(theta[0])
    size = exp(theta[1] - theta[3] * n)
    data = exp(theta[2] - theta[4] * d)
    grad[0], grad[1], grad[2] = irreducible, size, data
    grad[3], grad[4] = -n * size, -d * data
    return irreducible + size + data


@compiled
def _log_effective(log_d, log_u, repeats):  # type: ignore[no-untyped-def]
    """Log D' = log U' + log(1 + R*(1 − e^(−R/R*))) and its derivative in log R*; U' = min(U, D)."""
    log_u = min(log_u, log_d)
    ratio = (exp(log_d - log_u) - 1.0) / repeats
    decay = exp(-ratio)
    gain = 1.0 + repeats * (1.0 - decay)
    return log_u + log(gain), repeats * (1.0 - decay - ratio * decay) / gain


@compiled
def _effective(theta, log_n, log_d, log_u, centre, grad):  # type: ignore[no-untyped-def]
    effective, slope = _log_effective(log_d, log_u, exp(theta[5]))
    loss = _power_terms(theta, log_n - centre[0], effective - centre[1], grad)
    grad[5] = -theta[4] * grad[2] * slope
    return loss


@compiled
def _penalty(theta, first, scarcity, log_n, log_d, log_u, centre, grad):  # type: ignore[no-untyped-def]
    """P·R^δ·N^κ·U^−λ, its parameters from slot `first` on; λ stands in slot `scarcity`: κ's where the two are one."""
    grad[first] = grad[first + 1] = grad[first + 2] = grad[scarcity] = 0.0
    passes = log_d - log_u
    if passes <= 1e-9:
        return 0.0
    log_r = log(exp(passes) - 1.0) - centre[3]
    n, u = log_n - centre[0], log_u - centre[2]
    term = exp(min(theta[first] + theta[first + 1] * log_r + theta[first + 2] * n - theta[scarcity] * u, 50.0))
    grad[first], grad[first + 1], grad[first + 2] = term, term * log_r, term * n
    grad[scarcity] -= term * u
    return term


@compiled
def _bounded(theta, log_n, log_d, log_u, centre, grad):  # type: ignore[no-untyped-def]
    n, d, u = log_n - centre[0], log_d - centre[1], min(log_u, log_d) - centre[2]
    irreducible, gap = exp(theta[0]), exp(theta[1])
    size = exp(min(theta[2] - theta[5] * n, 50.0))
    data = exp(min(theta[3] - theta[6] * d, 50.0))
    cross = exp(min(theta[4] + theta[7] * n - theta[8] * u, 50.0))
    harm = size + data + cross
    slope = gap / (1.0 + harm) ** 2
    grad[0], grad[1] = irreducible, gap * harm / (1.0 + harm)
    grad[2], grad[3], grad[4] = slope * size, slope * data, slope * cross
    grad[5], grad[6] = -n * grad[2], -d * grad[3]
    grad[7], grad[8] = n * grad[4], -u * grad[4]
    return irreducible + grad[1]


@compiled
def _broken(theta, n, d, grad):  # type: ignore[no-untyped-def]
    """One break on the axis d: of the samples, or of whatever else learning is counted in."""
    width = exp(theta[7])
    x = (d - theta[6]) / width
    soft = x + log1p(exp(-x)) if x > 0 else log1p(exp(x))
    step = 1.0 / (1.0 + exp(-x))
    turn = theta[5] - theta[4]
    irreducible = exp(theta[0])
    size = exp(theta[1] - theta[3] * n)
    data = exp(min(theta[2] - theta[4] * d - turn * width * soft, 50.0))
    grad[0], grad[1], grad[2], grad[3] = irreducible, size, data, -n * size
    grad[4] = (width * soft - d) * data
    grad[5] = -width * soft * data
    grad[6] = turn * step * data
    grad[7] = -turn * (width * soft - (d - theta[6]) * step) * data
    return irreducible + size + data


@compiled
def _paced(theta, log_n, log_d, log_u, centre, grad):  # type: ignore[no-untyped-def]
    n, d = log_n - centre[0], log_d - centre[1]
    loss = _broken(theta, n, d + theta[8] * n, grad)
    grad[8] = -n * (theta[4] * grad[2] + grad[6])
    return loss + _penalty(theta, 9, 12, log_n, log_d, log_u, centre, grad)


@compiled
def _effective_both_value(theta, log_n, log_d, log_u, centre):  # type: ignore[no-untyped-def]
    log_a = theta[1] + theta[3] * centre[0]
    log_b = theta[2] + theta[4] * centre[1]
    effective, _ = _log_effective(log_d, log_u, exp(theta[5]))
    enough = (log_a - log_b) / theta[3] + min(log_u, log_d)
    size, _ = _log_effective(log_n, enough, exp(theta[6]))
    return exp(theta[0]) + exp(log_a - theta[3] * size) + exp(log_b - theta[4] * effective)


@compiled
def _effective_both(theta, log_n, log_d, log_u, centre, grad):  # type: ignore[no-untyped-def]
    """Gradient by central differences: A and B sit inside the model's own effective size, so no term is simple."""
    for i in range(7):
        kept = theta[i]
        theta[i] = kept + 1e-6
        above = _effective_both_value(theta, log_n, log_d, log_u, centre)
        theta[i] = kept - 1e-6
        grad[i] = (above - _effective_both_value(theta, log_n, log_d, log_u, centre)) / 2e-6
        theta[i] = kept
    return _effective_both_value(theta, log_n, log_d, log_u, centre)


@compiled
def _form(kind, theta, log_n, log_d, log_u, centre, grad):  # type: ignore[no-untyped-def]
    if kind == CHINCHILLA:
        return _power_terms(theta, log_n - centre[0], log_d - centre[1], grad)
    if kind == EFFECTIVE:
        return _effective(theta, log_n, log_d, log_u, centre, grad)
    if kind == PENALTY:
        loss = _power_terms(theta, log_n - centre[0], log_d - centre[1], grad)
        return loss + _penalty(theta, 5, 7, log_n, log_d, log_u, centre, grad)
    if kind == BOUNDED:
        return _bounded(theta, log_n, log_d, log_u, centre, grad)
    if kind == BROKEN:
        return _broken(theta, log_n - centre[0], log_d - centre[1], grad)
    if kind == PACED:
        return _paced(theta, log_n, log_d, log_u, centre, grad)
    return _effective_both(theta, log_n, log_d, log_u, centre, grad)


@compiled
def row(kind, base, theta, log_n, log_d, log_u, group, centre, grad):  # type: ignore[no-untyped-def]
    """Loss of one row and its gradient; `base` = P of the form; each further treatment adds (log m, s).

    Treatment g multiplies unique data by m_g and the loss by e^{s_g}.
    """
    for i in range(base, theta.size):
        grad[i] = 0.0
    if group == 0:
        return _form(kind, theta, log_n, log_d, log_u, centre, grad)
    slot = base + 2 * (group - 1)
    shifted = log_u + theta[slot]
    above = _form(kind, theta, log_n, log_d, shifted + 1e-5, centre, grad)
    below = _form(kind, theta, log_n, log_d, shifted - 1e-5, centre, grad)
    scale = exp(theta[slot + 1])
    loss = _form(kind, theta, log_n, log_d, shifted, centre, grad)
    for i in range(base):
        grad[i] *= scale
    grad[slot] = scale * (above - below) / 2e-5
    grad[slot + 1] = scale * loss
    return scale * loss


@compiled
def look(kind, base, theta, free, table, groups, centre, y, weights, gaps, slopes):  # type: ignore[no-untyped-def]
    """Write gaps (M,), log L − log L̂ of every row that weighs anything, and slopes (M, F) of log L̂ in what is free.

    `table` is (M, 3): log N, log D, log U.
    """
    grad = np.empty(theta.size)
    for i in range(y.size):
        if weights[i] == 0.0:
            continue
        loss = row(kind, base, theta, table[i, 0], table[i, 1], table[i, 2], groups[i], centre, grad)
        gaps[i] = y[i] - log(loss)
        for a in range(free.size):
            slopes[i, a] = grad[free[a]] / loss


@compiled
def huber(out, weights, delta):  # type: ignore[no-untyped-def]
    """Σ w·Huber_δ(r)."""
    total = 0.0
    for i in range(out.size):
        size = abs(out[i])
        total += weights[i] * (0.5 * size * size if size <= delta else delta * (size - 0.5 * delta))
    return total


@compiled
def _cholesky_solve(matrix, rhs, num):  # type: ignore[no-untyped-def]
    """Solve in place for a symmetric positive matrix; False where it is not positive."""
    for i in range(num):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            if i == j:
                if not total > 0.0:
                    return False
                matrix[i, i] = total**0.5
            else:
                matrix[i, j] = total / matrix[j, j]
    for i in range(num):
        for k in range(i):
            rhs[i] -= matrix[i, k] * rhs[k]
        rhs[i] /= matrix[i, i]
    for i in range(num - 1, -1, -1):
        for k in range(i + 1, num):
            rhs[i] -= matrix[k, i] * rhs[k]
        rhs[i] /= matrix[i, i]
    return True


@compiled
def _normal(gaps, slopes, weights, delta, matrix, rhs):  # type: ignore[no-untyped-def]
    """JᵀWJ (its lower triangle) and JᵀWr, W the weights that make least squares follow Huber's loss."""
    matrix[:, :] = 0.0
    rhs[:] = 0.0
    for i in range(gaps.size):
        if weights[i] == 0.0:
            continue
        gap = gaps[i]
        weight = weights[i] * (1.0 if abs(gap) <= delta else delta / abs(gap))
        for a in range(rhs.size):
            slope = weight * slopes[i, a]
            rhs[a] += slope * gap
            for b in range(a + 1):
                matrix[a, b] += slope * slopes[i, b]


@compiled
def minimise(kind, base, start, free, low, high, table, groups, centre, y, weights, delta, num_steps, tolerance):  # type: ignore[no-untyped-def]
    """Iteratively reweighted Levenberg-Marquardt from `start`; returns (theta, objective).

    `free` holds the indices that may move, inside [low, high]; every accepted step lowers Huber's objective. A row is
    looked at once for each trial: what it said of the slopes serves the next step, where the trial is accepted.
    """
    num = free.size
    theta, trial = start.copy(), start.copy()
    gaps, slopes = np.zeros(y.size), np.empty((y.size, num))
    gaps_there, slopes_there = np.zeros(y.size), np.empty((y.size, num))
    matrix, damped = np.empty((num, num)), np.empty((num, num))
    rhs, step = np.empty(num), np.empty(num)
    look(kind, base, theta, free, table, groups, centre, y, weights, gaps, slopes)
    best = huber(gaps, weights, delta)
    damping = 1e-3
    stale = 0
    for _ in range(num_steps):
        _normal(gaps, slopes, weights, delta, matrix, rhs)
        moved = False
        for _ in range(8):
            for a in range(num):
                step[a] = rhs[a]
                for b in range(a + 1):
                    damped[a, b] = matrix[a, b]
                damped[a, a] += damping * (matrix[a, a] + 1e-12 * delta) + 1e-14 * delta
            if _cholesky_solve(damped, step, num):
                for a in range(num):
                    i = free[a]
                    trial[i] = min(max(theta[i] + step[a], low[i]), high[i])
                look(kind, base, trial, free, table, groups, centre, y, weights, gaps_there, slopes_there)
                value = huber(gaps_there, weights, delta)
                if value < best:
                    moved = True
                    break
            damping *= 8.0
        if not moved:
            break
        stale = stale + 1 if best - value < tolerance * best else 0
        best = value
        theta[:] = trial
        gaps, gaps_there = gaps_there, gaps
        slopes, slopes_there = slopes_there, slopes
        damping = max(damping / 6.0, 1e-9)
        if stale >= 3:
            break
    return theta, best


@compiled
def bootstrap(kind, base, start, free, low, high, table, groups, centre, y, weights_BM, delta, num_steps, tolerance):  # type: ignore[no-untyped-def]
    """One warm-started fit a row of weights: (B, P)."""
    out = np.empty((weights_BM.shape[0], start.size))
    for b in range(weights_BM.shape[0]):
        theta, _ = minimise(
            kind, base, start, free, low, high, table, groups, centre, y, weights_BM[b], delta, num_steps, tolerance
        )
        out[b] = theta
    return out


@compiled
def _features(kind, shape, log_n, log_d, log_u, centre, loss, out):  # type: ignore[no-untyped-def]
    """Basis functions of one row at the exponents `shape`; returns (target, its weight in log L)."""
    out[:] = 0.0
    n, d = log_n - centre[0], log_d - centre[1]
    if kind == BOUNDED:
        u = min(log_u, log_d) - centre[2]
        out[0], out[1] = exp(-shape[0] * n), exp(-shape[1] * d)
        out[2] = exp(shape[2] * n - shape[3] * u)
        harm = max(loss - shape[4], 1e-3 * loss) / max(shape[5] - loss, 1e-3 * loss)
        return harm, (shape[5] - shape[4]) / (1.0 + harm) ** 2 / loss
    out[0], out[1] = 1.0, exp(-shape[0] * n)
    if kind == EFFECTIVE:
        d = _log_effective(log_d, log_u, exp(shape[2]))[0] - centre[1]
    if kind == PACED:
        d += shape[4] * n
    out[2] = exp(-shape[1] * d)
    if kind in (BROKEN, PACED):
        x = (d - shape[3]) / 0.5
        soft = x + log1p(exp(-x)) if x > 0 else log1p(exp(x))
        out[2] = exp(-shape[1] * d - (shape[2] - shape[1]) * 0.5 * soft)
    if kind in PENALISED and log_d - log_u > 1e-9:
        log_r, u = log(exp(log_d - log_u) - 1.0) - centre[3], log_u - centre[2]
        if kind == PENALTY:
            out[3] = exp(shape[2] * log_r + shape[3] * (n - u))
        else:
            out[3] = exp(shape[5] * log_r + shape[6] * n - shape[7] * u)
    return loss, 1.0 / loss


@compiled
def _nonnegative(gram, moment, allowed, out):  # type: ignore[no-untyped-def]
    """Exact non-negative least squares for K ≤ 4 coefficients: the best feasible subset of columns."""
    num = moment.size
    matrix = np.empty((num, num))
    part = np.empty(num)
    picks = np.empty(num, np.int64)
    best = 0.0
    out[:] = 0.0
    for mask in range(1, 1 << num):
        count = 0
        fits = True
        for k in range(num):
            if mask >> k & 1:
                fits = fits and allowed[k]
                picks[count] = k
                count += 1
        if not fits:
            continue
        for a in range(count):
            part[a] = moment[picks[a]]
            for b in range(a + 1):
                matrix[a, b] = gram[picks[a], picks[b]]
            matrix[a, a] *= 1.0 + 1e-10
        if not _cholesky_solve(matrix, part, count):
            continue
        gain = 0.0
        for a in range(count):
            fits = fits and part[a] > 0.0
            gain += part[a] * moment[picks[a]]
        if fits and gain > best:
            best = gain
            out[:] = 0.0
            for a in range(count):
                out[picks[a]] = part[a]


@compiled
def project(kind, shapes_GS, table, centre, y, weights, delta, allowed):  # type: ignore[no-untyped-def]
    """Variable projection: at every exponent vector of the grid, the best non-negative coefficients.

    Returns (objective (G,), coefficients (G, K)). All treatments count alike here; `minimise` tells them apart.
    """
    num_starts, num_rows = shapes_GS.shape[0], y.size
    width = 4 if kind in PENALISED else 3
    coefficients = np.zeros((num_starts, width))
    objective = np.full(num_starts, inf)
    features = np.empty((num_rows, width))
    gram = np.empty((width, width))
    moment = np.empty(width)
    gaps = np.empty(num_rows)
    scale = np.empty(num_rows)
    loss = np.exp(y)
    for g in range(num_starts):
        gram[:, :] = 0.0
        moment[:] = 0.0
        for i in range(num_rows):
            target, weight = _features(
                kind, shapes_GS[g], table[i, 0], table[i, 1], table[i, 2], centre, loss[i], features[i]
            )
            gaps[i], scale[i] = target, weight
            weight = weights[i] * weight * weight
            for a in range(width):
                moment[a] += weight * features[i, a] * target
                for b in range(a + 1):
                    gram[a, b] += weight * features[i, a] * features[i, b]
        _nonnegative(gram, moment, allowed, coefficients[g])
        for i in range(num_rows):
            fitted = 0.0
            for a in range(width):
                fitted += coefficients[g, a] * features[i, a]
            gaps[i] = (gaps[i] - fitted) * scale[i]
        objective[g] = huber(gaps, weights, delta)
    return objective, coefficients


@compiled
def predict(kind, base, thetas_BP, centre, table, groups):  # type: ignore[no-untyped-def]
    """Log loss of every row under every draw: (B, M)."""
    out = np.empty((thetas_BP.shape[0], groups.size))
    grad = np.empty(thetas_BP.shape[1])
    for b in range(thetas_BP.shape[0]):
        for i in range(groups.size):
            out[b, i] = log(
                row(kind, base, thetas_BP[b], table[i, 0], table[i, 1], table[i, 2], groups[i], centre, grad)
            )
    return out
