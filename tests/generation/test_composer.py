"""A run over fields as a person uses it: what is given by name, file and text; what is written; what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from motherlode.errors import MotherlodeError, RecipeError
from motherlode.generation.composer import Composition, composer
from motherlode.generation.export import export
from motherlode.generation.sampling import generate
from motherlode.recipe import GenerateOptions
from motherlode.safety import provenance
from motherlode.tokenizer import Tokenizer
from motherlode.training.run import Run

from .fielded import LABELS, fields_run


@pytest.fixture(scope="module")
def run(known_blocks: None, words: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fields_run(tmp_path_factory.mktemp("fields") / "things", words)


def made(run: Run, num: int | None = None, **asked: Any) -> list[Composition]:
    options = GenerateOptions(**{key: asked.pop(key) for key in list(asked) if key in GenerateOptions.model_fields})
    found = generate(run, num, options=options, **asked)
    assert all(isinstance(one, Composition) for one in found)
    return found  # type: ignore[return-value]


def test_labels_make_whole_pictures(run: Run) -> None:
    found = made(run, condition=["Boot", 0], num=5)
    assert [one.given["label"] for one in found] == ["Boot", "Bag", "Boot", "Bag", "Boot"]
    for one in found:
        picture = one.made["image"]
        assert isinstance(picture, np.ndarray)
        assert (picture.shape, picture.dtype) == ((1, 6, 4), np.uint8)
        # The codec's own law: blocks of 2 x 2, each 40 times one code and the other.
        blocks = picture[0, ::2, ::2].astype(int)
        assert (picture[0] == np.kron(blocks, np.ones((2, 2)))).all()
        assert (blocks // 40 < 5).all()
        assert (blocks % 40 < 4).all()
    again = made(run, condition=["Boot", 0], num=2)
    for one, same in zip(found, again):
        assert np.array_equal(one.made["image"], same.made["image"])
    other = made(run, condition=["Boot", 0], num=2, seed=1)
    assert not np.array_equal(other[0].made["image"], found[0].made["image"])


def test_one_sample_for_each_thing_asked_for(run: Run) -> None:
    assert len(made(run, prompt=["label=Bag", "label=Coat", "label=1"])) == 3
    assert len(made(run)) == 16
    assert made(run, prompt={"label": ["Bag", "Coat"]})[1].given == {"label": "Coat"}
    both = made(run, task="say", prompt=["the lode", "label=Bag", "label=Coat"])
    assert [one.given for one in both] == [
        {"caption": "the lode", "label": "Bag"},
        {"caption": "the lode", "label": "Coat"},
    ]


def test_what_is_left_out_is_made(run: Run) -> None:
    (one,) = made(run, 1, task="say", prompt="the lode")
    assert set(one.made) == {"label", "speech"}
    assert one.made["label"] in LABELS


def test_files_are_given_by_their_names(run: Run, tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers([0, 0], [5, 4], (3, 2, 2))
    picture = np.kron(codes[..., 0] * 40 + codes[..., 1], np.ones((2, 2))).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "photo.png")
    opened = composer(run, GenerateOptions(task="tell"))
    (asked,) = opened.asked(f"image={tmp_path / 'photo.png'}")
    image = opened.layout.field("image")
    assert np.array_equal(image.codes_of(asked.opening.given["image"]), codes)
    (array,) = opened.asked({"image": picture[None]})
    assert np.array_equal(array.opening.given["image"], asked.opening.given["image"])
    (one,) = made(run, task="tell", prompt=f"image={tmp_path / 'photo.png'}")
    assert isinstance(one.made["caption"], str)
    kept = made(run, 3, task="draw", keep=0.34, condition="Bag", prompt=f"image={tmp_path / 'photo.png'}")
    for one in kept:
        assert np.array_equal(one.made["image"][0, :2], picture[:2])  # type: ignore[index]
    assert len({one.made["image"].tobytes() for one in kept}) == 3  # type: ignore[union-attr]


def test_every_made_field_is_a_file_that_says_where_it_comes_from(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = made(run, 12, task="both", prompt="the <b>lode</b>", out=out)
    lines = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert len(found) == len(lines) == 12
    assert [line["index"] for line in lines] == list(range(12))
    for line, one in zip(lines, found):
        assert line["given"] == {"caption": "the <b>lode</b>"}
        assert line["task"] == "both"
        assert set(line["made"]) == {"image", "speech"}
        picture = out / line["made"]["image"]["file"]
        assert picture.name == f"{line['index']:02d}.image.png"
        assert np.array_equal(np.asarray(Image.open(picture)), one.made["image"][0])  # type: ignore[index]
        stamped = provenance.read(picture.read_bytes())
        assert stamped is not None
        assert (stamped["run"], stamped["given"], stamped["task"]) == ("things", line["given"], "both")
        assert (out / line["made"]["speech"]["file"]).stat().st_size > 0
    page = (out / "index.html").read_text()
    assert page.count("<img ") == page.count("<audio ") == 12
    assert "the &lt;b&gt;lode&lt;/b&gt;" in page
    assert 'src="data:' in page
    assert "http" not in page
    assert (out / "image.png").is_file()
    assert (out / provenance.RECORD).is_file()
    made(run, 3, task="free", out=out)  # over what it wrote before
    assert not (out / "image.png").exists()
    assert (out / "0.caption.txt").is_file()


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"task": "drow"}, "did you mean 'draw'"),
    ({"condition": "Bootn"}, "did you mean 'Boot'"),
    ({"condition": 3}, "0 to 2"),
    ({"condition": -1}, "0 to 2"),
    ({"task": "tell", "condition": "Bag"}, "takes no label"),
    ({"prompt": "a boot"}, "takes no text"),
    ({"prompt": "imge=x.png"}, "did you mean 'image'"),
    ({"prompt": "speech=x.wav"}, "no field of this name"),
    ({"prompt": {"labell": "Bag"}}, "did you mean 'label'"),
    ({"prompt": "image=photo.png"}, "set generate.keep|must be a file"),
    ({"task": "name", "prompt": "image=/nowhere.png"}, "must be a file of image"),
    ({"task": "name", "prompt": f"image={__file__}"}, "must be a file of image"),
    ({"task": "name", "prompt": {"image": 7}}, "must be a file or an array"),
    ({"task": "both", "prompt": ""}, "must hold text"),
    ({"task": "both", "prompt": "caption="}, "must hold text"),
    ({"task": "both", "prompt": "Once upon a time 春眠不觉晓，处处闻啼鸟。" * 9}, "must fit the model's window"),
    ({"task": "free", "guidance": 2.0}, "guidance needs something given"),
    ({"num": 0}, "at least 1"),
]


@pytest.mark.parametrize(("asked", "message"), FAULTS, ids=[str(asked)[:40] for asked, _ in FAULTS])
def test_what_cannot_be_honoured_is_refused(run: Run, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        made(run, **asked)


def test_a_prompt_for_a_made_field_says_what_to_do(run: Run) -> None:
    with pytest.raises(RecipeError, match=r"set generate\.keep"):
        made(run, prompt={"image": np.zeros((1, 6, 4), np.uint8)})


def test_a_run_without_its_codecs_is_refused_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.path, tmp_path / "things")
    shutil.rmtree(copy / "codecs" / "image")
    with pytest.raises(RecipeError, match="must hold its codecs"):
        made(Run.open(copy), condition="Bag", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    shutil.copytree(copy / "codecs" / "speech", copy / "codecs" / "image")
    with pytest.raises(RecipeError, match="needs a codec of codes"):
        made(Run.open(copy), condition="Bag")


def test_texts_alone_take_no_guidance(gpt_run: Run) -> None:
    for options in (GenerateOptions(guidance=2.0), GenerateOptions(task="draw"), GenerateOptions(keep=0.5)):
        with pytest.raises(RecipeError, match="only runs over fields"):
            generate(gpt_run, 1, options=options)


def test_a_model_that_fills_masks_makes_whole_pictures(words: Tokenizer, tmp_path: Path) -> None:
    run = fields_run(tmp_path / "gaps", words, family="bert", mask_rate="uniform")
    found = made(run, 4, condition=["Bag", "Boot"])
    assert len({one.made["image"].tobytes() for one in found}) == 4  # type: ignore[union-attr]
    again = made(run, 2, condition=["Bag", "Boot"])
    assert all(np.array_equal(one.made["image"], same.made["image"]) for one, same in zip(found, again))
    (free,) = made(run, 1)
    assert set(free.made) == {"label", "image"}
    picture = np.full((1, 6, 4), 42, np.uint8)
    (kept,) = made(run, 1, condition="Bag", keep=0.4, prompt={"image": picture})
    assert np.array_equal(kept.made["image"][0, :2], picture[0, :2])  # type: ignore[index]
    with pytest.raises(RecipeError, match="fixed size"):
        made(run, task="free")
    with pytest.raises(RecipeError, match="guidance"):
        made(run, condition="Bag", guidance=2.0)


def test_an_export_is_a_folder_of_hugging_face_with_its_codecs(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = export(run, tmp_path / "export")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert tokenizer("<|image:0:0|>")["input_ids"][-1] == 400 + 4 + 3
    assert model.config.vocab_size >= len(tokenizer)
    assert (folder / "fields.json").is_file()
    assert (folder / "codecs" / "image" / "run.json").is_file()
    card = (folder / "README.md").read_text()
    assert "label → image" in card
    assert "caption → image, speech" in card
    (example,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["sample"].shape == (1, 1, 6, 4)


def test_errors_are_ours(run: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(run.path, tmp_path / "things")
    (copy / "tokenizer" / "fields.json").write_text("{")
    with pytest.raises(MotherlodeError, match=r"fields\.json"):
        generate(Run.open(copy), 1)
