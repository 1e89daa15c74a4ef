"""What a study is judged on must not be trained on."""

from __future__ import annotations

from pathlib import Path

import pytest

from motherlode.data.prepare import prepare
from motherlode.studies.grid import lay_out
from motherlode.studies.options import StudyError, StudyOptions

from .cells import tiny_study

SAMPLE = Path(__file__).parents[1] / "fixtures" / "fashion-500.parquet"


def test_a_treatment_that_holds_what_is_measured_on_is_refused(fashion: Path, tmp_path: Path) -> None:
    other = prepare(
        SAMPLE, out=tmp_path / "other", heldout=0.2, seed=5, outliers="off", near_duplicates="off", workers=1
    )
    treatments = {"raw": {}, "other": {"data": str(other.path)}}
    with pytest.raises(StudyError, match="must not be trained on"):
        lay_out(tiny_study(fashion, tmp_path, treatments=treatments))
    # Judged on the other's own held-out rows, the raw data leak instead.
    with pytest.raises(StudyError, match="must not be trained on"):
        lay_out(tiny_study(fashion, tmp_path, treatments=treatments, heldout=str(other.path)))


def test_rows_dropped_are_paid_for(fashion: Path, tmp_path: Path) -> None:
    """The same source and seed split nearly alike; the cleaner dataset trains on fewer rows of as many owned."""
    clean = prepare(SAMPLE, out=tmp_path / "clean", heldout=0.2, near_duplicates="drop", outliers="off", workers=1)
    treatments = {"raw": {}, "clean": {"data": str(clean.path)}}
    grid = lay_out(tiny_study(fashion, tmp_path, treatments=treatments, sizes={"one": {}}))
    assert ["training rows of the treatment clean" in warning for warning in grid.warnings] == [True]
    used = {(cell.treatment, cell.unique): cell.recipe.data.num_samples or 0 for cell in grid.cells}
    owned = {(cell.treatment, cell.unique): cell.samples_owned for cell in grid.cells}
    assert owned["clean", 256] == owned["raw", 256] == 256
    assert used["clean", 256] < used["raw", 256] == 256


def test_mixed_in_rows_are_no_rows_owned_and_must_not_be_measured_on(fashion: Path, tmp_path: Path) -> None:
    """What was made from so many rows is named by them, and looked through for held-out rows."""
    other = prepare(
        SAMPLE, out=tmp_path / "made-256", heldout=0.2, seed=5, outliers="off", near_duplicates="off", workers=1
    )
    clean = prepare(SAMPLE, out=tmp_path / "clean-256", heldout=0.2, outliers="off", near_duplicates="off", workers=1)
    assert other.path.name == "made-256"

    def study(name: str) -> StudyOptions:
        half = {"changes": {"data.mix": {str(tmp_path / name): 0.5}}, "unique": [256]}
        return tiny_study(fashion, tmp_path, treatments={"raw": {}, "half": half}, sizes={"one": {}})

    with pytest.raises(StudyError, match="must not be trained on"):
        lay_out(study("made-{unique}"))
    cells = [cell for cell in lay_out(study("clean-{unique}")).cells if cell.treatment == "half"]
    assert {cell.unique for cell in cells} == {256}
    assert {cell.samples_owned for cell in cells} == {256}
    assert [cell.recipe.data.mix for cell in cells] == [{str(clean.path): 0.5}] * len(cells)
