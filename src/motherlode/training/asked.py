"""What `evaluate` was asked for, as its parts hand it on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Asked:
    """The arguments of `evaluate` that every subject understands; see there. None: the recipe's, or a default."""

    reference: str | Path | None
    train: str | Path | None
    num_samples: int | None
    extractor: Any
    measures: tuple[str, ...] | None
    level: float | None
    seed: int
    variant: str | None
    which: str
    device: str
    stride: int | None
