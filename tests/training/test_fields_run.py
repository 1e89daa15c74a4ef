"""Runs over fields: what they train on, what they keep, what they refuse, and that a kill loses nothing."""

from __future__ import annotations

import io
import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import field_parts
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from test_crash import assert_identical

from motherlode.data.dataset import Dataset
from motherlode.data.prepare import prepare
from motherlode.errors import DatasetError, MotherlodeError, RecipeError, TrainingError
from motherlode.fields import FILE, Layout
from motherlode.recipe import Recipe, parse
from motherlode.training.assembly import Assembly
from motherlode.training.corpus import Corpus
from motherlode.training.estimate import estimate
from motherlode.training.evaluate import evaluate
from motherlode.training.run import Run, train
from motherlode.training.words import about_dropped, about_tokens

NUM = 90
COLOURS = ("red", "green", "blue")
TASKS = {
    "draw": {"given": ["label"], "make": ["image"]},
    "name": {"given": ["image"], "make": ["label"], "weight": 0.5},
}
FIELDS: dict[str, Any] = {"label": {}, "image": {"codec": "CODEC"}}


@pytest.fixture(autouse=True)
def means(monkeypatch: pytest.MonkeyPatch) -> None:
    field_parts.install(monkeypatch)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")


def picture(number: int, channel: int | None) -> bytes:
    """Blocks of one colour; without one, grey."""
    rng = np.random.default_rng(number)
    blocks = rng.integers(20, 256, (4, 4, 1)).repeat(3, 2)
    if channel is not None:
        blocks[..., [other for other in range(3) if other != channel]] //= 4
    buffer = io.BytesIO()
    Image.fromarray(blocks.astype(np.uint8).repeat(4, 0).repeat(4, 1)).save(buffer, "PNG")
    return buffer.getvalue()


def write_table(path: Path, names: list[str], *, captions: bool, seed: int = 0, grey: bool = False) -> Path:
    rows = range(len(names))
    images = [{"bytes": picture(seed + row, None if grey else row % 3), "path": names[row]} for row in rows]
    table = {"image": images, "label": [COLOURS[row % 3] for row in rows]}
    if captions:
        told = [f"a {COLOURS[row % 3]} thing of {row} blocks" if row % 6 else None for row in rows]
        table["caption"] = told
    pq.write_table(pa.table(table), path)
    return path


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets: 90 coloured pictures with labels and captions, grey ones for two in three of them."""
    folder = tmp_path_factory.mktemp("sets")
    options: dict[str, Any] = {"modality": "image", "outliers": "off", "near_duplicates": "off", "workers": 1}
    names = [f"colours/{row:03d}.png" for row in range(NUM)]
    write_table(folder / "colours.parquet", names, captions=True)
    prepare(folder / "colours.parquet", out=folder / "colours", heldout=0.2, **options)
    greys = [f"{row:03d}.png" for row in range(NUM) if row % 3]
    write_table(folder / "greys.parquet", greys, captions=False, seed=1000, grey=True)
    prepare(folder / "greys.parquet", out=folder / "greys", heldout=0.2, **options)
    with pytest.MonkeyPatch.context() as patch:
        field_parts.install(patch)
        field_parts.codec_run(folder / "codec", Dataset.open(folder / "colours").spec(), stride=4)
    return folder


def recipe(sets: Path, out: Path, *, fields: Any = None, tasks: Any = None, **changes: Any) -> Recipe:
    fields = json.loads(json.dumps(fields or FIELDS).replace("CODEC", str(sets / "codec")))
    data = {"path": str(sets / "colours"), "length": 48, "vocabulary": 262, "fields": fields, "tasks": tasks or TASKS}
    data |= changes.pop("data", {})
    settings = {"device": "cpu", "precision": "fp32", "compile": "off", "sample_every": 0.5, "checkpoint_every": 0.25}
    content = {
        "name": "fields",
        "out": str(out),
        "data": data,
        "model": {"family": "gpt", "width": 32, "depth": 2, "heads": 2},
        "train": {"batch": 4, "budget": {"steps": 8}, "keep": 4, **settings},
        **changes,
    }
    return parse(Recipe, content)


@pytest.fixture(scope="module")
def run_path(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; copy it before writing to it."""
    with pytest.MonkeyPatch.context() as patch:
        field_parts.install(patch)
        return train(recipe(sets, tmp_path_factory.mktemp("runs"))).path


