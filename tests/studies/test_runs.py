"""Tables of runs: every kind of source, and every kind of mistake in one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motherlode.studies.laws import Floats
from motherlode.studies.runs import RunsError, read_runs


def test_all_sources_give_the_same_runs(one_pass: dict[str, Floats], tmp_path: Path) -> None:
    import pandas as pd
    import pyarrow as pa

    frame = pd.DataFrame(one_pass)
    comma = tmp_path / "runs.csv"
    comma.write_text("# source: somewhere; licence: free\n" + frame.to_csv(index=False))
    lines = tmp_path / "cells.jsonl"
    lines.write_text("".join(json.dumps(dict(zip(one_pass, row))) + "\n" for row in zip(*one_pass.values())))
    digests = {read_runs(s).digest() for s in (one_pass, frame, pa.table(one_pass), comma, str(comma), lines)}
    assert len(digests) == 1


def test_a_spreadsheet_with_decimal_commas_is_read(one_pass: dict[str, Floats], tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame(one_pass)
    for name, text in {
        "semicolons.csv": frame.to_csv(index=False, sep=";", decimal=","),
        "tabs.tsv": frame.to_csv(index=False, sep="\t"),
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert read_runs(tmp_path / name).digest() == read_runs(one_pass).digest()


def test_customary_names_are_understood(one_pass: dict[str, Floats]) -> None:
    renamed = {"params": one_pass["N"], "tokens": one_pass["D"], "val_loss": one_pass["loss"], "note": ["x"] * 12}
    assert read_runs(renamed).digest() == read_runs(one_pass).digest()


def test_unique_data_beyond_those_seen_count_as_seen_once(one_pass: dict[str, Floats]) -> None:
    runs = read_runs({**one_pass, "U": 10 * one_pass["D"]})
    assert (runs.epochs == 1).all()
    np.testing.assert_array_equal(runs.table[:, 2], runs.table[:, 1])


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("D", lambda x: x / 1e9, "plain count"),
        ("N", lambda x: x / 1e9, "plain count"),
        ("loss", lambda x: -x, "positive"),
        ("N", lambda x: 0 * x, "positive"),
        ("loss", lambda x: np.full_like(x, np.nan), "finite"),
        ("loss", lambda x: ["high"] * x.size, "numbers"),
        ("loss", lambda x: x[:-1], "rows"),
    ],
)
def test_bad_columns_are_refused(one_pass: dict[str, Floats], column: str, change: Any, message: str) -> None:
    with pytest.raises(RunsError, match=message) as caught:
        read_runs({**one_pass, column: change(one_pass[column])})
    assert caught.value.fix or caught.value.received


@pytest.mark.parametrize(("extra", "scale"), [("U", 1e-9), ("U", 1e9), ("compute", 6e-15), ("compute", 6e9)])
def test_columns_in_different_units_are_refused(one_pass: dict[str, Floats], extra: str, scale: float) -> None:
    values = one_pass["D"] * scale * (one_pass["N"] if extra == "compute" else 1.0)
    with pytest.raises(RunsError, match=r"unit|plain count|FLOPs"):
        read_runs({**one_pass, extra: values})


def test_a_missing_column_is_named(one_pass: dict[str, Floats]) -> None:
    with pytest.raises(RunsError, match="'D'"):
        read_runs({"N": one_pass["N"], "loss": one_pass["loss"]})
    with pytest.raises(RunsError, match="val_lss"):
        read_runs({"N": one_pass["N"], "D": one_pass["D"], "val_lss": one_pass["loss"]})
    with pytest.raises(RunsError, match="DataFrame"):
        read_runs(7)
    with pytest.raises(RunsError, match="exist"):
        read_runs("nowhere.csv")


def test_failed_and_copied_cells_are_counted_not_hidden(one_pass: dict[str, Floats]) -> None:
    torn = {name: np.concatenate([values, values[:2]]) for name, values in one_pass.items()}
    torn["loss"][3] = np.nan
    runs = read_runs(torn)
    assert len(runs) == 11
    assert any("1 of 14" in w for w in runs.warnings)
    assert any("2 duplicated" in w for w in runs.warnings)


def test_another_seed_is_not_a_copy(one_pass: dict[str, Floats]) -> None:
    twice = {name: np.tile(values, 2) for name, values in one_pass.items()}
    assert len(read_runs({**twice, "seed": [0] * 12 + [1] * 12})) == 24
    assert len(read_runs(twice)) == 12


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_bytes(bytes(range(255)))
    with pytest.raises(RunsError, match=r"must be text(.|\n)*UTF-8"):
        read_runs(tmp_path / "runs.csv")


def test_a_ragged_csv_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("N,D,loss\n1000000,1e8,3.0\n1000000,1e8\n")
    with pytest.raises(RunsError, match="fields"):
        read_runs(path)


def test_raw_is_the_baseline_whatever_is_more_numerous(two_treatments: dict[str, Any]) -> None:
    assert read_runs(two_treatments).treatments == ("raw", "cleaned")
    renamed = {**two_treatments, "treatment": ["kept" if t == "raw" else t for t in two_treatments["treatment"]]}
    assert read_runs(renamed).treatments == ("kept", "cleaned")
