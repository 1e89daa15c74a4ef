"""Motherlode trains generative models data-first.

The public functions are the verbs of the command line. Importing this package imports neither torch nor numba (60 ms);
each verb brings what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from motherlode.version import __version__

if TYPE_CHECKING:
    from motherlode import measures as measures
    from motherlode.data.dataset import Dataset as Dataset
    from motherlode.data.prepare import prepare as prepare
    from motherlode.generation.export import export as export
    from motherlode.generation.sampling import generate as generate
    from motherlode.measures.report import Report as Report
    from motherlode.recipe import Recipe as Recipe
    from motherlode.studies.fit import fit_law as fit_law
    from motherlode.studies.law import Law as Law
    from motherlode.studies.plan import Plan as Plan
    from motherlode.studies.plan import plan as plan
    from motherlode.studies.study import Study as Study
    from motherlode.studies.study import study as study
    from motherlode.training.estimate import estimate as estimate
    from motherlode.training.evaluate import evaluate as evaluate
    from motherlode.training.run import Run as Run
    from motherlode.training.run import train as train

_HOMES = {
    "Dataset": "motherlode.data.dataset",
    "Law": "motherlode.studies.law",
    "Plan": "motherlode.studies.plan",
    "Recipe": "motherlode.recipe",
    "Report": "motherlode.measures.report",
    "Run": "motherlode.training.run",
    "Study": "motherlode.studies.study",
    "estimate": "motherlode.training.estimate",
    "evaluate": "motherlode.training.evaluate",
    "export": "motherlode.generation.export",
    "fit_law": "motherlode.studies.fit",
    "generate": "motherlode.generation.sampling",
    "measures": "motherlode.measures",
    "plan": "motherlode.studies.plan",
    "prepare": "motherlode.data.prepare",
    "study": "motherlode.studies.study",
    "train": "motherlode.training.run",
}

__all__ = [
    "Dataset",
    "Law",
    "Plan",
    "Recipe",
    "Report",
    "Run",
    "Study",
    "__version__",
    "estimate",
    "evaluate",
    "export",
    "fit_law",
    "generate",
    "measures",
    "plan",
    "prepare",
    "study",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'motherlode' has no attribute {name!r}")
    module = import_module(_HOMES[name])
    return module if name == "measures" else getattr(module, name)


def __dir__() -> list[str]:
    return __all__
