"""`evaluate` for models and folders of text: see `evaluate`, which calls this where samples are tokens.

Documents of the held-out split are scored in fp32 unless the weights are of another precision, which is recorded. Texts
are written from the beginning of a document, at temperature 1 unless the model writes otherwise, since only such texts
are draws from the model's distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motherlode import registry
from motherlode.errors import MeasureError
from motherlode.measures.interval import DEFAULT_LEVEL
from motherlode.measures.language_features import TextExtractor, find_text_extractor
from motherlode.measures.language_inputs import Model
from motherlode.measures.language_panel import LanguagePanel
from motherlode.measures.panel import Progress
from motherlode.measures.report import Measure, Passage
from motherlode.training.texts import (
    GeneratedTexts,
    PackedTexts,
    PlainTexts,
    search_packed,
    texts_at,
)

if TYPE_CHECKING:
    from motherlode.training.run import Run

WRITTEN = 256
"""Texts written by default: a sample a second or more is usual without a GPU."""
_NUM_SHOWN = 6
_NUM_COPIED = 6
_SHOWN_CHARACTERS = 1600
_LEAST_SHOWN_MATCH = 4
_ITSELF = "self"


def panel_of_run(
    run: Run,
    *,
    reference: str | Path | None,
    extractor: str | TextExtractor,
    num_samples: int | None,
    level: float,
    seed: int,
    variant: str | None,
    which: str,
    device: str,
    stride: int | None,
    progress: Progress | None,
) -> tuple[LanguagePanel, tuple[str, ...], dict[str, Any]]:
    """The panel of a run, the measures its family proposes, and facts about it.

    Raises:
        MeasureError: no held-out documents, or a reference that is no dataset.
    """
    from motherlode.data.sequences import Sequences
    from motherlode.data.tokens import open_packed
    from motherlode.modality.text import tokenizer as tokenizers

    recipe, spec = run.recipe, run.spec
    assert spec.tokens is not None
    tokenizer = tokenizers.load(spec.tokens.folder)
    used = Sequences(
        run.dataset,
        "train",
        spec,
        seed=recipe.seed,
        batch=1,
        num_samples=recipe.data.num_samples,
        weights=recipe.data.weights,
    )
    dataset, description = _heldout(run, reference)
    heldout = open_packed(dataset, "heldout", tokenizer)
    family = run.load(which, device=device)
    family.eval()
    chosen = variant or run.best_variant or family.variants[0]
    (window,) = spec.shape

    def decode(tokens: NDArray[np.int64]) -> str:
        return tokenizer.decode(tokens.tolist())

    def writing(share: float) -> None:
        if progress:
            panel.tell("writing texts", share)

    of_train = f"train of dataset {run.dataset.id[:12]}"
    identity = {"dataset": run.dataset.id, "split": "train", "tokenizer": tokenizer.digest}
    subset = {"documents": len(used.documents), "seed": recipe.seed if recipe.data.num_samples else 0}
    panel = LanguagePanel(
        model=Model(
            family,
            spec.tokens,
            window,
            stride or max(1, window // 2),
            heldout,
            Subset(used.packed, used.documents),
            description,
            decode,
            device,
            _dtype_of(family),
        ),
        samples=GeneratedTexts(
            family,
            spec.tokens,
            decode,
            num_samples or min(WRITTEN, recipe.evaluate.num_samples),
            seed=seed,
            variant=chosen,
            device=device,
            progress=writing,
        ),
        reference=PackedTexts(
            heldout,
            np.arange(len(heldout)),
            decode,
            window - 1,
            description,
            {**identity, "dataset": dataset.id, "split": "heldout"},
        ),
        train=PackedTexts(used.packed, used.documents, decode, window - 1, of_train, identity | subset),
        search=search_packed(used.packed, used.documents, spec.tokens, decode, of_train),
        extractor=_extractor(extractor, run.checkpoint(which)),
        tokenizer=(f"tokenizer-{len(tokenizer)}-{tokenizer.digest[:6]}", tokenizer.digest),
        num_documents=num_samples or recipe.evaluate.num_samples,
        num_samples=num_samples or recipe.evaluate.num_samples,
        level=level,
        seed=seed,
        progress=progress,
    )
    return panel, family.measures, {"variant": chosen, "shape": f"window {window}"}


def panel_of_folders(
    samples: str | Path,
    reference: str | Path,
    train: str | Path | None,
    *,
    extractor: str | TextExtractor,
    num_samples: int,
    level: float | None,
    seed: int,
    progress: Progress | None,
) -> LanguagePanel:
    """The panel of a folder of texts against another, or against a dataset."""
    known: dict[str, int] = {}
    made = texts_at(samples, split="train", known=known)
    real = texts_at(reference, split="heldout", known=known)
    source: PlainTexts | None = None
    if train is not None:
        source = texts_at(train, split="train", known=known)
    return LanguagePanel(
        model=None,
        samples=made,
        reference=real,
        train=source,
        search=None if source is None else source.search(),
        extractor=_extractor(extractor, None),
        tokenizer=("words", "words, characters where unspaced"),
        num_documents=num_samples,
        num_samples=num_samples,
        level=level or DEFAULT_LEVEL,
        seed=seed,
        progress=progress,
    )


class Subset:
    """Some documents of a packed split, numbered anew.

    Args:
        packed: the split.
        numbers: of the documents.
    """

    def __init__(self, packed: Any, numbers: NDArray[np.int64]) -> None:
        self._packed, self._numbers = packed, numbers
        self.num_bytes_N: NDArray[np.int64] = packed.num_bytes_N[numbers]

    def __len__(self) -> int:
        return len(self._numbers)

    def document(self, number: int) -> NDArray[np.int64]:
        """The tokens of one document, its bos first."""
        found: NDArray[np.int64] = self._packed.document(int(self._numbers[number]))
        return found


def passages(panel: LanguagePanel, taken: dict[str, Measure]) -> dict[str, list[Passage]]:
    """What a report shows: texts as they come, and those that copy most beside what they copy."""
    shown: dict[str, list[Passage]] = {}
    if panel.samples is None:
        return shown
    texts = panel.samples.take(panel.sample_rows[:_NUM_SHOWN])
    caption = "Generated: texts as they come, none chosen"
    shown[caption] = [Passage(_short(text) or "(empty)") for text in texts]
    if "verbatim" in taken or "longest_match" in taken:
        pairs = [pair for pair in _most_copied(panel) if pair is not None]
        if pairs:
            shown["Most copied: the longest match of a text with training text, beside where it stands"] = pairs
    return shown


def _most_copied(panel: LanguagePanel) -> list[Passage | None]:
    assert panel.samples is not None
    assert panel.search is not None
    matches = panel.matches[0]
    order = sorted(range(len(matches)), key=lambda row: -matches[row].length)[:_NUM_COPIED]
    return [_beside(panel, row) for row in order if matches[row].length >= _LEAST_SHOWN_MATCH]


def _beside(panel: LanguagePanel, row: int) -> Passage | None:
    """A text with its longest match marked, and the training text around it."""
    assert panel.samples is not None
    assert panel.search is not None
    match = panel.matches[0][row]
    text = panel.samples.take(panel.sample_rows[[row]])[0]
    before, copied, after = panel.search.around(match.origin, match.length)
    train = Passage(before + copied + after, "training text", (len(before), len(before) + len(copied)))
    start = text.find(copied)
    note = f"longest match: {match.length} of {match.tokens} tokens"
    if start < 0:  # words were joined by single spaces
        return Passage(_short(text), note, (0, 0), train)
    first = max(0, start - _SHOWN_CHARACTERS // 4)
    cut = text[first : start + len(copied) + _SHOWN_CHARACTERS // 4]
    return Passage(cut, note, (start - first, start - first + len(copied)), train)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + " …"


def _heldout(run: Run, reference: str | Path | None) -> tuple[Any, str]:
    """The dataset whose held-out documents are scored, and what it is called."""
    from motherlode.data.dataset import Dataset

    dataset = run.dataset if reference is None else Dataset.open(reference)
    if registry.find("modality", dataset.modality).stored != "text":
        raise MeasureError(
            "a language model is measured on texts", f"{dataset.path}: {dataset.modality}", "give a text dataset"
        )
    num = len(dataset.split("heldout"))
    if num < 2:
        raise MeasureError("a run needs held-out data to be measured", f"{num} held-out documents", "give `reference`")
    return dataset, f"heldout of dataset {dataset.id[:12]}"


def _extractor(source: str | TextExtractor, checkpoint: Path | None) -> Callable[[], TextExtractor]:
    """Found when it is first needed: loading it takes seconds that a likelihood need not wait for."""

    def find() -> TextExtractor:
        if source == _ITSELF:
            if checkpoint is None:
                raise MeasureError("a folder of texts has no model of its own", source, "name another extractor")
            return find_text_extractor(checkpoint)
        return find_text_extractor(source)

    return find


def _dtype_of(family: Any) -> str:
    """The precision of the weights, in which they compute: "float32"."""
    return str(next(family.parameters()).dtype).removeprefix("torch.")
