"""A batch of documents to normal form, verdicts, measures and fingerprints.

Everything that all documents need is a compiled pass over one buffer of the batch; Python looks at single documents
only where a pass says so (another encoding, a page, combining marks, a possible secret). Measured on one 2.6 GHz core,
UTF-8 manuals of 8 kB on average: see LAB.md.

Shape legend: N documents (offsets have N + 1), K fingerprints, T bytes of a thumbnail (none).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motherlode.modality import Examination
from motherlode.modality.text import decode, kernels, language, normal, personal, quality, shingles, toxicity
from motherlode.modality.text.options import PERSONAL_KINDS, Clean
from motherlode.modality.text.unfit import Unfit

_CHANGES = {
    kernels.CONTROL_CHARACTERS: "control_characters",
    kernels.ZERO_WIDTH: "zero_width",
    kernels.SPACES: "odd_spaces",
    kernels.LINE_ENDS: "line_ends",
}


class _Batch:
    """Documents on their way to normal form, and what is known of them."""

    def __init__(self, media: Sequence[bytes], options: Clean) -> None:
        self.options = options
        self.notes: Counter[str] = Counter()
        self.received = list(media)
        self.texts = list(media)
        """What to clean: b"" where a document is dropped."""
        self.shown: dict[int, bytes] = {}
        """What a dropped document had become by then."""
        self.reasons: list[str | None] = [None] * len(media)

    def drop(self, places: NDArray[np.int64], reason: str, shown: Sequence[bytes] = ()) -> None:
        """Give documents a reason, unless they have one, and put them out of the way."""
        for k, i in enumerate(places.tolist()):
            if self.reasons[i] is None:
                self.reasons[i] = reason
                self.shown[i] = shown[k] if shown else self.texts[i]
                self.texts[i] = b""

    @property
    def fit_N(self) -> NDArray[np.bool_]:
        """Documents without a reason so far."""
        return np.array([reason is None for reason in self.reasons], np.bool_)


def examine(media: Sequence[bytes], options: Clean) -> Examination:
    """See `Modality.examine`."""
    batch = _Batch(media, options)
    found_NF = _read(batch)
    buffer, offsets_N = _normalise(batch, found_NF)
    buffer, offsets_N, num_personal_N = _mask(batch, buffer, offsets_N)
    languages_N, scores_N = language.identify(buffer, offsets_N)
    languages_N = np.where(scores_N < options.min_language_score, language.UNDETERMINED, languages_N)
    found_NM, tokens, starts_N1 = quality.measures(buffer, offsets_N, languages_N, options.min_stop_words)
    columns: dict[str, NDArray[Any]] = {"language": languages_N.astype(np.str_), "language_score": scores_N}
    columns |= quality.columns(found_NM) | {"personal": num_personal_N}
    if options.languages:
        _judge(batch, ~np.isin(languages_N, options.languages), "other_language")
    for reason, applies_N in quality.rules(found_NM, languages_N, options):
        _judge(batch, applies_N, reason)
    if options.toxicity != "off":
        kept = [
            buffer[offsets_N[i] : offsets_N[i + 1]].tobytes() if fit else b""
            for i, fit in enumerate(batch.fit_N.tolist())
        ]
        columns["toxicity"] = toxicity.scores(kept, languages_N.tolist())
        if options.toxicity != "score":
            _judge(batch, columns["toxicity"] > options.toxicity, "toxic")
    return Examination(
        media=_media(batch, buffer, offsets_N),
        reasons=batch.reasons,
        columns=columns,
        fingerprints_NK=shingles.bands(tokens, starts_N1, batch.fit_N),
        thumbs_NT=np.zeros((len(media), 0), np.uint8),
        notes={name: count for name, count in batch.notes.items() if count},
    )


def _read(batch: _Batch) -> NDArray[np.int64]:
    """Files to UTF-8; returns the survey of what they became."""
    buffer, offsets_N = normal.join(batch.texts)
    found_NF = normal.survey(buffer, offsets_N)
    odd = np.flatnonzero(decode.needs_reading(buffer, offsets_N, found_NF))
    changed = []
    for i in odd.tolist():
        try:
            text = decode.read(batch.received[i], found_NF[i], batch.options, batch.notes)
        except Unfit as unfit:
            batch.drop(np.array([i]), unfit.reason)
            text = b""
        if text is not batch.received[i]:
            batch.texts[i] = text
            changed.append(i)
    if changed:
        found_NF[changed] = normal.survey(*normal.join([batch.texts[i] for i in changed]))
    characters_N = found_NF[:, kernels.CHARACTERS]
    batch.drop(np.flatnonzero(characters_N > batch.options.max_characters), "too_long")
    lost_N = found_NF[:, kernels.LOST] > batch.options.max_lost * characters_N
    batch.drop(np.flatnonzero(lost_N), "undecodable")
    return found_NF


def _normalise(batch: _Batch, found_NF: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The normal form of all documents, one after another; dropped ones have no bytes there."""
    repair = batch.options.mojibake == "repair"
    unsettled_N = found_NF[:, kernels.UNCOMPOSED] > 0
    if repair:
        unsettled_N = unsettled_N | (found_NF[:, kernels.MOJIBAKE] > 0)
    buffer, offsets_N, changes_NC = normal.compact(*normal.join(batch.texts))
    unsettled_N |= _brought_together(buffer, offsets_N, changes_NC, repair)
    unsettled_N &= batch.fit_N
    settled = {}
    for i in np.flatnonzero(unsettled_N).tolist():
        text = normal.settle(batch.texts[i], repair, batch.notes)
        if len(text) != offsets_N[i + 1] - offsets_N[i] or text != buffer[offsets_N[i] : offsets_N[i + 1]].tobytes():
            settled[i] = text
    for change, name in _CHANGES.items():
        batch.notes[name] += int(((changes_NC[:, change] > 0) & batch.fit_N).sum())
    if settled:
        buffer, offsets_N = _replace(buffer, offsets_N, settled)
    batch.drop(np.flatnonzero(np.diff(offsets_N) == 0), "empty")
    return buffer, offsets_N