def test_it_keeps_all_it_needs(run_path: Path, sets: Path) -> None:
    run = Run.open(run_path)
    assert run.facts["status"] == "finished"
    for folder in (run_path, run_path / "tokenizer", run.checkpoint("last")):
        layout = Layout.load(folder)
        assert layout is not None
        assert [field.name for field in layout.fields] == ["label", "image"]
    assert layout.num_text_tokens == 262
    assert layout.field("image").grid == (4, 4)
    assert layout.field("label").labels == COLOURS or set(layout.field("label").labels) == set(COLOURS)
    assert run.spec.tokens is not None
    assert run.spec.tokens.vocabulary == layout.num_tokens == 262 + 2 + 3 + 8
    copied = Run.open(run_path / "codecs" / "image")
    original = Run.open(sets / "codec")
    assert copied.load().state_dict()["top"] == original.load().state_dict()["top"]
    facts = run.facts["fields"]
    assert sum(facts["documents"].values()) == run.facts["train_documents"] == len(run.dataset.split("train"))
    assert facts["tokens"]["image"] == {"mean": 16.0, "most": 16}
    assert facts["dropped"] == {}
    assert not list((run_path / "samples").glob("*")), "a page of tokens shows nothing"


def test_transformers_reads_its_checkpoint_with_the_same_logits(run_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = Run.open(run_path)
    checkpoint = run.checkpoint("last")
    words = AutoTokenizer.from_pretrained(checkpoint)
    layout = Layout.load(checkpoint)
    assert layout is not None
    found = words("<|label|><|label:0:1|><|end|><|image|><|image:0:7|>")["input_ids"]
    wanted = layout.document(words.bos_token_id, {"label": np.array([layout.field("label").first + 1])}, ("label",))
    assert found[:4] == wanted.tolist()
    assert found[4:] == [layout.field("image").begin, layout.field("image").first + 7]
    network = AutoModelForCausalLM.from_pretrained(checkpoint)
    ours = run.load("last").causal()
    assert ours is not None
    with torch.no_grad():
        theirs, mine = (model(torch.tensor([found])).logits for model in (network, ours))
    assert torch.allclose(theirs, mine, atol=1e-5)


def test_documents_are_those_of_the_rows(sets: Path, tmp_path: Path) -> None:
    assembly = Assembly.of(recipe(sets, tmp_path))
    loader, corpus = assembly.loader, assembly.corpus
    assert corpus is not None
    layout = corpus.layout
    for row, content in enumerate(assembly.dataset.split("train").rows()):
        if row % 10:
            continue
        document = loader.document(row, 0)
        assert document[2] == layout.field("label").first + content["label"]
        tokens = corpus.codecs["image"].tokens_of(layout.field("image"), content["image"]["bytes"])
        assert document[5:-1].tolist() == tokens.tolist()


def test_texts_and_joined_rows(sets: Path, tmp_path: Path) -> None:
    fields = {"caption": {}, "image": {"codec": "CODEC"}, "grey": {"path": str(sets / "greys"), "codec": "CODEC"}}
    tasks = {"both": {"given": ["caption"], "make": ["image", "grey"]}}
    chosen = recipe(sets, tmp_path, fields=fields, tasks=tasks, data={"vocabulary": 300, "length": 80})
    assembly = Assembly.of(chosen)
    loader, corpus = assembly.loader, assembly.corpus
    assert corpus is not None
    rows = list(assembly.dataset.split("train").rows())
    greys = {Path(row["image"]["path"]).stem: row for row in Dataset.open(sets / "greys")}
    stems = [Path(row["image"]["path"]).stem for row in rows]
    whole = [row for row in range(len(rows)) if rows[row]["caption"] and stems[row] in greys]
    assert loader.documents.tolist() == whole
    lost = sum(not row["caption"] for row in rows)
    assert loader.dropped == {"without caption": lost, "without grey": len(rows) - lost - len(whole)}
    document = loader.document(whole[0], 0).tolist()
    layout = corpus.layout
    begins = [document.index(layout.field(name).begin) for name in fields]
    assert corpus.tokenizer.decode(document[begins[0] + 1 : begins[1] - 1]) == rows[whole[0]]["caption"]
    grey = corpus.codecs["grey"].tokens_of(layout.field("grey"), greys[stems[whole[0]]]["image"]["bytes"])
    assert document[begins[2] + 1 : -1] == grey.tolist()
    told = " ".join([*about_tokens(assembly.token_facts), *about_dropped(assembly.token_facts)])
    assert "documents an epoch: both" in told
    assert f"without caption {lost}" in told
    assert layout.field("caption").max_tokens >= 5


def test_no_partner_at_all_says_how_rows_are_joined(sets: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "other.parquet", [f"x{row}.png" for row in range(20)], captions=False, seed=5000)
    prepare(tmp_path / "other.parquet", out=tmp_path / "other", modality="image", workers=1, outliers="off")
    fields = {"label": {}, "image": {"path": str(tmp_path / "other"), "codec": "CODEC"}}
    with pytest.raises(DatasetError, match=r"share a stem(.|\n)*'x\d+'"):
        Assembly.of(recipe(sets, tmp_path, fields=fields))


def test_one_name_for_several_partners_is_refused(sets: Path, tmp_path: Path) -> None:
    names = [f"{folder}/{row:03d}.png" for folder in "ab" for row in range(10)]
    write_table(tmp_path / "twice.parquet", names, captions=False, seed=7000)
    prepare(tmp_path / "twice.parquet", out=tmp_path / "twice", modality="image", workers=1, outliers="off")
    fields = {"label": {}, "image": {"path": str(tmp_path / "twice"), "codec": "CODEC"}}
    with pytest.raises(DatasetError, match="more than one"):
        Assembly.of(recipe(sets, tmp_path, fields=fields))


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"label": {}, "image": {"codec": "/nowhere"}}, "train the codec first"),
        ({"label": {}, "image": {"column": "captoin"}}, "did you mean 'caption'"),
        ({"label": {}, "image": {"column": "outlier"}}, "column of texts"),
        ({"label": {}, "image": {"path": "/nowhere", "codec": "CODEC"}}, "dataset.json"),
    ],
)
def test_what_is_missing_is_named(sets: Path, tmp_path: Path, fields: Any, match: str) -> None:
    with pytest.raises(MotherlodeError, match=match):
        Assembly.of(recipe(sets, tmp_path, fields=fields))


