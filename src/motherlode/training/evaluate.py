"""`evaluate`: how good a run's samples are, against data it has not seen.

The weights (averaged or raw) are chosen by their distance to one part of the held-out data, on samples that are then
thrown away, and the choice is recorded. The reference is the held-out split; what real training data score against it
is the floor; distance to train less distance to held-out says whether the model has overfitted.

Two folders can be compared without a run: `evaluate(samples="generated/", reference="datasets/photos")`. Where samples
are tokens or text, the measures are those of a language model (`evaluate_language`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from motherlode import registry, storage
from motherlode.errors import MeasureError
from motherlode.families import Family
from motherlode.measures.catalogue import CATALOGUE, GROUPS, expand
from motherlode.measures.features import Extractor
from motherlode.measures.frechet import frechet_distance
from motherlode.measures.interval import DEFAULT_LEVEL
from motherlode.measures.language_features import TextExtractor
from motherlode.measures.panel import Panel, Pool, Progress
from motherlode.measures.panels import extractor_of, panel_of
from motherlode.measures.perceptual import Lpips
from motherlode.measures.report import Report
from motherlode.modality import Modality, SampleSpec
from motherlode.training import evaluate_fields as fields
from motherlode.training import evaluate_language as language
from motherlode.training.asked import Asked
from motherlode.training.pools import Decoded, Files, Generated, Reconstructed, pool_at
from motherlode.training.precision import device_name

if TYPE_CHECKING:
    from motherlode.training.run import Run

_NUM_CHOOSING = 1000
_NUM_SHOWN = 64
_GRID_COLUMNS = 8
_NUM_LINES = 6
_OF_CODECS = ("reconstruction", "codes")
"""Groups of measures that need no samples, only real ones as they come back."""
_DEFAULT_SAMPLES = 10_000
_DEFAULT_MODALITY = "image"


@dataclass(frozen=True)
class _Subject:
    """What is measured, and against what."""

    samples: Pool
    reference: Pool
    train: Pool | None
    modality: Modality
    spec: SampleSpec
    facts: dict[str, Any]
    history: list[dict[str, Any]]
    restored: Reconstructed | None = None
    family: Family | None = None


def evaluate(
    run: Run | str | Path | None = None,
    *,
    samples: str | Path | None = None,
    reference: str | Path | None = None,
    train: str | Path | None = None,
    num_samples: int | None = None,
    extractor: str | torch.nn.Module | Extractor | TextExtractor | None = None,
    measures: tuple[str, ...] | None = None,
    level: float | None = None,
    seed: int = 0,
    variant: str | None = None,
    which: str = "best",
    device: str = "auto",
    modality: str = "auto",
    stride: int | None = None,
    harness: tuple[str, ...] = (),
    harness_limit: int | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    perceptual: Lpips | Extractor | None = None,
) -> Report:
    """Measure a run's samples, or a folder of samples, against real ones, and write a report.

    Args:
        run: a run or its folder.
        samples: instead of a run: a folder of files, or a dataset folder (all of its training split).
        reference: a folder of files or a dataset folder (its held-out split); default: the run's own held-out split.
        train: what the samples were made from, for overfitting and memorisation, where there is no run to say.
        num_samples: generated ones; default: the recipe's, 10,000 without a run. Of a language model, documents that
            are scored and texts that are written; default: documents of about 1 MB, and 256 texts.
        extractor: a name, a path, a module; default: the recipe's, or the best one installed; of texts also "self", the
            model under test.
        measures: names or groups of the catalogue; default: the recipe's, else the family's, else all.
        level: of intervals; default: the recipe's.
        seed: of the samples.
        variant: which weights; default: those nearest to held-out data.
        which, device: checkpoint ("best", "last" or "step-N"), and where it runs ("auto", "cpu", "cuda").
        modality: of the files, where there is no run; "auto": the dataset's, or what the files are.
        stride: of a language model's window: tokens each further window of a document scores; default: half of it.
        harness: tasks of EleutherAI's harness to run on the checkpoint besides, by name or by path of a task file.
        harness_limit: documents of each such task at most.
        out: folder for `report.json` and `report.html`; default: the run's.
        progress: see `measures.panel.Progress`.
        perceptual: LPIPS, or another extractor, to see diversity by; default: `extractor`.

    Raises:
        MeasureError: nothing to measure, no held-out data, an unknown measure, extractor or task.
        MissingExtraError: the harness, or the package of an extractor, is not installed.
        SourceError: a folder that is missing or holds no such files.
    """
    device = device_name(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    if (run is None) == (samples is None):
        raise MeasureError("evaluate measures a run or a folder of samples", None, "give `run`, or `samples`")
    asked = Asked(reference, train, num_samples, extractor, measures, level, seed, variant, which, device, stride)
    if run is not None:
        from motherlode.training.run import Run

        run = Run.open(run) if isinstance(run, str | Path) else run
        out = out or run.path
        _check_run(run, asked, harness, out)
        if run.recipe.data.fields:
            report = _fields_of_run(run, asked, progress)
        elif run.spec.tokens is not None:
            report = _language_of_run(run, asked, progress)
        else:
            report = _images_of_run(run, asked, progress, perceptual)
        report = _with_harness(report, run, asked, harness, harness_limit) if harness else report
    elif reference is None:
        raise MeasureError("samples need something to be compared with", None, "give `reference`")
    else:
        if out is not None:
            storage.check_folder(out)
        report = _folders(samples or "", reference, modality, asked, progress, perceptual)
    if out is not None:
        report.save(out)
    return report


def _folders(
    samples: str | Path,
    reference: str | Path,
    modality: str,
    asked: Asked,
    progress: Progress | None,
    perceptual: Lpips | Extractor | None,
) -> Report:
    """The report on a folder of samples, whoever made them."""
    modality = _modality_of(samples, reference) if modality == "auto" else modality
    if registry.find("modality", modality).stored == "text":
        return _language_of_folders(samples, asked, progress)
    subject = _of_folders(samples, reference, asked.train, modality)
    found = extractor_of(_for_images(asked.extractor) or "auto", subject.spec)
    return _take(subject, found, asked, asked.measures or (), progress, perceptual)


def _check_run(run: Run, asked: Asked, harness: tuple[str, ...], out: str | Path) -> None:
    """Refuse what would fail only after measuring, or be passed over.

    Raises:
        MotherlodeError: `out` cannot be written, a task cannot be run, or training samples are named.
    """
    if asked.train is not None:
        raise MeasureError(
            "a run knows what it was trained on", f"train: {asked.train}", "leave it out: it is for folders of samples"
        )
    storage.check_folder(out)
    if harness:
        from motherlode.training.harness import check_tasks

        check_tasks(run.checkpoint(asked.which), harness)


def _with_harness(report: Report, run: Run, asked: Asked, tasks: tuple[str, ...], limit: int | None) -> Report:
    """The report and what the harness found."""
    from motherlode.training.harness import harness_measures

    level = asked.level or run.recipe.evaluate.level
    found = harness_measures(
        run.checkpoint(asked.which), tasks, limit=limit, device=asked.device, level=level, seed=asked.seed
    )
    return Report(
        {**report, **found}, report.facts, report.pictures, report.history, texts=report.texts, pulls=report.pulls
    )


def _images_of_run(run: Run, asked: Asked, progress: Progress | None, perceptual: Lpips | Extractor | None) -> Report:
    chosen = run.recipe.evaluate
    num_samples, level = asked.num_samples or chosen.num_samples, asked.level or chosen.level
    names = _names(run, asked, registry.find("family", run.recipe.family).measures)
    expand(names)  # refuses what no panel has, before samples are made
    found = extractor_of(_for_images(asked.extractor) or chosen.extractor, run.spec)
    subject = _of_run(run, asked.reference, found, num_samples, asked.seed, asked.variant, asked.which, asked.device)
    asked = replace(asked, num_samples=num_samples, level=level)
    return _take(subject, found, asked, names, progress, perceptual)


def _take(
    subject: _Subject,
    extractor: Extractor,
    asked: Asked,
    names: tuple[str, ...],
    progress: Progress | None,
    perceptual: Lpips | Extractor | None,
) -> Report:
    """The report of a subject."""
    num_samples, level = asked.num_samples or _DEFAULT_SAMPLES, asked.level or DEFAULT_LEVEL
    pools = (subject.samples, subject.reference, subject.train)
    panel = panel_of(subject.spec.modality)(
        *pools,
        extractor,
        num_samples,
        level=level,
        seed=asked.seed,
        progress=progress,
        perceptual=perceptual,
        restored=subject.restored,
    )
    taken = panel.take(_possible(names, subject))
    notes = [*subject.facts.pop("notes", []), *_warnings(extractor), *panel.notes]
    return Report(taken, _dated(subject.facts, notes, asked.seed), _pictures(subject, panel), subject.history)


def _possible(names: tuple[str, ...], subject: _Subject) -> tuple[str, ...]:
    """What can be measured of a subject: reconstructions only, where there are no samples.

    Raises:
        MeasureError: a measure of samples is asked of a run that makes none.
    """
    if subject.samples is not subject.restored:
        return names
    groups = {name: CATALOGUE[name].group if name in CATALOGUE else name for name in names}
    unfit = [name for name, group in groups.items() if group in GROUPS and group not in _OF_CODECS]
    if unfit:
        raise MeasureError(
            "a model of codes makes no samples by itself: only its reconstructions and codes can be measured",
            ", ".join(unfit),
            f"ask for {' or '.join(_OF_CODECS)}, or evaluate a GPT trained over the codes",
        )
    return names or _OF_CODECS


def _language_of_run(run: Run, asked: Asked, progress: Progress | None) -> Report:
    panel, proposed, found = language.panel_of_run(run, asked, progress)
    taken = panel.take(_names(run, asked, proposed))
    facts = _dated(_facts(run, asked.which, found["variant"], found["shape"]), panel.notes, asked.seed)
    return Report(taken, facts, history=run.metrics(), texts=language.passages(panel, taken), pulls=panel.pulls)


def _fields_of_run(run: Run, asked: Asked, progress: Progress | None) -> Report:
    found = fields.measure_run(run, asked, progress)
    facts = _dated(_facts(run, asked.which, found.variant, fields.subtitle_of(run)), found.notes, asked.seed)
    return Report(found.measures, facts, history=run.metrics(), pulls=found.pulls)


def _language_of_folders(samples: str | Path, asked: Asked, progress: Progress | None) -> Report:
    panel = language.panel_of_folders(samples, asked, progress)
    taken = panel.take(asked.measures or ())
    facts = {"title": Path(samples).name, "subtitle": f"against {panel.reference.description}"}
    return Report(taken, _dated(facts, panel.notes, asked.seed), texts=language.passages(panel, taken))


def _names(run: Run, asked: Asked, proposed: tuple[str, ...]) -> tuple[str, ...]:
    """Measures asked for, else the recipe's, else the family's."""
    return asked.measures if asked.measures is not None else run.recipe.evaluate.measures or proposed


def _dated(facts: Mapping[str, Any], notes: list[str], seed: int) -> dict[str, Any]:
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {**facts, "notes": notes, "seed": seed, "created": created}


def _for_images(extractor: Any) -> str | torch.nn.Module | Extractor | None:
    found: str | torch.nn.Module | Extractor | None = extractor
    return found


def _modality_of(samples: str | Path, reference: str | Path) -> str:
    """That of the dataset, or else the one whose files lie in the folder of samples."""
    from motherlode.data.dataset import FACTS, Dataset

    if (Path(reference) / FACTS).is_file():
        return Dataset.open(reference).modality
    endings = {path.suffix.lower() for path in Path(samples).rglob("*")}
    for name in registry.names("modality"):
        if endings & registry.find("modality", name).suffixes:
            return name
    return _DEFAULT_MODALITY


def _of_run(
    run: Run,
    reference: str | Path | None,
    extractor: Extractor,
    num_samples: int,
    seed: int,
    variant: str | None,
    which: str,
    device: str,
) -> _Subject:
    from motherlode.data.loader import Loader

    recipe, spec = run.recipe, run.spec
    loader = Loader(
        run.dataset, "train", spec, seed=recipe.seed, batch=1, num_samples=recipe.data.num_samples
    )  # the very rows it was trained on
    real = _reference(run, reference, spec)
    family = run.load(which, device=device)
    family.eval()
    scores: dict[str, float] = {}
    restored = _restored(family, run.modality, real, device)
    if variant is None and family.makes_samples:
        variant, scores = _choose(family, run.modality, real, extractor, seed, device)
    variant = variant or family.variants[0]
    made: Pool
    if restored is not None and not family.makes_samples:
        made = restored
    else:
        made = Generated(family, run.modality, num_samples, seed=seed, variant=variant, device=device)
    facts = _facts(run, which, variant, "×".join(map(str, spec.shape)))
    facts |= {"variant_scores": scores if len(scores) > 1 else {}, "notes": []}
    if len(scores) > 1:
        told = ", ".join(f"{name} {score:.4g}" for name, score in scores.items())
        facts["notes"] = [f"Of the model's weights, {variant} lay nearest to held-out data ({told})."]
    return _Subject(made, real, Decoded(loader, "train"), run.modality, spec, facts, run.metrics(), restored, family)


def _restored(family: Family, modality: Modality, real: Decoded | Files, device: str) -> Reconstructed | None:
    """The family's reconstructions of real samples; None where it makes none."""
    if type(family).reconstruct is Family.reconstruct:
        return None
    return Reconstructed(family, modality, real, device=device)


