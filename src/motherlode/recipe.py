"""A run as one typed YAML file.

A recipe is frozen, refuses keys it does not know ("did you mean `batch`?"), and its digest names the run: two equal
digests give two equal runs. The section `model` is typed by the family it names, found through the registry, so this
file knows no family. `Recipe.load` takes about 5 ms.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from motherlode import registry, schema, storage
from motherlode.errors import RecipeError

Model = TypeVar("Model", bound="Strict")
NAME = r"^[^\W_][\w.-]*$"
"""Names of runs and studies, and so of folders: letters and digits of any script, dots, dashes, underscores."""
PROMPT = "{prompt}"
"""Where a prompt goes in a template."""


class Strict(BaseModel):
    """Base of every typed option: frozen, no unknown keys, no NaN; a default is of its type like any other value."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=(), validate_default=True
    )

    example: ClassVar[str] = "`lode init` writes a starter recipe"
    """Where a person finds a file of this kind to begin with."""

    @classmethod
    def refuse(cls, content: Mapping[str, Any], path: Path) -> None:
        """Raise a RecipeError where the file at `path` is plainly of another kind; by default none is."""


class FieldOptions(Strict):
    """One field of a document: text, a label, or the codes a codec makes of a picture, of sound, of moving pictures."""

    column: str = Field(
        "", description="column that holds the text, or `label`; default: the field's own name; media need none"
    )
    codec: str = Field("", description="finished run of a family with a codebook, whose codes stand for the media")
    path: str = Field("", description="another dataset to take it from: rows belong together whose files share a stem")

    @model_validator(mode="after")
    def _media_have_one_column(self) -> FieldOptions:
        if self.codec and self.column:
            raise ValueError("a field with a codec takes the media of its dataset: leave out `column`")
        return self

    def is_label(self, name: str) -> bool:
        """Whether a field of this name is a label."""
        return not self.codec and (self.column or name) == "label"


class TaskOptions(Strict):
    """What is given and what is made of it."""

    given: tuple[str, ...] = Field((), description="fields that come first, in order")
    make: tuple[str, ...] = Field(min_length=1, description="fields the model makes of them, in order")
    weight: float = Field(1.0, ge=0, description="share of the documents, against the weights of the other tasks")


class DataOptions(Strict):
    """What to train on."""

    path: str = Field(description="a prepared dataset folder (made by `lode prepare`)")
    resolution: int | None = Field(None, ge=4, le=4096, description="train at this size; default: the dataset's own")
    channels: Literal[1, 2, 3, 4] | None = Field(
        None, description="1 grey, 3 colour; of sound 1 or 2; default: what the dataset holds"
    )
    seconds: float | None = Field(
        None,
        gt=0,
        le=3600,
        description="length of what the model sees of sound or moving pictures; default: the data's",
    )
    num_samples: int | None = Field(None, ge=1, description="train on a random subset of this many unique samples")
    augment: tuple[str, ...] = Field((), description="on-the-fly augmentations of the training batches, e.g. [flip]")
    length: int = Field(256, ge=8, le=1 << 20, description="tokens a sample, where samples are sequences")
    tokenizer: str = Field(
        "auto", description="folder with a tokenizer.json; auto: byte-level BPE trained on the training split"
    )
    vocabulary: int = Field(8192, ge=260, le=1 << 20, description="size of the vocabulary that `auto` trains")
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict, description="share of each source in training, e.g. {wiki: 0.7, code: 0.3}"
    )
    mix: dict[str, Annotated[float, Field(gt=0, lt=1)]] = Field(
        default_factory=dict,
        description="other prepared datasets, and the share of each batch that they fill, e.g. {datasets/made: 0.25}",
    )
    fields: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], FieldOptions] = Field(
        default_factory=dict, description="parts of a document by name, each with tokens of its own"
    )
    tasks: dict[str, TaskOptions] = Field(
        default_factory=dict, description="what documents are made for, e.g. {draw: {given: [label], make: [image]}}"
    )
    drop_given: float = Field(
        0.0, ge=0, lt=1, description="share of documents whose given fields are left empty, for guidance"
    )

    @model_validator(mode="after")
    def _tasks_are_of_fields(self) -> DataOptions:
        if bool(self.fields) != bool(self.tasks):
            raise ValueError("fields and tasks go together: name both, or neither")
        if not self.fields and self.drop_given:
            raise ValueError("drop_given leaves given fields empty: name fields and tasks")
        if sum(self.mix.values()) >= 1:
            raise ValueError("the shares under mix must leave some of each batch to the dataset under path")
        if self.fields and self.mix:
            raise ValueError("fields and mix do not go together: prepare one dataset of both sources")
        if self.fields and (self.weights or self.augment or self.resolution or self.channels or self.seconds):
            raise ValueError("with fields, weights, augment, resolution, channels and seconds are the codecs' own")
        used: set[str] = set()
        for task, options in self.tasks.items():
            order = (*options.given, *options.make)
            for name in order:
                if name not in self.fields:
                    near = registry.did_you_mean(name, list(self.fields))
                    raise ValueError(f"tasks.{task} names a field that data.fields lacks: {name} ({near})")
            if len(set(order)) < len(order):
                raise ValueError(f"tasks.{task} must name a field once: {', '.join(order)}")
            used.update(order if options.weight else ())
        if self.tasks and not used:
            raise ValueError("some task must have a weight above 0")
        idle = [name for name in self.fields if name not in used]
        if idle:
            raise ValueError(
                f"every field must have a task: {', '.join(idle)} has none; name it in one, or leave it out"
            )
        return self