def _brought_together(
    buffer: NDArray[np.uint8], offsets_N: NDArray[np.int64], changes_NC: NDArray[np.int64], repair: bool
) -> NDArray[np.bool_]:
    """Documents in which, without what was removed, characters stand together that compose or look like mojibake."""
    removed_N: Any = (changes_NC[:, [kernels.CONTROL_CHARACTERS, kernels.ZERO_WIDTH]] > 0).any(axis=1)
    places = np.flatnonzero(removed_N)
    found_NF = normal.survey(*normal.join([buffer[offsets_N[i] : offsets_N[i + 1]].tobytes() for i in places]))
    wanted = [kernels.UNCOMPOSED, *([kernels.MOJIBAKE] if repair else [])]
    removed_N[places] = (found_NF[:, wanted] > 0).any(axis=1)
    return np.asarray(removed_N, np.bool_)


def _mask(
    batch: _Batch, buffer: NDArray[np.uint8], offsets_N: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int32]]:
    """Mask personal data or drop what holds it; returns buffer, offsets and how many pieces were masked in each."""
    actions = {kind: batch.options.personal_action(kind) for kind in PERSONAL_KINDS}
    num_masked_N = np.zeros(len(batch.texts), np.int32)
    masked: dict[int, bytes] = {}
    if any(action != "off" for action in actions.values()):
        for i, found in personal.find(buffer, offsets_N).items():
            wanted = [item for item in found if actions[item.kind] != "off"]
            start, end = int(offsets_N[i]), int(offsets_N[i + 1])
            if any(actions[item.kind] == "drop" for item in wanted):
                batch.drop(np.array([i]), "personal", [buffer[start:end].tobytes()])
                masked[i] = b""
            elif wanted:
                masked[i] = personal.mask(buffer[start:end].tobytes(), start, wanted)
                num_masked_N[i] = len(wanted)
                batch.notes.update(f"personal_{item.kind}" for item in wanted)
    if batch.options.personal_deep:
        for i in np.flatnonzero(batch.fit_N).tolist():
            text = masked[i] if i in masked else buffer[offsets_N[i] : offsets_N[i + 1]].tobytes()
            masked[i], num = personal.mask_deeply(text)
            num_masked_N[i] += num
            batch.notes["personal_deep"] += num
    if masked:
        buffer, offsets_N = _replace(buffer, offsets_N, masked)
    return buffer, offsets_N, num_masked_N


def _replace(
    buffer: NDArray[np.uint8], offsets_N: NDArray[np.int64], texts: dict[int, bytes]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The buffer with some documents replaced."""
    sizes_N = np.diff(offsets_N)
    pieces, place = [], 0
    for i in sorted(texts):
        pieces += [buffer[place : offsets_N[i]], np.frombuffer(texts[i], np.uint8)]
        place = int(offsets_N[i + 1])
        sizes_N[i] = len(texts[i])
    return np.concatenate([*pieces, buffer[place:]]), np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes_N)])


def _judge(batch: _Batch, applies_N: NDArray[np.bool_], reason: str) -> None:
    """Give a reason to documents that have none yet; unlike `drop`, their text stays where it is."""
    for i in np.flatnonzero(applies_N).tolist():
        batch.reasons[i] = batch.reasons[i] or reason


def _media(batch: _Batch, buffer: NDArray[np.uint8], offsets_N: NDArray[np.int64]) -> list[bytes]:
    """Normal forms, dropped ones as far as they came; the objects received where nothing changed."""
    ends = offsets_N.tolist()
    media = []
    for i, received in enumerate(batch.received):
        if i in batch.shown:
            media.append(batch.shown[i])
            continue
        text = buffer[ends[i] : ends[i + 1]].tobytes()
        media.append(received if text == received else text)
    return media
