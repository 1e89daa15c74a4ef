"""From what a person types to the tokens a model goes on from.

A prompt is put into its task's template (`generate.template`), and the whole begins with the token that begins every
document in training. Special tokens that a template spells out, such as `<|user|>`, become those tokens; in a prompt
they are text like any other, so that nobody's prompt can end its turn. Models that fill masks take prompts with gaps:
`[MASK]` stands for one token to be guessed and `[MASK*12]` for twelve, spaces before words included.

Shape legend: T tokens, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motherlode import storage
from motherlode.errors import RecipeError
from motherlode.recipe import PROMPT, GenerateOptions

if TYPE_CHECKING:
    from motherlode.tokenizer import Tokenizer, TokenSpace

_GAP = re.compile(r"\[MASK(?:\*([1-9][0-9]{0,8}))?\]")


@dataclass(frozen=True)
class Prompt:
    """What a model goes on from.

    Args:
        text: as a person reads it, template filled in; "" where a model begins by itself.
        tokens_T: int64, the first of them begins a document.
        has_gaps: some of the tokens are masks, to be filled.
    """

    text: str
    tokens_T: NDArray[np.int64]
    has_gaps: bool = False


@dataclass(frozen=True)
class Vocabulary:
    """What the tokens of a run are, and which of them may be written.

    Args:
        tokenizer: of the run.
        space: of the run.
        specials: token → id of those that stand for no text.
        allowed_V: bool, tokens that may be drawn: text, and what can end one.
        ends: tokens that end a text.
    """

    tokenizer: Tokenizer
    space: TokenSpace
    specials: dict[str, int]
    allowed_V: NDArray[np.bool_]
    ends: frozenset[int]

    @classmethod
    def of(cls, space: TokenSpace, num_logits: int) -> Vocabulary:
        """The vocabulary of a run.

        Args:
            space: of the run's spec; names the tokenizer's folder.
            num_logits: rows of the model's token table.

        Raises:
            RecipeError: the tokenizer is not the one that the model was trained with.
            DatasetError: there is no tokenizer in the folder.
        """
        from motherlode.tokenizer import load

        tokenizer = load(space.folder)
        if len(tokenizer) != space.vocabulary or space.vocabulary > num_logits:
            raise RecipeError(
                "a run's tokenizer must be the one its model was trained with",
                f"{space.folder} has {len(tokenizer)} tokens, the model knows {space.vocabulary} "
                f"in a table of {num_logits}",
                "restore the run's tokenizer.json",
            )
        added: dict[int, Any] = tokenizer.backend.get_added_tokens_decoder()
        specials = {token.content: number for number, token in added.items() if token.special}
        never = {space.mask, space.pad} - {space.bos}
        ends = frozenset({*specials.values(), space.bos} - never)
        allowed_V = np.array([number in ends or bool(text) for number, text in enumerate(tokenizer.token_bytes)])
        allowed_V[[number for number in never if number >= 0]] = False
        return cls(tokenizer, space, specials, allowed_V, ends)


def prompts_of(
    given: str | Sequence[str] | None,
    options: GenerateOptions,
    vocabulary: Vocabulary,
    *,
    window: int,
    fills: bool,
) -> list[Prompt]:
    """Prompts as tokens; without any, one that lets the model begin by itself.

    Args:
        given: one or several.
        options: whose template they are put into.
        vocabulary: of the run.
        window: a prompt has to leave room for one token in it.
        fills: the model fills masks.

    Raises:
        RecipeError: a prompt that is empty, too long, or has gaps where the model cannot fill them.
    """
    texts = [given] if isinstance(given, str) else list(given or [])
    if any(not text for text in texts):
        raise RecipeError("a prompt must hold text", "", "leave --prompt out to let the model begin by itself")
    template = options.templates.get(options.template, options.template) or PROMPT
    return [_prompt(text, template, vocabulary, window, fills) for text in texts or [""]]


def _prompt(text: str, template: str, vocabulary: Vocabulary, window: int, fills: bool) -> Prompt:
    shown, tokens, has_gaps = "", [], False
    for piece, special in _pieces(template, text, vocabulary):
        shown += piece
        for part, num_masks in _parts(piece, fills):
            (ids_T,) = vocabulary.tokenizer.encode([part])
            # One mask more than fits is enough to be refused.
            tokens += [*ids_T.tolist(), *[vocabulary.space.mask] * min(num_masks, window + 1)]
            has_gaps |= num_masks > 0
        tokens += special
    if tokens[:1] != [vocabulary.space.bos]:
        tokens.insert(0, vocabulary.space.bos)
    longest = window if has_gaps else window - 1
    if len(tokens) > longest:
        raise RecipeError(
            f"a prompt must fit the model's window of {window} tokens{'' if has_gaps else ' and leave room for one'}",
            f"{len(tokens)} tokens: {_start_of(shown)}",
            "shorten it, or train with a larger data.length",
        )
    return Prompt(shown, np.array(tokens, np.int64), has_gaps)


def _pieces(template: str, prompt: str, vocabulary: Vocabulary) -> Iterator[tuple[str, list[int]]]:
    """Runs of text, each with the special token that follows it in the template, if any."""
    names = sorted(vocabulary.specials, key=len, reverse=True)
    text = ""
    for part in re.split("|".join(["(" + "|".join(map(re.escape, [PROMPT, *names])) + ")"]), template):
        if part in vocabulary.specials:
            yield text, [vocabulary.specials[part]]
            text = ""
        else:
            text += prompt if part == PROMPT else part
    yield text, []


def _parts(text: str, fills: bool) -> Iterator[tuple[str, int]]:
    """Runs of text, each with the number of masks that follow it.

    Raises:
        RecipeError: there are gaps and the model cannot fill them.
    """
    place = 0
    for gap in _GAP.finditer(text):
        if not fills:
            raise RecipeError(
                "a model that writes from left to right fills no gaps",
                _start_of(text),
                "leave out [MASK], or use a run that learned to fill masks (`family: bert`)",
            )
        # A word's token begins with the space before it, so the space before a gap is the model's to write.
        yield text[place : gap.start()].removesuffix(" "), int(gap[1] or 1)
        place = gap.end()
    yield text[place:], 0


def read_prompts(given: Sequence[str]) -> list[str]:
    """Prompts of the command line: as they are, or `@file`, a file of one prompt a line.

    Raises:
        RecipeError: no such file, no text in it, or no prompt.
    """
    found: list[str] = []
    for word in given:
        if not word.startswith("@"):
            found.append(word)
            continue
        path = Path(word[1:])
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            fix = storage.why_unreadable(error, path)
            raise RecipeError("a file of prompts must be readable text", str(path), fix) from error
        prompts = [line for line in lines if line.strip()]
        if not prompts:
            raise RecipeError("a file of prompts must hold a prompt a line", str(path), "write one")
        found += prompts
    return found


def _start_of(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"
