"""`lode generate`: new samples from a run, as files that say where they came from."""

from __future__ import annotations

from pathlib import Path

import typer

EXAMPLES = (
    "lode generate runs/photos --num 64",
    "lode generate runs/photos --num 1000 --label Bag --seed 7",
)


def command(
    run: Path = typer.Argument(help="A run's folder."),
    num: int = typer.Option(64, "--num", "-n", min=1, help="How many samples."),
    seed: int = typer.Option(0, min=0, help="The same seed gives the same samples, whatever --num."),
    label: list[str] = typer.Option(None, help="Ask for this label; repeat it to take several in turn."),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Folder to write.", show_default="<run>/generated/seed-<seed>"
    ),
    variant: str = typer.Option("", help="Which weights, e.g. ema or raw.", show_default="those that scored best"),
    checkpoint: str = typer.Option("best", help="Which checkpoint: best, last or step-N."),
    device: str = typer.Option("cpu", help="Where to compute: cpu, cuda, mps."),
) -> None:
    """Generate samples from a run."""
    from motherlode.cli import console
    from motherlode.cli.progress import Bar
    from motherlode.generation import sampling
    from motherlode.training.run import Run

    opened = Run.open(run)
    target = out or opened.path / "generated" / f"seed-{seed}"
    made = sampling.chunks(opened, num, seed, label or None, variant, which=checkpoint, device=device)
    written = sampling.save(made, opened, num, target, seed=seed, which=checkpoint)
    with Bar("generating", num, "samples") as bar:
        for chunk in written:
            bar.advance(len(chunk.samples))
    console.done(f"{num} samples in {target}: look at {target / sampling.GRID}")
