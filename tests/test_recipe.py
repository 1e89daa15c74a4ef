from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from motherlode.errors import RecipeError
from motherlode.recipe import BudgetOptions, Recipe, Strict, TrainOptions, load, parse


def minimal(**changes: Any) -> dict[str, Any]:
    return {"name": "a", "data": {"path": "datasets/a"}, "model": {"family": "gan"}, **changes}


def write(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


def test_a_recipe_survives_saving_and_loading(tmp_path: Path) -> None:
    recipe = parse(Recipe, minimal(train={"optimizers": {"critic": {"lr": 2e-4}}, "budget": {"steps": 7}}))
    recipe.save(tmp_path / "again.yaml")
    again = Recipe.load(tmp_path / "again.yaml")
    assert again == recipe
    assert again.digest() == recipe.digest()
    assert again.folder == Path("runs/a")


def test_the_digest_names_what_decides_the_weights() -> None:
    base = parse(Recipe, minimal()).digest()
    for same in ({"name": "b"}, {"out": "elsewhere"}, {"price": {"hour": 3}}, {"evaluate": {"num_samples": 50}}):
        assert parse(Recipe, minimal(**same)).digest() == base
    spelt_out = {"family": "gan", "loss": "nonsaturating", "average_samples": 10_000}
    assert parse(Recipe, minimal(model=spelt_out)).digest() == base
    for other in ({"seed": 1}, {"train": {"batch": 64}}, {"data": {"path": "datasets/a", "resolution": 32}}):
        assert parse(Recipe, minimal(**other)).digest() != base


@pytest.mark.parametrize(
    ("content", "place", "fix"),
    [
        (minimal(sead=1), "`sead`", "did you mean `seed`"),
        (minimal(train={"bach": 32}), "`train.bach`", "did you mean `batch`"),
        (minimal(train={"optimizer": {"lrr": 1}}), "`train.optimizer.lrr`", "did you mean `lr`"),
        (minimal(train={"optimizers": {"critic": {"beta": 1}}}), "`train.optimizers.critic.beta`", "`betas`"),
        (minimal(train={"lr": 1e-3}), "`train.lr`", "`lr` belongs at `train.optimizer.lr`"),
        (minimal(minutes=2), "`minutes`", "belongs at `train.budget.minutes`"),
        (minimal(model={"family": "gan", "los": "hinge"}), "`model.los`", "did you mean `loss`"),
        (minimal(model={"family": "gan", "penalty": {"gradiant": 1}}), "`model.penalty.gradiant`", "`gradient`"),
        (minimal(model={"family": "gan", "r1": 1}), "`model.r1`", "`r1` belongs at `model.penalty.r1`"),
        (minimal(xyzzy=1), "`xyzzy`", "known here: data, evaluate, generate, model"),
    ],
)
def test_an_unknown_key_is_named_with_its_place_and_a_remedy(
    tmp_path: Path, content: dict[str, Any], place: str, fix: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(RecipeError) as caught:
        Recipe.load(path)
    assert place in caught.value.invariant
    assert str(path) in caught.value.invariant
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (minimal(seed=-1), "`seed`: Input should be greater than or equal to 0"),
        (minimal(train={"optimizer": {"lr": "fast"}}), "`train.optimizer.lr`: Input should be a valid number"),
        (minimal(train={"optimizer": {"lr": float("nan")}}), "`train.optimizer.lr`"),
        (minimal(train={"budget": {"steps": 1, "minutes": 1}}), "`train.budget`: give exactly one of steps"),
        (minimal(train={"budget": {}}), "give exactly one of"),
        (minimal(model={"family": "gan", "loss": "hing"}), "`model.loss`: Input should be"),
        (minimal(model={"network": "mlp"}), "must name its family"),
        (minimal(model={"family": "gann"}), "there is no family"),
        ({"name": "a", "model": {"family": "gan"}}, "`data` must be given"),
        (minimal(data={}), "`data.path` must be given"),
        (minimal(name="../up"), "`name`"),
        (minimal(model="gan"), "`model`"),
        (minimal(train=None), "`train`"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(tmp_path: Path, content: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.load(write(tmp_path, content))
    assert words in caught.value.invariant
    assert caught.value.fix


@pytest.mark.parametrize(
    ("content", "fix"),
    [
        (minimal(train={"batch": 0}), "`batch` is a whole number ≥ 1: samples a step over all ranks"),
        (minimal(train={"precision": "half"}), "`precision` is auto | fp32 | bf16"),
        (minimal(train={"precision": "bf61"}), "did you mean `bf16`?"),
        (minimal(model={"family": "gan", "loss": "hing"}), "did you mean `hinge`?"),
        (minimal(train={"budget": {}}), "the keys of `budget` are steps, samples, flops, minutes"),
        (minimal(train={"optimizer": {"betas": [0.5]}}), "`betas` is a list of number: decay of"),
        (minimal(data={"path": "d", "mix": {"e": 2}}), "`mix` is a mapping"),
        (minimal(train={"optimizers": {"critic": {"lr": -1}}}), "`lr` is a number > 0: peak learning rate"),
        (minimal(name="a b"), "`name` is text: names the run's folder: letters"),
    ],
)
def test_a_wrong_value_is_told_what_is_right(tmp_path: Path, content: dict[str, Any], fix: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.load(write(tmp_path, content))
    assert caught.value.fix.startswith(fix)


def test_a_study_is_no_recipe(tmp_path: Path) -> None:
    path = tmp_path / "my recipe.yaml"
    path.write_text(yaml.safe_dump({"name": "s", "recipe": minimal(), "sizes": {}}))
    with pytest.raises(RecipeError, match=r"study, not a recipe\n.*\n.*lode study '.*my recipe.yaml'"):
        Recipe.load(path)


@pytest.mark.parametrize("name", ["Müller-Straße", "照片", "a.b_c-1", "हिन्दी"])
def test_a_run_may_have_a_name_in_any_script(name: str) -> None:
    assert parse(Recipe, minimal(name=name)).folder == Path("runs") / name


def test_a_misspelt_family_is_put_right(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'gan'"):
        Recipe.load(write(tmp_path, minimal(model={"family": "gann"})))


@pytest.mark.parametrize("content", ["a: [1", "- a\n- b\n", "", "42", "\x00\x01", "a: !!python/object:os.system x"])
def test_a_file_that_is_no_recipe_says_so(tmp_path: Path, content: str) -> None:
    with pytest.raises(RecipeError, match="file must"):
        Recipe.load(write(tmp_path, content))


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("data: {path: a}\nmodel:\n  family: gan\n  width: 8\n  width: 16\n")
    with pytest.raises(RecipeError, match=r"`width` stands twice(.|\n)*line 5"):
        Recipe.load(tmp_path / "r.yaml")


def test_a_missing_file_and_a_folder_say_so(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="lode init"):
        Recipe.load(tmp_path / "none.yaml")
    write(tmp_path, minimal())
    with pytest.raises(RecipeError, match=r"did you mean '.*recipe\.yaml'"):
        Recipe.load(tmp_path / "recip.yaml")
    (tmp_path / "recipe.yaml").unlink()
    with pytest.raises(RecipeError, match="not a folder"):
        Recipe.load(tmp_path)
    path = write(tmp_path, minimal())
    with pytest.raises(RecipeError, match=f"did you mean {path}"):
        Recipe.load(tmp_path)


def test_yaml_words_for_true_and_numbers_written_as_1e_3_mean_what_people_mean(tmp_path: Path) -> None:
    text = "name: a\ndata: {path: x}\nmodel: {family: gan}\ntrain: {compile: on, optimizer: {lr: 1e-3}}\n"
    train = Recipe.load(write(tmp_path, text)).train
    assert (train.compile, train.optimizer.lr) == ("on", 1e-3)
    assert parse(TrainOptions, {"compile": False}).compile == "off"


def test_options_are_frozen() -> None:
    options = BudgetOptions(steps=3)
    with pytest.raises(ValueError, match="frozen"):
        options.steps = 4


def test_any_typed_file_loads_the_same_way(tmp_path: Path) -> None:
    class Tiny(Strict):
        size: int = 3

    assert load(Tiny, write(tmp_path, {"size": 4})).size == 4
    with pytest.raises(RecipeError, match="did you mean `size`"):
        load(Tiny, write(tmp_path, {"sise": 4}))


def test_changes_are_applied_before_validation(tmp_path: Path) -> None:
    path = write(tmp_path, minimal())
    changes = ["train.batch=64", "name=b", "train.budget={steps: 3}", "model.loss=hinge", "data.augment=[flip]"]
    recipe = Recipe.load(path, changes)
    assert (recipe.train.batch, recipe.name, recipe.train.budget.steps) == (64, "b", 3)
    assert (recipe.model["loss"], recipe.data.augment) == ("hinge", ("flip",))


def test_a_budget_on_the_line_stands_in_place_of_the_files(tmp_path: Path) -> None:
    path = write(tmp_path, minimal(train={"batch": 8, "budget": {"minutes": 2}}))
    recipe = Recipe.load(path, ["train.budget.steps=3"])
    assert (recipe.train.batch, recipe.train.budget.steps, recipe.train.budget.minutes) == (8, 3, None)
    with pytest.raises(RecipeError, match="exactly one of steps"):
        Recipe.load(path, ["train.budget.steps=3", "train.budget.minutes=1"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("train.batch", "key=value"),
        ("=3", "key=value"),
        ("train.bach=3", "no key `train.bach`"),
        ("name.x=3", "`name` must hold keys"),
        ("train.batch=[3", "must be YAML"),
        ("train.batch=many", "`train.batch`"),
    ],
)
def test_a_change_that_cannot_be_made_says_why(tmp_path: Path, change: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.load(write(tmp_path, minimal()), [change])
    assert words in caught.value.invariant


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"temperature": -0.1}, "greater than or equal to 0"),
        ({"top_p": 0}, "greater than 0"),
        ({"top_k": 1.5}, "`generate.top_k`"),
        ({"max_tokens": 0}, "`generate.max_tokens`"),
        ({"stop": [3]}, "`generate.stop.0`"),
        ({"stop": [""]}, "`generate.stop.0`"),
        ({"stop": {"a": 1}}, "`generate.stop`"),
        ({"template": "poem"}, "template must hold {prompt}"),
        ({"template": "pome", "templates": {"poem": "{prompt}"}}, "name one of: poem"),
        ({"templates": {"poem": "Title"}}, "templates.poem must hold {prompt}"),
    ],
)
def test_how_to_write_is_checked(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(words)):
        parse(Recipe, minimal(generate=changes))


def test_how_to_write_decides_no_weights_and_one_stop_is_enough() -> None:
    plain, other = (parse(Recipe, minimal(generate=section)) for section in ({}, {"stop": "\n\n", "temperature": 0}))
    assert plain.digest() == other.digest()
    assert other.generate.stop == ("\n\n",)
    assert parse(Recipe, minimal(generate={"templates": {"a": "A {prompt}"}, "template": "a"})).generate.template == "a"


FIELDS = {"label": {}, "image": {"codec": "runs/vq"}}
DRAW = {"draw": {"given": ["label"], "make": ["image"]}}


def fielded(**changes: Any) -> dict[str, Any]:
    return minimal(data={"path": "datasets/a", "fields": FIELDS, "tasks": DRAW, **changes}, model={"family": "gpt"})


def test_fields_and_tasks_are_typed() -> None:
    data = parse(Recipe, fielded(drop_given=0.1)).data
    assert data.fields["label"].is_label("label")
    assert not data.fields["image"].is_label("image")
    assert data.tasks["draw"].given == ("label",)
    assert parse(Recipe, fielded(fields={**FIELDS, "label": {"column": "caption"}})).data.fields["label"].column


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tasks": {"draw": {"given": ["lable"], "make": ["image"]}}}, "did you mean 'label'"),
        ({"tasks": {"draw": {"given": ["label"], "make": []}}}, "make"),
        ({"tasks": {"draw": {"given": ["label", "image"], "make": ["image"]}}}, "name a field once"),
        ({"tasks": {"draw": {"make": ["image"]}}}, "label has none"),
        ({"tasks": {"draw": {**DRAW["draw"], "weight": 0}}}, "weight above 0"),
        ({"tasks": {}}, "go together"),
        ({"fields": {}, "tasks": {}, "drop_given": 0.1}, "drop_given"),
        ({"fields": {**FIELDS, "image": {"codec": "runs/vq", "column": "image"}}}, "leave out `column`"),
        ({"fields": {**FIELDS, "image": {"codecc": "runs/vq"}}}, "did you mean `codec`"),
        ({"weights": {"a": 1.0}}, "codecs' own"),
        ({"seconds": 1.0}, "codecs' own"),
        ({"drop_given": 1.0}, "less than 1"),
        ({"fields": {**FIELDS, "An Image": {}}}, "pattern"),
    ],
)
def test_fields_and_tasks_that_do_not_fit_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(told)):
        parse(Recipe, fielded(**changes))
