"""`evaluate` on real, tiny language models and on folders of texts whose answer is known."""

from __future__ import annotations

import gzip
import json
import math
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from motherlode import tokenizer as tokenizers
from motherlode.data.dataset import Dataset
from motherlode.data.tokens import open_packed
from motherlode.errors import MeasureError, MissingExtraError, SourceError
from motherlode.measures.report import Report
from motherlode.randomness import numpy_generator
from motherlode.recipe import Recipe, parse
from motherlode.tokenizer import TokenSpace
from motherlode.training import harness
from motherlode.training.evaluate import evaluate
from motherlode.training.run import Run, train
from motherlode.training.texts import within

from ..data.texts import write_texts  # noqa: TID252

POEMS = Path(__file__).parents[2] / "examples" / "data" / "poems.jsonl.gz"
BOOK = Path(__file__).parents[2] / "examples" / "data" / "book.jsonl.gz"
LENGTH = 64


def texts(path: Path, num: int) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line, _ in zip(file, range(3 * num))]
    whole = [row["text"] for row in rows if not row.get("plant")][:num]
    return [text[: 90 if number % 3 else 700] for number, text in enumerate(whole)]


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Beginnings of 240 chapters and poems, short and long, a fifth of them held out."""
    both = [*texts(BOOK, 120), *texts(POEMS, 120)]
    seen = [text for number, text in enumerate(both) if number % 5]
    return write_texts(tmp_path_factory.mktemp("data") / "both", {"both": seen}, both[::5])


def trained(dataset: Dataset, out: Path, name: str, family: str = "gpt", steps: int = 4, **changes: object) -> Run:
    content = {
        "name": name,
        "out": str(out),
        "data": {"path": str(dataset.path), "length": LENGTH, "vocabulary": 600, **changes},
        "model": {"family": family, "width": 32, "depth": 2, "heads": 2},
        "train": {
            "batch": 8,
            "budget": {"steps": steps},
            "optimizer": {"name": "adamw", "lr": 3e-3},
            "precision": "fp32",
            "compile": "off",
            "device": "cpu",
            "sample_every": 1.0,
            "checkpoint_every": 1.0,
        },
        "evaluate": {"extractor": "character-trigrams", "num_samples": 40},
    }
    return train(parse(Recipe, content))


@pytest.fixture(scope="module")
def run(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(dataset, tmp_path_factory.mktemp("runs"), "tiny")


@pytest.mark.parametrize("family", ["gpt", "bert"])
def test_a_run_outlives_what_it_began_from(family: str, dataset: Dataset, tmp_path: Path) -> None:
    first = trained(dataset, tmp_path, "first", family, steps=1)
    recipe = first.recipe.model_dump(mode="json", exclude_unset=True)
    recipe |= {"name": "second", "model": {"family": family, "start": str(first.checkpoint("last"))}}
    second = train(parse(Recipe, recipe))
    before = second.load("last").state_dict()
    first.path.rename(tmp_path / "moved")
    after = Run.open(second.path).load("last").state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_run_is_measured(run: Run, dataset: Dataset) -> None:
    told: list[float] = []
    report = evaluate(run, progress=lambda _, share: told.append(share))
    bits = report["bits_per_byte"]
    assert (bits.num_samples, bits.dtype, bits.resize) == (48, "float32", "window 64, stride 32")
    assert bits.reference == f"heldout of dataset {dataset.id[:12]}"
    assert bits.low < bits.value < bits.high
    assert 2 < bits.value < 8
    assert report["perplexity"].extractor.startswith("tokenizer-600-")
    assert abs(report["bits_per_byte_gap"].value) < 1
    assert report["mauve"].label == "mauve[character-trigrams]"
    assert report["mauve"].value < report["mauve_floor"].value
    assert {"distinct_1", "self_bleu", "repetition", "verbatim", "longest_match"} <= set(report)
    assert not {"bits_per_byte_bound", "masked_accuracy", "frechet"} & set(report)
    assert report["longest_match"].reference == f"train of dataset {dataset.id[:12]}"
    assert told == sorted(told)
    page = (run.path / "report.html").read_text(encoding="utf-8")
    for words in ("Bits per byte", "Generated", "How well it predicts", "tiny", "tokens seen", "xz"):
        assert words in page
    opened = Report.open(run.path)
    assert dict(opened) == dict(report)
    assert {found.verdict for found in opened.compare(report)} == {"no clear change"}


def test_bits_are_what_transformers_computes_from_the_checkpoint(run: Run, dataset: Dataset) -> None:
    """Documents that fit the window, one at a time, through `AutoModelForCausalLM` and its own loss."""
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(run.checkpoint())
    space = run.spec.tokens
    assert space is not None
    packed = open_packed(dataset, "heldout", tokenizers.load(space.folder))
    short = [number for number in range(len(packed)) if len(packed.document(number)) <= LENGTH]
    assert len(short) > 10
    nats = 0.0
    with torch.no_grad():
        for number in short:
            tokens = torch.from_numpy(packed.document(number))[None]
            nats += float(model(input_ids=tokens, labels=tokens).loss) * (tokens.shape[1] - 1)
    from motherlode.measures.language_likelihood import bits_per_byte, document_nats

    found = document_nats(run.load(), packed, np.array(short), bos=space.bos, window=LENGTH, stride=LENGTH // 2)
    assert found is not None
    assert found.sum() == pytest.approx(nats, rel=1e-4)
    assert bits_per_byte(found, packed.num_bytes_N[short]).value == pytest.approx(
        nats / math.log(2) / sum(len(text.encode()) for text in _heldout(dataset, short)), rel=1e-4
    )


def _heldout(dataset: Dataset, rows: list[int]) -> list[str]:
    column = dataset.split("heldout").column("text")
    return [column[row] for row in rows]


def test_more_training_is_told_from_less(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    longer = trained(dataset, tmp_path, "longer", steps=25)
    before, after = (evaluate(each, measures=("likelihood",)) for each in (run, longer))
    found = {difference.name: difference for difference in after.compare(before)}
    assert found["bits_per_byte"].verdict == "better"
    assert found["bits_per_byte"].change.method == "paired, document by document"
    assert found["perplexity"].verdict == "better"


def test_runs_of_unlike_tokenizers_compare_in_bytes(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    other = trained(dataset, tmp_path, "bytes", vocabulary=262)
    before, after = (evaluate(each, measures=("likelihood",)) for each in (run, other))
    assert {difference.name for difference in after.compare(before)} == {"bits_per_byte", "bits_per_byte_xz"}
    assert "same extractor" in after.unlike(before)["perplexity"].invariant


def test_a_model_that_fills_masks_is_bounded(dataset: Dataset, tmp_path: Path) -> None:
    bert = trained(dataset, tmp_path, "bert", family="bert")
    report = evaluate(bert, measures=("bound", "masked", "overfitting_bits"))
    assert list(report) == ["bits_per_byte_xz", "bits_per_byte_gap", "bits_per_byte_bound", "masked_accuracy"]
    assert 2 < report["bits_per_byte_bound"].value < 9
    assert 0 <= report["masked_accuracy"].value < 0.5
    assert "of the bound" in report["bits_per_byte_gap"].method
    with pytest.raises(MeasureError, match="something must be there"):
        evaluate(bert, measures=("perplexity",))


def test_a_bound_and_an_exact_value_are_compared(run: Run, dataset: Dataset, tmp_path: Path) -> None:
    bert = trained(dataset, tmp_path, "bert", family="bert")
    bound, exact = evaluate(bert, measures=("bound",)), evaluate(run, measures=("likelihood",))
    found = bound.compare(exact)
    assert [difference.name for difference in found] == ["bits_per_byte_xz", "bits_per_byte_bound"]
    assert found[1].verdict in ("better", "no clear change", "not known: a bound")


def test_the_seed_decides_what_is_written(run: Run) -> None:
    first, again, other = (evaluate(run, measures=("variety",), seed=seed) for seed in (1, 1, 2))
    assert dict(first) == dict(again)
    assert first["distinct_2"].value != other["distinct_2"].value
    assert first["distinct_2_real"].reference == other["distinct_2_real"].reference


def test_a_stride_costs_passes_and_gives_context(run: Run) -> None:
    small, large = (evaluate(run, measures=("likelihood",), stride=stride) for stride in (8, 63))
    assert small["bits_per_byte"].resize == "window 64, stride 8"
    assert small["bits_per_byte"].value == pytest.approx(large["bits_per_byte"].value, rel=0.1)
    assert small["bits_per_byte"].value != large["bits_per_byte"].value
    with pytest.raises(MeasureError, match="same resize"):
        small.compare(Report({"bits_per_byte": large["bits_per_byte"]}))
    with pytest.raises(MeasureError, match="smaller than the window"):
        evaluate(run, measures=("likelihood",), stride=64)


def test_the_model_itself_reads_texts_for_mauve(run: Run) -> None:
    report = evaluate(run, measures=("mauve",), extractor="self")
    assert report["mauve"].label == f"mauve[tiny/{run.checkpoint().name}]"
    assert report["mauve"].resize == "first 64 tokens, mean"


def test_a_subset_that_was_trained_on_is_what_is_searched(dataset: Dataset, tmp_path: Path) -> None:
    few = trained(dataset, tmp_path, "few", num_samples=20)
    from motherlode.training.asked import Asked
    from motherlode.training.evaluate_language import panel_of_run

    asked = Asked(None, None, None, None, None, None, 0, None, "best", "cpu", None)
    panel, _, _ = panel_of_run(few, asked, None)
    assert panel.search is not None
    assert panel.train is not None
    assert panel.model is not None
    assert panel.model.train is not None
    assert len(panel.train) == len(panel.model.train) == 20
    stream = np.concatenate(list(panel.search.pieces()))
    assert len(stream) == panel.search.num_tokens
    assert (stream == panel.search.boundary).sum() == 20
    # What is said to stand around a match does.
    before, copied, after = panel.search.around(5, 4)
    assert before + copied + after in panel.model.text_of(stream)


def write(folder: Path, given: list[str]) -> Path:
    folder.mkdir(parents=True)
    for number, text in enumerate(given):
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    return folder


def test_a_folder_of_copies_is_found_out(dataset: Dataset, tmp_path: Path) -> None:
    train_texts = list(dataset.split("train").column("text"))
    copies = write(tmp_path / "copies", train_texts[:30])
    report = evaluate(
        samples=copies, reference=dataset.path, train=dataset.path, extractor="character-trigrams", out=tmp_path / "out"
    )
    long = [text for text in train_texts[:30] if len(text) > 200]
    assert report["verbatim"].value > 0.95 * sum(map(len, long)) / sum(map(len, train_texts[:30]))
    assert report["verbatim"].low > report["verbatim_real"].high
    assert report["verbatim"].label == "verbatim[words]"
    assert "bits_per_byte" not in report
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.count("<mark>") >= 2
    assert "training text" in page


def test_real_texts_score_as_real(dataset: Dataset, tmp_path: Path) -> None:
    whole = dataset.split("train").column("text")
    real = list(whole[numpy_generator(0, "test halves").permutation(len(whole))])
    half, other = write(tmp_path / "half", real[::2]), write(tmp_path / "other", real[1::2])
    report = evaluate(samples=half, reference=other, extractor="character-trigrams")
    assert report["mauve"].value > 0.8
    for name in ("distinct_2", "self_bleu", "repetition"):
        assert report[name].low < report[f"{name}_real"].high
        assert report[f"{name}_real"].low < report[name].high
    assert "verbatim" not in report
    looped = write(tmp_path / "looped", [text[:60] * 8 for text in real[::2]])
    assert evaluate(samples=looped, reference=other, measures=("repetition",))["repetition"].low > 0.5


def test_the_first_document_of_a_row() -> None:
    space = TokenSpace(9, 0, 1, 2, "")
    assert within(np.array([0, 5, 6, 0, 7]), space).tolist() == [5, 6]
    assert within(np.array([0, 5, 1, 1]), space).tolist() == [5]
    assert within(np.array([5, 6]), space).tolist() == [5, 6]
    assert within(np.array([0, 0]), space).tolist() == []
    assert within(np.array([], np.int64), space).tolist() == []


def test_what_cannot_be_measured_is_refused(run: Run, dataset: Dataset, fashion: Path, tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match="did you mean 'perplexity'"):
        evaluate(run, measures=("perplexitty",))
    with pytest.raises(MeasureError, match="not one of such data"):
        evaluate(run, measures=("frechet",))
    with pytest.raises(MeasureError, match="no extractor of texts"):
        evaluate(run, extractor="clip")
    with pytest.raises(MeasureError, match="measured on texts"):
        evaluate(run, reference=fashion)
    with pytest.raises(SourceError, match="must be in a folder"):
        evaluate(samples=tmp_path / "absent", reference=dataset.path)
    with pytest.raises(SourceError, match="must be text files"):
        evaluate(samples=tmp_path, reference=dataset.path)
    with pytest.raises(MeasureError, match="no model of its own"):
        evaluate(samples=write(tmp_path / "some", ["a b c d"] * 9), reference=dataset.path, extractor="self")
    alone = write_texts(tmp_path / "alone", {"a": texts(BOOK, 9)}, texts(BOOK, 10)[9:])
    with pytest.raises(MeasureError, match="1 held-out documents"):
        evaluate(run, reference=alone.path)


# ------------------------------------------------------------------------------------------------------- harness


@pytest.fixture
def task(dataset: Dataset, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tasks on local data: the held-out documents that fit the window, and choices between two tokens."""
    pytest.importorskip("lm_eval.models.huggingface")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hub"))
    space = run.spec.tokens
    assert space is not None
    packed = open_packed(dataset, "heldout", tokenizers.load(space.folder))
    short = [number for number in range(len(packed)) if len(packed.document(number)) <= LENGTH]
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in _heldout(dataset, short)]
    (tmp_path / "short.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "task.yaml").write_text(
        f"""task: own_documents
dataset_path: json
dataset_kwargs:
  data_files:
    test: {tmp_path}/short.jsonl
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list:
  - metric: bits_per_byte
  - metric: byte_perplexity
metadata:
  version: 1.0
"""
    )
    return tmp_path / "task.yaml"


