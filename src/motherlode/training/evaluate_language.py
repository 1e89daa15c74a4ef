"""`evaluate` for models and folders of text: see `evaluate`, which calls this where samples are tokens.

Documents of the held-out split are scored in fp32 unless the weights are of another precision, which is recorded. Texts
are written from the beginning of a document, at temperature 1 unless the model writes otherwise, since only such texts
are draws from the model's distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motherlode import registry, storage
from motherlode.errors import MeasureError
from motherlode.measures.catalogue import CATALOGUE
from motherlode.measures.interval import DEFAULT_LEVEL
from motherlode.measures.language_features import TextExtractor, find_text_extractor
from motherlode.measures.language_inputs import Model
from motherlode.measures.language_panel import LanguagePanel
from motherlode.measures.panel import Progress
from motherlode.measures.report import Measure, Passage
from motherlode.training.asked import Asked
from motherlode.training.texts import GeneratedTexts, PackedTexts, search_packed, texts_at

if TYPE_CHECKING:
    from motherlode.data.tokens import Packed
    from motherlode.tokenizer import Tokenizer
    from motherlode.training.run import Run

_MOST_TEXTS = 10_000
WRITTEN = 256
"""Texts written by default: a sample a second or more is usual without a GPU."""
_NUM_SHOWN = 6
_NUM_COPIED = 6
_SHOWN_CHARACTERS = 1600
_LEAST_SHOWN_MATCH = 4
_ITSELF = "self"
_OF_TEXTS = {"mauve", "variety", "verbatim"}


def panel_of_run(
    run: Run, asked: Asked, progress: Progress | None
) -> tuple[LanguagePanel, tuple[str, ...], dict[str, str]]:
    """The panel of a run, the measures its family proposes, and which weights and shape they are of.

    Raises:
        MeasureError: no held-out documents, or a reference that holds no text.
    """
    from motherlode import tokenizer as tokenizers

    chosen, space = run.recipe.evaluate, run.spec.tokens
    assert space is not None
    tokenizer = tokenizers.load(space.folder)
    texts = _Texts.of(run, asked.reference, tokenizer)
    family = run.load(asked.which, device=asked.device)
    family.eval()
    variant = asked.variant or run.best_variant or family.variants[0]
    (window,) = run.spec.shape

    def writing(share: float) -> None:
        panel.tell("writing texts", share)

    num_written = asked.num_samples or min(WRITTEN, chosen.num_samples)
    panel = LanguagePanel(
        model=Model(
            family,
            space,
            window,
            asked.stride or max(1, window // 2),
            texts.heldout,
            Subset(texts.train, texts.documents),
            texts.description,
            texts.decode,
            asked.device,
            _dtype_of(family),
        ),
        samples=GeneratedTexts(
            family,
            space,
            texts.decode,
            num_written,
            seed=asked.seed,
            variant=variant,
            device=asked.device,
            progress=writing,
        ),
        reference=texts.unseen(window - 1),
        train=texts.seen(window - 1),
        search=search_packed(texts.train, texts.documents, space, texts.decode, texts.train_description),
        extractor=_extractor(asked.extractor or chosen.extractor, run.checkpoint(asked.which)),
        tokenizer=(f"tokenizer-{len(tokenizer)}-{tokenizer.digest[:6]}", tokenizer.digest),
        num_documents=asked.num_samples,
        num_samples=num_written,
        level=asked.level or chosen.level,
        seed=asked.seed,
        progress=progress,
    )
    return panel, family.measures, {"variant": variant, "shape": f"window {window}"}


def panel_of_folders(samples: str | Path, asked: Asked, progress: Progress | None) -> LanguagePanel:
    """The panel of a folder of texts against another, or against a dataset."""
    assert asked.reference is not None
    known: dict[str, int] = {}
    made = texts_at(samples, split="train", known=known)
    real = texts_at(asked.reference, split="heldout", known=known)
    source = None if asked.train is None else texts_at(asked.train, split="train", known=known)
    num_samples = asked.num_samples or _MOST_TEXTS
    return LanguagePanel(
        model=None,
        samples=made,
        reference=real,
        train=source,
        search=None if source is None else source.search(),
        extractor=_extractor(asked.extractor or "auto", None),
        tokenizer=("words", "words, characters where unspaced"),
        num_documents=None,
        num_samples=num_samples,
        level=asked.level or DEFAULT_LEVEL,
        seed=asked.seed,
        progress=progress,
    )


@dataclass(frozen=True)
class _Texts:
    """A run's real texts, as tokens.

    Attributes:
        train: the training split; `documents` of it were trained on.
        heldout: the held-out split of the reference.
        description, train_description: what they are.
        identity, train_identity: what decides their content.
        tokenizer: of both.
    """

    train: Packed
    documents: NDArray[np.int64]
    heldout: Packed
    description: str
    train_description: str
    identity: dict[str, Any]
    train_identity: dict[str, Any]
    tokenizer: Tokenizer

    @classmethod
    def of(cls, run: Run, reference: str | Path | None, tokenizer: Tokenizer) -> _Texts:
        """Open them.

        Raises:
            MeasureError: no held-out documents, or a reference that holds no text.
        """
        from motherlode.data.sequences import Sequences
        from motherlode.data.tokens import open_packed

        data, seed = run.recipe.data, run.recipe.seed
        used = Sequences(
            run.dataset, "train", run.spec, seed=seed, batch=1, num_samples=data.num_samples, weights=data.weights
        )
        dataset, description = _heldout(run, reference)
        subset = storage.hash_bytes(np.ascontiguousarray(used.documents).tobytes())
        return cls(
            used.packed,
            used.documents,
            open_packed(dataset, "heldout", tokenizer),
            description,
            f"train of dataset {run.dataset.id[:12]}",
            {"dataset": dataset.id, "split": "heldout", "tokenizer": tokenizer.digest},
            {"dataset": run.dataset.id, "split": "train", "tokenizer": tokenizer.digest, "subset": subset},
            tokenizer,
        )

    def decode(self, tokens: NDArray[np.int64]) -> str:
        """Tokens as text."""
        return self.tokenizer.decode(tokens.tolist())

    def unseen(self, longest: int) -> PackedTexts:
        """Beginnings of held-out documents."""
        documents = np.arange(len(self.heldout))
        return PackedTexts(self.heldout, documents, self.decode, longest, self.description, self.identity)

    def seen(self, longest: int) -> PackedTexts:
        """Beginnings of training documents."""
        description, identity = self.train_description, self.train_identity
        return PackedTexts(self.train, self.documents, self.decode, longest, description, identity)


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
    if panel.samples is None or not {CATALOGUE[name].group for name in taken} & _OF_TEXTS:
        return shown  # writing texts only to show them may take minutes
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
        raise MeasureError(
            "a run needs held-out data to be measured",
            f"{num} held-out documents",
            "give --reference: a dataset, or a folder",
        )
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