def _facts(run: Run, which: str, variant: str, shape: str) -> dict[str, Any]:
    """What was measured, and what it cost."""
    step = run.checkpoint(which).name
    return {
        "title": run.facts["name"],
        "subtitle": f"{run.facts['family']} · {shape} · {step} · {variant} weights",
        "family": run.facts["family"],
        "dataset": run.facts["dataset"],
        "checkpoint": step,
        "variant": variant,
        "cost": _cost(run.facts, run.spec),
    }


def _reference(run: Run, reference: str | Path | None, spec: SampleSpec) -> Decoded | Files:
    from motherlode.data.loader import Loader

    if reference is not None:
        return pool_at(reference, split="heldout", modality=spec.modality, spec=spec)
    num = len(run.dataset.split("heldout"))
    if num < 2:
        fix = "give --reference: a dataset, or a folder"
        raise MeasureError("a run needs held-out data to be measured", f"{num} held out", fix)
    return Decoded(Loader(run.dataset, "heldout", spec, seed=run.recipe.seed, batch=1), "heldout")


def _choose(
    family: Family, modality: Modality, real: Pool, extractor: Extractor, seed: int, device: str
) -> tuple[str, dict[str, float]]:
    """The variant nearest to held-out data, and what each scored."""
    names = family.variants
    if len(names) == 1:
        return names[0], {names[0]: 0.0}
    num = min(_NUM_CHOOSING, len(real))
    reference_ND = extractor(real.take(np.arange(num))).features_ND
    scores = {}
    for name in names:
        made = Generated(family, modality, num, seed=seed, variant=name, device=device, stream="choose variant")
        scores[name] = frechet_distance(extractor(made.take(np.arange(num))).features_ND, reference_ND)
    return min(names, key=lambda name: scores[name]), scores


