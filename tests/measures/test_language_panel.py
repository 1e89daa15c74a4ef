"""The panel of language measures on models and texts whose answer is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from motherlode.errors import MeasureError
from motherlode.measures.catalogue import CATALOGUE
from motherlode.measures.language_features import Trigrams
from motherlode.measures.language_inputs import Model, Search
from motherlode.measures.language_panel import TAKERS, LanguagePanel
from motherlode.measures.language_units import numbered, units
from motherlode.measures.report import Report
from motherlode.randomness import numpy_generator
from motherlode.tokenizer import TokenSpace

from .language_doubles import BOS, MASK, Mute, Recurrent, Texts, Uniform, draw

VOCABULARY = 40
SPACE = TokenSpace(VOCABULARY, BOS, BOS, MASK, "nowhere")
WORDS = [a + b + c for a in "bdfgk" for b in "aeiou" for c in "lmnrs"]


class Pool:
    """Texts of random words; `words` decides of which."""

    def __init__(self, texts: list[str], known: dict[str, int]) -> None:
        self.texts, self.known = texts, known
        self.description, self.identity = f"{len(texts)} texts", None

    @classmethod
    def draw(cls, num: int, seed: int, known: dict[str, int], words: list[str] = WORDS, length: int = 50) -> Pool:
        rng = numpy_generator(seed, "test pool")
        chance = 1 / np.arange(1, len(words) + 1)
        return cls([" ".join(rng.choice(words, length, p=chance / chance.sum())) for _ in range(num)], known)

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: np.ndarray) -> list[str]:
        return [self.texts[row] for row in rows]

    def tokens(self, rows: np.ndarray) -> list[np.ndarray]:
        return numbered([units(text) for text in self.take(rows)], self.known)

    def search(self) -> Search:
        stream = np.concatenate([np.append([-1], text) for text in self.tokens(np.arange(len(self)))])
        return Search(lambda: [stream], len(stream), -1, lambda *_: ("", "", ""), "the training texts")


def text_of(tokens: np.ndarray) -> str:
    return " ".join(WORDS[token] for token in tokens)


def model(scorer: object, heldout: Texts, train: Texts | None = None) -> Model:
    return Model(scorer, SPACE, 32, 16, heldout, train, "heldout of dataset 1f2e", text_of)


def panel(**changes: Any) -> LanguagePanel:
    known: dict[str, int] = {}
    train = Pool.draw(120, 3, known)
    given: dict[str, Any] = {
        "model": model(Uniform(VOCABULARY), draw(30, VOCABULARY), draw(40, VOCABULARY, seed=1)),
        "samples": Pool.draw(60, 1, known),
        "reference": Pool.draw(80, 2, known),
        "train": train,
        "search": train.search(),
        "extractor": Trigrams,
        "tokenizer": ("tokenizer-40-abc", "abc"),
        "num_documents": None,
        "num_samples": 60,
    }
    return LanguagePanel(**{**given, **changes})


def test_everything_is_taken_and_says_what_with() -> None:
    whole = panel()
    found = whole.take()
    assert list(found) == [name for name, entry in CATALOGUE.items() if entry.group in TAKERS]
    bits = found["bits_per_byte"]
    documents = draw(30, VOCABULARY)
    tokens = sum(len(document) - 1 for document in documents.documents)
    assert bits.value == pytest.approx(math.log2(VOCABULARY) * tokens / documents.num_bytes_N.sum(), rel=1e-6)
    assert (bits.num_samples, bits.num_reference) == (30, 0)
    assert (bits.dtype, bits.resize) == ("float32", "window 32, stride 16")
    assert bits.reference == "heldout of dataset 1f2e"
    assert bits.label == "bits_per_byte"
    assert found["bits_per_byte_bound"].value == pytest.approx(bits.value, rel=1e-6)
    assert found["bits_per_byte_gap"].value == pytest.approx(0, abs=1e-6)
    assert found["perplexity"].label == "perplexity[tokenizer-40-abc]"
    assert found["masked_accuracy"].resize == "window 32, 30% masked"
    assert found["mauve"].label == "mauve[character-trigrams]"
    assert (found["mauve"].num_samples, found["mauve"].num_reference) == (60, 60)
    assert found["distinct_2"].resize == "words, characters where unspaced, the first 3,000"
    assert set(whole.pulls) == {"bits_per_byte", "bits_per_byte_bound"}
    assert len(whole.pulls["bits_per_byte"]) == 30
    # Samples from the real texts' own distribution: nothing stands out.
    assert found["mauve"].low < found["mauve_floor"].value
    for name in ("distinct_1", "distinct_2", "self_bleu"):
        assert found[name].low < found[f"{name}_real"].high
        assert found[f"{name}_real"].low < found[name].high
    assert found["verbatim"].value == 0
    assert found["longest_match"].value == pytest.approx(found["longest_match_real"].value, rel=0.2)


def test_a_report_of_it_compares_with_itself() -> None:
    first, again = panel(), panel()
    reports = [Report(one.take(), pulls=one.pulls) for one in (first, again)]
    verdicts = {difference.name: difference.verdict for difference in reports[1].compare(reports[0])}
    assert set(verdicts) == set(reports[0])
    assert set(verdicts.values()) == {"no clear change"}
    assert reports[1].unlike(reports[0]) == {}


def test_two_models_are_compared_on_their_documents() -> None:
    heldout = draw(30, VOCABULARY)
    reports = []
    for scorer in (Uniform(VOCABULARY), Recurrent(VOCABULARY)):
        one = panel(model=model(scorer, heldout))
        reports.append(Report(one.take(("likelihood",)), pulls=one.pulls))
    # An untrained network with large weights is sure, and wrong.
    found = {difference.name: difference for difference in reports[1].compare(reports[0])}
    assert found["bits_per_byte"].verdict == "worse"
    assert found["bits_per_byte"].change.method == "paired, document by document"
    # Another tokenizer: bytes compare, perplexities do not.
    other = panel(model=model(Uniform(VOCABULARY), heldout), tokenizer=("tokenizer-9-x", "x"))
    third = Report(other.take(("likelihood",)), pulls=other.pulls)
    assert {difference.name for difference in third.compare(reports[0])} == {"bits_per_byte", "bits_per_byte_xz"}
    assert list(third.unlike(reports[0])) == ["perplexity"]


def test_a_copying_model_is_found_out() -> None:
    known: dict[str, int] = {}
    train = Pool.draw(120, 3, known)
    copies = Pool(train.texts[:60], known)
    found = panel(samples=copies, train=train, search=train.search(), reference=Pool.draw(80, 2, known)).take()
    assert found["verbatim"].value == 1
    assert found["verbatim"].low > 0.9
    assert found["longest_match"].value == 50
    assert found["verbatim_real"].high < 0.1


def test_a_poor_and_looping_model_is_found_out() -> None:
    known: dict[str, int] = {}
    poor = Pool.draw(60, 1, known, words=WORDS[:9])
    found = panel(samples=poor, reference=Pool.draw(80, 2, known)).take(("variety", "mauve"))
    assert found["distinct_1"].high < found["distinct_1_real"].low
    assert found["distinct_2"].high < found["distinct_2_real"].low
    assert found["self_bleu"].low > found["self_bleu_real"].high
    assert found["mauve"].high < found["mauve_floor"].value
    loops = Pool([" ".join(text.split()[:5] * 10) for text in poor.texts], known)
    found = panel(samples=loops, reference=Pool.draw(80, 2, known)).take(("repetition",))
    assert list(found) == ["repetition", "repetition_real"]
    assert found["repetition"].low > 0.8 > found["repetition_real"].high


def test_real_texts_are_cut_to_the_samples_length() -> None:
    known: dict[str, int] = {}
    short = Pool.draw(60, 1, known, length=20)
    one = panel(samples=short, reference=Pool.draw(80, 2, known, length=200))
    made, real = one.unit_sets
    assert {len(text) for text in (*made, *real)} == {20}
    assert one.take(("longest_match",))["longest_match_real"].value < 10
    assert {match.tokens for match in one.matches[1]} == {20}


def test_what_cannot_be_taken_is_left_out() -> None:
    texts = panel(model=None, search=None, train=None)
    assert {CATALOGUE[name].group for name in texts.take()} == {"mauve", "variety"}
    assert texts.notes == []
    mute = panel(model=model(Mute(), draw(5, VOCABULARY)), samples=None)
    with pytest.raises(MeasureError, match="something must be there"):
        mute.take()
    asked = panel(model=None)
    assert set(asked.take(("perplexity", "distinct_1"))) == {"distinct_1", "distinct_1_real"}
    assert "need a model" in asked.notes[0]
    few = panel(num_samples=4)
    assert "mauve" not in few.take(("mauve", "distinct_1"))
    with pytest.raises(MeasureError, match="did you mean 'perplexity'"):
        panel().take(("perplexitty",))
    with pytest.raises(MeasureError, match="not one of such data"):
        panel().take(("frechet",))


def test_documents_in_use_do_not_depend_on_the_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    from motherlode.measures import language_panel

    monkeypatch.setattr(language_panel, "MOST_BYTES", 900)
    documents = draw(60, VOCABULARY)
    longer = Texts([np.repeat(document[1:], 2) for document in documents.documents])
    longer.num_bytes_N = documents.num_bytes_N
    first = panel(model=model(Uniform(VOCABULARY), documents))
    second = panel(model=model(Uniform(VOCABULARY), longer))
    first.take(("bits_per_byte",))
    second.take(("bits_per_byte",))
    assert first.heldout_rows.tolist() == second.heldout_rows.tolist()
    assert 5 < len(first.heldout_rows) < 20
    assert "of 60 held-out documents" in first.notes[0]
    everything = panel(model=model(Uniform(VOCABULARY), documents), num_documents=60)
    everything.take(("bits_per_byte",))
    assert len(everything.heldout_rows) == 60


def test_progress_goes_forward() -> None:
    told: list[tuple[str, float]] = []
    panel(progress=lambda what, share: told.append((what, share))).take()
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {"scoring documents", "looking for copies"} <= {what for what, _ in told}
