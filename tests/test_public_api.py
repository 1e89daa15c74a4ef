"""The public API, written down: a name that vanishes or appears here is a decision, not an accident."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import motherlode as ml

NAMES = {
    "Dataset", "Law", "Plan", "Recipe", "Report", "Run", "Study", "__version__", "estimate", "evaluate", "export",
    "fit_law", "generate", "measures", "plan", "prepare", "study", "train",
}  # fmt: skip
FIRST_PARAMETERS = {
    "estimate": ["recipe"],
    "evaluate": ["run"],
    "export": ["run", "out"],
    "fit_law": ["runs", "form", "bootstrap", "seed"],
    "generate": ["run", "num", "seed", "condition"],
    "plan": ["law_or_study", "budget", "gpu_hour", "data_price"],
    "prepare": ["source"],
    "study": ["source"],
    "train": ["recipe"],
}
MEASURES = [
    "FidInception",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "precision_recall_density_coverage",
]


def test_every_public_name_is_there_and_no_other() -> None:
    assert set(ml.__all__) == NAMES
    assert set(dir(ml)) == NAMES
    for name in NAMES:
        assert getattr(ml, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'forge'"):
        _ = ml.forge


@pytest.mark.parametrize("verb", FIRST_PARAMETERS)
def test_verbs_take_what_they_took(verb: str) -> None:
    names = list(inspect.signature(getattr(ml, verb)).parameters)
    assert names[: len(FIRST_PARAMETERS[verb])] == FIRST_PARAMETERS[verb]
    assert inspect.getdoc(getattr(ml, verb))


@pytest.mark.parametrize(
    ("kind", "method"), [("Dataset", "open"), ("Run", "open"), ("Report", "open"), ("Recipe", "load"), ("Law", "open")]
)
def test_what_lies_on_disk_can_be_opened(kind: str, method: str) -> None:
    assert callable(getattr(getattr(ml, kind), method))


@pytest.mark.parametrize("name", MEASURES)
def test_measures_can_be_called_by_name(name: str) -> None:
    assert callable(getattr(ml.measures, name))


def test_importing_motherlode_is_light() -> None:
    code = (
        "import sys, motherlode\n"
        "heavy = {'torch', 'numba', 'pyarrow', 'scipy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
