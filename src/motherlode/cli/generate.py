"""`lode generate`: new samples from a run, as files that say where they came from."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from motherlode.cli.which import CHECKPOINT, say_if_early

if TYPE_CHECKING:
    from motherlode.generation.asking import Asked
    from motherlode.generation.composer import Composer, Composition
    from motherlode.generation.tokens import Author
    from motherlode.generation.writing import Piece
    from motherlode.training.run import Run

EXAMPLES = (
    "lode generate runs/photos --num 64",
    "lode generate runs/photos --num 1000 --label Bag --seed 7",
    'lode generate runs/stories --prompt "Once upon a time" --stream',
    'lode generate runs/clipart --prompt "a red apple" --set generate.guidance=2',
    "lode generate runs/digits --prompt seven --stream > seven.wav",
    "lode generate runs/poems --prompt @titles.txt --set generate.temperature=0.8",
)
_SHOWN_TEXTS = 4
_RULE = "\n\n---\n\n"
_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])


def command(
    run: Path = typer.Argument(help="A run's folder."),
    num: int | None = typer.Option(
        None, "--num", "-n", min=1, help="How many samples.", show_default="64, or a text for each prompt"
    ),
    seed: int = typer.Option(0, min=0, help="The same seed gives the same samples, whatever --num."),
    label: list[str] = typer.Option(None, help="Ask for this label; repeat it to take several in turn."),
    prompt: list[str] = typer.Option(
        None,
        "--prompt",
        "-p",
        help="What a text begins with, or is given (field=value; media by file), or @FILE, one a line. Repeatable.",
    ),
    stream: bool = typer.Option(
        False,
        "--stream",
        help="Show texts as they grow, or write sound to standard output as it comes; files only where --out says so.",
    ),
    changes: list[str] | None = typer.Option(
        None, "--set", help="Change how tokens are drawn: generate.temperature=0.8. Repeatable."
    ),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Folder to write.", show_default="<run>/generated/seed-<seed>"
    ),
    variant: str = typer.Option("", help="Which weights, e.g. ema or raw.", show_default="those that scored best"),
    checkpoint: str = CHECKPOINT,
    device: str = typer.Option("auto", help="Where to compute: auto, cpu, cuda, cuda:1, mps."),
) -> None:
    """Generate samples from a run."""
    from motherlode.errors import RecipeError
    from motherlode.training.precision import device_name
    from motherlode.training.run import Run

    opened = Run.open(run)
    device = device_name(device)
    if not stream:
        say_if_early(opened, checkpoint)
    if opened.spec.tokens is not None:
        from motherlode.generation import composer, tokens

        options = opened.recipe.changed(changes or (), ("generate",)).generate
        if composer.layout_of(opened) is not None:
            made_with = composer.composer(opened, options, variant=variant, which=checkpoint, device=device)
            _make_samples(made_with, prompt or [], label or [], num, seed, out, stream)
            return
        if label:
            raise RecipeError("texts are asked for by a prompt, not by a label", label, "use --prompt")
        author = tokens.author(opened, options, variant=variant, which=checkpoint, device=device)
        _write_texts(author, prompt or (), num, seed, out, stream)
        return
    if prompt or stream or changes:
        raise RecipeError(
            "only runs of texts or of fields take --prompt, --stream and --set", str(run), "leave them out"
        )
    _draw_samples(opened, num, seed, label, out, variant, checkpoint, device)


def _draw_samples(
    opened: Run,
    num: int | None,
    seed: int,
    label: list[str],
    out: Path | None,
    variant: str,
    checkpoint: str,
    device: str,
) -> None:
    from motherlode.cli import console
    from motherlode.cli.progress import Bar
    from motherlode.generation import sampling

    num = num or sampling.CHUNK
    target = out or _default_out(opened, seed)
    made = sampling.chunks(opened, num, seed, label or None, variant, which=checkpoint, device=device)
    written = sampling.save(made, opened, num, target, seed=seed, which=checkpoint)
    with Bar("generating", num, "samples") as bar:
        for chunk in written:
            bar.advance(len(chunk.samples))
    console.done(f"{num} samples in {target}: look at {target / sampling.GRID}")


def _make_samples(
    made_with: Composer, prompt: list[str], label: list[str], num: int | None, seed: int, out: Path | None, stream: bool
) -> None:
    """Samples of a run over fields."""
    from motherlode.cli import console
    from motherlode.cli.progress import Bar
    from motherlode.generation import showing
    from motherlode.generation.prompts import read_prompts

    asked = made_with.asked(read_prompts(prompt), label or None)
    num = made_with.num(asked, num)
    _warn_of_unused(len(asked), num)
    target = out or (None if stream else _default_out(made_with.author.run, seed))
    made = (
        _played(made_with, asked, num, seed)
        if stream
        else made_with.compositions(asked, made_with.parts(asked, range(num), seed))
    )
    if target is not None:
        made = made_with.save(made, num, target, seed)
    with nullcontext() if stream else Bar("making", num, "samples") as bar:
        for _ in made:
            if bar is not None:
                bar.advance(1)
    if target is not None and not stream:
        console.done(f"{num} samples in {target}: look at {target / showing.PAGE}")


def _played(made_with: Composer, asked: Sequence[Asked], num: int, seed: int) -> Iterator[Composition]:
    """Write sound to standard output as it comes, and how fast it came to standard error.

    Raises:
        RecipeError: standard output is a terminal.
    """
    import torch

    from motherlode.errors import RecipeError
    from motherlode.generation.playing import Player, WavWriter

    if sys.stdout.isatty():
        raise RecipeError(
            "sound is no text for a terminal", "--stream", "send it on: `… --stream > said.wav` or `… --stream | aplay`"
        )
    # The products of one row are too small to share: where other programs run, a second thread is waited for at each of
    # them (first piece after 2.6 s instead of 0.19 s beside six busy processes on two cores).
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    writer = WavWriter(sys.stdout.buffer)
    try:
        for heard in Player.open(made_with).play(asked, num, seed):
            if heard.finished is None:
                writer.write(heard.samples, heard.rate)
                continue
            pace = ", ".join(f"{name} {value:g}" for name, value in heard.finished.facts.items())
            typer.echo(f"sample {heard.number}: {pace}", err=True)
            yield heard.finished
        writer.finish()
    finally:
        torch.set_num_threads(num_threads)


def _write_texts(
    author: Author, given: list[str] | tuple[()], num: int | None, seed: int, out: Path | None, stream: bool
) -> None:
    from motherlode.cli import console
    from motherlode.cli.progress import Bar
    from motherlode.generation import sampling, tokens
    from motherlode.generation.prompts import read_prompts

    prompts = author.prompts(read_prompts(given))
    num = num or len(prompts)
    _warn_of_unused(len(prompts), num)
    pieces = author.pieces(prompts, num, seed)
    if stream:
        pieces = _streamed(tokens.in_order(pieces), num)
    made = author.texts(prompts, pieces)
    target = out or (None if stream else _default_out(author.run, seed))
    if target is not None:
        made = tokens.save(made, num, target, author.facts(seed))
    first: list[str] = []
    num_cut = 0
    with nullcontext() if stream else Bar("writing", num, "texts") as bar:
        for text in made:
            num_cut += text.ended == "window"
            if bar is not None:
                first += [text.text] * (len(first) < _SHOWN_TEXTS)
                bar.advance(1)
    if not stream:
        typer.echo(visible(_RULE.join(first)))
    if num_cut:
        console.warn(
            f"{num_cut} of {num} texts end where the model's window of {author.window} tokens is full: "
            "longer ones need a larger data.length in training"
        )
    if target is not None:
        console.done(f"{num} texts in {target}: where they came from is in {target / sampling.INDEX}")


def _warn_of_unused(num_prompts: int, num: int) -> None:
    from motherlode.cli import console

    if num < num_prompts:
        console.warn(
            f"nothing is made of the last {num_prompts - num} of {num_prompts} prompts: --num counts all samples"
        )


def _streamed(pieces: Iterator[Piece], num: int) -> Iterator[Piece]:
    """Show pieces as they pass."""
    for piece in pieces:
        typer.echo(visible(piece.text), nl=False)
        if piece.ended is not None:
            typer.echo(_RULE if piece.number + 1 < num else "\n", nl=False)
        sys.stdout.flush()
        yield piece


def visible(text: str) -> str:
    """`text`; on a terminal without control characters, which a model may write and a terminal would obey."""
    return text.translate(_CONTROLS) if sys.stdout.isatty() else text


def _default_out(run: Run, seed: int) -> Path:
    return run.path / "generated" / f"seed-{seed}"