@pytest.mark.slow
def test_the_harness_agrees_with_us(run: Run, dataset: Dataset, task: Path, tmp_path: Path) -> None:
    """Two programs, one number: bits per byte of the documents that fit the window."""
    state = random.getstate()
    found = harness.harness_measures(run.checkpoint(), (str(task),))
    assert random.getstate() == state
    report = evaluate(run, measures=("bits_per_byte",), harness=(str(task),), out=tmp_path)
    assert {name: report[name] for name in found} == found
    theirs = report["harness:own_documents:bits_per_byte"]
    assert theirs.extractor.startswith("lm-eval 0.")
    assert theirs.direction == "lower"
    space = run.spec.tokens
    assert space is not None
    packed = open_packed(dataset, "heldout", tokenizers.load(space.folder))
    short = np.array([number for number in range(len(packed)) if len(packed.document(number)) <= LENGTH])
    assert theirs.num_samples == len(short)
    from motherlode.measures.language_likelihood import bits_per_byte, document_nats

    nats = document_nats(run.load(), packed, short, bos=space.bos, window=LENGTH, stride=LENGTH // 2)
    assert nats is not None
    assert theirs.value == pytest.approx(bits_per_byte(nats, packed.num_bytes_N[short]).value, rel=1e-4)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "own_documents: bits_per_byte" in page
    assert Report.open(tmp_path)["harness:own_documents:bits_per_byte"] == theirs
    few = evaluate(run, measures=("bits_per_byte",), harness=(str(task),), harness_limit=3, out=tmp_path)
    assert few["harness:own_documents:bits_per_byte"].num_samples == 3
    with pytest.raises(MeasureError, match="same num samples"):
        report.compare(Report({theirs.name: few[theirs.name]}))


@pytest.mark.slow
def test_what_the_harness_cannot_run_is_refused(run: Run, task: Path, tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match="must know the task"):
        evaluate(run, measures=("bits_per_byte",), harness=("no_such_task",))
    with pytest.raises(MeasureError, match="file must exist"):
        evaluate(run, measures=("bits_per_byte",), harness=("absent.yaml",))
    broken = tmp_path / "broken.yaml"
    broken.write_text(task.read_text().replace("short.jsonl", "absent.jsonl").replace("own_documents", "own_broken"))
    with pytest.raises(MeasureError, match="own_broken"):
        evaluate(run, measures=("bits_per_byte",), harness=(str(broken),))


def test_the_harness_may_be_absent(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(harness, "import_module", absent)
    with pytest.raises(MissingExtraError, match="harness"):
        harness.harness_measures(run.checkpoint(), ("arc_easy",))
    monkeypatch.undo()
    with pytest.raises(MeasureError, match="causal language model"):
        harness.harness_measures(tmp_path, ("arc_easy",))


def test_a_task_on_which_all_agree_is_in_doubt_still() -> None:
    found = dict(
        harness._measures(
            {
                "results": {"own": {"alias": "own", "acc,none": 1.0, "acc_stderr,none": 0.0, "f1,strict": 0.5}},
                "higher_is_better": {"own": {"acc": True}},
                "n-samples": {"own": {"effective": 12}},
                "n-shot": {"own": 2},
            },
            0.9,
        )
    )
    acc, f1 = found["harness:own:acc"], found["harness:own:f1 (strict)"]
    assert (acc.value, acc.high, acc.direction, acc.resize) == (1.0, 1.0, "higher", "2 shots")
    assert 0.7 < acc.low < 0.9
    assert math.isnan(f1.low)
    assert replace(f1, value=acc.value).direction == "none"
