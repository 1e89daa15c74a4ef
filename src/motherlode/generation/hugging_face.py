"""A run of tokens as a Hugging Face folder: what transformers and peft load without code of ours.

    <folder>/model.safetensors          weights under transformers' names; the metadata say where they came from
    <folder>/config.json                the architecture, and the settings of `generate`
    <folder>/generation_config.json     where the family has one
    <folder>/tokenizer.json, tokenizer_config.json
    <folder>/fields.json, codecs/       of a run over fields: which tokens are whose, and what codes mean
    <folder>/README.md                  the model card

A checkpoint of a run is such a folder already, card aside; an export adds the card, the manifest and the provenance.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motherlode import storage
from motherlode.errors import StorageError
from motherlode.fields import Field, Layout
from motherlode.generation.card import About
from motherlode.generation.codecs import CODECS
from motherlode.recipe import GenerateOptions
from motherlode.tokenizer import TokenSpace
from motherlode.tokenizer_files import tokenizer_files

if TYPE_CHECKING:
    from torch import Tensor, nn

    from motherlode.families import Family
    from motherlode.training.run import Run

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
SETTINGS = "generation_config.json"

_WRITES = """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
prompt = tokenizer("{prompt}", return_tensors="pt")
tokens = model.generate(**prompt, max_new_tokens=40)
text = tokenizer.decode(tokens[0], skip_special_tokens=True)
```

The tokenizer puts `{bos}` before a text, as every text began in training; how tokens are drawn is in
`generation_config.json`, as the run's recipe has it. `peft` adapts the model as it is; its
attention projections are `q_proj`, `k_proj`, `v_proj` and `o_proj`."""

_COMPOSES = """```python
from motherlode.fields import Layout
from motherlode.training.run import Run
from transformers import AutoModelForCausalLM, AutoTokenizer
import torch

layout, tokenizer = Layout.load("."), AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
prompt = tokenizer("{prompt}", return_tensors="pt")
num_given = prompt["input_ids"].shape[1]


def allowed(_, tokens):  # holds the model to whole samples
    ranges = layout.ranges("{name}", len(tokens) - num_given)
    return [token for first, behind in ranges for token in range(first, behind)]


tokens = model.generate(**prompt, do_sample=True, max_new_tokens={num}, prefix_allowed_tokens_fn=allowed)
codes = layout.field("{name}").codes_of(tokens[0, num_given:].numpy())
sample = Run.open("codecs/{name}").load().from_codes(torch.from_numpy(codes)[None])  # in [-1, 1]
```

`fields.json` says which tokens belong to which field; `codecs/` holds the models that give codes their meaning. In the
folder of its run, `lode generate` does all of this for every task, with guidance, and writes files."""

_FILLS = """```python
from transformers import AutoModelForMaskedLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForMaskedLM.from_pretrained(".")
tokens = tokenizer("{prompt}" + tokenizer.mask_token, return_tensors="pt")
guess = model(**tokens).logits[0, -1].argmax()
text = tokenizer.decode(guess)
```

The tokenizer puts `{bos}` before a text, as every text began in training."""


def write(run: Run, family: Family, variant: str, facts: dict[str, Any], folder: Path) -> About:
    """Write all but the card into `folder`.

    Args:
        run: whose samples are tokens.
        family: with the weights to write; its `state_dict` has transformers' names.
        variant: which weights.
        facts: where they come from; kept in the metadata of the weights.
        folder: empty.

    Returns:
        What the card is to say.
    """
    space = run.spec.tokens
    if space is None:
        raise StorageError(
            "only runs whose samples are tokens become Hugging Face folders", str(run.path), "export it as safetensors"
        )
    (length,) = run.spec.shape
    files = {**family.files(), **tokenizer_files(space.folder, length_tokens=length)}
    does_write = family.causal(variant) is not None
    if does_write:
        files[SETTINGS] = _settings(files[SETTINGS], run.recipe.generate, space)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    write_weights(family.state_dict(), folder / WEIGHTS, facts)
    task, example = ("text-generation", _WRITES) if does_write else ("fill-mask", _FILLS)
    tags = ", ".join(["generative", run.recipe.family, run.spec.modality])
    makes = f"{'writes' if does_write else 'fills masks in'} {run.spec.modality} of up to {length:,} tokens"
    use = example.format(prompt="Once upon a time", bos=_bos_name(folder))
    layout = Layout.load(space.folder)
    if layout is not None:
        shutil.copytree(run.path / CODECS, folder / CODECS)
        makes = f"makes fields of one another in documents of up to {length:,} tokens: {_tasks(layout)}"
        use = (_composed(layout) if does_write else "") or use
    return About(
        front=["library_name: transformers", f"pipeline_tag: {task}", f"tags: [{tags}]"],
        makes=f"{makes}, out of a vocabulary of {space.vocabulary:,}",
        use=use,
        limits=[
            f"It has seen windows of {length:,} tokens, and no text of more.",
            "It says what is likely, not what is true; it can repeat texts of its training data word for word.",
        ],
        origin=facts,
    )


def _tasks(layout: Layout) -> str:
    """What the tasks make of what: "label → image; image → caption"."""
    return "; ".join(f"{', '.join(task.given) or 'nothing'} → {', '.join(task.make)}" for task in layout.tasks)


def _composed(layout: Layout) -> str:
    """How to use the first task that makes a field of codes of a fixed size first; "" where none does."""
    for task in layout.tasks:
        one = layout.field(task.make[0])
        if one.kind == "codes" and one.num_tokens:
            given = "".join(f"<|{name}|>{_example(layout.field(name))}<|end|>" for name in task.given)
            return _COMPOSES.format(prompt=f"{given}<|{one.name}|>", name=one.name, num=one.num_tokens)
    return ""


def _example(one: Field) -> str:
    """A value of a given field, as tokens are written."""
    return f"<|{one.name}:0:0|>" if one.kind == "label" else "Once" if one.kind == "text" else ""


def _settings(content: bytes, options: GenerateOptions, space: TokenSpace) -> bytes:
    """`generation_config.json` by which transformers draws as the recipe does: its own default would be top-k 50."""
    found: dict[str, Any] = json.loads(content)
    found |= {"max_new_tokens": options.max_tokens, "repetition_penalty": options.repetition_penalty}
    found |= {"do_sample": options.temperature > 0}
    if options.temperature > 0:
        found |= {"temperature": options.temperature, "top_k": options.top_k, "top_p": options.top_p}
        found |= {"min_p": options.min_p} if options.min_p else {}
    never = sorted({space.pad, space.mask} - {space.bos, -1})
    return json.dumps(found | ({"suppress_tokens": never} if never else {}), indent=2).encode()


def _bos_name(folder: Path) -> str:
    config = storage.read_json(folder / "tokenizer_config.json")
    name = config.get("bos_token", "its first token")
    return str(name["content"] if isinstance(name, dict) else name)


def load(folder: Path, config: Mapping[str, Any]) -> nn.Module:
    """The model in such a folder, in eval mode.

    Raises:
        StorageError: transformers has no class of the name that `config.json` gives.
    """
    import transformers

    (name,) = config["architectures"]
    found = getattr(transformers, name, None)
    if found is None:
        raise StorageError("a model's class must be one of transformers", name, "upgrade transformers")
    module: nn.Module = found.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    return module.eval()


def write_weights(tensors: Mapping[str, Tensor], path: Path, facts: Mapping[str, Any]) -> None:
    """Tensors as safetensors; the metadata say where they came from."""
    from safetensors.torch import save_file

    ready = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(ready, path, metadata={"format": "pt", **{key: str(value) for key, value in facts.items()}})
