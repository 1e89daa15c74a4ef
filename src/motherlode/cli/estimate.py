"""`lode estimate`: what a recipe would cost, from a few timed steps."""

from __future__ import annotations

from pathlib import Path

import typer

EXAMPLES = (
    "lode estimate photos.yaml",
    "lode estimate photos.yaml --set train.batch=64 --set price.hour=2.5",
)


def command(
    recipe: Path = typer.Argument(help="A recipe (`lode init` writes one)."),
    changes: list[str] | None = typer.Option(None, "--set", help="Change a key: train.batch=64. Repeatable."),
    save: Path | None = typer.Option(None, "--save", help="Also write the estimate as JSON."),
) -> None:
    """Say what training a recipe would take: time, memory, operations, price."""
    from motherlode.cli import console
    from motherlode.recipe import Recipe
    from motherlode.storage import write_json
    from motherlode.training.estimate import estimate

    loaded = Recipe.load(recipe, changes or ())
    with console.working("timing a few steps"):
        found = estimate(loaded)
    console.facts(found.rows(), title=f"Training {loaded.name} on this machine")
    if save is not None:
        write_json(save, found.as_dict())
        console.done(f"written to {save}")
