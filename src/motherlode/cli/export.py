"""`lode export`: a run's model as files that other programs load."""

from __future__ import annotations

from pathlib import Path

import typer

from motherlode.cli.which import CHECKPOINT, say_if_early

EXAMPLES = (
    "lode export runs/photos",
    "lode export runs/photos --format onnx --out photos-onnx",
    "lode export runs/stories --out stories-hf   (a Hugging Face folder)",
)


def command(
    run: Path = typer.Argument(help="A run's folder."),
    format: list[str] = typer.Option(  # noqa: A002
        ["safetensors"], "--format", "-f", help="safetensors or onnx; repeat it for both. Runs of texts: safetensors."
    ),
    out: Path | None = typer.Option(None, "--out", "-o", help="Folder to write.", show_default="<run>/export"),
    variant: str = typer.Option("", help="Which weights, e.g. ema or raw.", show_default="those that scored best"),
    checkpoint: str = CHECKPOINT,
) -> None:
    """Export a run's model, with a card that says what it is."""
    from motherlode.cli import console
    from motherlode.generation.export import export
    from motherlode.training.run import Run

    opened = Run.open(run)
    say_if_early(opened, checkpoint)
    folder = export(opened, out, formats=format, variant=variant, which=checkpoint)
    for path in sorted(folder.iterdir()):
        console.facts([(path.name, console.size(path.stat().st_size))])
    console.done(f"exported to {folder}: start with {folder / 'README.md'}")
