"""Everything `prepare` can be told, what it takes where it is told nothing, and what of it decides the result."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from motherlode.data.source import Document, Kind, Labels, SourceOptions
from motherlode.errors import RecipeError
from motherlode.modality import Modality
from motherlode.recipe import Strict

Choice = Literal["drop", "report", "off"]
AutoChoice = Literal["auto", "drop", "report", "off"]
_TEXT_OPTIONS = (
    *("paragraphs", "paragraph_share", "paragraph_texts"),
    *("decontaminate", "decontaminate_heldout", "decontaminate_tokens"),
)


class PrepareOptions(Strict):
    """Everything `prepare` can be told."""

    source: str | list[str] | dict[str, str] = Field(
        description="folder, file, glob or URL; a list of them; or names and paths"
    )
    modality: str = Field("auto", description="what a sample is; auto: what the files are")
    out: str = Field(description="folder of the dataset to make")
    kind: Kind = Field("auto", description="how to read the source, where its files leave a doubt")
    labels: Labels = Field(
        "auto", description="labels of a folder's files: auto or top, the first sub-folder; parent, the last; or none"
    )
    document: Document = Field("file", description="what a document is in plain files of text: file, line or paragraph")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="columns of tables by role: media, or text; label, caption, licence; '' for none",
    )
    licence: str | None = Field(None, description="licence of rows that do not name their own")
    trust_paths: bool = Field(False, description="let paths found in tables leave the table's folder")
    max_bytes: int | None = Field(
        None, ge=1, description="files above this are dropped unread: too_large; default: 256 MiB, of texts 32 MiB"
    )
    clean: dict[str, Any] = Field(default_factory=dict, description="thresholds and normal form of the modality")
    exact_duplicates: Choice = Field(
        "drop", description="rows that are equal: drop all but one; report or off keep them, on one side of the split"
    )
    near_duplicates: Choice = Field("drop", description="rows that look alike: drop all but one, report only, or off")
    paragraphs: AutoChoice = Field(
        "auto", description="lines that many texts of a source share: cut them out (drop), report, or off; auto: drop"
    )
    paragraph_share: float = Field(
        0.1, ge=0, le=1, description="share of a source's texts that must have a line for it to be cut out"
    )
    paragraph_texts: int = Field(20, ge=1, description="texts that must have a line at least for it to be cut out")
    decontaminate: tuple[str, ...] = Field(
        (), description="texts held out for evaluation: texts that share a run of words with them are dropped"
    )
    decontaminate_heldout: bool = Field(
        False, description="drop training texts that share a run of words with the dataset's own held-out texts"
    )
    decontaminate_tokens: int = Field(13, ge=3, description="words (in Chinese, characters) of such a run")
    outliers: AutoChoice = Field(
        "auto", description="rows far from all others: drop, report, or off; auto: drop, but off for texts"
    )
    label_errors: AutoChoice = Field(
        "auto", description="labels that the neighbours contradict: drop, report, or off; auto: report, off for texts"
    )
    min_label_rows: int = Field(1, ge=1, description="labels with fewer rows are dropped: rare_label")
    max_label_rows: int | None = Field(None, ge=1, description="rows beyond this many a label are dropped at random")
    captions: str | None = Field(
        None, description="file of captions by file name: lines `name: text` or `name|text`, or a table"
    )
    heldout: float = Field(0.1, ge=0, lt=1, description="share of rows held out")
    heldout_by: Literal["row", "folder"] = Field(
        "row", description="what is held out: single rows, or all that lie in folders of one name (speakers, sites)"
    )
    augment: int = Field(1, ge=1, le=100, description="make train this many times as large with altered copies: 3x")
    augment_policy: tuple[str, ...] = Field((), description="alterations to choose from; default: the modality's own")
    seed: int = Field(0, ge=0, description="decides the split, the caps and the alterations")
    workers: int | None = Field(None, ge=1, description="processes; default: one a core")
    on: Literal["local", "ray"] = Field("local", description="where the work is done")
    overwrite: bool = Field(False, description="replace a dataset that was made from something else")

    @field_validator("exact_duplicates", "near_duplicates", "paragraphs", "outliers", "label_errors", mode="before")
    @classmethod
    def _booleans_are_choices(cls, value: object, info: Any) -> object:
        if isinstance(value, bool):
            return ("report" if info.field_name == "label_errors" else "drop") if value else "off"
        return value

    @field_validator("augment", mode="before")
    @classmethod
    def _times(cls, value: object) -> object:
        return value.strip().lower().removesuffix("x") if isinstance(value, str) else value

    def resolved(self, modality: Modality) -> PrepareOptions:
        """The options with the modality's own defaults in the place of `auto` and null.

        Raises:
            RecipeError: an option asks for what samples of this kind cannot give.
        """
        is_text = modality.stored == "text"
        if self.augment > 1 and not (self.augment_policy or modality.augmentations):
            raise RecipeError("only samples that can be altered can be augmented", f"modality: {modality.name}", "1x")
        if self.document != "file" and not is_text:
            raise RecipeError("only files of text hold several documents", f"document: {self.document}", "leave it out")
        if (self.decontaminate or self.decontaminate_heldout or self.paragraphs in ("drop", "report")) and not is_text:
            raise RecipeError(
                "only texts have lines and words to compare", f"modality: {modality.name}", "leave it out"
            )
        auto = {"outliers": "drop", "label_errors": "report"} if modality.outliers else {}
        auto |= {"paragraphs": "drop"} if is_text else {}
        names = ("paragraphs", "outliers", "label_errors")
        chosen = {name: auto.get(name, "off") for name in names if getattr(self, name) == "auto"}
        return self.model_copy(update={"max_bytes": self.max_bytes or modality.max_bytes, **chosen})

    def request(self) -> dict[str, Any]:
        """The options that decide the result: not where it goes, nor who does the work."""
        # Later options are named only where they change something: earlier datasets are still answered from disk.
        unused = {"document"} if self.document == "file" else set()
        unused |= {"heldout_by"} if self.heldout_by == "row" else set()
        unused |= {"captions"} if self.captions is None else set()
        unused |= {"exact_duplicates"} if self.exact_duplicates == "drop" else set()
        # What only texts have is no part of what other datasets were made with.
        is_unused = self.paragraphs == "off" and not (self.decontaminate or self.decontaminate_heldout)
        unused |= set(_TEXT_OPTIONS) if is_unused else set()
        return self.model_dump(mode="json", exclude={"out", "workers", "on", "overwrite", *unused})

    def source_options(self, modality: Modality) -> SourceOptions:
        """The part of the options that sources read."""
        return SourceOptions(
            self.kind,
            self.labels,
            self.columns,
            self.trust_paths,
            self.document,
            is_text=modality.stored == "text",
            max_bytes=self.max_bytes or modality.max_bytes,
            captions=self.captions,
        )
