"""Tokens a second and time to the first token, against transformers' `generate`, same weights, same draws, same run.

    python bench/generation.py [--threads 2] [--rounds 5] [--architecture nanochat] [--new 200]

A GPT of 6 layers, 384 wide, 6 heads, vocabulary 8192, with random weights; prompts of 32 tokens; every text goes on for
so many tokens, drawn at temperature 1 from all tokens. Sides take turns; each counts the median of its turns, by the
clock and by processor time, because on a shared machine the clock measures the neighbours as well. transformers is
measured in float32 and in bf16 and compared at its better one; ours includes decoding to text. `lean float32` is what
machines without bf16 products get.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from motherlode.generation.decoding import prepared
from motherlode.generation.prompts import Prompt, Vocabulary
from motherlode.generation.writing import TextRules, Writer
from motherlode.recipe import GenerateOptions
from motherlode.tokenizer import TokenSpace

VOCABULARY, PROMPT_TOKENS, WINDOW = 8192, 32, 512
Side = Callable[[int, int], None]


def network(architecture: str) -> Any:
    """The model, with random weights large enough that its logits differ."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        architecture, vocab_size=VOCABULARY, hidden_size=384, num_hidden_layers=6, num_attention_heads=6,
        num_key_value_heads=6, head_dim=64, intermediate_size=1536 if architecture == "nanochat" else 1024,
        max_position_embeddings=WINDOW, pad_token_id=None, eos_token_id=None, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


def prompts(num: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, VOCABULARY, (num, PROMPT_TOKENS))


def theirs(model: Any) -> Side:
    """transformers' `generate`."""

    def run(batch: int, new: int) -> None:
        ids = torch.from_numpy(prompts(batch))
        with torch.inference_mode():
            made = model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, max_new_tokens=new, pad_token_id=0
            )
        assert made.shape == (batch, PROMPT_TOKENS + new)

    return run


def ours(model: Any, dtype: torch.dtype) -> Side:
    """The product's writer."""
    decoders = prepared(model, dtype)
    tokenizer: Any = SimpleNamespace(token_bytes=[b"ab"] * VOCABULARY)
    space = TokenSpace(VOCABULARY, 0, 1, 2, "")
    vocabulary = Vocabulary(tokenizer, space, {}, np.ones(VOCABULARY, np.bool_), frozenset())

    def run(batch: int, new: int) -> None:
        requests = [(number, Prompt("", ids)) for number, ids in enumerate(prompts(batch))]
        options = GenerateOptions(max_tokens=new)
        pieces = list(
            Writer(decoders(batch), batch, TextRules(vocabulary, options, WINDOW), options, 0).write(requests)
        )
        assert sum(piece.num_tokens == new for piece in pieces) == batch

    return run


def measured(sides: dict[str, Side], batch: int, new: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Side → median seconds by the clock and of processor time."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for side in sides.values():
        side(batch, min(new, 3))
    for _ in range(rounds):
        for name, side in sides.items():
            clock, processor = time.perf_counter(), time.process_time()
            side(batch, new)
            times[name].append((time.perf_counter() - clock, time.process_time() - processor))
    return {
        name: (statistics.median(clock for clock, _ in found), statistics.median(used for _, used in found))
        for name, found in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--architecture", choices=["nanochat", "qwen3"], default="nanochat")
    parser.add_argument("--new", type=int, default=200)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    model = network(asked.architecture)
    start = time.process_time()
    sides = {
        "transformers float32": theirs(model),
        "transformers bf16": theirs(copy.deepcopy(model).bfloat16()),
        "lean float32": ours(model, torch.float32),
        "lean bf16": ours(model, torch.bfloat16),
    }
    print(f"{asked.architecture}, {asked.threads} threads; weights made ready in {time.process_time() - start:.2f} s")
    for batch, new in ((1, 1), (1, asked.new), (16, 1), (16, asked.new)):
        found = measured(sides, batch, new, asked.rounds)
        print(f"batch {batch}, {new} new tokens{' (the first)' if new == 1 else ''}:")
        for kind, place in (("clock", 0), ("processor", 1)):
            best = min(seconds[place] for name, seconds in found.items() if name.startswith("transformers"))
            shown = ", ".join(
                f"{name} {1e3 * seconds[place]:.1f} ms ({batch * new / seconds[place]:.0f} tokens/s)"
                for name, seconds in found.items()
            )
            ratios = ", ".join(
                f"{name} {found[name][place] / best:.2f}x the time, {best / found[name][place]:.2f}x the tokens/s"
                for name in ("lean float32", "lean bf16")
            )
            print(f"  {kind}: {shown}\n    against transformers' better: {ratios}")


if __name__ == "__main__":
    main()