def _of_folders(samples: str | Path, reference: str | Path, train: str | Path | None, modality: str) -> _Subject:
    real = pool_at(reference, split="heldout", modality=modality)
    spec = replace(real.spec, shape=tuple(real.take(np.arange(1)).shape[1:]))
    made = pool_at(samples, split="train", modality=modality, spec=spec)
    source = None if train is None else pool_at(train, split="train", modality=modality, spec=spec)
    facts = {"title": Path(samples).name, "subtitle": f"against {real.description}"}
    return _Subject(made, real, source, registry.find("modality", modality), spec, facts, [])


def _warnings(extractor: Extractor) -> list[str]:
    if not extractor.name.endswith("raw-pixels"):
        return []
    advice = "For ImageNet features: pip install 'motherlode[features]'."
    return [f"Features are raw pixels: they see brightness and layout, not content. {advice}"]


def _cost(facts: Mapping[str, Any], spec: SampleSpec) -> dict[str, str]:
    """What the training took, as text."""
    seen, passes = facts["samples"], facts["samples"] / max(facts["train_samples"], 1)
    unit, size = spec.counted_in
    cost = {
        "parameters": f"{facts['parameters']:,}",
        "steps": f"{facts['step']:,}",
        f"training {unit}": f"{facts.get('train_tokens', facts['train_samples'] * size):,}",
        f"{unit} seen": f"{seen * size:,} ({passes:.1f} passes)",
        "time": f"{facts.get('seconds', 0):,.0f} s on {facts['device']}",
        "operations": f"{facts.get('flops', 0):.3g} FLOP",
        "peak memory": f"{facts.get('peak_memory_bytes', 0) / 1e9:.2f} GB",
        "energy, estimated": f"{facts.get('kwh', 0):.3g} kWh",
    }
    if facts.get("money"):
        cost["price"] = f"{facts['money']:.2f} {facts.get('currency', '')}".strip()
    return cost


