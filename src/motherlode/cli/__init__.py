"""The command `lode`: one verb, one file, one public function.

The verbs' modules import nothing heavy at the top, so `lode --help` answers in about a quarter of a second; torch comes
in with the verb that needs it. Every mistake a user can mend ends in one message and exit code 2; a fault of our own
ends in exit code 1 with its traceback kept in a file.
"""

from __future__ import annotations

import errno
import gc
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from motherlode.cli import doctor, estimate, evaluate, export, generate, init, plan, prepare, study, train

_FULL = (errno.ENOSPC, errno.EDQUOT)
_GO_ON = "run the same command again to go on where it stopped"
_RESUMABLE = {"prepare": _GO_ON, "train": _GO_ON, "study": _GO_ON}


_FIRST_RUN = (
    "lode prepare photos/",
    "lode init datasets/photos",
    "lode estimate photos.yaml",
    "lode train photos.yaml",
    "lode evaluate runs/photos",
    "lode generate runs/photos --num 64",
)


class Verbs(TyperGroup):
    """The group of verbs; turns what escapes from one into a message and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Verbs in the order of the work, not of the alphabet."""
        return list(self.commands)

    def invoke(self, ctx: Any) -> Any:
        """Run a verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _say("stopped", _RESUMABLE.get(ctx.invoked_subcommand or "", "nothing half-written is left behind"))
            raise typer.Exit(130) from None
        except Exception as error:
            code = None if ctx.params.get("debug") else _report(error)
            if code is None:
                raise
            raise typer.Exit(code) from None


def _report(error: Exception) -> int | None:
    """Say what went wrong; the exit code, or None for what typer handles itself (usage, exits)."""
    from motherlode.errors import MotherlodeError
    from motherlode.storage import explain

    if isinstance(error, BrokenPipeError):
        return None
    if isinstance(error, OSError) and (error.filename or error.errno in _FULL):
        error = explain(error, Path(error.filename or _fullest()))
    if isinstance(error, MotherlodeError):
        _complain(str(error))
        return error.exit_code
    if type(error).__module__.partition(".")[0] in ("typer", "click"):
        return None
    what = f"{type(error).__name__}: {error}".partition("\n")[0]
    _complain(
        f"this is a fault in Motherlode, not in your input: {what}\n"
        f"  traceback: {_kept(error)}\n"
        "  fix: please report it with that file; `--debug` shows it here"
    )
    return 1


def _kept(error: Exception) -> str:
    """The file that a traceback was written to; on standard error where none can be."""
    try:
        with tempfile.NamedTemporaryFile("w", prefix="lode-", suffix=".txt", delete=False, encoding="utf-8") as file:
            traceback.print_exception(error, file=file)
    except OSError:
        traceback.print_exception(error)
        return "above"
    return file.name


def _fullest() -> str:
    """Of the folders that a verb writes to unasked, the one with the least room."""
    return min((tempfile.gettempdir(), os.getcwd()), key=lambda folder: shutil.disk_usage(folder).free)


def _complain(text: str) -> None:
    from motherlode.cli.console import errors

    first, _, rest = text.partition("\n")
    errors.print(f"[bold red]error:[/] {escape(first)}", highlight=False, soft_wrap=True)
    if rest:
        errors.print(escape(rest), highlight=False, soft_wrap=True)


def _say(what: str, then: str) -> None:
    from motherlode.cli.console import errors

    errors.print(f"\n[yellow]{what}[/]: {then}", highlight=False, soft_wrap=True)


def _lines(title: str, examples: Sequence[str]) -> str:
    """An epilogue of one line an example."""
    return "\n".join([f"[dim]{title}[/]", *(f"  {escape(example)}" for example in examples)])


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train generative models data-first: raw files → dataset → run → measured samples.",
    epilog=_lines("A first run:", _FIRST_RUN),
)
for verb in (doctor, prepare, init, estimate, train, evaluate, generate, export, study, plan):
    app.command(verb.__name__.rpartition(".")[2], epilog=_lines("Examples:", verb.EXAMPLES))(verb.command)


def _version(wanted: bool) -> None:
    if wanted:
        from motherlode.version import __version__

        typer.echo(f"motherlode {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", is_eager=True, callback=_version
    ),
    debug: bool = typer.Option(False, "--debug", help="Show tracebacks. May stand anywhere on the line."),
) -> None:
    """Options of the command itself; `Verbs` and `_version` act on them."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command `lode`."""
    for stream in (sys.stdout, sys.stderr):
        # A path of odd bytes, or a terminal without ✓, must not end what was done well.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if arguments is None else arguments
    rest = [word for word in given if word != "--debug"]
    try:
        app(args=["--debug", *rest] if len(rest) < len(given) else rest, prog_name="lode")
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; Python must not try to flush to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        gc.freeze()  # the process ends: looking for garbage among all that was imported would take .3 to .6 s more
