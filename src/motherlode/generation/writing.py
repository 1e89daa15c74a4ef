"""Many texts at once, token by token: the loop between a decoder and the rules of what is written.

Every text has its own place in the decoder's cache, its own random numbers, f(seed, "generate", number), and its own
end; a text that has ended makes room for the next at once, so that the batch stays full. Which texts share a batch
changes nothing in any of them. What may come next, what a token adds, and where a text ends is a matter of rules:
`TextRules` here, and documents of several fields in `composing`.

With guidance each text has a second row in the same batch, which reads the same but for what was given, and the draw is
from free + g · (given − free) of their logits (Ho and Salimans 2022, 2207.12598, equation 6 with g = w + 1).

Shape legend: R texts of this step, S slots, A states of a text (what may follow), V vocabulary, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, Literal, Protocol, TypeVar

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

Ask = TypeVar("Ask")
Out = TypeVar("Out")
Ask_contra = TypeVar("Ask_contra", contravariant=True)
Out_co = TypeVar("Out_co", covariant=True)


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


@dataclass(frozen=True)
class Step(Generic[Out_co]):
    """What follows from a token.

    Args:
        pieces: to be handed on.
        feed_T: what the model reads before it says what comes next; None where all is written.
        free_T: what the second row of guidance reads; None where there is no such row yet.
    """

    pieces: Sequence[Out_co]
    feed_T: NDArray[np.int64] | None
    free_T: NDArray[np.int64] | None = None


class Draft(Protocol[Out_co]):
    """One text in the making."""

    @property
    def state(self) -> int:
        """Which of the rules' states it is in."""
        ...

    def begin(self) -> Step[Out_co]:
        """What is there before the first token is drawn."""
        ...

    def take(self, token: int) -> Step[Out_co]:
        """Add a token that its state allows."""
        ...


class Rules(Protocol[Ask_contra, Out_co]):
    """What may be written."""

    allowed_AV: NDArray[np.bool_]
    """Tokens that may be drawn in each state, one at least."""

    def draft(self, number: int, ask: Ask_contra) -> Draft[Out_co]:
        """Text number `number`, of which nothing is written yet."""
        ...


class TextRules:
    """A text goes on from its prompt until the model ends it, or an option does.

    Args:
        vocabulary: of the run.
        options: where to end.
        window: tokens of a text at most.
    """

    def __init__(self, vocabulary: Vocabulary, options: GenerateOptions, window: int) -> None:
        self.vocabulary, self.options, self.window = vocabulary, options, window
        allowed_V = vocabulary.allowed_V
        self.allowed_AV, self.next_AV = allowed_V[None], np.zeros((1, len(allowed_V)), np.uint8)
        if options.valid_utf8:
            self.next_AV = transitions(vocabulary.tokenizer.token_bytes)
            self.allowed_AV = (self.next_AV != REJECT) & allowed_V
            # No text ends inside a character; where a vocabulary cannot go on with one, anything may follow.
            self.allowed_AV[BETWEEN + 1 :, list(vocabulary.ends)] = False
            self.allowed_AV[~self.allowed_AV.any(1)] = allowed_V

    def draft(self, number: int, ask: Prompt) -> Draft[Piece]:
        """See `Rules`."""
        return _Text(self, number, ask, TextStream(self.options.stop))


@dataclass
class _Text:
    """A text in the making."""

    rules: TextRules
    number: int
    prompt: Prompt
    stream: TextStream
    num_tokens: int = 0
    state: int = BETWEEN

    def begin(self) -> Step[Piece]:
        return Step([Piece(self.number, self.prompt.text, 0)], self.prompt.tokens_T)

    def take(self, token: int) -> Step[Piece]:
        ended: Ended | None = None
        text = ""
        vocabulary = self.rules.vocabulary
        if token in vocabulary.ends:
            ended = "end"
        else:
            text = self.stream.feed(vocabulary.tokenizer.token_bytes[token])
            self.num_tokens += 1
            self.state = int(self.rules.next_AV[self.state, token]) % REJECT
            if self.stream.is_stopped:
                ended = "stop"
            elif self.num_tokens == self.rules.options.max_tokens:
                ended = "max_tokens"
            elif len(self.prompt.tokens_T) + self.num_tokens >= self.rules.window:
                ended = "window"
        if ended is not None:
            text += self.stream.finish()
        pieces = [Piece(self.number, text, self.num_tokens, ended)] if text or ended else []
        return Step(pieces, None if ended else np.array([token]))