class OptimizerOptions(Strict):
    """One optimiser."""

    name: Literal["adam", "adamw", "sgd", "rmsprop", "muon"] = Field("adam", description="which optimiser")
    lr: float = Field(5e-4, gt=0, description="peak learning rate")
    betas: tuple[float, float] = Field((0.5, 0.99), description="decay of the first and second moment (Adam, AdamW)")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of SGD and Muon, smoothing is 0.99 for RMSprop")
    weight_decay: float = Field(
        0.0,
        ge=0,
        description="added to the gradient; for AdamW and Muon: times lr, the share of every weight that a step takes",
    )
    eps: float = Field(1e-8, gt=0, description="added to the denominator of Adam, AdamW and RMSprop")
    scale: Literal["adamw", "spectral"] = Field(
        "adamw", description="size of Muon's updates: as AdamW's are, or of one effect on a layer's output at any width"
    )
    every: int = Field(
        1, ge=1, description="Muon moves a matrix on one step in so many, as many times as far; they take turns"
    )
    rates: dict[Literal["embedding", "head", "vector"], Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="learning rates of token tables, of heads that make logits and of vectors, as multiples of lr",
    )
    width: int = Field(
        0, ge=0, description="rates of tables and heads are for this width, else times sqrt(it / actual); 0: for any"
    )


class ScheduleOptions(Strict):
    """How the learning rate moves between 0 and its peak over the budget."""

    name: Literal["constant", "cosine", "linear", "wsd"] = Field(
        "constant", description="shape of the curve; wsd holds the peak, then decays linearly"
    )
    warmup: float = Field(0.0, ge=0, le=1, description="share of the budget spent warming up linearly")
    decay: float = Field(0.4, ge=0, le=1, description="share of the budget spent decaying, for `wsd`")
    floor: float = Field(0.0, ge=0, le=1, description="the last rate, as a share of the peak")


