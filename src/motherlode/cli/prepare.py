"""`lode prepare`: raw files to a cleaned, deduplicated, split and carded dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import typer

if TYPE_CHECKING:
    from types import TracebackType

    from motherlode.cli.progress import Bar

EXAMPLES = (
    "lode prepare photos/",
    "lode prepare photos/ --dry-run",
    "lode prepare a.parquet s3://bucket/b/ --out datasets/both --heldout 0.05",
    "lode prepare photos/ --options prepare.yaml   (any option of docs/data.md)",
)
_MOST_REASONS = 4


def command(
    source: list[str] = typer.Argument(help="Folders, Parquet, csv, jsonl, tar or idx files, globs, URLs."),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="The dataset's folder.", show_default="datasets/<source>"
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Try a sample of the source, show the yield, write nothing."),
    options: Path | None = typer.Option(None, "--options", help="YAML file with any option; flags win over it."),
    modality: str | None = typer.Option(None, help="What a sample is.", show_default="what the files are"),
    heldout: float | None = typer.Option(None, help="Share of samples held out for measuring.", show_default="0.1"),
    augment: str | None = typer.Option(None, help="Write altered copies too: 3x triples the training rows."),
    seed: int | None = typer.Option(None, help="Decides the split and the alterations.", show_default="0"),
    workers: int | None = typer.Option(None, help="Processes.", show_default="one a core"),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a dataset made from something else."),
) -> None:
    """Turn raw files into a dataset: read, clean, deduplicate, split, card."""
    from motherlode.data.workers import start_ahead

    if not (dry_run or options or (out or Path("datasets") / folder_name(source)).exists()):
        start_ahead(source, modality, workers)
    from motherlode.cli import console
    from motherlode.data import prepare as data_prepare
    from motherlode.data.advice import advise
    from motherlode.data.guess import settled
    from motherlode.data.source import passed_over

    given: dict[str, Any] = _read(options)
    flags = {
        "modality": modality,
        "heldout": heldout,
        "augment": augment,
        "seed": seed,
        "workers": workers,
        "overwrite": overwrite or None,
    }
    given |= {name: value for name, value in flags.items() if value is not None}
    named = given.pop("source", None) if not source else source[0] if len(source) == 1 else source
    target = out or Path(given.pop("out", "") or Path("datasets") / folder_name(source))
    given.pop("out", None)
    parsed, why = settled(data_prepare.parse_options(named, out=target, **given))
    if why:
        console.results.print(f"modality: {parsed.modality} ({why})", markup=False, soft_wrap=True)
    if dry_run:
        _preview(parsed)
        return
    with Stages() as stages:
        dataset = data_prepare.run(parsed, stages)
    yields(dataset.facts["steps"])
    if dataset.facts["ignored"]:
        advice = advise(dataset.facts["ignored"])
        shown = passed_over(dataset.facts["ignored"]) + (f"; {advice}" if advice else "")
        console.results.print(f"passed over: {shown}", markup=False, soft_wrap=True)
    for warning in dataset.facts["warnings"]:
        console.warn(warning)
    train, heldout_rows = (console.count(len(dataset.split(name))) for name in ("train", "heldout"))
    console.done(f"{train} to train on, {heldout_rows} held out, in {dataset.path}")
    then = console.command("lode", "init", dataset.path)
    console.results.print(f"  look at {dataset.path / 'card.html'}, then  {then}", soft_wrap=True, markup=False)


def folder_name(sources: list[str]) -> str:
    """A dataset's name from the first of its sources: "s3://bucket/photos/*.png" → "photos"."""
    parts = [part for part in sources[0].replace("\\", "/").split("/") if part not in ("", ".", "..", "*", "**")]
    named = [part for part in parts if not any(letter in part for letter in "*?[:")]
    name = named[-1].partition(".")[0] if named else ""
    return name.encode("utf-8", "ignore").decode() or "data"


def yields(steps: list[dict[str, Any]]) -> None:
    """Print what each step let through, and why it dropped the rest."""
    from motherlode.cli import console

    rows = []
    for step in steps:
        dropped = sorted(step["dropped"].items(), key=lambda item: -item[1])
        reasons = ", ".join(f"{console.count(number)} {reason}" for reason, number in dropped)
        share = step["kept"] / step["in"] if step["in"] else 1.0
        rows.append((step["name"], console.count(step["in"]), console.count(step["kept"]), f"{share:.1%}", reasons))
    console.table(("step", "in", "kept", "yield", "dropped"), rows)


class Stages:
    """Draws each stage of `prepare` as a bar of its own; what `prepare` tells its progress to."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: Bar | None = None
        self._start = 0.0
        self._first = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __call__(self, stage: str, done: int, total: int | None, counts: Mapping[str, int]) -> None:
        """Show how far a stage has come."""
        from motherlode.cli.progress import Bar

        if stage != self._stage:
            self._close()
            self._stage, self._bar, self._start = stage, Bar(stage, total or 0).__enter__(), monotonic()
            self._first = counts.get("rows", 0)
        if self._bar is not None:
            rate = (counts.get("rows", 0) - self._first) / max(monotonic() - self._start, 1e-3)
            self._bar.update(done, total or 0, note=_note(counts, rate))

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


def _note(counts: Mapping[str, int], rate: float) -> str:
    """Rows so far, how fast they come (where they do), and the commonest reasons for dropping some."""
    from motherlode.cli import console

    rows = console.counted(counts["rows"], "row") if counts.get("rows") else ""
    rows += f" ({rate:,.0f}/s)" if rate > 0 else ""
    reasons = sorted(((name, number) for name, number in counts.items() if name != "rows"), key=lambda item: -item[1])
    shown = ", ".join(f"{number:,} {name}" for name, number in reasons[:_MOST_REASONS])
    return "; ".join(part for part in (rows, f"dropped {shown}" if shown else "") if part)


def _read(path: Path | None) -> dict[str, Any]:
    from motherlode.errors import RecipeError
    from motherlode.recipe import read_yaml

    content = read_yaml(path, "write the options there: docs/data.md lists them") or {} if path else {}
    if not isinstance(content, dict):
        raise RecipeError("the options must be `key: value` pairs", str(path), "see docs/data.md")
    return content


def _preview(options: Any) -> None:
    from motherlode.cli import console
    from motherlode.data.preview import preview

    with Stages() as stages:
        found = preview(options, progress=stages)
    console.results.print(str(found), markup=False, soft_wrap=True)