@dataclass
class _Row(Generic[Out]):
    """A draft, its place in the cache, its random numbers, and what it has to read next."""

    draft: Draft[Out]
    slot: int
    rng: np.random.Generator
    step: Step[Out]

    @property
    def feed_T(self) -> NDArray[np.int64]:
        assert self.step.feed_T is not None
        return self.step.feed_T


@dataclass
class Writer(Generic[Ask, Out]):
    """Writes with a causal language model.

    Args:
        decoder: of the model; has `num_slots` slots, twice as many where there is guidance.
        num_slots: texts at a time.
        rules: of what is written.
        options: how to draw.
        seed: text number n of a seed is the same whatever else is asked for.
    """

    decoder: Decoder
    num_slots: int
    rules: Rules[Ask, Out]
    options: GenerateOptions
    seed: int
    _seen_SV: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        num = self.num_slots if self.options.repetition_penalty != 1.0 else 0
        self._seen_SV = np.zeros((num, self.rules.allowed_AV.shape[1]), np.bool_)

    def write(self, requests: Iterable[tuple[int, Ask]]) -> Iterator[Out]:
        """Pieces of numbered texts as they come, of different texts in turn; first of each what it begins with.

        Raises:
            TrainingError: the model's weights give no finite numbers.
        """
        waiting = iter(requests)
        free = list(range(self.num_slots))[::-1]
        active: list[_Row[Out]] = []
        while True:
            for number, ask in islice(waiting, len(free)):
                active.append(self._begin(number, ask, free.pop()))
                yield from active[-1].step.pieces
            if not active:
                return
            # Long readings and single tokens go through the model apart: padding one to the other would cost more.
            long = [row for row in active if len(row.feed_T) > 1]
            short = [row for row in active if len(row.feed_T) == 1]
            for rows in (long, short):
                if rows:
                    yield from self._advance(rows)
            free += [row.slot for row in active if row.step.feed_T is None]
            active = [row for row in active if row.step.feed_T is not None]

    def _begin(self, number: int, ask: Ask, slot: int) -> _Row[Out]:
        self.decoder.clear(slot)
        if self.options.guidance != 1.0:
            self.decoder.clear(self.num_slots + slot)
        if len(self._seen_SV):
            self._seen_SV[slot] = False
        draft = self.rules.draft(number, ask)
        return _Row(draft, slot, numpy_generator(self.seed, "generate", number), draft.begin())

    def _advance(self, rows: Sequence[_Row[Out]]) -> Iterator[Out]:
        """Read, then draw the next token of each text."""
        for row, token in zip(rows, self._draw(rows, self._logits(rows))):
            row.step = row.draft.take(int(token))
            if len(self._seen_SV):
                self._seen_SV[row.slot, int(token)] = True
            yield from row.step.pieces

    def _logits(self, rows: Sequence[_Row[Out]]) -> NDArray[np.float32]:
        """What follows each text (R, V), guided away from what would follow it had nothing been given."""
        guidance = self.options.guidance
        slots, tokens = [row.slot for row in rows], [row.feed_T for row in rows]
        guided = [place for place, row in enumerate(rows) if guidance != 1.0 and row.step.free_T is not None]
        for place in guided:
            free_T = rows[place].step.free_T
            assert free_T is not None
            slots.append(self.num_slots + rows[place].slot)
            tokens.append(free_T)
        if len(self._seen_SV):
            for row in rows:
                self._seen_SV[row.slot, row.feed_T] = True
        found_RV = self.decoder.feed(slots, tokens)
        logits_RV = found_RV[: len(rows)]
        if guided:
            free_GV = found_RV[len(rows) :]
            logits_RV[guided] = free_GV + np.float32(guidance) * (logits_RV[guided] - free_GV)
        return logits_RV

    def _draw(self, rows: Sequence[_Row[Out]], logits_RV: NDArray[np.float32]) -> NDArray[np.int64]:
        from motherlode.generation.drawing import draw

        if not np.isfinite(logits_RV).all():
            raise TrainingError(
                "a model must give finite numbers to write with", "its logits are not", "use an earlier checkpoint"
            )
        drawn_R = np.empty(len(rows), np.int64)
        options = self.options
        draw(
            logits_RV,
            np.array([row.rng.random() for row in rows]),
            options.temperature,
            options.top_k,
            options.top_p,
            options.min_p,
            options.repetition_penalty,
            self._seen_SV,
            np.array([row.slot for row in rows]),
            self.rules.allowed_AV,
            np.array([row.draft.state for row in rows]),
            drawn_R,
        )
        return drawn_R