class BudgetOptions(Strict):
    """When to stop: exactly one of the four."""

    steps: int | None = Field(None, ge=1, description="training steps")
    samples: int | None = Field(None, ge=1, description="training samples seen by the model, repeats included")
    flops: float | None = Field(None, gt=0, description="training floating-point operations")
    minutes: float | None = Field(
        None, gt=0, description="turned into steps after the first timed ones, then fixed, so that a resumed run agrees"
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> BudgetOptions:
        given = [name for name in BudgetOptions.model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of steps, samples, flops, minutes; got {given or 'none'}")
        return self


class TrainOptions(Strict):
    """How to train."""

    batch: int = Field(32, ge=1, description="samples a step over all ranks")
    accumulate: int = Field(1, ge=1, description="split each batch into this many parts to save memory")
    shard: bool = Field(
        False, description="split weights, gradients and optimiser states over the ranks (models of tokens)"
    )
    optimizer: OptimizerOptions = OptimizerOptions()
    optimizers: dict[str, OptimizerOptions] = Field(
        default_factory=dict, description="exceptions by turn, e.g. `critic: {lr: 2e-4}`"
    )
    schedule: ScheduleOptions = ScheduleOptions()
    clip: float | None = Field(None, gt=0, description="largest gradient norm")
    budget: BudgetOptions = BudgetOptions(minutes=2.0)
    device: str = Field("auto", description="auto, cpu, cuda, mps")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 where it is measured to be faster"
    )
    layout: Literal["auto", "contiguous", "channels_last"] = Field("auto", description="memory order of images")
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="auto: measured on the first steps, kept if faster"
    )
    sample_every: float = Field(0.05, gt=0, le=1, description="share of the budget between sample grids")
    checkpoint_every: float = Field(0.1, gt=0, le=1, description="share of the budget between checkpoints")
    keep: int = Field(2, ge=1, description="checkpoints kept besides the best")
    histograms: bool = Field(False, description="write weight and gradient histograms to TensorBoard")
    show: bool = Field(True, description="write samples at each look; off spares their time where runs are many")

    @field_validator("compile", mode="before")
    @classmethod
    def _yaml_reads_on_as_true(cls, value: object) -> object:
        return ("off", "on")[value] if isinstance(value, bool) else value


class EvaluateOptions(Strict):
    """What to measure, and against what."""

    measures: tuple[str, ...] = Field((), description="names of measures; default: the family's own")
    extractor: str = Field("auto", description="auto: the best one installed; or a name; or a path to weights")
    num_samples: int = Field(
        10_000, ge=2, description="generated samples; at most the held-out ones count as reference"
    )
    level: float = Field(0.9, gt=0, lt=1, description="level of the intervals")