def test_a_codec_of_another_modality_is_refused(sets: Path, tmp_path: Path) -> None:
    from motherlode.modality import SampleSpec

    field_parts.codec_run(tmp_path / "speech", SampleSpec("audio", (1, 800), rate=8000.0))
    fields = {"label": {}, "image": {"codec": str(tmp_path / "speech")}}
    with pytest.raises(RecipeError, match="a codec of audio"):
        Assembly.of(recipe(sets, tmp_path, fields=fields))


def test_a_vocabulary_the_captions_cannot_fill_is_refused(sets: Path, tmp_path: Path) -> None:
    fields = {"caption": {}, "image": {"codec": "CODEC"}}
    tasks = {"draw": {"given": ["caption"], "make": ["image"]}}
    with pytest.raises(DatasetError, match=r"use data\.vocabulary"):
        Assembly.of(recipe(sets, tmp_path, fields=fields, tasks=tasks, data={"vocabulary": 5000}))


def test_a_document_that_fits_no_window_names_the_length(sets: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"use data\.length: 22"):
        _ = Assembly.of(recipe(sets, tmp_path, data={"length": 20})).loader


def test_held_out_rows_without_partners_are_told_of(sets: Path, tmp_path: Path) -> None:
    names = [Path(row["image"]["path"]).name for row in Dataset.open(sets / "colours").split("train").rows()]
    write_table(tmp_path / "some.parquet", names[:12], captions=False, seed=9000)
    prepare(tmp_path / "some.parquet", out=tmp_path / "some", modality="image", workers=1, outliers="off")
    fields = {"label": {}, "image": {"path": str(tmp_path / "some"), "codec": "CODEC"}}
    assembly = Assembly.of(recipe(sets, tmp_path, fields=fields))
    assert assembly.heldout is None
    told = about_dropped(assembly.token_facts)
    assert any("no held-out row" in line for line in told)
    assert any(f"without image {len(names) - 12}" in line for line in told)
    wasteful = {"fields": {**assembly.token_facts["fields"], "padding": 0.4, "longest_document": 55}}
    assert "the longest document has 55 tokens" in about_dropped(wasteful)[-1]
    assert 0 < assembly.token_facts["fields"]["longest_document"] <= assembly.spec.shape[0]


