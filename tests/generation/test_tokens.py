"""`generate` on runs of texts, by either kind of family: what it returns, what it writes, what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import motherlode as ml
from motherlode import storage
from motherlode.errors import CorruptError, RecipeError, StorageError, TrainingError
from motherlode.generation import tokens
from motherlode.generation.tokens import Text, author, in_order
from motherlode.generation.writing import Piece
from motherlode.recipe import GenerateOptions
from motherlode.tokenizer import TokenSpace
from motherlode.training.run import Run

from .runs import WINDOW, text_run

SHORT = GenerateOptions(max_tokens=8)


@pytest.fixture(params=["gpt", "bert"])
def run(request: pytest.FixtureRequest) -> Run:
    found: Run = request.getfixturevalue(f"{request.param}_run")
    return found


def test_texts_begin_with_their_prompts_and_a_seed_names_them(run: Run) -> None:
    texts = ml.generate(run, 5, seed=1, prompt=["Once", "春"], options=SHORT)
    assert [text[:1] for text in texts] == ["O", "春", "O", "春", "O"]
    assert all(text.startswith(("Once", "春")) for text in texts)
    assert texts == ml.generate(run.path, 5, 1, prompt=["Once", "春"], options=SHORT)
    assert texts[:3] == ml.generate(run, 3, seed=1, prompt=["Once", "春"], options=SHORT)
    assert texts != ml.generate(run, 5, seed=2, prompt=["Once", "春"], options=SHORT)
    assert len(set(texts)) == 5


def test_by_itself_a_text_for_each_prompt(run: Run) -> None:
    assert len(ml.generate(run, prompt=["a", "b", "c"], options=SHORT)) == 3
    (alone,) = ml.generate(run, options=SHORT)
    assert isinstance(alone, str)


def test_the_recipe_says_how_unless_the_call_does(space: TokenSpace, tmp_path: Path) -> None:
    run = text_run(tmp_path / "run", space, {"max_tokens": 3, "template": "<{prompt}>", "temperature": 0.0})
    (text,) = author(run).texts(author(run).prompts("x"), author(run).pieces(author(run).prompts("x"), 1, 0))
    assert text.prompt == "<x>"
    assert text.num_tokens <= 3
    assert ml.generate(run, 2, prompt="x")[0] == ml.generate(run, 2, prompt="x")[1]
    assert not ml.generate(run, prompt="x", options=SHORT)[0].startswith("<")


def test_files_hold_the_texts_and_say_where_they_came_from(run: Run, tmp_path: Path) -> None:
    options = GenerateOptions(max_tokens=8, temperature=0.9)
    out = tmp_path / "out"
    texts = ml.generate(run, 11, seed=9, prompt=["Once", "春"], options=options, out=out)
    lines = storage.read_lines(out / "samples.jsonl")
    assert [line["file"] for line in lines] == [f"{number:02d}.txt" for number in range(11)]
    for line, text in zip(lines, texts, strict=True):
        media = (out / line["file"]).read_bytes()
        assert media.decode() == text
        assert storage.hash_bytes(media) == line["hash"]
        assert (line["seed"], line["variant"], line["recipe"]) == (9, "raw", run.recipe.digest())
        assert line["generate"] == {"max_tokens": 8, "temperature": 0.9}
        assert line["prompt"] == ["Once", "春"][line["index"] % 2]
        assert line["ended"] in ("end", "max_tokens", "window", "stop")
        assert 0 <= line["tokens"] <= 8
    record = json.loads((out / "provenance.json").read_text())
    assert record["title"] == "11 generated samples"
    assert record["assertions"][1]["data"]["dataset"] == run.facts["dataset"]
    storage.verify_manifest(out)
    ml.generate(run, 1, options=SHORT, out=out)
    assert len(list(out.glob("*.txt"))) == 1


def test_a_folder_of_someone_elses_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StorageError, match="choose another --out"):
        ml.generate(run, 1, options=SHORT, out=tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_disk_that_fills_leaves_nothing_behind(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="room"):
        ml.generate(run, 2, options=SHORT, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_pieces_are_the_texts(run: Run) -> None:
    writes = author(run, GenerateOptions(max_tokens=20, block_tokens=4, steps=2))
    prompts = writes.prompts(["Once upon", "床前"])
    whole = list(writes.texts(prompts, writes.pieces(prompts, 6, 3)))
    assert [text.number for text in whole] == list(range(6))
    streamed: dict[int, str] = dict.fromkeys(range(6), "")
    num_pieces = 0
    for piece in in_order(writes.pieces(prompts, 6, 3)):
        assert all(text == whole[number].text for number, text in streamed.items() if number < piece.number)
        streamed[piece.number] += piece.text
        num_pieces += bool(piece.text)
    assert streamed == {text.number: text.text for text in whole}
    assert num_pieces > 12


def test_stop_strings_end_texts(run: Run) -> None:
    plain = ml.generate(run, 6, prompt="Once", options=GenerateOptions(max_tokens=12))
    letter = next(sign for text in plain for sign in text[6:] if sign != "\ufffd")
    stopped = ml.generate(run, 6, prompt="Once", options=GenerateOptions(max_tokens=12, stop=(letter,)))
    if run.recipe.family == "gpt":
        assert stopped == ["Once" + text[4:].partition(letter)[0] for text in plain]
    assert all(letter not in text[4:] for text in stopped)


def test_gaps_are_filled_and_the_rest_is_kept(bert_run: Run) -> None:
    writes = author(bert_run, GenerateOptions(max_tokens=5, stop=("o",)))
    prompts = writes.prompts("The lode [MASK*4] on and [MASK], deep.")
    for text in writes.texts(prompts, writes.pieces(prompts, 4, 0)):
        first, _, rest = text.text.partition(" on and")
        assert first.startswith("The lode")
        assert rest.endswith(", deep.")
        assert "[MASK" not in text.text
        assert (text.num_tokens, text.ended, text.prompt) == (5, "max_tokens", prompts[0].text)


@pytest.mark.parametrize("steps", [1, 4, 24])
@pytest.mark.parametrize("prompt", ["春", "The lode [MASK*7]处[MASK*2] on [MASK]"])
def test_filling_spells_whole_characters_within_and_at_the_end(bert_run: Run, prompt: str, steps: int) -> None:
    options = GenerateOptions(max_tokens=24, block_tokens=24, steps=steps)
    texts = ml.generate(bert_run, 8, prompt=prompt, options=options)
    assert not [text for text in texts if "\ufffd" in text]
    assert any(not text.isascii() for text in texts)
    free = ml.generate(bert_run, 8, prompt=prompt, options=options.model_copy(update={"valid_utf8": False}))
    assert [text for text in free if "\ufffd" in text]


def test_filling_ends_with_the_window(bert_run: Run) -> None:
    writes = author(bert_run, GenerateOptions(max_tokens=500, steps=2))
    prompts = writes.prompts("Once")
    (text,) = writes.texts(prompts, writes.pieces(prompts, 1, 0))
    assert text.ended == "window"
    assert len(prompts[0].tokens_T) + text.num_tokens == WINDOW


@pytest.mark.parametrize(("name", "value"), [("top_k", 3), ("top_p", 0.5), ("min_p", 0.1), ("repetition_penalty", 2.0)])
def test_what_filling_cannot_honour_is_refused(bert_run: Run, name: str, value: float) -> None:
    with pytest.raises(RecipeError, match=f"generate.{name}"):
        ml.generate(bert_run, prompt="a", options=GenerateOptions(**{name: value}))


def test_what_cannot_be_asked(run: Run, tiny_run: Path) -> None:
    with pytest.raises(RecipeError, match="by a prompt"):
        ml.generate(run, 2, condition="Bag")
    with pytest.raises(RecipeError, match="only models of texts take prompts"):
        ml.generate(tiny_run, 2, prompt="Bag")
    with pytest.raises(RecipeError, match="must hold text"):
        ml.generate(run, 2, prompt="")
    with pytest.raises(RecipeError, match="at least 1"):
        ml.generate(run, 0)
    with pytest.raises(RecipeError, match="did you mean 'raw'"):
        ml.generate(run, 1, variant="row")
    with pytest.raises(TrainingError, match="choose one of: best, last, step-1"):
        ml.generate(run, 1, which="step-9")


def copied(run: Run, folder: Path) -> Run:
    shutil.copytree(run.path, folder)
    return Run.open(folder)


def test_a_tokenizer_of_another_vocabulary_is_refused(run: Run, tmp_path: Path) -> None:
    copy = copied(run, tmp_path / "run")
    path = copy.path / "tokenizer" / "tokenizer.json"
    content = json.loads(path.read_text())
    dropped = max(content["model"]["vocab"], key=content["model"]["vocab"].get)
    del content["model"]["vocab"][dropped]
    content["model"]["merges"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(RecipeError, match=r"has 399 tokens, the model knows 400"):
        ml.generate(copy, 1)
    path.unlink()
    with pytest.raises(ml_errors(), match=r"tokenizer\.json"):
        ml.generate(copy, 1)


def ml_errors() -> Any:
    from motherlode.errors import MotherlodeError

    return MotherlodeError


def test_damaged_and_diverged_weights_are_refused(gpt_run: Run, tmp_path: Path) -> None:
    copy = copied(gpt_run, tmp_path / "damaged")
    weights = copy.path / "checkpoints" / "step-1" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CorruptError, match=r"model\.safetensors"):
        ml.generate(copy, 1)


def test_an_order_is_kept_over_texts_that_end_in_another() -> None:
    pieces = [
        Piece(1, "b", 0), Piece(0, "a", 0), Piece(2, "c", 0, "end"), Piece(1, "B", 1, "end"), Piece(0, "A", 1),
        Piece(0, "", 1, "stop"), Piece(3, "d", 0, "end"),
    ]  # fmt: skip
    found = list(in_order(pieces))
    assert [piece.number for piece in found] == [0, 0, 0, 1, 1, 2, 3]
    assert "".join(piece.text for piece in found) == "aAbBcd"


def test_memory_stays_flat(gpt_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are let go as they are written."""
    monkeypatch.setattr(tokens, "SLOTS", 3)
    alive = most = 0

    class Counted(Text):
        def __init__(self, *arguments: Any) -> None:
            nonlocal alive, most
            super().__init__(*arguments)
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    monkeypatch.setattr(tokens, "Text", Counted)
    writes = author(gpt_run, GenerateOptions(max_tokens=3))
    prompts = writes.prompts("a")
    made = writes.texts(prompts, writes.pieces(prompts, 30, 0))
    for text in tokens.save(made, 30, tmp_path / "out", writes.facts(0)):
        del text
    assert most <= 2


def test_a_cache_that_would_be_too_large_holds_fewer_texts(gpt_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from motherlode.generation.decoding import bytes_of_place

    asked = []
    real = tokens.Writer

    def counted(decoder: Any, num_slots: int, *rest: Any) -> Any:
        asked.append(num_slots)
        return real(decoder, num_slots, *rest)

    monkeypatch.setattr(tokens, "Writer", counted)
    size = bytes_of_place(gpt_run.load().network)
    assert size == 2 * 2 * 2 * 32
    found = []
    for room in (1 << 30, 3 * size * WINDOW, 1):
        monkeypatch.setattr(tokens, "CACHE_BYTES", room)
        found.append(ml.generate(gpt_run, 7, prompt="a", options=GenerateOptions(max_tokens=100)))
    assert asked == [7, 3, 1]
    assert found[0] == found[1] == found[2]


def test_threads_do_not_change_texts(gpt_run: Run) -> None:
    before = torch.get_num_threads()
    found = []
    try:
        for num in (1, 2):
            torch.set_num_threads(num)
            found.append(ml.generate(gpt_run, 4, prompt="Once", options=SHORT))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]
