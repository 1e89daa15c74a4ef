"""`lode init`: a starter recipe in which every key is written out, with its default and what it is for."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from motherlode.data.dataset import Dataset
    from motherlode.schema import Entry

EXAMPLES = (
    "lode init datasets/photos",
    "lode init datasets/photos --out small.yaml --family gan",
    "lode init datasets/photos --study   (and photos-study.yaml: a grid of small runs, for lode study and lode plan)",
)
_ABOUT_COLUMN = 36
_LEAST_VOCABULARY, _BYTES_AN_ENTRY = 512, 64
_PLAIN = ("text", "number", "whole number", "mapping", "list of text")


def command(
    dataset: Path | None = typer.Argument(None, help="A prepared dataset, to fill in its path, size and labels."),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Where to write.", show_default="<dataset>.yaml or recipe.yaml"
    ),
    family: str = typer.Option("", help="The kind of model.", show_default="what suits the dataset"),
    force: bool = typer.Option(False, "--force", help="Overwrite an existing file."),
    study: bool = typer.Option(False, "--study", help="Write a starter study too, of a recipe that may be there."),
) -> None:
    """Write a commented starter recipe."""
    from motherlode.cli import console
    from motherlode.errors import RecipeError
    from motherlode.storage import write_text

    opened = None
    if dataset is not None:
        from motherlode.data.dataset import Dataset

        opened = Dataset.open(dataset)
    name = file_name(dataset.resolve().name) if dataset is not None else "first"
    target = out or Path(f"{name}.yaml" if dataset is not None else "recipe.yaml")
    beside = target.with_name(f"{target.stem}-study.yaml")
    if study and dataset is None:
        raise RecipeError("a starter study needs the dataset whose rows it counts", None, "lode init DATASET --study")
    if (beside if study else target).exists() and not force:
        raise RecipeError(
            "`init` does not overwrite a file", str(beside if study else target), "choose another --out, or add --force"
        )
    family = family or suited(opened.modality if opened is not None else "image")
    if not (study and target.exists()):
        write_text(target, starter(name, str(dataset or "datasets/mine"), family, opened))
    if study and opened is not None:
        write_text(beside, starter_study(target, len(opened.split("train"))))
        console.done(f"{beside}: read it, then  {console.command('lode', 'study', beside, '--look')}")
        return
    first, second = (console.command("lode", verb, target) for verb in ("estimate", "train"))
    console.done(f"{target}: read it, then  {first}  and  {second}")


def suited(modality: str) -> str:
    """The family to begin with on samples of this kind."""
    from motherlode import registry

    names = registry.names("family")
    return next((name for name in names if modality in registry.find("family", name).starter_for), names[0])


def file_name(text: str) -> str:
    """`text` as a run's name: letters and digits of any script, dots, dashes and underscores."""
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(
        letter if unicodedata.category(letter)[0] in "LMN" or letter in "._-" else " " for letter in composed
    )
    return "-".join(kept.split()).lstrip("._-") or "first"


def starter(name: str, path: str, family: str = "gan", dataset: Dataset | None = None) -> str:
    """The text of a recipe for a dataset at `path`: every key of the schema, commented from the schema.

    Raises:
        RecipeError: no family of that name.
    """
    from motherlode import registry, schema
    from motherlode.recipe import Recipe

    known = ", ".join(registry.names("family"))
    values: dict[tuple[str, ...], Any] = {("name",): name, ("data", "path"): path}
    found = registry.find("family", family)
    options = found.Options
    values |= {("train", *place): value for place, value in _flat(found.defaults)}
    if dataset is not None and "source_bytes" in dataset.facts:
        values |= {("data", "vocabulary"): _vocabulary(sum(dataset.facts["source_bytes"].values()))}
    lines = [f"# A recipe is the whole of a run: `lode train` needs nothing else.{_facts(dataset)}"]
    for entry in schema.entries(Recipe):
        if entry.place == ("model",):
            lines += ["", _commented("model:", f"the kind of model ({known}) and its options"), f"  family: {family}"]
            lines += _lines(schema.entries(options, place=("model",)), {})
        else:
            lines += [""] * (entry.is_section and len(entry.place) == 1)
            lines += _lines([entry], values)
    return "\n".join(lines) + "\n"


