"""Studies from end to end: cells, caches, stops, failures, the law and its page."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from motherlode import storage
from motherlode.errors import LockedError, RecipeError
from motherlode.studies import judge
from motherlode.studies.options import StudyError
from motherlode.studies.plan import PlanError, plan
from motherlode.studies.study import Study, study

from .cells import tiny_study

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
NO_TIMES = ("seconds", "paid_seconds")


class Heard:
    """A follower that counts, and may stop the study."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.cells: list[str] = []
        self.stop_after = stop_after
        self.cached = -1

    def begin(self, outlook: Any) -> None:
        self.cached = outlook.cached

    def cell(self, record: Mapping[str, Any], done: int, total: int) -> None:
        self.cells.append(record["status"])
        if self.stop_after is not None and len(self.cells) == self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def finished(fashion: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of twelve cells; tests must not write to it."""
    return study(tiny_study(fashion, tmp_path_factory.mktemp("studies")), workers=1)


def losses(found: Study) -> dict[str, float]:
    return {record["key"]: record["loss"] for record in found.records}


def test_a_study_is_a_folder(finished: Study) -> None:
    assert finished.complete
    assert finished.counts() == {"finished": 12, "diverged": 0, "failed": 0}
    assert finished.law is not None
    assert len(finished.runs) == 12
    for name in ("study.yaml", "study.json", "cells.jsonl", "law.json", "report.html"):
        assert (finished.folder / name).is_file()
    again = Study.open(finished.folder)
    assert again.records == finished.records
    assert again.law is not None
    assert again.law.to_json() == finished.law.to_json()
    page = (finished.folder / "report.html").read_text()
    assert "12 of 12 cells finished" in page
    assert page.count("<svg") >= 3
    assert "<script" not in page
    assert "https://" not in page


def test_branches_cost_less_than_they_would_from_scratch(finished: Study) -> None:
    paid = sum(record["paid_flops"] for record in finished.records)
    assert paid == pytest.approx(finished.facts["flops"], rel=0.02)
    assert paid < 0.8 * sum(record["compute"] for record in finished.records)


def test_a_branch_reaches_what_the_whole_run_reaches(finished: Study, fashion: Path, tmp_path: Path) -> None:
    """The same cells from scratch, under the same schedule, have the same loss to the bit."""
    options = tiny_study(fashion, tmp_path, trunks=None, sizes={"large": {"model.width": 16}}, unique=[256])
    recipe = {**options.base(), "train": {**options.base()["train"], "schedule": {"name": "wsd", "decay": 0.2}}}
    whole = study(options.model_copy(update={"recipe": recipe}), workers=1)
    found = losses(finished)
    assert len(whole.records) == 3
    for key, loss in losses(whole).items():
        assert found[key] == loss


def test_a_second_call_trains_nothing_and_writes_the_same_law(finished: Study, fashion: Path, tmp_path: Path) -> None:
    shutil.copytree(finished.folder, tmp_path / "tiny")
    shutil.rmtree(tmp_path / "tiny" / "runs")
    before = (tmp_path / "tiny" / "law.json").read_bytes()
    heard = Heard()
    found = study(tiny_study(fashion, tmp_path), workers=1, follower=heard)
    assert heard.cached == 12
    assert losses(found) == losses(finished)
    assert (tmp_path / "tiny" / "law.json").read_bytes() == before
    assert not (tmp_path / "tiny" / "runs").exists()


def test_it_stops_at_will_and_goes_on(finished: Study, fashion: Path, tmp_path: Path) -> None:
    options = tiny_study(fashion, tmp_path, sizes={"small": {"model.width": 4}})
    with pytest.raises(KeyboardInterrupt):
        study(options, workers=1, follower=Heard(stop_after=2))
    assert len(storage.read_lines(options.folder / "cells.jsonl")) == 2
    heard = Heard()
    found = study(options, workers=1, follower=heard)
    assert heard.cached == 2
    assert losses(found).items() <= losses(finished).items()


def test_processes_of_their_own_find_the_same(finished: Study, fashion: Path, tmp_path: Path) -> None:
    found = study(tiny_study(fashion, tmp_path, sizes={"small": {"model.width": 4}}), workers=2)
    assert found.complete
    assert losses(found).items() <= losses(finished).items()


def test_a_cell_that_fails_is_told_and_not_fatal(
    fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    treatments = {"raw": {}, "wild": {"changes": {"train.optimizer.lr": 1e30}}}
    options = tiny_study(fashion, tmp_path, treatments=treatments, unique=[64], passes=[2, 4], seeds=[0])
    real = judge.judge

    def broken(run: Any, *rest: Any) -> float:
        if "small" in run.path.name:
            raise StudyError("a planted fault", run.path.name)
        return real(run, *rest)

    monkeypatch.setattr(judge, "judge", broken)
    found = study(options, workers=1)
    assert found.counts() == {"finished": 2, "diverged": 4, "failed": 2}
    assert found.law is None
    assert "at least 8 cells" in found.why_no_law
    page = (found.folder / "report.html").read_text()
    assert "a planted fault" in page
    assert "Why there is no law" in page
    with pytest.raises(PlanError, match="with a law"):
        plan(found, 10.0, 2.5, 1.0)
    monkeypatch.setattr(judge, "judge", real)
    heard = Heard()
    mended = study(options, workers=1, follower=heard)
    assert heard.cached == 6  # what diverged would diverge again; what failed is tried again
    assert mended.counts() == {"finished": 4, "diverged": 4, "failed": 0}


def test_a_size_at_which_nothing_can_be_timed_is_a_cell_that_diverges(fashion: Path, tmp_path: Path) -> None:
    """Precision is decided on the last size; were that fatal, one wild rate would end the study before it began."""
    options = tiny_study(fashion, tmp_path, unique=[64], passes=[2])
    options.recipe["train"].update(precision="auto", layout="auto")  # type: ignore[union-attr,index]
    options.sizes["wild"] = {"train.optimizer.lr": 1e30}
    assert study(options, workers=1).counts() == {"finished": 2, "diverged": 1, "failed": 0}


def test_a_measure_of_evaluate_serves_as_loss(fashion: Path, tmp_path: Path) -> None:
    found = study(
        tiny_study(fashion, tmp_path, measure="auto", sizes={"small": {}}, unique=[64], passes=[1, 2]), workers=1
    )
    assert found.measure == "frechet"
    report = json.loads((found.folder / "runs" / found.records[0]["run"] / "report.json").read_text())
    assert found.records[0]["loss"] == report["measures"]["frechet"]["value"]


def test_a_plan_takes_the_prices_of_the_study(finished: Study) -> None:
    from dataclasses import replace

    options = finished.options.model_copy(
        update={
            "prices": finished.options.prices.model_copy(update={"gpu_hour": 2.5, "data": "3/M", "currency": "CHF"})
        }
    )
    priced = replace(finished, options=options)
    found = plan(priced, 10.0)
    assert found.question.currency == "CHF"
    assert found.question.data.unit == pytest.approx(3e-6)
    assert plan(priced, 10.0, data_price="4/M").question.data.unit == pytest.approx(4e-6)
    assert plan(finished.folder, 10.0, 2.5, 1.0).question.currency == "USD"


def test_a_folder_without_a_study(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"study\.yaml"):
        Study.open(tmp_path)
    with pytest.raises(RecipeError, match="must exist"):
        study(tmp_path / "nothing.yaml")


def test_one_process_at_a_time(fashion: Path, tmp_path: Path) -> None:
    options = tiny_study(fashion, tmp_path)
    with storage.lock(options.folder), pytest.raises(LockedError):
        study(options)


def test_planning_needs_no_torch() -> None:
    code = "import sys, motherlode.studies.plan; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
