"""`lode prepare`: raw files to a cleaned, deduplicated, split and carded dataset."""

from __future__ import annotations

from pathlib import Path

import typer

EXAMPLES = (
    "Examples:  lode prepare photos/ --out datasets/photos  ·  lode prepare a.parquet b/ --out datasets/both --dry-run  ·  "
    "lode prepare photos/ --out datasets/photos --options prepare.yaml"
)


def command(
    source: list[str] = typer.Argument(help="Folders, Parquet, csv, jsonl, tar, idx files, globs or URLs."),
    out: Path | None = typer.Option(None, "--out", "-o", help="Folder of the dataset.", show_default="datasets/<source>"),
    modality: str = typer.Option("image", help="What a sample is."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Look at a sample of the source, show the yield, write nothing."
    ),
    options: Path | None = typer.Option(None, "--options", help="A YAML file with any option of docs/data.md."),
    heldout: float | None = typer.Option(None, help="Share of samples held out for measuring."),
    augment: str | None = typer.Option(None, help="Materialise augmented copies, e.g. 3x."),
    workers: int | None = typer.Option(None, help="Processes.", show_default="all cores"),
    seed: int | None = typer.Option(None, help="Decides the split and the augmentations."),
) -> None:
    """Turn raw files into a dataset."""
