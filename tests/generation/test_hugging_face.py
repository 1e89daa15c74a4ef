"""The oracle is transformers: what its own loaders make of an exported folder, and what peft makes of that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

import motherlode as ml
from motherlode import storage
from motherlode.errors import CorruptError, RecipeError, StorageError
from motherlode.generation.export import export, load
from motherlode.tokenizer import Tokenizer, TokenSpace
from motherlode.training.run import Run

from .runs import WINDOW, text_run

TEXT = "The lode runs deep; 春眠不觉晓 🙂"


@pytest.fixture(scope="module", params=["nanochat", "qwen3", "bert"])
def run(request: pytest.FixtureRequest, space: TokenSpace, tmp_path_factory: pytest.TempPathFactory) -> Run:
    model = {"family": "bert"} if request.param == "bert" else {"architecture": request.param}
    return text_run(tmp_path_factory.mktemp("runs") / str(request.param), space, {"temperature": 0.7}, **model)


@pytest.fixture(scope="module")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(run, tmp_path_factory.mktemp("exports") / "out")


def automatic(run: Run) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    return AutoModelForCausalLM if run.recipe.family == "gpt" else AutoModelForMaskedLM


def test_transformers_loads_the_model_and_gives_the_same_logits(run: Run, folder: Path) -> None:
    theirs, found = automatic(run).from_pretrained(folder, output_loading_info=True)
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    assert not found["mismatched_keys"]
    ids = torch.arange(10, 30)[None]
    network = run.load().network.eval()
    with torch.no_grad():
        expected = network(input_ids=ids).logits
        torch.testing.assert_close(theirs(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(load(folder)(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-4)


def test_transformers_loads_the_tokenizer(folder: Path, words: Tokenizer) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)
    assert theirs(TEXT)["input_ids"] == [words.space().bos, *words.encode([TEXT])[0].tolist()]
    assert theirs.decode(theirs(TEXT)["input_ids"], skip_special_tokens=True) == TEXT
    assert theirs.model_max_length == WINDOW
    assert theirs.mask_token_id == words.space().mask


def test_the_code_on_the_card_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (block,) = (folder / "README.md").read_text().split("```python\n")[1:]
    names: dict[str, Any] = {}
    exec(compile(block.partition("```")[0], "card", "exec"), names)
    assert isinstance(names["text"], str)


def test_the_card_states_the_facts_of_the_run(run: Run, folder: Path) -> None:
    text = (folder / "README.md").read_text()
    task = "text-generation" if run.recipe.family == "gpt" else "fill-mask"
    for fact in (
        f"pipeline_tag: {task}",
        "library_name: transformers",
        run.facts["dataset"],
        run.recipe.digest(),
        f"up to {WINDOW} tokens, out of a vocabulary of 400",
        "`<|bos|>`",
        "Nothing was measured",
        "no longer at hand",
    ):
        assert fact in text
    assert "{" not in text.partition("## Data")[0].replace("```python", "")


def test_the_folder_is_whole_and_says_where_it_came_from(run: Run, folder: Path) -> None:
    storage.verify_manifest(folder)
    with safe_open(folder / "model.safetensors", "pt") as weights:
        metadata = weights.metadata()
    assert metadata["format"] == "pt"
    assert metadata["dataset"] == run.facts["dataset"]
    assert metadata["run"] == run.path.name
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    copy = folder.parent / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(bytes(data) if path.name == "model.safetensors" else path.read_bytes())
    with pytest.raises(CorruptError, match=r"model\.safetensors"):
        load(copy)


def test_transformers_draws_as_the_recipe_does(run: Run, folder: Path, space: TokenSpace) -> None:
    if run.recipe.family != "gpt":
        assert not (folder / "generation_config.json").exists()
        return
    settings = json.loads((folder / "generation_config.json").read_text())
    assert (settings["temperature"], settings["top_k"], settings["do_sample"]) == (0.7, 0, True)
    assert settings["suppress_tokens"] == [space.pad, space.mask]
    model = automatic(run).from_pretrained(folder)
    made = model.generate(torch.tensor([[space.bos]] * 64), max_new_tokens=WINDOW - 1)
    assert not torch.isin(made[made != space.pad][None], torch.tensor([space.mask])).any()
    assert model.generation_config.eos_token_id == space.bos


def test_a_greedy_recipe_exports_too(space: TokenSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr("motherlode.generation.lean.multiplies_bf16", lambda: False)
    run = text_run(
        tmp_path / "run", space, {"temperature": 0, "repetition_penalty": 1.2, "max_tokens": 9, "valid_utf8": False}
    )
    model = AutoModelForCausalLM.from_pretrained(export(run))
    prompt = torch.tensor([[space.bos, 65, 66]])
    theirs = model.generate(prompt, suppress_tokens=[*model.generation_config.suppress_tokens, *range(400, 448)])
    found = run.load().space
    (text,) = ml.generate(run, prompt=tokenizer_of(found).decode([65, 66]))
    expected = tokenizer_of(found).decode(theirs[0].tolist())
    assert text.rstrip("\ufffd") == expected.rstrip("\ufffd")


def tokenizer_of(space: TokenSpace) -> Tokenizer:
    from motherlode.tokenizer import load as load_tokenizer

    return load_tokenizer(space.folder)


def test_the_run_itself_is_such_a_folder(run: Run) -> None:
    checkpoint = run.checkpoint()
    ids = torch.arange(10, 30)[None]
    with torch.no_grad():
        theirs = automatic(run).from_pretrained(checkpoint)(input_ids=ids).logits
        torch.testing.assert_close(theirs, run.load().network.eval()(input_ids=ids).logits, rtol=1e-4, atol=1e-4)


def test_onnx_is_refused_with_another_way(run: Run, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="optimum-cli"):
        export(run, tmp_path / "out", formats=["safetensors", "onnx"])
    assert list(tmp_path.iterdir()) == []


def test_a_class_that_transformers_lacks_is_named(folder: Path, tmp_path: Path) -> None:
    from motherlode.generation import hugging_face

    with pytest.raises(StorageError, match="UnheardOf"):
        hugging_face.load(tmp_path, {"architectures": ["UnheardOf"]})


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_peft_adapts_it(run: Run, folder: Path) -> None:
    peft = pytest.importorskip("peft", reason="LoRA is tested where peft is installed")
    if run.recipe.family != "gpt":
        return
    model = automatic(run).from_pretrained(folder)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]))
    ids = torch.arange(10, 30)[None]
    loss = adapted(input_ids=ids, labels=ids).loss
    loss.backward()
    learning = [name for name, parameter in adapted.named_parameters() if parameter.grad is not None]
    assert learning
    assert all("lora_" in name for name in learning)
