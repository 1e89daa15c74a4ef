"""Takes the measures of a language model: how well it predicts unseen documents, and what the texts it writes are like.

The counterpart of `panel` for text: the same `Measure`, with the tokenizer or the feature model as its extractor and
the window in place of a resize. What a model cannot do (a BERT has no next-token probabilities, a folder of texts no
model at all) is left out, with a note where it was asked for by name.

Real texts are cut to the lengths of the generated ones they are compared with, one by one, since diversity,
repetition and matches all grow with length.

Shape legend: N texts or documents, T tokens.
"""

from __future__ import annotations

import lzma
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import MeasureError
from motherlode.measures.cache import cached_features
from motherlode.measures.catalogue import CATALOGUE, expand
from motherlode.measures.features import Features
from motherlode.measures.interval import (
    DEFAULT_LEVEL,
    Interval,
    clustered_share,
    ratio_interval,
    ratio_pulls,
)
from motherlode.measures.language_features import TextExtractor
from motherlode.measures.language_inputs import Model, Search, TextPool
from motherlode.measures.language_likelihood import bits_per_byte, document_nats, num_targets, perplexity
from motherlode.measures.language_masked import MASK_RATE, bound_nats, masked_hits
from motherlode.measures.language_mauve import mauve
from motherlode.measures.language_units import numbered, units
from motherlode.measures.language_variety import distinct, repetition, self_bleu
from motherlode.measures.language_verbatim import LEAST_TOKENS, Match, longest_matches, mean_longest, verbatim_share
from motherlode.measures.language_windows import Documents
from motherlode.measures.panel import Progress
from motherlode.measures.report import Measure
from motherlode.randomness import numpy_generator

MOST_BYTES = 1 << 20
"""Held-out text that is scored by default, some 250,000 tokens: a known share of it costs minutes, not hours."""
_LEAST_TEXTS = 8
_TWO_SETS = "two independent sets of documents"
_UNITS = "words, characters where unspaced"


