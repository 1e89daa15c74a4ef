"""EleutherAI's evaluation harness on a checkpoint, where it is installed, with its results as measures.

A checkpoint of a language model is a Hugging Face folder, so the harness loads it like any other. Nothing is sampled or
fitted here: what a task counts, and how, is the harness's own, and its name and version stand with every number. Tasks
whose data lie on a hub need the network; a task file of one's own (`path/to/task.yaml`) may read local data.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from motherlode import storage
from motherlode.errors import MeasureError, MissingExtraError
from motherlode.measures.catalogue import harness_name
from motherlode.measures.interval import DEFAULT_LEVEL, Interval, around, share_interval
from motherlode.measures.report import Measure

_PACKAGE = "lm_eval"
_BOOTSTRAPS = 1000


def harness_measures(
    checkpoint: Path,
    tasks: Sequence[str],
    *,
    limit: int | None = None,
    device: str = "cpu",
    batch: int = 8,
    level: float = DEFAULT_LEVEL,
    seed: int = 0,
) -> dict[str, Measure]:
    """The harness's metrics of a model, by "harness:TASK:METRIC".

    Args:
        checkpoint: a Hugging Face folder of a causal language model.
        tasks: names the harness knows, or paths of task files.
        limit: documents of each task at most.
        device: "cpu", "cuda".
        batch: requests at once.
        level: of the intervals, made from the harness's standard errors.
        seed: of few-shot examples.

    Raises:
        MissingExtraError: the harness is not installed.
        MeasureError: no such task, its data cannot be read, or the model is none that writes from left to right.
    """
    files = check_tasks(checkpoint, tasks)
    with _ambient_random_state():
        simple_evaluate, task_manager, wrapper = _harness()
    with _ambient_random_state():
        # Reading the definitions of thousands of tasks takes half a minute: only where one of them is asked for.
        folders = [str(folder) for folder in {file.parent for file in files}]
        manager = task_manager(include_path=folders or None, include_defaults=len(files) < len(tasks))
        names = [_task_of(Path(task)) if Path(task) in files else task for task in tasks]
        unknown = [name for name in names if name not in manager.all_tasks]
        if unknown:
            raise MeasureError("the harness must know the task", unknown[0], "`lm-eval ls tasks` lists what it knows")
        try:
            results = simple_evaluate(
                model=_model(wrapper, checkpoint, device, batch),
                tasks=names,
                limit=limit,
                bootstrap_iters=_BOOTSTRAPS,
                log_samples=False,
                task_manager=manager,
                random_seed=seed,
                numpy_random_seed=seed,
                torch_random_seed=seed,
                fewshot_random_seed=seed,
            )
        except Exception as error:  # tasks, their data and their code raise whatever they like
            text = f"{', '.join(names)}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            raise MeasureError(
                "the harness must be able to run its task", text, "data on a hub need the network; a task file need not"
            ) from error
    return dict(_measures(results or {}, level))


def check_tasks(checkpoint: Path, tasks: Sequence[str]) -> list[Path]:
    """Refuse what the harness could not run, before anything is measured; cheap, and so blind to unknown names.

    Returns:
        The tasks that are files.

    Raises:
        MissingExtraError, MeasureError: as `harness_measures`.
    """
    if find_spec(_PACKAGE) is None:
        raise MissingExtraError("EleutherAI's harness", "harness")
    if not _is_causal(checkpoint):
        raise MeasureError(
            "the harness needs a checkpoint of a causal language model", str(checkpoint), "train one: `family: gpt`"
        )
    files = [Path(task) for task in tasks if task.endswith((".yaml", ".yml"))]
    for file in files:
        if not file.is_file():
            fix = storage.near_path(file, "give the name of a task, or the path of its YAML")
            raise MeasureError("a task's file must exist", str(file), fix)
    return files


def _harness() -> tuple[Any, Any, Any]:
    """What runs tasks, what finds them, and what wraps a Hugging Face folder for them."""
    try:
        wrapper = import_module(f"{_PACKAGE}.models.huggingface").HFLM
        return import_module(_PACKAGE).simple_evaluate, import_module(f"{_PACKAGE}.tasks").TaskManager, wrapper
    except ImportError as error:
        raise MissingExtraError("EleutherAI's harness", "harness") from error


def _model(wrapper: Any, checkpoint: Path, device: str, batch: int) -> Any:
    """The checkpoint as the harness's model, each text behind the token that began documents in training.

    Where the harness scores whole documents it puts that token first itself, and would score a second one as text.
    """
    model = wrapper(
        pretrained=str(checkpoint),
        dtype="float32",
        add_bos_token=True,
        trust_remote_code=False,
        device=device,
        batch_size=batch,
    )
    roll = model.loglikelihood_rolling

    def without_second(requests: Any, disable_tqdm: bool = False) -> Any:
        model.add_bos_token = False
        try:
            return roll(requests, disable_tqdm=disable_tqdm)
        finally:
            model.add_bos_token = True

    model.loglikelihood_rolling = without_second
    return model


def _measures(results: dict[str, Any], level: float) -> Iterator[tuple[str, Measure]]:
    """Every number of every task."""
    extractor = f"lm-eval {version(_PACKAGE)}"
    for task, found in results.get("results", {}).items():
        better = results.get("higher_is_better", {}).get(task, {})
        count = results.get("n-samples", {}).get(task, {}).get("effective", 0)
        shots = results.get("n-shot", {}).get(task, 0)
        config = json.dumps(results.get("configs", {}).get(task, {}), sort_keys=True, default=str)
        for key, value in found.items():
            metric, _, rule = key.partition(",")
            if not isinstance(value, int | float) or metric.endswith("_stderr") or not rule:
                continue
            interval = _interval(float(value), found.get(f"{metric}_stderr,{rule}"), int(count), level)
            name = harness_name(task, metric if rule == "none" else f"{metric} ({rule})")
            direction = {True: "higher", False: "lower"}.get(better.get(metric), "none")
            yield (
                name,
                Measure(
                    name=name,
                    value=float(value),
                    low=interval.low,
                    high=interval.high,
                    level=level,
                    method=interval.method,
                    extractor=extractor,
                    weights=storage.hash_bytes(config.encode()),
                    dtype="float32",
                    resize=f"{shots} shots",
                    num_samples=int(count),
                    num_reference=0,
                    reference=task,
                    direction=direction,
                ),
            )


def _interval(value: float, error: Any, count: int, level: float) -> Interval:
    """From the harness's standard error; Wilson's where that is 0 because all documents agree."""
    if not isinstance(error, int | float) or not math.isfinite(error):
        return Interval(value, math.nan, math.nan, level, "none: the harness gives no error")
    if error == 0 and 0 <= value <= 1 and count:
        return share_interval(np.array([value]), level, num=float(count))
    return around(value, float(error), level, "the harness's standard error")


def _is_causal(checkpoint: Path) -> bool:
    path = checkpoint / "config.json"
    if not path.is_file():
        return False
    return any(name.endswith("ForCausalLM") for name in storage.read_json(path).get("architectures") or [])


def _task_of(file: Path) -> str:
    """The name of the task a file defines."""
    for line in file.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "task" and value.strip():
            return value.split("#")[0].strip().strip("\"'")
    raise MeasureError("a task's file must name its task", str(file), "add a line `task: NAME`")


@contextmanager
def _ambient_random_state() -> Iterator[None]:
    """The harness seeds every global generator; put them back as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