def _pictures(subject: _Subject, panel: Panel) -> dict[str, bytes]:
    """Grids of samples, of real ones, and of samples over the training ones nearest to them."""

    def shown(pool: Pool, rows: NDArray[np.int64]) -> bytes:
        return _grid(subject, pool.take(rows), _GRID_COLUMNS)

    pictures = {}
    if subject.samples is not subject.restored:
        caption = "Generated: samples as they come, none chosen"
        pictures[caption] = shown(panel.samples, panel.sample_rows[:_NUM_SHOWN])
    pictures["Real: images the model has not seen"] = shown(panel.reference, panel.reference_rows[:_NUM_SHOWN])
    pictures |= _restorations(subject, panel.reference_rows)
    if subject.train is not None and "memorised" in panel.__dict__:
        pairs = panel.memorised.pairs
        above = panel.samples.take(np.array([sample for sample, _, _ in pairs]))
        below = subject.train.take(panel.train_rows[[row for _, row, _ in pairs]])
        caption = "Most copied: samples nearest to a training image (top) and that image (bottom)"
        pictures[caption] = _grid(subject, np.concatenate([above, below]), len(pairs))
    return pictures


def _restorations(subject: _Subject, rows: NDArray[np.int64]) -> dict[str, bytes]:
    """Real samples above what came back of them, and what lies between pairs of them."""
    if subject.restored is None or subject.family is None:
        return {}
    rows = rows[: _NUM_SHOWN // 2 // _GRID_COLUMNS * _GRID_COLUMNS]
    real, made = subject.reference.take(rows), subject.restored.take(rows)
    cuts = range(_GRID_COLUMNS, len(rows), _GRID_COLUMNS)
    pairs = [part for pair in zip(np.split(real, cuts), np.split(made, cuts), strict=True) for part in pair]
    caption = "Reconstructed: images the model has not seen (rows above) and what it gives back of them (rows below)"
    pictures = {caption: _grid(subject, np.concatenate(pairs), _GRID_COLUMNS)}
    num = min(_NUM_LINES, len(rows) // 2)
    device = next(subject.family.parameters()).device
    ends = subject.modality.normalise(torch.from_numpy(np.ascontiguousarray(real[: 2 * num]))).to(device)
    between = subject.family.interpolate(ends[:num], ends[num:], _GRID_COLUMNS) if num else None
    if between is not None:
        samples = subject.modality.denormalise(between.flatten(0, 1)).cpu().numpy()
        pictures["Between: from one unseen image to another, in equal steps"] = _grid(subject, samples, _GRID_COLUMNS)
    return pictures


def _grid(subject: _Subject, samples: NDArray[np.uint8], columns: int) -> bytes:
    normal = subject.modality.normalise(torch.from_numpy(np.ascontiguousarray(samples)))
    with TemporaryDirectory() as folder:
        path = subject.modality.preview(normal, Path(folder) / "grid.png", columns=columns, spec=subject.spec)
        return path.read_bytes()
