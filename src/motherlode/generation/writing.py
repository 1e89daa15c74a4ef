"""Many texts at once, token by token: the loop between a decoder and a reader.

Every text has its own place in the decoder's cache, its own random numbers, f(seed, "generate", number), and its own
end; a text that has ended makes room for the next at once, so that the batch stays full. Which texts share a batch
changes nothing in any of them.

Shape legend: R texts of this step, S slots, A states of a text (where it stands in a character), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import TrainingError
from motherlode.generation.decoding import Decoder
from motherlode.generation.prompts import Prompt, Vocabulary
from motherlode.generation.streaming import TextStream
from motherlode.generation.utf8 import BETWEEN, REJECT, transitions
from motherlode.randomness import numpy_generator
from motherlode.recipe import GenerateOptions

Ended = Literal["end", "stop", "max_tokens", "window"]
"""Why a text ends: the model ended it, a stop string came, it is as long as asked for, or the window is full."""


@dataclass(frozen=True)
class Piece:
    """What has been added to a text.

    Args:
        number: of the text, counted from 0 over the whole request.
        text: whole characters; the pieces of a text, joined, are all of it.
        num_tokens: written so far.
        ended: why the text ends with this piece; None where it goes on.
    """

    number: int
    text: str
    num_tokens: int
    ended: Ended | None = None


@dataclass
class _Text:
    """A text in the making."""

    number: int
    prompt: Prompt
    slot: int
    rng: np.random.Generator
    stream: TextStream
    num_tokens: int = 0
    last: int = -1
    state: int = BETWEEN

    def take(self, token: int, vocabulary: Vocabulary, options: GenerateOptions, window: int) -> Piece:
        """Add a token."""
        ended: Ended | None = None
        text = ""
        if token in vocabulary.ends:
            ended = "end"
        else:
            text = self.stream.feed(vocabulary.tokenizer.token_bytes[token])
            self.num_tokens += 1
            self.last = token
            if self.stream.is_stopped:
                ended = "stop"
            elif self.num_tokens == options.max_tokens:
                ended = "max_tokens"
            elif len(self.prompt.tokens_T) + self.num_tokens >= window:
                ended = "window"
        if ended is not None:
            text += self.stream.finish()
        return Piece(self.number, text, self.num_tokens, ended)


@dataclass
class Writer:
    """Writes texts with a causal language model.

    Args:
        decoder: of the model.
        num_slots: texts at a time.
        window: tokens of a text at most.
        vocabulary: of the run.
        options: how to draw and where to end.
        seed: text number n of a seed is the same whatever else is asked for.
    """

    decoder: Decoder
    num_slots: int
    window: int
    vocabulary: Vocabulary
    options: GenerateOptions
    seed: int
    _seen_SV: NDArray[np.bool_] = field(init=False)
    _allowed_AV: NDArray[np.bool_] = field(init=False)
    _next_AV: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        num = self.num_slots if self.options.repetition_penalty != 1.0 else 0
        allowed_V = self.vocabulary.allowed_V
        self._seen_SV = np.zeros((num, len(allowed_V)), np.bool_)
        self._allowed_AV, self._next_AV = allowed_V[None], np.zeros((1, len(allowed_V)), np.uint8)
        if self.options.valid_utf8:
            self._next_AV = transitions(self.vocabulary.tokenizer.token_bytes)
            self._allowed_AV = (self._next_AV != REJECT) & allowed_V
            # No text ends inside a character; where a vocabulary cannot go on with one, anything may follow.
            self._allowed_AV[BETWEEN + 1 :, list(self.vocabulary.ends)] = False
            self._allowed_AV[~self._allowed_AV.any(1)] = allowed_V

    def write(self, requests: Iterable[tuple[int, Prompt]]) -> Iterator[Piece]:
        """Pieces of numbered texts as they come, of different texts in turn; first of each its prompt.

        Raises:
            TrainingError: the model's weights give no finite numbers.
        """
        waiting = iter(requests)
        free = list(range(self.num_slots))[::-1]
        active: list[_Text] = []
        while True:
            begun = [self._begin(number, prompt, free.pop()) for number, prompt in islice(waiting, len(free))]
            if not begun and not active:
                return
            for text in begun:
                yield Piece(text.number, text.prompt.text, 0)
            for group, tokens in (
                (begun, [text.prompt.tokens_T for text in begun]),
                (active, [np.array([text.last]) for text in active]),
            ):
                if group:
                    yield from self._advance(group, tokens, free)
            active = [text for text in (*active, *begun) if text.slot >= 0]

    def _begin(self, number: int, prompt: Prompt, slot: int) -> _Text:
        self.decoder.clear(slot)
        if len(self._seen_SV):
            self._seen_SV[slot] = False
            self._seen_SV[slot, prompt.tokens_T] = True
        rng = numpy_generator(self.seed, "generate", number)
        return _Text(number, prompt, slot, rng, TextStream(self.options.stop))

    def _advance(self, texts: Sequence[_Text], tokens: Sequence[NDArray[np.int64]], free: list[int]) -> Iterator[Piece]:
        """Feed tokens, draw the next of each text; slots of texts that end become free."""
        logits_RV = self.decoder.feed([text.slot for text in texts], tokens)
        for text, token in zip(texts, self._draw(texts, logits_RV)):
            piece = text.take(int(token), self.vocabulary, self.options, self.window)
            text.state = int(self._next_AV[text.state, token]) % REJECT
            if len(self._seen_SV):
                self._seen_SV[text.slot, int(token)] = True
            if piece.ended is not None:
                free.append(text.slot)
                text.slot = -1
            if piece.text or piece.ended:
                yield piece

    def _draw(self, texts: Sequence[_Text], logits_RV: NDArray[np.float32]) -> NDArray[np.int64]:
        from motherlode.generation.drawing import draw

        if not np.isfinite(logits_RV).all():
            raise TrainingError(
                "a model must give finite numbers to write with", "its logits are not", "use an earlier checkpoint"
            )
        drawn_R = np.empty(len(texts), np.int64)
        options = self.options
        draw(
            logits_RV,
            np.array([text.rng.random() for text in texts]),
            options.temperature,
            options.top_k,
            options.top_p,
            options.min_p,
            options.repetition_penalty,
            self._seen_SV,
            np.array([text.slot for text in texts]),
            self._allowed_AV,
            np.array([text.state for text in texts]),
            drawn_R,
        )
        return drawn_R
