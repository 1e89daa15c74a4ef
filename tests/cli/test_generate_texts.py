"""`lode generate` on a run of texts, as a person runs it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from motherlode import storage, tokenizer
from motherlode.cli import generate
from motherlode.training.run import Run

from ..generation.runs import CORPUS, text_run  # noqa: TID252
from .conftest import Lode, assert_one_clear_error


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    words = tokenizer.train(CORPUS * 3, 400, folder / "tokenizer")
    text_run(folder / "stories", words.space(), {"max_tokens": 10, "templates": {"poem": "Title: {prompt}\n"}})
    text_run(folder / "gaps", words.space(), {"max_tokens": 10}, family="bert", mask_rate="uniform")
    return folder


@pytest.fixture(params=["stories", "gaps"])
def run(request: pytest.FixtureRequest, made: Path, here: Path) -> Path:
    shutil.copytree(made / request.param, here / "run")
    return here / "run"


@pytest.fixture
def stories(made: Path, here: Path) -> Path:
    shutil.copytree(made / "stories", here / "run")
    return here / "run"


def test_texts_are_written_and_shown(lode: Lode, run: Path) -> None:
    result = lode("generate", run, "--prompt", "Once", "-p", "春", "--num", 3)
    assert result.exit_code == 0, result.output
    assert "\n\n---\n\n春" in result.stdout
    assert "3 texts in" in result.stdout
    folder = run / "generated" / "seed-0"
    lines = storage.read_lines(folder / "samples.jsonl")
    texts = [(folder / line["file"]).read_bytes().decode() for line in lines]
    assert [text[:1] for text in texts] == ["O", "春", "O"]
    assert all(text.strip() in result.stdout for text in texts)


def test_prompts_beyond_the_number_asked_for_are_told_of(lode: Lode, stories: Path) -> None:
    result = lode("generate", stories, "-p", "Once", "-p", "Then", "-p", "Now", "--num", 1)
    assert "nothing is made of the last 2 of 3 prompts" in result.stderr
    assert "prompts" not in lode("generate", stories, "-p", "Once", "-p", "Then").stderr


def test_a_stream_shows_the_same_and_writes_only_where_asked(lode: Lode, run: Path, here: Path) -> None:
    result = lode("generate", run, "--prompt", "Once", "--num", 2, "--stream")
    assert result.exit_code == 0, result.output
    assert not (run / "generated").exists()
    written = lode("generate", run, "--prompt", "Once", "--num", 2, "--stream", "--out", "kept")
    assert written.stdout.startswith(result.stdout)
    texts = [path.read_bytes().decode() for path in sorted((here / "kept").glob("*.txt"))]
    assert result.stdout == "\n\n---\n\n".join(texts) + "\n"


def test_prompts_come_from_a_file_and_options_from_the_line(lode: Lode, stories: Path, here: Path) -> None:
    (here / "titles.txt").write_text("Spring\nDawn\n", encoding="utf-8")
    result = lode(
        "generate", stories, "-p", "@titles.txt", "--set", "generate.template=poem", "--set", "generate.max_tokens=2",
        "--out", "poems",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    texts = [path.read_bytes().decode() for path in sorted((here / "poems").glob("*.txt"))]
    assert [text.partition("\n")[0] for text in texts] == ["Title: Spring", "Title: Dawn"]
    assert Run.open(stories).recipe.generate.max_tokens == 10


def test_texts_that_the_window_cuts_are_counted(lode: Lode, run: Path) -> None:
    result = lode(
        "generate", run, "--num", 3, "--set", "generate.max_tokens=200", "--set", "generate.steps=2", "--stream"
    )
    assert result.exit_code == 0, result.output
    assert "of 3 texts end where the model's window of 64 tokens is full" in result.stderr
    assert "window" not in lode("generate", run, "--num", 3, "--stream").stderr


def test_gaps_are_filled(lode: Lode, made: Path) -> None:
    result = lode("generate", made / "gaps", "-p", "The [MASK*3] runs.", "--stream")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("The")
    assert result.stdout.endswith(" runs.\n")
    assert "MASK" not in result.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--prompt", ""], ["must hold text"]),
        (["--prompt", "deep " * 90], ["window of 64 tokens", "data.length"]),
        (["--prompt", "@nothing.txt"], ["nothing.txt"]),
        (["--prompt", "a [MASK] b"], ["fills no gaps"]),
        (["--label", "Bag"], ["--prompt"]),
        (["--set", "generate.temperature=-1"], ["greater than or equal to 0", "generate.temperature"]),
        (["--set", "generate.temprature=1"], ["did you mean `temperature`"]),
        (["--set", "generate.stop=[1]"], ["generate.stop.0"]),
        (["--set", "generate.stop={a: 1}"], ["generate.stop"]),
        (["--set", "generate.template=sonnet"], ["{prompt}", "poem"]),
        (["--set", "train.batch=3"], ["train.batch=3", "generate."]),
        (["--set", "generate"], ["key"]),
        (["--variant", "ema"], ["raw"]),
        (["--checkpoint", "step-7"], ["step-1"]),
    ],
)
def test_what_cannot_be_written_is_one_clear_error(
    lode: Lode, stories: Path, words: list[str], said: list[str]
) -> None:
    assert_one_clear_error(lode("generate", stories, *words), *said)
    assert not (stories / "generated").exists()


def test_a_terminal_gets_no_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a\x1b[31m\tb\x9b\r\n春🙂\x07"
    assert generate.visible(text) == text
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert generate.visible(text) == "a[31m\tb\n春🙂"


def test_runs_of_pictures_take_no_prompts(lode: Lode, tiny_run: Path) -> None:
    for words in (["--prompt", "a"], ["--stream"], ["--set", "generate.top_k=3"]):
        assert_one_clear_error(lode("generate", tiny_run, *words), "only runs of texts")


def test_a_run_of_texts_exports_to_a_hugging_face_folder(lode: Lode, run: Path, here: Path) -> None:
    result = lode("export", run, "--out", "hf")
    assert result.exit_code == 0, result.output
    names = {path.name for path in (here / "hf").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md"} <= names
    assert_one_clear_error(lode("export", run, "--format", "onnx", "--out", "x"), "optimum-cli")
