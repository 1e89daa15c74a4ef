"""Texts from a trained run: what `generate` does where samples are tokens.

A sample is a whole text, the prompt first, as a person reads it. `pieces` gives texts as they grow, `texts` as they are
done, in order; `save` writes each as a file, with an index and a record of where they came from. How a family writes is
its own affair: from left to right with its causal network (`writing`), or by filling masks (`filling`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motherlode import storage
from motherlode.errors import RecipeError
from motherlode.generation.prompts import Prompt, Vocabulary, prompts_of
from motherlode.generation.sampling import INDEX, check_num, check_out, chosen_variant, origin
from motherlode.generation.writing import Ended, Piece, TextRules, Writer
from motherlode.recipe import GenerateOptions
from motherlode.safety import provenance

if TYPE_CHECKING:
    from motherlode.families import Family
    from motherlode.generation.decoding import Decoder
    from motherlode.training.run import Run

SLOTS = 32
"""Texts written at a time at most: twice as many write 2 tokens where these write 1.7."""
CACHE_BYTES = 2 << 30
"""What their cache may take in bf16; fewer texts are written at a time where it would take more."""


@dataclass(frozen=True)
class Text:
    """A finished text.

    Args:
        number: counted from 0 over the whole request.
        prompt: what it began with, template filled in; "" where the model began by itself.
        text: all of it, the prompt included.
        num_tokens: written after the prompt, or into its gaps.
        ended: why it ends.
    """

    number: int
    prompt: str
    text: str
    num_tokens: int
    ended: Ended


@dataclass(frozen=True)
class Author:
    """A run that writes.

    Args:
        run: whose samples are tokens.
        family: its model.
        variant: which weights.
        options: how to draw and where to end.
        device: where the model is.
        which: which checkpoint it is of.
    """

    run: Run
    family: Family
    variant: str
    options: GenerateOptions
    device: str
    which: str = "best"

    def facts(self, seed: int) -> dict[str, Any]:
        """What every text of this author says about where it came from."""
        how = self.options.model_dump(mode="json", exclude_defaults=True, exclude={"templates"})
        return origin(self.run, variant=self.variant, which=self.which) | {"seed": seed, "generate": how}

    @cached_property
    def network(self) -> Any:
        """The network that writes from left to right; None where masks are filled instead."""
        network = self.family.causal(self.variant)
        if network is None and not self.family.fills:
            raise RecipeError("this family does not write texts", self.run.recipe.family, "use one that does, e.g. gpt")
        return network

    @cached_property
    def window(self) -> int:
        """The most tokens of a text."""
        from motherlode.generation.decoding import window_of

        return window_of(self.network) if self.network is not None else self.run.spec.shape[0]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The run's tokens."""
        space = self.run.spec.tokens
        if space is None:
            raise RecipeError(
                "only runs whose samples are tokens write texts", self.run.spec.modality, "use `generate`"
            )
        num_logits = space.vocabulary if self.network is None else int(self.network.config.vocab_size)
        return Vocabulary.of(space, num_logits)

    def prompts(self, given: str | Sequence[str] | None) -> list[Prompt]:
        """What a person types as what the model goes on from; see `prompts.prompts_of`."""
        return prompts_of(given, self.options, self.vocabulary, window=self.window, fills=self.network is None)

    def pieces(self, prompts: Sequence[Prompt], num: int, seed: int) -> Iterator[Piece]:
        """Pieces of `num` texts as they come; text n has the prompt n modulo their number."""
        check_num(num)
        _refuse(self.options)
        requests = ((number, prompts[number % len(prompts)]) for number in range(num))
        if self.network is None:
            from motherlode.generation.filling import fill

            return fill(
                self.family, requests, self.vocabulary, self.options,
                window=self.window, seed=seed, variant=self.variant, device=self.device,
            )  # fmt: skip
        longest = min(self.window, max(len(prompt.tokens_T) for prompt in prompts) + self.options.max_tokens)
        num_slots = num_slots_of(self.network, num, longest)
        rules = TextRules(self.vocabulary, self.options, self.window)
        return Writer(self.decoders(num_slots), num_slots, rules, self.options, seed).write(requests)

    @cached_property
    def decoders(self) -> Callable[[int], Decoder]:
        """(number of slots) → a decoder of the network."""
        from motherlode.generation.decoding import prepared

        return prepared(self.network)

    def texts(self, prompts: Sequence[Prompt], pieces: Iterable[Piece]) -> Iterator[Text]:
        """Finished texts, in the order of their numbers."""
        parts: list[str] = []
        for piece in in_order(pieces):
            parts.append(piece.text)
            if piece.ended is not None:
                prompt = prompts[piece.number % len(prompts)].text
                yield Text(piece.number, prompt, "".join(parts), piece.num_tokens, piece.ended)
                parts = []


def author(
    run: Run,
    options: GenerateOptions | None = None,
    *,
    variant: str = "",
    which: str = "best",
    device: str = "auto",
) -> Author:
    """Open a run to write with.

    Args:
        run: whose samples are tokens.
        options: default: those of its recipe.
        variant: which weights; "" for the ones that scored best.
        which: which checkpoint: "best", "last" or "step-N".
        device: where to compute.
    """
    from motherlode.training.precision import device_name

    device = device_name(device)
    family = run.load(which, device=device)
    return Author(run, family, chosen_variant(run, family, variant), options or run.recipe.generate, device, which)


def num_slots_of(network: Any, num: int, longest: int) -> int:
    """How many of `num` texts are written at a time, each of `longest` tokens at most."""
    from motherlode.generation.decoding import bytes_of_place

    return max(1, min(num, SLOTS, CACHE_BYTES // (bytes_of_place(network) * longest)))


def _refuse(options: GenerateOptions) -> None:
    """What only documents of fields take.

    Raises:
        RecipeError: it is asked of texts.
    """
    plain = GenerateOptions()
    for name in ("task", "guidance", "keep"):
        value = getattr(options, name)
        if value != getattr(plain, name):
            raise RecipeError(f"only runs over fields take `generate.{name}`", value, "leave it out")


def in_order(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The same pieces, text by text: those of the first unfinished text at once, the others when their turn comes."""
    held: dict[int, list[Piece]] = {}
    turn = 0
    for piece in pieces:
        held.setdefault(piece.number, []).append(piece)
        while turn in held:
            ready = held.pop(turn)
            yield from ready
            if ready[-1].ended is None:
                break
            turn += 1


def save(texts: Iterable[Text], num: int, out: str | Path, facts: dict[str, Any]) -> Iterator[Text]:
    """Write texts as they pass: a file each, an index, and a record.

    A text file has no place for facts about itself, so each line of the index holds them, and the record beside it.
    The folder appears under its name when the last text has passed, complete or not at all.

    Args:
        texts: in order.
        num: how many.
        out: a new folder, or one that `generate` wrote.
        facts: where the texts come from; see `sampling.origin`.

    Raises:
        StorageError: `out` holds something that `generate` did not write, or the disk is full.
    """
    out = check_out(out)
    digits = len(str(num - 1))
    with storage.atomic_folder(out, durable=False) as folder:
        for text in texts:
            media = text.text.encode()
            name = f"{text.number:0{digits}d}.txt"
            (folder / name).write_bytes(media)
            own = {"file": name, "index": text.number, "prompt": text.prompt, "tokens": text.num_tokens}
            line = {**own, "ended": text.ended, "hash": storage.hash_bytes(media), **facts}
            storage.append_line(folder / INDEX, line)
            yield text
        storage.write_json(folder / provenance.RECORD, provenance.record(facts, num))
