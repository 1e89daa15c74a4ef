"""Longest matches agree with a search of every place, through pieces and documents, and copies are found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motherlode.errors import MeasureError
from motherlode.measures.language_verbatim import (
    Match,
    longest_matches,
    mean_longest,
    memory_bytes,
    verbatim_share,
)
from motherlode.randomness import numpy_generator

BOS = 0


def brute(sample: list[int], train: list[int], least: int) -> tuple[int, int]:
    """Longest match and copied tokens, by trying every pair of places."""
    longest, copied = 0, np.zeros(len(sample), bool)
    for start in range(len(sample)):
        for place in range(len(train)):
            size = 0
            while (
                start + size < len(sample)
                and place + size < len(train)
                and sample[start + size] == train[place + size] != BOS
            ):
                size += 1
            longest = max(longest, size)
            if size >= least:
                copied[start : start + size] = True
    return longest, int(copied.sum())


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 3), max_size=18), max_size=4),
    st.lists(st.integers(0, 3), max_size=40),
    st.integers(1, 6),
    st.integers(1, 40),
)
def test_matches_agree_with_a_search_of_every_place(
    samples: list[list[int]], train: list[int], least: int, piece: int
) -> None:
    stream = np.array(train, np.uint16)
    pieces = [stream[start : start + piece] for start in range(0, len(stream), piece)]
    given_samples = [np.array(sample, np.int64) for sample in samples]
    found = longest_matches(given_samples, pieces, boundary=BOS, least=least)
    assert found == longest_matches(given_samples, stream, boundary=BOS, least=least)
    for sample, match in zip(samples, found, strict=True):
        assert (match.length, match.copied) == brute(sample, train, least)
        assert match.tokens == len(sample)
        here = sample[match.start : match.start + match.length]
        if match.length:
            assert train[match.origin : match.origin + match.length] == here


def test_planted_copies_are_found_where_they_lie() -> None:
    rng = numpy_generator(0, "test train")
    train = rng.integers(1, 500, 50_000).astype(np.uint16)
    samples = [rng.integers(1, 500, 200) for _ in range(20)]
    for number in range(5):
        samples[number][30:90] = train[1000 * number : 1000 * number + 60]
    shares = longest_matches(samples, train)
    for number, match in enumerate(shares[:5]):
        assert (match.length >= 60, match.copied >= 60) == (True, True)
        assert abs(match.origin - 1000 * number) <= 5
    assert all(match.copied == 0 for match in shares[5:])
    assert verbatim_share(shares) == pytest.approx(5 * 60 / (20 * 200), rel=0.02)
    assert verbatim_share(shares).low > 0
    assert mean_longest(shares[:5]) >= 60


def test_a_document_ends_a_match() -> None:
    train = np.array([BOS, 1, 2, 3, BOS, 4, 5, 6], np.int32)
    assert longest_matches([np.array([1, 2, 3, 4, 5, 6])], train, boundary=BOS)[0].length == 3
    assert longest_matches([np.array([1, 2, 3, BOS, 4])], train)[0].length == 5


def test_no_copies_at_all_is_a_share_with_room_for_doubt() -> None:
    matches = [Match(3, 0, 0, 0, 100)] * 40
    share = verbatim_share(matches)
    assert (share.value, share.low) == (0, 0)
    # Forty samples without a copy do not exclude one in fifty.
    assert 0.02 < share.high < 0.2


def test_the_train_text_takes_no_memory() -> None:
    assert memory_bytes(100_000) < 35e6
    assert memory_bytes(10) < 10_000


def test_bad_input_is_refused() -> None:
    with pytest.raises(MeasureError, match="from 0 on"):
        longest_matches([np.array([-1])], np.arange(3))
    with pytest.raises(MeasureError, match="least length"):
        longest_matches([np.array([1])], np.arange(3), least=0)
    with pytest.raises(MeasureError, match="hold text"):
        verbatim_share([Match(0, 0, -1, 0, 0)])
