"""Which panel measures samples of a modality: that of `measures.<modality>_panel` where there is one, or pictures'."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from motherlode.measures.features import Extractor, find_extractor
from motherlode.measures.panel import Panel
from motherlode.modality import SampleSpec


def panel_of(modality: str) -> type[Panel]:
    """The panel that measures samples of a modality."""
    home = _home(modality)
    panel: type[Panel] = Panel if home is None else home.PANEL
    return panel


def extractor_of(source: Any, spec: SampleSpec) -> Extractor:
    """The extractor that `source` means for samples of this spec.

    Raises:
        MeasureError: unknown name or option.
        MissingExtraError: its package is not installed.
    """
    home = _home(spec.modality)
    found: Extractor = find_extractor(source) if home is None else home.find_extractor(source, spec)
    return found


def _home(modality: str) -> Any:
    name = f"motherlode.measures.{modality}_panel"
    return import_module(name) if find_spec(name) is not None else None
