"""The Inception Score's closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from motherlode.errors import MeasureError
from motherlode.measures.inception import inception_score
from motherlode.randomness import numpy_generator


def test_an_undecided_classifier_scores_one() -> None:
    assert inception_score(np.zeros((50, 7))) == pytest.approx(1)


def test_a_sure_classifier_of_even_classes_scores_their_number() -> None:
    logits = 1e4 * np.eye(10)[np.arange(500) % 10]
    assert inception_score(logits) == pytest.approx(10)


def test_one_class_scores_one() -> None:
    assert inception_score(1e4 * np.eye(10)[np.zeros(40, int)]) == pytest.approx(1)


def test_mixed_classes_have_their_closed_form() -> None:
    """Half the samples undecided between two classes, half sure of a third: log IS = H(p(y)) − mean H(p(y|x))."""
    logits = np.full((100, 3), -1e4)
    logits[:50, :2], logits[50:, 2] = 0, 0
    marginal = np.array([0.25, 0.25, 0.5])
    expected = np.exp(-(marginal * np.log(marginal)).sum() - 0.5 * np.log(2))
    assert inception_score(logits) == pytest.approx(expected)


def test_splits_are_the_published_form_and_lower() -> None:
    logits = 3 * numpy_generator(0, "test logits").standard_normal((1000, 10))
    whole, split = inception_score(logits), inception_score(logits, splits=10)
    assert 1 < split < whole
    assert split.low < split < split.high
    assert "10 splits" in split.method


def test_intervals_cover() -> None:
    rng = numpy_generator(1, "test logits")
    truth = inception_score(2 * rng.standard_normal((200_000, 5))).value
    spans = [inception_score(2 * rng.standard_normal((300, 5)), level=0.9) for _ in range(120)]
    assert 0.8 <= np.mean([span.low <= truth <= span.high for span in spans]) <= 0.99


def test_bad_input_is_refused() -> None:
    with pytest.raises(MeasureError, match="at least 2 samples"):
        inception_score(np.zeros((10, 3)), splits=6)
    with pytest.raises(MeasureError, match="finite"):
        inception_score(np.full((10, 3), np.inf))
