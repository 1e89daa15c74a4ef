"""`prepare`: raw files to a measured dataset, shard by shard, resumable at any instant.

Three passes: every partition is read and cleaned into a part (in parallel); steps decide over the columns of all rows
(in one process); shards are written from the parts (in parallel). Work lies in a hidden folder beside `out` until the
finished dataset is renamed into place, so it needs about twice the room of the data for a while. A run that was killed
takes up at the first part or shard that is not whole, and ends in the same bytes; so does any number of workers.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from motherlode import registry, storage
from motherlode.data import minhash
from motherlode.data import step as steps_of
from motherlode.data.arrow import to_numpy
from motherlode.data.augment import CopyTask, make_copies
from motherlode.data.card import FOLDER, templates, write_card
from motherlode.data.croissant import write_croissant
from motherlode.data.dataset import FACTS, FORMAT, Dataset, dataset_id, read_shard
from motherlode.data.decontaminate import Contaminated, OwnHeldout, overlap, stamps
from motherlode.data.excerpts import Sample, make_samples
from motherlode.data.gather import gather
from motherlode.data.guess import settled
from motherlode.data.options import PrepareOptions
from motherlode.data.paragraphs import RepeatedLines
from motherlode.data.parts import MEASURED, PartRecord, PartTask, make_part, part_path, read_part
from motherlode.data.pictures import Reader, make_sheets
from motherlode.data.planted import estimate
from motherlode.data.source import Partition, plan
from motherlode.data.step import CLEAN, DROPPED, READ, SPLITS, TRAIN, Progress, Rows, Step, StepCount, silent
from motherlode.data.steps import ExactDuplicates, LabelErrors, LabelSizes, NearDuplicates, NearTexts, Outliers, Split
from motherlode.data.threads import give_back_memory
from motherlode.data.workers import ALONE_BYTES, PRELOAD, start_ahead
from motherlode.data.write import Shape, ShardTask, make_shard, plan_shards, save_decisions
from motherlode.errors import DatasetError, SourceError
from motherlode.execute import map_ordered, num_cores
from motherlode.modality import Modality
from motherlode.recipe import parse

REQUEST = "prepare.json"
BYTES_A_TOKEN = 4.0
"""Bytes of text that a token stands for, before a tokenizer has been trained."""
_WRITE_ALONE_BYTES = 64 << 20
"""Sources smaller than this are written sooner by one process than others can be started."""
_SHARD_FACTS = ("path", "rows", "media_bytes", "file_bytes", "sha256")
Item = TypeVar("Item")
Result = TypeVar("Result")


def prepare(
    source: Any,
    *,
    modality: str = "auto",
    out: str | Path,
    progress: Progress = silent,
    **options: Any,
) -> Dataset:
    """Turn raw files into a dataset at `out`; resumes by itself, and returns at once what is already there.

    Args:
        source: folder, file, glob or URL; a list of them; or a mapping of names to them.
        modality: what a sample is; "auto": what the files are.
        out: the dataset's folder.
        progress: told how far the work has come.
        options: further fields of `PrepareOptions`.

    Raises:
        RecipeError: an option is unknown or out of range.
        SourceError: the source is missing, empty or of no known kind.
        DatasetError: `out` holds another dataset, or no row was fit.
        StorageError: the disk is full or not writable; nothing that was there is touched, and a rerun takes up.
    """
    return run(parse_options(source, modality=modality, out=out, **options), progress)


def parse_options(source: Any, **options: Any) -> PrepareOptions:
    """Typed options from what a caller gives; paths may be `Path`s."""
    if isinstance(source, Mapping):
        named: Any = {str(name): str(path) for name, path in source.items()}
    else:
        named = str(source) if isinstance(source, str | Path) else [str(item) for item in source]
    return parse(PrepareOptions, {**options, "source": named, "out": str(options["out"])}, where="prepare")


def run(options: PrepareOptions, progress: Progress = silent) -> Dataset:
    """`prepare` with typed options."""
    options, _ = settled(options)
    modality: Modality = registry.find("modality", options.modality)
    options = options.resolved(modality)
    clean = parse(modality.Options, options.clean, where="prepare", within=("clean",))
    out = Path(options.out)
    if any(0xD800 <= ord(letter) <= 0xDFFF for letter in str(out.absolute())):  # no UTF-8: Arrow cannot open it
        raise DatasetError("the path of a dataset must be text", str(out), "choose another out")
    if out.exists():
        earlier = _earlier(out, options, modality)
        if earlier is not None:
            return earlier
    if options.on == "local":
        given = options.source.values() if isinstance(options.source, dict) else options.source
        start_ahead([given] if isinstance(given, str) else list(given), modality.name, options.workers)
    work = out.absolute().parent / f".{out.name}.work"
    absent = [folder for folder in (work, *work.parents) if not folder.exists()]
    try:
        with storage.lock(work):
            planned = _plan_to_disk(options, modality, work)
            dataset = Work(options, modality, clean, work, planned, progress).run()
            _commit(work / "dataset", out)
    except (SourceError, DatasetError) as error:
        # The same work would come to the same end: leave no folder that was not there before.
        if not isinstance(error.__cause__, BrokenProcessPool):
            shutil.rmtree(work, ignore_errors=True)
            for folder in absent:
                _remove_empty(folder)
        raise
    shutil.rmtree(work, ignore_errors=True)
    return Dataset(
        out, dataset.facts, verified=[shard["path"] for name in SPLITS for shard in dataset.facts["shards"][name]]
    )


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


@dataclass(frozen=True)
class Plan:
    """A source's partitions, one JSON line each on disk."""

    path: Path
    digest: str
    num_partitions: int
    num_bytes: int
    sources: tuple[str, ...]
    ignored: dict[str, int]

    def partitions(self) -> Iterator[Partition]:
        """Read back, one at a time."""
        with self.path.open(encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                yield Partition(**json.loads(line))


def _planned_lines(
    options: PrepareOptions, modality: Modality, ignored: Counter[str]
) -> Iterator[tuple[Partition, str]]:
    planned = plan(options.source, modality.suffixes, options.source_options(modality))
    for partition in planned.partitions:
        yield partition, json.dumps(partition.as_dict(), ensure_ascii=False) + "\n"
    ignored.update(planned.ignored)


def _request_digest(options: PrepareOptions, state: Any) -> str:
    """Equal digests give equal datasets: the options, and the names, sizes and times of what is read."""
    state.update(json.dumps([FORMAT, options.request(), *stamps(options.decontaminate)], sort_keys=True).encode())
    return str(state.hexdigest())


def _plan_to_disk(options: PrepareOptions, modality: Modality, work: Path) -> Plan:
    """Write the plan; forget the work of another request."""
    state, ignored = xxhash.xxh3_128(), Counter[str]()
    sources: dict[str, None] = {}
    num_partitions = num_bytes = 0
    path = work / "plan.jsonl"
    with (
        storage.atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape") as file,
    ):
        for partition, line in _planned_lines(options, modality, ignored):
            file.write(line)
            state.update(line.encode("utf-8", errors="surrogateescape"))
            sources[partition.source] = None
            num_partitions, num_bytes = num_partitions + 1, num_bytes + partition.num_bytes
    digest = _request_digest(options, state)
    request = work / "request.json"
    if not request.is_file() or storage.read_json(request) != digest:
        for name in ("parts", "cut", "decisions", "dataset"):
            shutil.rmtree(work / name, ignore_errors=True)
        storage.write_json(request, digest)
    return Plan(path, digest, num_partitions, num_bytes, tuple(sources), dict(sorted(ignored.items())))


def _earlier(out: Path, options: PrepareOptions, modality: Modality) -> Dataset | None:
    """The dataset at `out` when it answers this very request; None when it is to be made anew.

    Raises:
        DatasetError: `out` holds something else, and `overwrite` is off.
    """
    request = out / REQUEST
    if request.is_file() and (out / FACTS).is_file():
        state = xxhash.xxh3_128()
        for _, line in _planned_lines(options, modality, Counter()):
            state.update(line.encode("utf-8", errors="surrogateescape"))
        if storage.read_json(request).get("digest") == _request_digest(options, state):
            return Dataset.open(out)
        if options.overwrite:
            return None
        raise DatasetError(
            "the folder holds a dataset made from another source or with other options",
            str(out),
            "choose another out, or overwrite",
        )
    if out.is_dir() and not any(out.iterdir()):
        return None
    raise DatasetError("out must be a new folder or a dataset", str(out), "choose another out; nothing was touched")


def _ids_and_labels(path: Path) -> tuple[NDArray[np.void], NDArray[np.int32]]:
    """16-byte ids and labels of a shard."""
    ids, labels = bytearray(), []
    for batch in read_shard(path, ["id", "label"]):
        ids += bytes.fromhex("".join(batch.column("id").to_pylist()))
        labels.append(to_numpy(batch.column("label"), -1).astype(np.int32))
    return np.frombuffer(bytes(ids), np.dtype("V16")), np.concatenate([np.zeros(0, np.int32), *labels])


def _by_source(rows: Rows) -> dict[str, dict[str, int]]:
    """What each source gives to train on: the numbers against which weights are checked, and repetition reckoned."""
    train = rows.splits_N == TRAIN
    num = len(rows.source_names)
    counts = np.bincount(rows.sources_N[train], minlength=num).tolist()
    sizes = [int(rows.num_bytes_N[train & (rows.sources_N == code)].sum()) for code in range(num)]
    tokens = [round(size / BYTES_A_TOKEN) for size in sizes]
    found = {"source_rows": counts, "source_bytes": sizes, "source_tokens": tokens}
    return {name: dict(zip(rows.source_names, values)) for name, values in found.items()}


def _commit(built: Path, out: Path) -> None:
    """Move the finished folder to `out`, with its manifest, all at once."""
    for orphan in out.absolute().parent.glob(f".{out.name}.*.tmp"):
        shutil.rmtree(orphan, ignore_errors=True)
    with storage.atomic_folder(out) as temporary:
        temporary.rmdir()
        os.replace(built, temporary)


@dataclass
class Work:
    """One `prepare` under way."""

    options: PrepareOptions
    modality: Modality
    clean: Any
    work: Path
    plan: Plan
    progress: Progress

    def run(self) -> Dataset:
        """All passes; returns the dataset as it stands in the work folder."""
        records = self.read()
        rows = self.gather(records)
        with rows.aside:
            counts = self.decide(rows, records)
            told = rows.aside.submit(self.tell, rows, records)
            facts = self.write(rows, records, counts)
            with self._stage("findings", rows):
                samples = told.result()
        return self.finish(rows, records, facts, samples)

    @property
    def needs_features(self) -> bool:
        """Whether any step looks at features."""
        return self.options.outliers != "off" or self.options.label_errors != "off"

    def read(self) -> list[PartRecord]:
        """First pass: a part for each partition."""
        parts = self.work / "parts"
        parts.mkdir(exist_ok=True)
        tasks = (
            PartTask(
                index,
                partition,
                str(parts),
                self.modality.name,
                self.clean,
                self.options.max_bytes or self.modality.max_bytes,
                self.needs_features,
            )
            for index, partition in enumerate(self.plan.partitions())
        )
        self._make_ready()
        counts: Counter[str] = Counter()
        records = []
        self.progress("read and clean", 0, self.plan.num_partitions, counts)
        for record in self._map(make_part, tasks, self.plan.num_partitions, alone_bytes=ALONE_BYTES):
            records.append(record)
            counts.update({"rows": record.num_rows, **record.reasons})
            self.progress("read and clean", len(records), self.plan.num_partitions, counts)
        return records

    def _make_ready(self) -> None:
        """Load what is needed later while this process waits for others to start."""

        def load() -> None:
            if self.modality.search == "bands" and self.options.near_duplicates != "off":
                minhash.make_ready(self.modality.grams)
            templates(is_text=self.modality.stored == "text")

        if self.plan.num_bytes > ALONE_BYTES and (self.options.workers or num_cores()) > 1:
            Thread(target=load, daemon=True).start()

    def gather(self, records: list[PartRecord]) -> Rows:
        """The columns the second pass works on."""
        by_folder = self.options.heldout_by == "folder"
        rows = gather(self.work / "parts", records, num_sources=len(self.plan.sources), by_folder=by_folder)
        # Sorted: a part taken up from disk names them in another order.
        rows.facts["notes"] = dict(sorted(sum((Counter(record.notes) for record in records), Counter()).items()))
        return rows

    @contextmanager
    def _stage(self, name: str, rows: Rows) -> Iterator[None]:
        """Tell that something is done in one piece, before and after."""
        self.progress(name, 0, 1, {"rows": len(rows.alive)})
        yield
        self.progress(name, 1, 1, {"rows": len(rows.alive)})

    def decide(self, rows: Rows, records: list[PartRecord]) -> list[StepCount]:
        """Second pass: run the steps and keep the ledger."""
        steps = self._steps()
        for step in steps:
            with self._stage(step.name, rows):
                step.run(rows)
                give_back_memory()
        rows.splits_N[rows.reasons_N >= 0] = DROPPED
        listed = [(READ, "read the files"), (CLEAN, "decode, check and bring to the normal form")]
        counts = steps_of.ledger(rows, listed + [(step.name, step.does) for step in steps])
        reasons = steps_of.dropped_by_reason(counts)
        if not len(rows.alive):
            raise self._nothing_fit(rows, records, reasons)
        for reason, count in reasons.items():
            meaning = self.modality.reasons.get(reason, "")
            if "pip install" in meaning:
                rows.warnings.append(f"{count:,} rows were dropped as {reason}: {meaning}")
        return counts

    def _nothing_fit(self, rows: Rows, records: list[PartRecord], reasons: dict[str, int]) -> DatasetError:
        """What was wrong with the source, by the commonest reason and one example of it."""
        if not reasons:
            return DatasetError("at least one row must be fit", "the source holds no row", "look at the source")
        worst = next(iter(reasons))
        example = int(np.flatnonzero(rows.reasons_N == rows.reason_names.index(worst))[0])
        found = Reader(rows.texts.folder, records).columns(example, lambda name: name in ("uri", "detail"))
        told = ", ".join(f"{reason}: {count:,}" for reason, count in reasons.items())
        detail = found["detail"] or self.modality.reasons.get(worst, "")
        if rows.step_names[rows.steps_N[example]] != READ:
            threshold = self._threshold(worst)
            fix = f"loosen `{threshold}` in a file for --options, or " * bool(threshold) + "look at the source"
        elif "FileNotFoundError" in detail:
            fix = "check the source: paths in a table are relative to the table's folder"
        else:
            fix = "look at the source; of a table another column can be named, `columns: …` in a file for --options"
        return DatasetError(
            "at least one row must be fit",
            f"{told}; such as {found['uri']!r}" + (f" ({detail})" if detail else ""),
            fix,
        )

    def _threshold(self, reason: str) -> str:
        """The option of cleaning behind a reason; "" where there is none. Options are named after it, or name it."""
        fields = self.modality.Options.model_fields.items()
        named = (f for f, told in fields if f.endswith(f"_{reason}") or f": {reason}" in (told.description or ""))
        return next((f"clean.{name}" for name in named), "")

    def _steps(self) -> list[Step]:
        chosen = self.options
        steps: list[Step] = [ExactDuplicates(keep=chosen.exact_duplicates != "drop")]
        if chosen.decontaminate:
            steps.append(
                Contaminated(self.modality, self.clean, chosen.decontaminate, length=chosen.decontaminate_tokens)
            )
        if chosen.near_duplicates != "off":
            near = NearTexts if self.modality.search == "bands" else NearDuplicates
            steps.append(near(self.modality, keep=chosen.near_duplicates == "report"))
        if chosen.paragraphs != "off":
            steps.append(self._repeated_lines())
        if chosen.outliers != "off":
            steps.append(Outliers(drop=chosen.outliers == "drop"))
        if chosen.label_errors != "off":
            steps.append(LabelErrors(drop=chosen.label_errors == "drop"))
        steps += [
            LabelSizes(chosen.min_label_rows, chosen.max_label_rows, chosen.seed),
            Split(chosen.heldout, chosen.seed),
        ]
        if chosen.decontaminate_heldout:
            steps.append(OwnHeldout(self.modality, chosen.decontaminate_tokens))
        return steps

    def _repeated_lines(self) -> Step:
        chosen = self.options
        again: list[Step] = []
        if chosen.exact_duplicates == "drop":
            again.append(ExactDuplicates(name=RepeatedLines.name))
        if chosen.near_duplicates == "drop":
            again.append(NearTexts(self.modality, check=False, name=RepeatedLines.name))
        return RepeatedLines(
            self.modality,
            self.clean,
            self.work / "cut",
            chosen.paragraph_share,
            chosen.paragraph_texts,
            cut=chosen.paragraphs == "drop",
            again=tuple(again),
            mapped=partial(self._map, alone_bytes=ALONE_BYTES),
        )

    def tell(self, rows: Rows, records: list[PartRecord]) -> list[Sample]:
        """What is worked out for the card alone, while other processes write: adds to the facts; samples of texts."""
        rows.facts |= {name: found.result() for name, found in rows.open_facts.items()}
        if self.modality.stored != "text":
            return []
        rows.facts["overlap"] = overlap(rows, self.modality, self.options.decontaminate_tokens)
        return make_samples(rows, Reader(rows.texts.folder, records))

    def write(self, rows: Rows, records: list[PartRecord], counts: list[StepCount]) -> dict[str, Any]:
        """Last pass; returns the facts of the dataset."""
        decisions = self.work / "decisions"
        save_decisions(rows, decisions)
        shape = Shape(
            str(rows.texts.folder),
            str(decisions),
            str(self.work / "dataset"),
            self.modality.column,
            self.modality.stored,
            tuple(rows.label_names),
            tuple(rows.reason_names),
            tuple(rows.step_names),
            self.options.licence,
        )
        shards: dict[str, list[dict[str, Any]]] = {name: [] for name in SPLITS}
        tasks = plan_shards(rows, records, shape)
        self.progress("write", 0, len(tasks), {})
        for done, record in enumerate(self._write_shards(tasks), start=1):
            shards[record["path"].split("/")[0]].append({key: record[key] for key in _SHARD_FACTS})
            self.progress("write", done, len(tasks), {})
        schema = read_part(part_path(rows.texts.folder, records[0].index)).schema
        measured = [name.removeprefix(MEASURED) for name in schema.names if name.startswith(MEASURED)]
        copies, left_out = self._augment(shards["train"], measured)
        shards["train"] += copies
        alive = rows.alive
        copied = [_ids_and_labels(self.work / "dataset" / shard["path"]) for shard in copies]
        ids = np.concatenate([rows.ids_N[alive], *(ids for ids, _ in copied)])
        labels = np.concatenate([rows.labels_N[alive], *(labels for _, labels in copied)])
        splits = np.concatenate([rows.splits_N[alive], np.full(len(ids) - len(alive), TRAIN, np.int8)])
        return {
            "format": FORMAT,
            "id": dataset_id(rows.label_names, ids, labels, splits),
            "modality": self.modality.name,
            "column": self.modality.column,
            "measured": measured,
            "labels": rows.label_names,
            "in": len(rows),
            "kept": len(alive),
            "dropped": steps_of.dropped_by_reason(counts),
            "augmented": sum(shard["rows"] for shard in copies),
            "augmented_left_out": left_out,
            "steps": [count.as_dict() for count in counts],
            "warnings": [*(count.warning for count in counts if count.warning), *rows.warnings],
            "shards": shards,
            "sources": list(self.plan.sources),
            "ignored": self.plan.ignored,
            "findings": rows.facts,
            **(_by_source(rows) if self.modality.stored == "text" else {}),
        }

    def _augment(self, train: list[dict[str, Any]], measured: list[str]) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """Altered copies of the training rows: the facts of their shards, and why some were left out."""
        if self.options.augment == 1:
            return [], {}
        policy = self.options.augment_policy or self.modality.augmentations
        tasks = [
            CopyTask(
                dataset=str(self.work / "dataset"),
                shard=shard["path"],
                records=str(self.work / "decisions"),
                modality=self.modality.name,
                clean=self.clean,
                column=self.modality.column,
                measured=tuple(measured),
                policy=tuple(policy),
                copies=self.options.augment - 1,
                seed=self.options.seed,
            )
            for shard in train
        ]
        copies = []
        left_out: Counter[str] = Counter()
        self.progress("augment", 0, len(tasks), {})
        for record in self._map(make_copies, tasks, len(tasks), alone_bytes=ALONE_BYTES):
            copies.append({key: record[key] for key in _SHARD_FACTS})
            left_out.update(record["left_out"])
            self.progress("augment", len(copies), len(tasks), {"rows": sum(shard["rows"] for shard in copies)})
        return copies, dict(left_out)

    def finish(self, rows: Rows, records: list[PartRecord], facts: dict[str, Any], samples: list[Sample]) -> Dataset:
        """Check the sum against the files, and write what goes beside them."""
        built = self.work / "dataset"
        names = [shard["path"] for name in SPLITS for shard in facts["shards"][name]]
        held = {name: sum(shard["rows"] for shard in facts["shards"][name]) for name in SPLITS}
        steps_of.check_sum(facts["in"] + facts["augmented"], held["train"] + held["heldout"], held["dropped"])
        reader = Reader(rows.texts.folder, records)
        if self.options.near_duplicates != "off" and self.modality.search == "hamming":
            with self._stage("planted copies", rows):
                facts["findings"]["planted"] = estimate(rows, reader, self.modality, self.clean)
        dataset = Dataset(built, facts, verified=names)
        self.progress("card", 0, 1, {})
        shutil.rmtree(built / FOLDER, ignore_errors=True)
        if self.modality.stored != "text":
            (built / FOLDER).mkdir()
        request = self.options.request()
        settings = request | {"clean": self.clean.model_dump(mode="json")}
        try:
            if self.modality.stored == "text":
                write_card(dataset, [], settings, samples)
            else:
                write_card(dataset, make_sheets(rows, reader, self.modality, built / FOLDER), settings)
            write_croissant(dataset, self.options.licence)
            storage.write_json(built / FACTS, facts)
            storage.write_json(built / REQUEST, {"digest": self.plan.digest, "options": request})
        except OSError as error:
            raise storage.explain(error, built) from error
        self.progress("card", 1, 1, {})
        return dataset

    def _write_shards(self, tasks: list[ShardTask]) -> Iterator[dict[str, Any]]:
        """Shards of small datasets are written by threads: Arrow lets go of the interpreter while it copies."""
        if self.plan.num_bytes > _WRITE_ALONE_BYTES or self.options.on != "local":
            yield from self._map(make_shard, tasks, len(tasks), alone_bytes=0)
            return
        with ThreadPoolExecutor(self.options.workers or num_cores()) as pool:
            yield from pool.map(make_shard, tasks)

    @property
    def _preload(self) -> tuple[str, ...]:
        """What workers import sooner or later."""
        return (*PRELOAD, type(self.modality).__module__, *self.modality.preload)

    def _map(
        self, function: Callable[[Item], Result], tasks: Iterable[Item], num_tasks: int, *, alone_bytes: int
    ) -> Iterator[Result]:
        """`map_ordered`, in this process where the source is so small that starting others would take longer."""
        workers = min(self.options.workers or num_cores(), num_tasks)
        if self.plan.num_bytes <= alone_bytes and self.options.on == "local":
            workers = 1
        try:
            yield from map_ordered(function, tasks, workers=workers, on=self.options.on, preload=self._preload)
        except BrokenProcessPool as error:
            raise DatasetError(
                "worker processes must stay alive",
                f"one of {workers} died, most likely for want of memory",
                "run it again with fewer workers: it takes up where it stopped",
            ) from error
