"""Samples from a trained run, the same ones every time.

Samples are made in chunks of 64, and chunk k draws its randomness from (seed, "generate", k) alone. So sample 700 of
seed 0 is the same image whether you ask for 701 of them or a million, and memory stays flat: a chunk is written before
the next is made. The price is that asking for 3 samples computes 64.

Shape legend: N samples, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motherlode import storage
from motherlode.errors import RecipeError, StorageError
from motherlode.generation.asking import label_number
from motherlode.randomness import torch_generator
from motherlode.recipe import GenerateOptions
from motherlode.registry import did_you_mean
from motherlode.safety import provenance

if TYPE_CHECKING:
    from torch import Tensor

    from motherlode.families import Family
    from motherlode.generation.composer import Composition
    from motherlode.training.run import Run

CHUNK = 64
GRID = "grid.png"
INDEX = "samples.jsonl"


@dataclass(frozen=True)
class Chunk:
    """Up to `CHUNK` samples.

    Args:
        start: number of the first one, counted from 0 over the whole request.
        samples: uint8 (N, C, H, W).
        labels: the label each was asked for, or None where none was.
        variant: the weights that made them.
    """

    start: int
    samples: Tensor
    labels: list[int] | None
    variant: str


def generate(
    run: Run | str | Path,
    num: int | None = None,
    seed: int = 0,
    condition: int | str | Sequence[int | str] | None = None,
    out: str | Path | None = None,
    variant: str = "",
    *,
    prompt: Any = None,
    options: GenerateOptions | None = None,
    which: str = "best",
    device: str = "auto",
) -> Tensor | list[str] | list[Composition]:
    """Generate `num` samples; with `out`, also write them as files that say where they came from.

    For more samples than memory holds, iterate over `chunks` and `save` them (texts: see `tokens.author`).

    Args:
        run: a run or its folder.
        num: how many; default: one for each prompt, or 64 where samples are no texts.
        seed: the same seed gives the same samples, whatever `num`.
        condition: a label (name or number) for all samples, or a sequence of labels that the samples take in turn.
        variant: which weights, e.g. "ema" or "raw"; "" for the ones that scored best.
        prompt: what texts begin with, or a sequence of prompts that they take in turn; a model that fills masks also
            takes prompts with gaps, `[MASK]` or `[MASK*12]`. Without it a model begins by itself. Of a run over fields
            what is given, see `asking`: a text, "field=value", or {field: value}, or a sequence of these.
        options: how tokens are drawn, and for which task; default: the section `generate` of the run's recipe.
        which: which checkpoint: "best", "last" or "step-N".

    Returns:
        (N, C, *size) of the modality's dtype, uint8 for pictures; of a run whose samples are tokens a list of N texts,
        each of them whole: its prompt, and what the model wrote after it or into it; of a run over fields a list of N
        `composer.Composition`.

    Raises:
        RecipeError: an unknown label or variant, labels or prompts asked of a model that takes none, or a prompt that
            is empty or longer than the model's window.
        StorageError: `out` holds something else, or the disk is full.
    """
    import torch

    run = opened(run)
    if run.spec.tokens is not None:
        from motherlode.generation.composer import layout_of

        if layout_of(run) is not None:
            return _compositions(run, num, seed, condition, out, variant, prompt, options, which, device)
        if condition is not None:
            raise RecipeError("texts are asked for by a prompt, not by a label", condition, "give `prompt`")
        return _texts(run, num, seed, out, variant, prompt, options, which, device)
    if prompt is not None or options is not None:
        raise RecipeError("only models of texts take prompts", prompt, "ask for labels with `condition`")
    num = CHUNK if num is None else num
    made = chunks(run, num, seed, condition, variant, which=which, device=device)
    if out is not None:
        made = save(made, run, num, out, seed=seed, which=which)
    return torch.cat([chunk.samples for chunk in made])


def _texts(
    run: Run,
    num: int | None,
    seed: int,
    out: str | Path | None,
    variant: str,
    prompt: str | Sequence[str] | None,
    options: GenerateOptions | None,
    which: str,
    device: str,
) -> list[str]:
    from motherlode.generation import tokens

    author = tokens.author(run, options, variant=variant, which=which, device=device)
    prompts = author.prompts(prompt)
    num = len(prompts) if num is None else num
    made = author.texts(prompts, author.pieces(prompts, num, seed))
    if out is not None:
        made = tokens.save(made, num, out, author.facts(seed))
    return [text.text for text in made]


def _compositions(
    run: Run,
    num: int | None,
    seed: int,
    condition: int | str | Sequence[int | str] | None,
    out: str | Path | None,
    variant: str,
    prompt: Any,
    options: GenerateOptions | None,
    which: str,
    device: str,
) -> list[Composition]:
    from motherlode.generation.composer import composer

    made_with = composer(run, options, variant=variant, which=which, device=device)
    asked = made_with.asked(prompt, condition)
    num = made_with.num(asked, num)
    made = made_with.compositions(asked, made_with.parts(asked, range(num), seed))
    if out is not None:
        made = made_with.save(made, num, out, seed)
    return list(made)


def chunks(
    run: Run | str | Path,
    num: int,
    seed: int = 0,
    condition: int | str | Sequence[int | str] | None = None,
    variant: str = "",
    *,
    which: str = "best",
    device: str = "auto",
) -> Iterator[Chunk]:
    """As `generate`, a chunk at a time in flat memory."""
    import torch

    from motherlode.training.precision import device_name

    run = opened(run)
    check_num(num)
    device = device_name(device)
    family = run.load(which, device=device)
    variant = chosen_variant(run, family, variant)
    cycle = _label_numbers(run, family.num_labels, condition)
    for index, start in enumerate(range(0, num, CHUNK)):
        wanted = None if cycle is None else [cycle[number % len(cycle)] for number in range(start, start + CHUNK)]
        labels = None if wanted is None else torch.tensor(wanted, device=device)
        rng = torch_generator(seed, "generate", index, device=device)
        normal = family.sample(CHUNK, condition=labels, rng=rng, variant=variant)
        samples = run.modality.denormalise(normal).cpu()[: num - start]
        yield Chunk(start, samples, None if wanted is None else wanted[: len(samples)], variant)


def save(
    made: Iterator[Chunk], run: Run, num: int, out: str | Path, *, seed: int, which: str = "best"
) -> Iterator[Chunk]:
    """Write chunks as they pass: a stamped file a sample, an index, a grid of the first, and a record.

    The folder appears under its name when the last chunk has passed, complete or not at all.

    Raises:
        StorageError: `out` holds something that `generate` did not write, or the disk is full.
    """
    out = check_out(out)
    facts: dict[str, Any] = {}
    with storage.atomic_folder(out, durable=False) as folder:
        for chunk in made:
            if chunk.start == 0:
                facts = origin(run, variant=chunk.variant, which=which) | {"seed": seed}
                run.modality.preview(run.modality.normalise(chunk.samples), folder / GRID, spec=run.spec)
            _write_chunk(chunk, run, folder, facts, digits=len(str(num - 1)))
            yield chunk
        storage.write_json(folder / provenance.RECORD, provenance.record(facts, num))


def check_num(num: int) -> None:
    """Refuse to make no samples."""
    if num < 1:
        raise RecipeError("the number of samples must be at least 1", num, "ask for more")


def check_out(out: str | Path) -> Path:
    """Where samples go.

    Raises:
        StorageError: it holds something that `generate` did not write.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / provenance.RECORD).is_file())):
        raise StorageError(
            "`generate` writes to a new folder, or over one it wrote", str(out), "choose another --out, or empty it"
        )
    return out


