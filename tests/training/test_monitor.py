from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from doubles import SHAPE, Pair, PairOptions, TinyLoader, TinyModality

from motherlode.modality import SampleSpec
from motherlode.training import guards
from motherlode.training.loop import Setting
from motherlode.training.monitor import Monitor, is_due, log_every
from motherlode.training.score import HeldoutScore, RandomConvolutions

SPEC = SampleSpec("tiny", SHAPE, 3)


def test_marks_of_a_tenth_coincide_with_every_second_of_a_twentieth() -> None:
    for total in (7, 20, 33, 1000, 1398):
        often = {step for step in range(1, total + 1) if is_due(step, total, 0.05)}
        seldom = {step for step in range(1, total + 1) if is_due(step, total, 0.1)}
        assert seldom <= often
        assert total in seldom
        assert len(often) == min(20, total)


def test_at_most_a_thousand_lines() -> None:
    assert log_every(1000) == 1
    assert log_every(1001) == 2
    assert 10**6 // log_every(10**6) == 1000


def test_what_is_not_finite_is_logged_as_null(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, 0)
    monitor.log("look", 1, {"gap": math.nan, "slope": 2.0})
    monitor.close()
    assert monitor.looks == [{"step": 1.0, "slope": 2.0}]
    assert '"gap": null' in (tmp_path / "metrics.jsonl").read_text()
    again = Monitor(tmp_path, 1)
    assert again.looks == monitor.looks
    assert Monitor(tmp_path, 0).looks == []


def test_warnings_are_given_once_whatever_their_numbers() -> None:
    warnings = guards.Warnings()
    assert warnings.new(["gap 0.51", "collapse"]) == ["gap 0.51", "collapse"]
    assert warnings.new(["gap 0.62", "saturated"]) == ["saturated"]


def test_a_disk_that_fills_is_foretold(tmp_path: Path) -> None:
    assert guards.room_warning(tmp_path, 1) == []
    assert "free some space" in guards.room_warning(tmp_path, 1 << 60)[0]


class Fixed(Pair):
    """Samples that come from a list, by variant."""

    made: dict[str, torch.Tensor]

    @property
    def variants(self) -> tuple[str, ...]:
        return tuple(self.made)

    def sample(self, num: int, *, variant: str = "", **_: object) -> torch.Tensor:  # type: ignore[override]
        return self.made[variant][:num]


def test_the_score_prefers_what_looks_like_heldout() -> None:
    loader = TinyLoader(256)
    score = HeldoutScore.where_possible(loader, TinyModality(), SPEC, seed=0, setting=Setting())  # type: ignore[arg-type]
    assert score is not None
    real = TinyModality().normalise(torch.from_numpy(loader.samples))
    family = Fixed(PairOptions(), SPEC)
    family.made = {"same": real, "flat": real * 0.1, "shifted": (real + 0.5).clamp(-1, 1)}
    found = score.best(family, 7)
    assert (found["variant"], found["step"]) == ("same", 7)
    assert found["score"] == pytest.approx(0.0, abs=1e-6)
    assert found["scores"]["heldout/flat"] > 0.1
    assert found["scores"]["heldout/shifted"] > 0.1


def test_a_variant_that_is_not_finite_scores_worst() -> None:
    score = HeldoutScore(TinyLoader(64), TinyModality(), SPEC, seed=0, setting=Setting())  # type: ignore[arg-type]
    family = Fixed(PairOptions(), SPEC)
    family.made = {"broken": torch.full((64, *SHAPE), math.nan), "grey": torch.zeros(64, *SHAPE)}
    assert score.best(family, 1)["variant"] == "grey"


def test_no_score_without_enough_samples_or_dimensions() -> None:
    few = TinyLoader(10)
    assert HeldoutScore.where_possible(None, TinyModality(), SPEC, seed=0, setting=Setting()) is None  # type: ignore[arg-type]
    assert HeldoutScore.where_possible(few, TinyModality(), SPEC, seed=0, setting=Setting()) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(2, 64), (3, 16, 16), (1, 8, 8, 8)])
def test_random_features_serve_one_to_three_dimensions(shape: tuple[int, ...]) -> None:
    network = RandomConvolutions(SampleSpec("tiny", shape))
    first, again = network(torch.ones(4, *shape)), RandomConvolutions(SampleSpec("tiny", shape))(torch.ones(4, *shape))
    assert torch.equal(first, again)
    assert first.shape == (4, 64)
    assert np.isfinite(first.numpy()).all()
