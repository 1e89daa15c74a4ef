"""Studies of a few tiny GANs on real pictures: a cell takes a fraction of a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from motherlode.recipe import parse
from motherlode.studies.options import StudyOptions


def tiny_study(dataset: Path, out: Path, **changes: Any) -> StudyOptions:
    """Twelve cells: two sizes, two amounts of data, three lengths."""
    content: dict[str, Any] = {
        "name": "tiny",
        "out": str(out),
        "recipe": {
            "name": "base",
            "data": {"path": str(dataset), "resolution": 8, "channels": 1},
            "model": {"family": "gan", "network": "mlp", "width": 8, "noise": 4},
            "train": {
                "batch": 16,
                "optimizer": {"lr": 1e-3},
                "precision": "fp32",
                "layout": "contiguous",
                "sample_every": 1.0,
            },
            "evaluate": {"num_samples": 64, "extractor": "raw-pixels"},
        },
        "measure": "score",
        "unique": [64, 256],
        "sizes": {"small": {"model.width": 4}, "large": {"model.width": 16}},
        "passes": [1, 2, 4],
        "bootstrap": 20,
        **changes,
    }
    return parse(StudyOptions, content)
