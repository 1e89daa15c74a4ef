"""Many texts at once are the texts one by one; greedy ones are those of transformers' `generate`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from motherlode.errors import TrainingError
from motherlode.generation.decoding import prepared
from motherlode.generation.prompts import Prompt, Vocabulary, prompts_of
from motherlode.generation.writing import Piece, TextRules, Writer
from motherlode.recipe import GenerateOptions
from motherlode.tokenizer import TokenSpace

from .runs import WINDOW, stirred

PROMPTS = ["Once upon a time", "春", "The lode runs on and on; the miner digs", "🙂", "a"]


@pytest.fixture(scope="module")
def network(space: TokenSpace) -> Any:
    from transformers import NanoChatConfig, NanoChatForCausalLM

    config = NanoChatConfig(
        vocab_size=448, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=WINDOW, bos_token_id=space.bos, eos_token_id=space.bos, pad_token_id=None,
    )  # fmt: skip
    made = NanoChatForCausalLM(config)
    stirred(made)
    return made.eval()


@pytest.fixture(scope="module")
def vocabulary(space: TokenSpace) -> Vocabulary:
    return Vocabulary.of(space, 448)


def writer(
    network: Any, vocabulary: Vocabulary, num_slots: int = 4, seed: int = 0, **options: Any
) -> Writer[Prompt, Piece]:
    chosen = GenerateOptions(**{"max_tokens": 12, **options})
    return writing_with(prepared(network)(num_slots), vocabulary, chosen, num_slots, seed)


def writing_with(
    decoder: Any, vocabulary: Vocabulary, options: GenerateOptions, num_slots: int = 1, seed: int = 0
) -> Writer[Prompt, Piece]:
    return Writer(decoder, num_slots, TextRules(vocabulary, options, WINDOW), options, seed)


def prompts(vocabulary: Vocabulary, texts: Sequence[str] = PROMPTS) -> list[Prompt]:
    return prompts_of(texts, GenerateOptions(), vocabulary, window=WINDOW, fills=False)


def joined(pieces: Sequence[Piece]) -> dict[int, tuple[str, int, str | None]]:
    texts: dict[int, list[Piece]] = defaultdict(list)
    for piece in pieces:
        texts[piece.number].append(piece)
    assert all(piece.ended is None for text in texts.values() for piece in text[:-1])
    return {
        number: ("".join(piece.text for piece in text), text[-1].num_tokens, text[-1].ended)
        for number, text in texts.items()
    }


OPTIONS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.0},
    {"top_k": 9, "top_p": 0.8, "min_p": 0.01, "repetition_penalty": 1.4, "stop": ("on", "\n")},
]


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "greedy", "all"])
def test_a_text_is_the_same_in_any_company(network: Any, vocabulary: Vocabulary, options: dict[str, Any]) -> None:
    given = prompts(vocabulary)
    alone = {}
    for number in range(15):
        pieces = list(writer(network, vocabulary, 1, **options).write([(number, given[number % 5])]))
        alone |= joined(pieces)
    for num_slots in (2, 7, 15):
        requests = [(number, given[number % 5]) for number in range(15)]
        together = joined(list(writer(network, vocabulary, num_slots, **options).write(requests)))
        assert together == alone
    reverse = [(number, given[number % 5]) for number in range(14, -1, -1)]
    assert joined(list(writer(network, vocabulary, 4, **options).write(reverse))) == alone


def test_seeds_and_numbers_give_different_texts(network: Any, vocabulary: Vocabulary) -> None:
    (prompt,) = prompts(vocabulary, ["Once"])
    found = [
        joined(list(writer(network, vocabulary, seed=seed).write([(number, prompt) for number in range(6)])))
        for seed in (0, 1)
    ]
    texts = [text for texts in found for text, _, _ in texts.values()]
    assert len(set(texts)) == 12


def test_more_tokens_only_make_a_text_longer(network: Any, vocabulary: Vocabulary) -> None:
    (prompt,) = prompts(vocabulary, ["Once"])
    short, long = (
        joined(list(writer(network, vocabulary, max_tokens=num).write([(3, prompt)])))[3][0] for num in (5, 30)
    )
    assert long.startswith(short)


def test_greedy_texts_are_those_of_transformers(network: Any, vocabulary: Vocabulary, space: TokenSpace) -> None:
    never = [number for number in range(448) if number >= 400 or not vocabulary.allowed_V[number]]
    for number, prompt in enumerate(prompts(vocabulary)):
        options = GenerateOptions(temperature=0, max_tokens=25, repetition_penalty=1.1, valid_utf8=False)
        made = writing_with(prepared(network, torch.float32)(1), vocabulary, options)
        text, num_tokens, ended = joined(list(made.write([(number, prompt)])))[number]
        ids = torch.from_numpy(prompt.tokens_T)[None]
        theirs = network.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=25, repetition_penalty=1.1,
            suppress_tokens=never, eos_token_id=sorted(vocabulary.ends), pad_token_id=space.pad,
        )[0, ids.shape[1] :].tolist()  # fmt: skip
        written = [token for token in theirs if token not in vocabulary.ends]
        assert num_tokens == len(written)
        assert (ended == "end") == (len(written) < len(theirs))
        whole = vocabulary.tokenizer.decode_bytes(written)
        expected = prompt.text + whole.decode("utf-8", errors="replace")
        assert text.rstrip("\ufffd") == expected.rstrip("\ufffd")


def test_a_prompt_comes_first_and_streaming_is_the_text(network: Any, vocabulary: Vocabulary) -> None:
    pieces = list(writer(network, vocabulary).write(enumerate(prompts(vocabulary))))
    for number, prompt in enumerate(PROMPTS):
        own = [piece for piece in pieces if piece.number == number]
        assert own[0] == Piece(number, prompt, 0)
        counts = [piece.num_tokens for piece in own]
        assert counts == sorted(counts)


class Scripted:
    """A decoder that says given tokens, and `last` after them."""

    def __init__(self, script: dict[int, list[int]], last: int) -> None:
        self.script, self.last = script, last
        self.texts: dict[int, list[int]] = {}
        self.said: dict[int, int] = {}

    def feed(self, slots: Sequence[int], tokens: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        logits = np.zeros((len(slots), 448), np.float32)
        for r, (slot, more) in enumerate(zip(slots, tokens)):
            self.texts.setdefault(slot, []).extend(more.tolist())
            place = self.said.get(slot, 0)
            script = self.script.get(slot, [])
            logits[r, script[place] if place < len(script) else self.last] = 99.0
            self.said[slot] = place + 1
        return logits

    def clear(self, slot: int) -> None:
        self.texts[slot], self.said[slot] = [], 0


def scripted(vocabulary: Vocabulary, said: str | list[int], prompt: str = "a", **options: Any) -> tuple[Any, Scripted]:
    ids = vocabulary.tokenizer.encode([said])[0].tolist() if isinstance(said, str) else said
    made = Scripted({0: ids}, vocabulary.space.bos)
    chosen = GenerateOptions(**{"max_tokens": 50, **options})
    found = writing_with(made, vocabulary, chosen).write([(0, prompts(vocabulary, [prompt])[0])])
    return joined(list(found))[0], made


def test_why_texts_end(vocabulary: Vocabulary) -> None:
    said = " miner digs, 床前明月光"
    num = len(vocabulary.tokenizer.encode([said])[0])
    assert scripted(vocabulary, said)[0] == ("a" + said, num, "end")
    assert scripted(vocabulary, said, stop=["明月"])[0][::2] == ("a miner digs, 床前", "stop")
    assert scripted(vocabulary, said, stop=["miner digs, 床前明月光"])[0][::2] == ("a ", "stop")
    assert scripted(vocabulary, said, stop=["a miner"])[0][::2] == ("a" + said, "end")
    assert scripted(vocabulary, said, max_tokens=1)[0][1:] == (1, "max_tokens")
    (_, num_tokens, ended), made = scripted(vocabulary, [65] * 200, max_tokens=200)
    assert ended == "window"
    assert num_tokens == WINDOW - 2
    assert len(made.texts[0]) == WINDOW - 1
    for name in ("<|end|>", "<|user|>"):
        assert scripted(vocabulary, [65, vocabulary.specials[name], 66])[0][1:] == (1, "end")


def test_texts_are_valid_whatever_the_model_says(network: Any, vocabulary: Vocabulary) -> None:
    requests = [(number, prompt) for number, prompt in enumerate(prompts(vocabulary) * 8)]
    found = joined(list(writer(network, vocabulary, 9, max_tokens=40).write(requests)))
    assert len(found) == 40
    assert not any("\ufffd" in text for text, _, _ in found.values())
    loose = joined(list(writer(network, vocabulary, 9, max_tokens=40, valid_utf8=False).write(requests)))
    assert any("\ufffd" in text for text, _, _ in loose.values())


def test_a_text_does_not_end_inside_a_character(vocabulary: Vocabulary) -> None:
    byte_ids = {text: number for number, text in enumerate(vocabulary.tokenizer.token_bytes) if len(text) == 1}
    half = [byte_ids[bytes([byte])] for byte in "春".encode()[:2]]
    text, num_tokens, ended = scripted(vocabulary, half, max_tokens=3)[0]
    assert (num_tokens, ended) == (3, "max_tokens")
    assert len(text) == 2
    assert scripted(vocabulary, half, valid_utf8=False)[0] == ("a", 2, "end")


def test_a_text_cut_inside_a_character_shows_whole_ones(vocabulary: Vocabulary) -> None:
    byte_ids = {text: number for number, text in enumerate(vocabulary.tokenizer.token_bytes) if len(text) == 1}
    split = [byte_ids[bytes([byte])] for byte in "春眠".encode()]
    assert scripted(vocabulary, split)[0][0] == "a春眠"
    assert scripted(vocabulary, split, max_tokens=5)[0] == ("a春", 5, "max_tokens")


def test_a_slot_that_is_free_again_begins_afresh(vocabulary: Vocabulary) -> None:
    made = Scripted({0: [65, 66]}, vocabulary.space.bos)
    given = prompts(vocabulary, ["a", "b"])
    found = joined(list(writing_with(made, vocabulary, GenerateOptions()).write(enumerate(given))))
    assert made.texts[0] == [*given[1].tokens_T.tolist(), 65, 66]
    assert [text for text, _, _ in found.values()] == [
        prompt + vocabulary.tokenizer.decode([65, 66]) for prompt in "ab"
    ]


def test_requests_are_taken_as_slots_become_free(network: Any, vocabulary: Vocabulary) -> None:
    (prompt,) = prompts(vocabulary, ["a"])
    taken = []

    def endless() -> Any:
        number = 0
        while True:
            taken.append(number)
            yield number, prompt
            number += 1

    pieces = writer(network, vocabulary, 3, max_tokens=4).write(endless())
    for _ in range(3):
        next(pieces)
    assert len(taken) == 3


def test_no_requests_no_texts(network: Any, vocabulary: Vocabulary) -> None:
    assert list(writer(network, vocabulary).write([])) == []


def test_weights_that_are_no_numbers_are_refused(network: Any, vocabulary: Vocabulary) -> None:
    class Broken(Scripted):
        def feed(self, slots: Sequence[int], tokens: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
            return np.full((len(slots), 448), np.nan, np.float32)

    made = writing_with(Broken({}, 0), vocabulary, GenerateOptions())
    with pytest.raises(TrainingError, match="finite"):
        list(made.write([(0, prompts(vocabulary, ["a"])[0])]))


def test_prompts_keep_their_ends_out_of_the_text(vocabulary: Vocabulary) -> None:
    prompt = replace(prompts(vocabulary, ["a"])[0], text="shown")
    made = Scripted({0: [65]}, vocabulary.space.bos)
    found = list(writing_with(made, vocabulary, GenerateOptions()).write([(7, prompt)]))
    assert found[0] == Piece(7, "shown", 0)