def test_a_codec_trained_on_after_training_began_is_another_run(run_path: Path, sets: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    shutil.copytree(run_path, out / "fields")
    codec = tmp_path / "codec"
    field_parts.codec_run(codec, Dataset.open(sets / "colours").spec(), stride=4)
    fields = {"label": {}, "image": {"codec": str(codec)}}
    again = train(recipe(sets, out, fields=fields))
    assert again.facts["status"] == "finished"
    field_parts.codec_run(codec, Dataset.open(sets / "colours").spec(), stride=4, top=1.25)
    with pytest.raises(TrainingError, match=r"data\.fields\.image\.codec"):
        train(recipe(sets, out, fields=fields))


def test_a_run_starts_from_another_over_the_same_fields_of_other_data(
    run_path: Path, sets: Path, tmp_path: Path
) -> None:
    few = write_table(tmp_path / "few.parquet", [f"few/{row:03d}.png" for row in range(30)], captions=True, seed=7)
    options: dict[str, Any] = {"modality": "image", "outliers": "off", "near_duplicates": "off", "workers": 1}
    prepare(few, out=tmp_path / "few", heldout=0.2, **options)
    data = {"path": str(tmp_path / "few"), "tokenizer": str(run_path / "tokenizer")}
    model = {"family": "gpt", "start": str(Run.open(run_path).checkpoint("last"))}
    second = train(recipe(sets, tmp_path, data=data, model=model))
    assert second.facts["status"] == "finished"
    assert Layout.load(second.path) == Layout.load(run_path)
    assert second.spec.tokens is not None
    assert second.spec.tokens.vocabulary == 262 + 2 + 3 + 8


def test_a_run_goes_on_with_its_own_copy_where_the_codec_is_gone(run_path: Path, sets: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    shutil.copytree(run_path, out / "fields")
    more = recipe(sets, out, fields={"label": {}, "image": {"codec": str(tmp_path / "gone")}})
    more = more.changed(["train.budget.steps=10"], ["train"])
    assert train(more).facts["step"] == 10
    assert Corpus.open(Run.open(run_path).dataset, more.data, run_path, trained=True).layout == Layout.load(run_path)


def test_a_run_stopped_between_goes_on_to_the_same_bits(sets: Path, tmp_path: Path) -> None:
    tasks = {**TASKS, "draw": {**TASKS["draw"], "weight": 2}}
    whole = train(recipe(sets, tmp_path / "whole", tasks=tasks, data={"drop_given": 0.2}))
    part = recipe(sets, tmp_path / "part", tasks=tasks, data={"drop_given": 0.2})
    stopped = train(part)
    shutil.rmtree(stopped.path / "checkpoints" / "step-8")
    shutil.rmtree(stopped.path / "checkpoints" / "step-6")
    assert_identical(train(part), whole)


def test_a_masked_model_learns_them_unchanged(sets: Path, tmp_path: Path) -> None:
    model = {"family": "bert", "width": 32, "depth": 2, "heads": 2, "mask_rate": "uniform"}
    steps = {"batch": 4, "budget": {"steps": 40}, "device": "cpu", "precision": "fp32", "compile": "off"}
    run = train(recipe(sets, tmp_path, model=model, train={**steps, "sample_every": 0.25, "checkpoint_every": 0.25}))
    looks = [line for line in run.metrics() if line["kind"] == "look"]
    assert looks[-1]["heldout_nats"] < math.log(run.spec.tokens.vocabulary) if run.spec.tokens else False
    assert looks[-1]["heldout_nats"] < looks[0]["heldout_nats"]


def test_an_estimate_tells_of_documents(sets: Path, tmp_path: Path) -> None:
    rows = estimate(recipe(sets, tmp_path)).rows()
    told = [value for name, value in rows if name == "documents"]
    assert any("draw" in line for line in told)
    assert any("padding" in line for line in told)


def test_the_layout_decides_the_digest(sets: Path, tmp_path: Path) -> None:
    first = Assembly.of(recipe(sets, tmp_path))
    other = Assembly.of(recipe(sets, tmp_path, tasks={"draw": TASKS["draw"]}))
    assert first.identity["data.tokenizer"] != other.identity["data.tokenizer"]
    assert (Path(first.spec.tokens.folder) / FILE).is_file() if first.spec.tokens else False


def test_every_task_is_measured_on_held_out_rows(run_path: Path, sets: Path, tmp_path: Path) -> None:
    report = evaluate(run_path, out=tmp_path / "report")
    names = {"task:draw:image:nats_per_token", "task:draw:image:bits_per_sample"}
    names |= {f"task:name:label:{metric}" for metric in ("nats_per_token", "bits_per_sample", "accuracy")}
    assert set(report) == names
    num = len(Run.open(run_path).dataset.split("heldout"))
    for measure in report.values():
        assert measure.num_samples == num
        assert measure.low <= measure.value <= measure.high
    nats, bits = report["task:draw:image:nats_per_token"], report["task:draw:image:bits_per_sample"]
    assert bits.value == pytest.approx(nats.value * 16 / math.log(2))
    assert nats.value < math.log(8) + 0.2
    assert "draw → image: nats a token" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    some = evaluate(run_path, measures=("accuracy",), out=tmp_path / "some")
    assert list(some) == ["task:name:label:accuracy"]
    with pytest.raises(MotherlodeError, match="accuracy"):
        evaluate(run_path, measures=("acuracy",), out=tmp_path / "none")
    turned = dict(reversed(FIELDS.items()))
    single = train(recipe(sets, tmp_path, fields=turned, tasks={"draw": TASKS["draw"]}))
    changes = evaluate(single, out=tmp_path / "single").compare(report)
    assert {change.name for change in changes} == {name for name in names if ":draw:" in name}
    assert all(change.change.method.startswith("paired") for change in changes)


def test_a_masked_model_has_bounds_on_them(run_path: Path, sets: Path, tmp_path: Path) -> None:
    model = {"family": "bert", "width": 32, "depth": 2, "heads": 2, "mask_rate": "uniform"}
    report = evaluate(train(recipe(sets, tmp_path, model=model)), out=tmp_path / "report")
    names = {"task:draw:image:nats_per_token_bound", "task:draw:image:bits_per_sample_bound"}
    # Of a single token it is no bound, but the surprise itself.
    names |= {f"task:name:label:{metric}" for metric in ("nats_per_token", "bits_per_sample", "accuracy")}
    assert set(report) == names
    nats = report["task:draw:image:nats_per_token_bound"]
    assert nats.low < nats.value < math.log(8) + 0.2
    assert report["task:draw:image:bits_per_sample_bound"].value == pytest.approx(nats.value * 16 / math.log(2))
    exact = evaluate(run_path, measures=("nats_per_token",), out=tmp_path / "exact")
    changes = report.compare(exact)
    compared = {(change.before.name, change.after.name) for change in changes}
    assert ("task:draw:image:nats_per_token", "task:draw:image:nats_per_token_bound") in compared
    assert all(change.change.method.startswith("paired") for change in changes)
