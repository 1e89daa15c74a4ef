"""`lode train`: a recipe to a run. Stops and goes on at any instant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from motherlode.cli.which import say_if_early

if TYPE_CHECKING:
    from motherlode.recipe import Recipe
    from motherlode.training.run import Run

EXAMPLES = (
    "lode train photos.yaml",
    "lode train photos.yaml --set train.budget.minutes=30 --set name=longer",
    "lode train photos.yaml --seeds 3   (three runs, evaluated, and the spread between them)",
)


def command(
    recipe: Path = typer.Argument(help="A recipe (`lode init` writes one)."),
    changes: list[str] | None = typer.Option(
        None, "--set", help="Change a key for this run: train.batch=64. Repeatable."
    ),
    seeds: int = typer.Option(
        1, "--seeds", min=1, max=100, help="Train this often, with seeds that follow; show the spread."
    ),
) -> None:
    """Train a recipe; run it again to resume."""
    from motherlode.cli import console
    from motherlode.recipe import Recipe

    loaded = Recipe.load(recipe, changes or ())
    if seeds > 1:
        _spread(loaded, seeds)
        return
    from motherlode.training import distributed  # it loads torch: not before the recipe is known to be good

    run = followed(loaded)
    leads = distributed.start().leads
    distributed.stop()
    if run.facts["status"] == "stopped":
        raise typer.Exit(130)
    if not leads:  # one of several processes has the last word
        return
    say_if_early(run)
    console.done(f"run in {run.path}: next  {console.command('lode', 'evaluate', run.path)}")


def followed(recipe: Recipe) -> Run:
    """Train one recipe under a display."""
    from motherlode.cli.follow import Follower
    from motherlode.training.run import train

    with Follower() as follower:
        return train(recipe, progress=follower)


def _spread(recipe: Recipe, num_seeds: int) -> None:
    from motherlode.cli import console
    from motherlode.cli.follow import Follower
    from motherlode.training.run import train_seeds

    seeds = range(recipe.seed, recipe.seed + num_seeds)
    with Follower() as follower:
        spread = train_seeds(recipe, seeds, progress=follower)
    header, *rows = spread.rows()
    console.table(header, rows, title=f"{len(spread.runs)} runs that differ in their seed alone")
    if len(spread.runs) < num_seeds:
        raise typer.Exit(130)
    console.done(f"runs in {recipe.folder}-seed-*: values in {recipe.folder}-seeds.json")
