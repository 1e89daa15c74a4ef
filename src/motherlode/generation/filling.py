"""Texts from a model that fills masks, under the same surface as those from one that writes from left to right.

A prompt without gaps gets masks behind it, `max_tokens` of them or what the window still takes; one with gaps has its
masks already. Each text is filled by itself, with its own random numbers, so that text number n of a seed is the same
whatever else is asked for; on a CPU a batch would save little, because a window of 256 tokens fills its cores. The
first masks are done before the last, and a text is handed on as far as no mask stands before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from motherlode.errors import RecipeError
from motherlode.generation.prompts import Prompt, Vocabulary
from motherlode.generation.streaming import TextStream
from motherlode.generation.utf8 import Spelling
from motherlode.generation.writing import Ended, Piece
from motherlode.randomness import torch_generator
from motherlode.recipe import GenerateOptions

if TYPE_CHECKING:
    from motherlode.families import Family


def fill(
    family: Family,
    requests: Iterable[tuple[int, Prompt]],
    vocabulary: Vocabulary,
    options: GenerateOptions,
    *,
    window: int,
    seed: int,
    variant: str,
    device: str,
) -> Iterator[Piece]:
    """Pieces of numbered texts, one text after another; of a prompt without gaps the first piece is the prompt.

    Raises:
        RecipeError: options that a model that fills masks cannot honour.
    """
    refuse(options)
    mask = vocabulary.space.mask
    rule = Spelling(vocabulary.tokenizer.token_bytes, mask) if options.valid_utf8 else None
    for number, prompt in requests:
        num_masks = 0 if prompt.has_gaps else min(options.max_tokens, window - len(prompt.tokens_T))
        given = torch.from_numpy(prompt.tokens_T)
        masks = torch.full((num_masks,), mask)
        tokens_BT = torch.cat([given, masks])[None].to(device)
        rng = torch_generator(seed, "generate", number, device=device)
        filled = family.fill(tokens_BT, options, rng=rng, variant=variant, rule=rule)
        states = (state_BT[0].tolist() for state_BT in filled)
        ended: Ended = "max_tokens" if prompt.has_gaps or num_masks == options.max_tokens else "window"
        yield from _pieces(number, prompt, states, vocabulary, options, ended)


def _pieces(
    number: int,
    prompt: Prompt,
    states: Iterator[list[int]],
    vocabulary: Vocabulary,
    options: GenerateOptions,
    ended: Ended,
) -> Iterator[Piece]:
    """The text of successive states of one row of tokens, as far as no mask stands before it."""
    done = 0 if prompt.has_gaps else len(prompt.tokens_T)
    if not prompt.has_gaps:
        yield Piece(number, prompt.text, 0)
    stream = TextStream(() if prompt.has_gaps else options.stop)
    mask = vocabulary.space.mask
    num_given = int((prompt.tokens_T != mask).sum())
    num_tokens = 0
    for tokens in states:
        end = tokens.index(mask) if mask in tokens else len(tokens)
        num_tokens = sum(token != mask for token in tokens) - num_given
        yield Piece(number, stream.feed(vocabulary.tokenizer.decode_bytes(tokens[done:end])), num_tokens)
        done = max(done, end)
        if stream.is_stopped:
            ended = "stop"
            break
    yield Piece(number, stream.finish(), num_tokens, ended)


def refuse(options: GenerateOptions, further: Sequence[str] = ()) -> None:
    """Refuse options that a model that fills masks cannot honour, and `further` ones.

    Raises:
        RecipeError: one of them is set.
    """
    plain = GenerateOptions()
    for name in ("top_k", "top_p", "min_p", "repetition_penalty", *further):
        if getattr(options, name) != getattr(plain, name):
            raise RecipeError(
                f"a model that fills masks has no `generate.{name}`",
                getattr(options, name),
                "leave it out; `temperature`, `steps` and `block_tokens` are what it takes",
            )