@dataclass
class LanguagePanel:
    """The measures of a model, of texts, or of both.

    Args:
        model: None leaves out what needs one.
        samples: generated texts; None leaves out what needs them.
        reference: real texts that were not trained on.
        train: real texts that were; None leaves out what needs them.
        search: the training text as tokens; None leaves out what needs it.
        extractor: of features for MAUVE.
        tokenizer: name and digest of what `TextPool.tokens` and the model count in.
        num_documents: scored at most; None for as many as hold about `MOST_BYTES`.
        num_samples: texts of each kind at most.
        level: of intervals.
        seed: of subsets, masks and clusterings.
        progress: see `panel.Progress`.
        notes: what was left out, and why; filled by `take`.
        pulls: see `Report.pulls`; filled by `take`.
        asked: measures were asked for by name, so what is left out is told; set by `take`.
    """

    model: Model | None
    samples: TextPool | None
    reference: TextPool
    train: TextPool | None
    search: Search | None
    extractor: Callable[[], TextExtractor]
    tokenizer: tuple[str, str]
    num_documents: int | None
    num_samples: int
    level: float = DEFAULT_LEVEL
    seed: int = 0
    progress: Progress | None = None
    notes: list[str] = field(default_factory=list)
    pulls: dict[str, list[float]] = field(default_factory=dict)
    asked: bool = False

    def take(self, names: tuple[str, ...] = ()) -> dict[str, Measure]:
        """The measures of these names (or groups; all that can be taken for ()), in the catalogue's order.

        What a measure is seen beside (`Definition.floor`) comes with it.

        Raises:
            MeasureError: an unknown name, or none of the measures can be taken; the message says why.
        """
        self.asked = bool(names)
        wanted = expand(names, TAKERS)
        groups = list(dict.fromkeys(CATALOGUE[name].group for name in wanted))
        floors = {CATALOGUE[name].floor for name in wanted}
        wanted = [name for name in CATALOGUE if name in wanted or name in floors]
        if "mauve" in groups and self.samples is not None:
            _ = self.eye  # a name that is not known is told before anything is measured
        found: dict[str, Measure] = {}
        for index, group in enumerate(groups):
            self._span = index / len(groups), 1 / len(groups)
            self.tell(_DOING[group], 0.0)
            found |= TAKERS[group](self)
        if self.progress:
            self.progress("measured", 1.0)
        taken = {name: found[name] for name in wanted if name in found}
        if not taken:
            raise MeasureError("something must be there to be measured", names or "all measures", " ".join(self.notes))
        self.pulls = {name: pulls for name, pulls in self.pulls.items() if name in taken}
        return taken

    # ------------------------------------------------------------------------------------------------ what is scored

    def rows_of(self, documents: Documents, stream: str) -> NDArray[np.int64]:
        """Documents to be scored: all, or a random subset, which is the same for every model."""
        mean_bytes = max(float(documents.num_bytes_N.mean()), 1.0)
        num = self.num_documents or max(2, round(MOST_BYTES / mean_bytes))
        return np.sort(numpy_generator(0, stream).permutation(len(documents))[:num])

    @cached_property
    def heldout_rows(self) -> NDArray[np.int64]:
        """Held-out documents in use."""
        assert self.model is not None
        rows = self.rows_of(self.model.heldout, "held-out documents")
        if len(rows) < len(self.model.heldout):
            self.notes.append(
                f"Likelihood was taken on {len(rows):,} of {len(self.model.heldout):,} held-out documents."
            )
        return rows

    @cached_property
    def heldout_nats(self) -> NDArray[np.float64] | None:
        """−ln p of each held-out document in use."""
        return None if self.model is None else self.nats(self.model.heldout, self.heldout_rows)

    @cached_property
    def heldout_bound(self) -> NDArray[np.float64] | None:
        """A bound on it, from a model that fills in masks."""
        return None if self.model is None else self.bound(self.model.heldout, self.heldout_rows)

    def nats(self, documents: Documents, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """−ln p of documents; None where there is no model that predicts the next token."""
        model = self.model
        if model is None:
            return None
        return document_nats(
            model.scorer,
            documents,
            rows,
            bos=model.space.bos,
            window=model.window,
            stride=model.stride,
            device=model.device,
            progress=lambda share: self.tell("scoring documents", share),
        )

    def bound(self, documents: Documents, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """A bound on it; None where there is no model that fills in masks."""
        model = self.model
        if model is None or model.space.mask < 0:
            return None
        return bound_nats(
            model.scorer,
            documents,
            rows,
            bos=model.space.bos,
            mask=model.space.mask,
            window=model.window,
            stride=model.stride,
            seed=self.seed,
            device=model.device,
            progress=lambda share: self.tell("bounding likelihood", share),
        )

    # ---------------------------------------------------------------------------------------------- what is compared

    @cached_property
    def eye(self) -> TextExtractor:
        """What MAUVE sees texts by."""
        return self.extractor()

    @cached_property
    def sample_rows(self) -> NDArray[np.int64]:
        """Rows of `samples` in use."""
        return np.arange(0 if self.samples is None else min(self.num_samples, len(self.samples)))

    @cached_property
    def reference_rows(self) -> NDArray[np.int64]:
        """Rows of `reference` in use: a random subset where it holds more."""
        return numpy_generator(0, "reference rows").permutation(len(self.reference))[: len(self.sample_rows)]

    @cached_property
    def sample_texts(self) -> list[str]:
        """The generated texts."""
        return [] if self.samples is None else self.samples.take(self.sample_rows)

    @cached_property
    def unit_sets(self) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
        """Numbered units of generated texts and of as many real ones, each cut to the length of its counterpart."""
        known: dict[str, int] = {}
        made = numbered([units(text) for text in self.sample_texts], known)
        real = numbered([units(text) for text in self.reference.take(self.reference_rows)], known)
        return made[: len(real)], _cut(real, made)

    @cached_property
    def matches(self) -> tuple[list[Match], list[Match]]:
        """Longest matches with the training text, of generated texts and of real ones cut to their lengths."""
        assert self.samples is not None
        assert self.search is not None
        made = self.samples.tokens(self.sample_rows)
        real = _cut(self.reference.tokens(self.reference_rows), made)
        found = longest_matches([*made, *real], self._streamed(), boundary=self.search.boundary)
        return found[: len(made)], found[len(made) :]

    def _streamed(self) -> Iterable[NDArray[Any]]:
        assert self.search is not None
        done = 0
        for piece in self.search.pieces():
            yield piece
            done += len(piece)
            self.tell("looking for copies", done / max(self.search.num_tokens, 1))

    # ------------------------------------------------------------------------------------------------ how it is told

    def measure(self, name: str, interval: Interval, num: int, num_reference: int = 0, **taken_with: Any) -> Measure:
        """A measure; what is not given is the tokenizer's, in float32, against `reference`."""
        label, digest = self.tokenizer
        taken: dict[str, Any] = {"extractor": label, "weights": digest, "dtype": "", "resize": ""}
        taken |= {"reference": self.reference.description, **taken_with}
        return Measure.of(name, interval, num_samples=num, num_reference=num_reference, **taken)

    def scored(self, name: str, interval: Interval, resize: str = "") -> Measure:
        """A measure of likelihood."""
        assert self.model is not None
        resize = resize or f"window {self.model.window}, stride {self.model.stride}"
        taken: dict[str, Any] = {"dtype": self.model.dtype, "resize": resize, "reference": self.model.description}
        return self.measure(name, interval, len(self.heldout_rows), **taken)

    def features(self, pool: TextPool, rows: NDArray[np.int64], extractor: TextExtractor) -> Features:
        """Features of texts, kept where the texts are known by their identity."""
        if pool.identity is None:
            return extractor(pool.take(rows))
        depends_on = {**pool.identity, "rows": rows.tolist()}
        return cached_features(extractor, depends_on, lambda: [pool.take(rows)])

    def lacks(self, what: str) -> None:
        """Note that something was left out for want of a model or of texts, where it was asked for."""
        if self.asked:
            self.notes.append(what)

    def tell(self, what: str, share: float) -> None:
        """Say what is being done, and which share of the group of measures in hand is done."""
        if self.progress:
            start, size = self._span
            self.progress(what, start + size * min(share, 1.0))

    _span: tuple[float, float] = (0.0, 1.0)


def _cut(real: Sequence[NDArray[np.int64]], made: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """Real texts no longer than the generated ones at the same place."""
    return [text[: len(other)] for text, other in zip(real, made)]


def _likelihood(panel: LanguagePanel) -> dict[str, Measure]:
    model, nats_N = panel.model, panel.heldout_nats
    if model is None or nats_N is None:
        panel.lacks("Bits per byte and perplexity were left out: they need a model that predicts the next token.")
        return {}
    num_bytes_N = model.heldout.num_bytes_N[panel.heldout_rows]
    num_tokens_N = num_targets(model.heldout, panel.heldout_rows.tolist())
    panel.pulls["bits_per_byte"] = ratio_pulls(nats_N / math.log(2), num_bytes_N)[1].tolist()
    return {
        "bits_per_byte": panel.scored("bits_per_byte", bits_per_byte(nats_N, num_bytes_N, level=panel.level)),
        "bits_per_byte_xz": panel.scored("bits_per_byte_xz", _xz(panel), "one file"),
        "perplexity": panel.scored("perplexity", perplexity(nats_N, num_tokens_N, level=panel.level)),
    }


def _xz(panel: LanguagePanel) -> Interval:
    """Bits a byte that xz needs for the held-out documents in use."""
    assert panel.model is not None
    compressor = lzma.LZMACompressor()
    compressed = num_bytes = 0
    for row in panel.heldout_rows.tolist():
        text = panel.model.text_of(panel.model.heldout.document(row)[1:]).encode() + b"\n"
        compressed += len(compressor.compress(text))
        num_bytes += len(text)
    compressed += len(compressor.flush())
    return Interval(8 * compressed / num_bytes, math.nan, math.nan, panel.level, "none: one file")


def _bound(panel: LanguagePanel) -> dict[str, Measure]:
    model, nats_N = panel.model, panel.heldout_bound
    if model is None or nats_N is None:
        panel.lacks("The bound on bits per byte was left out: it needs a model that fills in masked tokens.")
        return {}
    num_bytes_N = model.heldout.num_bytes_N[panel.heldout_rows]
    panel.pulls["bits_per_byte_bound"] = ratio_pulls(nats_N / math.log(2), num_bytes_N)[1].tolist()
    found = bits_per_byte(nats_N, num_bytes_N, level=panel.level)
    return {
        "bits_per_byte_bound": panel.scored("bits_per_byte_bound", found),
        "bits_per_byte_xz": panel.scored("bits_per_byte_xz", _xz(panel), "one file"),
    }


def _masked(panel: LanguagePanel) -> dict[str, Measure]:
    model = panel.model
    counts = None
    if model is not None and model.space.mask >= 0:
        counts = masked_hits(
            model.scorer,
            model.heldout,
            panel.heldout_rows,
            bos=model.space.bos,
            mask=model.space.mask,
            window=model.window,
            seed=panel.seed,
            device=model.device,
            progress=lambda share: panel.tell("guessing masked tokens", share),
        )
    if model is None or counts is None:
        panel.lacks("Masked accuracy was left out: it needs a model that fills in masked tokens.")
        return {}
    hits_N, masked_N = (counted[counts[1] > 0] for counted in counts)
    share = clustered_share(hits_N, masked_N, panel.level)
    resize = f"window {model.window}, {MASK_RATE:.0%} masked"
    return {"masked_accuracy": panel.scored("masked_accuracy", share, resize)}


def _gap(panel: LanguagePanel) -> dict[str, Measure]:
    model = panel.model
    if model is None or model.train is None or (panel.heldout_nats is None and panel.heldout_bound is None):
        return {}
    rows = panel.rows_of(model.train, "training documents")
    exact = panel.heldout_nats is not None
    unseen_N = panel.heldout_nats if panel.heldout_nats is not None else panel.heldout_bound
    seen_N = (panel.nats if exact else panel.bound)(model.train, rows)
    assert unseen_N is not None
    assert seen_N is not None
    pairs = ((unseen_N, model.heldout.num_bytes_N[panel.heldout_rows]), (seen_N, model.train.num_bytes_N[rows]))
    unseen, seen = (ratio_interval(nats_N / math.log(2), num_bytes_N, panel.level) for nats_N, num_bytes_N in pairs)
    gap = unseen.value - seen.value
    half = math.hypot(unseen.high - unseen.value, seen.high - seen.value)
    method = f"{unseen.method}; {_TWO_SETS}" + ("" if exact else "; of the bound")
    found = Interval(gap, gap - half, gap + half, panel.level, method)
    return {"bits_per_byte_gap": panel.scored("bits_per_byte_gap", found)}


def _mauve(panel: LanguagePanel) -> dict[str, Measure]:
    num, num_real = len(panel.sample_rows), len(panel.reference_rows)
    if panel.samples is None or min(num, num_real) < _LEAST_TEXTS:
        panel.lacks(f"MAUVE was left out: it needs {_LEAST_TEXTS} generated and as many real texts.")
        return {}
    extractor = panel.eye
    taken = {
        "extractor": extractor.name,
        "weights": extractor.fingerprint,
        "dtype": extractor.dtype,
        "resize": extractor.resize,
        "published": extractor.published,
    }
    panel.tell(f"reading texts by {extractor.name}", 0.0)
    made_ND = extractor(panel.sample_texts).features_ND
    real_ND = panel.features(panel.reference, panel.reference_rows, extractor).features_ND
    found = {"mauve": mauve(made_ND, real_ND, level=panel.level, seed=panel.seed)}
    if panel.train is not None and len(panel.train) >= num:
        rows = numpy_generator(0, "train rows").permutation(len(panel.train))[:num]
        train_ND = panel.features(panel.train, rows, extractor).features_ND
        found["mauve_floor"] = mauve(train_ND, real_ND, level=panel.level, seed=panel.seed)
    return {name: panel.measure(name, value, num, num_real, **taken) for name, value in found.items()}


def _variety(panel: LanguagePanel) -> dict[str, Measure]:
    made, real = panel.unit_sets
    if len(made) < 2:
        panel.lacks("Variety was left out: it needs two generated and two real texts.")
        return {}
    found: dict[str, Measure] = {}
    asked: dict[str, Callable[[Sequence[NDArray[np.int64]]], Interval]] = {
        "distinct_1": lambda texts: distinct(texts, 1, level=panel.level),
        "distinct_2": lambda texts: distinct(texts, 2, level=panel.level),
        "self_bleu": lambda texts: self_bleu(texts, level=panel.level, seed=panel.seed),
        "repetition": lambda texts: repetition(texts, level=panel.level),
    }
    # More words hold a smaller share of unlike ones: both sets give equally many, a round number that others can match.
    most = _round(min(sum(map(len, texts)) for texts in (made, real)))
    for name, take in asked.items():
        first = name.startswith("distinct")
        resize = f"{_UNITS}, the first {most:,}" if first else _UNITS
        for suffix, texts, reference in (("", made, ""), ("_real", real, panel.reference.description)):
            try:
                value = take(_first(texts, most) if first else texts)
            except MeasureError as error:
                panel.notes.append(f"{CATALOGUE[name + suffix].title} was left out: {error.invariant}.")
                continue
            taken: dict[str, Any] = {"extractor": "", "weights": "", "resize": resize, "reference": reference}
            found[name + suffix] = panel.measure(name + suffix, value, len(texts), **taken)
    return found


def _round(num: int) -> int:
    """Cut to two digits."""
    unit = int(10 ** max(0, math.floor(math.log10(max(num, 1))) - 1))
    return num // unit * unit


def _first(texts: Sequence[NDArray[np.int64]], most: int) -> list[NDArray[np.int64]]:
    """Texts until they hold `most` units in all, the last one cut."""
    kept, room = [], most
    for text in texts:
        if room <= 0:
            break
        kept.append(text[:room])
        room -= len(kept[-1])
    return kept


def _verbatim(panel: LanguagePanel) -> dict[str, Measure]:
    if panel.samples is None or panel.search is None or not len(panel.sample_rows):
        panel.lacks("Copies were not looked for: that needs generated texts and the training text.")
        return {}
    found: dict[str, Measure] = {}
    taken: dict[str, Any] = {"reference": panel.search.description}
    for suffix, matches in zip(("", "_real"), panel.matches):
        if any(match.tokens for match in matches):
            share, longest = verbatim_share(matches, level=panel.level), mean_longest(matches, level=panel.level)
            resize = f"stretches of {LEAST_TOKENS} or more"
            found[f"verbatim{suffix}"] = panel.measure(f"verbatim{suffix}", share, len(matches), resize=resize, **taken)
            found[f"longest_match{suffix}"] = panel.measure(f"longest_match{suffix}", longest, len(matches), **taken)
    return found


TAKERS: dict[str, Callable[[LanguagePanel], dict[str, Measure]]] = {
    "likelihood": _likelihood,
    "overfitting_bits": _gap,
    "bound": _bound,
    "masked": _masked,
    "mauve": _mauve,
    "variety": _variety,
    "verbatim": _verbatim,
}
_DOING = {
    "likelihood": "scoring held-out documents",
    "overfitting_bits": "scoring training documents",
    "bound": "bounding the likelihood of held-out documents",
    "masked": "guessing masked tokens",
    "mauve": "comparing distributions",
    "variety": "counting phrases",
    "verbatim": "looking for copies",
}
