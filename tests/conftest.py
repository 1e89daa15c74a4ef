"""Shapes and types are executable in tests: jaxtyping annotations are checked by beartype here and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook(["motherlode.networks", "motherlode.families", "motherlode.measures"], "beartype.beartype")

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference" / "scaling"


@pytest.fixture
def reference_tables() -> Path:
    """Folder of published scaling tables; tests that need it skip where it is absent."""
    if not REFERENCE.is_dir():
        pytest.skip(f"the published tables are not at {REFERENCE}")
    return REFERENCE