def starter_study(recipe: Path, num_rows: int) -> str:
    """The text of a study of the recipe in a file: three sizes, three amounts of data, three lengths, a second seed."""
    from motherlode.recipe import Recipe

    owned = sorted({max(num_rows // share, 1) for share in (16, 4, 1)})
    deep = "heads" in type(Recipe.load(recipe).family_options()).model_fields
    width, more = (64, {"model.depth": 2, "model.heads": 2}) if deep else (8, {})
    sizes = [{key: value * scale for key, value in {"model.width": width, **more}.items()} for scale in (1, 2, 4)]
    lines = [
        "# The recipe at several sizes and amounts of data, and the law through them that `lode plan` needs.",
        "# Every key: docs/plans.md. `--look` trains nothing; it says what this takes and what it can tell.",
        f"name: {recipe.stem}",
        f"recipe: {recipe.name}",
        _commented(f"unique: {owned}", "rows owned; smaller subsets lie within larger ones"),
        _commented("passes: [1, 4, 16]", "over those rows; more, until too many hurt"),
        _commented("sizes:", "recipe keys of each"),
        *(f"  {name}: {_inline(size)}" for name, size in zip(("small", "middle", "large"), sizes)),
        _commented(
            f"repeat: {{seeds: [1], unique: [{owned[0]}]}}", "a second seed of a few cells tells noise from law"
        ),
        _commented("# treatments:", "what else could be done to the data, each with its price"),
        "#   raw: {}",
        "#   cleaned: {data: datasets/cleaned, price: 0.5/M}",
        _commented("prices: {gpu_hour: 2.5, data: 3/M}", "yours: of an hour, of a million rows or tokens"),
    ]
    return "\n".join(lines) + "\n"


def _inline(changes: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in changes.items()) + "}"


def _vocabulary(num_bytes: int) -> int:
    """A vocabulary that a text of this size can fill, and learn: the usual one from half a megabyte on."""
    from motherlode.recipe import DataOptions

    most = int(DataOptions.model_fields["vocabulary"].default)
    filled = 1 << (num_bytes // _BYTES_AN_ENTRY).bit_length() >> 1
    return min(most, max(_LEAST_VOCABULARY, filled))


def _lines(found: Iterable[Entry], values: Mapping[tuple[str, ...], Any]) -> Iterator[str]:
    """A line an entry; what is off by default is commented out, with all that lies below it."""
    from motherlode.schema import as_yaml

    off: tuple[str, ...] | None = None
    for entry in found:
        value = values.get(entry.place, entry.default)
        if off is not None and entry.place[: len(off)] != off:
            off = None
        unset = value is None or value is ... or value in ((), [], {})
        if entry.is_section and value is None and off is None:
            off = entry.place
        mark = "# " if off is not None or (unset and not entry.is_section) else ""
        known = "" if entry.is_section or unset else f" {as_yaml(value)}"
        detail = "" if entry.is_section or entry.kind in _PLAIN else entry.kind
        comment = "; ".join(part for part in (detail, entry.about) if part)
        yield _commented(f"{'  ' * (len(entry.place) - 1)}{mark}{entry.place[-1]}:{known}", comment)


def _flat(section: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every value of nested mappings with its place."""
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from (((key, *place), inner) for place, inner in _flat(value))
        else:
            yield (key,), value


def _commented(text: str, comment: str) -> str:
    return f"{text:<{_ABOUT_COLUMN}}  # {comment}" if comment else text


def _facts(dataset: Dataset | None) -> str:
    if dataset is None:
        return ""
    labels = f", {len(dataset.labels)} labels ({', '.join(dataset.labels[:12])})" if dataset.labels else ", no labels"
    return (
        f"\n# {dataset.path}: {len(dataset.split('train'))} to train on, "
        f"{len(dataset.split('heldout'))} held out{labels}"
    )
