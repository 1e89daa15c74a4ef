"""Whatever a model says, a document of fields comes out whole; guidance is the formula; company changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given as hypothesis_given
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from motherlode import tokenizer as tokenizers
from motherlode.errors import RecipeError
from motherlode.fields import Layout
from motherlode.generation.composing import FieldRules, Opening, Part
from motherlode.generation.writing import Writer
from motherlode.recipe import GenerateOptions
from motherlode.tokenizer import Tokenizer

from .fielded import TASKS, layout_of

WINDOW = 64


class Noise:
    """A decoder whose logits are a function of all that a slot has read, and remembers it."""

    def __init__(self, num_slots: int, vocabulary: int, seed: int = 0, scale: float = 5.0) -> None:
        self.read: list[list[int]] = [[] for _ in range(num_slots)]
        self.vocabulary, self.seed, self.scale = vocabulary, seed, scale

    def feed(self, slots: Sequence[int], tokens: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        for slot, more in zip(slots, tokens):
            self.read[slot] += more.tolist()
            assert len(self.read[slot]) <= WINDOW
        return np.stack([self.logits(self.read[slot]) for slot in slots])

    def logits(self, tokens: list[int]) -> NDArray[np.float32]:
        rng = np.random.default_rng([self.seed, *tokens])
        return (self.scale * rng.standard_normal(self.vocabulary)).astype(np.float32)

    def clear(self, slot: int) -> None:
        self.read[slot] = []


@pytest.fixture(scope="module")
def fielded(words: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, Tokenizer]:
    folder = tmp_path_factory.mktemp("fielded") / "tokenizer"
    layout = layout_of(words, folder)
    tokenizer = tokenizers.load(folder)
    assert len(tokenizer) == layout.num_tokens
    return layout, tokenizer


def rules_of(fielded: tuple[Layout, Tokenizer], task: str, window: int = WINDOW, max_tokens: int = 200) -> FieldRules:
    layout, tokenizer = fielded
    return FieldRules(
        layout, layout.task(task), tokenizer.space(), tokenizer.token_bytes, window=window, max_tokens=max_tokens
    )


def write(
    rules: FieldRules, openings: Sequence[Opening], num: int, num_slots: int = 3, decoder: Any = None, **options: Any
) -> dict[int, list[Part]]:
    chosen = GenerateOptions(**options)
    for opening in openings:
        rules.check(opening)
    decoder = decoder or Noise(2 * num_slots, rules.allowed_AV.shape[1])
    writer = Writer(decoder, num_slots, rules, chosen, 0)
    found: dict[int, list[Part]] = defaultdict(list)
    for part in writer.write((number, openings[number % len(openings)]) for number in range(num)):
        found[part.number].append(part)
    return dict(found)


def fields_of(parts: Sequence[Part]) -> dict[str, NDArray[np.int64]]:
    found: dict[str, list[NDArray[np.int64]]] = defaultdict(list)
    for part in parts:
        found[part.name].append(part.tokens_T)
    return {name: np.concatenate(tokens) for name, tokens in found.items()}


def check_whole(layout: Layout, tokenizer: Tokenizer, name: str, tokens_T: NDArray[np.int64]) -> None:
    field = layout.field(name)
    if field.kind == "text":
        assert 0 < len(tokens_T) <= field.max_tokens
        tokenizer.decode_bytes(tokens_T.tolist()).decode("utf-8", errors="ignore")
        assert all(tokenizer.token_bytes[token] for token in tokens_T)
    elif field.kind == "label":
        assert len(tokens_T) == 1
        assert 0 <= tokens_T[0] - field.first < len(field.labels)
    else:
        codes = field.codes_of(tokens_T)
        assert field.num_tokens in (None, len(tokens_T))
        assert len(tokens_T) <= field.max_tokens
        assert codes.shape[-1] == len(field.sizes)


@pytest.mark.parametrize("task", [task.name for task in TASKS])
@hypothesis_given(
    seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.0, 1.0, 60.0]), window=st.integers(44, WINDOW)
)
@settings(max_examples=15, deadline=None)
def test_every_field_is_whole_whatever_the_model_says(
    fielded: tuple[Layout, Tokenizer], task: str, seed: int, scale: float, window: int
) -> None:
    layout, tokenizer = fielded
    rules = rules_of(fielded, task, window)
    decoder = Noise(4, len(tokenizer), seed, scale)
    for parts in write(rules, [Opening()], 3, 2, decoder).values():
        fields = fields_of(parts)
        assert tuple(fields) == rules.task.order  # what is given is made too where it is left out
        for name, tokens_T in fields.items():
            check_whole(layout, tokenizer, name, tokens_T)
        assert [part.is_last for part in parts] == [False] * (len(parts) - 1) + [True]
        assert sum(part.is_whole for part in parts) == len(fields)
        # No document is longer than the window, its last mark included.
        assert 1 + sum(2 + len(tokens_T) for tokens_T in fields.values()) <= window


def test_the_model_reads_the_document_that_training_writes(fielded: tuple[Layout, Tokenizer]) -> None:
    layout, tokenizer = fielded
    rules = rules_of(fielded, "say")
    label = np.array([layout.field("label").first + 1])
    decoder = Noise(1, len(tokenizer))
    (parts,) = write(rules, [Opening({"label": label})], 1, 1, decoder).values()
    fields = fields_of(parts)
    assert tuple(fields) == ("caption", "speech")
    expected = layout.document(rules.bos, {"label": label, **fields}, rules.task.order)
    unread = 2 if len(fields["speech"]) == rules.layout.field("speech").max_tokens else 1
    assert decoder.read[0] == expected[:-unread].tolist()


def test_only_what_the_rule_allows_is_ever_drawn_and_all_of_it_is(fielded: tuple[Layout, Tokenizer]) -> None:
    """Exhaustive: with equal logits every code of every quantiser comes up at its places, and none at others."""
    layout, tokenizer = fielded
    rules = rules_of(fielded, "draw")
    seen: dict[int, set[int]] = defaultdict(set)
    decoder = Noise(16, len(tokenizer), scale=0.0)
    for parts in write(rules, [Opening({"label": np.array([layout.field("label").first])})], 200, 8, decoder).values():
        for place, token in enumerate(fields_of(parts)["image"]):
            seen[place % 2].add(int(token))
    image = layout.field("image")
    assert seen == {0: set(range(image.first, image.first + 5)), 1: set(range(image.first + 5, image.first + 9))}


def test_a_beginning_is_continued(fielded: tuple[Layout, Tokenizer]) -> None:
    layout, tokenizer = fielded
    image, speech = layout.field("image"), layout.field("speech")
    top_T = image.tokens_of(np.array([[1, 2], [3, 3], [0, 1], [4, 0]])).astype(np.int64)
    said_T = speech.tokens_of(np.array([[5, 2], [1, 1], [0, 0]])).astype(np.int64)
    words_T = tokenizer.encode(["the lode"])[0].astype(np.int64)
    opening = Opening({"caption": words_T}, {"image": top_T, "speech": said_T})
    for parts in write(rules_of(fielded, "both"), [opening], 4).values():
        fields = fields_of(parts)
        for name, kept_T in opening.kept.items():
            check_whole(layout, tokenizer, name, fields[name])
            assert fields[name][: len(kept_T)].tolist() == kept_T.tolist()
            assert len(fields[name]) > len(kept_T)
    full = Opening({}, {"image": np.tile(top_T, 2)[:12]})
    with pytest.raises(RecipeError, match="left to make"):
        rules_of(fielded, "both").check(full)


def test_a_beginning_that_fills_its_field_still_ends_at_a_whole_place(fielded: tuple[Layout, Tokenizer]) -> None:
    layout, _ = fielded
    speech = layout.field("speech")
    long_T = speech.tokens_of(np.ones((12, 2), np.int64)).astype(np.int64)  # longer than any in training
    for parts in write(rules_of(fielded, "free"), [Opening(kept={"speech": long_T})], 5).values():
        assert len(speech.codes_of(fields_of(parts)["speech"])) == 13


def test_what_is_given_must_leave_room(fielded: tuple[Layout, Tokenizer]) -> None:
    rules = rules_of(fielded, "both")
    with pytest.raises(RecipeError, match="must fit the model's window"):
        rules.check(Opening({"caption": np.full(60, 300)}))
    rules.check(Opening({"caption": np.full(WINDOW - 1 - 2 - 14 - 4, 300)}))
    with pytest.raises(RecipeError, match="shorten"):
        rules.check(Opening({"caption": np.full(WINDOW - 1 - 2 - 14 - 3, 300)}))


def guided(tokens: list[int], free: list[int], noise: Noise, guidance: float) -> NDArray[np.float32]:
    unguided, wanted = noise.logits(free), noise.logits(tokens)
    return unguided + np.float32(guidance) * (wanted - unguided)


@pytest.mark.parametrize("guidance", [0.0, 0.5, 3.0])
def test_guidance_is_its_formula(fielded: tuple[Layout, Tokenizer], guidance: float) -> None:
    """Against a loop that knows no cache, no slots and no batch; greedy, so that the tokens say all."""
    layout, tokenizer = fielded
    rules, noise = rules_of(fielded, "draw"), Noise(6, len(tokenizer), seed=5)
    label = layout.field("label")
    openings = [Opening({"label": np.array([label.first + number])}) for number in range(3)]
    found = write(rules, openings, 5, 3, noise, guidance=guidance, temperature=0.0)
    for number, parts in found.items():
        tokens = layout.document(rules.bos, {"label": openings[number % 3].given["label"]}, ("label",)).tolist()
        free = layout.document(rules.bos, {}, ("label",)).tolist()
        begin, drawn = layout.field("image").begin, list[int]()
        for place in range(12):
            ((first, behind),) = layout.ranges("image", place)
            logits_V = guided([*tokens, begin, *drawn], [*free, begin, *drawn], noise, guidance)
            drawn.append(first + int(logits_V[first:behind].argmax()))
        assert fields_of(parts)["image"].tolist() == drawn


def test_guidance_of_one_is_none(fielded: tuple[Layout, Tokenizer]) -> None:
    layout, tokenizer = fielded
    opening = Opening({"label": np.array([layout.field("label").first])})
    plain = Noise(3, len(tokenizer))  # has no slots for second rows
    off = write(rules_of(fielded, "draw"), [opening], 6, 3, plain, guidance=1.0)
    never = write(rules_of(fielded, "draw"), [opening], 6, 3)
    assert {number: fields_of(parts)["image"].tolist() for number, parts in off.items()} == {
        number: fields_of(parts)["image"].tolist() for number, parts in never.items()
    }


def test_guidance_begins_where_the_made_fields_do(fielded: tuple[Layout, Tokenizer]) -> None:
    """A given field that is left out is made without guidance; its row then reads all but that field."""
    layout, tokenizer = fielded
    rules, decoder = rules_of(fielded, "both"), Noise(2, len(tokenizer))
    (parts,) = write(rules, [Opening()], 1, 1, decoder, guidance=2.0).values()
    fields = fields_of(parts)
    free = layout.document(rules.bos, {name: fields[name] for name in ("image", "speech")}, rules.task.order).tolist()
    assert decoder.read[1] == free[: len(decoder.read[1])]
    assert len(decoder.read[0]) - len(decoder.read[1]) == len(fields["caption"])


@pytest.mark.parametrize("guidance", [1.0, 2.5])
def test_a_document_is_the_same_in_any_company(fielded: tuple[Layout, Tokenizer], guidance: float) -> None:
    _, tokenizer = fielded
    words_T = tokenizer.encode(["春眠"])[0].astype(np.int64)
    openings = [Opening(), Opening({"caption": words_T}), Opening({"caption": words_T[:1]})]
    made = [
        {
            number: {name: tokens_T.tolist() for name, tokens_T in fields_of(parts).items()}
            for number, parts in write(
                rules_of(fielded, "both"), openings, num, slots, guidance=guidance, top_k=20, top_p=0.9
            ).items()
        }
        for num, slots in ((9, 1), (9, 4), (7, 9))
    ]
    assert made[0] == made[1]
    assert made[2] == {number: made[0][number] for number in range(7)}
    assert len({str(fields) for fields in made[0].values()}) == 9


def test_words_are_whole_characters(fielded: tuple[Layout, Tokenizer]) -> None:
    _, tokenizer = fielded
    rules = rules_of(fielded, "free")
    for parts in write(rules, [Opening()], 30, 4).values():
        tokens = fields_of(parts)["caption"].tolist()
        content = tokenizer.decode_bytes(tokens)
        if len(tokens) < 12:  # those of the greatest length may be cut inside a character
            assert content.decode("utf-8")


def test_texts_are_as_long_as_asked_for(fielded: tuple[Layout, Tokenizer]) -> None:
    for parts in write(rules_of(fielded, "free", max_tokens=3), [Opening()], 12).values():
        assert len(fields_of(parts)["caption"]) <= 3