def origin(run: Run, *, variant: str, which: str = "best") -> dict[str, Any]:
    """What every generated file and every export says about where it came from."""
    from motherlode.version import __version__

    return {
        "motherlode": __version__,
        "run": run.path.name,
        "checkpoint": run.checkpoint(which).name,
        "variant": variant,
        "recipe": run.recipe.digest(),
        "family": run.recipe.family,
        "dataset": run.facts["dataset"],
    }


def _write_chunk(chunk: Chunk, run: Run, folder: Path, facts: dict[str, Any], digits: int) -> None:
    for position, sample in enumerate(chunk.samples.numpy()):
        number = chunk.start + position
        own: dict[str, Any] = {"index": number}
        if chunk.labels is not None:
            own["label"] = run.labels[chunk.labels[position]]
        media = provenance.stamp(run.modality.encode(sample, run.spec), {**facts, **own})
        name = f"{number:0{digits}d}{provenance.suffix(media)}"
        (folder / name).write_bytes(media)
        storage.append_line(folder / INDEX, {"file": name, **own, "hash": storage.hash_bytes(media)})


def opened(run: Run | str | Path) -> Run:
    """A run, opened where it is given as a folder."""
    if isinstance(run, str | Path):
        from motherlode.training.run import Run as Opener

        return Opener.open(run)
    return run


def chosen_variant(run: Run, family: Family, variant: str) -> str:
    """The weights asked for; where none were, those that scored best on held-out data, else the family's first.

    Raises:
        RecipeError: the family has no such weights.
    """
    known = list(family.variants)
    if variant and variant not in known:
        raise RecipeError("the model has no such weights", variant, did_you_mean(variant, known))
    found = (variant, _measured_variant(run), run.best_variant, known[0])
    return next(name for name in found if name in known)


def _measured_variant(run: Run) -> str:
    """The weights `evaluate` found nearest to held-out data; "" where the run was not evaluated."""
    path = run.path / "report.json"
    return str(storage.read_json(path).get("facts", {}).get("variant", "")) if path.is_file() else ""


def _label_numbers(run: Run, num_labels: int, condition: int | str | Sequence[int | str] | None) -> list[int] | None:
    """Labels as numbers, one or more, to be taken in turn."""
    if condition is None:
        return None
    names = run.labels if num_labels else []
    wanted = [condition] if isinstance(condition, int | str) else list(condition)
    if not names:
        raise RecipeError(
            "labels can only be asked of a model that was trained with them",
            wanted,
            "leave them out, or train with `model.conditional: true` on labelled data",
        )
    return [label_number(label, names) for label in wanted]
