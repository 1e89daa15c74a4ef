"""Compiled inference of py3langid's model: walk its automaton over bytes, add up the weights of what it found.

Eight samples are walked at once, so that eight cache misses overlap: 70 ns a byte became 32, and 14 once the tables lay
on huge pages.

Shape legend: N samples (offsets have N + 1), S states, F features, L languages, H hits of a sample.
"""

# In compiled code NumPy's scalars and Python's numbers are one thing; mypy tells them apart.
# mypy: disable-error-code="assignment, arg-type, call-overload, no-any-return, operator, return-value"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motherlode.modality._bits import half_as_float
from motherlode.modality._compiled import compiled, fast

NUM_ABREAST = 8


@compiled
def take_samples(
    buffer: NDArray[np.uint8],
    offsets_N: NDArray[np.int64],
    num_windows: int,
    window_bytes: int,
    samples: NDArray[np.uint8],
    sample_offsets_N: NDArray[np.int64],
    is_loud_N: NDArray[np.bool_],
) -> None:
    """Windows spread evenly over each document, cut between characters; short documents are taken whole.

    Args:
        buffer: uint8, valid UTF-8.
        samples: room for N * num_windows * window_bytes.
        sample_offsets_N: filled.
        is_loud_N: filled: samples with ASCII capitals and no ASCII small letters.
    """
    write = 0
    for i in range(offsets_N.shape[0] - 1):
        first, end = offsets_N[i], offsets_N[i + 1]
        sample_offsets_N[i] = write
        is_whole = end - first <= num_windows * window_bytes
        for k in range(1 if is_whole else num_windows):
            start, stop = first, end
            if not is_whole:
                start += (end - first - window_bytes) * k // (num_windows - 1)
                stop = start + window_bytes
            while start < stop and buffer[start] & 0xC0 == 0x80:
                start += 1
            while start < stop < end and buffer[stop] & 0xC0 == 0x80:
                stop -= 1
            samples[write : write + stop - start] = buffer[start:stop]
            write += stop - start
        num_small = num_capitals = 0
        for byte in samples[sample_offsets_N[i] : write]:
            num_small += 97 <= byte <= 122
            num_capitals += 65 <= byte <= 90
        is_loud_N[i] = num_small == 0 and num_capitals > 0
    sample_offsets_N[offsets_N.shape[0] - 1] = write


@compiled
def walk(
    samples: NDArray[np.uint8],
    offsets_N: NDArray[np.int64],
    moves: NDArray[np.uint32],
    rows_S: NDArray[np.uint16],
    features_S: NDArray[np.int32],
    hits_NH: NDArray[np.int32],
    num_hits_N: NDArray[np.int64],
) -> None:
    """The features that the automaton meets, in order.

    Args:
        moves: uint32, 256 next states a row.
        rows_S: the row of each state.
        features_S: the feature of each state, or -1.
        hits_NH: room for one hit a byte and one more; filled.
        num_hits_N: filled.
    """
    state, place = np.zeros(NUM_ABREAST, np.int64), np.zeros(NUM_ABREAST, np.int64)
    num = np.zeros(NUM_ABREAST, np.int64)
    for group in range(0, num_hits_N.shape[0], NUM_ABREAST):
        members = min(NUM_ABREAST, num_hits_N.shape[0] - group)
        shortest = offsets_N[group + 1] - offsets_N[group]
        for k in range(members):
            state[k], num[k], place[k] = 0, 0, offsets_N[group + k]
            shortest = min(shortest, offsets_N[group + k + 1] - offsets_N[group + k])
        shortest = shortest if members == NUM_ABREAST else 0
        for j in range(shortest):
            for k in range(NUM_ABREAST):
                to = np.int64(moves[(np.int64(rows_S[state[k]]) << 8) | samples[place[k] + j]])
                state[k] = to
                hits_NH[group + k, num[k]] = features_S[to]
                num[k] += features_S[to] >= 0
        for k in range(members):
            to = state[k]
            for j in range(place[k] + shortest, offsets_N[group + k + 1]):
                to = np.int64(moves[(np.int64(rows_S[to]) << 8) | samples[j]])
                hits_NH[group + k, num[k]] = features_S[to]
                num[k] += features_S[to] >= 0
            num_hits_N[group + k] = num[k]


@fast
def score(
    hits_NH: NDArray[np.int32],
    num_hits_N: NDArray[np.int64],
    weights_FL: NDArray[np.uint16],
    prior_L: NDArray[np.float32],
    scores_NL: NDArray[np.float32],
) -> None:
    """Log-scores of the languages: the sum of log(1 + count) times the weights of each feature, plus the prior.

    Samples without a feature score 0 everywhere. Weights are the bits of float16, all finite: half the memory to read,
    which is what takes the time.
    """
    counts_F = np.zeros(weights_FL.shape[0], np.int32)
    seen = np.empty(hits_NH.shape[1], np.int32)
    logs = np.log1p(np.arange(hits_NH.shape[1] + 1).astype(np.float32))
    for i in range(num_hits_N.shape[0]):
        num = 0
        for k in range(num_hits_N[i]):
            feature = hits_NH[i, k]
            seen[num] = feature
            num += counts_F[feature] == 0
            counts_F[feature] += 1
        scores_L = scores_NL[i]
        scores_L[:] = prior_L if num else np.zeros_like(prior_L)
        for k in range(num):
            weight, row_L = logs[counts_F[seen[k]]], weights_FL[seen[k]]
            counts_F[seen[k]] = 0
            for language in range(row_L.shape[0]):
                scores_L[language] += weight * half_as_float(row_L[language])
