"""What may be written in a document of fields, so that every field of it comes out whole.

A document for a task reads `bos <|given|> … <|end|> <|made|> … <|end|>`. What is given is read, not drawn; what is made
is drawn under the field's own rule at every place (`Layout.ranges`): a code of the quantiser whose turn it is, a label,
or text that goes on with whole characters. Where a rule leaves one token, as at the end of a picture, that token is
read without a draw. So a picture always has all its codes and a sound whole places, whatever the model says. A given
field that is left out is made first, as a text without a prompt begins by itself; a made field may be given a
beginning, and is then continued.

What is traded away: tokens outside the rule lose their probability to those inside. A trained model gives them little:
it has never seen any there.

Shape legend: A states (what may follow), V vocabulary, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from motherlode.errors import RecipeError
from motherlode.fields import Field, Layout, Task
from motherlode.generation.utf8 import BETWEEN, NUM_STATES, REJECT, transitions
from motherlode.generation.writing import Draft, Step
from motherlode.tokenizer import TokenSpace

Tokens = NDArray[np.int64]
_NOTHING: Tokens = np.empty(0, np.int64)
_FIRST = NUM_STATES
"""State of a text of which nothing is written: it may not end."""


@dataclass(frozen=True)
class Opening:
    """What a document begins with.

    Args:
        given: tokens of the task's given fields; those left out are made.
        kept: tokens that made fields begin with.
    """

    given: Mapping[str, Tokens] = field(default_factory=dict)
    kept: Mapping[str, Tokens] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """More of one field of a document.

    Args:
        number: of the document, counted from 0 over the whole request.
        name: of the field.
        tokens_T: int64, to be added to the field's tokens.
        is_whole: the field ends with them.
        num_tokens: drawn so far for the document.
        is_last: the document ends with them.
    """

    number: int
    name: str
    tokens_T: Tokens
    is_whole: bool
    num_tokens: int
    is_last: bool


class FieldRules:
    """How documents of a task are written; the `writing.Rules` of runs over fields.

    Args:
        layout: of the run.
        task: of the layout.
        space: of the run.
        token_bytes: behind each id, b"" where there are none.
        window: tokens of a document at most.
        max_tokens: of a text at most.
    """

    def __init__(
        self,
        layout: Layout,
        task: Task,
        space: TokenSpace,
        token_bytes: list[bytes],
        *,
        window: int,
        max_tokens: int,
    ) -> None:
        self.layout, self.task, self.window, self.max_tokens = layout, task, window, max_tokens
        self.bos = space.bos
        self.fields = [layout.field(name) for name in task.order]
        self.next_AV = transitions(token_bytes)
        texts_AV = self.next_AV != REJECT
        texts_AV[:, [number for number, text in enumerate(token_bytes) if not text]] = False
        texts_AV[:, layout.num_text_tokens :] = False
        # Where a vocabulary cannot go on with a character, any text may follow.
        texts_AV[~texts_AV.any(1)] = texts_AV[BETWEEN]
        first_V = texts_AV[BETWEEN].copy()
        texts_AV[BETWEEN, layout.end] = True
        rows = [*texts_AV, first_V]
        self._state_of: dict[tuple[tuple[int, int], ...], int] = {}
        for one in self.fields:
            # The rule of codes repeats itself from place to place, but for the first, at which nothing may end.
            for place in range(2 * len(one.sizes)) if one.kind != "text" else ():
                ranges = layout.ranges(one.name, place)
                if ranges not in self._state_of:
                    self._state_of[ranges] = len(rows)
                    rows.append(_within(ranges, len(token_bytes)))
        self.allowed_AV = np.stack(rows)

    def draft(self, number: int, ask: Opening) -> Draft[Part]:
        """See `writing.Rules`."""
        return _Document(self, number, ask)

    def state(self, one: Field, num: int, utf8: int) -> int | None:
        """Which state a field with `num` tokens is in; None where it must end."""
        if one.kind == "text":
            return _FIRST if num == 0 else utf8
        ranges = self.layout.ranges(one.name, num)
        return None if ranges == ((self.layout.end, self.layout.end + 1),) else self._state_of[ranges]

    def check(self, ask: Opening) -> None:
        """Refuse an opening that leaves the rest of the document no room.

        Raises:
            RecipeError: it is too long, or leaves nothing to make.
        """
        for name, tokens_T in ask.kept.items():
            if len(tokens_T) == self.layout.field(name).num_tokens:
                raise RecipeError(
                    "a field that is to be made must have something left to make", f"all of {name}", "lower keep"
                )
        num = 1 + self.least(ask, 0)
        if num > self.window:
            known = {**ask.given, **ask.kept}
            told = ", ".join(f"{name} {len(tokens_T)}" for name, tokens_T in known.items())
            raise RecipeError(
                f"a document must fit the model's window of {self.window} tokens",
                f"{num} at least, with {told or 'nothing given'}",
                "shorten what is given, or train with a larger data.length",
            )

    def least(self, ask: Opening, place: int) -> int:
        """The fewest tokens that field number `place` and those behind it take, their marks included."""
        total = 0
        for one in self.fields[place:]:
            if one.name in ask.given:
                total += 2 + len(ask.given[one.name])
            else:
                total += 2 + (one.num_tokens or len(ask.kept.get(one.name, _NOTHING)) + _width(one))
        return total

    def most(self, ask: Opening, place: int, used: int) -> int:
        """The most tokens that field number `place` may have, where its first would be token `used` of the document."""
        one = self.fields[place]
        least = len(ask.kept.get(one.name, _NOTHING)) + _width(one)
        room = min(self.window - used - 1 - self.least(ask, place + 1), one.max_tokens)
        if one.kind == "text":
            room = min(room, self.max_tokens)
        return one.num_tokens or max(least, room // _width(one) * _width(one))


def _width(one: Field) -> int:
    """Tokens of one place of a field."""
    return len(one.sizes) if one.kind == "codes" else 1


def _within(ranges: tuple[tuple[int, int], ...], num: int) -> NDArray[np.bool_]:
    allowed_V = np.zeros(num, np.bool_)
    for first, behind in ranges:
        allowed_V[first:behind] = True
    return allowed_V


@dataclass
class _Document:
    """A document in the making; see `writing.Draft`."""

    rules: FieldRules
    number: int
    opening: Opening
    state: int = 0
    _place: int = -1
    """Number of the field that is being made."""
    _num: int = 0
    """Tokens it has."""
    _most: int = 0
    _used: int = 0
    """Tokens of the document so far."""
    _num_drawn: int = 0
    _utf8: int = BETWEEN

    def begin(self) -> Step[Part]:
        self._used = 1
        pieces: list[Part] = []
        tokens_T, free_T = self._open_next(np.array([self.rules.bos]), pieces)
        return Step(pieces, tokens_T, free_T)

    def take(self, token: int) -> Step[Part]:
        one = self.rules.fields[self._place]
        self._num_drawn += 1
        self._used += 1
        if token == self.rules.layout.end:
            return self._close(_NOTHING, np.array([token]))
        self._num += 1
        if one.kind == "text":
            self._utf8 = int(self.rules.next_AV[self._utf8, token]) % REJECT
        state = self.rules.state(one, self._num, self._utf8)
        added_T = np.array([token])
        if state is None or self._num >= self._most:
            self._used += 1
            return self._close(added_T, np.array([token, self.rules.layout.end]))
        self.state = state
        is_made = self._place >= len(self.rules.task.given)
        return Step([self._part(added_T)], added_T, added_T if is_made else None)

    def _close(self, added_T: Tokens, read_T: Tokens) -> Step[Part]:
        """End the field; `read_T` are its last tokens, which the model has not read yet."""
        is_last = self._place + 1 == len(self.rules.fields)
        pieces = [self._part(added_T, is_whole=True, is_last=is_last)]
        if is_last:
            return Step(pieces, None)
        tokens_T, free_T = self._open_next(read_T, pieces)
        return Step(pieces, tokens_T, free_T)

    def _open_next(self, read_T: Tokens, pieces: list[Part]) -> tuple[Tokens, Tokens | None]:
        """Go on to the next field to be made: what the model reads till then, and what the row of guidance reads."""
        rules, read = self.rules, [read_T]
        num_given = len(rules.task.given)
        was_given = self._place < num_given
        self._place += 1
        while rules.fields[self._place].name in self.opening.given:
            one = rules.fields[self._place]
            tokens_T = self.opening.given[one.name]
            read += [np.array([one.begin]), tokens_T, np.array([rules.layout.end])]
            self._used += 2 + len(tokens_T)
            self._place += 1
        one = rules.fields[self._place]
        kept_T = self.opening.kept.get(one.name, _NOTHING)
        read += [np.array([one.begin]), kept_T]
        self._used += 1
        self._num, self._most = len(kept_T), rules.most(self.opening, self._place, self._used)
        self._utf8 = BETWEEN
        for token in kept_T if one.kind == "text" else ():
            self._utf8 = int(rules.next_AV[self._utf8, token]) % REJECT
        self._used += len(kept_T)
        state = rules.state(one, self._num, self._utf8)
        assert state is not None, "check() refuses beginnings that are all of a field"
        self.state = state
        if len(kept_T):
            pieces.append(self._part(kept_T))
        tokens_T = np.concatenate(read)
        if self._place < num_given:
            return tokens_T, None
        return tokens_T, self._free(one, kept_T) if was_given else tokens_T

    def _free(self, one: Field, kept_T: Tokens) -> Tokens:
        """The document so far, had nothing been given."""
        layout = self.rules.layout
        empty = layout.document(self.rules.bos, {}, self.rules.task.given)
        return np.concatenate([empty, [one.begin], kept_T]).astype(np.int64)

    def _part(self, tokens_T: Tokens, *, is_whole: bool = False, is_last: bool = False) -> Part:
        name = self.rules.fields[self._place].name
        return Part(self.number, name, tokens_T, is_whole, self._num_drawn, is_last)