class GenerateOptions(Strict):
    """How token models write: what a prompt becomes, how tokens are drawn, and where a text ends."""

    temperature: float = Field(1.0, ge=0, le=100, description="of the draws; 0 always takes the likeliest token")
    top_k: int = Field(0, ge=0, description="draw among this many likeliest tokens only; 0: among all")
    top_p: float = Field(1.0, gt=0, le=1, description="draw among the likeliest tokens that hold this share together")
    min_p: float = Field(0.0, ge=0, le=1, description="draw among tokens with this share of the likeliest one's chance")
    repetition_penalty: float = Field(
        1.0, ge=0.1, le=10, description="above 1, tokens that stand in the text already become less likely"
    )
    max_tokens: int = Field(200, ge=1, le=1 << 20, description="most tokens to write after the prompt")
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="a text ends where one of these would begin"
    )
    valid_utf8: bool = Field(True, description="draw only tokens that go on with whole characters, never broken bytes")
    template: str = Field(
        "", description="what a prompt becomes: a name out of `templates`, or a text that holds {prompt}"
    )
    templates: dict[str, str] = Field(
        default_factory=dict, description='templates by task, e.g. {poem: "Title: {prompt}\\n"}'
    )
    block_tokens: int = Field(32, ge=1, description="masks filled before those to their right (models that fill)")
    steps: int = Field(16, ge=1, description="passes a block; more are surer and slower (models that fill)")
    task: str = Field("", description="what to make of what, one of `data.tasks`; default: the first (of fields)")
    guidance: float = Field(
        1.0, ge=0, le=100, description="how much more than likely to heed what is given; 1: off (runs over fields)"
    )
    keep: float = Field(
        0.0, ge=0, le=1, description="share of a prompt for a made field that it begins with (runs over fields)"
    )

    @field_validator("stop", mode="before")
    @classmethod
    def _one_is_enough(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _templates_take_a_prompt(self) -> GenerateOptions:
        texts = {f"templates.{name}": text for name, text in self.templates.items()}
        if self.template and self.template not in self.templates:
            texts["template"] = self.template
        for name, text in texts.items():
            if PROMPT not in text:
                known = f", or name one of: {', '.join(self.templates)}" if self.templates else ""
                raise ValueError(f"{name} must hold {PROMPT} where the prompt goes{known}")
        return self


class PriceOptions(Strict):
    """What things cost, for `estimate`, `run.json` and `plan`."""

    currency: str = Field("USD", description="what prices are in")
    hour: float = Field(0.0, ge=0, description="price of this machine an hour")
    watts: float = Field(0.0, ge=0, description="power drawn; 0: estimated from the machine")
    kwh: float = Field(0.0, ge=0, description="price of a kWh")


class Recipe(Strict):
    """The whole of a run."""

    name: str = Field(min_length=1, pattern=NAME, description="names the run's folder: letters, digits, . _ -")
    seed: int = Field(0, ge=0, description="where all randomness of the run comes from")
    out: str = Field("runs", description="folder that holds the run's folder")
    data: DataOptions
    model: dict[str, Any] = Field(description="`family:` and that family's options")
    train: TrainOptions = TrainOptions()
    evaluate: EvaluateOptions = EvaluateOptions()
    generate: GenerateOptions = GenerateOptions()
    price: PriceOptions = PriceOptions()

    @model_validator(mode="before")
    @classmethod
    def _family_has_defaults(cls, content: Any) -> Any:
        """What the recipe leaves out of `train` is taken from its family first."""
        model = content.get("model") if isinstance(content, dict) else None
        family = model.get("family") if isinstance(model, dict) else None
        if not isinstance(family, str) or family not in registry.names("family"):
            return content
        given = content.get("train", {})
        if not isinstance(given, dict):
            return content
        return {**content, "train": _filled(given, registry.find("family", family).defaults)}

    @model_validator(mode="after")
    def _model_is_typed(self, info: ValidationInfo) -> Recipe:
        self.family_options((info.context or {}).get("where", ""))
        return self

    @property
    def family(self) -> str:
        """The name of the model's family."""
        return str(self.model.get("family", ""))

    @property
    def folder(self) -> Path:
        """Where the run lives."""
        return Path(self.out) / self.name

    def family_options(self, where: str = "") -> Any:
        """The section `model`, typed by its family's `Options`; errors call the file `where`."""
        if not self.family:
            known = ", ".join(registry.names("family"))
            raise RecipeError(
                "a recipe's model must name its family", self.model, f"add `family:` under `model:` ({known})"
            )
        family = registry.find("family", self.family)
        options = {key: value for key, value in self.model.items() if key != "family"}
        return parse(family.Options, options, where, within=("model",))

    def digest(self) -> str:
        """Hash of everything that decides the weights: not the name, the folder or the prices.

        An option left out and the same option given its default hash alike.
        """
        content = self.model_dump(mode="json", exclude={"name", "out", "price", "evaluate", "generate"})
        content["model"] = {"family": self.family, **self.family_options().model_dump(mode="json")}
        return storage.hash_bytes(json.dumps(content, sort_keys=True).encode())

    @classmethod
    def load(cls, path: str | Path, changes: Sequence[str] = ()) -> Recipe:
        """Read a recipe from YAML.

        Args:
            path: the file.
            changes: "key=value" each, applied in order before validation, e.g. "train.batch=64".

        Raises:
            RecipeError: no such file, not YAML, an unknown key (with the nearest known one), or a value out of range.
        """
        return load(cls, path, changes)

    @classmethod
    def refuse(cls, content: Mapping[str, Any], path: Path) -> None:
        """Refuse a study."""
        if "recipe" in content:
            fix = f"lode study {shlex.quote(str(path))}"
            raise RecipeError("this is a study, not a recipe", str(path), fix)

    def changed(self, changes: Sequence[str], sections: Sequence[str]) -> Recipe:
        """The same recipe with changed keys, "key=value" each, where only keys of these sections may change.

        Raises:
            RecipeError: another section's key, an unknown one, or a value out of range.
        """
        content = self.model_dump(mode="json")
        for change in changes:
            section = change.partition("=")[0].strip().partition(".")[0]
            if section not in sections:
                allowed = ", ".join(f"{name}.…" for name in sections)
                raise RecipeError("the run is trained: of its recipe only some keys can change", change, allowed)
            _apply(change, content)
        return parse(Recipe, content)

    def save(self, path: Path) -> None:
        """Write the recipe as YAML, atomically."""
        storage.write_text(path, yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def _filled(given: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with what it lacks from `defaults`; a section that names another kind of thing keeps to itself."""
    filled = dict(given)
    for key, value in defaults.items():
        mine = given.get(key)
        if key not in given:
            filled[key] = value
        elif (
            isinstance(value, Mapping)
            and isinstance(mine, dict)
            and mine.get("name", value.get("name")) == value.get("name")
        ):
            filled[key] = _filled(mine, value)
    return filled


_BUDGET = "train.budget."


class _OnceEach(yaml.SafeLoader):
    """YAML in which no key stands twice in one place: of two the last would win, and nobody would know."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                told = f"the key `{key.value}` stands twice"
                raise yaml.constructor.ConstructorError(problem=told, problem_mark=key.start_mark)
            seen.update({key.value} if isinstance(key, yaml.ScalarNode) else ())
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path, hint: str = "") -> Any:
    """What a YAML file holds.

    Args:
        hint: the fix where the file is not there.

    Raises:
        RecipeError: it is not there, no YAML, or has a key twice.
    """
    path = Path(path)
    if path.is_dir():
        inside = sorted(str(file) for file in path.glob("*.yaml"))
        raise RecipeError(
            "this must be a file, not a folder", str(path), f"did you mean {inside[0]}?" if inside else hint
        )
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_OnceEach)  # noqa: S506 (a safe loader)
    except FileNotFoundError as error:
        raise RecipeError("the file must exist", str(path), storage.near_path(path, hint)) from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise RecipeError("the file must be readable YAML", str(path), storage.why_unreadable(error, path)) from error


def load(model: type[Model], path: str | Path, changes: Sequence[str] = ()) -> Model:
    """Read any typed YAML file: see `Recipe.load`."""
    path = Path(path)
    content = read_yaml(path, model.example)
    if not isinstance(content, dict):
        raise RecipeError("the file must hold `key: value` pairs", str(path), model.example)
    model.refuse(content, path)
    if any(change.startswith(_BUDGET) for change in changes) and isinstance(content.get("train"), dict):
        content["train"].pop("budget", None)  # it has one key: one on the line stands in place of the file's
    for change in changes:
        _apply(change, content)
    return parse(model, content, where=str(path))


def _apply(change: str, content: dict[str, Any]) -> None:
    """Set one "a.b=value" in nested mappings; the value is read as YAML."""
    place, sign, text = change.partition("=")
    *sections, key = place.strip().split(".")
    for section in sections:
        inner = content.setdefault(section, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"`{section}` must hold keys to change one below it", change, "check the key's place")
        content = inner
    try:
        content[key] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError("the value of a change must be YAML", change, str(error)) from error
    if not (sign and key):
        raise RecipeError("a change must read key=value", change, "for example train.batch=64")


def parse(model: type[Model], content: dict[str, Any], where: str = "", within: tuple[str, ...] = ()) -> Model:
    """Validate `content` as `model`; the first problem becomes a `RecipeError` with a remedy.

    Args:
        where: what the message calls the file, e.g. its path.
        within: the keys that enclose `content` in that file, e.g. ("model",).
    """
    try:
        return model.model_validate(content, context={"where": where})
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        inside = tuple(part for part in problem["loc"])
        place = ".".join(str(part) for part in (*within, *inside))
        prefix = f"{where}: " if where else ""
        if problem["type"] == "extra_forbidden":
            fix = schema.remedy(model, inside, within)
            raise RecipeError(f"{prefix}there is no key `{place}`", problem["input"], fix) from None
        message = problem["msg"].removeprefix("Value error, ")
        subject = f"`{place}`: " if place else ""
        if problem["type"] == "missing" and isinstance(inside[-1], str):
            raise RecipeError(f"{prefix}`{place}` must be given", None, f"add `{inside[-1]}:`") from None
        fix = schema.wanted(model, inside, problem["input"])
        raise RecipeError(f"{prefix}{subject}{message}", problem["input"], fix) from None
