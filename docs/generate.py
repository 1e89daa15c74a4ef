"""Writes what docs/ takes from the code: every option, and what it is for.

    python docs/generate.py            rewrite the pages
    python docs/generate.py --check    exit 1 and name the pages that are stale

A page holds a generated part between `<!-- generated: NAME -->` and `<!-- end -->`; all else is written by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import BaseModel

from motherlode import registry, schema
from motherlode.cli.init import starter
from motherlode.data.prepare import PrepareOptions
from motherlode.measures.catalogue import CATALOGUE
from motherlode.recipe import Recipe
from motherlode.studies.options import StudyOptions, TreatmentOptions

FOLDER = Path(__file__).resolve().parent
_PART = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(model: type[BaseModel], place: tuple[str, ...] = (), values: BaseModel | None = None) -> str:
    """Every key below `model` as a Markdown table."""
    lines = ["| key | default | may be | what for |", "|---|---|---|---|"]
    lines += [_row(entry) for entry in schema.entries(model, values, place)]
    return "\n".join(lines)


def recipe_tables() -> str:
    """The sections of a recipe, each with its table; the model's once for each family."""
    head: list[str] = []
    sections: list[str] = []
    for name, field in Recipe.model_fields.items():
        section = schema.section_of(field.annotation)
        if name == "model":
            for family in registry.names("family"):
                options = registry.find("family", family).Options
                sections.append(f"## `model`, with `family: {family}`\n\n{table(options, ('model',))}")
        elif section is not None:
            about = (section.__doc__ or "").strip().split("\n")[0]
            values = field.default if isinstance(field.default, section) else None
            sections.append(f"## `{name}`\n\n{about}\n\n{table(section, (name,), values)}")
        else:
            head += [_row(entry) for entry in schema.entries(Recipe) if entry.place == (name,)]
    top = "\n".join(["| key | default | may be | what for |", "|---|---|---|---|", *head])
    return "\n\n".join([top, *sections])


def prepare_tables() -> str:
    """Options of `prepare`, and those below `clean` for each modality."""
    parts = [table(PrepareOptions)]
    for name in registry.names("modality"):
        options = registry.find("modality", name).Options
        parts.append(f"Below `clean`, for `modality: {name}`:\n\n{table(options, ('clean',))}")
    return "\n\n".join(parts)


def starter_recipe() -> str:
    """What `lode init` writes."""
    return f"```yaml\n{starter('photos', 'datasets/photos')}```"


def measures_table() -> str:
    """The catalogue of measures."""
    lines = ["| measure | better | what it says |", "|---|---|---|"]
    for name, entry in CATALOGUE.items():
        short = f" ({entry.short})" if entry.short else ""
        better = "" if entry.direction == "none" else entry.direction
        lines.append(f"| `{name}`: {entry.title}{short} | {better} | {entry.meaning} |")
    return "\n".join(lines)


def study_tables() -> str:
    """Keys of a study.yaml, and those of a treatment."""
    return f"{table(StudyOptions)}\n\nOf each treatment:\n\n{table(TreatmentOptions, ('treatments', 'NAME'))}"


PARTS: dict[str, Callable[[], str]] = {
    "measures": measures_table,
    "prepare-options": prepare_tables,
    "recipe": recipe_tables,
    "starter": starter_recipe,
    "study": study_tables,
}


def fill(text: str) -> str:
    """A page's text with its generated parts made anew."""
    return _PART.sub(lambda match: f"{match[1]}\n{PARTS[match['name']]()}\n\n{match[3]}", text)


def stale(pages: Iterable[Path]) -> dict[Path, str]:
    """Pages whose generated parts differ from the code, with what they should hold."""
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    return {page: fresh for page, text in texts.items() if (fresh := fill(text)) != text}


def _row(entry: schema.Entry) -> str:
    default = "required" if entry.default is ... else "" if entry.is_section else f"`{schema.as_yaml(entry.default)}`"
    if entry.is_section:
        default = "off" if entry.default is None else ""
    about = entry.about.replace("|", "\\|")
    return f"| `{'.'.join(entry.place)}` | {default} | {entry.kind.replace('|', 'or')} | {about} |"


if __name__ == "__main__":
    found = stale(sorted(FOLDER.glob("*.md")))
    if "--check" in sys.argv:
        for page in found:
            sys.stderr.write(f"{page} is stale: run `make docs`\n")
        sys.exit(bool(found))
    for page, fresh in found.items():
        page.write_text(fresh, encoding="utf-8")
        sys.stdout.write(f"{page} rewritten\n")
